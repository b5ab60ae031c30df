"""`tickover doctor`: what is in force on this machine, found by starting a sandbox; nothing is taken on trust."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

import click

from tickover import __version__
from tickover.app import home_folder
from tickover.cli import options
from tickover.cli.acting import acting_told, answered
from tickover.cli.blocks import Block, Ink, Line, Table
from tickover.cli.failure import error_lines
from tickover.cli.output import print_json, screen
from tickover.cli.show import account_text
from tickover.cli.words import size
from tickover.core.definition import Isolation
from tickover.core.errors import TickoverError
from tickover.core.event import AccountSeen
from tickover.sandbox.apparmor import profile
from tickover.sandbox.base import BackendReport
from tickover.sandbox.bwrap import find_bwrap

ENOUGH: Final = 2 << 30
"""Bytes of free disk below which runs will soon fail."""


TIERS: Final = get_args(Isolation)


@dataclass(frozen=True, slots=True)
class Part:
    """Something beside the sandbox that runs need."""

    name: str
    ok: bool
    detail: str


@click.command(epilog="\b\nExample:\n  tickover doctor --json | jq '.sandboxes[].usable'")
@options.as_json("all of it")
@click.option("--apparmor", is_flag=True, help="Print an AppArmor profile for the bubblewrap in use, and nothing else.")
@options.home
@options.no_color
def command(as_json: bool, apparmor: bool, home: Path | None, no_color: bool) -> None:
    """Start a sandbox, and say what is in force, what is not, and what it does not protect against.

    The exit code is 0 if runs can be made here, else 1.
    """
    if apparmor:
        click.echo(profile(find_bwrap()), nl=False)
        return
    folder = Path(os.path.abspath(home or home_folder()))
    parts = [_git(), _disk(folder)]
    reports, acting, broken = asyncio.run(_reports(home))
    parts += [_python(reports), _store(folder, broken)]
    usable = any(report.usable for report in reports) and all(part.ok for part in parts)
    if as_json:
        print_json(
            {
                "version": __version__,
                "machine": _machine(),
                "usable": usable,
                "not_run": list(_not_run(reports)),
                "sandboxes": [asdict(report) for report in reports],
                "error": None if broken is None else broken.as_dict(),
                "parts": [asdict(part) for part in parts],
                "acts_as": acting_told(acting),
            }
        )
    else:
        screen(no_color=no_color).show(*_page(reports, broken, parts, acting, usable=usable))
    click.get_current_context().exit(0 if usable else 1)


async def _reports(home: Path | None) -> tuple[list[BackendReport], list[AccountSeen], TickoverError | None]:
    try:
        async with await options.opener()(home, sandbox=True) as tickover:
            return list(await tickover.report()), await answered(tickover), None
    except TickoverError as error:
        return [], [], error


def _page(
    reports: list[BackendReport],
    broken: TickoverError | None,
    parts: list[Part],
    acting: Sequence[AccountSeen],
    *,
    usable: bool,
) -> Iterator[Block]:
    yield Line(Ink("tickover", "bold"), f" {__version__} on {_machine()}")
    for report in reports:
        yield from _sandbox(report)
    yield Line("")
    yield Line(Ink("not run here", "bold"))
    yield Table(tuple((Ink("-", "dim"), each) for each in _not_run(reports)))
    if broken is not None:
        yield Line("")
        yield Line(Ink("sandbox", "bold"), ": none can be started")
        yield from error_lines(broken)
    yield Line("")
    yield Line(Ink("besides", "bold"))
    yield Table(tuple((_sign(part.ok), part.name, part.detail) for part in parts))
    if acting:
        yield Line("")
        yield Line(Ink("accounts", "bold"))
        yield Table(tuple((_sign(bool(each.account)), account_text(each)) for each in acting))
    yield Line("")
    if usable:
        yield Line(Ink("✔ runs can be made here", "good"))
    else:
        yield Line(Ink("✘ no runs can be made here", "bad"))


def _sandbox(report: BackendReport) -> Iterator[Block]:
    yield Line("")
    state = "" if report.usable else ": started, but not usable"
    yield Line(Ink(f"sandbox {report.backend}", "bold"), f" (isolation: {report.tier}){state}")
    for title, rows in (
        ("in force", [(_sign(True), each.name, each.detail) for each in report.capabilities if each.in_force]),
        ("not in force", [(_sign(False), each.name, each.detail) for each in report.capabilities if not each.in_force]),
    ):
        if rows:
            yield Line(title, indent=2)
            yield Table(tuple(rows), indent=4)
    if report.not_protected:
        yield Line("not protected against", indent=2)
        yield Table(tuple((Ink("!", "warn"), each) for each in report.not_protected), indent=4)
    if report.hint:
        yield Line(Ink("hint  ", "dim"), report.hint, indent=2)


def _not_run(reports: list[BackendReport]) -> Iterator[str]:
    """Yield what this answer says nothing about."""
    tiers = {"sandbox", *(report.tier for report in reports)}
    yield from (f"isolation: {tier}, which this build cannot start" for tier in TIERS if tier not in tiers)
    other = "an ordinary user" if os.geteuid() == 0 else "root"
    yield f"what {other} would get on this machine: ask again as {other}"


def _sign(ok: bool) -> Ink:
    return Ink("✔", "good") if ok else Ink("✘", "warn")


def _machine() -> str:
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    return f"{platform.system()} {platform.release()}, {platform.machine()}, as {who}"


def _git() -> Part:
    program = shutil.which("git")
    if program is None:
        return Part("git", ok=False, detail="not on the PATH: repositories cannot be fetched")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)
    return Part("git", ok=said.returncode == 0, detail=said.stdout.strip() or said.stderr.strip())


def _python(reports: list[BackendReport]) -> Part:
    answered = any(report.capabilities for report in reports)
    detail = "the probe is a Python program, and it answered" if answered else "the probe did not answer"
    return Part("python inside", ok=answered, detail=detail)


def _disk(folder: Path) -> Part:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    short = "" if free >= ENOUGH else f": less than {size(ENOUGH)}, free some or choose another with --home"
    return Part("disk", ok=free >= ENOUGH, detail=f"{size(free)} free at {there}{short}")


def _store(folder: Path, broken: TickoverError | None) -> Part:
    files = [path for path in folder.rglob("tickover.db*") if path.is_file()] if folder.is_dir() else []
    if not files:
        return Part("store", ok=broken is None or not broken.code.startswith("home."), detail=f"none yet in {folder}")
    ours = all(os.access(path, os.R_OK | os.W_OK) for path in files)
    words = "" if ours else ", not writable by this user"
    return Part("store", ok=ours, detail=f"{size(sum(path.stat().st_size for path in files))} in {folder}{words}")
