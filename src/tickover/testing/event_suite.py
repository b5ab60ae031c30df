"""Conformance suite for `tickover.store.events.Events`: subclass it and say how to open one."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tickover.store.events import (
    KEEP_BODIES,
    KEEP_IDS,
    EventNotFoundError,
    Events,
    Held,
    NewEvent,
    Outcome,
    Put,
    Routing,
)

NOW = 1_790_000_000.0
NEW = NewEvent("r/github", "github", "d1", "push", NOW, {"x-github-event": "push"}, 3, b"{} ")


def routing(event: str, verdict: str = "fired", **more: object) -> Routing:
    """Make a decision about an event at `r/github`."""
    made = Routing(event, "r/github", NOW, "fired", "")
    return replace(made, verdict=verdict, starts_at=NOW if verdict == "fired" else None, **more)  # type: ignore[arg-type]


class EventSuite:
    """What every store of events does."""

    def open_events(self, location: str) -> Events:
        raise NotImplementedError

    @pytest.fixture
    def events(self, tmp_path: Path) -> Iterator[Events]:
        events = self.open_events(str(tmp_path / "data"))
        yield events
        events.close()

    def put(self, events: Events, *more: NewEvent) -> list[Put]:
        async def all_at_once() -> list[Put]:
            return await asyncio.gather(*(events.put(new) for new in more))

        return asyncio.run(all_at_once())

    def test_it_says_which_deliveries_never_came(self, events: Events) -> None:
        self.put(events, NEW, replace(NEW, source="other/github", delivery="d3"))
        assert events.missing("r/github", ["d3", "d1", "d2"]) == ["d3", "d2"]
        assert events.missing("other/github", ["d3"]) == []
        assert events.missing("r/github", []) == []

    def test_an_event_is_there_as_it_came(self, events: Events) -> None:
        hostile = replace(NEW, body=bytes(range(256)), name="a\ud800b", headers={"user-agent": "\x00\ud800\u202e"})
        [put] = self.put(events, hostile)
        found = events.get(put.event)
        assert put.created
        assert (found.body, found.headers, found.state) == (hostile.body, hostile.headers, "received")
        assert (found.source, found.provider, found.delivery) == ("r/github", "github", "d1")
        assert events.pending() == [found]
        assert events.list() == [replace(found, body=None)]

    def test_the_same_delivery_is_the_same_event(self, events: Events) -> None:
        puts = self.put(events, *[NEW] * 50, replace(NEW, source="other/github"), replace(NEW, delivery="d2"))
        assert [put.created for put in puts].count(True) == 3
        assert len({put.event for put in puts[:50]}) == 1
        assert len(events.pending()) == 3

    def test_many_at_once_are_all_there(self, events: Events) -> None:
        puts = self.put(events, *(replace(NEW, delivery=f"d{at}") for at in range(1000)))
        assert len({put.event for put in puts}) == 1000
        assert {events.get(put.event).delivery for put in puts} == {f"d{at}" for at in range(1000)}

    @pytest.mark.parametrize("event", ["e1", "", "x", "e-1", "e²", "e" + "9" * 40, "'; DROP"])
    def test_what_is_not_there(self, events: Events, event: str) -> None:
        with pytest.raises(EventNotFoundError):
            events.get(event)

    def test_lists_are_newest_first_and_filtered(self, events: Events) -> None:
        self.put(
            events, NEW, replace(NEW, delivery="d2", provider="stripe", source="s/stripe"), replace(NEW, delivery="d3")
        )
        assert [each.delivery for each in events.list()] == ["d3", "d2", "d1"]
        assert [each.delivery for each in events.list(source="s/stripe")] == ["d2"]
        assert [each.delivery for each in events.list(provider="github", limit=1)] == ["d3"]
        assert [each.delivery for each in events.list(before="e3")] == ["d2", "d1"]

    def test_a_decision_routes_an_event(self, events: Events) -> None:
        [put] = self.put(events, NEW)
        clause = {"path": "a", "says": "is 1", "value": None, "ok": False}
        decided = routing(put.event, "filtered", reason="when", says="x", clauses=(clause,), subject="o/r", depth=2)
        events.decide(put.event, [Outcome(decided)])
        assert list(events.routings(put.event)) == [decided]
        assert (events.get(put.event).state, list(events.pending())) == ("routed", [])
        again = routing(put.event, run="run-1", subject="o/r")
        events.decide(put.event, [Outcome(again)], name="pull_request.opened")
        assert events.get(put.event).name == "pull_request.opened"
        assert list(events.routings(put.event)) == [again]

    def test_starts_and_depths_are_counted_without_the_event_itself(self, events: Events) -> None:
        one, two = self.put(events, NEW, replace(NEW, delivery="d2"))
        events.decide(one.event, [Outcome(routing(one.event, subject="o/r", depth=2))])
        events.decide(two.event, [Outcome(replace(routing(two.event, subject="o/r", depth=1), starts_at=NOW + 50))])
        assert list(events.fired("r/github", NOW - 1, but="e99")) == [NOW + 50, NOW]
        assert list(events.fired("r/github", NOW, but="e99")) == [NOW + 50]
        assert list(events.fired("r/github", NOW - 1, but=two.event)) == [NOW]
        assert list(events.fired("other/github", NOW - 1, but="e99")) == []
        assert events.deepest("o/r", NOW - 1, but="e99") == 2
        assert events.deepest("o/r", NOW - 1, but=one.event) == 1
        assert events.deepest("o/r", NOW, but="e99") == events.deepest("o/x", 0, but="e99") == 0

    def test_a_key_is_seen_by_others(self, events: Events) -> None:
        one, two = self.put(events, NEW, replace(NEW, delivery="d2"))
        assert events.seen("r/github", "k", but=one.event) is None
        events.decide(one.event, [Outcome(routing(one.event), saw="k")])
        assert events.seen("r/github", "k", but=one.event) is None
        assert events.seen("r/github", "k", but=two.event) == NOW
        assert events.seen("r/other", "k", but=two.event) is None

    def test_the_newest_of_a_group_waits(self, events: Events) -> None:
        one, two = self.put(events, NEW, replace(NEW, delivery="d2"))
        for put, due in ((one, 10.0), (two, 20.0)):
            window = Held("r/github", "debounce", "g", put.event, NOW, NOW + due)
            events.decide(put.event, [Outcome(routing(put.event, "held", reason="debounce"), hold=window)])
        window = Held("r/github", "debounce", "g", two.event, NOW, NOW + 20)
        assert events.held("r/github", "debounce", "g") == window
        assert events.held("r/github", "coalesce", "g") is None
        assert events.next_due() == NOW + 20
        assert list(events.due(NOW + 19)) == []
        assert list(events.due(NOW + 20)) == [window]
        [superseded] = events.routings(one.event)
        assert (superseded.verdict, superseded.reason) == ("superseded", "debounce")
        assert two.event in superseded.says
        events.decide(two.event, [Outcome(routing(two.event, run="run-1"))])
        assert (events.next_due(), list(events.due(NOW + 99))) == (None, [])

    def test_refusals_are_counted_by_the_minute(self, events: Events) -> None:
        for at in (0, 1, 2, 60):
            events.reject("r/github", "signature_mismatch", NOW + at, {"size": at})
        events.reject("", "unknown", NOW, {})
        self.put(events, NEW)  # goes after what waited
        found = events.rejections()
        assert [(each.source, each.reason, each.count) for each in found if each.source] == [
            ("r/github", "signature_mismatch", 1),
            ("r/github", "signature_mismatch", 3),
        ]
        assert found[-1].sample == {"size": 0}

    def test_silence_counts_from_the_last_event(self, events: Events) -> None:
        assert events.silent_since("r/github", NOW - 100) == (NOW - 100, None)
        assert events.silent_since("r/github", NOW) == (NOW - 100, None)
        events.alarmed("r/github", NOW - 50)
        assert events.silent_since("r/github", NOW) == (NOW - 100, NOW - 50)
        self.put(events, NEW)
        assert events.silent_since("r/github", NOW) == (NOW, NOW - 50)

    def test_whoever_puts_something_beside_the_router_rings(self, events: Events) -> None:
        listener, close = events.bell()
        try:
            with pytest.raises(BlockingIOError):
                listener.recv(1)
            events.ring()
            assert select.select([listener], [], [], 30)[0] == [listener]
        finally:
            close()
        events.ring()

    def test_old_bodies_go_first_and_ids_later(self, events: Events) -> None:
        one, waiting = self.put(events, NEW, replace(NEW, delivery="d2"))
        events.decide(one.event, [Outcome(routing(one.event), saw="k")])
        assert events.purge(NOW + KEEP_BODIES) == 0
        assert events.purge(NOW + KEEP_BODIES + 1) == 1
        assert events.get(one.event).body is None
        assert self.put(events, NEW) == [Put(one.event, created=False)]
        events.purge(NOW + KEEP_IDS + 1)
        with pytest.raises(EventNotFoundError):
            events.get(one.event)
        assert events.get(waiting.event).body == NEW.body, "what is not routed stays"
        assert events.seen("r/github", "k", but=waiting.event) is None
        assert self.put(events, NEW)[0].event not in {one.event, waiting.event}, "an id is never used again"
