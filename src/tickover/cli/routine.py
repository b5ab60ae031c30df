"""`tickover routine`: what a routine may change, what proves it, and how weak that is. Nothing is run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tickover.cli import options, pushed
from tickover.cli.acting import acting_lines, acting_told, who_acts
from tickover.cli.allowlist import allowlist
from tickover.cli.blocks import Block, Cell, Ink, Line, Table
from tickover.cli.contract import keys, sentence
from tickover.cli.find import find_routine, routines_in
from tickover.cli.output import json_text, print_json, screen
from tickover.cli.wire import FORMAT, iso
from tickover.cli.words import counted, moment
from tickover.core.built import not_yet
from tickover.core.check import Check
from tickover.core.contract import can_change, weaknesses
from tickover.core.definition import Routine, Setting, settings
from tickover.core.errors import DefinitionErrors, TickoverError
from tickover.core.event import AccountSeen
from tickover.core.instance import credentials_of
from tickover.plugins import find
from tickover.routines.loader import Loaded, load_folder
from tickover.routines.skill import find_skill
from tickover.routines.version import checks_of, resolve_version
from tickover.store.server import RoutineRecord


@click.group(name="routine", cls=options.Group)
def command() -> None:
    """List routines, show what one may change and what proves it, when it fires; pause it."""


for _verb in (allowlist, pushed.next_, pushed.pause, pushed.resume):
    command.add_command(_verb)


@command.command(name="list", epilog="\b\nExample:\n  tickover routine list --json | jq '.[].name'")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
@options.as_json("the routines")
@options.home
@options.no_color
def list_(*, folder: Path, as_json: bool, home: Path | None, no_color: bool) -> None:
    """List the routines in DIR, or in DIR/routines: agent, triggers, and whether one can be verified at all."""
    found = [(path, _loaded(path)) for path in routines_in(folder)]
    known = pushed.registered(home) if found else {}
    if as_json:
        print_json([_entry(path, loaded, known) for path, loaded in found])
    elif found:
        heads = ("ROUTINE", "AGENT", "STARTS", "SERVER", "CONTRACT")
        rows = tuple(_row(path, loaded, known) for path, loaded in found)
        screen(no_color=no_color).show(Table(rows, indent=0, heads=heads))
    else:
        screen(sys.stderr).show(Line(f"no routines in {folder}; `tickover init` writes one"))


@command.command(epilog="\b\nExample:\n  tickover routine show routines/hello --defaults")
@click.argument("routine", metavar="FOLDER|NAME")
@click.option("--defaults", is_flag=True, help="Every key with its value, also those the file does not give.")
@options.as_json("all of it")
@options.home
@options.no_color
def show(*, routine: str, defaults: bool, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Show what a routine can change, what must hold before it is green, and what weakens that."""
    folder = find_routine(routine)
    loaded = load_folder(str(folder))
    known = pushed.registered(home)
    acting = who_acts(home, loaded.routine)
    if as_json:
        told = {**_entry(folder, loaded, known), "acts_as": acting_told(acting)}
        told |= {"contract": _contract(loaded.routine), "version": _version(loaded)}
        chosen = [each for each in settings(loaded.routine) if defaults or each.given]
        print_json({**told, "settings": [each._asdict() for each in chosen]})
    else:
        record = known.get(loaded.routine.name)
        screen(no_color=no_color).show(*_page(folder, loaded, record, acting, defaults=defaults))


def _loaded(folder: Path) -> Loaded | TickoverError:
    try:
        return load_folder(str(folder))
    except TickoverError as error:
        return error


Known = Mapping[str, RoutineRecord]


def _server(record: RoutineRecord | None) -> Cell:
    if record is None:
        return ""
    return Ink("paused", "warn") if record.paused_at is not None else "pushed"


def _row(folder: Path, loaded: Loaded | TickoverError, known: Known) -> tuple[Cell, ...]:
    if isinstance(loaded, TickoverError):
        more = f" (and {len(loaded.problems) - 1} more)" if isinstance(loaded, DefinitionErrors) else ""
        place = f"line {loaded.where.line}: " if loaded.where and loaded.where.line else ""
        return (
            folder.name,
            Ink("error", "error"),
            "",
            "",
            f"{place}{loaded.message}{more.replace(' (and 0 more)', '')}",
        )
    routine = loaded.routine
    weak = [each for each in weaknesses(routine) if each.code == "contract.too_weak"]
    contract: Cell = Ink(f"▲ {weak[0].message}", "warn") if weak else counted(len(routine.expect), "check")
    starts = ", ".join(each.kind for each in routine.on) or "by hand"
    return (routine.name, routine.agent, starts, _server(known.get(routine.name)), contract)


