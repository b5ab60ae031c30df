"""Every credential's value that an open session of this gateway holds: whoever hands one to a run is not read there.

A server that was given the verifier's token, or another run's, may say it to the agent; the agent's own session does
not hold it. A short value of another run's is left alone, for it would be found in text that has nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tickover.gateway.scrub import SHORTEST

SHORTEST_FOREIGN: Final = 16
"""Bytes of a value that are looked for in another run's traffic."""


def can_be_told(value: bytes) -> bool:
    """Say whether a value is a line of printable ASCII, long enough to be told from other text."""
    return len(value) >= SHORTEST and value.isascii() and value.decode("ascii").isprintable()


class Keyring:
    """The values by session and run."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, frozenset[bytes]]] = {}
        self._found: dict[str, tuple[bytes, ...]] = {}

    def hold(self, session: str, run: str, values: Iterable[bytes]) -> None:
        """Take a session's values in."""
        self._held[session] = run, frozenset(filter(can_be_told, values))
        self._found.clear()

    def drop(self, session: str) -> None:
        """Forget a session."""
        if self._held.pop(session, None) is not None:
            self._found.clear()

    def for_run(self, run: str) -> tuple[bytes, ...]:
        """Return what a run's sandboxes must not read, in a fixed order."""
        if run not in self._found:
            found = {
                value
                for holder, values in self._held.values()
                for value in values
                if holder == run or len(value) >= SHORTEST_FOREIGN
            }
            self._found[run] = tuple(sorted(found))
        return self._found[run]
