"""`Events` in the SQLite file of the data folder. Every write goes through one thread with group commit."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tickover.store.database import Database
from tickover.store.events import (
    KEEP_BODIES,
    KEEP_IDS,
    EventNotFoundError,
    EventRecord,
    Held,
    HeldKind,
    NewEvent,
    Outcome,
    OverloadedError,
    Put,
    Rejected,
    Routing,
)
from tickover.store.rules import printable
from tickover.store.wake import Wakes
from tickover.store.writer import GroupWriter

_BELL: Final = "events"
_CHUNK: Final = 64
_VALUES: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
WAITING: Final = 2000
"""Events that may wait to be written; beyond it senders are asked to come back."""


class SqliteEvents:
    """Opens the data folder twice: to read, and for the thread that writes."""

    def __init__(self, folder: str, *, busy_timeout: float = 30.0, waiting: int = WAITING) -> None:
        self._reader = Database(folder, busy_timeout=busy_timeout)
        self._own = Database(folder, busy_timeout=busy_timeout)
        with self._own.reading():  # a checkpoint every 400 events of 10 kB would be felt by all of them
            self._own.run_sql("PRAGMA wal_autocheckpoint = 8000").fetchall()
        self._wakes = Wakes(os.path.join(self._reader.folder, "wake"))
        self._waiting = waiting
        self._rejected: dict[tuple[str, str, int], tuple[int, str]] = {}
        self._counting = threading.Lock()
        self._writer = GroupWriter(self._own, self._count_rejected, _insert)

    def close(self) -> None:
        self._writer.close()
        self._own.close()
        self._reader.close()
        self._wakes.close()

    async def put(self, new: NewEvent) -> Put:
        if self._writer.waiting >= self._waiting:
            raise OverloadedError(self._writer.waiting)
        put: Put = await self._writer.write_row(_event_row(new))
        return put

    def reject(self, source: str, reason: str, at: float, sample: Mapping[str, Any]) -> None:
        key = (printable(source), reason, int(at // 60))
        with self._counting:
            count, first = self._rejected.get(key, (0, ""))
            self._rejected[key] = (count + 1, first or json.dumps(dict(sample)))
        self._writer.nudge()

    def missing(self, source: str, deliveries: Sequence[str]) -> Sequence[str]:
        where = printable(source)
        with self._reader.reading():
            return [
                each
                for each in deliveries
                if self._reader.run("event_of_delivery", (where, printable(each))).fetchone() is None
            ]

    def get(self, event: str) -> EventRecord:
        with self._reader.reading():
            found = self._reader.run("get_event", (_number(event),)).fetchone()
        if found is None:
            raise EventNotFoundError(event)
        return _record(found)

    def list(
        self, *, source: str | None = None, provider: str | None = None, limit: int = 50, before: str | None = None
    ) -> Sequence[EventRecord]:
        asked: dict[str, Any] = {"source": source, "provider": provider}
        values = {name: printable(value) for name, value in asked.items() if value is not None}
        filters = ["1", *(f"{name} = :{name}" for name in values)]
        if before is not None:
            filters.append("n < :before")
        sql = self._reader.queries["list_events"].replace("/* filters */", " AND ".join(filters))
        parameters = {**values, "limit": limit, "before": None if before is None else _number(before)}
        with self._reader.reading():
            return [_record(found) for found in self._reader.run_sql(sql, parameters)]

    def pending(self, limit: int = 100) -> Sequence[EventRecord]:
        with self._reader.reading():
            return [_record(found) for found in self._reader.run("pending_events", (limit,))]

    def decide(self, event: str, outcomes: Sequence[Outcome], *, name: str | None = None) -> None:
        shown = None if name is None else printable(name)
        number = _number(event)
        rows = [(outcome, _routing_row(outcome.routing)) for outcome in outcomes]

        def keep(database: Database) -> None:
            for outcome, row in rows:
                _keep(database, number, outcome, row)
            database.run("mark_routed", (shown, number))

        self._writer.write_now(keep)

    def routings(self, event: str) -> Sequence[Routing]:
        with self._reader.reading():
            return [_routing(found) for found in self._reader.run("routings", (_number(event),))]

    def fired(self, target: str, since: float, *, but: str, limit: int = 1000) -> Sequence[float]:
        with self._reader.reading():
            return [at for (at,) in self._reader.run("fired_since", (target, since, _number(but), limit))]

    def deepest(self, subject: str, since: float, *, but: str) -> int:
        with self._reader.reading():
            return int(self._reader.run("deepest", (printable(subject), since, _number(but))).fetchone()[0])

    def seen(self, target: str, key: str, *, but: str) -> float | None:
        with self._reader.reading():
            found = self._reader.run("seen", (target, key, _number(but))).fetchone()
        return found[0] if found else None

    def held(self, target: str, kind: HeldKind, group: str) -> Held | None:
        with self._reader.reading():
            found = self._reader.run("held", (target, kind, group)).fetchone()
        return _held(found) if found else None

    def due(self, now: float, limit: int = 100) -> Sequence[Held]:
        with self._reader.reading():
            return [_held(found) for found in self._reader.run("due", (now, limit))]

    def next_due(self) -> float | None:
        with self._reader.reading():
            due: float | None = self._reader.run("next_due").fetchone()[0]
        return due

    def rejections(self, limit: int = 50) -> Sequence[Rejected]:
        with self._reader.reading():
            found = self._reader.run("rejections", (limit,)).fetchall()
        return [
            Rejected(source, reason, minute, count, json.loads(sample))
            for source, reason, minute, count, sample in found
        ]

    def silent_since(self, target: str, now: float) -> tuple[float, float | None]:
        self._writer.write_now(lambda database: database.run("watch_silence", (target, now)))
        with self._reader.reading():
            since, alarmed = self._reader.run("silence", (target,)).fetchone()
            [heard] = self._reader.run("last_received", (target,)).fetchone()
        return max(since, heard or 0.0), alarmed

    def alarmed(self, target: str, at: float) -> None:
        self._writer.write_now(lambda database: database.run("alarm", (at, target)))

    def ring(self) -> None:
        self._wakes.notify(_BELL)

    def bell(self) -> tuple[socket.socket, Callable[[], None]]:
        return self._wakes.listen(_BELL)

    def purge(self, now: float) -> int:
        def drop(database: Database) -> int:
            gone = database.run("purge_bodies", (now - KEEP_BODIES,)).rowcount
            database.run("purge_events", (now - KEEP_IDS,))
            database.run("purge_routings")
            database.run("purge_seen", (now - KEEP_IDS,))
            database.run("purge_rejected", ((now - KEEP_IDS) // 60,))
            return gone

        return self._writer.write_now(drop)

    def _count_rejected(self) -> Any:
        with self._counting:
            counted, self._rejected = self._rejected, {}
        if not counted:
            return None
        rows = [(*key, count, sample) for key, (count, sample) in counted.items()]
        return lambda database: database.run_many("reject", rows)


def _insert(database: Database, rows: Sequence[Sequence[Any]]) -> list[Put]:
    """Insert events, many in one statement: each statement gives the interpreter's lock away and waits for it."""
    puts: list[Put] = []
    while len(puts) < len(rows):
        left = len(rows) - len(puts)
        some = rows[len(puts) : len(puts) + min(_CHUNK, 1 << (left.bit_length() - 1))]  # few different statements
        [last] = database.run("last_event").fetchone()
        values = ", ".join([_VALUES] * len(some))
        sql = database.queries["put_events"].replace("/* rows */", values)
        cursor = database.run_sql(sql, [value for row in some for value in row])
        if cursor.rowcount == len(some):
            assert cursor.lastrowid is not None
            first = cursor.lastrowid - len(some) + 1
            puts += [Put(f"e{first + at}", created=True) for at in range(len(some))]
            continue
        new: set[int] = set()
        for row in some:
            [number] = database.run("event_of_delivery", (row[0], row[2])).fetchone()
            puts.append(Put(f"e{number}", created=number > last and number not in new))
            new.add(number)
    return puts


