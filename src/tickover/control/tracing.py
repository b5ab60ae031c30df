"""Traces of runs that have ended, sent beside everything else: a collector that is down costs a run nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from tickover.core.errors import TickoverError
from tickover.core.event import JournalEvent
from tickover.core.noticed import Notice
from tickover.core.trace import Trace, trace_of

MOST_WAITING: Final = 1000
"""Ended runs whose traces wait; beyond it the oldest are dropped, and that is said."""
_LEAVE_S: Final = 5.0


class Sender(Protocol):
    """Where traces go. Both block."""

    def send(self, trace: Trace) -> bool: ...

    def close(self) -> None: ...


class Tracing:
    """From `__aenter__` to `__aexit__` every run that ends is sent, one after the other.

    `journal` reads a page of a run's facts beyond a number; `trouble` is told of what was not sent. What waits when the
    process is killed is not sent: the journal has it all.
    """

    def __init__(
        self,
        journal: Callable[[str, int], Sequence[JournalEvent]],
        sender: Sender,
        trouble: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._sender = sender
        self._trouble = trouble
        self._runs: dict[str, None] = {}
        self._rung = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def noticed(self, notice: Notice) -> None:
        """Hear of a run's end, from any thread."""
        if notice.kind == "ended" and notice.run is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is over
                self._loop.call_soon_threadsafe(self._add, notice.run)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._serve(), name="traces")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._sender.close)

    def _add(self, run: str) -> None:
        self._runs[run] = None
        if len(self._runs) > MOST_WAITING:
            del self._runs[next(iter(self._runs))]
            self._trouble(TickoverError("otel.dropped", f"more than {MOST_WAITING} traces wait: one was dropped"))
        self._idle.clear()
        self._rung.set()

    async def _serve(self) -> None:
        while True:
            await self._rung.wait()
            self._rung.clear()
            while self._runs:
                run = next(iter(self._runs))
                del self._runs[run]
                try:
                    if not await asyncio.to_thread(self._send, run):
                        raise TickoverError("otel.refused", f"the trace of run {run} was not taken")
                except Exception as error:  # noqa: BLE001 - told; a trace must not stop the next one
                    self._trouble(error)
            self._idle.set()

    def _send(self, run: str) -> bool:
        events: list[JournalEvent] = []
        while page := self._journal(run, events[-1].seq if events else 0):
            events += page
        return self._sender.send(trace_of(events))
