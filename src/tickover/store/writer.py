"""Group commit: one thread writes what many ask for, in as few durable transactions as the disk allows.

There is no artificial delay: whatever arrived while the last batch was committed is the next batch. A job that fails
fails alone; the batch is rolled back and its jobs are done one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from tickover.store.database import Database
from tickover.store.errors import StoreError

T = TypeVar("T")
BATCH: Final = 256
PATIENCE: Final = 1.0
"""Seconds after which an idle writer looks for what may wait a little (`soon`)."""


@dataclass(slots=True)
class _Job:
    """`work`, or a `row` that is written together with others."""

    work: Callable[[Database], Any] | None
    future: Any
    loop: asyncio.AbstractEventLoop | None
    row: Sequence[Any] = ()
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

    def __init__(
        self,
        database: Database,
        soon: Callable[[], Callable[[Database], Any] | None],
        rows: Callable[[Database, Sequence[Sequence[Any]]], Sequence[Any]],
    ) -> None:
        """`soon()` gives a job that has no hurry, or None; it goes along with a batch, or after a second.

        `rows` writes many rows of `write_row` at once and returns a result for each.
        """
        self._rows = rows
        self._database = database
        self._soon = soon
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        """None only wakes the thread. A queue in C: whoever puts never waits for the thread to give a lock back."""
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        return self._jobs.qsize()

    async def write(self, work: Callable[[Database], T]) -> T:
        """Do `work` in a transaction; durable on return."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._add(_Job(work, future, loop))
        return await future

    async def write_row(self, row: Sequence[Any]) -> Any:
        """Write a row together with others; durable on return."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._add(_Job(None, future, loop, row))
        return await future

    def write_now(self, work: Callable[[Database], T]) -> T:
        """As `write`, for a caller without an event loop."""
        future: Future[T] = Future()
        self._add(_Job(work, future, None))
        return future.result()

    def nudge(self) -> None:
        """Let the writer know that there is something that may wait a little."""
        if self._thread is None:
            self._start()

    def close(self) -> None:
        self._closed = True
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()
        late = [job for job in iter(self._late, None) if job is not None]
        for job in late:
            job.error = StoreError("store.failed", "the store is closed")
        _settle(late)

    def _late(self) -> _Job | None:
        """Return what came while it was closed."""
        try:
            return self._jobs.get_nowait()
        except Empty:
            return None

    def _add(self, job: _Job) -> None:
        if self._closed:
            raise StoreError("store.failed", "the store is closed")
        if self._thread is None:
            self._start()
        self._jobs.put(job)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tickover-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            batch = self._next()
            if (extra := self._soon()) is not None:
                batch.append(_Job(extra, Future(), None))
            if batch:
                self._commit(batch)
                _settle(batch)
            elif self._closed and self._jobs.empty():
                return

    def _next(self) -> list[_Job]:
        """Return what waits, after at most `PATIENCE` seconds; nothing is left behind by a close."""
        batch: list[_Job] = []
        try:
            first = self._jobs.get(timeout=0 if self._closed else PATIENCE)
            batch = [] if first is None else [first]
            while len(batch) < BATCH:
                job = self._jobs.get_nowait()
                if job is not None:
                    batch.append(job)
        except Empty:
            pass
        return batch

    def _commit(self, batch: list[_Job]) -> None:
        try:
            with self._database.writing():
                rows = [job for job in batch if job.work is None]
                if rows:
                    results = self._rows(self._database, [job.row for job in rows])
                    for job, result in zip(rows, results, strict=True):
                        job.result = result
                for job in batch:
                    if job.work is not None:
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
