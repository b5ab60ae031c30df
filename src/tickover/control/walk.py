"""Walking through the phases of an attempt: each is timed in the journal, and each ends when the run is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from tickover.control.keep import Kept, unless_gone
from tickover.control.record import Recorder
from tickover.core.status import Phase

T = TypeVar("T")


class Walk:
    """Where an attempt is. `phase` is the one under way, or the last."""

    def __init__(self, record: Recorder, kept: Kept) -> None:
        self.phase: Phase | None = None
        self._record = record
        self._kept = kept

    @asynccontextmanager
    async def timed(self, phase: Phase) -> AsyncIterator[None]:
        """Be in a phase."""
        self.phase = phase
        async with self._record.phase(phase):
            yield

    async def unless_cancelled(self, what: Awaitable[T]) -> T:
        """Await something that a cancel ends. Raises Ended."""
        return await unless_gone(what, self._kept)
