"""The store's ports: what the rest of the house may know about where facts are kept.

One journal per run is the truth; everything else about a run is projected from it in the transaction that
appends. A port is synchronous and safe to call from several threads; each write is one durable transaction
(about a third of a millisecond on a quiet disk), so a caller with an event loop hands it to a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, Protocol

from tickover.core.event import JournalEvent
from tickover.store.errors import (
    BlobCorruptError,
    BlobDigestError,
    BlobNotFoundError,
    BlobTooLargeError,
    EventRefusedError,
    LeaseHeldError,
    NotProvedError,
    ResourceHeldError,
    RunNotFoundError,
    SecretNotFoundError,
    StaleFenceError,
    StateConflictError,
    StoreBusyError,
    StoreError,
)

__all__ = [
    "OUTSIDE",
    "OUTSIDE_TYPES",
    "PROVED",
    "BlobCorruptError",
    "BlobDigestError",
    "BlobNotFoundError",
    "BlobTooLargeError",
    "Blobs",
    "Clock",
    "Event",
    "EventRefusedError",
    "Grant",
    "GrantItem",
    "Grants",
    "Journal",
    "JournalEvent",
    "Lease",
    "LeaseHeldError",
    "Leases",
    "NotProvedError",
    "Projection",
    "Resource",
    "ResourceHeldError",
    "Resources",
    "RunNotFoundError",
    "RunRecord",
    "Runs",
    "Seal",
    "SecretNotFoundError",
    "SecretRecord",
    "Secrets",
    "StaleFenceError",
    "StateConflictError",
    "StateRecord",
    "States",
    "Store",
    "StoreBusyError",
    "StoreError",
    "VerifierRecords",
]

OUTSIDE: Final = 0
"""The fence of whoever holds no lease. It may create a run that has neither journal nor lease (a refused or
skipped run is one such append), and add events of `OUTSIDE_TYPES` to a run that exists. Nothing else."""

OUTSIDE_TYPES: Final = frozenset({"cancel_requested"})
"""What somebody who does not own a run may say to it."""

PROVED: Final = frozenset({"verified", "noop"})
"""The outcomes after which a run's state and verifier records are kept."""

Event = Mapping[str, Any]
"""One fact as plain JSON: `{"type": fact.type, **payload(fact)}`. The store reads `type`; the rest is `data`."""

Clock = Callable[[], float]
"""UTC seconds since the epoch."""


Projection = Callable[[dict[str, Any] | None, Sequence[JournalEvent]], dict[str, Any]]
"""The run row after these events, given the row before them (`None`: no events yet). Pure and JSON in, JSON
out. The keys `routine execution outcome created finished` become columns, if present."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as projected from its journal up to `seq`."""

    run: str
    seq: int
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write a run's journal, until somebody else is given a higher fence."""

    run: str
    owner: str
    fence: int
    expires_at: float
    """UTC seconds; from then on another owner may take the run over."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The audit row of one sealed event: what was there (digest and size only), who replaced it, why."""

    run: str
    seq: int
    at: float
    by: str
    reason: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StateRecord:
    """A routine's current state folder, as a blob digest or tree digest, and the run that committed it."""

    routine: str
    digest: str
    run: str
    at: float


@dataclass(frozen=True, slots=True)
class Resource:
    """Something on this host that outlives the process that made it: a sandbox, a uid slot, a folder, a launcher."""

    kind: str
    name: str
    run: str
    owner: str
    """The process that answers for it (`store.process.this_process()`); gone = sweep it."""
    at: float
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """The newest version of a secret. `sealed` is its value under the instance's key (gateway/secrets.py)."""

    name: str
    version: int
    kind: str
    """What it was sealed for: `signing`, or how it is put into a request."""
    set_at: float
    set_by: str
    sealed: bytes = field(repr=False)
    binding: dict[str, Any] | None = None
    """Where it may go, as `credentials` of tickover.yaml has it; None: only that file says."""


