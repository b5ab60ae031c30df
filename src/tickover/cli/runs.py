"""`tickover runs`: what became of runs. Reads only; nothing is started, nothing recovered."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from tickover.app import Tickover
from tickover.cli import options
from tickover.cli.blocks import Line, Quote, quoted
from tickover.cli.failure import INTERRUPTED
from tickover.cli.network import network_json, network_page
from tickover.cli.output import Screen, print_json, print_json_line, screen
from tickover.cli.replay import comparison_json, comparison_page
from tickover.cli.run import Interrupt
from tickover.cli.show import run_page, run_table
from tickover.cli.streams import lasting_stdout
from tickover.cli.transcript import Transcript
from tickover.cli.who import who
from tickover.cli.wire import event_json, row_json
from tickover.control.receipts import Traffic
from tickover.core.comparison import Comparison
from tickover.core.errors import TickoverError
from tickover.core.event import JournalEvent
from tickover.core.row import RunRow
from tickover.core.status import Execution, Outcome

_PATIENCE: Final = 30.0  # seconds of one wait for the next event; then it is asked whether the run still lives


@click.group(name="runs", cls=options.Group)
def command() -> None:
    """List runs, show one, follow its journal, cancel it, replay it.

    A run is named by its id, or by any beginning or end of it that only one run has.
    """


@command.command(name="list", epilog="\b\nExample:\n  tickover runs list --outcome failed --limit 10")
@click.option("--routine", metavar="NAME", help="Only runs of this routine.")
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="Only this outcome.")
@click.option("--execution", type=click.Choice([each.value for each in Execution]), help="Only this execution.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, newest first.")
@options.as_json("the runs")
@options.home
@options.no_color
def list_(
    *,
    routine: str | None,
    outcome: str | None,
    execution: str | None,
    limit: int,
    as_json: bool,
    home: Path | None,
    no_color: bool,
) -> None:
    """List runs, newest first: what was proved, and what became of the process."""
    with options.reading(home) as tickover:
        rows = tickover.run_rows(routine=routine, execution=execution, outcome=outcome, limit=limit)
    if as_json:
        print_json([row_json(row) for row in rows])
    elif rows:
        screen(no_color=no_color).show(run_table(rows, time.time()))
    else:
        chosen = routine or execution or outcome
        screen(sys.stderr).show(Line("no such runs" if chosen else "no runs; `tickover run FOLDER` makes one"))


@command.command(epilog="\b\nExample:\n  tickover runs show 261123 --json")
@click.argument("run", metavar="ID")
@click.option("--network", is_flag=True, help="What it sent, what was denied, and whether the receipts verify.")
@options.as_json("the whole row")
@options.home
@options.no_color
def show(*, run: str, network: bool, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Show a run: the two facts, the evidence with its classes, findings, phases, sandbox, artifacts."""
    if network:
        row, traffic, wrong = asyncio.run(_traffic(home, run))
        if as_json:
            print_json(network_json(row, traffic, wrong))
        else:
            screen(no_color=no_color).show(*network_page(row, traffic, wrong))
        return
    with options.reading(home) as tickover:
        row = tickover.run_row(run)
    if as_json:
        print_json(row_json(row))
    else:
        screen(no_color=no_color).show(*run_page(row, time.time()))


async def _traffic(home: Path | None, run: str) -> tuple[RunRow, Traffic, str]:
    async with await options.opener()(home, sandbox=False) as tickover:
        return tickover.run_row(run), *await tickover.traffic(run)


@command.command(epilog="\b\nExample:\n  tickover runs logs -f 261123 --json | jq .type")
@click.argument("run", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--after", type=click.IntRange(0), default=0, metavar="SEQ", help="Begin after this event.")
@options.as_json("each journal event, one a line,")
@options.home
@options.no_color
def logs(*, run: str, follow: bool, after: int, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Show a run's journal in the order of its numbers."""
    with options.reading(home) as tickover:
        row = tickover.run_row(run)
        out = screen(no_color=no_color)
        transcript = Transcript(out, tickover.blob, live=follow, began=row.created)
        try:
            for event in _events(tickover, row, after, follow=follow):
                if as_json:
                    print_json_line(event_json(event))
                else:
                    transcript.event(event)
        finally:
            out.close()


def _events(tickover: Tickover, row: RunRow, after: int, *, follow: bool) -> Iterator[JournalEvent]:
    """Yield the events beyond `after`; with `follow` until the run has ended, woken by the store."""
    while True:
        page = tickover.journal(row.id, after)
        for event in page:
            after = event.seq
            yield event
        if page:
            continue
        if not follow or tickover.run_row(row.id).finished is not None:
            return
        tickover.wait(row.id, after, _PATIENCE)


@command.command(epilog="\b\nExample:\n  tickover runs cancel 261123")
@click.argument("run", metavar="ID")
@options.home
def cancel(run: str, home: Path | None) -> None:
    """Ask whoever works on a run to stop. Its outcome is decided by what is true then."""
    with options.reading(home) as tickover:
        row = tickover.run_row(run)
        if row.finished is not None:
            text = f"run {row.id} has ended already: execution {row.execution}, outcome {row.outcome}"
            raise TickoverError("run.ended", text)
        tickover.cancel(row.id, who())
    screen(sys.stderr).show(Line(f"asked run {row.id} to stop; `tickover runs logs -f {row.id}` shows it end"))


@command.command(
    epilog="""\b
Exit codes:
  0  as recorded: no drift, the process ended alike, no check says something else
  5  not as recorded
  7  the replay did not complete
  3  there is no such run, or it was not recorded

\b
Example:
  tickover runs replay 261123 --agent claude-code@2.1.198
"""
)
@click.argument("run", metavar="ID")
@click.option("--agent", "build", metavar="NAME@VERSION", help="Replay it at another build of its agent.")
@options.as_json("the comparison")
@options.home
@options.no_color
def replay(*, run: str, build: str | None, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Run a recorded run again, offline: what it was answered then answers now, and nothing is dialled.

    It is a run of its own that says whose replay it is. It proves nothing of the world, so it is never verified;
    the exit code says whether it went as recorded.
    """
    stdout = lasting_stdout()
    out = screen(no_color=no_color)
    try:
        compared, interrupted = asyncio.run(_replay(run, build, home, out, as_json=as_json))
    finally:
        out.close()
    if as_json:
        print_json(comparison_json(compared))
    else:
        out.show(*comparison_page(compared))
    if stdout.complaint:
        screen(sys.stderr).show(Line(f"stdout: {stdout.complaint}; the replay went on without it"))
    click.get_current_context().exit(INTERRUPTED if interrupted else compared.exit_code)


async def _replay(
    run: str, build: str | None, home: Path | None, out: Screen, *, as_json: bool
) -> tuple[Comparison, bool]:
    async with await options.opener()(home, sandbox=True) as tickover:
        with Interrupt(tickover, screen(sys.stderr) if as_json else out) as interrupt:
            show = None if as_json else Transcript(out, tickover.blob).event
            return await tickover.replay(run, build=build, observe=show), interrupt.heard


@command.command(epilog="\b\nExample:\n  tickover runs artifact 261123 out/digest.md > digest.md")
@click.argument("run", metavar="ID")
@click.argument("path", metavar="PATH")
@options.home
def artifact(run: str, path: str, home: Path | None) -> None:
    """Write an artifact to stdout: its bytes, or on a terminal its printable text."""
    with options.reading(home) as tickover:
        body = tickover.artifact(run, path)
    if sys.stdout.isatty():
        sys.stdout.write(quoted(Quote(body.decode("utf-8", "replace"))))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
