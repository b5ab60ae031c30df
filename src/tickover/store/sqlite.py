"""The store of one machine: journal, run rows and leases in SQLite."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from tickover.store.base import (
    Clock,
    Event,
    JournalEvent,
    Lease,
    LeaseHeldError,
    Projection,
    RunNotFoundError,
    RunRecord,
    Seal,
    StaleFenceError,
)
from tickover.store.database import Database
from tickover.store.encoding import decode_json, encode_data, encode_event, encode_json
from tickover.store.instance import SqliteGrants, SqliteSecrets
from tickover.store.queue import SqliteQueue
from tickover.store.records import SqliteResources, SqliteStates, SqliteVerifierRecords, read_head
from tickover.store.registry import SqliteRoutines
from tickover.store.rules import columns, printable, run_id
from tickover.store.schedules import SqliteSchedules
from tickover.store.sqlite_access import SqliteAudit, SqliteTokens
from tickover.store.sqlite_outbox import SqliteOutbox
from tickover.store.sqlite_usage import SqliteUsage
from tickover.store.wake import ENGINE, Wakes

_REBUILD_STEP = 1000


class SqliteStore:
    """Every port over `FOLDER/tickover.db`. Threads may share it, processes open their own, nobody forks it."""

    def __init__(
        self, folder: str, project: Projection, *, clock: Clock = time.time, busy_timeout: float = 30.0
    ) -> None:
        """Open the data folder, making and migrating what is missing; both are private to the owner."""
        self._database = Database(folder, busy_timeout=busy_timeout)
        self._wakes = Wakes(os.path.join(self._database.folder, "wake"))
        self.runs = SqliteRuns(self._database, project)
        self.journal = SqliteJournal(self._database, self.runs, self._wakes, project, clock)
        self.leases = SqliteLeases(self._database, clock)
        self.verifier = SqliteVerifierRecords(self._database, clock)
        self.states = SqliteStates(self._database, clock)
        self.resources = SqliteResources(self._database, clock)
        self.secrets = SqliteSecrets(self._database, clock)
        self.grants = SqliteGrants(self._database, clock)
        self.tokens = SqliteTokens(self._database)
        self.audit = SqliteAudit(self._database, clock)
        self.outbox = SqliteOutbox(self._database)
        self.usage = SqliteUsage(self._database)
        self.routines = SqliteRoutines(self._database)
        self.queue = SqliteQueue(self._database, self.journal, self._wakes)
        self.schedules = SqliteSchedules(self._database, self._wakes)

    def bell(self) -> tuple[socket.socket, Callable[[], None]]:
        return self._wakes.listen(ENGINE)

    def close(self) -> None:
        self._database.close()
        self._wakes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SqliteRuns:
    """`Runs`, and the one place that writes a run row."""

    def __init__(self, database: Database, project: Projection) -> None:
        self._database = database
        self._project = project

    def get(self, run: str) -> RunRecord:
        with self._database.reading():
            found = self._database.run("get_run", (run_id(run),)).fetchone()
        if found is None:
            raise RunNotFoundError(run)
        return _record(found)

    def list(
        self,
        *,
        routine: str | None = None,
        execution: str | None = None,
        outcome: str | None = None,
        finished: bool | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Sequence[RunRecord]:
        asked = {"routine": routine, "execution": execution, "outcome": outcome}
        values = {name: printable(value) for name, value in asked.items() if value is not None}
        filters = ["1"] + [f"{name} = :{name}" for name in values]
        if finished is not None:
            filters.append("finished_at IS NOT NULL" if finished else "finished_at IS NULL")
        parameters: dict[str, Any] = {**values, "limit": limit}
        if before is not None:
            filters.append("(created_at, run) < (SELECT created_at, run FROM run WHERE run = :before)")
            parameters["before"] = run_id(before)
        sql = self._database.queries["list_runs"].replace("/* filters */", " AND ".join(filters))
        with self._database.reading():
            return [_record(found) for found in self._database.run_sql(sql, parameters)]

    def rebuild(self, run: str) -> RunRecord:
        with self._database.writing():
            return self.project_again(run_id(run))

    def project_again(self, run: str) -> RunRecord:
        """Fold the whole journal into the row; inside a transaction."""
        row: dict[str, Any] | None = None
        seq, first_at = 0, 0.0
        while entries := [_event(found) for found in self._database.run("read", (run, seq, _REBUILD_STEP))]:
            row, first_at = self._project(row, entries), first_at if seq else entries[0].at
            seq = entries[-1].seq
        if row is None:
            raise RunNotFoundError(run)
        return self.put(run, seq, row, first_at)

    def put(
        self, run: str, seq: int, row: dict[str, Any], first_at: float, *, before: dict[str, Any] | None = None
    ) -> RunRecord:
        """Keep the row; inside a transaction. Its columns too, unless they are those of the row `before`."""
        shown, text = columns(row), encode_json(row)
        if before is not None and columns(before) == shown:
            self._database.run("update_row", {"run": run, "seq": seq, "row": text})
        else:
            created = first_at if shown.created is None else shown.created
            asked = {**shown._asdict(), "created": created, "run": run, "seq": seq, "row": text}
            self._database.run("put_run", asked)
        return RunRecord(run, seq, decode_json(text))


class SqliteJournal:
    """`Journal`."""

    def __init__(self, database: Database, runs: SqliteRuns, wakes: Wakes, project: Projection, clock: Clock) -> None:
        self._database = database
        self._runs = runs
        self._wakes = wakes
        self._project = project
        self._clock = clock

    def append(self, run: str, fence: int, events: Sequence[Event], *, attempt: int = 0) -> int:
        with self._database.writing():
            seq = self.append_within(run, fence, events, attempt=attempt)
        self._wakes.notify(run)
        return seq

    def append_within(self, run: str, fence: int, events: Sequence[Event], *, attempt: int = 0) -> int:
        """Append inside a transaction; the caller wakes the run's waiters when it is durable."""
        encoded = [encode_event(event) for event in events]
        if not encoded:
            raise ValueError("nothing to append")
        run_id(run)
        head = read_head(self._database, run)
        head.check_fence(run, fence, {kind for kind, _ in encoded})
        at, first = self._clock(), (head.seq or 0) + 1
        rows = [(run, seq, at, attempt, fence, kind, text) for seq, (kind, text) in enumerate(encoded, first)]
        self._database.run_many("append", rows)
        entries = [_event(row) for row in rows]
        first_at = at if head.created_at is None else head.created_at
        self._runs.put(run, entries[-1].seq, self._project(head.row, entries), first_at, before=head.row)
        return entries[-1].seq

    def read(self, run: str, after: int = 0, limit: int = 500) -> Sequence[JournalEvent]:
        with self._database.reading():
            return [_event(found) for found in self._database.run("read", (run_id(run), after, limit))]

    def wait(self, run: str, after: int, timeout: float) -> int:
        return self._wakes.wait(run_id(run), after, timeout, lambda: self._last_seq(run))

    def seal(self, run: str, seq: int, data: Mapping[str, Any], *, by: str, reason: str) -> Seal:
        text = encode_data(data)
        with self._database.writing():
            found = self._database.run("event_data", (run_id(run), seq)).fetchone()
            if found is None:
                raise RunNotFoundError(run, seq)
            old = found[0].encode()
            seal = Seal(
                run=run,
                seq=seq,
                at=self._clock(),
                by=printable(by),
                reason=printable(reason),
                sha256=hashlib.sha256(old).hexdigest(),
                bytes=len(old),
            )
            self._database.run("add_seal", {**asdict(seal), "replacement": text})
            self._database.run("seal", (text, run, seq))
            self._runs.project_again(run)
        self._database.forget_history()
        return seal

    def seals(self, run: str) -> Sequence[Seal]:
        with self._database.reading():
            return [Seal(*found) for found in self._database.run("seals", (run_id(run),))]

    def _last_seq(self, run: str) -> int:
        with self._database.reading():
            found = self._database.run("last_seq", (run,)).fetchone()
        return found[0] if found else 0