@dataclass(frozen=True, slots=True)
class GrantItem:
    """One thing that a routine asks for: canonical JSON, its sha256, and the sentence that was read."""

    digest: str
    item: str
    says: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One item that the owner granted to the routine of a name in a folder."""

    routine: str
    digest: str
    item: str
    says: str
    folder: str
    granted_at: float
    granted_by: str


class Journal(Protocol):
    """The numbered facts of each run. Append-only: no call changes or removes one, `seal` excepted."""

    def append(self, run: str, fence: int, events: Sequence[Event], *, attempt: int = 0) -> int:
        """Append all events or none, in one durable transaction; return the last one's `seq`.

        The run row is projected in the same transaction. The fence alone decides who may write: a lease that
        expired but was not taken over still counts, so a clock that jumps never loses a fact.

        Raises `StaleFenceError` when `fence` is not the current lease's (see `OUTSIDE` for 0),
        `EventRefusedError` for an event that is not JSON or is too large, `RunNotFoundError` for an
        `OUTSIDE_TYPES` event about no run, `ValueError` for an empty batch or a run id that cannot be one.
        """
        ...

    def read(self, run: str, after: int = 0, limit: int = 500) -> Sequence[JournalEvent]:
        """Return the events with `seq > after` in order, at most `limit`; none for a run that does not exist.

        `seq` is 1, 2, 3 ... without gaps; `at` is the store's clock, one value per append.
        """
        ...

    def wait(self, run: str, after: int, timeout: float) -> int:
        """Block until the run has an event beyond `after` or `timeout` seconds passed; return its last `seq`.

        Woken by the append, from whatever process; a lost wake-up costs at most a second.
        """
        ...

    def seal(self, run: str, seq: int, data: Mapping[str, Any], *, by: str, reason: str) -> Seal:
        """Replace one event's data for good (a secret, a person's data), leaving `data` and an audit row.

        `seq`, time, fence and type stay. The run is projected anew in the same transaction: a row that held
        the value loses it too, and data that the projection cannot read raises its error and changes nothing.
        The old bytes are overwritten in the database and its log; blobs and backups are the caller's.
        """
        ...

    def seals(self, run: str) -> Sequence[Seal]:
        """Return the audit rows of the run's sealed events, oldest first."""
        ...


class Runs(Protocol):
    """The run rows, each a projection of its journal."""

    def get(self, run: str) -> RunRecord:
        """Return the run's row. Raises `RunNotFoundError`."""
        ...

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
        """Return runs, newest first (by `created`, then id). `before` is the last run id of the page before this one.

        `finished=False` is what recovery walks through.
        """
        ...

    def rebuild(self, run: str) -> RunRecord:
        """Project the run anew from its whole journal and keep that row. Raises `RunNotFoundError`."""
        ...


class Leases(Protocol):
    """Who may work on a run. The fence grows by one with every owner and never falls."""

    def acquire(self, run: str, owner: str, ttl: float, *, dead: Lease | None = None) -> Lease:
        """Take the run for `ttl` seconds. Raises `LeaseHeldError` while another lease lives.

        Of several racing processes exactly one wins. The run need not exist yet. `dead` is a lease whose owner
        is known to have ended (`store.process.is_gone`): it is not waited for.
        """
        ...

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """Hold it until `ttl` seconds from now. Raises `StaleFenceError` once it was taken over or released.

        An expired lease that nobody took may be renewed: a laptop that slept goes on.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Give it back; its fence is stale from here. Of a lease that was lost already nothing is left to do."""
        ...

    def current(self, run: str) -> Lease | None:
        """Return the run's lease, expired or not; `None` when nobody holds it."""
        ...


class VerifierRecords(Protocol):
    """The verifier's own memory: per routine and repository the commit up to which the work was proved."""

    def last_commits(self, routine: str) -> dict[str, str]:
        """Return repository name -> commit; what `state.last_commit` means in a check."""
        ...

    def record(self, run: str, fence: int, commits: Mapping[str, str]) -> None:
        """Remember these commits for the run's routine.

        Raises `NotProvedError` unless the run's row says `verified` or `noop`, `StaleFenceError`,
        `RunNotFoundError`.
        """
        ...


