"""An engine as a fake: the same promises as the embedded one, in this process's memory, gone with it."""

from __future__ import annotations

import asyncio
import contextlib

from tickover.engine.base import Again, Clock, Done, Step

_AFTER_ERROR_S = 5.0


class FakeEngine:
    """`Engine` without a store. Several in one `memory` are one after another over the same data folder."""

    def __init__(self, clock: Clock, memory: dict[str, float | None]) -> None:
        self._clock = clock
        self._memory = memory
        """Run -> when it is looked at; None: only when woken."""
        self._bell = asyncio.Event()
        self._steps: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._woken: set[str] = set()
        self._draining = False

    async def wake(self, run: str, at: float | None = None) -> None:
        moment = self._clock.now() if at is None else at
        known = self._memory.get(run)
        self._memory[run] = moment if known is None else min(known, moment)
        self._woken.add(run)
        self._bell.set()

    async def cancel(self, run: str) -> None:
        if run in self._steps:
            self._steps[run][1].set()
        await self.wake(run)

    async def serve(self, step: Step) -> None:
        try:
            while not self._draining:
                now = self._clock.now()
                for run, at in list(self._memory.items()):
                    if at is not None and at <= now and run not in self._steps:
                        self._woken.discard(run)
                        stop = asyncio.Event()
                        self._steps[run] = (asyncio.create_task(self._step(step, run, stop)), stop)
                ahead = [at for run, at in self._memory.items() if at is not None and run not in self._steps]
                await self._clock.until(min(ahead, default=None), self._bell)
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

    async def _step(self, step: Step, run: str, stop: asyncio.Event) -> None:
        try:
            while isinstance(answer := await step(run, stop), Again):
                if self._draining:
                    return
            if isinstance(answer, Done):
                self._memory.pop(run, None)
            elif run not in self._woken:
                self._memory[run] = answer.until
        except Exception:  # noqa: BLE001 - a step that fails is called again
            self._memory[run] = self._clock.now() + _AFTER_ERROR_S
        finally:
            del self._steps[run]
            self._bell.set()
