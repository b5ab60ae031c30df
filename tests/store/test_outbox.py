from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tickover.store.base import OUTSIDE
from tickover.store.outbox import Delivery
from tickover.store.sqlite import SqliteStore
from tickover.testing.outbox import MemoryOutbox
from tickover.testing.outbox_suite import Opened, OutboxSuite, draft


class TestSqlite(OutboxSuite):
    def open_outbox(self, location: str) -> Opened:
        moment: list[float] = []

        def project(row: dict[str, Any] | None, events: Any) -> dict[str, Any]:
            del row, events
            return {"routine": "r", "created": 0.0, "finished": moment[-1]}

        def end(run: str, at: float) -> None:
            moment.append(at)
            store.journal.append(run, OUTSIDE, [{"type": "run_missed"}])

        store = SqliteStore(location, project)
        return store.outbox, end

    def test_the_database_itself_keeps_the_tries(self, tmp_path: Any) -> None:
        outbox, _ = self.open_outbox(str(tmp_path))
        outbox.begin(0.0)
        outbox.file("a", "r", 1.0, [draft()], 1.0)
        outbox.settle(1, Delivery(2.0, ok=True, says="ok"), again_at=None)
        connection = sqlite3.connect(tmp_path / "tickover.db")
        for sql in ("DELETE FROM notice_attempt", "UPDATE notice_attempt SET ok = 0"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(sql)
        connection.close()


class TestMemory(OutboxSuite):
    def open_outbox(self, location: str) -> Opened:
        outbox = MemoryOutbox()
        return outbox, outbox.ended
