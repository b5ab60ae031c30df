from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tickover.control.route import Router, Silence, Target
from tickover.core.errors import UsageError
from tickover.core.trigger import EventTrigger, Trigger, TriggerItem
from tickover.core.wish import Enqueued, Wish
from tickover.relay.mapper import Mapper
from tickover.store.blobs import FileBlobs
from tickover.store.errors import StoreError
from tickover.store.events import Events, NewEvent, Routing
from tickover.store.sqlite_events import SqliteEvents
from tickover.testing.events import MemoryEvents
from tickover.testing.store_suite import ManualClock

ITEM: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)


def hook(**keys: Any) -> EventTrigger:
    item = ITEM.validate_python({"webhook": {"verify": {"token": {"header": "x"}, "secret": "s"}, **keys}})
    assert isinstance(item, EventTrigger)
    return item


class House:
    """A router with everything it needs, and an engine that only remembers."""

    def __init__(self, events: Events, blobs: FileBlobs, *targets: Target) -> None:
        self.events, self.blobs, self.clock = events, blobs, ManualClock()
        self.targets = list(targets) or [Target("r/webhook", "r", hook())]
        self.wishes: list[Wish] = []
        self.runs: dict[str | None, str] = {}
        self.silences: list[Silence] = []
        self.fault: Exception | None = None
        self.mapper = Mapper(wall=60)
        self.router = Router(
            events,
            blobs,
            self.of,
            self.mapper,
            self.enqueue,
            clock=self.clock,
            own=["tickover[bot]"],
            alarm=self.silences.append,
        )
        self.count = 0

    def of(self, source: str | None) -> Sequence[Target]:
        return [target for target in self.targets if source in (None, target.name) or source == "all/webhook"]

    def enqueue(self, wish: Wish) -> Enqueued:
        if self.fault is not None:
            raise self.fault
        self.wishes.append(wish)
        created = wish.key not in self.runs
        return Enqueued(self.runs.setdefault(wish.key, f"run-{len(self.runs) + 1}"), created)

    async def send(
        self, body: Any = None, *, source: str = "r/webhook", provider: str = "webhook", name: str = ""
    ) -> str:
        self.count += 1
        raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        put = await self.events.put(NewEvent(source, provider, f"d{self.count}", name, self.clock(), {}, len(raw), raw))
        return put.event

    async def settle(self) -> None:
        while await self.router.step():
            pass

    def fate(self, event: str, target: str = "r/webhook") -> Routing:
        [found] = [each for each in self.events.routings(event) if each.target == target]
        return found

    def verdicts(self, *events: str) -> list[tuple[str, str]]:
        return [(self.fate(event).verdict, self.fate(event).reason) for event in events]


@pytest.fixture(params=["memory", "sqlite"])
def events(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Events]:
    events: Events = MemoryEvents() if request.param == "memory" else SqliteEvents(str(tmp_path / "data"))
    yield events
    events.close()


@asynccontextmanager
async def house(events: Events, tmp_path: Path, *triggers: EventTrigger, **more: Any) -> AsyncIterator[House]:
    targets = [
        Target("r/webhook" if not at else f"r/webhook-{at + 1}", "r", each, **more) for at, each in enumerate(triggers)
    ]
    made = House(events, FileBlobs(str(tmp_path / "blobs")), *targets)
    try:
        yield made
    finally:
        await made.mapper.close()


async def test_an_event_becomes_one_wish(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(when={"a": 1}, input={"n": "$.n", "w": "$.gone"})) as it:
        event = await it.send({"a": 1, "n": 5})
        await it.settle()
        [wish] = it.wishes
        assert wish == Wish("r", "webhook", {"n": 5}, b'{"a": 1, "n": 5}', f"{event}:r/webhook", "webhook d1")
        fate = it.fate(event)
        assert (fate.verdict, fate.run, fate.starts_at) == ("fired", "run-1", it.clock())
        assert fate.clauses == ({"path": "a", "says": "is 1", "ok": True, "depth": 0, "value": 1, "missing": False},)


