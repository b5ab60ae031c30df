"""The public suites over both stores."""

from __future__ import annotations

from tickover.store.base import Blobs, Clock, Store
from tickover.store.blobs import FileBlobs
from tickover.store.sqlite import SqliteStore
from tickover.testing.blob_suite import BlobSuite
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


class TestFileBlobs(BlobSuite):
    def open_blobs(self, location: str) -> Blobs:
        return FileBlobs(location)


class TestMemoryBlobs(BlobSuite):
    def open_blobs(self, location: str) -> Blobs:
        return MemoryBlobs()
