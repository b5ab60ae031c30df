"""A desk in memory: the HTTP face is tested with it, and with the real one."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tickover.control.access import Access
from tickover.control.secrets import SecretBook, Shown
from tickover.control.triggers import Installed
from tickover.core.cause import Cause, CauseCode
from tickover.core.definition import Routine
from tickover.core.errors import NotFoundError
from tickover.core.event import Fact, JournalEvent, RunCreated, RunFinished, RunRefused, payload
from tickover.core.grant import Ask, GrantChangedError
from tickover.core.instance import Instance
from tickover.core.row import RunRow
from tickover.core.status import Execution, Outcome
from tickover.core.wish import Enqueued, Wish
from tickover.store.base import OUTSIDE, Clock
from tickover.store.outbox import Delivery, Letter
from tickover.store.projection import project_run
from tickover.store.usage import RunSum
from tickover.testing.access import MemoryAudit, MemoryTokens
from tickover.testing.events import MemoryEvents
from tickover.testing.outbox import MemoryOutbox
from tickover.testing.store import MemoryBlobs, MemoryStore

__all__ = ["DeskGrants", "DeskRoutine", "DeskSchedule", "MemoryDesk"]


@dataclass(frozen=True, slots=True)
class DeskRoutine:
    """A routine that is known."""

    name: str
    version: str = "v1"
    pushed_at: float = 0.0
    pushed_by: str = "test"
    paused_at: float | None = None
    paused_by: str = ""
    paused_reason: str = ""


@dataclass(frozen=True, slots=True)
class DeskSchedule:
    """A schedule that is known."""

    routine: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    slot: float | None = None
    fire_at: float | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class DeskGrants:
    """What a routine asks for."""

    routine: str
    version: str = "v1"
    new: tuple[Ask, ...] = ()
    kept: tuple[Ask, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


class MemoryDesk:
    """`api.base.Desk`. Runs stand still until `tell` says what happens; beyond `most` runs a cap refuses."""

    def __init__(self, *routines: str, clock: Clock = time.time, most: int = 1000) -> None:
        self.store = MemoryStore(project_run, clock=clock)
        self.blobs = MemoryBlobs()
        self.access = Access(MemoryTokens(), MemoryAudit(clock), clock=clock, random=secrets.token_bytes)
        self.outbox = MemoryOutbox()
        self.events = MemoryEvents()
        self.asks: dict[str, DeskGrants] = {}
        self.book = SecretBook(self.store.secrets, Path("/nowhere"), Instance, lambda *given: repr(given[:3]).encode())
        self.wishes: list[Wish] = []
        self.planned: list[DeskSchedule] = []
        self.by_hand: set[str] = set()
        """Routines without the trigger `api`."""
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._routines = {name: DeskRoutine(name) for name in routines}
        self._pushes: dict[str, list[tuple[str, float, str]]] = {}
        self._keys: dict[tuple[str, str], str] = {}

    # -- for tests ---------------------------------------------------------------------------------------------------

    def token(self, *scopes: str, role: str | None = None, lasts: float | None = None) -> str:
        """Make a token and return its text."""
        return self.access.create(
            name="test", owner="person:test", role=role, scopes=scopes, lasts=lasts, by="test", origin="test"
        )[1]

    def tell(self, run: str, *facts: Fact) -> int:
        """Let these facts happen to a run."""
        lease = self.store.leases.acquire(run, "test", 60)
        try:
            return self.store.journal.append(run, lease.fence, [{"type": each.type, **payload(each)} for each in facts])
        finally:
            self.store.leases.release(lease)

    # -- `Desk` ------------------------------------------------------------------------------------------------------

    def run_rows(
        self,
        *,
        routine: str | None = None,
        execution: str | None = None,
        outcome: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Sequence[RunRow]:
        found = self.store.runs.list(routine=routine, execution=execution, outcome=outcome, limit=limit, before=before)
        return [RunRow.model_validate(each.row) for each in found]

    def run_row(self, run: str) -> RunRow:
        return RunRow.model_validate(self.store.runs.get(run).row)

    def journal(self, run: str, after: int = 0) -> Sequence[JournalEvent]:
        return self.store.journal.read(run, after)

    def wait(self, run: str, after: int, timeout: float) -> int:
        return self.store.journal.wait(run, after, timeout)

    def artifact(self, run: str, path: str) -> bytes:
        for each in self.run_row(run).artifacts:
            if each.path == path:
                return self.blobs.get(each.sha256)
        raise NotFoundError("artifact.not_found", f"run {run} has no artifact `{path}`")

    def blob(self, digest: str) -> bytes:
        return self.blobs.get(digest)

    def cancel(self, run: str, by: str) -> None:
        self.store.journal.append(run, OUTSIDE, [{"type": "cancel_requested", "version": 1, "by": by}])

    def push(self, folder: Path | str, by: str = "") -> DeskRoutine:
        folder = Path(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        version = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
        if not (folder / "ROUTINE.md").is_file():
            raise NotFoundError("definition.not_found", "there is no such file")
        with self._lock:
            known = self._routines.get(folder.name, DeskRoutine(folder.name))
            self._routines[folder.name] = replace(known, version=version, pushed_at=self._clock(), pushed_by=by)
            self._pushes.setdefault(folder.name, []).insert(0, (version, self._clock(), by))
            return self._routines[folder.name]

    def asked(self, name: str) -> Sequence[str]:
        self.routine(name)
        return []

    def routines(self) -> Sequence[DeskRoutine]:
        with self._lock:
            return [self._routines[name] for name in sorted(self._routines)]

    def routine(self, name: str) -> DeskRoutine:
        with self._lock:
            if name not in self._routines:
                raise NotFoundError("routine.not_found", f"there is no routine `{name}`")
            return self._routines[name]

    def definition(self, name: str) -> Routine:
        self.routine(name)
        inputs = {"times": {"type": "integer", "default": 1}, "week": {"type": "string", "default": ""}}
        on: list[dict[str, Any]] = [] if name in self.by_hand else [{"api": {}}]
        return Routine.model_validate({"name": name, "agent": "steps", "on": on, "inputs": inputs})

    def versions(self, name: str) -> Sequence[tuple[str, float, str]]:
        known = self.routine(name)
        return self._pushes.get(name, [(known.version, known.pushed_at, known.pushed_by)])

    def schedules(self) -> Sequence[DeskSchedule]:
        return self.planned

    def pause(self, name: str, by: str, reason: str) -> None:
        known = self.routine(name)
        with self._lock:
            self._routines[name] = replace(known, paused_at=self._clock(), paused_by=by, paused_reason=reason)

    def resume(self, name: str, by: str) -> None:
        del by
        known = self.routine(name)
        with self._lock:
            self._routines[name] = replace(known, paused_at=None, paused_by="", paused_reason="")

    def enqueue(self, wish: Wish) -> Enqueued:
        routine = self.routine(wish.routine)
        with self._lock:
            self.wishes.append(wish)
            if wish.key is not None and (known := self._keys.get((wish.routine, wish.key))):
                return Enqueued(known, created=False)
            run = f"run-{len(self.wishes)}-{secrets.token_hex(4)}"
            if wish.key is not None:
                self._keys[wish.routine, wish.key] = run
        digest = None if wish.event is None else self.blobs.put(wish.event)
        facts: list[Fact] = [
            RunCreated(routine=wish.routine, trigger=wish.trigger, inputs=dict(wish.inputs), event_digest=digest)
        ]
        cause = retry_at = None
        if routine.paused_at is not None:
            cause = Cause(None, CauseCode.PAUSED, f"the routine is paused: {routine.paused_reason}")
        elif len(self.run_rows(routine=wish.routine, limit=self._most + 1)) >= self._most:
            cause, retry_at = Cause(None, CauseCode.CAP, f"{self._most} runs are allowed"), self._clock() + 120
        if cause is not None:
            refused = RunFinished(execution=Execution.REFUSED, outcome=Outcome.NONE, exit_code=7)
            facts += [RunRefused(cause=cause), refused]
        self.store.journal.append(run, OUTSIDE, [{"type": each.type, **payload(each)} for each in facts])
        return Enqueued(run, retry_at=retry_at)

    def letters(self, *, limit: int = 100, before: int | None = None) -> Sequence[tuple[Letter, Sequence[Delivery]]]:
        return [(each, self.outbox.deliveries(each.id)) for each in self.outbox.list(limit=limit, before=before)]

    def pushed_grants(self, name: str) -> DeskGrants:
        self.routine(name)
        return self.asks.get(name, DeskGrants(name))

    def grant_pushed(self, name: str, digest: str, *, by: str) -> DeskGrants:
        del by
        view = self.pushed_grants(name)
        if view.digest != digest:
            raise GrantChangedError(name)
        self.asks[name] = replace(view, new=(), kept=(*view.kept, *view.new), gone=())
        return view

    def secret_list(self) -> Sequence[Shown]:
        return self.book.list()

    def secret_set(self, name: str, value: bytes, *, by: str, binding: Mapping[str, Any] | None = None) -> Shown:
        self.book.set(name, value, by=by, binding=binding)
        return self.book.get(name)

    def secret_remove(self, name: str) -> None:
        self.book.remove(name)

    def installed(self) -> Sequence[Installed]:
        return [Installed(self.definition(name), paused=False) for name in self._routines]

    def usage(self, since: float) -> Sequence[RunSum]:
        rows = [row for row in self.run_rows(limit=10_000) if row.created >= since]
        ends = Counter((row.routine, str(row.execution), row.outcome and str(row.outcome)) for row in rows)
        return [RunSum(*key, number) for key, number in ends.items()]
