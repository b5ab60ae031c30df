"""Runs and events as programs read them: JSON with absolute times, and the number of the form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tickover.core.event import JournalEvent
from tickover.core.row import RunRow

FORMAT = 1
"""The number of the JSON forms that programs read; it grows when a key changes its meaning or goes."""


def iso(epoch: float | None) -> str | None:
    """Return UTC epoch seconds as RFC 3339 with microseconds."""
    if epoch is None:
        return None
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def event_json(event: JournalEvent) -> dict[str, Any]:
    """Return a journal event as programs read it: times absolute."""
    told = event.model_dump(mode="json")
    told["at"] = iso(event.at)
    if event.type == "retry_scheduled":
        told["data"] = {**told["data"], "at": iso(event.data["at"])}
    return told


def row_json(row: RunRow) -> dict[str, Any]:
    """Return a run's row as programs read it: times absolute, and the number of this form."""
    told = row.model_dump(mode="json")
    for name in ("created", "started", "finished", "retry_at"):
        told[name] = iso(told[name])
    for attempt in told["attempts"]:
        attempt["started"], attempt["finished"] = iso(attempt["started"]), iso(attempt["finished"])
        for phase in attempt["phases"]:
            phase["started"] = iso(phase["started"])
    return {"format": FORMAT, **told}
