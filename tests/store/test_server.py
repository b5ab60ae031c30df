"""What a server keeps beside the journal: the registry, the queue and its places, schedules and their slots."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickover.core.admission import DAY_S, Counts
from tickover.core.event import RunCreated, payload
from tickover.core.row import RunRow
from tickover.store.projection import project_run
from tickover.store.server import Admitted, Advance, Entry, ScheduleRecord, SlotRecord
from tickover.store.sqlite import SqliteStore

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(str(tmp_path), project_run, clock=lambda: NOW) as store:
        yield store


def events(routine: str = "r") -> list[dict[str, object]]:
    created = RunCreated(routine=routine, queued=True, due=NOW)
    return [{"type": created.type, **payload(created)}]


def put(
    store: SqliteStore, run: str, routine: str = "r", *, key: str | None = None, priority: int = 0, places: int = 1
) -> tuple[str, bool]:
    entry = Entry(run, routine, key, priority, places, NOW)
    return store.queue.enqueue(entry, lambda _counts: Admitted(events(routine), NOW))


# -- the queue -------------------------------------------------------------------------------------------------------


def test_a_key_is_one_run_however_many_ask(store: SqliteStore) -> None:
    answers: list[tuple[str, bool]] = []
    askers = [threading.Thread(target=lambda n=n: answers.append(put(store, f"run-{n}", key="k"))) for n in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert sum(new for _, new in answers) == 1
    assert len({run for run, _ in answers}) == 1
    assert len(store.runs.list()) == 1


def test_a_judge_that_raises_leaves_nothing(store: SqliteStore) -> None:
    def judge(_counts: Counts) -> Admitted:
        raise KeyError("no")

    with pytest.raises(KeyError):
        store.queue.enqueue(Entry("run-1", "r", "k", 0, 1, NOW), judge)
    assert store.runs.list() == []
    assert put(store, "run-1", key="k") == ("run-1", True)


def test_counts(store: SqliteStore) -> None:
    put(store, "run-1")
    put(store, "run-2", "s")
    store.routines.put("r", "v", at=NOW, by="ann")
    counts = store.queue.counts("r", NOW + 5)
    assert (counts.active, counts.runs, counts.all_runs) == (("run-1",), 1, 2)
    assert (counts.oldest, counts.last_due, counts.paused, counts.cost_usd) == (NOW, NOW, None, 0.0)
    assert store.queue.counts("r", NOW + DAY_S + 1).runs == 0
    store.routines.pause("r", at=NOW, by="ann", reason="why")
    assert store.queue.counts("r", NOW).paused == "paused by ann: why"


def test_take_is_by_time_and_priority_and_hides_what_was_taken(store: SqliteStore) -> None:
    put(store, "low")
    put(store, "high", "s", priority=3)
    store.queue.wake("low", NOW - 5)
    assert store.queue.take(NOW - 10, 10, NOW) == []
    assert [each.run for each in store.queue.take(NOW, 1, NOW + 30)] == ["high"]
    assert [each.run for each in store.queue.take(NOW, 10, NOW + 30)] == ["low"]
    assert store.queue.next_wake() == NOW + 30
    assert [each.run for each in store.queue.take(NOW + 30, 10, NOW + 60)] == ["high", "low"]


def test_places_of_a_routine_and_of_all(store: SqliteStore) -> None:
    for run, routine in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")):
        put(store, run, routine)
    claimed = [run for run in ("a1", "a2", "b1", "c1") if store.queue.claim(run, 2, NOW)]
    assert claimed == ["a1", "b1"]
    assert store.queue.claim("a1", 2, NOW)  # it has its place
    assert store.queue.next_wake() == NOW
    store.queue.take(NOW, 10, NOW + 30)
    store.queue.park("b1", "done", None, now=NOW + 1, places=2)
    woken = [each.run for each in store.queue.take(NOW + 1, 10, NOW + 31)]
    assert woken == ["c1"]  # not a2: its routine has no place
    assert store.queue.claim("c1", 2, NOW + 1)
    store.queue.park("a1", "done", None, now=NOW + 2, places=2)
    assert [each.run for each in store.queue.take(NOW + 2, 10, NOW + 32)] == ["a2"]


def test_who_is_first_gets_the_place(store: SqliteStore) -> None:
    put(store, "low")
    put(store, "high", priority=1)
    assert not store.queue.claim("low", 8, NOW)
    assert store.queue.claim("high", 8, NOW)


def test_who_waits_for_its_moment_stands_in_nobodys_way(store: SqliteStore) -> None:
    put(store, "retry", priority=9)
    store.queue.park("retry", "waiting", NOW + 600, now=NOW, places=8)
    put(store, "other")
    assert store.queue.claim("other", 8, NOW)


def test_what_is_done_is_not_woken(store: SqliteStore) -> None:
    put(store, "run-1")
    store.queue.park("run-1", "done", None, now=NOW, places=8)
    assert not store.queue.wake("run-1", NOW)
    assert not store.queue.wake("nobody", NOW)
    assert store.queue.next_wake() is None
    assert store.queue.recover(NOW, 8) == 0


def test_after_a_crash_everything_that_was_under_way_is_looked_at(store: SqliteStore) -> None:
    for run in ("1-working", "2-taken", "3-held", "4-settling"):
        put(store, run, run)
    assert store.queue.claim("1-working", 1, NOW)
    assert not store.queue.claim("3-held", 1, NOW)
    store.queue.take(NOW, 10, NOW + 30)
    store.queue.park("4-settling", "settling", NOW + 500, now=NOW, places=1)
    store.queue.recover(NOW + 1, 8)
    assert {each.run for each in store.queue.take(NOW + 1, 10, NOW + 31)} == {"1-working", "2-taken", "3-held"}
    assert [each.run for each in store.queue.take(NOW + 500, 10, NOW + 531) if each.stage == "settling"] == [
        "4-settling"
    ]


def test_whoever_changes_the_queue_rings(store: SqliteStore, tmp_path: Path) -> None:
    bell, close = store.bell()
    try:
        with SqliteStore(str(tmp_path), project_run) as other:
            put(other, "run-1")
        assert select.select([bell], [], [], 60)[0]
    finally:
        close()


def test_a_run_of_the_queue_is_an_ordinary_run(store: SqliteStore) -> None:
    put(store, "run-1")
    assert RunRow.model_validate(store.runs.get("run-1").row).queued
    lease = store.leases.acquire("run-1", "me", 30)
    store.journal.append("run-1", lease.fence, [{"type": "attempt_started", "version": 1, "attempt": 1}])


# -- the registry ----------------------------------------------------------------------------------------------------


def test_the_registry(store: SqliteStore) -> None:
    assert store.routines.get("r") is None
    store.routines.put("r", "one", at=NOW, by="ann\ud800")
    assert store.routines.pause("r", at=NOW, by="ann", reason="x")
    assert not store.routines.pause("r", at=NOW + 9, by="bob", reason="y")
    record = store.routines.put("r", "two", at=NOW + 1, by="bob")
    assert (record.version, record.paused_by, record.paused_reason) == ("two", "ann", "x")
    assert [version for version, _, _ in store.routines.versions("r")] == ["two", "one"]
    assert store.routines.resume("r", at=NOW + 2)
    assert not store.routines.resume("r", at=NOW + 3)
    assert store.routines.list()[0].resumed_at == NOW + 2
    assert not store.routines.pause("nobody", at=NOW, by="", reason="")


# -- schedules -------------------------------------------------------------------------------------------------------


def schedule(id_: str, slot: float | None = NOW) -> ScheduleRecord:
    return ScheduleRecord(id_, "r", {"every": "1h"}, slot, slot, NOW - 1)


def fired(id_: str, slot: float) -> SlotRecord:
    return SlotRecord(id_, slot, slot, 1, "r", "fired")


def test_a_slot_is_noted_once_and_only_by_who_saw_it(store: SqliteStore) -> None:
    store.schedules.replace("r", [schedule("a"), schedule("b", NOW + 60)])
    assert [each.id for each in store.schedules.due(NOW, 10)] == ["a"]
    step = Advance("a", NOW, [fired("a", NOW)], NOW + 3600, NOW + 3600, NOW)
    assert store.schedules.advance([step]) == 1
    assert store.schedules.advance([step]) == 0  # somebody was faster
    assert [each.slot for each in store.schedules.open_slots(10)] == [NOW]
    assert store.schedules.next_fire() == NOW + 60
    back = Advance("a", NOW + 3600, [fired("a", NOW)], NOW + 7200, NOW + 7200, NOW)
    assert store.schedules.advance([back]) == 1  # a clock that was set back: the slot is there already
    assert len(store.schedules.slots("a")) == 1
    store.schedules.close_slots([("a", NOW, "run-1")])
    assert store.schedules.open_slots(10) == []
    assert store.schedules.slots("a")[0].run == "run-1"


def test_replacing_keeps_the_slot_of_what_stays(store: SqliteStore) -> None:
    store.schedules.replace("r", [schedule("a"), schedule("b")])
    store.schedules.replace("r", [schedule("a", NOW + 9), schedule("c", None)])
    assert [(each.id, each.slot) for each in store.schedules.of("r")] == [("a", NOW), ("c", None)]


def test_a_schedule_that_is_off_is_not_due(store: SqliteStore) -> None:
    store.schedules.replace("r", [schedule("a")])
    store.schedules.enable("r", enabled=False)
    assert store.schedules.due(NOW, 10) == []
    assert store.schedules.next_fire() is None
    store.schedules.enable("r", enabled=True, plans=[Advance("a", NOW, (), NOW + 60, NOW + 60, NOW)])
    assert store.schedules.next_fire() == NOW + 60


@pytest.mark.parametrize("query", ["due_schedules", "next_fire", "take", "next_wake", "ahead", "held_with_a_place"])
def test_queries_of_an_idle_server_use_an_index(store: SqliteStore, query: str) -> None:
    parameters = {"due_schedules": (NOW, 10)}.get(query, {
        "now": NOW, "limit": 1, "run": "x", "priority": 0, "queued_at": NOW,
    })  # fmt: skip
    sql = f"EXPLAIN QUERY PLAN {store._database.queries[query]}"
    with store._database.reading():
        plan = [row[3] for row in store._database.run_sql(sql, parameters)]
    assert not [line for line in plan if line.startswith("SCAN") and "INDEX" not in line], plan
    assert not [line for line in plan if "TEMP B-TREE" in line], plan