async def test_a_large_value_is_a_file_of_the_wish(events: Events, tmp_path: Path) -> None:
    mapping = {"diff": {"file": "$.diff"}, "n": "$.n", "gone": {"file": "$.gone"}}
    async with house(events, tmp_path, hook(input=mapping)) as it:
        await it.send({"diff": "+" * 100_000, "n": 5})
        await it.settle()
        [wish] = it.wishes
        assert (dict(wish.inputs), dict(wish.files)) == (
            {"n": 5, "diff": "/tickover/inputs/diff"},
            {"diff": b"+" * 100_000},
        )


async def test_an_event_that_is_put_in_once_more_names_the_run_that_it_started(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook()) as it:
        first = await it.send({"n": 5})
        await it.settle()
        again = NewEvent("r/webhook", "webhook", "replay:1", "", it.clock(), {}, 8, b'{"n": 5}', replay_of=first)
        await events.put(again)
        await it.settle()
        assert [wish.repeats for wish in it.wishes] == [None, "run-1"]


async def test_what_does_not_match_says_which_clause(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(when={"a": 1})) as it:
        event = await it.send({"a": 2})
        await it.settle()
        assert it.verdicts(event) == [("filtered", "when")]
        assert it.fate(event).says == "✗ a is 1: got 2"
        assert it.wishes == []


async def test_each_trigger_of_a_source_has_its_own_fate(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(when={"a": 1}), hook(when={"a": 2}), hook()) as it:
        event = await it.send({"a": 2}, source="all/webhook")
        await it.settle()
        assert [(each.target, each.verdict) for each in events.routings(event)] == [
            ("r/webhook", "filtered"), ("r/webhook-2", "fired"), ("r/webhook-3", "fired"),
        ]  # fmt: skip
        assert len({wish.key for wish in it.wishes}) == 2


@pytest.mark.parametrize(
    ("source", "paused", "reason"), [("gone/webhook", False, "no_trigger"), ("r/webhook", True, "paused")]
)
async def test_what_nobody_waits_for(events: Events, tmp_path: Path, source: str, paused: bool, reason: str) -> None:
    async with house(events, tmp_path, hook(), paused=paused) as it:
        event = await it.send(source=source)
        await it.settle()
        assert [(each.verdict, each.reason) for each in events.routings(event)] == [("dropped", reason)]


async def test_the_same_key_within_its_time_is_a_duplicate(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(dedup={"key": ["$.id"], "within": "4h"})) as it:
        one, two, other = await it.send({"id": 1}), await it.send({"id": 1, "x": 1}), await it.send({"id": 2})
        await it.settle()
        it.clock.now += 4 * 3600
        later = await it.send({"id": 1})
        await it.settle()
        assert it.verdicts(one, two, other, later) == [
            ("fired", ""),
            ("duplicate", "dedup"),
            ("fired", ""),
            ("fired", ""),
        ]


async def test_a_burst_becomes_its_last_event(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(debounce="2m", group_by="$.pr", when={"pr": {"exists": True}})) as it:
        one, other = await it.send({"pr": 1, "n": 1}), await it.send({"pr": 2})
        await it.settle()
        it.clock.now += 100
        two = await it.send({"pr": 1, "n": 2})
        await it.settle()
        assert it.verdicts(one, two, other) == [("superseded", "debounce"), ("held", "debounce"), ("held", "debounce")]
        it.clock.now += 100
        await it.settle()
        assert it.verdicts(two, other) == [("held", "debounce"), ("fired", "")]
        it.clock.now += 20
        await it.settle()
        assert [json.loads(wish.event or b"") for wish in it.wishes] == [{"pr": 2}, {"pr": 1, "n": 2}]
        assert it.fate(two).clauses
        assert events.next_due() is None


