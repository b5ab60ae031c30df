"""A told server's clock that is not told: the wall clock of this machine."""

from __future__ import annotations

import asyncio
import time

from tickover.engine.clock import WallClock
from tickover.testing.clock import FakeClock


class RealClock(FakeClock):
    """`FakeClock` for a `ToldServer` in a process that is really stopped or killed. It cannot be set."""

    def __init__(self) -> None:
        super().__init__()
        self._wall = WallClock()

    def now(self) -> float:
        return self._wall.now()

    def boot(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def monotonic(self) -> float:
        return time.monotonic()

    async def until(self, at: float | None, bell: asyncio.Event) -> None:
        await self._wall.until(at, bell)
