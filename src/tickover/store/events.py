"""The port for what comes in from outside: accepted deliveries, what became of each, and what was refused.

`put` returns when the event is durable, so that whoever answers a sender after it has lost nothing. Everything else is
synchronous and durable on return; a caller with an event loop hands it to a thread.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from tickover.core.errors import NotFoundError
from tickover.store.errors import StoreError

KEEP_IDS: Final = 30 * 86400.0
"""Seconds that a delivery's id is kept: longer than any sender repeats it (Stripe: 3 days by itself, 30 by hand)."""

KEEP_BODIES: Final = 7 * 86400.0

Verdict = Literal["fired", "filtered", "duplicate", "held", "superseded", "dropped", "failed"]
HeldKind = Literal["debounce", "coalesce"]


class OverloadedError(StoreError):
    """More events wait to be written than may wait. Nothing was kept; the sender may try again."""

    def __init__(self, waiting: int) -> None:
        super().__init__("store.overloaded", f"{waiting} events wait to be written", hint="send it again later")


class EventNotFoundError(NotFoundError):
    """No event of that id."""

    def __init__(self, event: str) -> None:
        super().__init__("event.not_found", f"there is no event {event[:40]!r}", hint="`tickover events list`")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A delivery whose sender was proved. `body` None: it is the blob `digest`; `name` "": it is not read yet."""

    source: str
    provider: str
    delivery: str
    name: str
    received_at: float
    headers: Mapping[str, str]
    size: int
    body: bytes | None = None
    digest: str | None = None
    replay_of: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """The event's id; `created` false: the sender had sent it before."""

    event: str
    created: bool


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A stored event. Lists leave the body out; a purged one has neither body nor digest."""

    event: str
    source: str
    provider: str
    delivery: str
    name: str
    received_at: float
    headers: dict[str, str]
    size: int
    body: bytes | None
    digest: str | None
    replay_of: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Routing:
    """What became of an event at one trigger, and why. `clauses` are plain maps."""

    event: str
    target: str
    at: float
    verdict: Verdict
    reason: str
    says: str = ""
    clauses: Sequence[Mapping[str, Any]] = ()
    run: str | None = None
    starts_at: float | None = None
    subject: str = ""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """An open window: `event` is the newest of its group, `first_at` when the window opened."""

    target: str
    kind: HeldKind
    group: str
    event: str
    first_at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trigger's decision, kept in one transaction.

    `hold`: the event waits; the one that waited in that window before is superseded. `saw`: a key of `dedup`.
    """

    routing: Routing
    hold: Held | None = None
    saw: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """How often something was refused in one minute (UTC seconds / 60), and the first of them without its values."""

    source: str
    reason: str
    minute: int
    count: int
    sample: Mapping[str, Any] = field(default_factory=dict)


class Events(Protocol):
    """Events and their routing. One router works on them; ingest may be called from one event loop at a time."""

    async def put(self, new: NewEvent) -> Put:
        """Store an event; durable on return. Raises OverloadedError, StoreError."""
        ...

    def reject(self, source: str, reason: str, at: float, sample: Mapping[str, Any]) -> None:
        """Count a refusal. Written within about a second; what is lost by a crash is a number."""
        ...

    def missing(self, source: str, deliveries: Sequence[str]) -> Sequence[str]:
        """Return those of a source's delivery ids that no event has, in their order."""
        ...

    def get(self, event: str) -> EventRecord:
        """Return an event with its body. Raises EventNotFoundError."""
        ...

    def list(
        self,
        *,
        source: str | None = None,
        provider: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Sequence[EventRecord]:
        """Return events, newest first, without bodies."""
        ...

    def pending(self, limit: int = 100) -> Sequence[EventRecord]:
        """Return what is not routed yet, oldest first, with bodies."""
        ...

    def decide(self, event: str, outcomes: Sequence[Outcome], *, name: str | None = None) -> None:
        """Keep what became of an event at these triggers, and that it is routed; one transaction.

        `name` is the event's name, where it was stored without one.
        """
        ...

    def routings(self, event: str) -> Sequence[Routing]:
        """Return what became of an event."""
        ...

    def fired(self, target: str, since: float, *, but: str, limit: int = 1000) -> Sequence[float]:
        """Return when runs of a trigger start or started, newest first, without those of the event `but`."""
        ...

    def deepest(self, subject: str, since: float, *, but: str) -> int:
        """Return the most runs of ours that stood behind one event about `subject` since then."""
        ...

    def seen(self, target: str, key: str, *, but: str) -> float | None:
        """Return when a `dedup` key was last let through, by another event than `but`."""
        ...

    def held(self, target: str, kind: HeldKind, group: str) -> Held | None:
        """Return an open window."""
        ...

    def due(self, now: float, limit: int = 100) -> Sequence[Held]:
        """Return windows whose time is over."""
        ...

    def next_due(self) -> float | None:
        """Return when the next window ends."""
        ...

    def rejections(self, limit: int = 50) -> Sequence[Rejected]:
        """Return what was refused, newest minute first."""
        ...

    def silent_since(self, target: str, now: float) -> tuple[float, float | None]:
        """Return when the source was last heard (or began to be watched), and when that was alarmed."""
        ...

    def alarmed(self, target: str, at: float) -> None:
        """Note that a silence was reported."""
        ...

    def ring(self) -> None:
        """Tell the router, in whatever process, that something was put beside it."""
        ...

    def bell(self) -> tuple[socket.socket, Callable[[], None]]:
        """Return a socket that becomes readable when somebody rings, and how to let go of it."""
        ...

    def purge(self, now: float) -> int:
        """Drop old bodies and ids of routed events; return how many bodies went."""
        ...

    def close(self) -> None:
        """Write what waits, and let go."""
        ...
