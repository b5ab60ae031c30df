"""Sums over the run rows in SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from tickover.store.database import Database
from tickover.store.usage import RunSum


class SqliteUsage:
    """`Usage`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, created: float) -> Sequence[RunSum]:
        with self._database.reading():
            return [RunSum(*row) for row in self._database.run("usage", (created,)).fetchall()]
