"""The engine suite over the embedded engine and the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tickover.core.admission import Needs
from tickover.engine.base import Done, Engine, Next, Wait
from tickover.engine.embedded import EmbeddedEngine
from tickover.store.server import Admitted, Entry
from tickover.store.sqlite import SqliteStore
from tickover.testing.clock import FakeClock
from tickover.testing.engine import FakeEngine
from tickover.testing.engine_suite import EngineSuite
from tickover.testing.store_suite import count_events

CREATED = {"type": "run_created", "routine": "r", "execution": "queued"}


class TestEmbedded(EngineSuite):
    @pytest.fixture(autouse=True)
    def opened(self, tmp_path: Path, clock: FakeClock) -> Iterator[None]:
        self.store = SqliteStore(str(tmp_path), count_events, clock=clock.now)
        self.clock_of = clock
        with self.store:
            yield

    def open_engine(self, location: Path, clock: FakeClock) -> Engine:
        return EmbeddedEngine(self.store.queue, clock)

    def note(self, location: Path) -> Callable[[str, Next], None]:
        def note(run: str, answer: Next) -> None:
            now = self.clock_of.now()
            if isinstance(answer, Done):
                self.store.queue.park(run, "done", None, now=now, places=8)
            elif isinstance(answer, Wait):
                # as a run that waits for checks: held runs would be woken by the next free place
                self.store.queue.park(run, "settling", answer.until, now=now, places=8)

        return note

    def enqueue(self, location: Path, runs: Sequence[str], at: float) -> None:
        entries = [Entry(run, "r", None, 0, 1, at, Needs()) for run in runs]
        self.store.queue.enqueue_all([(entry, lambda _counts: Admitted([CREATED], at)) for entry in entries])


@pytest.mark.slow
class TestEmbeddedBacklog(TestEmbedded):
    backlog: ClassVar[int] = 10_000

    test_a_backlog_is_worked_off = pytest.mark.timeout(180)(EngineSuite.test_a_backlog_is_worked_off)


class TestFake(EngineSuite):
    memory: dict[Path, dict[str, float | None]]

    @pytest.fixture(autouse=True)
    def remembered(self) -> None:
        self.memory = {}

    def open_engine(self, location: Path, clock: FakeClock) -> Engine:
        return FakeEngine(clock, self.memory.setdefault(location, {}))

    def note(self, location: Path) -> Callable[[str, Next], None]:
        return lambda _run, _answer: None

    def enqueue(self, location: Path, runs: Sequence[str], at: float) -> None:
        self.memory.setdefault(location, {}).update(dict.fromkeys(runs, at))
