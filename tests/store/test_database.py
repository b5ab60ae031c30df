"""What is SQLite's own: files, migrations, triggers, other processes' locks."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tickover.core.event import Fact, RunCreated, RunFinished, RunSkipped, payload
from tickover.core.status import Execution, Outcome
from tickover.store.base import OUTSIDE, Event, StoreBusyError, StoreError
from tickover.store.database import APPLICATION_ID, _migrations
from tickover.store.projection import project_run
from tickover.store.sqlite import SqliteStore
from tickover.testing.store_suite import CREATED, count_events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def raw(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "tickover.db", isolation_level=None)


def test_the_folder_and_every_file_are_private(folder: Path) -> None:
    with SqliteStore(str(folder), count_events) as store:
        store.journal.append("r1", OUTSIDE, [CREATED])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes == {
        "data": 0o700,
        "wake": 0o700,
        "store.lock": 0o600,
        "tickover.db": 0o600,
        "tickover.db-wal": 0o600,
        "tickover.db-shm": 0o600,
    }


def test_commits_are_durable_and_in_the_write_ahead_log(folder: Path) -> None:
    with SqliteStore(str(folder), count_events) as store, store._database.reading():
        found = [store._database.run_sql(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET data = '{}'",
        "UPDATE journal SET data = '{}', sealed = 1",
        "UPDATE journal SET seq = 9 WHERE seq = 2",
        "DELETE FROM journal WHERE seq = 2",
        "DELETE FROM journal",
        "INSERT OR REPLACE INTO journal VALUES ('r1', 1, 0, 0, 0, 'x', '{}', 0)",
        "INSERT INTO journal VALUES ('r1', 4, 0, 0, 0, 'x', '{}', 0)",
        "INSERT INTO journal VALUES ('r2', 2, 0, 0, 0, 'x', '{}', 0)",
        "UPDATE seal SET reason = 'other'",
        "DELETE FROM seal",
        'UPDATE journal SET data = \'{"title":"[sealed]"}\', sealed = 1 WHERE seq = 1',
        'UPDATE journal SET at = 0, data = \'{"title":"[sealed]"}\', sealed = 1 WHERE seq = 2',
        "UPDATE journal SET data = 'x' WHERE seq = 2",
    ],
)
def test_the_database_itself_refuses_to_rewrite_history(folder: Path, statement: str) -> None:
    with SqliteStore(str(folder), count_events) as store:
        store.journal.append("r1", OUTSIDE, [CREATED, {"type": "titled", "title": "x"}])
        store.journal.seal("r1", 2, {"title": "[sealed]"}, by="ada", reason="test")
        before = store.journal.read("r1")
        connection = raw(folder)
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|gap"):
            connection.execute(statement)
        connection.close()
        assert store.journal.read("r1") == before


def test_a_sealed_secret_is_in_no_file_any_more(folder: Path) -> None:
    secret = "hunter2-" + "x" * 20_000
    with SqliteStore(str(folder), count_events) as store:
        store.journal.append("r1", OUTSIDE, [CREATED, {"type": "titled", "title": secret}])
        store.journal.seal("r1", 2, {"title": "[sealed]"}, by="ada", reason="a password")
        content = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert b"hunter2" not in content
    assert b"xxxxxxxxxx" not in content
    assert b"[sealed]" in content


def test_a_newer_schema_is_refused_when_opened_and_when_written(folder: Path) -> None:
    with SqliteStore(str(folder), count_events) as store:
        store.journal.append("r1", OUTSIDE, [CREATED])
        connection = raw(folder)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises(StoreError, match="schema 99") as writing:
            store.journal.append("r2", OUTSIDE, [CREATED])
        with pytest.raises(StoreError, match="upgrade this one") as opening:
            SqliteStore(str(folder), count_events)
        assert {writing.value.code, opening.value.code} == {"store.newer_schema"}
        assert store.journal.read("r2") == []


def test_another_programs_database_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    connection = raw(folder)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    before = (folder / "tickover.db").read_bytes()
    with pytest.raises(StoreError) as refused:
        SqliteStore(str(folder), count_events)
    assert refused.value.code == "store.foreign_database"
    assert (folder / "tickover.db").read_bytes() == before


def test_a_file_that_is_no_database_is_called_damaged(folder: Path) -> None:
    folder.mkdir()
    (folder / "tickover.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(StoreError) as refused:
        SqliteStore(str(folder), count_events)
    assert refused.value.code == "store.damaged"


def test_a_link_in_place_of_the_database_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "tickover.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(OSError, match="symbolic links"):
        SqliteStore(str(folder), count_events)
    assert not (tmp_path / "elsewhere.db").exists()


_ANOTHER = """
import sys
from tickover.store.sqlite import SqliteStore
from tickover.testing.store_suite import CREATED, count_events
with SqliteStore(sys.argv[1], count_events) as store:
    if sys.argv[2:]:
        store.journal.append(sys.argv[2], 0, [CREATED])
    print(*(each.run for each in store.runs.list()))
