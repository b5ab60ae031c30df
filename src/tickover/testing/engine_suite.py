"""Conformance suite for `tickover.engine.base.Engine`: what every engine must do, as tests to inherit from.

Subclass `EngineSuite`, say how an engine is opened over a location, how a run comes into its hands and how a step
notes its answer, and every test runs over it. Engines opened one after another at one location are the same
server, killed and started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tickover.engine.base import Again, Done, Engine, Next, Wait
from tickover.testing.clock import FakeClock


class Script:
    """A step that answers from a list per run (then `Done`), and notes who was called when."""

    def __init__(self, clock: FakeClock, note: Callable[[str, Next], None]) -> None:
        self.answers: dict[str, list[Next | Exception]] = {}
        self.calls: list[tuple[str, float]] = []
        self.under_way: set[str] = set()
        self.twice: list[str] = []
        self.stopped: list[str] = []
        self.hold: dict[str, asyncio.Event] = {}
        self.changed = asyncio.Event()
        self._clock = clock
        self._note = note

    async def __call__(self, run: str, stop: asyncio.Event) -> Next:
        self.calls.append((run, self._clock.now()))
        if run in self.under_way:
            self.twice.append(run)
        self.under_way.add(run)
        self.changed.set()
        try:
            if (held := self.hold.get(run)) is not None:
                waiting = [asyncio.ensure_future(each.wait()) for each in (held, stop)]
                try:
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for each in waiting:
                        each.cancel()
            if stop.is_set():
                self.stopped.append(run)
            left = self.answers.get(run, [])
            answer = left.pop(0) if left else Done()
            if isinstance(answer, Exception):
                raise answer
            await asyncio.to_thread(self._note, run, answer)
            return answer
        finally:
            self.under_way.discard(run)
            self.changed.set()

    def times(self, run: str) -> list[float]:
        return [at for each, at in self.calls if each == run]

    async def called(self, count: int) -> None:
        """Wait until there were so many calls, all of them ended."""
        async with asyncio.timeout(120):
            while len(self.calls) < count or self.under_way:
                self.changed.clear()
                await self.changed.wait()


class EngineSuite:
    """Inherit and fill in the first three."""

    backlog: ClassVar[int] = 500

    def open_engine(self, location: Path, clock: FakeClock) -> Engine:
        """Open the engine of a location, which may have been used before."""
        raise NotImplementedError

    def note(self, location: Path) -> Callable[[str, Next], None]:
        """Return how a step notes its answer where the engine looks for it."""
        raise NotImplementedError

    def enqueue(self, location: Path, runs: Sequence[str], at: float) -> None:
        """Put runs into its hands, to be looked at at once."""
        raise NotImplementedError

    @asynccontextmanager
    async def serving(self, engine: Engine, script: Script) -> AsyncIterator[None]:
        """Let an engine serve, and end without warning."""
        task = asyncio.create_task(engine.serve(script))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def script(self, tmp_path: Path, clock: FakeClock) -> Script:
        return Script(clock, self.note(tmp_path))

    async def test_a_run_is_stepped_until_it_is_done(self, tmp_path: Path, clock: FakeClock, script: Script) -> None:
        script.answers["a"] = [Again(), Again()]
        self.enqueue(tmp_path, ["a"], clock.now())
        async with self.serving(self.open_engine(tmp_path, clock), script):
            await script.called(3)
            await clock.idle(1)
        assert len(script.calls) == 3

    async def test_a_run_waits_for_its_moment(self, tmp_path: Path, clock: FakeClock, script: Script) -> None:
        script.answers["a"] = [Wait(clock.now() + 100)]
        self.enqueue(tmp_path, ["a"], clock.now())
        begun = clock.now()
        async with self.serving(self.open_engine(tmp_path, clock), script):
            await script.called(1)
            await clock.idle(1)
            clock.advance(99)
            await clock.idle(1)
            assert len(script.calls) == 1
            clock.advance(1)
            await script.called(2)
        assert script.times("a") == [begun, begun + 100]

    async def test_a_moment_outlives_the_engine(self, tmp_path: Path, clock: FakeClock, script: Script) -> None:
        script.answers["a"] = [Wait(clock.now() + 100)]
        self.enqueue(tmp_path, ["a"], clock.now())
        async with self.serving(self.open_engine(tmp_path, clock), script):
            await script.called(1)
            await clock.idle(1)
        clock.advance(500)
        async with self.serving(self.open_engine(tmp_path, clock), script):
            await script.called(2)

    async def test_a_run_without_a_moment_waits_to_be_woken(
        self, tmp_path: Path, clock: FakeClock, script: Script
    ) -> None:
        script.answers["a"] = [Wait(None)]
        self.enqueue(tmp_path, ["a"], clock.now())
        engine = self.open_engine(tmp_path, clock)
        async with self.serving(engine, script):
            await script.called(1)
            await clock.idle(1)
            clock.advance(1_000_000)
            await clock.idle(1)
            assert len(script.calls) == 1
            await engine.wake("a")
            await script.called(2)

    async def test_woken_twice_is_stepped_by_one_at_a_time(
        self, tmp_path: Path, clock: FakeClock, script: Script
    ) -> None:
        script.hold["a"] = asyncio.Event()
        self.enqueue(tmp_path, ["a"], clock.now())
        engine = self.open_engine(tmp_path, clock)
        async with self.serving(engine, script):
            async with asyncio.timeout(60):
                while not script.under_way:
                    await script.changed.wait()
            for _ in range(5):
                await engine.wake("a")
            await clock.idle(1)
            script.hold["a"].set()
            await script.called(1)
            await clock.idle(1)
        assert script.twice == []

    async def test_a_step_is_told_to_stop(self, tmp_path: Path, clock: FakeClock, script: Script) -> None:
        script.hold["a"] = asyncio.Event()
        self.enqueue(tmp_path, ["a"], clock.now())
        engine = self.open_engine(tmp_path, clock)
        async with self.serving(engine, script):
            async with asyncio.timeout(60):
                while not script.under_way:
                    await script.changed.wait()
            await engine.cancel("a")
            await script.called(1)
        assert script.stopped == ["a"]

    async def test_a_step_that_fails_is_called_again(self, tmp_path: Path, clock: FakeClock, script: Script) -> None:
        script.answers["a"] = [OSError("the disk is full")]
        self.enqueue(tmp_path, ["a", "b"], clock.now())
        async with self.serving(self.open_engine(tmp_path, clock), script):
            await script.called(2)
            await clock.idle(1)
            clock.advance(60)
            await script.called(3)
        assert len(script.times("a")) == 2

    async def test_draining_lets_steps_end_and_begins_none(
        self, tmp_path: Path, clock: FakeClock, script: Script
    ) -> None:
        script.hold["a"] = asyncio.Event()
        self.enqueue(tmp_path, ["a"], clock.now())
        engine = self.open_engine(tmp_path, clock)
        serving = asyncio.create_task(engine.serve(script))
        async with asyncio.timeout(60):
            while not script.under_way:
                await script.changed.wait()
        draining = asyncio.create_task(engine.drain(60))
        self.enqueue(tmp_path, ["b"], clock.now())
        script.hold["a"].set()
        assert await draining == 0
        await serving
        assert [run for run, _ in script.calls] == ["a"]

    async def test_draining_cuts_off_at_the_deadline_and_the_next_engine_goes_on(
        self, tmp_path: Path, clock: FakeClock, script: Script
    ) -> None:
        script.hold["a"] = asyncio.Event()
        self.enqueue(tmp_path, ["a"], clock.now())
        engine = self.open_engine(tmp_path, clock)
        serving = asyncio.create_task(engine.serve(script))
        async with asyncio.timeout(60):
            while not script.under_way:
                await script.changed.wait()
        assert await engine.drain(0) == 1
        await serving
        script.hold.clear()
        clock.advance(3600)
        async with self.serving(self.open_engine(tmp_path, clock), script):
            await script.called(2)

    @pytest.mark.timeout(600)
    async def test_a_backlog_is_worked_off(self, tmp_path: Path, clock: FakeClock, script: Script) -> None:
        runs = [f"r{number}" for number in range(self.backlog)]
        self.enqueue(tmp_path, runs, clock.now())
        async with self.serving(self.open_engine(tmp_path, clock), script):
            await script.called(len(runs))
        assert sorted(run for run, _ in script.calls) == sorted(runs)
