"""When a schedule fires: slots of cron lines, intervals and moments. Pure: the zone and every moment are arguments.

A *slot* is the moment a schedule names, in UTC epoch seconds; it fires `stagger` later. At the hour that a clock
skips in spring, a cron line of fixed times fires at the first minute after it; at the hour that comes twice in
autumn, once. Lines that begin with `*` in minute or hour go by the time that passes. (Rules and code of cronsim,
which follows Debian's cron.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final, Literal

from cronsim import CronSim, CronSimError

from tickover.core.trigger import PRESETS, ScheduleTrigger

CatchUp = Literal["latest", "all", "none"]

GRACE_S: Final = 60.0
"""A slot that is later than this is late: `catch_up: none` lets it go, and a run of it says so."""

MOST_CAUGHT_UP: Final = 1000
"""Slots that `catch_up: all` makes runs of after one outage; those before them are missed."""

MOST_COUNTED: Final = 20_000
"""Slots of a cron line that are counted one by one; of more, `at least` so many are missed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule made ready. Exactly one of `cron` (five fields), `every_s` and `at` is given."""

    zone: tzinfo
    cron: str | None = None
    every_s: int | None = None
    at: float | None = None
    catch_up: CatchUp = "latest"
    stagger_s: int = 0


@dataclass(frozen=True, slots=True)
class Missed:
    """`count` slots from `first` to `last` of which no run is made; `more`: there were even more."""

    first: float
    last: float
    count: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What the clock asks of a schedule: the slots to fire, the slots let go, the next slot (None: never again)."""

    fire: tuple[float, ...]
    missed: Missed | None
    next: float | None


def plan_of(trigger: ScheduleTrigger, zone: tzinfo) -> Plan:
    """Make a trigger ready; `zone` is what its `time_zone` names."""
    cron = None if trigger.cron is None else PRESETS.get(trigger.cron, trigger.cron)
    return Plan(
        zone=zone,
        cron=cron,
        every_s=None if trigger.every is None else int(trigger.every),
        at=None if trigger.at is None else datetime.fromisoformat(trigger.at).timestamp(),
        catch_up=trigger.catch_up,
        stagger_s=int(trigger.stagger),
    )


def spec_of(trigger: ScheduleTrigger) -> dict[str, Any]:
    """Return the trigger as JSON that `ScheduleTrigger.model_validate` reads."""
    return trigger.model_dump(mode="json", by_alias=True, exclude_none=True)


def schedule_id(routine: str, spec: dict[str, Any], again: int = 0) -> str:
    """Name a schedule by its routine and what it says, so that a push that does not change it lets it run on.

    `again` counts equal triggers of one routine.
    """
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{routine}#{digest}" + (f"-{again}" if again else "")


def offset_of(id_: str, stagger_s: int) -> int:
    """Return how many seconds after its slots this schedule fires: the same for ever, spread evenly over schedules."""
    if stagger_s <= 0:
        return 0
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "big") % stagger_s


def next_slot(plan: Plan, after: float) -> float | None:
    """Return the first slot later than `after`; None where there is none in the next fifty years."""
    return next(slots(plan, after), None)


def slots(plan: Plan, after: float) -> Iterator[float]:
    """Yield the slots later than `after`, in order."""
    if plan.at is not None:
        if plan.at > after:
            yield plan.at
    elif plan.every_s is not None:
        # Counted from 1970-01-01T00:00Z: no push and no restart moves them.
        slot = (int(after // plan.every_s) + 1) * plan.every_s
        while True:
            yield float(slot)
            slot += plan.every_s
    else:
        yield from _cron_slots(plan, after)


def _cron_slots(plan: Plan, after: float) -> Iterator[float]:
    assert plan.cron is not None
    while (slot := _next_cron_slot(plan.cron, plan.zone, after)) is not None:
        yield slot
        after = slot


@lru_cache(maxsize=65536)  # many schedules say the same line
def _next_cron_slot(cron: str, zone: tzinfo, after: float) -> float | None:
    slot = _simulated(cron, zone, after)
    change = None if slot is None else _half_hour_change(zone, after, slot)
    if slot is None or change is None:
        return slot
    # cronsim steps by whole hours, and so over a slot after such a change
    sooner = [_simulated(cron, zone, start) for start in (change, change + 3600)]
    return min([slot, *(each for each in sooner if each is not None)])


def _simulated(cron: str, zone: tzinfo, after: float) -> float | None:
    try:
        for moment in CronSim(cron, datetime.fromtimestamp(after, zone)):
            if (slot := moment.timestamp()) > after:  # in an hour that comes twice, it may be the first of the two
                return slot
    except (CronSimError, ValueError, OverflowError):
        pass
    return None


def _half_hour_change(zone: tzinfo, start: float, end: float) -> float | None:
    """Find the moment at which the clock moved by no whole hour, as on Lord Howe Island; None: it did not."""

    def offset(at: float) -> float:
        moved = datetime.fromtimestamp(at, zone).utcoffset()
        return moved.total_seconds() if moved else 0.0

    before = offset(start)
    if (offset(end) - before) % 3600 == 0:
        return None
    while end - start > 1:
        middle = float(int((start + end) / 2))
        start, end = (middle, end) if offset(middle) == before else (start, middle)
    return end


def turn(plan: Plan, slot: float, now: float, *, offset: int = 0) -> Turn:
    """Decide about the slots from `slot` on whose time has come at `now`."""
    due = [slot]
    more = False
    upcoming: float | None = None
    for later in slots(plan, slot):
        if later + offset > now:
            upcoming = later
            break
        if len(due) >= MOST_COUNTED:
            more = True
            break
        due.append(later)
    if more:
        last = _latest(plan, now - offset, due[-1])
        due[-1] = last
        upcoming = next_slot(plan, last)
    keep = {"latest": 1, "all": MOST_CAUGHT_UP, "none": 1}[plan.catch_up]
    if plan.catch_up == "none" and now - (due[-1] + offset) > GRACE_S:
        keep = 0
    gone, fire = due[: len(due) - keep], due[len(due) - keep :]
    missed = Missed(gone[0], gone[-1], len(gone), more) if gone else None
    return Turn(tuple(fire), missed, upcoming)


def _latest(plan: Plan, now: float, at_least: float) -> float:
    """Return the last slot that is not later than `now`, without counting there."""
    if plan.every_s is not None:
        return float(int(now // plan.every_s) * plan.every_s)
    assert plan.cron is not None
    before = datetime.fromtimestamp(now, plan.zone) + timedelta(seconds=1)
    try:
        return max(next(CronSim(plan.cron, before, reverse=True)).timestamp(), at_least)
    except (CronSimError, StopIteration, ValueError, OverflowError):
        return at_least
