"""From slots to runs: whatever the clock, the machine or this process did meanwhile, each slot is accounted for.

The next slot of every schedule stands in a row before its time comes. When it has come, one transaction notes the slots
as fired or missed and the next one in their place; then each becomes a run, once, because the slot is its key. A
process that dies between the two leaves slots without a run, and the next one makes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from tickover.control.enqueue import Desk
from tickover.control.registry import plan_of_record
from tickover.core.errors import TickoverError
from tickover.core.schedule import Plan, Turn, next_slot, offset_of, turn
from tickover.core.wish import Wish
from tickover.engine.base import Clock
from tickover.store.errors import StoreError
from tickover.store.server import Advance, Entry, Judge, ScheduleRecord, Schedules, SlotRecord

BATCH: Final = 1000  # schedules that are advanced in one transaction
_RUNS: Final = 50  # runs that are made in one transaction: nobody else writes meanwhile
_SLACK_S: Final = 5.0  # of two clocks against one another
_AFTER_ERROR_S: Final = 5.0
TRIGGER: Final = "schedule"


@dataclass(slots=True)
class Watch:
    """Tells why slots were missed: three clocks, looked at each turn.

    `boot` goes on while the machine is suspended, `monotonic` does not, and neither follows when the clock is set.
    """

    boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    monotonic: Callable[[], float] = time.monotonic
    _last: tuple[float, float, float] | None = field(default=None, init=False)

    def why(self, now: float) -> str:
        """Return why a slot between the last look and this one was not fired in time."""
        last, self._last = self._last, (now, self.boot(), self.monotonic())
        if last is None:
            return "no server was running"
        wall, boot, awake = (new - old for new, old in zip(self._last, last, strict=True))
        if boot - awake > _SLACK_S:
            return f"the machine was suspended for {boot - awake:.0f} s"
        if wall - boot > _SLACK_S:
            return f"the clock was set forward by {wall - boot:.0f} s"
        return "the server was late"


class Scheduler:
    """Fires schedules. `report` is told what a turn raised; it is tried again."""

    def __init__(
        self,
        schedules: Schedules,
        desk: Desk,
        clock: Clock,
        *,
        watch: Watch | None = None,
        report: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self._schedules = schedules
        self._desk = desk
        self._queue = desk.store.queue
        self._clock = clock
        self._watch = watch or Watch()
        self._report = report
        self._bell = asyncio.Event()
        self._plans: dict[str, Plan] = {}

    def ring(self) -> None:
        """Look at the schedules: somebody changed them."""
        self._bell.set()

    async def serve(self) -> None:
        """Fire until cancelled."""
        while True:
            try:
                at = await asyncio.to_thread(self.turn)
            except (StoreError, OSError) as error:
                self._report(error)
                at = self._clock.now() + _AFTER_ERROR_S
            await self._clock.until(at, self._bell)

    def turn(self) -> float | None:
        """Do all that is due, and return when the next slot is."""
        why = self._watch.why(self._clock.now())
        self._make_runs()
        while due := self._schedules.due(now := self._clock.now(), BATCH):
            self._schedules.advance([self._advance(each, now, why) for each in due])
            self._make_runs()
        return self._schedules.next_fire()

    def _advance(self, record: ScheduleRecord, now: float, why: str) -> Advance:
        assert record.slot is not None
        plan = self._plan(record)
        offset = offset_of(record.id, plan.stagger_s)
        decided = turn(plan, record.slot, now, offset=offset)
        slots = [
            SlotRecord(record.id, slot, slot, 1, record.routine, "fired", reason=f"{slot + offset!r}")
            for slot in decided.fire
        ]
        if decided.missed is not None:
            gone = decided.missed
            reason = _told(decided, why)
            slots.append(SlotRecord(record.id, gone.first, gone.last, gone.count, record.routine, "missed", reason))
        fire_at = None if decided.next is None else decided.next + offset
        after = max([record.slot, *decided.fire])
        return Advance(record.id, record.slot, slots, decided.next, fire_at, after)

    def _plan(self, record: ScheduleRecord) -> Plan:
        says = str(record.spec)  # many schedules say the same
        if says not in self._plans:
            if len(self._plans) > 100_000:
                self._plans.clear()
            self._plans[says] = plan_of_record(record)
        return self._plans[says]

    def _make_runs(self) -> None:
        while slots := self._schedules.open_slots(_RUNS):
            made = self._queue.enqueue_all([self._wanted(each) for each in slots])
            runs = [(slot.schedule, slot.slot, run) for slot, (run, _) in zip(slots, made, strict=True)]
            self._schedules.close_slots(runs)

    def _wanted(self, slot: SlotRecord) -> tuple[Entry, Judge]:
        key = f"{slot.schedule}@{slot.slot!r}"
        reason = slot.reason
        if slot.kind == "fired":
            try:
                wish = Wish(slot.routine, TRIGGER, key=key, by=slot.schedule)
                entry, judge, _ = self._desk.wanted(wish, due=float(slot.reason))
                return entry, judge
            except StoreError:
                raise
            except (TickoverError, OSError) as error:  # its files are gone or damaged: the slot is a row all the same
                reason = str(error)
        return self._desk.missed(slot.routine, key=key, due=slot.slot, reason=reason, trigger=TRIGGER)


def recompute(schedules: Schedules) -> int:
    """Look for every cron line's next slot anew, because time zones have changed; return how many moved."""
    moved, after = 0, ""
    while page := schedules.all(after, BATCH):
        after = page[-1].id
        steps = []
        for each in page:
            plan = plan_of_record(each)
            slot = next_slot(plan, each.after) if plan.cron is not None and each.slot is not None else each.slot
            if slot != each.slot:
                fire_at = None if slot is None else slot + offset_of(each.id, plan.stagger_s)
                steps.append(Advance(each.id, each.slot, (), slot, fire_at, each.after))
        moved += schedules.advance(steps) if steps else 0
    return moved


def _told(decided: Turn, why: str) -> str:
    gone = decided.missed
    assert gone is not None
    if gone.count == 1:
        return f"the slot of {_moment(gone.first)} was not fired: {why}"
    many = f"{'at least ' if gone.more else ''}{gone.count} slots from {_moment(gone.first)} to {_moment(gone.last)}"
    return f"{many} were not fired: {why}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
