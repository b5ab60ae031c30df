"""Writing a run's facts: each append is durable before the next step begins, and carries the run's fence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tickover.core.event import Fact, JournalEvent, PhaseFinished, PhaseStarted, payload
from tickover.core.row import RunRow
from tickover.core.status import Phase
from tickover.store.base import Journal, Lease, Runs

Observer = Callable[[JournalEvent], None]


class Recorder:
    """The journal of one run, as the one who holds its lease sees it."""

    def __init__(self, journal: Journal, runs: Runs, lease: Lease, observe: Observer | None = None) -> None:
        self.run = lease.run
        self.lease = lease
        self.attempt = 0
        self.journal = journal
        self._runs = runs
        self.fence = lease.fence
        self._observe = observe
        self._seen = 0
        self._order = asyncio.Lock()

    async def add(self, *facts: Fact) -> None:
        """Append all or none. Raises StaleFenceError once somebody else has the run."""
        if not facts:
            return
        events = [{"type": fact.type, **payload(fact)} for fact in facts]
        async with self._order:
            await asyncio.to_thread(self.journal.append, self.run, self.fence, events, attempt=self.attempt)
        self.tell()

    def tell(self) -> None:
        """Show the observer what it has not seen, in order, whoever wrote it."""
        observe, self._observe = self._observe, None  # one that raises is not called again
        if observe is None:
            return
        while fresh := self.journal.read(self.run, self._seen):
            for event in fresh:
                self._seen = event.seq
                observe(event)
        self._observe = observe

    @asynccontextmanager
    async def phase(self, phase: Phase) -> AsyncIterator[None]:
        """Journal a phase with its duration; one that raises is not finished, and the attempt's end says why."""
        await self.add(PhaseStarted(phase=phase))
        began = time.monotonic()
        yield
        await self.add(PhaseFinished(phase=phase, duration_s=round(time.monotonic() - began, 6)))

    def row(self) -> RunRow:
        """Return the run as its journal has it now."""
        return RunRow.model_validate(self._runs.get(self.run).row)
