"""A clock that stands still until it is set: engines and schedulers are told a day in seconds, suspends included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

START: Final = 1_795_996_800.0
"""2026-11-30 00:00:00 UTC, a Monday."""

_YIELDS: Final = 4  # turns of the event loop in which what was sent to one of its sockets is noticed


@dataclass(eq=False)
class _Sleeper:
    at: float | None
    bell: asyncio.Event


@dataclass
class FakeClock:
    """`engine.base.Clock`, and the two clocks that `control.scheduler.Watch` compares with it.

    `set` moves only the wall clock, as somebody who sets it does; `advance` moves all; `suspend` all but the one that
    stands still while a machine is suspended.
    """

    at: float = START
    boot_at: float = 1000.0
    awake_at: float = 1000.0
    _sleepers: list[_Sleeper] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> float:
        return self.at

    def boot(self) -> float:
        return self.boot_at

    def monotonic(self) -> float:
        return self.awake_at

    async def until(self, at: float | None, bell: asyncio.Event) -> None:
        if at is not None and at <= self.at:
            bell.clear()
            return
        sleeper = _Sleeper(at, bell)
        self._sleepers.append(sleeper)
        self._changed.set()
        try:
            await bell.wait()
        finally:
            self._sleepers.remove(sleeper)
        bell.clear()

    def set(self, at: float) -> None:
        """Set the wall clock, forward or back."""
        self.at = at
        for sleeper in self._sleepers:
            if sleeper.at is not None and sleeper.at <= at:
                sleeper.bell.set()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.boot_at += seconds
        self.awake_at += seconds
        self.set(self.at + seconds)

    def suspend(self, seconds: float) -> None:
        """Let time pass while the machine is suspended."""
        self.boot_at += seconds
        self.set(self.at + seconds)

    def next(self) -> float | None:
        """Return the earliest moment that somebody waits for."""
        return min((each.at for each in self._sleepers if each.at is not None), default=None)

    async def idle(self, sleepers: int, busy: Callable[[], bool] = lambda: False) -> None:
        """Wait until so many wait for this clock with nothing to do, and nobody is busy otherwise."""
        while True:
            for _ in range(_YIELDS):
                await _turn()
            if sum(not each.bell.is_set() for each in self._sleepers) >= sleepers and not busy():
                return
            self._changed.clear()
            async with asyncio.timeout(120):
                await self._changed.wait()

    def nudge(self) -> None:
        """Let `idle` look again: something it does not see has ended."""
        self._changed.set()


async def _turn() -> None:
    """Let the event loop go round once."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.call_soon(future.set_result, None)
    await future
