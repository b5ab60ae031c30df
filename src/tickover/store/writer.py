"""Group commit: one thread writes what many ask for, in as few durable transactions as the disk allows.

There is no artificial delay: whatever arrived while the last batch was committed is the next batch. A job that fails
fails alone; the batch is rolled back and its jobs are done one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tickover.store.database import Database
from tickover.store.errors import StoreError

T = TypeVar("T")
BATCH: Final = 256
PATIENCE: Final = 1.0
"""Seconds after which an idle writer looks for what may wait a little (`soon`)."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Database], Any]
    future: Any
    loop: asyncio.AbstractEventLoop | None
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        if self.future.cancelled() or self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class GroupWriter:
    """A thread with a database connection of its own. It starts with the first job."""

    def __init__(self, database: Database, soon: Callable[[], Callable[[Database], Any] | None]) -> None:
        """`soon()` gives a job that has no hurry, or None; it goes along with a batch, or after a second."""
        self._database = database
        self._soon = soon
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    async def write(self, work: Callable[[Database], T]) -> T:
        """Do `work` in a transaction; durable on return."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._add(_Job(work, future, loop))
        return await future

    def write_now(self, work: Callable[[Database], T]) -> T:
        """As `write`, for a caller without an event loop."""
        future: Future[T] = Future()
        self._add(_Job(work, future, None))
        return future.result()

    def nudge(self) -> None:
        """Let the writer know that there is something that may wait a little."""
        self._add(None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _add(self, job: _Job | None) -> None:
        with self._changed:
            if self._closed:
                raise StoreError("store.failed", "the store is closed")
            if job is not None:
                self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tickover-writer", daemon=True)
                self._thread.start()
            if job is not None:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._jobs and not self._closed:
                    self._changed.wait(PATIENCE)
                batch = [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))]
                closed = self._closed and not self._jobs
            if (extra := self._soon()) is not None:
                batch.append(_Job(extra, Future(), None))
            if batch:
                self._commit(batch)
                _settle(batch)
            if closed and not self._jobs:
                return

    def _commit(self, batch: list[_Job]) -> None:
        try:
            with self._database.writing():
                for job in batch:
                    job.result = job.work(self._database)
        except Exception as error:  # noqa: BLE001 - it is given to whoever asked
            if len(batch) == 1:
                batch[0].error = error
                return
            for job in batch:
                self._commit([job])


def _settle(batch: list[_Job]) -> None:
    """Tell each asker, with one wake-up for each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in batch:
        if job.loop is None:
            job.settle()
        else:
            loops.setdefault(job.loop, []).append(job)
    for loop, jobs in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_all, jobs)


def _settle_all(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()
