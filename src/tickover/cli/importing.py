"""`tickover import`: routines of what other schedulers keep."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import click

from tickover.cli import options
from tickover.cli.blocks import Line
from tickover.cli.output import screen
from tickover.core.errors import DefinitionErrors, UsageError
from tickover.core.importing import Imported, from_claude_routine, from_crontab, from_scheduled_task

_into = click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default=Path("routines"), show_default=True,
    metavar="DIR", help="Where the folders are written.",
)  # fmt: skip


@click.group(name="import", cls=options.Group)
def command() -> None:
    """Write routines of what other schedulers keep, and say what could not be carried over.

    Nothing that is there already is written over. No contract can be guessed: add `expect`, or runs stay unverified.
    """


@command.command(epilog="\b\nExample:\n  tickover import crontab <(crontab -l)")
@click.argument("file", type=click.File("rb"))
@click.option("--time-zone", metavar="ZONE", help="The zone of its machine.  [default: this machine's]")
@_into
def crontab(file: BinaryIO, time_zone: str | None, into: Path) -> None:
    """Write one routine of agent `steps` for each line of a crontab."""
    _write(from_crontab(file.read().decode("utf-8", "replace"), time_zone or _own_zone()), into)


@command.command(
    name="claude-routine", epilog="\b\nExample:\n  tickover import claude-routine routine.json --into routines"
)
@click.argument("file", type=click.File("rb"))
@click.option("--fire", default="", metavar="URL", help="Leave the work there: `agent: remote` forwards to its /fire.")
@_into
def claude_routine(file: BinaryIO, fire: str, into: Path) -> None:
    """Write a routine of a Claude Code Routine, as its service answers with it in JSON.

    With --fire it goes on running there. Here is what starts it, and, once `expect` says so, the proof of its work.
    """
    _write([from_claude_routine(file.read(), fire)], into)


@command.command(
    name="claude-scheduled-task",
    epilog="\b\nExample:\n  tickover import claude-scheduled-task ~/.claude/scheduled-tasks/review/SKILL.md",
)
@click.argument("file", type=click.File("rb"))
@_into
def claude_scheduled_task(file: BinaryIO, into: Path) -> None:
    """Write a routine of a local scheduled task of Claude: its SKILL.md."""
    from tickover.routines.yaml import parse

    text = file.read().decode("utf-8", "replace").replace("\r\n", "\n")
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not body:
        raise UsageError("import.task", "there is no front matter between two lines of `---`")
    front = parse(head, file.name).data
    _write([from_scheduled_task(front if isinstance(front, dict) else {}, body)], into)


def _write(found: Sequence[Imported], into: Path) -> None:
    from tickover.routines.loader import parse_routine

    if not found:
        raise UsageError("import.nothing", "there is nothing in it that could become a routine")
    talk = screen(sys.stderr)
    for each in found:
        if (into / each.name).exists():
            raise UsageError("import.exists", f"{into / each.name} is there already", hint="give another --into")
        try:
            parse_routine(each.text().encode(), file=f"{each.name}/ROUTINE.md")
        except DefinitionErrors as error:
            raise UsageError("import.refused", f"what would be written is no routine: {error}") from None
    for each in found:
        (into / each.name).mkdir(parents=True)
        (into / each.name / "ROUTINE.md").write_text(each.text(), encoding="utf-8")
        click.echo(str(into / each.name))
        talk.show(*(Line(f"{each.name}: not carried over: {what}", indent=2) for what in each.left))


def _own_zone() -> str:
    if zone := os.environ.get("TZ", "").removeprefix(":"):
        return zone
    place = os.path.realpath("/etc/localtime")
    _, found, zone = place.partition("/zoneinfo/")
    return zone if found else "UTC"
