"""The rules that every store keeps alike, free of any database: who may append, and what a row's columns are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from tickover.store.base import OUTSIDE, OUTSIDE_TYPES, PROVED
from tickover.store.errors import NotProvedError, RunNotFoundError, StaleFenceError

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}\Z")


def run_id(run: str) -> str:
    """Return the id itself, if it can be one: also a file name, a key and a word on a command line."""
    if not _RUN.match(run):
        raise ValueError(f"{run[:80]!r} cannot be a run id")
    return run


def printable(text: str) -> str:
    """Make it text that a database accepts: lone surrogates, as in a file name that is not UTF-8, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Head(NamedTuple):
    """What is known of a run before a write: its lease (`owner` None: released) and its row."""

    fence: int | None
    owner: str | None
    seq: int | None
    row: dict[str, Any] | None
    created_at: float | None

    def check_fence(self, run: str, fence: int, types: AbstractSet[str] = frozenset()) -> None:
        """Raise unless the holder of `fence` may append events of these types now."""
        if fence == OUTSIDE:
            if types and types <= OUTSIDE_TYPES:
                if self.seq is None:
                    raise RunNotFoundError(run)
                return
            if types and self.seq is None and self.fence is None:
                return
        elif self.owner is not None and fence == self.fence:
            return
        raise StaleFenceError(run, fence, self.fence or OUTSIDE)

    def proved_routine(self, run: str, fence: int) -> str:
        """Return the run's routine, if its owner asks and its row says that the work was proved."""
        if self.row is None:
            raise RunNotFoundError(run)
        self.check_fence(run, fence)
        shown = columns(self.row)
        if shown.outcome not in PROVED or shown.routine is None:
            raise NotProvedError(run, shown.outcome)
        return shown.routine


class Columns(NamedTuple):
    """What of a row can be filtered and sorted by."""

    routine: str | None
    execution: str | None
    outcome: str | None
    created: float | None
    finished: float | None


def columns(row: Mapping[str, Any]) -> Columns:
    """Pick the row's columns; a value of another kind than it should be counts as absent."""

    def text(key: str) -> str | None:
        value = row.get(key)
        return printable(value) if isinstance(value, str) else None

    def number(key: str) -> float | None:
        value = row.get(key)
        return float(value) if isinstance(value, int | float) else None

    return Columns(text("routine"), text("execution"), text("outcome"), number("created"), number("finished"))
