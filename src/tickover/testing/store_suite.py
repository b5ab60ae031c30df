"""Conformance suites for `tickover.store.base`: what every store must do, as tests to inherit from.

Subclass `StoreSuite` under a name that pytest collects, say how to open a store, and every test runs over it::

    class TestMyStore(StoreSuite):
        def open_store(self, location: str, clock: Clock) -> Store:
            return MyStore(location, count_events, clock=clock)

`store_process_suite.SharedStoreSuite` adds what several processes may ask of it, `blob_suite.BlobSuite` is the same
for blobs. Every store is opened with the projection `count_events`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tickover.core.event import JournalEvent
from tickover.store.base import (
    OUTSIDE,
    Clock,
    EventRefusedError,
    LeaseHeldError,
    NotProvedError,
    ResourceHeldError,
    RunNotFoundError,
    StaleFenceError,
    StateConflictError,
    Store,
)
from tickover.store.sqlite import SqliteStore

HOSTILE = [
    "nul \x00 inside",
    "\ud800 lone surrogate",
    "\u202e\u2066 bidi \u0085\u2028",
    "'; DROP TABLE journal; --",
    "\x1b[2J\r\n\x7f",
    "🦦" * 1000,
    "{{ state.last_commit }} %s %(run)s ?1 :run",
]

CREATED = {"type": "run_created", "routine": "digest"}
VERIFIED = {"type": "verdict_reached", "outcome": "verified"}


def count_events(row: dict[str, Any] | None, events: Sequence[JournalEvent]) -> dict[str, Any]:
    """Project a row that shows at once whether an event was missed, repeated or reordered."""
    before = row or {"count": 0, "chain": "", "created": events[0].at}
    after = dict(before)
    for event in events:
        link = f"{after['chain']}{event.seq}:{event.type}:{event.fence}"
        after["count"], after["chain"] = after["count"] + 1, hashlib.sha256(link.encode()).hexdigest()
        for key in ("routine", "execution", "outcome", "title"):
            after[key] = event.data.get(key, after.get(key))
        if event.type == "run_finished":
            after["finished"] = event.at
        if event.data.get("poison"):
            raise ValueError("this fact cannot have happened")
    return after


def open_sqlite(location: str) -> Store:
    """Open what the SQLite suite's child processes share."""
    return SqliteStore(location, count_events)


