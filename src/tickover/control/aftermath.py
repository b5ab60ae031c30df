"""What a run's end means for its routine: told to whoever notifies, and after too many failures in a row, paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tickover.control.registry import Registry
from tickover.core.admission import Caps
from tickover.core.cause import CAUSES, CauseCode
from tickover.core.noticed import Notice
from tickover.core.row import RunRow
from tickover.core.status import NEVER_RAN, Execution, Outcome
from tickover.store.server import ServerStore

BY: Final = "tickover"
_BAD: Final = {Execution.FAILED, Execution.TIMED_OUT}
_NEUTRAL: Final = {*NEVER_RAN, Execution.CANCELLED, Execution.LOST}
"""Ends that say nothing of the routine: a server that is killed again and again pauses none."""


def _neutral(row: RunRow) -> bool:
    """Tell whether an end says nothing of the routine; nor does a machine that could not do its part."""
    broken = row.cause is not None and row.cause.cause is CauseCode.INFRASTRUCTURE and not row.agent_started
    return row.execution in _NEUTRAL or (row.execution is Execution.FAILED and broken)


class Aftermath:
    """Called with the row of every run that ended, at least once each."""

    def __init__(
        self,
        store: ServerStore,
        registry: Registry,
        caps: Callable[[], Caps],
        now: Callable[[], float],
        noticed: Callable[[Notice], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._caps = caps
        self._now = now
        self._noticed = noticed

    async def __call__(self, row: RunRow) -> None:
        self._noticed(Notice("ended", row.routine, self._now(), run=row.id))
        if _failed(row):
            await asyncio.to_thread(self._pause_if_hopeless, row)

    def _pause_if_hopeless(self, row: RunRow) -> None:
        most = self._caps().pause_after
        record = self._store.routines.get(row.routine)
        if not most or record is None or record.paused_at is not None:
            return
        streak = 0
        for found in self._store.runs.list(routine=row.routine, finished=True, limit=10 * most):
            seen = RunRow.model_validate(found.row)
            if seen.created < record.resumed_at or streak >= most:
                break
            if _neutral(seen):
                continue
            if not _failed(seen):
                return
            streak += 1
        if streak < most:
            return
        why = CAUSES[row.cause.cause] if row.cause else row.reason
        text = f"{streak} runs in a row failed; the last one, {row.id}: {why}"
        # Told first: a process that dies in between comes by here again, and rather says it twice than never.
        self._noticed(Notice("paused", row.routine, self._now(), run=row.id, text=text))
        self._registry.pause(row.routine, BY, text)


def _failed(row: RunRow) -> bool:
    return not _neutral(row) and (row.execution in _BAD or row.outcome is Outcome.FAILED)
