"""`tickover routine pause|resume|next`: pushed routines and their schedules."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click

from tickover.app import home_folder
from tickover.cli import options
from tickover.cli.blocks import Block, Ink, Line, Table
from tickover.cli.find import find_routine, own_name
from tickover.cli.output import print_json, screen
from tickover.cli.who import who
from tickover.cli.wire import FORMAT, iso
from tickover.cli.words import ago
from tickover.control.registry import plans_of
from tickover.core.schedule import offset_of, plan_of, slots
from tickover.core.trigger import ScheduleTrigger
from tickover.routines.loader import load_folder
from tickover.store.server import RoutineRecord

_SHOWN: Final = 5
_RULE: Final = (
    "A line of fixed times fires once where the clock repeats an hour, and at the first minute after one it skips."
)


def registered(home: Path | None) -> dict[str, RoutineRecord]:
    """Return what was pushed to the data folder, by name. Where there is no folder, nothing was, and none is made."""
    if not (home or home_folder()).is_dir():
        return {}
    with options.reading(home) as tickover:
        return {each.name: each for each in tickover.registry.list()}


def pause_line(record: RoutineRecord | None) -> str | None:
    """Say that a pushed routine is paused, why, and how that ends; None while it may start."""
    if record is None or record.paused_at is None:
        return None
    return f"{record.paused_reason or f'by {record.paused_by}'}; `{own_name()} routine resume {record.name}`"


@click.command(epilog="\b\nExample:\n  tickover routine pause hello --reason 'the wiki is moving'")
@click.argument("name", metavar="NAME")
@click.option("--reason", default="", metavar="TEXT", help="Why; `push` and every refused run say it.")
@options.home
def pause(name: str, reason: str, home: Path | None) -> None:
    """Start nothing of a pushed routine any more. What runs goes on; wishes for it are refused with the reason."""
    with options.reading(home) as tickover:
        tickover.pause(name, who(), reason)
    screen(sys.stderr).show(Line(f"{name} is paused; `tickover routine resume {name}`"))


@click.command(epilog="\b\nExample:\n  tickover routine resume hello")
@click.argument("name", metavar="NAME")
@options.home
def resume(name: str, home: Path | None) -> None:
    """Let a paused routine start again. Its schedules go on from now; failures so far are forgiven."""
    with options.reading(home) as tickover:
        tickover.resume(name, who())
    screen(sys.stderr).show(Line(f"{name} may start again"))


@click.command(name="next", epilog="\b\nExample:\n  tickover routine next routines/hello -n 10")
@click.argument("routine", metavar="FOLDER|NAME")
@click.option("-n", "count", type=click.IntRange(1, 100), default=_SHOWN, show_default=True, help="How many firings.")
@options.as_json("the firings")
@options.home
@options.no_color
def next_(*, routine: str, count: int, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Show when a routine's schedules fire next, by the clock of their zone and in UTC. Nothing is started."""
    loaded = load_folder(str(find_routine(routine)))
    now = time.time()
    found = [
        (trigger, record.id, list(itertools.islice(_firings(trigger, record.id, now), count)))
        for trigger, record in zip(
            (each for each in loaded.routine.on if isinstance(each, ScheduleTrigger)),
            plans_of(loaded.routine, now),
            strict=True,
        )
    ]
    if as_json:
        print_json([_told(*each) for each in found])
    elif found:
        screen(no_color=no_color).show(*_page(found, now))
        if paused := pause_line(registered(home).get(loaded.routine.name)):
            screen(sys.stderr).show(Line(Ink("▲ paused  ", "warn"), paused))
    else:
        screen(sys.stderr).show(Line(f"{loaded.routine.name} has no schedule"))


def _firings(trigger: ScheduleTrigger, id_: str, now: float) -> Iterator[tuple[float, float]]:
    """Yield slot and firing."""
    plan = plan_of(trigger, ZoneInfo(trigger.time_zone))
    offset = offset_of(id_, plan.stagger_s)
    return ((slot, slot + offset) for slot in slots(plan, now - offset) if slot + offset > now)


Found = tuple[ScheduleTrigger, str, list[tuple[float, float]]]


def _says(trigger: ScheduleTrigger) -> str:
    what = trigger.cron or (f"every {trigger.every}" if trigger.every else f"at {trigger.at}")
    stagger = f", staggered within {trigger.stagger}" if trigger.stagger else ""
    return f"{what} ({trigger.time_zone}){stagger}, catch_up {trigger.catch_up}"


def _told(trigger: ScheduleTrigger, id_: str, firings: list[tuple[float, float]]) -> dict[str, Any]:
    zone = ZoneInfo(trigger.time_zone)
    return {
        "format": FORMAT,
        "schedule": id_,
        "says": _says(trigger),
        "firings": [
            {"slot": iso(slot), "fire_at": iso(at), "local": datetime.fromtimestamp(at, zone).isoformat()}
            for slot, at in firings
        ],
    }


def _page(found: list[Found], now: float) -> Iterator[Block]:
    for trigger, _, firings in found:
        yield Line(Ink(_says(trigger), "bold"))
        zone = ZoneInfo(trigger.time_zone)
        rows = tuple(
            (
                f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d %H:%M:%S %Z}",
                f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC",
                Ink(ago(at, now), "dim"),
            )
            for _, at in firings
        )
        yield Table(rows) if rows else Line("never again", indent=2)
    if any(trigger.cron for trigger, _, _ in found):
        yield Line(Ink(_RULE, "dim"))