class States(Protocol):
    """Each routine's current state folder, moved by compare-and-swap."""

    def current(self, routine: str) -> StateRecord | None:
        """Return what the next run gets a copy of; `None` before the first commit."""
        ...

    def commit(self, run: str, fence: int, expected: str | None, digest: str) -> StateRecord:
        """Make `digest` the state of the run's routine if it still is `expected`, the one the run began from.

        Asking again for the same run and digest is no conflict, so a recovery may repeat it.
        Raises `StateConflictError`, `NotProvedError`, `StaleFenceError`, `RunNotFoundError`.
        """
        ...


class Resources(Protocol):
    """What runs hold on this host, written down before it is made, so that a later start can sweep it."""

    def claim(self, kind: str, name: str, *, run: str, owner: str, detail: Mapping[str, Any] | None = None) -> Resource:
        """Write it down. Raises `ResourceHeldError` when that kind and name is taken, by whatever process."""
        ...

    def claim_slot(
        self, kind: str, slots: int, *, run: str, owner: str, detail: Mapping[str, Any] | None = None
    ) -> Resource:
        """Claim the lowest free of the names "0" ... `slots - 1`. Raises `ResourceHeldError` when none is."""
        ...

    def release(self, kind: str, name: str) -> None:
        """Forget it, once it is gone from the host. Unknown names are no error: sweeping twice is fine."""
        ...

    def list(self, *, run: str | None = None, kind: str | None = None) -> Sequence[Resource]:
        """Return what is held, oldest first."""
        ...


class Secrets(Protocol):
    """Secrets by name, sealed: whoever reads the store reads no value."""

    def put(
        self, name: str, *, kind: str, sealed: bytes, by: str, binding: Mapping[str, Any] | None = None
    ) -> SecretRecord:
        """Keep a new version; the value of the one before is gone for good. Without `binding` that of before stays."""
        ...

    def get(self, name: str) -> SecretRecord:
        """Return the newest version. Raises `SecretNotFoundError`, also for one that was removed."""
        ...

    def list(self) -> Sequence[SecretRecord]:
        """Return every secret that has a value, by name."""
        ...

    def remove(self, name: str) -> None:
        """Overwrite the value; that there was one, and until when, stays. Raises `SecretNotFoundError`."""
        ...


class Grants(Protocol):
    """What the owner granted to routines, item by item."""

    def current(self, routine: str) -> Sequence[Grant]:
        """Return what is granted to routines of this name now, in whatever folder, oldest first."""
        ...

    def replace(self, routine: str, folder: str, items: Sequence[GrantItem], *, by: str) -> Sequence[Grant]:
        """Grant exactly these items to the routine in `folder`, and return them: others are taken back."""
        ...


class Store(Protocol):
    """All of them over one database."""

    @property
    def journal(self) -> Journal: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def verifier(self) -> VerifierRecords: ...
    @property
    def states(self) -> States: ...
    @property
    def resources(self) -> Resources: ...
    @property
    def secrets(self) -> Secrets: ...
    @property
    def grants(self) -> Grants: ...

    def close(self) -> None:
        """Let go of files and connections; afterwards every call fails."""
        ...


class Blobs(Protocol):
    """Bodies by the sha256 of their content, as 64 lowercase hex digits. The same content is stored once."""

    def put(self, content: bytes | BinaryIO, *, max_bytes: int | None = None) -> str:
        """Store it durably and return its digest. Raises `BlobTooLargeError` beyond `max_bytes`, keeping nothing.

        `None` means the store's own cap.
        """
        ...

    def get(self, digest: str) -> bytes:
        """Return the whole body, its digest checked.

        Raises `BlobNotFoundError`, `BlobCorruptError`, `BlobDigestError` for what is no digest.
        """
        ...

    def open(self, digest: str) -> BinaryIO:
        """Return the body as a file to read from, its digest checked before the first byte is given out."""
        ...
