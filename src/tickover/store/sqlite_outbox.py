"""The outbox in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tickover.store.database import Database
from tickover.store.encoding import decode_json, encode_json
from tickover.store.outbox import MERGE_WITHIN, Delivery, Draft, Letter
from tickover.store.rules import printable

_MARGIN: Final = 600.0  # seconds that a run's end may lie before one that was committed earlier


class SqliteOutbox:
    """`Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, now: float) -> None:
        with self._database.writing():
            self._database.run("begin_notices", (now,))

    def unnoticed(self, *, since: float | None = None, limit: int = 200) -> Sequence[str]:
        with self._database.reading():
            begun = self._database.run("notices_begun").fetchone()
            if begun is None:
                return []
            if since is None:
                since = self._database.run("last_noticed").fetchone()[0] - _MARGIN
            asked = {"since": max(since, begun[0]), "limit": limit}
            return [run for (run,) in self._database.run("unnoticed", asked)]

    def file(self, run: str | None, routine: str, finished: float, drafts: Sequence[Draft], now: float) -> None:
        with self._database.writing():
            if run is not None:
                self._database.run("note_run", (run, finished))
            for draft in drafts:
                self._add(run, printable(routine), draft, now)

    def add(self, run: str, routine: str, draft: Draft, now: float) -> None:
        with self._database.writing():
            self._add(run, printable(routine), draft, now)

    def _add(self, run: str | None, routine: str, draft: Draft, now: float) -> None:
        cause = printable(draft.cause)
        key = {"routine": routine, "cause": cause, "target": draft.target}
        spoken = self._database.run("speaking_notice", key).fetchone() if cause else None
        body, merged = dict(draft.body), None
        if spoken is not None and now - spoken[1] < MERGE_WITHIN:
            merged = spoken[0]
        elif spoken is not None:
            body["repeated"] = self._database.run("merged_into", {**key, "id": spoken[0]}).fetchone()[0]
        row = {
            **key,
            "run": run,
            "kinds": " ".join(draft.kinds),
            "created": now,
            "body": encode_json(body),
            "state": "waiting" if merged is None else "merged",
            "next_at": now if merged is None else None,
            "merged": merged,
        }
        self._database.run("add_notice", row)

    def due(self, now: float, limit: int = 20) -> Sequence[Letter]:
        with self._database.reading():
            return [_letter(row) for row in self._database.run("due_notices", {"now": now, "limit": limit})]

    def next_at(self) -> float | None:
        with self._database.reading():
            found: float | None = self._database.run("next_notice").fetchone()[0]
            return found

    def settle(self, letter: int, delivery: Delivery, *, again_at: float | None) -> None:
        state = "sent" if delivery.ok else "failed" if again_at is None else "waiting"
        row = (letter, delivery.at, int(delivery.ok), printable(delivery.says))
        with self._database.writing():
            self._database.run("add_notice_attempt", row)
            next_at = again_at if state == "waiting" else None
            self._database.run("settle_notice", {"id": letter, "state": state, "next_at": next_at})

    def list(self, *, limit: int = 100, before: int | None = None) -> Sequence[Letter]:
        with self._database.reading():
            return [_letter(row) for row in self._database.run("notices", {"limit": limit, "before": before})]

    def deliveries(self, letter: int) -> Sequence[Delivery]:
        with self._database.reading():
            rows = self._database.run("notice_attempts", (letter,)).fetchall()
        return [Delivery(at, bool(ok), says) for at, ok, says in rows]


def _letter(row: Sequence[Any]) -> Letter:
    id_, run, routine, kinds, cause, target, created, body, *rest = row
    return Letter(id_, run, routine, tuple(kinds.split()), cause, target, created, decode_json(body), *rest)
