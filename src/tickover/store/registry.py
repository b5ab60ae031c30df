"""The registry of pushed routines in SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from tickover.store.database import Database
from tickover.store.rules import printable
from tickover.store.server import RoutineRecord


class SqliteRoutines:
    """`Routines`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, name: str, version: str, *, at: float, by: str) -> RoutineRecord:
        told = {"name": name, "version": version, "at": at, "by": printable(by)}
        with self._database.writing():
            self._database.run("put_routine", told)
            self._database.run("put_version", told)
            return RoutineRecord(*self._database.run("get_routine", (name,)).fetchone())

    def get(self, name: str) -> RoutineRecord | None:
        with self._database.reading():
            found = self._database.run("get_routine", (printable(name),)).fetchone()
        return None if found is None else RoutineRecord(*found)

    def list(self) -> Sequence[RoutineRecord]:
        with self._database.reading():
            return [RoutineRecord(*found) for found in self._database.run("list_routines")]

    def versions(self, name: str) -> Sequence[tuple[str, float, str]]:
        with self._database.reading():
            return [(str(v), float(at), str(by)) for v, at, by in self._database.run("list_versions", (name,))]

    def pause(self, name: str, *, at: float, by: str, reason: str) -> bool:
        told = {"name": name, "at": at, "by": printable(by), "reason": printable(reason)}
        with self._database.writing():
            return self._database.run("pause_routine", told).rowcount == 1

    def resume(self, name: str, *, at: float) -> bool:
        with self._database.writing():
            return self._database.run("resume_routine", {"name": name, "at": at}).rowcount == 1
