"""The outbox in memory. `ended` tells it of a run that has ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from tickover.store.outbox import MERGE_WITHIN, Delivery, Draft, Letter


class MemoryOutbox:
    """`Outbox`."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._noted: dict[str, float] = {}
        self._letters: list[Letter] = []
        self._deliveries: dict[int, list[Delivery]] = {}

    def ended(self, run: str, finished: float) -> None:
        """Say that a run has ended."""
        self._ends[run] = finished

    def begin(self, now: float) -> None:
        self._noted.setdefault("", now)

    def unnoticed(self, *, since: float | None = None, limit: int = 200) -> Sequence[str]:
        if "" not in self._noted:
            return []
        if since is None:
            since = max(self._noted.values()) - 600
        first = max(since, self._noted[""])
        found = [(at, run) for run, at in self._ends.items() if at >= first and run not in self._noted]
        return [run for _, run in sorted(found)[:limit]]

    def file(self, run: str | None, routine: str, finished: float, drafts: Sequence[Draft], now: float) -> None:
        if run is not None:
            self._noted.setdefault(run, finished)
        for draft in drafts:
            if run is None or not any((each.run, each.target) == (run, draft.target) for each in self._letters):
                self._add(run, routine, draft, now)

    def add(self, run: str, routine: str, draft: Draft, now: float) -> None:
        if not any((each.run, each.target) == (run, draft.target) for each in self._letters):
            self._add(run, routine, draft, now)

    def _add(self, run: str | None, routine: str, draft: Draft, now: float) -> None:
        same = [
            each
            for each in self._letters
            if (each.routine, each.cause, each.target) == (routine, draft.cause, draft.target)
        ]
        spoken = max(
            (each for each in same if each.state != "merged"), key=lambda each: (each.created, each.id), default=None
        )
        body, merged = json.loads(json.dumps(dict(draft.body))), None
        if draft.cause and spoken is not None:
            if now - spoken.created < MERGE_WITHIN:
                merged = spoken.id
            else:
                body["repeated"] = sum(each.merged == spoken.id for each in same)
        waits = merged is None
        self._letters.append(
            Letter(
                len(self._letters) + 1, run, routine, draft.kinds, draft.cause, draft.target, now, body,
                "waiting" if waits else "merged", 0, now if waits else None, merged,
            )
        )  # fmt: skip

    def due(self, now: float, limit: int = 20) -> Sequence[Letter]:
        found = [each for each in self._letters if each.next_at is not None and each.next_at <= now]
        return sorted(found, key=lambda each: (each.next_at or 0, each.id))[:limit]

    def next_at(self) -> float | None:
        return min((each.next_at for each in self._letters if each.next_at is not None), default=None)

    def settle(self, letter: int, delivery: Delivery, *, again_at: float | None) -> None:
        self._deliveries.setdefault(letter, []).append(delivery)
        known = self._letters[letter - 1]
        if delivery.ok or again_at is None:
            known = replace(known, state="sent" if delivery.ok else "failed", next_at=None)
        else:
            known = replace(known, next_at=again_at)
        self._letters[letter - 1] = replace(known, tries=known.tries + 1)

    def list(self, *, limit: int = 100, before: int | None = None) -> Sequence[Letter]:
        return [each for each in reversed(self._letters) if before is None or each.id < before][:limit]

    def deliveries(self, letter: int) -> Sequence[Delivery]:
        return self._deliveries.get(letter, [])