"""


def another(folder: Path, *run: str) -> set[str]:
    """Open the store in another process, perhaps append a run, and close it; return the runs that were seen."""
    said = subprocess.run([sys.executable, "-c", _ANOTHER, str(folder), *run], check=True, stdout=subprocess.PIPE)
    return set(said.stdout.decode().split())


def test_a_process_that_opens_the_store_twice_keeps_its_locks(folder: Path) -> None:
    """Else the next process to close takes itself for the last one and deletes the log under those who use it."""
    with SqliteStore(str(folder), count_events) as first:
        first.journal.append("r1", OUTSIDE, [CREATED])
        with SqliteStore(str(folder), count_events):
            assert another(folder, "r2") == {"r1", "r2"}
            first.journal.append("r3", OUTSIDE, [CREATED])
            assert another(folder) == {"r1", "r2", "r3"}
        assert another(folder, "r4") == {"r1", "r2", "r3", "r4"}
        first.journal.append("r5", OUTSIDE, [CREATED])
        assert another(folder) == {"r1", "r2", "r3", "r4", "r5"}
    assert another(folder) == {"r1", "r2", "r3", "r4", "r5"}


def test_a_migration_that_fails_leaves_the_schema_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteStore(str(folder), count_events).close()
    today = [""] * len(_migrations())
    broken = "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);"
    monkeypatch.setattr("tickover.store.database._migrations", lambda: [*today, broken])
    with pytest.raises(StoreError, match="nowhere"):
        SqliteStore(str(folder), count_events)
    connection = raw(folder)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(today),)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_an_older_schema_is_migrated_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteStore(str(folder), count_events) as store:
        store.journal.append("r1", OUTSIDE, [CREATED])
    today = [""] * len(_migrations())
    monkeypatch.setattr("tickover.store.database._migrations", lambda: [*today, "CREATE TABLE extra (x);"])
    with SqliteStore(str(folder), count_events) as store:
        assert store.journal.append("r1", OUTSIDE, [{"type": "cancel_requested"}]) == 2
    connection = raw(folder)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(today) + 1,)
    assert connection.execute("SELECT count(*) FROM extra").fetchone() == (0,)
    connection.close()


def test_processes_may_open_a_new_folder_at_once(folder: Path) -> None:
    argv = [sys.executable, "-m", "tickover.testing.store_worker", "tickover.testing.store_suite:open_sqlite"]
    children = [
        subprocess.Popen(
            [*argv, str(folder), "slots", "r1", "5"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert sorted(word for words in said for word in words) == ["0", "1", "2", "3", "4", *["ready"] * 4]


def test_a_lock_held_too_long_is_a_typed_error_and_reading_goes_on(folder: Path) -> None:
    with SqliteStore(str(folder), count_events, busy_timeout=0.05) as store:
        store.journal.append("r1", OUTSIDE, [CREATED])
        connection = raw(folder)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match=r"0\.05 s"):
            store.journal.append("r2", OUTSIDE, [CREATED])
        assert store.runs.get("r1").seq == 1
        connection.execute("ROLLBACK")
        connection.close()
        assert store.journal.append("r2", OUTSIDE, [CREATED]) == 1


def test_a_closed_store_says_so(folder: Path) -> None:
    store = SqliteStore(str(folder), count_events)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.journal.read("r1")


def test_a_forked_child_may_not_use_the_parents_connection(folder: Path) -> None:
    with SqliteStore(str(folder), count_events) as store:
        child = os.fork()
        if child == 0:
            try:
                store.journal.read("r1")
            except StoreError as error:
                os._exit(17 if error.code == "store.forked" else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


def test_the_products_projection_keeps_cores_row(folder: Path) -> None:
    ended = RunFinished(execution=Execution.SKIPPED, outcome=Outcome.NONE, exit_code=7)
    facts: list[Fact] = [RunCreated(routine="digest"), RunSkipped(reason="nothing to do"), ended]
    events: list[Event] = [{"type": fact.type, **payload(fact)} for fact in facts]
    with SqliteStore(str(folder), project_run) as store:
        store.journal.append("r1", OUTSIDE, events)
        record = store.runs.get("r1")
        assert [found.run for found in store.runs.list(routine="digest", execution="skipped", outcome="none")] == ["r1"]
        assert store.runs.list(finished=True) == [record]
        assert store.runs.rebuild("r1") == record
        assert (record.row["created"], record.row["last_seq"]) == (store.journal.read("r1")[0].at, 3)
