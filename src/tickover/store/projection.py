"""The projection that the product uses: core's fold, from a stored row to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tickover.core.event import JournalEvent
from tickover.core.run import RunRow, fold


def project_run(row: dict[str, Any] | None, events: Sequence[JournalEvent]) -> dict[str, Any]:
    """Fold the events into the run's row. Raises `JournalCorruptError` for a fact that cannot have happened."""
    before = None if row is None else RunRow.model_validate(row)
    return fold(events, before).model_dump(mode="json")
