"""Who acts: the accounts behind a routine's connectors and pushes, asked of the services before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tickover.app import Tickover, home_folder
from tickover.cli import options
from tickover.cli.blocks import Block, Ink, Line
from tickover.cli.show import account_text
from tickover.core.definition import Routine
from tickover.core.event import AccountSeen

PATIENCE = 20.0
"""Seconds after which nobody waits for services any more."""


def who_acts(home: Path | None, routine: Routine | None = None) -> list[AccountSeen]:
    """Ask as whom a routine acts, or every connector of the instance. Where there is no data folder, none is made."""
    if not (home or home_folder()).is_dir():
        return []
    return asyncio.run(_asked(home, routine))


async def _asked(home: Path | None, routine: Routine | None) -> list[AccountSeen]:
    async with await options.opener()(home, sandbox=False) as tickover:
        return await answered(tickover, routine)


async def answered(tickover: Tickover, routine: Routine | None = None) -> list[AccountSeen]:
    """Ask by an open data folder, and not for long."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await tickover.who_acts(routine)
    except TimeoutError:
        return [AccountSeen(place="connectors", credential="", problem=f"no answer within {PATIENCE:g} seconds")]


def acting_lines(seen: Sequence[AccountSeen]) -> Iterator[Block]:
    """Say who acts, a line each."""
    yield from (Line(Ink("acts as  ", "dim"), account_text(each)) for each in seen)


def acting_told(seen: Sequence[AccountSeen]) -> list[dict[str, Any]]:
    """Return it for `--json`."""
    return [each.model_dump(mode="json", include={"place", "credential", "account", "problem"}) for each in seen]
