"""`tickover grant`: what a routine asks of its owner, in sentences, and the owner's yes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tickover.app import GrantView, Tickover
from tickover.cli import options
from tickover.cli.acting import acting_lines, acting_told, who_acts
from tickover.cli.blocks import Block, Cell, Ink, Line, Table
from tickover.cli.find import NAME, find_routine
from tickover.cli.output import print_json, screen
from tickover.cli.who import who
from tickover.cli.wire import FORMAT
from tickover.core.errors import NotFoundError, UsageError


@click.command(epilog="\b\nExample:\n  tickover grant routines/weekly-digest")
@click.argument("routine", metavar="FOLDER|NAME")
@click.option("--yes", is_flag=True, help="Grant without asking.")
@click.option("--remote", is_flag=True, help="What was pushed to the server of `tickover login`.")
@options.as_json("what is asked and what is granted")
@options.home
@options.no_color
def command(*, routine: str, yes: bool, remote: bool, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Show what a routine may use and change that it may not yet, and grant it.

    A run that needs a credential or a write waits for this. What the routine no longer asks for is taken back.
    NAME is the routine that was pushed, if one was, else routines/NAME. A folder and what was pushed are granted apart.
    """
    if remote:
        _grant_remote(routine, yes=yes, as_json=as_json, no_color=no_color)
        return
    with options.reading(home) as tickover:
        folder = _folder(tickover, routine)
        view = tickover.grants_of(folder)
        granted = yes or not view.differs
        acting = who_acts(home, tickover.routine_at(folder))
        if not as_json:
            screen(no_color=no_color).show(*_page(view), *acting_lines(acting))
        if view.differs and not granted and not as_json:
            granted = _asked()
        if view.differs and granted:
            tickover.grant(folder, by=who())
    if as_json:
        print_json({**_json(view, granted=granted), "acts_as": acting_told(acting)})
    elif view.differs:
        screen(sys.stderr).show(Line("granted" if granted else "nothing was granted"))


def _asked() -> bool:
    if not sys.stdin.isatty():
        text = "there is nobody here to ask"
        raise UsageError("grant.not_asked", text, hint="read it, then say --yes")
    return click.confirm("grant this?", err=True)


def _grant_remote(routine: str, *, yes: bool, as_json: bool, no_color: bool) -> None:
    """Show what the server compares, and approve exactly that."""
    from tickover.cli.remote import Remote, known_login

    if not NAME.fullmatch(routine):
        raise UsageError("grant.remote", f"`{routine}` is no name of a routine", hint="--remote takes what was pushed")
    with Remote(*known_login()) as server:
        told = server.grants(routine)
        differs = bool(told["new"] or told["gone"])
        if not as_json:
            screen(no_color=no_color).show(
                Line(Ink(str(told["routine"]), "bold"), Ink(f"  pushed, version {told['version'][:12]}", "dim")),
                _told(told),
            )
        granted = yes or not differs or (not as_json and _asked())
        if differs and granted:
            server.approve(routine, told["digest"])
    if as_json:
        print_json({"format": FORMAT, **told, "granted": granted})
    elif differs:
        screen(sys.stderr).show(Line("granted" if granted else "nothing was granted"))


def _told(told: dict[str, Any]) -> Block:
    looks = {"+": "warn", "=": "dim", "-": "good"}
    rows = [("+", each["kind"], each["says"]) for each in told["new"]]
    rows += [("=", each["kind"], f"{each['says']} (granted)") for each in told["kept"]]
    rows += [("-", "", f"{says} (no longer asked for: taken back)") for says in told["gone"]]
    if not rows:
        return Line("asks for nothing that has to be granted", indent=2)
    return Table(tuple((Ink(mark, looks[mark]), str(kind), str(says)) for mark, kind, says in rows))


def _folder(tickover: Tickover, word: str) -> Path:
    if NAME.fullmatch(word):
        try:
            return tickover.pushed_folder(word)
        except NotFoundError:
            return find_routine(word)
    return find_routine(word)


def _page(view: GrantView) -> Iterator[Block]:
    where = f"pushed, version {view.version[:12]}" if view.version else str(view.folder)
    yield Line(Ink(view.routine, "bold"), Ink(f"  {where}", "dim"))
    yield asks(view)


def asks(view: GrantView) -> Block:
    """Show what is new, what stays and what is taken back."""
    rows: list[tuple[Cell, ...]] = [(Ink("+", "warn"), each.kind.value, each.says) for each in view.new]
    rows += [(Ink("=", "dim"), each.kind.value, Ink(f"{each.says} (granted)", "dim")) for each in view.kept]
    rows += [(Ink("-", "good"), "", f"{says} (no longer asked for: taken back)") for says in view.gone]
    return Table(tuple(rows)) if rows else Line("asks for nothing that has to be granted", indent=2)


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