async def test_a_group_that_is_never_quiet_fires_in_the_end(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(debounce="60s")) as it:
        for _ in range(21):
            await it.send()
            await it.settle()
            it.clock.now += 30
        assert len(it.wishes) == 1


async def test_beyond_the_hours_limit_events_wait_their_turn(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(limits={"per_hour": 2, "over": "queue"})) as it:
        sent = [await it.send() for _ in range(5)]
        await it.settle()
        start = it.clock()
        assert [wish.not_before for wish in it.wishes] == [None, None, start + 3600, start + 3600, start + 7200]
        assert {it.fate(event).verdict for event in sent} == {"fired"}


async def test_or_only_the_newest_waits(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(limits={"per_hour": 1, "over": "coalesce"})) as it:
        one, two, three = [await it.send({"n": n}) for n in (1, 2, 3)]
        await it.settle()
        assert it.verdicts(one, two, three) == [("fired", ""), ("superseded", "coalesce"), ("held", "coalesce")]
        it.clock.now += 3600
        await it.settle()
        assert it.verdicts(three) == [("fired", "")]
        assert [json.loads(wish.event or b"")["n"] for wish in it.wishes] == [1, 3]


async def test_or_it_is_dropped_and_said(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(limits={"per_hour": 1, "over": "drop"})) as it:
        one, two = await it.send(), await it.send()
        await it.settle()
        assert it.verdicts(one, two) == [("fired", ""), ("dropped", "per_hour")]
        assert it.fate(two).says.startswith("1 of 1 runs of this hour have started")


async def test_our_own_events_start_at_most_three_in_a_row(events: Events, tmp_path: Path) -> None:
    item = ITEM.validate_python({"github": {"repo": "acme/app"}})
    assert isinstance(item, EventTrigger)
    async with house(events, tmp_path) as it:
        it.targets = [Target("r/github", "r", item, writes=True)]
        body = {"repository": {"full_name": "acme/app"}, "sender": {"login": "tickover[bot]"}}
        sent = []
        for _ in range(5):
            sent.append(await it.send(body, source="r/github", provider="github", name="push"))
            await it.settle()
        fates = [it.fate(event, "r/github") for event in sent]
        assert [(fate.verdict, fate.depth) for fate in fates] == [
            ("fired", 1), ("fired", 2), ("fired", 3), ("filtered", 4), ("filtered", 5),
        ]  # fmt: skip
        assert fates[3].reason == "own_event"
        assert [wish.depth for wish in it.wishes] == [1, 2, 3]
        person = {**body, "sender": {"login": "ada"}}
        by_hand = await it.send(person, source="r/github", provider="github", name="push")
        await it.settle()
        assert (it.fate(by_hand, "r/github").verdict, it.wishes[-1].depth) == ("fired", 0)


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"a": "$.map"}, "mapping.no_scalar"),
        ({"a": "{{ event.gone }}"}, "mapping.failed"),
        ({"jsonata": "($f := function($x){$f($x+1)}; $f(1))"}, "mapping.killed"),
    ],
)
async def test_a_bad_mapping_is_the_events_reason_and_stops_nothing(
    events: Events, tmp_path: Path, mapping: dict[str, str], reason: str
) -> None:
    async with house(events, tmp_path, hook(input=mapping), hook()) as it:
        event = await it.send({"map": {}}, source="all/webhook")
        await it.settle()
        assert [(each.verdict, each.reason) for each in events.routings(event)] == [("failed", reason), ("fired", "")]


async def test_what_the_engine_refuses_is_the_events_reason(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path) as it:
        it.fault = UsageError("input.missing", "the input `week` is required")
        one = await it.send()
        await it.settle()
        it.fault = RuntimeError("a fault with private details")
        two = await it.send()
        await it.settle()
        assert it.verdicts(one, two) == [("failed", "input.missing"), ("failed", "internal")]
        assert "private" not in it.fate(two).says