def _entry(folder: Path, loaded: Loaded | TickoverError, known: Known) -> dict[str, Any]:
    base = {"format": FORMAT, "folder": os.path.abspath(folder)}
    if isinstance(loaded, TickoverError):
        return {**base, "name": folder.name, "error": loaded.as_dict()}
    routine = loaded.routine
    return {
        **base,
        "name": routine.name,
        "description": routine.description,
        "agent": routine.agent,
        "on": [{each.kind: each.model_dump(mode="json", by_alias=True, exclude_unset=True)} for each in routine.on],
        "can_change": can_change(routine),
        "credentials": list(credentials_of(routine)),
        "weaknesses": [each._asdict() for each in weaknesses(routine)],
        "not_yet": [each.where.key for each in not_yet(routine, "run") if each.where],
        "pushed": _told(known.get(routine.name)),
    }


def _told(record: RoutineRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    paused = None if record.paused_at is None else {"at": iso(record.paused_at), "reason": record.paused_reason}
    return {"version": record.version, "at": iso(record.pushed_at), "by": record.pushed_by, "paused": paused}


def _contract(routine: Routine) -> list[dict[str, Any]]:
    return [
        {
            "list": name,
            "index": index,
            "kind": check.kind,
            "class": check.evidence.value,
            "guard": check.guard,
            "says": sentence(check),
        }
        for name, checks in (("expect", routine.expect), ("noop", routine.noop))
        for index, check in enumerate(checks)
    ]


def _page(
    folder: Path, loaded: Loaded, record: RoutineRecord | None, acting: Sequence[AccountSeen], *, defaults: bool
) -> Iterator[Block]:
    routine = loaded.routine
    yield Line(Ink(routine.name, "bold"), Ink(f"  {folder}", "dim"))
    if routine.description:
        yield Line(Ink(routine.description, "dim"), indent=2)
    yield Line("")
    yield from (Line(each) for each in can_change(routine))
    yield from (Line(each) for each in _uses(routine))
    yield from acting_lines(acting)
    yield Line(f"starts: {'; '.join(f'{each.kind} ({keys(each)})' for each in routine.on) or 'by hand'}")
    if record is not None:
        yield Line(f"pushed: {moment(record.pushed_at, time.time())} by {record.pushed_by}")
    if paused := pushed.pause_line(record):
        yield Line(Ink("▲ paused: ", "warn"), paused)
    yield from _checks("expect: it is green only when", "expect", routine.expect)
    yield from _checks("noop: proved that there was nothing to do when", "noop", routine.noop)
    yield from _titled(
        "weaknesses", [(Ink("▲", "warn"), Ink(each.code, "warn"), each.message) for each in weaknesses(routine)]
    )
    missing = [each.where.key or "" for each in not_yet(routine, "run") if each.where]
    yield from _titled("keys whose behaviour is not built yet: `run` refuses", [(each,) for each in missing])
    if defaults:
        yield from _titled("settings", [_setting(each) for each in settings(routine)])
    yield Line("")
    version = _version(loaded)
    words = version or "known when it runs: it depends on the skill at the trusted commit, or on an agent not built yet"
    yield Line(Ink("version  ", "dim"), words)


def _uses(routine: Routine) -> Iterator[str]:
    """Say what it needs of its owner besides: credentials by name, and the hosts of its list."""
    if credentials := ", ".join(credentials_of(routine)):
        yield f"uses the credentials: {credentials} (`tickover grant` shows where they go)"
    network = routine.environment.network
    if network == "observe":
        yield "reaches: every host that the instance does not deny, in a run by hand only"
    elif not isinstance(network, str) and network:
        yield f"reaches: {', '.join(network)}"


def _checks(title: str, name: str, checks: tuple[Check, ...]) -> Iterator[Block]:
    rows: list[tuple[Cell, ...]] = [
        (f"{name}[{index}]", check.kind, check.evidence.value, sentence(check)) for index, check in enumerate(checks)
    ]
    yield from _titled(title, rows)


def _titled(title: str, rows: list[tuple[Cell, ...]]) -> Iterator[Block]:
    if rows:
        yield Line("")
        yield Line(Ink(title, "bold"))
        yield Table(tuple(rows))


def _setting(setting: Setting) -> tuple[Cell, ...]:
    return (setting.key, json_text(setting.value), "" if setting.given else Ink("default", "dim"))


def _version(loaded: Loaded) -> str | None:
    """Return the version if the folder alone decides it: no skill of a repository, an agent that is built."""
    routine = loaded.routine
    try:
        skill = find_skill(routine.skill, loaded.tree).tree if routine.skill else None
        build = find("agents", routine.agent_name)().build
    except TickoverError:
        return None
    return resolve_version(
        loaded.raw, routine.environment, skill=skill, checks=checks_of(loaded.tree), agent_build=build
    )
