from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tickover.store.access import Audit, Tokens
from tickover.store.sqlite import SqliteStore
from tickover.testing.access import MemoryAudit, MemoryTokens
from tickover.testing.access_suite import AccessSuite
from tickover.testing.store_suite import count_events


class TestSqlite(AccessSuite):
    def open_access(self, location: str, clock: Any) -> tuple[Tokens, Audit]:
        store = SqliteStore(location, count_events, clock=clock)
        return store.tokens, store.audit

    @pytest.mark.parametrize("sql", ["DELETE FROM audit", "UPDATE audit SET who = 'nobody'"])
    def test_the_database_itself_keeps_the_log(self, tmp_path: Any, sql: str) -> None:
        with SqliteStore(str(tmp_path), count_events) as store:
            store.audit.note(who="a", what="w", target="t", origin="o")
        connection = sqlite3.connect(tmp_path / "tickover.db")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(sql)
        connection.close()


class TestMemory(AccessSuite):
    def open_access(self, location: str, clock: Any) -> tuple[Tokens, Audit]:
        return MemoryTokens(), MemoryAudit(clock)
