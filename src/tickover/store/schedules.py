"""Schedules in SQLite: the next slot of each stands in its row, every slot whose time came is a row of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tickover.store.database import Database
from tickover.store.encoding import decode_json, encode_json
from tickover.store.server import Advance, ScheduleRecord, SlotRecord
from tickover.store.wake import ENGINE, Wakes


class SqliteSchedules:
    """`Schedules`."""

    def __init__(self, database: Database, wakes: Wakes) -> None:
        self._database = database
        self._wakes = wakes

    def replace(self, routine: str, schedules: Sequence[ScheduleRecord]) -> None:
        with self._database.writing():
            kept = {each.id for each in schedules}
            for id_, *_ in self._database.run("schedules_of", (routine,)).fetchall():
                if id_ not in kept:
                    self._database.run("drop_schedule", (id_,))
            for each in schedules:
                told = {
                    "id": each.id,
                    "routine": each.routine,
                    "spec": encode_json(each.spec),
                    "slot": each.slot,
                    "fire_at": each.fire_at,
                    "after": each.after,
                    "enabled": int(each.enabled),
                }
                self._database.run("put_schedule", told)
        self._wakes.notify(ENGINE)

    def of(self, routine: str) -> Sequence[ScheduleRecord]:
        with self._database.reading():
            return [_schedule(found) for found in self._database.run("schedules_of", (routine,))]

    def due(self, now: float, limit: int) -> Sequence[ScheduleRecord]:
        with self._database.reading():
            return [_schedule(found) for found in self._database.run("due_schedules", (now, limit))]

    def next_fire(self) -> float | None:
        with self._database.reading():
            found = self._database.run("next_fire").fetchone()
        return None if found is None or found[0] is None else float(found[0])

    def advance(self, steps: Sequence[Advance]) -> int:
        with self._database.writing():
            moved = [step for step in steps if self._move(step)]
            self._note(each for step in moved for each in step.slots)
            return len(moved)

    def _move(self, step: Advance) -> bool:
        told = {"id": step.id, "slot": step.slot, "fire_at": step.fire_at, "after": step.after, "before": step.before}
        return self._database.run("advance_schedule", told).rowcount == 1

    def _note(self, slots: Iterable[SlotRecord]) -> None:
        rows = [
            (each.schedule, each.slot, each.last, each.slots, each.routine, each.kind, each.reason) for each in slots
        ]
        if rows:
            self._database.run_many("put_slot", rows)

    def open_slots(self, limit: int) -> Sequence[SlotRecord]:
        with self._database.reading():
            return [SlotRecord(*found) for found in self._database.run("open_slots", (limit,))]

    def close_slots(self, made: Sequence[tuple[str, float, str]]) -> None:
        with self._database.writing():
            self._database.run_many("close_slot", [(run, schedule, slot) for schedule, slot, run in made])

    def slots(self, schedule: str, limit: int = 50) -> Sequence[SlotRecord]:
        with self._database.reading():
            return [SlotRecord(*found) for found in self._database.run("slots_of", (schedule, limit))]

    def enable(self, routine: str, enabled: bool, plans: Sequence[Advance] = ()) -> None:
        with self._database.writing():
            self._database.run("enable_schedules", {"routine": routine, "enabled": int(enabled)})
            self._note(each for plan in plans if self._move(plan) for each in plan.slots)
        self._wakes.notify(ENGINE)

    def all(self, after: str, limit: int) -> Sequence[ScheduleRecord]:
        with self._database.reading():
            return [_schedule(found) for found in self._database.run("all_schedules", (after, limit))]

    def note(self, name: str, value: str | None = None) -> str | None:
        if value is not None:
            with self._database.writing():
                self._database.run("put_note", (name, value))
            return value
        with self._database.reading():
            found = self._database.run("get_note", (name,)).fetchone()
        return None if found is None else str(found[0])


def _schedule(found: Sequence[Any]) -> ScheduleRecord:
    id_, routine, spec, slot, fire_at, after, enabled = found
    return ScheduleRecord(id_, routine, _spec(spec), slot, fire_at, after, bool(enabled))


@lru_cache(1024)
def _spec(text: str) -> Mapping[str, Any]:
    """Decode what a schedule says, once for the many that say the same; nobody changes it."""
    found: Mapping[str, Any] = decode_json(text)
    return found
