"""The port of the outbox: what people shall be told, kept until it was delivered or given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

MERGE_WITHIN: Final = 3600.0
"""Seconds within which notices of one routine, cause and target are one message."""

LetterState = Literal["waiting", "sent", "failed", "merged"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A notice for one target. Drafts with the same `cause` of one routine are merged; an empty one never is."""

    target: str
    kinds: tuple[str, ...]
    cause: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice in the outbox. `next_at` is UTC epoch seconds; `merged` is the letter that speaks for this one."""

    id: int
    run: str | None
    routine: str
    kinds: tuple[str, ...]
    cause: str
    target: str
    created: float
    body: Mapping[str, Any]
    state: LetterState
    tries: int
    next_at: float | None
    merged: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver, and what came of it."""

    at: float
    ok: bool
    says: str


class Outbox(Protocol):
    """Letters on their way. An attempt that a crash cut off is made again: a receiver tells repeats by the id."""

    def begin(self, now: float) -> None:
        """Notice runs that end from now on. A second time changes nothing."""
        ...

    def unnoticed(self, *, since: float | None = None, limit: int = 200) -> Sequence[str]:
        """Return runs that have ended and were not looked at yet, oldest end first.

        One whose outcome is pending has not ended in this sense: it is returned when that was decided.
        Without `since` the search begins ten minutes before the last end that was looked at.
        """
        ...

    def file(self, run: str | None, routine: str, finished: float, drafts: Sequence[Draft], now: float) -> None:
        """Put drafts into the outbox and mark the run as looked at, in one transaction.

        A draft whose cause was told to the same target less than `MERGE_WITHIN` ago is kept as `merged`. The body
        of one that is told again after that says in `repeated` how many were merged meanwhile.
        """
        ...

    def add(self, run: str, routine: str, draft: Draft, now: float) -> None:
        """Put a draft about a run that has not ended into the outbox; a second one for its target changes nothing."""
        ...

    def due(self, now: float, limit: int = 20) -> Sequence[Letter]:
        """Return letters whose time has come."""
        ...

    def next_at(self) -> float | None:
        """Return when the next letter is due; None: nothing waits."""
        ...

    def settle(self, letter: int, delivery: Delivery, *, again_at: float | None) -> None:
        """Write an attempt down. Not ok and `again_at` None: it is given up, and stays as `failed`."""
        ...

    def list(self, *, limit: int = 100, before: int | None = None) -> Sequence[Letter]:
        """Return letters, newest first."""
        ...

    def deliveries(self, letter: int) -> Sequence[Delivery]:
        """Return the attempts to deliver a letter, oldest first."""
        ...
