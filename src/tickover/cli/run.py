"""`tickover run`: one run in the foreground, shown as it happens. The exit code is what was proved."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Self

import click

from tickover.app import RunRequest, Tickover
from tickover.cli import options
from tickover.cli.blocks import Ink, Line
from tickover.cli.failure import INTERRUPTED
from tickover.cli.find import NAME, find_routine, own_name
from tickover.cli.output import Screen, print_json_line, screen
from tickover.cli.streams import lasting_stdout
from tickover.cli.transcript import Transcript
from tickover.cli.wire import event_json, row_json
from tickover.core.errors import UsageError
from tickover.core.event import JournalEvent
from tickover.core.row import RunRow

EPILOG: Final = """\b
Exit codes:
  0  verified, or proved that there was nothing to do
  5  failed          6  unverified       8  pending
  7  the run did not complete: refused, timed out, cancelled, ...
  1  error of ours   2  usage            3  not found       130  interrupted

\b
Examples:
  tickover run routines/hello
  tickover run hello --input name=World --json
  tickover run examples/repo-digest --repo app=../some/checkout
"""


@click.command(epilog=EPILOG)
@click.argument("routine", metavar="FOLDER|NAME")
@click.option("--input", "inputs", metavar="KEY=VALUE", multiple=True, help="Give an input its value; repeatable.")
@click.option(
    "--event", type=click.File("rb"), metavar="FILE", help="The event that starts it, as untrusted data; - is stdin."
)
@click.option(
    "--repo",
    "repositories",
    metavar="NAME=PATH|URL",
    multiple=True,
    help="Take a repository from another place; repeatable.",
)
@options.as_json("every journal event as it comes, then the run,")
@click.option("--keep", is_flag=True, help="Leave the workspace on disk, to look at.")
@click.option("--record", is_flag=True, help="Keep its traffic, so that `runs replay` can run it again offline.")
@click.option("--remote", is_flag=True, help="Run the routine of that NAME on the server of `tickover login`.")
@click.option("--no-wait", is_flag=True, help="Do not wait for checks that have time (`within`): the run is pending.")
@options.home
@options.no_color
def command(
    *,
    routine: str,
    inputs: tuple[str, ...],
    event: BinaryIO | None,
    repositories: tuple[str, ...],
    as_json: bool,
    keep: bool,
    record: bool,
    remote: bool,
    no_wait: bool,
    home: Path | None,
    no_color: bool,
) -> None:
    """Run the routine in FOLDER (or routines/NAME) now, in a fresh sandbox, and say what was proved.

    Everything an agent prints is shown behind a mark and without terminal escapes. Ctrl-C cancels the run and
    waits until it is cleaned up; a second Ctrl-C ends at once.
    """
    if remote:
        from tickover.cli.run_remote import run_remote

        if repositories or keep or record or no_wait or not NAME.fullmatch(routine):
            text = "a server runs what was pushed, by its name: no folder, no --repo, --keep, --record or --no-wait"
            raise UsageError("cli.remote", text, hint="tickover run --remote NAME")
        body = None if event is None else event.read()
        words = pairs(inputs, "--input")
        code = run_remote(routine, words, body, as_json=as_json, no_color=no_color)
        click.get_current_context().exit(code)
    request = RunRequest(
        folder=str(find_routine(routine)),
        inputs=pairs(inputs, "--input"),
        event=None if event is None else event.read(),
        repositories={name: address(where) for name, where in pairs(repositories, "--repo").items()},
        keep=keep,
        wait=not no_wait,
    )
    stdout = lasting_stdout()
    out = screen(no_color=no_color)
    try:
        row, interrupted = asyncio.run(_run(request, home, out, as_json=as_json, record=record))
    finally:
        out.close()
    if as_json:
        print_json_line({"type": "run", "run": row.id, "data": row_json(row)})
    else:
        out.show(*_afterwards(row))
    if stdout.complaint:
        screen(sys.stderr).show(Line(f"stdout: {stdout.complaint}; the run went on without it"))
    code = row.exit_code if row.exit_code is not None else 1
    click.get_current_context().exit(INTERRUPTED if interrupted else code)


async def _run(
    request: RunRequest, home: Path | None, out: Screen, *, as_json: bool, record: bool
) -> tuple[RunRow, bool]:
    if not as_json:
        out.busy("starting")
    async with await options.opener()(home, sandbox=True) as tickover:
        show: Callable[[JournalEvent], None] = Transcript(out, tickover.blob).event
        if as_json:
            show = print_event
        with Interrupt(tickover, screen(sys.stderr) if as_json else out) as interrupt:
            row = await tickover.run(request, show, record=record)
            for folder in tickover.kept(row.id) if request.keep and not as_json else ():
                out.show(Line(f"kept       {folder}"))
            return row, interrupt.heard


def print_event(event: JournalEvent) -> None:
    print_json_line(event_json(event))


class Interrupt:
    """Ctrl-C: the first cancels the run in order, the second ends this process, and its sandboxes with it."""

    def __init__(self, tickover: Tickover, talk: Screen) -> None:
        self.heard = False
        self._tickover = tickover
        self._talk = talk
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _hear(self) -> None:
        if self.heard:
            self._talk.close()
            os._exit(INTERRUPTED)
        self.heard = True
        self._talk.show(Line("cancelling; once more ends at once"))
        self._task = asyncio.get_running_loop().create_task(self._tickover.cancel_current())


def _afterwards(row: RunRow) -> list[Line]:
    lines = [Line("")]
    if row.artifacts:
        names = ", ".join(each.path for each in row.artifacts[:5])
        more = f" and {len(row.artifacts) - 5} more" if len(row.artifacts) > 5 else ""
        lines.append(Line(Ink("artifacts  ", "dim"), names + more))
    if row.cassette is not None:
        lines.append(Line(Ink("replay     ", "dim"), f"{own_name()} runs replay {row.id}"))
    lines.append(Line(Ink("more       ", "dim"), f"{own_name()} runs show {row.id}"))
    return lines


def pairs(words: tuple[str, ...], option: str) -> dict[str, str]:
    """Return NAME=VALUE words as a mapping. Raises UsageError for another form and for a name given twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError("cli.pair", f"`{option} {word}` is not NAME=VALUE")
        if name in found:
            raise UsageError("cli.pair", f"`{option}` gives `{name}` twice")
        found[name] = value
    return found


def address(where: str) -> str:
    """Return a repository's address: a path becomes an absolute file:// URL, a URL stays."""
    return where if "://" in where else Path(os.path.abspath(where)).as_uri()
