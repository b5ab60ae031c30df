"""The small tables beside the journal: verifier records, state by compare-and-swap, what runs hold on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tickover.store.base import Clock, Resource, ResourceHeldError, StateConflictError, StateRecord
from tickover.store.database import Database
from tickover.store.encoding import decode_json, encode_json
from tickover.store.rules import Head, printable, run_id


def read_head(database: Database, run: str) -> Head:
    """Read the run's lease and row; inside a transaction, so that nothing moves between the look and the write."""
    fence, owner, seq, row, created_at = database.run("head", {"run": run}).fetchone()
    return Head(fence, owner, seq, None if row is None else decode_json(row), created_at)


class SqliteVerifierRecords:
    """`VerifierRecords`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def last_commits(self, routine: str) -> dict[str, str]:
        with self._database.reading():
            return dict(self._database.run("last_commits", (printable(routine),)).fetchall())

    def record(self, run: str, fence: int, commits: Mapping[str, str]) -> None:
        with self._database.writing():
            routine = read_head(self._database, run_id(run)).proved_routine(run, fence)
            at = self._clock()
            rows = [(routine, printable(repo), printable(commit), run, at) for repo, commit in commits.items()]
            self._database.run_many("record_commit", rows)


class SqliteStates:
    """`States`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def current(self, routine: str) -> StateRecord | None:
        with self._database.reading():
            return self._read(printable(routine))

    def commit(self, run: str, fence: int, expected: str | None, digest: str) -> StateRecord:
        with self._database.writing():
            routine = read_head(self._database, run_id(run)).proved_routine(run, fence)
            now = self._read(routine)
            if now is not None and (now.run, now.digest) == (run, digest):
                return now
            current = now.digest if now else None
            if current != expected:
                raise StateConflictError(routine, expected, current)
            record = StateRecord(routine, digest, run, self._clock())
            self._database.run("put_state", (record.routine, record.digest, record.run, record.at))
        return record

    def _read(self, routine: str) -> StateRecord | None:
        found = self._database.run("state", (routine,)).fetchone()
        return StateRecord(*found) if found else None


class SqliteResources:
    """`Resources`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def claim(self, kind: str, name: str, *, run: str, owner: str, detail: Mapping[str, Any] | None = None) -> Resource:
        with self._database.writing():
            return self._claim(kind, name, run, owner, detail or {})

    def claim_slot(
        self, kind: str, slots: int, *, run: str, owner: str, detail: Mapping[str, Any] | None = None
    ) -> Resource:
        with self._database.writing():
            taken = {name for (name,) in self._database.run("claimed_names", (kind,))}
            free = next((str(slot) for slot in range(slots) if str(slot) not in taken), None)
            if free is None:
                raise ResourceHeldError(kind, f"0 to {slots - 1}")
            return self._claim(kind, free, run, owner, detail or {})

    def release(self, kind: str, name: str) -> None:
        with self._database.writing():
            self._database.run("release_resource", (kind, printable(name)))

    def list(self, *, run: str | None = None, kind: str | None = None) -> Sequence[Resource]:
        with self._database.reading():
            found = self._database.run("resources", {"run": run, "kind": kind}).fetchall()
        return [
            Resource(its_kind, name, of, owner, at, decode_json(detail))
            for its_kind, name, of, owner, at, detail in found
        ]

    def _claim(self, kind: str, name: str, run: str, owner: str, detail: Mapping[str, Any]) -> Resource:
        text = encode_json(detail)
        owner = printable(owner)
        claimed = Resource(kind, printable(name), run_id(run), owner, self._clock(), decode_json(text))
        row = (claimed.kind, claimed.name, claimed.run, claimed.owner, claimed.at, text)
        if self._database.run("claim", row).rowcount != 1:
            raise ResourceHeldError(kind, claimed.name)
        return claimed
