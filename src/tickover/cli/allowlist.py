"""`tickover routine allowlist`: the least `environment.network` that a routine's last runs needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tickover.cli import options
from tickover.cli.blocks import Block, Ink, Line
from tickover.cli.find import find_routine
from tickover.cli.output import print_json, screen
from tickover.cli.wire import FORMAT
from tickover.cli.words import counted
from tickover.core.allowlist import Allowlist, least
from tickover.core.event import HostReached, decode
from tickover.routines.loader import load_folder

if TYPE_CHECKING:
    from tickover.app import Tickover


@click.command(epilog="\b\nExample:\n  tickover routine allowlist weekly-digest")
@click.argument("routine", metavar="FOLDER|NAME")
@click.option("--runs", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many runs to look at.")
@options.as_json("the list")
@options.home
@options.no_color
def allowlist(routine: str, runs: int, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Propose the least list of hosts from what the last runs reached. Nothing is changed.

    A run by hand with `network: observe` shows what there is to list.
    """
    loaded = load_folder(str(find_routine(routine))).routine
    with options.reading(home) as tickover:
        seen = [row.id for row in tickover.run_rows(routine=loaded.name, limit=runs) if row.agent_started]
        found = least((fact for run in seen for fact in _reached(tickover, run)), loaded.environment.network)
    if as_json:
        print_json(
            {"format": FORMAT, "routine": loaded.name, "runs": seen, "network": found.entries, "unused": found.unused}
        )
    elif not seen:
        screen(sys.stderr).show(Line(f"{loaded.name} has no run whose agent started: nothing was observed"))
    else:
        screen(no_color=no_color).show(*_page(found, len(seen)))


def _reached(tickover: Tickover, run: str) -> Iterator[HostReached]:
    after = 0
    while page := tickover.journal(run, after):
        after = page[-1].seq
        yield from (fact for event in page if isinstance(fact := decode(event), HostReached))


def _page(found: Allowlist, runs: int) -> Iterator[Block]:
    yield Line(f"network: {json.dumps(list(found.entries)) if found.entries else 'none'}")
    yield Line(Ink(f"what {counted(runs, 'run')} reached of the list", "dim"))
    if found.unused:
        yield Line(Ink(f"listed, and reached by none of them: {', '.join(found.unused)}", "warn"))