class ManualClock:
    """A clock that moves when told."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class StoreSuite:
    """What every store does, in one process."""

    def open_store(self, location: str, clock: Clock) -> Store:
        """Open an empty store at `location`, a folder of the test's own, with `count_events`."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
        store = self.open_store(str(tmp_path / "data"), clock)
        yield store
        store.close()

    def begin(self, store: Store, run: str = "r1", *, routine: str = "digest") -> int:
        """Create a run and take it; return the fence."""
        fence = store.leases.acquire(run, "owner", 60).fence
        store.journal.append(run, fence, [{**CREATED, "routine": routine}])
        return fence

    # --- journal ---

    def test_events_come_back_in_order_with_their_envelope(self, store: Store, clock: ManualClock) -> None:
        fence = self.begin(store)
        clock.advance(5)
        last = store.journal.append("r1", fence, [{"type": "a", "x": [1, None]}, {"type": "b"}], attempt=2)
        assert last == 3
        events = store.journal.read("r1")
        assert [event.seq for event in events] == [1, 2, 3]
        assert [event.type for event in events] == ["run_created", "a", "b"]
        assert (events[1].run, events[1].at, events[1].attempt, events[1].fence) == ("r1", clock.now, 2, fence)
        assert events[1].data == {"x": [1, None]}

    def test_reading_goes_on_after_a_seq_and_stops_at_a_limit(self, store: Store) -> None:
        fence = self.begin(store)
        store.journal.append("r1", fence, [{"type": "tick", "n": n} for n in range(2, 11)])
        assert [event.seq for event in store.journal.read("r1", after=3, limit=4)] == [4, 5, 6, 7]
        assert store.journal.read("r1", after=10) == []
        assert store.journal.read("unknown") == []

    def test_each_run_has_its_own_numbers(self, store: Store) -> None:
        assert [self.begin(store, run) for run in ("r1", "r2")] == [1, 1]
        assert store.journal.append("r2", 1, [{"type": "tick"}]) == 2
        assert store.runs.get("r1").seq == 1

    def test_a_batch_is_all_or_nothing(self, store: Store) -> None:
        fence = self.begin(store)
        before = store.runs.get("r1")
        with pytest.raises(ValueError, match="cannot have happened"):
            store.journal.append("r1", fence, [{"type": "tick"}, {"type": "tick", "poison": True}])
        with pytest.raises(EventRefusedError):
            store.journal.append("r1", fence, [{"type": "tick"}, {"type": "tick", "x": {1, 2}}])
        assert store.runs.get("r1") == before
        assert len(store.journal.read("r1")) == 1
        assert store.journal.append("r1", fence, [{"type": "tick"}]) == 2

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    def test_hostile_text_comes_back_as_it_was(self, store: Store, text: str) -> None:
        fence = self.begin(store)
        store.journal.append("r1", fence, [{"type": "output", "text": text, text: 1}])
        assert store.journal.read("r1")[1].data == {"text": text, text: 1}

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    def test_hostile_text_in_a_column_can_be_listed(self, store: Store, text: str) -> None:
        self.begin(store, routine=text)
        assert [record.run for record in store.runs.list(routine=text)] == ["r1"]
        assert store.runs.list(routine="other") == []

    @pytest.mark.parametrize(
        "event",
        [
            {"no": "type"},
            {"type": "Bad Type"},
            {"type": "x\n"},
            {"type": 7},
            {"type": "x", "value": float("nan")},
            {"type": "x", "value": float("inf")},
            {"type": "x", "value": b"bytes"},
            {"type": "x", "value": 10**5000},
            {"type": "x", "value": "long" * 300_000},
        ],
        ids=["none", "spaces", "newline", "number", "nan", "inf", "bytes", "digits", "huge"],
    )
    def test_what_is_no_event_is_refused(self, store: Store, event: dict[str, Any]) -> None:
        fence = self.begin(store)
        with pytest.raises(EventRefusedError):
            store.journal.append("r1", fence, [event])
        assert len(store.journal.read("r1")) == 1

    @pytest.mark.parametrize("depth", [65, 100_000])
    def test_deep_nesting_is_refused(self, store: Store, depth: int) -> None:
        fence = self.begin(store)
        value: Any = None
        for _ in range(depth):
            value = [value]
        with pytest.raises(EventRefusedError):
            store.journal.append("r1", fence, [{"type": "x", "value": value}])

    def test_an_event_is_copied_both_ways(self, store: Store) -> None:
        fence = self.begin(store)
        given = {"type": "x", "list": [1]}
        store.journal.append("r1", fence, [given])
        given["list"] = [2]
        store.journal.read("r1")[1].data["list"].append(3)
        assert store.journal.read("r1")[1].data == {"list": [1]}

    @pytest.mark.parametrize("run", ["", "a/b", "../x", "a b", "-x", "x\n", "r" * 129, "\ud800"])
    def test_a_run_id_is_a_plain_word(self, store: Store, run: str) -> None:
        with pytest.raises(ValueError, match="cannot be a run id"):
            store.journal.append(run, OUTSIDE, [CREATED])
        with pytest.raises(ValueError, match="cannot be a run id"):
            store.leases.acquire(run, "owner", 1)

    def test_an_empty_append_is_a_mistake(self, store: Store) -> None:
        with pytest.raises(ValueError, match="nothing to append"):
            store.journal.append("r1", OUTSIDE, [])

    # --- waiting ---

    def test_waiting_for_what_is_there_returns_at_once(self, store: Store) -> None:
        self.begin(store)
        assert store.journal.wait("r1", 0, 60) == 1

    def test_waiting_ends_without_an_event_too(self, store: Store) -> None:
        self.begin(store)
        assert store.journal.wait("r1", 1, 0.01) == 1
        assert store.journal.wait("unknown", 0, 0) == 0

    def test_an_append_wakes_a_waiting_thread(self, store: Store) -> None:
        fence = self.begin(store)
        seen: list[int] = []
        waiter = threading.Thread(target=lambda: seen.append(store.journal.wait("r1", 1, 60)))
        waiter.start()
        store.journal.append("r1", fence, [{"type": "tick"}])
        waiter.join(30)
        assert seen == [2]

    # --- leases and fences ---

    def test_a_lease_keeps_others_out_until_it_expires(self, store: Store, clock: ManualClock) -> None:
        first = store.leases.acquire("r1", "one", 10)
        assert (first.fence, first.expires_at) == (1, clock.now + 10)
        clock.advance(9.9)
        with pytest.raises(LeaseHeldError, match="one") as refused:
            store.leases.acquire("r1", "two", 10)
        assert refused.value.expires_at == first.expires_at
        clock.advance(0.2)
        assert store.leases.acquire("r1", "two", 10).fence == 2

    def test_a_dead_owners_lease_is_not_waited_for(self, store: Store) -> None:
        dead = store.leases.acquire("r1", "one", 1000)
        assert store.leases.acquire("r1", "two", 1000, dead=dead).fence == 2
        with pytest.raises(LeaseHeldError, match="two"):
            store.leases.acquire("r1", "three", 1000, dead=dead)

    def test_renewing_keeps_the_fence(self, store: Store, clock: ManualClock) -> None:
        lease = store.leases.acquire("r1", "one", 10)
        clock.advance(9)
        renewed = store.leases.renew(lease, 10)
        assert (renewed.fence, renewed.expires_at) == (1, clock.now + 10)
        clock.advance(9)
        with pytest.raises(LeaseHeldError):
            store.leases.acquire("r1", "two", 10)
        assert store.journal.append("r1", renewed.fence, [CREATED]) == 1
        assert store.leases.current("r1") == renewed

    def test_a_stale_fence_writes_nothing(self, store: Store, clock: ManualClock) -> None:
        stale = store.leases.acquire("r1", "one", 10)
        store.journal.append("r1", stale.fence, [CREATED])
        clock.advance(11)
        successor = store.leases.acquire("r1", "two", 10)
        before = store.runs.get("r1")
        with pytest.raises(StaleFenceError) as refused:
            store.journal.append("r1", stale.fence, [{"type": "tick"}])
        assert (refused.value.fence, refused.value.current) == (1, 2)
        with pytest.raises(StaleFenceError):
            store.leases.renew(stale, 10)
        store.leases.release(stale)
        assert store.runs.get("r1") == before
        assert store.journal.append("r1", successor.fence, [{"type": "tick"}]) == 2
        assert [event.fence for event in store.journal.read("r1")] == [1, 2]

    def test_an_expired_lease_that_nobody_took_goes_on(self, store: Store, clock: ManualClock) -> None:
        lease = store.leases.acquire("r1", "one", 10)
        clock.advance(3600)
        assert store.journal.append("r1", lease.fence, [CREATED]) == 1
        assert store.leases.renew(lease, 10).fence == lease.fence

    def test_a_released_lease_is_stale_and_free(self, store: Store) -> None:
        lease = store.leases.acquire("r1", "one", 10)
        store.journal.append("r1", lease.fence, [CREATED])
        store.leases.release(lease)
        store.leases.release(lease)
        assert store.leases.current("r1") is None
        for refused in (lease.fence, lease.fence + 1, -1):
            with pytest.raises(StaleFenceError):
                store.journal.append("r1", refused, [{"type": "tick"}])
        with pytest.raises(StaleFenceError):
            store.leases.renew(lease, 10)
        assert store.leases.acquire("r1", "two", 10).fence == 2

    def test_from_outside_a_run_can_be_made_once_and_cancelled(self, store: Store) -> None:
        with pytest.raises(RunNotFoundError):
            store.journal.append("r1", OUTSIDE, [{"type": "cancel_requested", "by": "me"}])
        skipped = [CREATED, {"type": "run_skipped"}, {"type": "run_finished"}]
        assert store.journal.append("r1", OUTSIDE, skipped) == 3
        with pytest.raises(StaleFenceError):
            store.journal.append("r1", OUTSIDE, [CREATED])
        lease = store.leases.acquire("r1", "one", 10)
        assert store.journal.append("r1", OUTSIDE, [{"type": "cancel_requested", "by": "me"}]) == 4
        mixed = [{"type": "cancel_requested"}, {"type": "tick"}]
        with pytest.raises(StaleFenceError):
            store.journal.append("r1", OUTSIDE, mixed)
        assert store.journal.append("r1", lease.fence, [{"type": "tick"}]) == 5

    def test_a_leased_run_is_not_made_from_outside(self, store: Store) -> None:
        store.leases.acquire("r1", "one", 10)
        with pytest.raises(StaleFenceError):
            store.journal.append("r1", OUTSIDE, [CREATED])

    # --- run rows ---

    def test_the_row_is_the_journal_projected(self, store: Store) -> None:
        fence = self.begin(store)
        for n in range(5):
            store.journal.append("r1", fence, [{"type": "tick", "n": n}, {"type": "tock"}])
        record = store.runs.get("r1")
        assert (record.seq, record.row["count"]) == (11, 11)
        assert record.row == count_events(None, store.journal.read("r1"))
        assert store.runs.rebuild("r1") == record == store.runs.get("r1")

    def test_an_unknown_run_is_not_found(self, store: Store) -> None:
        store.leases.acquire("r1", "one", 10)
        for ask in (store.runs.get, store.runs.rebuild):
            with pytest.raises(RunNotFoundError):
                ask("r1")
        assert store.runs.list() == []

    def test_runs_are_listed_newest_first_page_by_page(self, store: Store, clock: ManualClock) -> None:
        for n in range(7):
            store.journal.append(f"r{n}", OUTSIDE, [CREATED])
            clock.advance(n % 2)
        pages, before = [], None
        while page := store.runs.list(limit=3, before=before):
            pages.append([record.run for record in page])
            before = page[-1].run
        assert pages == [["r6", "r5", "r4"], ["r3", "r2", "r1"], ["r0"]]
        assert store.runs.list(before="unknown") == []

    def test_runs_are_filtered_by_what_their_rows_say(self, store: Store) -> None:
        done = {"type": "run_finished", "execution": "completed", "outcome": "verified"}
        store.journal.append("a", OUTSIDE, [CREATED])
        store.journal.append("b", OUTSIDE, [CREATED, done])
        store.journal.append("c", OUTSIDE, [{**CREATED, "routine": "other"}, {**done, "outcome": "failed"}])

        def found(**filters: Any) -> list[str]:
            return [record.run for record in store.runs.list(**filters)]

        assert found(routine="digest") == ["b", "a"]
        assert found(outcome="verified") == ["b"]
        assert found(execution="completed") == ["c", "b"]
        assert found(finished=False) == ["a"]
        assert found(finished=True, routine="other") == ["c"]
        assert found(outcome="verified", routine="other") == []
        fence = store.leases.acquire("a", "owner", 60).fence
        store.journal.append("a", fence, [{"type": "tick"}])
        store.journal.append("a", fence, [done])
        assert found(outcome="verified", finished=True) == ["b", "a"]
        assert found(finished=False) == []

    # --- sealing ---

    def test_sealing_leaves_the_envelope_an_audit_row_and_a_clean_projection(self, store: Store) -> None:
        fence = self.begin(store)
        store.journal.append("r1", fence, [{"type": "titled", "title": "hunter2"}, {"type": "tick"}])
        before = store.journal.read("r1")
        seal = store.journal.seal("r1", 2, {"title": "[sealed]"}, by="ada", reason="a password")
        after = store.journal.read("r1")
        assert after[1] == before[1].model_copy(update={"data": {"title": "[sealed]"}})
        assert (after[0], after[2]) == (before[0], before[2])
        assert store.runs.get("r1").row["title"] == "[sealed]"
        assert store.journal.seals("r1") == [seal]
        assert (seal.by, seal.reason, seal.bytes) == ("ada", "a password", len(b'{"title":"hunter2"}'))
        assert seal.sha256 == hashlib.sha256(b'{"title":"hunter2"}').hexdigest()
        assert store.journal.append("r1", fence, [{"type": "tick"}]) == 4

    def test_a_seal_that_breaks_the_projection_changes_nothing(self, store: Store) -> None:
        self.begin(store)
        with pytest.raises(ValueError, match="cannot have happened"):
            store.journal.seal("r1", 1, {"poison": True}, by="ada", reason="test")
        with pytest.raises(RunNotFoundError):
            store.journal.seal("r1", 2, {}, by="ada", reason="test")
        assert store.journal.read("r1")[0].data == {"routine": "digest"}
        assert store.journal.seals("r1") == []

    # --- records ---

    @pytest.mark.parametrize("outcome", [None, "failed", "unverified", "pending", "none"])
    def test_nothing_is_kept_of_a_run_that_was_not_proved(self, store: Store, outcome: str | None) -> None:
        fence = self.begin(store)
        store.journal.append("r1", fence, [{"type": "verdict_reached", "outcome": outcome}])
        with pytest.raises(NotProvedError):
            store.verifier.record("r1", fence, {"app": "c1"})
        with pytest.raises(NotProvedError):
            store.states.commit("r1", fence, None, "d1")
        assert (store.verifier.last_commits("digest"), store.states.current("digest")) == ({}, None)

    @pytest.mark.parametrize("outcome", ["verified", "noop"])
    def test_a_proved_run_moves_its_routines_commits(self, store: Store, outcome: str) -> None:
        fence = self.begin(store)
        store.journal.append("r1", fence, [{"type": "verdict_reached", "outcome": outcome}])
        store.verifier.record("r1", fence, {"app": "c1", "docs": "c2"})
        store.verifier.record("r1", fence, {"app": "c3"})
        assert store.verifier.last_commits("digest") == {"app": "c3", "docs": "c2"}
        assert store.verifier.last_commits("other") == {}
        for stale in (fence + 1, OUTSIDE):
            with pytest.raises(StaleFenceError):
                store.verifier.record("r1", stale, {"app": "c4"})
        with pytest.raises(RunNotFoundError):
            store.verifier.record("r2", 1, {"app": "c4"})

    def test_state_moves_by_compare_and_swap(self, store: Store, clock: ManualClock) -> None:
        fences = {run: self.begin(store, run) for run in ("r1", "r2")}
        for run, fence in fences.items():
            store.journal.append(run, fence, [VERIFIED])
        first = store.states.commit("r1", fences["r1"], None, "d1")
        assert (first.routine, first.digest, first.run, first.at) == ("digest", "d1", "r1", clock.now)
        with pytest.raises(StateConflictError) as conflict:
            store.states.commit("r2", fences["r2"], None, "d2")
        assert conflict.value.current == "d1"
        assert store.states.commit("r1", fences["r1"], None, "d1") == first
        with pytest.raises(StaleFenceError):
            store.states.commit("r2", fences["r2"] + 1, "d1", "d2")
        assert store.states.commit("r2", fences["r2"], "d1", "d2").digest == "d2"
        current = store.states.current("digest")
        assert current is not None
        assert current.run == "r2"

    def test_resources_are_claimed_once_and_found_again(self, store: Store) -> None:
        detail = {"pid": 7, "paths": ["/x/\ud800"]}
        held = store.resources.claim("sandbox", "tick-1", run="r1", owner="p1", detail=detail)
        assert held.detail == detail
        with pytest.raises(ResourceHeldError):
            store.resources.claim("sandbox", "tick-1", run="r2", owner="p2")
        other = store.resources.claim("folder", "tick-1", run="r2", owner="p2")
        assert store.resources.list(run="r1") == [held]
        assert store.resources.list(kind="folder") == [other]
        assert len(store.resources.list()) == 2
        store.resources.release("sandbox", "tick-1")
        store.resources.release("sandbox", "tick-1")
        assert store.resources.list() == [other]

    def test_slots_are_given_lowest_first(self, store: Store) -> None:
        def claim() -> str:
            return store.resources.claim_slot("uid", 3, run="r1", owner="p1").name

        assert [claim(), claim(), claim()] == ["0", "1", "2"]
        with pytest.raises(ResourceHeldError, match="uid 0 to 2"):
            claim()
        store.resources.release("uid", "1")
        assert claim() == "1"

    # --- threads ---

    def test_threads_share_a_store(self, store: Store) -> None:
        fence = self.begin(store)

        def write() -> None:
            for _ in range(10):
                store.journal.append("r1", fence, [{"type": "tick"}])

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [event.seq for event in store.journal.read("r1")] == list(range(1, 42))
        assert store.runs.get("r1").row == count_events(None, store.journal.read("r1"))
