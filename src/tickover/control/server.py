"""The server of one data folder: scheduler and engine over the same store, one at a time, drained in order.

`async with` holds DATA/engine.lock, brings what a killed one left back on its way, and starts both.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tickover.control.scheduler import Scheduler, recompute
from tickover.control.step import Stepper
from tickover.control.zones import zone_rules
from tickover.core.errors import UsageError
from tickover.engine.base import Clock, Engine
from tickover.store.server import ServerStore
from tickover.workspace.lock import FileLock

LOCK: Final = "engine.lock"
_ZONES: Final = "tzdata"


class Server:
    """What runs queued runs and fires schedules. `rings` are told when another process changed what is next.

    `vital` are by name what runs beside it, such as who minds the launcher; if one ends by itself, so does the server.
    """

    def __init__(
        self,
        *,
        data: Path,
        store: ServerStore,
        engine: Engine,
        scheduler: Scheduler,
        stepper: Stepper,
        clock: Clock,
        rings: Sequence[Callable[[], None]],
        vital: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] | None = None,
    ) -> None:
        self.engine = engine
        self._data = data
        self._store = store
        self._scheduler = scheduler
        self._stepper = stepper
        self._clock = clock
        self._rings = rings
        self._vital = vital or {}
        self._lock: FileLock | None = None
        self._bell: tuple[socket.socket, Callable[[], None]] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self.recovered = 0
        """Runs that a server before this one left under way."""

    async def __aenter__(self) -> Self:
        self._lock = take_lock(self._data)
        try:
            places = self._stepper.caps().concurrent
            self.recovered = await asyncio.to_thread(self._store.queue.recover, self._clock.now(), places)
            await asyncio.to_thread(self._mind_zones)
            self._bell = self._store.bell()
            asyncio.get_running_loop().add_reader(self._bell[0], self._ring)
            self._start(self.engine.serve(self._stepper), "engine")
            self._start(self._scheduler.serve(), "scheduler")
            for name, gone in self._vital.items():
                self._start(gone(), name)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def drain(self, deadline_s: float) -> int:
        """Fire and begin nothing more, and wait for what runs; return how many runs were cut off at the deadline.

        The next server goes on with those: their attempt is `lost`, and tried again where the routine says so.
        """
        self._draining = True
        for task in self._tasks:
            if task.get_name() == "scheduler":
                task.cancel()
        return await self.engine.drain(deadline_s)

    async def failure(self) -> BaseException:
        """Return, only if engine or scheduler ended by itself, what it died of: a server without one is none."""
        while True:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._draining:
                await asyncio.Event().wait()
            for task in done:
                error = None if task.cancelled() else task.exception()
                return error or RuntimeError(f"the {task.get_name()} ended")

    def _start(self, what: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(what, name=name))

    def _mind_zones(self) -> None:
        rules = zone_rules()
        if self._store.schedules.note(_ZONES) != rules:
            recompute(self._store.schedules)
            self._store.schedules.note(_ZONES, rules)

    def _ring(self) -> None:
        assert self._bell is not None
        try:
            while self._bell[0].recv(1) is not None:
                pass
        except BlockingIOError:
            pass
        for ring in self._rings:
            ring()

    async def _stop(self) -> None:
        self._draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.engine.drain(0)
        if self._bell is not None:
            asyncio.get_running_loop().remove_reader(self._bell[0])
            self._bell[1]()
            self._bell = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def take_lock(data: Path) -> FileLock:
    """Be the one server of a data folder. Raises UsageError where another one lives."""
    lock = FileLock.try_take(data / LOCK)
    if lock is None:
        try:
            who = f" (process {int((data / LOCK).read_text(encoding='ascii') or 0)})"
        except (OSError, ValueError):
            who = ""
        raise UsageError(
            "server.running",
            f"another server{who} works on {data}",
            hint="stop it, or give this one another data folder with --home",
        )
    os.ftruncate(lock.descriptor, 0)
    os.pwrite(lock.descriptor, str(os.getpid()).encode(), 0)
    return lock
