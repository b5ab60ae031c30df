"""The store as a fake: the same rules and answers as SQLite's, in this process's memory, gone with it."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tickover.core.event import JournalEvent
from tickover.store.base import (
    BlobDigestError,
    BlobNotFoundError,
    Clock,
    Event,
    Lease,
    LeaseHeldError,
    Projection,
    Resource,
    ResourceHeldError,
    RunNotFoundError,
    RunRecord,
    Seal,
    StaleFenceError,
    StateConflictError,
    StateRecord,
    StoreError,
)
from tickover.store.blobs import DEFAULT_MAX_BYTES, chunks, is_digest
from tickover.store.encoding import decode_json, encode_data, encode_event, encode_json
from tickover.store.rules import Columns, Head, columns, printable, run_id
from tickover.testing.instance_store import MemoryGrants, MemorySecrets

NOTHING_SHOWN = Columns(None, None, None, None, None)


@dataclass
class _Run:
    """Everything about one run, as texts, so that a caller who changes what it was given changes nothing here."""

    facts: list[tuple[float, int, int, str, str]] = field(default_factory=list)
    row: str = "{}"
    shown: Columns = NOTHING_SHOWN
    seals: list[Seal] = field(default_factory=list)
    fence: int | None = None
    owner: str | None = None
    expires_at: float = 0.0


@dataclass
class _Memory:
    project: Projection
    clock: Clock
    changed: threading.Condition = field(default_factory=threading.Condition)
    open: bool = True
    runs: dict[str, _Run] = field(default_factory=dict)
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    states: dict[str, StateRecord] = field(default_factory=dict)
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict)

    def of(self, run: str) -> _Run:
        """Return what is known of the run, perhaps nothing yet; the caller holds `changed`."""
        if not self.open:
            raise StoreError("store.failed", "the store is closed")
        return self.runs.setdefault(run_id(run), _Run())

    def head(self, run: str) -> Head:
        known = self.of(run)
        if not known.facts:
            return Head(known.fence, known.owner, None, None, None)
        return Head(known.fence, known.owner, len(known.facts), decode_json(known.row), known.facts[0][0])

    def show(self, run: str, facts: list[tuple[float, int, int, str, str]], row: dict[str, Any]) -> RunRecord:
        """Keep these facts and this row: everything that can fail has been done."""
        text, shown = encode_json(row), columns(row)
        if shown.created is None:
            shown = shown._replace(created=facts[0][0])
        known = self.of(run)
        known.facts, known.row, known.shown = facts, text, shown
        self.changed.notify_all()
        return RunRecord(run, len(facts), decode_json(text))


class MemoryStore:
    """Every port in memory. Threads may share it."""

    def __init__(self, project: Projection, *, clock: Clock = time.time) -> None:
        self._memory = _Memory(project, clock)
        self.journal = MemoryJournal(self._memory)
        self.runs = MemoryRuns(self._memory)
        self.leases = MemoryLeases(self._memory)
        self.verifier = MemoryVerifierRecords(self._memory)
        self.states = MemoryStates(self._memory)
        self.resources = MemoryResources(self._memory)
        self.secrets = MemorySecrets(clock)
        self.grants = MemoryGrants(clock)

    def close(self) -> None:
        with self._memory.changed:
            self._memory.open = False


class MemoryJournal:
    """`Journal`."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def append(self, run: str, fence: int, events: Sequence[Event], *, attempt: int = 0) -> int:
        encoded = [encode_event(event) for event in events]
        if not encoded:
            raise ValueError("nothing to append")
        with self._memory.changed:
            head = self._memory.head(run)
            head.check_fence(run, fence, {kind for kind, _ in encoded})
            before, at = self._memory.of(run).facts, self._memory.clock()
            facts = [*before, *((at, attempt, fence, kind, text) for kind, text in encoded)]
            row = self._memory.project(head.row, _events(run, facts)[len(before) :])
            return self._memory.show(run, facts, row).seq

    def read(self, run: str, after: int = 0, limit: int = 500) -> Sequence[JournalEvent]:
        with self._memory.changed:
            return _events(run, self._memory.of(run).facts)[after : after + limit]

    def wait(self, run: str, after: int, timeout: float) -> int:
        with self._memory.changed:
            known = self._memory.of(run)
            self._memory.changed.wait_for(lambda: len(known.facts) > after, max(timeout, 0))
            return len(known.facts)

    def seal(self, run: str, seq: int, data: Mapping[str, Any], *, by: str, reason: str) -> Seal:
        text = encode_data(data)
        with self._memory.changed:
            known = self._memory.of(run)
            if not 1 <= seq <= len(known.facts):
                raise RunNotFoundError(run, seq)
            at, attempt, fence, kind, old = known.facts[seq - 1]
            digest = hashlib.sha256(old.encode()).hexdigest()
            seal = Seal(run, seq, self._memory.clock(), printable(by), printable(reason), digest, len(old))
            facts = [*known.facts[: seq - 1], (at, attempt, fence, kind, text), *known.facts[seq:]]
            self._memory.show(run, facts, self._memory.project(None, _events(run, facts)))
            known.seals.append(seal)
            return seal

    def seals(self, run: str) -> Sequence[Seal]:
        with self._memory.changed:
            return list(self._memory.of(run).seals)


