"""The queue of runs in SQLite: a run, its first facts and its place are written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from tickover.core.admission import DAY_S, Counts, Needs
from tickover.store.base import OUTSIDE, Event
from tickover.store.database import Database
from tickover.store.rules import printable, run_id
from tickover.store.server import EVERYTHING, Entry, Judge, Queued, Stage
from tickover.store.wake import ENGINE, Wakes

_AT_ONCE: Final = 64  # held runs that are woken by one free place at most: one is the rule


class _Appender(Protocol):
    def append_within(self, run: str, fence: int, events: Sequence[Event], *, attempt: int = 0) -> int: ...


class SqliteQueue:
    """`Queue`. Whoever changes what an engine would do next wakes it, in whatever process it is."""

    def __init__(self, database: Database, journal: _Appender, wakes: Wakes) -> None:
        self._database = database
        self._journal = journal
        self._wakes = wakes

    def enqueue(self, entry: Entry, judge: Judge) -> tuple[str, bool]:
        return self.enqueue_all([(entry, judge)])[0]

    def enqueue_all(self, wanted: Sequence[tuple[Entry, Judge]]) -> list[tuple[str, bool]]:
        touched: list[str] = []
        with self._database.writing():
            made = [self._enqueue(entry, judge, touched) for entry, judge in wanted]
        for run in touched:
            self._wakes.notify(run)
        if touched:
            self._wakes.notify(ENGINE)
        return made

    def _enqueue(self, entry: Entry, judge: Judge, touched: list[str]) -> tuple[str, bool]:
        if entry.key is not None:
            found = self._database.run("queue_key", (entry.routine, printable(entry.key))).fetchone()
            if found is not None:
                return str(found[0]), False
        admitted = judge(self._counts(entry.routine, entry.at, entry.needs))
        self._journal.append_within(run_id(entry.run), OUTSIDE, admitted.events)
        touched.append(entry.run)
        for run in admitted.replaces:
            asked = {"type": "cancel_requested", "version": 1, "by": f"run {entry.run}, which replaces it"}
            self._journal.append_within(run, OUTSIDE, [asked])
            self._database.run("wake", {"run": run, "at": entry.at})
            touched.append(run)
        told = {
            "run": entry.run,
            "routine": entry.routine,
            "key": None if entry.key is None else printable(entry.key),
            "priority": entry.priority,
            "places": entry.places,
            "at": entry.at,
            "stage": admitted.stage,
            "wake_at": admitted.wake_at,
        }
        self._database.run("put_queue", told)
        return entry.run, True

    def counts(self, routine: str, at: float, needs: Needs = EVERYTHING) -> Counts:
        with self._database.reading():
            return self._counts(routine, at, needs)

    def _counts(self, routine: str, at: float, needs: Needs) -> Counts:
        run = self._database.run
        window = {"routine": routine, "since": at - DAY_S}
        paused = run("get_routine", (routine,)).fetchone()
        reason = None
        if paused is not None and paused[4] is not None:
            reason = f"paused by {paused[5]}: {paused[6]}" if paused[6] else f"paused by {paused[5]}"
        runs, oldest = run("recent_runs", window).fetchone() if needs.runs else (0, None)
        all_runs, all_oldest = (
            run("recent_runs_of_all", {"since": at - DAY_S}).fetchone() if needs.all_runs else (0, None)
        )
        last = run("last_due", {"routine": routine}).fetchone() if needs.last else None
        first, cost, unpriced = run("recent_costs", window).fetchone() if needs.cost else (None, None, None)
        active = run("active_runs", {"routine": routine, "limit": needs.active})
        return Counts(
            at=at,
            paused=reason,
            active=tuple(str(found) for (found,) in active),
            runs=runs,
            oldest=first if oldest is None else oldest,
            all_runs=all_runs,
            all_oldest=all_oldest,
            last_due=None if last is None else last[0],
            cost_usd=cost or 0.0,
            unpriced=unpriced or 0,
        )

    def take(self, now: float, limit: int, until: float) -> Sequence[Queued]:
        with self._database.writing():
            taken = [Queued(*found) for found in self._database.run("take", {"now": now, "limit": limit})]
            self._database.run_many("look_again", [(until, each.run) for each in taken])
        return taken

    def next_wake(self) -> float | None:
        with self._database.reading():
            found = self._database.run("next_wake").fetchone()
        return None if found is None or found[0] is None else float(found[0])

    def wake(self, run: str, at: float) -> bool:
        with self._database.writing():
            there = self._database.run("wake", {"run": run_id(run), "at": at}).rowcount == 1
        self._wakes.notify(ENGINE)
        return there

    def claim(self, run: str, places: int, now: float) -> bool:
        with self._database.writing():
            found = self._database.run("queue_row", (run_id(run),)).fetchone()
            if found is None:
                return False
            _, routine, stage, wake_at, own, priority, queued_at = found
            if stage == "working":
                return True
            of_routine, of_all = self._database.run("working", {"routine": routine}).fetchone()
            mine = {"run": run, "priority": priority, "queued_at": queued_at, "now": now}
            ahead = None
            if free := of_routine < own and of_all < places:
                ahead = self._database.run("ahead", mine).fetchone()
            if free and ahead is None:
                self._database.run("set_stage", {"run": run, "stage": "working", "wake_at": wake_at})
                self._wake_held(now, places)
                return True
            self._database.run("set_stage", {"run": run, "stage": "waiting", "wake_at": None})
            if ahead is not None:
                self._database.run("wake", {"run": ahead[0], "at": now})
        self._wakes.notify(ENGINE)
        return False

    def park(self, run: str, stage: Stage, wake_at: float | None, *, now: float, places: int) -> None:
        with self._database.writing():
            self._database.run("set_stage", {"run": run_id(run), "stage": stage, "wake_at": wake_at})
            self._wake_held(now, places)
        self._wakes.notify(ENGINE)

    def recover(self, now: float, places: int) -> int:
        with self._database.writing():
            woken = self._database.run("recover_queue", {"now": now}).rowcount
            return woken + self._wake_held(now, places)

    def _wake_held(self, now: float, places: int) -> int:
        _, of_all = self._database.run("working", {"routine": ""}).fetchone()
        free = min(places - of_all, _AT_ONCE)
        if free <= 0:
            return 0
        held = self._database.run("held_with_a_place", {"limit": free}).fetchall()
        self._database.run_many("look_again", [(now, found) for (found,) in held])
        return len(held)
