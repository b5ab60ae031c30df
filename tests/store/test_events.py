from __future__ import annotations

import asyncio
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tickover.store.database import Database
from tickover.store.errors import StoreError
from tickover.store.events import Events, OverloadedError
from tickover.store.sqlite_events import SqliteEvents
from tickover.store.writer import GroupWriter
from tickover.testing.event_suite import NEW, EventSuite
from tickover.testing.events import MemoryEvents


class TestSqlite(EventSuite):
    def open_events(self, location: str) -> Events:
        return SqliteEvents(location)


class TestMemory(EventSuite):
    def open_events(self, location: str) -> Events:
        return MemoryEvents()


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    events = SqliteEvents(str(tmp_path))
    asyncio.run(events.put(NEW))
    events.reject("r/github", "unknown", 60.0, {})
    before = events.pending()
    events.close()
    again = SqliteEvents(str(tmp_path))
    assert again.pending() == before
    assert [each.reason for each in again.rejections()] == ["unknown"]
    again.close()
    with pytest.raises(StoreError):
        asyncio.run(again.put(NEW))


def test_more_than_may_wait_is_refused_and_the_rest_is_written(tmp_path: Path) -> None:
    events = SqliteEvents(str(tmp_path), waiting=5)
    blocker = sqlite3.connect(tmp_path / "tickover.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def flood() -> list[object]:
        puts = [asyncio.ensure_future(events.put(replace(NEW, delivery=str(at)))) for at in range(300)]
        refused, _ = await asyncio.wait(puts, return_when=asyncio.FIRST_EXCEPTION)
        assert refused
        blocker.execute("ROLLBACK")
        return list(await asyncio.gather(*puts, return_exceptions=True))

    answers = asyncio.run(flood())
    kept = [each for each in answers if not isinstance(each, BaseException)]
    assert {type(each) for each in answers if isinstance(each, BaseException)} == {OverloadedError}
    assert len(events.pending(1000)) == len(kept) > 0
    blocker.close()
    events.close()


def test_a_job_that_fails_fails_alone(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    writer = GroupWriter(database, lambda: None, lambda _, rows: rows)
    entered, let = threading.Event(), threading.Event()

    def block(_: Database) -> str:
        entered.set()
        let.wait(30)
        return "blocked"

    def fail(_: Database) -> str:
        raise ValueError("mine")

    def write(database: Database) -> int:
        return database.run("reject", ("s", "r", 1, 1, "{}")).rowcount

    async def together() -> list[object]:
        first = asyncio.ensure_future(writer.write(block))
        await asyncio.to_thread(entered.wait, 30)
        jobs = [asyncio.ensure_future(writer.write(work)) for work in (write, fail, write, fail, write)]
        await asyncio.wait(jobs, timeout=0)
        let.set()
        return list(await asyncio.gather(first, *jobs, return_exceptions=True))

    answers = asyncio.run(together())
    assert [type(each) for each in answers] == [str, int, ValueError, int, ValueError, int]
    with database.reading():
        assert database.run("rejections", (9,)).fetchone()[3] == 3
    writer.close()
    database.close()
