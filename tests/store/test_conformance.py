"""The public suites over both stores."""

from __future__ import annotations

from pathlib import Path

from tickover.store.base import Blobs, Clock, Store
from tickover.store.blobs import FileBlobs
from tickover.store.sqlite import SqliteStore
from tickover.testing.blob_suite import BlobSuite
from tickover.testing.instance_suite import InstanceSuite
from tickover.testing.store import MemoryBlobs, MemoryStore
from tickover.testing.store_process_suite import SharedStoreSuite
from tickover.testing.store_suite import StoreSuite, count_events


class TestSqlite(SharedStoreSuite):
    opener = "tickover.testing.store_suite:open_sqlite"

    def open_store(self, location: str, clock: Clock) -> Store:
        return SqliteStore(location, count_events, clock=clock)


class TestMemory(StoreSuite):
    def open_store(self, location: str, clock: Clock) -> Store:
        return MemoryStore(count_events, clock=clock)


class TestSqliteInstance(InstanceSuite):
    def open_store(self, location: str, clock: Clock) -> Store:
        return SqliteStore(location, count_events, clock=clock)

    def test_a_value_that_was_replaced_is_in_no_file_any_more(self, tmp_path: Path) -> None:
        with SqliteStore(str(tmp_path / "s"), count_events) as store:
            store.secrets.put("a", kind="header", sealed=b"sealed-value-one", by="ada")
            store.secrets.put("a", kind="header", sealed=b"sealed-value-two", by="ada")
            held = b"".join(path.read_bytes() for path in (tmp_path / "s").glob("tickover.db*"))
            assert (b"sealed-value-one" in held, b"sealed-value-two" in held) == (False, True)
            store.secrets.remove("a")
            held = b"".join(path.read_bytes() for path in (tmp_path / "s").glob("tickover.db*"))
            assert b"sealed-value" not in held


class TestMemoryInstance(InstanceSuite):
    def open_store(self, location: str, clock: Clock) -> Store:
        return MemoryStore(count_events, clock=clock)


class TestFileBlobs(BlobSuite):
    def open_blobs(self, location: str) -> Blobs:
        return FileBlobs(location)


class TestMemoryBlobs(BlobSuite):
    def open_blobs(self, location: str) -> Blobs:
        return MemoryBlobs()
