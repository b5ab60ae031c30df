"""One SQLite file in a data folder: opened, migrated, and written in short transactions."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.resources
import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tickover.store.errors import StoreBusyError, StoreError

APPLICATION_ID: Final = 1414091595
"""Written by the first migration: tells our file from another program's."""

OLDEST_SQLITE: Final = (3, 24, 0)
"""The first with UPSERT."""

Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """A connection for one process, shared by its threads, correct beside other processes.

    Write-ahead log, `synchronous=FULL` (a commit that returned survives a power cut), every write in one
    `BEGIN IMMEDIATE` that waits up to `busy_timeout` seconds for the lock. The folder must be on a local disk.
    """

    def __init__(self, folder: str, *, busy_timeout: float = 30.0) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError("store.old_sqlite", f"SQLite {sqlite3.sqlite_version} is too old, 3.24 is needed")
        self.folder = os.path.abspath(folder)
        self.busy_timeout = busy_timeout
        self.queries = _queries()
        self._migrations = _migrations()
        self._lock = threading.RLock()
        self._process = os.getpid()
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        path = os.path.join(self.folder, "tickover.db")
        with self._translated(), _locked(os.path.join(self.folder, "store.lock")):
            _make(path)
            self._connection = sqlite3.connect(
                path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def run(self, query: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Execute a named statement; inside `reading()` or `writing()`."""
        return self._connection.execute(self.queries[query], parameters)

    def run_sql(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Execute a statement made of the named ones' pieces; inside `reading()` or `writing()`."""
        return self._connection.execute(sql, parameters)

    def run_many(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a named statement once per row; inside `writing()`."""
        self._connection.executemany(self.queries[query], rows)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """For statements that read; each sees the latest commit."""
        with self._mine(), self._translated():
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: committed at the end, rolled back by any exception."""
        with self._mine(), self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._refuse_newer()
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def forget_history(self) -> None:
        """Fold the write-ahead log into the file and empty it, so that replaced bytes are gone from both."""
        with self._mine(), self._translated():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextlib.contextmanager
    def _mine(self) -> Iterator[None]:
        if os.getpid() != self._process:
            raise StoreError("store.forked", "a store cannot be used across fork(): open it again in the child")
        with self._lock:
            yield

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise StoreBusyError(self.busy_timeout) from error
            if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                raise StoreError(
                    "store.damaged",
                    f"the database in {self.folder} cannot be read: {error}",
                    hint="restore tickover.db, with its -wal file if there is one, from a backup",
                ) from error
            raise StoreError("store.failed", f"the database in {self.folder} refused: {error}") from error

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA trusted_schema = OFF")
        run("PRAGMA secure_delete = ON")
        self._refuse_foreign()
        self._refuse_newer()
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        for number, script in enumerate(self._migrations[self._version() :], self._version() + 1):
            try:
                self._connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _refuse_foreign(self) -> None:
        made_by = self._connection.execute("PRAGMA application_id").fetchone()[0]
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if made_by != APPLICATION_ID and (made_by or tables or self._version()):
            raise StoreError(
                "store.foreign_database",
                f"tickover.db in {self.folder} is another program's database",
                hint="choose another data folder",
            )

    def _refuse_newer(self) -> None:
        """Also at every write: a newer Tickover may have migrated the file while this process ran."""
        version, known = self._version(), len(self._migrations)
        if version > known:
            raise StoreError(
                "store.newer_schema",
                f"the database in {self.folder} has schema {version}, this build knows up to {known}",
                hint="a newer Tickover has used this data folder: upgrade this one, there is no way back",
            )


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """One process at a time creates and migrates; switching to the write-ahead log knows no busy timeout."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make(path: str) -> None:
    """Make the file, private, if it is not there; never open one that is.

    Closing any descriptor of a file drops every POSIX lock that this process has on it, those of its connections too
    (https://sqlite.org/howtocorrupt.html, 2.2). The next process to close then takes itself for the last one and
    deletes the write-ahead log, and what is committed here afterwards is lost.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, "no regular file; symbolic links are not followed", path) from None


def _text(*path: str) -> str:
    return importlib.resources.files("tickover.store").joinpath(*path).read_text(encoding="utf-8")


def _named(text: str) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: sql.strip() for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


def _queries() -> dict[str, str]:
    """Return the named statements of every .sql file beside this one. No name is given twice."""
    folder = importlib.resources.files("tickover.store")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found = [_named(_text(name)) for name in names]
    merged = {name: sql for each in found for name, sql in each.items()}
    if len(merged) != sum(map(len, found)):
        raise StoreError("store.queries", f"two of these files give a statement the same name: {names}")
    return merged


def _migrations() -> list[str]:
    """Return the scripts in order; `0001_journal.sql` is the first, and no number is left out."""
    folder = importlib.resources.files("tickover.store").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    numbers = [int(name.split("_", 1)[0]) for name in names]
    if numbers != list(range(1, len(names) + 1)):
        raise StoreError("store.migrations", f"the migrations of this build are not 0001 onwards: {names}")
    return [_text("migrations", name) for name in names]
