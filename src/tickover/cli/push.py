"""`tickover push`: hand a routine to the server of a data folder. What runs later is this very copy."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from tickover.cli import options
from tickover.cli.blocks import Ink, Line
from tickover.cli.find import find_routine, own_name
from tickover.cli.grant import asks
from tickover.cli.output import print_json, screen
from tickover.cli.pushed import pause_line
from tickover.cli.who import who
from tickover.cli.wire import FORMAT, iso
from tickover.cli.words import moment


@click.command(epilog="\b\nExample:\n  tickover push routines/hello")
@click.argument("routine", metavar="FOLDER|NAME")
@click.option("--remote", is_flag=True, help="Hand it to the server of `tickover login` instead.")
@options.as_json("what was pushed")
@options.home
@options.no_color
def command(*, routine: str, remote: bool, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Copy the routine in FOLDER (or routines/NAME) into the data folder, where `tickover up` runs it from.

    The copy never changes: what you edit afterwards runs after the next push. Runs under way stay with their version.
    """
    if remote:
        _push_remote(find_routine(routine), as_json=as_json)
        return
    with options.reading(home) as tickover:
        pushed = tickover.push(find_routine(routine), who())
        paused = pause_line(tickover.routine(pushed.name))
        view = tickover.grants_of(pushed.folder)
    if as_json:
        told = {"format": FORMAT, "name": pushed.name, "version": pushed.version, "changed": pushed.changed}
        asked = [each.says for each in view.new]
        print_json({**told, "next_at": iso(pushed.next_at), "never": list(pushed.never), "asks": asked})
        return
    out = screen(no_color=no_color)
    state = "pushed" if pushed.changed else "unchanged"
    out.show(Line(Ink(f"{state}  ", "dim"), Ink(pushed.name, "bold"), f"  version {pushed.version[:12]}"))
    if paused is not None:
        out.show(Line(Ink("paused   ", "dim"), paused))
    elif pushed.next_at is not None:
        out.show(Line(Ink("next     ", "dim"), moment(pushed.next_at, time.time())))
    for never in pushed.never:
        screen(sys.stderr).show(Line(Ink("▲ ", "warn"), f"{never} never fires"))
    if view.differs:
        out.show(asks(view))
        screen(sys.stderr).show(Line(f"its runs are refused until `{own_name()} grant {pushed.name}` says yes"))
    screen(sys.stderr).show(Line(f"`{own_name()} up` runs it"))


def _push_remote(folder: Path, *, as_json: bool) -> None:
    from tickover.cli.remote import Remote, known_login

    with Remote(*known_login()) as server:
        pushed = server.push(folder)
    asked: list[str] = pushed.get("asks", [])
    if as_json:
        print_json({"format": FORMAT, "name": pushed["name"], "version": pushed["version"], "asks": asked})
        return
    screen().show(Line(Ink("pushed  ", "dim"), Ink(str(pushed["name"]), "bold"), f"  version {pushed['version'][:12]}"))
    if asked:
        text = f"its runs are refused until an admin says `{own_name()} grant --remote {pushed['name']}`; it asks for"
        screen(sys.stderr).show(Line(text), *(Line(says, indent=2) for says in asked))
