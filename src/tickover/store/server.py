"""Ports of what a server keeps beside the journal: pushed routines, the queue of runs, schedules and their slots.

As in `base`: synchronous, safe to call from several threads, each write one durable transaction. All moments are UTC
epoch seconds and come from the caller, so that a test's clock reaches them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from tickover.core.admission import Counts, Needs
from tickover.store.base import Event, Store

Stage = Literal["waiting", "working", "settling", "done"]
"""waiting: for its time or its place. working: it has a place. settling: checks are asked again. done: nothing more."""

EVERYTHING: Final = Needs(runs=True, all_runs=True, last=True, cost=True, active=1000)


@dataclass(frozen=True, slots=True)
class RoutineRecord:
    """A pushed routine. `version` names its folder; `paused_at` is None while it may start."""

    name: str
    version: str
    pushed_at: float
    pushed_by: str
    paused_at: float | None = None
    paused_by: str = ""
    paused_reason: str = ""
    resumed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A run that shall be queued. `places` is how many of its routine may work at once, `needs` what is counted."""

    run: str
    routine: str
    key: str | None
    priority: int
    places: int
    at: float
    needs: Needs = EVERYTHING


@dataclass(frozen=True, slots=True)
class Admitted:
    """What is written for an entry: the run's first facts, when it is looked at, which runs are asked to stop for it.

    `stage` is `settling` where the facts end the run: an engine looks at it once more, so that its end is told.
    """

    events: Sequence[Event]
    wake_at: float
    replaces: Sequence[str] = ()
    stage: Literal["waiting", "settling"] = "waiting"


Judge = Callable[[Counts], Admitted]
"""Decide about an entry, from the counts of the transaction that writes it."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A run of the queue, as an engine sees it."""

    run: str
    routine: str
    stage: Stage
    wake_at: float | None


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule with its next slot, which stands here before its time comes."""

    id: str
    routine: str
    spec: Mapping[str, Any]
    slot: float | None
    fire_at: float | None
    after: float
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """`slots` slots from `slot` to `last`, of which a run was made or is to be made (`run` None)."""

    schedule: str
    slot: float
    last: float
    slots: int
    routine: str
    kind: Literal["fired", "missed"]
    reason: str = ""
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """A schedule's step: the slots whose time came, and the next one."""

    id: str
    before: float | None
    """The slot that the schedule stood at: somebody else was faster if it no longer does."""
    slots: Sequence[SlotRecord]
    slot: float | None
    fire_at: float | None
    after: float


class Routines(Protocol):
    """The registry of pushed routines. The files are the caller's."""

    def put(self, name: str, version: str, *, at: float, by: str) -> RoutineRecord:
        """Make `version` what runs from now on; pausing stays as it is."""
        ...

    def get(self, name: str) -> RoutineRecord | None: ...

    def list(self) -> Sequence[RoutineRecord]:
        """Return all, by name."""
        ...

    def versions(self, name: str) -> Sequence[tuple[str, float, str]]:
        """Return version, moment and who of each push, newest first."""
        ...

    def pause(self, name: str, *, at: float, by: str, reason: str) -> bool:
        """Say whether it was running before."""
        ...

    def resume(self, name: str, *, at: float) -> bool:
        """Say whether it was paused before."""
        ...


class Queue(Protocol):
    """The runs of the server that are not done, and the places they take."""

    def enqueue(self, entry: Entry, judge: Judge) -> tuple[str, bool]:
        """Write a run, its journal and its place in the queue in one transaction; return its id, and whether it is new.

        `judge` sees the counts of that very transaction. The same routine and key is the same run.
        """
        ...

    def enqueue_all(self, wanted: Sequence[tuple[Entry, Judge]]) -> list[tuple[str, bool]]:
        """Do the same for several in one transaction: all are written, or none."""
        ...

    def counts(self, routine: str, at: float, needs: Needs = EVERYTHING) -> Counts:
        """Return the numbers that admission needs, as of `at`."""
        ...

    def take(self, now: float, limit: int, until: float) -> Sequence[Queued]:
        """Return runs whose time has come, highest priority first; each is looked at again at `until` at the latest."""
        ...

    def next_wake(self) -> float | None:
        """Return the earliest moment at which a run wants to be looked at."""
        ...

    def wake(self, run: str, at: float) -> bool:
        """Look at the run at `at`, or earlier if that was planned; False: it is done or not in the queue."""
        ...

    def claim(self, run: str, places: int, now: float) -> bool:
        """Give the run a place, if its routine and the instance (`places` in all) have one, and it is its turn.

        The highest priority is first, then who waits longest. Else it is held until one is free. A run that has a
        place already keeps it.
        """
        ...

    def park(self, run: str, stage: Stage, wake_at: float | None, *, now: float, places: int) -> None:
        """Take the run's place away; the held runs that find a place now are woken."""
        ...

    def recover(self, now: float, places: int) -> int:
        """After a crash: wake every run that had a place or a moment to be looked at, and return how many."""
        ...


class Schedules(Protocol):
    """Schedules with their next slot, and the slots whose time came."""

    def replace(self, routine: str, schedules: Sequence[ScheduleRecord]) -> None:
        """Make these the routine's schedules. One that was there already keeps its next slot."""
        ...

    def of(self, routine: str) -> Sequence[ScheduleRecord]: ...

    def due(self, now: float, limit: int) -> Sequence[ScheduleRecord]:
        """Return enabled schedules whose `fire_at` has come, earliest first."""
        ...

    def next_fire(self) -> float | None:
        """Return the earliest `fire_at` of an enabled schedule."""
        ...

    def advance(self, steps: Sequence[Advance]) -> int:
        """Note the slots and the next ones in one transaction, each slot once; return how many schedules moved."""
        ...

    def open_slots(self, limit: int) -> Sequence[SlotRecord]:
        """Return slots of which no run is made yet, earliest first."""
        ...

    def close_slots(self, made: Sequence[tuple[str, float, str]]) -> None:
        """Note the run of each (schedule, slot)."""
        ...

    def slots(self, schedule: str, limit: int = 50) -> Sequence[SlotRecord]:
        """Return the slots of a schedule, newest first."""
        ...

    def enable(self, routine: str, enabled: bool, plans: Sequence[Advance] = ()) -> None:
        """Switch the routine's schedules on, each at its new next slot, or off."""
        ...

    def all(self, after: str, limit: int) -> Sequence[ScheduleRecord]:
        """Return schedules by id beyond `after`."""
        ...

    def note(self, name: str, value: str | None = None) -> str | None:
        """Return a note, after writing it where a value is given."""
        ...


class ServerStore(Store, Protocol):
    """A store that a server can run on."""

    @property
    def routines(self) -> Routines: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def schedules(self) -> Schedules: ...

    def bell(self) -> tuple[socket.socket, Callable[[], None]]:
        """Return a socket that is readable when the queue or a schedule was changed, and how to let go of it."""
        ...