async def test_what_the_store_refuses_now_waits(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path) as it:
        it.fault = StoreError("store.busy", "x")
        event = await it.send()
        with pytest.raises(StoreError):
            await it.settle()
        assert events.get(event).state == "received"
        it.fault = None
        await it.settle()
        assert it.verdicts(event) == [("fired", "")]


async def test_routing_again_is_the_same_run(events: Events, tmp_path: Path) -> None:
    """As after a crash between the wish and the decision: nothing of the first time was kept but the run."""
    trigger = hook(dedup={"key": ["$.id"], "within": "4h"}, limits={"per_hour": 1, "over": "drop"})
    async with house(events, tmp_path, trigger) as it:
        event = await it.send({"id": 1})
        [record] = events.pending()
        await it.settle()
        await it.router._route(record)
        assert it.verdicts(event) == [("fired", "")]
        assert [wish.key for wish in it.wishes] == [f"{event}:r/webhook"] * 2
        assert it.fate(event).run == "run-1"


async def test_silence_is_reported_once_and_again_after_a_sound(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path, hook(silence={"after": "7d"})) as it:
        await it.settle()
        it.clock.now += 7 * 86400 - 1
        await it.settle()
        assert it.silences == []
        it.clock.now += 1
        await it.settle()
        await it.settle()
        assert [each.target.name for each in it.silences] == ["r/webhook"]
        await it.send()
        await it.settle()
        it.clock.now += 7 * 86400
        await it.settle()
        assert len(it.silences) == 2


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[" * 100_000, b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b"9" * 10_000]
)
async def test_hostile_bodies_have_a_fate(events: Events, tmp_path: Path, body: bytes) -> None:
    async with house(
        events, tmp_path, hook(when={"a": {"exists": True}}, input={"a": "$.a"}, group_by="$.a"), hook(debounce="1s")
    ) as it:
        event = await it.send(body, source="all/webhook")
        await it.settle()
        it.clock.now += 60
        await it.settle()
        assert {each.verdict for each in events.routings(event)} <= {"fired", "filtered"}
        assert all(wish.event == body for wish in it.wishes)


async def test_serving_is_woken_and_goes_on_after_trouble(events: Events, tmp_path: Path) -> None:
    async with house(events, tmp_path) as it:
        it.fault = StoreError("store.busy", "x")
        serving = asyncio.create_task(it.router.serve())
        event = await it.send()
        it.router.wake()
        it.fault = None
        async with asyncio.timeout(60):
            while not it.wishes or events.get(event).state != "routed":
                await asyncio.to_thread(events.get, event)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert it.verdicts(event) == [("fired", "")]


CHILD = Path(__file__).with_name("route_child.py")


@pytest.mark.parametrize("steps", [1, 3, 7, 20])
def test_a_killed_router_loses_and_doubles_nothing(tmp_path: Path, steps: int) -> None:
    """Killed while it works on 30 events, twice; each event has one run in the end."""
    events = SqliteEvents(str(tmp_path / "data"))
    new = NewEvent("r/webhook", "webhook", "d", "", 1.0, {}, 2, b"{}")

    async def put() -> None:
        await asyncio.gather(*(events.put(replace(new, delivery=f"d{at}")) for at in range(30)))

    asyncio.run(put())
    for _ in range(2):
        worker = subprocess.Popen([sys.executable, str(CHILD), str(tmp_path)], stdout=subprocess.PIPE)
        assert worker.stdout is not None
        for _ in range(steps):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    subprocess.run([sys.executable, str(CHILD), str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    keys = (tmp_path / "wishes").read_text(encoding="ascii").split()
    fates = [fate for record in events.list() for fate in events.routings(record.event)]
    assert events.pending() == []
    assert [fate.verdict for fate in fates] == ["fired"] * 30
    assert {fate.run for fate in fates} == set(keys) == {f"{record.event}:r/webhook" for record in events.list()}
    events.close()