class SqliteLeases:
    """`Leases`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def acquire(self, run: str, owner: str, ttl: float, *, dead: Lease | None = None) -> Lease:
        owner = printable(owner)
        with self._database.writing():
            now = self._clock()
            asked = {"run": run_id(run), "owner": owner, "now": now, "until": now + ttl}
            won = self._database.run("acquire", {**asked, "dead": dead.fence if dead else None}).rowcount == 1
            fence, holder, expires_at = self._database.run("lease", (run,)).fetchone()
        if not won:
            raise LeaseHeldError(run, holder, expires_at)
        return Lease(run, owner, fence, expires_at)

    def renew(self, lease: Lease, ttl: float) -> Lease:
        with self._database.writing():
            until = self._clock() + ttl
            asked = {"run": lease.run, "fence": lease.fence, "until": until}
            if self._database.run("renew", asked).rowcount != 1:
                found = self._database.run("lease", (lease.run,)).fetchone()
                raise StaleFenceError(lease.run, lease.fence, found[0] if found else 0)
        return Lease(lease.run, lease.owner, lease.fence, until)

    def release(self, lease: Lease) -> None:
        with self._database.writing():
            self._database.run("release", {"run": lease.run, "fence": lease.fence})

    def current(self, run: str) -> Lease | None:
        with self._database.reading():
            found = self._database.run("lease", (run_id(run),)).fetchone()
        if found is None or found[1] is None:
            return None
        return Lease(run, found[1], found[0], found[2])


def _event(found: Sequence[Any]) -> JournalEvent:
    run, seq, at, attempt, fence, kind, data = found
    return JournalEvent(run=run, seq=seq, at=at, attempt=attempt, fence=fence, type=kind, data=decode_json(data))


def _record(found: Sequence[Any]) -> RunRecord:
    run, seq, row = found
    return RunRecord(run, seq, decode_json(row))