class MemoryRuns:
    """`Runs`."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def get(self, run: str) -> RunRecord:
        with self._memory.changed:
            head = self._memory.head(run)
            if head.seq is None or head.row is None:
                raise RunNotFoundError(run)
            return RunRecord(run, head.seq, head.row)

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
        wanted = {name: printable(value) for name, value in asked.items() if value is not None}

        def place(run: str) -> tuple[float, str]:
            return self._memory.of(run).shown.created or 0.0, run

        def matches(run: str) -> bool:
            shown = self._memory.of(run).shown
            if finished is not None and finished is (shown.finished is None):
                return False
            if before is not None and (before not in ids or place(run) >= place(before)):
                return False
            return all(getattr(shown, name) == value for name, value in wanted.items())

        with self._memory.changed:
            ids = {run for run, known in self._memory.runs.items() if known.facts}
            found = sorted((run for run in ids if matches(run)), key=place, reverse=True)
            return [self.get(run) for run in found[:limit]]

    def rebuild(self, run: str) -> RunRecord:
        with self._memory.changed:
            facts = self._memory.of(run).facts
            if not facts:
                raise RunNotFoundError(run)
            return self._memory.show(run, facts, self._memory.project(None, _events(run, facts)))


class MemoryLeases:
    """`Leases`."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def acquire(self, run: str, owner: str, ttl: float, *, dead: Lease | None = None) -> Lease:
        with self._memory.changed:
            known, now = self._memory.of(run), self._memory.clock()
            gone = dead is not None and dead.fence == known.fence
            if known.owner is not None and known.expires_at > now and not gone:
                raise LeaseHeldError(run, known.owner, known.expires_at)
            known.fence, known.owner, known.expires_at = (known.fence or 0) + 1, printable(owner), now + ttl
            return Lease(run, known.owner, known.fence, known.expires_at)

    def renew(self, lease: Lease, ttl: float) -> Lease:
        with self._memory.changed:
            known = self._memory.of(lease.run)
            if known.owner is None or known.fence != lease.fence:
                raise StaleFenceError(lease.run, lease.fence, known.fence or 0)
            known.expires_at = self._memory.clock() + ttl
            return Lease(lease.run, lease.owner, lease.fence, known.expires_at)

    def release(self, lease: Lease) -> None:
        with self._memory.changed:
            known = self._memory.of(lease.run)
            if known.fence == lease.fence:
                known.owner = None

    def current(self, run: str) -> Lease | None:
        with self._memory.changed:
            known = self._memory.of(run)
            if known.owner is None or known.fence is None:
                return None
            return Lease(run, known.owner, known.fence, known.expires_at)


class MemoryVerifierRecords:
    """`VerifierRecords`."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def last_commits(self, routine: str) -> dict[str, str]:
        with self._memory.changed:
            return dict(sorted(self._memory.commits.get(printable(routine), {}).items()))

    def record(self, run: str, fence: int, commits: Mapping[str, str]) -> None:
        with self._memory.changed:
            routine = self._memory.head(run).proved_routine(run, fence)
            known = self._memory.commits.setdefault(routine, {})
            known.update({printable(repo): printable(commit) for repo, commit in commits.items()})


class MemoryStates:
    """`States`."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def current(self, routine: str) -> StateRecord | None:
        with self._memory.changed:
            return self._memory.states.get(printable(routine))

    def commit(self, run: str, fence: int, expected: str | None, digest: str) -> StateRecord:
        with self._memory.changed:
            routine = self._memory.head(run).proved_routine(run, fence)
            now = self._memory.states.get(routine)
            if now is not None and (now.run, now.digest) == (run, digest):
                return now
            current = now.digest if now else None
            if current != expected:
                raise StateConflictError(routine, expected, current)
            record = StateRecord(routine, digest, run, self._memory.clock())
            self._memory.states[routine] = record
            return record


class MemoryResources:
    """`Resources`."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory

    def claim(self, kind: str, name: str, *, run: str, owner: str, detail: Mapping[str, Any] | None = None) -> Resource:
        with self._memory.changed:
            key = (kind, printable(name))
            if key in self._memory.resources:
                raise ResourceHeldError(*key)
            copied = decode_json(encode_json(detail or {}))
            claimed = Resource(*key, run_id(run), printable(owner), self._memory.clock(), copied)
            self._memory.resources[key] = claimed
            return claimed

    def claim_slot(
        self, kind: str, slots: int, *, run: str, owner: str, detail: Mapping[str, Any] | None = None
    ) -> Resource:
        with self._memory.changed:
            for slot in range(slots):
                if (kind, str(slot)) not in self._memory.resources:
                    return self.claim(kind, str(slot), run=run, owner=owner, detail=detail)
            raise ResourceHeldError(kind, f"0 to {slots - 1}")

    def release(self, kind: str, name: str) -> None:
        with self._memory.changed:
            self._memory.resources.pop((kind, printable(name)), None)

    def list(self, *, run: str | None = None, kind: str | None = None) -> Sequence[Resource]:
        with self._memory.changed:
            found = [
                held
                for held in self._memory.resources.values()
                if run in {None, held.run} and kind in {None, held.kind}
            ]
            return sorted(found, key=lambda held: (held.at, held.kind, held.name))


class MemoryBlobs:
    """`Blobs` in memory."""

    def __init__(self, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._content: dict[str, bytes] = {}

    def put(self, content: bytes | BinaryIO, *, max_bytes: int | None = None) -> str:
        body = b"".join(chunks(content, self._max_bytes if max_bytes is None else max_bytes))
        digest = hashlib.sha256(body).hexdigest()
        self._content[digest] = body
        return digest

    def get(self, digest: str) -> bytes:
        if not is_digest(digest):
            raise BlobDigestError(digest)
        if digest not in self._content:
            raise BlobNotFoundError(digest)
        return self._content[digest]

    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.get(digest))


def _events(run: str, facts: Sequence[tuple[float, int, int, str, str]]) -> list[JournalEvent]:
    return [
        JournalEvent(run=run, seq=seq, at=at, attempt=attempt, fence=fence, type=kind, data=decode_json(text))
        for seq, (at, attempt, fence, kind, text) in enumerate(facts, 1)
    ]
