"""The options that several verbs share, and the way from a verb to its `Tickover`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from tickover.app import Tickover

T = TypeVar("T")
Opener = Callable[..., Awaitable[Tickover]]


class Group(click.Group):
    """A noun and its verbs: who types another is told which there are."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb (see click). Ends with a usage error where there is none."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"There is no verb `{args[0]}`; there are {', '.join(self.list_commands(ctx))}.")
        return super().resolve_command(ctx, args)


home = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="TICKOVER_HOME",
    show_envvar=True,
    metavar="DIR",
    help="Where runs are kept.  [default: ~/.local/share/tickover]",
)
no_color = click.option(
    "--no-color", is_flag=True, envvar="TICKOVER_NO_COLOR", help="No colours; NO_COLOR does the same."
)


def as_json(what: str) -> Callable[[Any], Any]:
    """Return the option `--json` of a verb that prints `what`."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON; errors, too.")


def opener() -> Opener:
    """Return how to open the data folder. A test hands in its own as click's `obj`."""
    given: Opener | None = click.get_current_context().obj
    return given or Tickover.open


@contextmanager
def reading(home: Path | None) -> Iterator[Tickover]:
    """Open the data folder to read it: no sandbox, no event loop, nothing recovered."""
    tickover = asyncio.run(_opened(home))
    try:
        yield tickover
    finally:
        asyncio.run(tickover.close())


async def _opened(home: Path | None) -> Tickover:
    return await opener()(home, sandbox=False)
