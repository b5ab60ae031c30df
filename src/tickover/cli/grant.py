"""`tickover grant`: what a routine asks of its owner, in sentences, and the owner's yes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tickover.app import GrantView
from tickover.cli import options
from tickover.cli.blocks import Block, Cell, Ink, Line, Table
from tickover.cli.find import find_routine
from tickover.cli.output import print_json, screen
from tickover.cli.who import who
from tickover.cli.wire import FORMAT
from tickover.core.errors import UsageError


@click.command(epilog="\b\nExample:\n  tickover grant routines/weekly-digest")
@click.argument("routine", metavar="FOLDER|NAME")
@click.option("--yes", is_flag=True, help="Grant without asking.")
@options.as_json("what is asked and what is granted")
@options.home
@options.no_color
def command(*, routine: str, yes: bool, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Show what a routine may use and change that it may not yet, and grant it.

    A run that needs a credential or a write waits for this. What the routine no longer asks for is taken back.
    """
    folder = find_routine(routine)
    with options.reading(home) as tickover:
        view = tickover.grants_of(folder)
        granted = yes or not view.differs
        if not as_json:
            screen(no_color=no_color).show(*_page(view))
        if view.differs and not granted and not as_json:
            if not sys.stdin.isatty():
                text = "there is nobody here to ask"
                raise UsageError("grant.not_asked", text, hint="read it, then say --yes")
            granted = click.confirm("grant this?", err=True)
        if view.differs and granted:
            tickover.grant(folder, by=who())
    if as_json:
        print_json(_json(view, granted=granted))
    elif view.differs:
        screen(sys.stderr).show(Line("granted" if granted else "nothing was granted"))


def _page(view: GrantView) -> Iterator[Block]:
    yield Line(Ink(view.routine, "bold"), Ink(f"  {view.folder}", "dim"))
    rows: list[tuple[Cell, ...]] = [(Ink("+", "warn"), each.kind.value, each.says) for each in view.new]
    rows += [(Ink("=", "dim"), each.kind.value, Ink(f"{each.says} (granted)", "dim")) for each in view.kept]
    rows += [(Ink("-", "good"), "", f"{says} (no longer asked for: taken back)") for says in view.gone]
    yield Table(tuple(rows)) if rows else Line("asks for nothing that has to be granted", indent=2)


def _json(view: GrantView, *, granted: bool) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "routine": view.routine,
        "folder": str(view.folder),
        "new": [{"kind": each.kind.value, "says": each.says} for each in view.new],
        "kept": [{"kind": each.kind.value, "says": each.says} for each in view.kept],
        "gone": list(view.gone),
        "granted": granted,
    }
