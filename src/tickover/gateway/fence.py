"""What stops all of a run's traffic at once: its lease's deadline, its byte budget, its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


def boot_time() -> float:
    """Return the seconds since boot, sleep included: a lease does not wait for a machine that was asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Cuttable(Protocol):
    """A connection that can be broken off so that nothing of it is sent any more."""

    def reset(self) -> None: ...


class Fence:
    """Asked before every byte that passes, so that not even a process that was stopped in between is late.

    `deadline` is in seconds of `clock`. Once cut, for whatever reason, a fence stays cut.
    """

    def __init__(self, deadline: float, most_bytes: int, *, clock: Callable[[], float] = boot_time) -> None:
        self._deadline = deadline
        self._left = most_bytes
        self._clock = clock
        self._connections: set[Cuttable] = set()
        self.reason: str | None = None
        """Why it was cut: `lease_expired`, `byte_limit`, or what `cut` was told."""

    def passes(self, count: int = 0) -> bool:
        """Say whether so many more bytes may pass; if not, everything is broken off before this returns."""
        if self.reason is None:
            self._left -= count
            if self._clock() >= self._deadline:
                self.cut("lease_expired")
            elif self._left < 0:
                self.cut("byte_limit")
        return self.reason is None

    def remaining(self) -> float:
        """Return the seconds until the deadline, never less than zero."""
        return max(self._deadline - self._clock(), 0.0)

    def renew(self, deadline: float) -> bool:
        """Move the deadline; say whether that was in time."""
        if self.passes():
            self._deadline = deadline
        return self.passes()

    def cut(self, reason: str) -> None:
        """Break off every connection, at once."""
        self.reason = self.reason or reason
        for connection in list(self._connections):
            connection.reset()

    def add(self, connection: Cuttable) -> None:
        self._connections.add(connection)
        if not self.passes():
            connection.reset()

    def discard(self, connection: Cuttable) -> None:
        self._connections.discard(connection)
