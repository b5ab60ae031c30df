"""The engine inside this process: the store's queue is its memory, so a killed one loses nothing.

It sleeps until the earliest moment that stands in the queue, or until somebody rings: a step ended, another
process changed the queue. Nothing is polled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from tickover.engine.base import Again, Clock, Done, Next, Step, Wait
from tickover.store.server import Queue

LOOK_AGAIN_S: Final = 30.0
"""A run whose step was lost with its process is looked at again after so long."""

_AFTER_ERROR_S: Final = 5.0
_AT_ONCE: Final = 32  # steps under way besides those that have a place: most only look and answer


class EmbeddedEngine:
    """`Engine` over a `Queue`. `report` is told what a step raised."""

    def __init__(
        self,
        queue: Queue,
        clock: Clock,
        *,
        at_once: int = _AT_ONCE,
        report: Callable[[str, BaseException], None] = lambda _run, _error: None,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._at_once = at_once
        self._report = report
        self._bell = asyncio.Event()
        self._steps: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._woken: set[str] = set()
        """Runs that were taken from the queue and not stepped since: their step is still under way."""
        self._draining = False

    @property
    def busy(self) -> int:
        """How many steps are under way."""
        return len(self._steps)

    def ring(self) -> None:
        """Look at the queue: somebody changed it."""
        self._bell.set()

    async def wake(self, run: str, at: float | None = None) -> None:
        await asyncio.to_thread(self._queue.wake, run, self._clock.now() if at is None else at)
        self._bell.set()

    async def cancel(self, run: str) -> None:
        if run in self._steps:
            self._steps[run][1].set()
        await self.wake(run)

    async def serve(self, step: Step) -> None:
        try:
            while not self._draining:
                await self._start_what_is_due(step)
                at = await asyncio.to_thread(self._queue.next_wake) if len(self._steps) < self._at_once else None
                if not self._bell.is_set():
                    await self._clock.until(at, self._bell)
                self._bell.clear()
        except BaseException:
            await self._cut_off()
            raise

    async def drain(self, deadline_s: float) -> int:
        self._draining = True
        self._bell.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while self._steps:
                    await asyncio.wait([task for task, _ in self._steps.values()])
        return await self._cut_off()

    async def _cut_off(self) -> int:
        tasks = [task for task, _ in self._steps.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)

    async def _start_what_is_due(self, step: Step) -> None:
        room = self._at_once - len(self._steps)
        if room <= 0:
            return
        now = self._clock.now()
        taken = await asyncio.to_thread(self._queue.take, now, room, now + LOOK_AGAIN_S)
        self._woken.update(each.run for each in taken)
        for run in self._woken - self._steps.keys():
            self._woken.discard(run)
            stop = asyncio.Event()
            self._steps[run] = (asyncio.create_task(self._step(step, run, stop)), stop)

    async def _step(self, step: Step, run: str, stop: asyncio.Event) -> None:
        try:
            answer: Next = Again()
            while isinstance(answer, Again) and not self._draining:
                answer = await step(run, stop)
            if not isinstance(answer, Done | Wait):
                await asyncio.to_thread(self._queue.wake, run, self._clock.now())
        except Exception as error:  # noqa: BLE001 - one run's trouble is not the others'
            self._report(run, error)
            await asyncio.to_thread(self._queue.wake, run, self._clock.now() + _AFTER_ERROR_S)
        finally:
            del self._steps[run]
            self._bell.set()