def _keep(database: Database, number: int, outcome: Outcome, row: Sequence[Any]) -> None:
    database.run("let_go", (number, outcome.routing.target))
    database.run("put_routing", row)
    if outcome.saw is not None:
        database.run("saw", (outcome.routing.target, outcome.saw, number, outcome.routing.at))
    hold = outcome.hold
    if hold is None:
        return
    before = database.run("held", (hold.target, hold.kind, hold.group)).fetchone()
    if before is not None and before[3] != number:
        says = f"event e{number} of the same group is newer"
        database.run("supersede", (hold.kind, says, outcome.routing.at, before[3], hold.target))
    database.run("hold", (hold.target, hold.kind, hold.group, number, hold.first_at, hold.due_at))


def _number(event: str) -> int:
    """Return an event's number. Raises EventNotFoundError for what is no id."""
    digits = event.removeprefix("e")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise EventNotFoundError(event)
    return int(digits)


def _event_row(new: NewEvent) -> tuple[Any, ...]:
    return (
        printable(new.source),
        new.provider,
        printable(new.delivery),
        printable(new.name),
        new.received_at,
        json.dumps(dict(new.headers)),
        new.size,
        new.body,
        new.digest,
        None if new.replay_of is None else _number(new.replay_of),
    )


def _record(found: Sequence[Any]) -> EventRecord:
    number, source, provider, delivery, name, at, headers, size, body, digest, replay_of, state = found
    origin = None if replay_of is None else f"e{replay_of}"
    return EventRecord(
        f"e{number}", source, provider, delivery, name, at, json.loads(headers), size, body, digest, origin, state
    )


def _routing_row(routing: Routing) -> tuple[Any, ...]:
    return (
        _number(routing.event),
        routing.target,
        routing.at,
        routing.verdict,
        routing.reason,
        printable(routing.says),
        json.dumps([dict(each) for each in routing.clauses]),
        routing.run,
        routing.starts_at,
        printable(routing.subject),
        routing.depth,
    )


def _routing(found: Sequence[Any]) -> Routing:
    number, target, at, verdict, reason, says, clauses, run, starts_at, subject, depth = found
    return Routing(
        f"e{number}", target, at, verdict, reason, says, tuple(json.loads(clauses)), run, starts_at, subject, depth
    )


def _held(found: Sequence[Any]) -> Held:
    target, kind, group, number, first_at, due_at = found
    return Held(target, kind, group, f"e{number}", first_at, due_at)
