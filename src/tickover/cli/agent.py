"""`tickover agent`: the builds of agents that are installed here, and a new one on recorded cases."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from tickover.cli import options
from tickover.cli.blocks import Cell, Line, Table
from tickover.cli.canary import canary_cell, canary_json, canary_page, case_line, state_json
from tickover.cli.failure import INTERRUPTED
from tickover.cli.output import Screen, print_json, screen
from tickover.cli.run import Interrupt
from tickover.cli.wire import iso
from tickover.cli.words import size
from tickover.core.canary import CanaryNote
from tickover.workspace.builds import Build


@click.group(name="agent", cls=options.Group)
def command() -> None:
    """Install builds of agents, list them, compare a new one on recorded runs."""


@command.command(
    epilog="\b\nExample:\n  tickover agent install claude-code@2.1.197\n\n\b\nWithout a registry:\n"
    "  npm pack @anthropic-ai/claude-code@2.1.197 @anthropic-ai/claude-code-linux-x64@2.1.197\n"
    "  tickover agent install claude-code@2.1.197 --from anthropic-ai-claude-code-2.1.197.tgz \\\n"
    "    --from anthropic-ai-claude-code-linux-x64-2.1.197.tgz"
)
@click.argument("build", metavar="NAME@VERSION")
@click.option(
    "--from",
    "archives",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="An npm package to take it from, as `npm pack` makes them, instead of the registry. Repeatable.",
)
@options.as_json("the build")
@options.home
@options.no_color
def install(build: str, archives: tuple[Path, ...], as_json: bool, home: Path | None, no_color: bool) -> None:
    """Install one exact version of an agent, in a sandbox; it is kept as a layer that runs are laid over.

    It comes from the registry that this machine's npm uses, or from FILEs. A routine that pins a version
    (`agent: claude-code@2.1.197`) installs it by itself when it first runs.
    """
    done = asyncio.run(_install(home, options.opener(), build, archives))
    if as_json:
        print_json(_entry(done))
    else:
        screen(no_color=no_color).show(Line(f"{done} is installed, {size(done.bytes)}"))


@command.command(name="list", epilog="\b\nExample:\n  tickover agent list --json | jq '.[].version'")
@options.as_json("the builds")
@options.home
@options.no_color
def list_(as_json: bool, home: Path | None, no_color: bool) -> None:
    """List the builds that are installed, and what `agent canary` found of them.

    A routine that pins no version runs with the newest build that was not found worse: DEFAULT marks it.
    """
    with options.reading(home) as tickover:
        builds = tickover.builds()
    defaults = {each.agent: each for each in reversed(builds) if not each.held}
    if as_json:
        print_json([{**_entry(each), "default": each is defaults.get(each.agent)} for each in builds])
    elif builds:
        rows = tuple(_row(each, default=each is defaults.get(each.agent)) for each in builds)
        heads = ("AGENT", "VERSION", "DEFAULT", "SIZE", "INSTALLED", "CANARY")
        screen(no_color=no_color).show(Table(rows, indent=0, heads=heads))
    else:
        screen(sys.stderr).show(Line("no builds; `tickover agent install NAME@VERSION` makes one"))


def _row(build: Build, *, default: bool) -> tuple[Cell, ...]:
    mark = "yes" if default else ""
    installed = iso(build.installed_at) or ""
    return (build.agent, build.version, mark, size(build.bytes), installed, canary_cell(build.canary))


@command.command(
    epilog="""\b
Exit codes:
  0  every case was compared, and none is worse
  5  a case is worse
  6  a case could not be compared, or nothing was recorded

\b
Example:
  tickover agent canary claude-code@2.1.331 --routine weekly-digest --runs 5
"""
)
@click.argument("build", metavar="NAME@VERSION")
@click.option("--routine", metavar="NAME", help="Only recorded runs of this routine.")
@click.option("--runs", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many, newest first.")
@options.as_json("every case")
@options.home
@options.no_color
def canary(*, build: str, routine: str | None, runs: int, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Compare a build of an agent on recorded runs, before routines that pin none get it.

    Each run that `tickover run --record` kept of this agent is replayed at NAME@VERSION, offline; what looks worse
    is replayed at the recorded build, too. A build that is worse, or whose comparison did not end, is only used where
    a routine pins it. One that is not here is installed first.
    """
    talk = screen(sys.stderr, no_color=no_color)
    note, interrupted = asyncio.run(_canary(home, options.opener(), build, routine, runs, talk))
    if as_json:
        print_json(canary_json(note))
    else:
        screen(no_color=no_color).show(*canary_page(note))
    click.get_current_context().exit(INTERRUPTED if interrupted else note.exit_code)


async def _canary(
    home: Path | None, opener: options.Opener, build: str, routine: str | None, runs: int, talk: Screen
) -> tuple[CanaryNote, bool]:
    async with await opener(home, sandbox=True) as tickover:
        with Interrupt(tickover, talk) as interrupt:
            note = await tickover.canary(
                build, routine=routine, most=runs, told=lambda case: talk.show(case_line(case))
            )
            return note, interrupt.heard


async def _install(home: Path | None, opener: options.Opener, build: str, archives: tuple[Path, ...]) -> Build:
    async with await opener(home) as tickover:
        return await tickover.install(build, archives)


def _entry(build: Build) -> dict[str, object]:
    return {
        "agent": build.agent,
        "version": build.version,
        "installed_at": iso(build.installed_at),
        "bytes": build.bytes,
        "canary": None if build.canary is None else state_json(build.canary),
    }
