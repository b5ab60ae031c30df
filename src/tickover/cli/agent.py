"""`tickover agent`: the builds of agents that are installed here."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from tickover.cli import options
from tickover.cli.blocks import Line, Table
from tickover.cli.output import print_json, screen
from tickover.cli.wire import iso
from tickover.cli.words import size
from tickover.workspace.builds import Build


@click.group(name="agent")
def command() -> None:
    """Install builds of agents, and list them."""


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
    """List the builds that are installed; of each agent, the first is used where a routine pins none."""
    with options.reading(home) as tickover:
        builds = tickover.builds()
    if as_json:
        print_json([_entry(build) for build in builds])
    elif builds:
        rows = tuple((build.agent, build.version, size(build.bytes), iso(build.installed_at) or "") for build in builds)
        screen(no_color=no_color).show(Table(rows, indent=0, heads=("AGENT", "VERSION", "SIZE", "INSTALLED")))
    else:
        screen(sys.stderr).show(Line("no builds; `tickover agent install NAME@VERSION` makes one"))


async def _install(home: Path | None, opener: options.Opener, build: str, archives: tuple[Path, ...]) -> Build:
    async with await opener(home) as tickover:
        return await tickover.install(build, archives)


def _entry(build: Build) -> dict[str, object]:
    return {
        "agent": build.agent,
        "version": build.version,
        "installed_at": iso(build.installed_at),
        "bytes": build.bytes,
    }
