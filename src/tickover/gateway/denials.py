"""What a run was denied, counted: told at once when it is new, then ever more seldom, then once more at the end.

An agent that knocks a million times at a thousand doors makes a journal of some hundred lines, and no knock is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tickover.core.text import one_line
from tickover.gateway.session import Denied

MOST_KINDS: Final = 200
"""Kinds of denials that are told apart; what comes after them is counted together, by its code."""


class Denials:
    """Counts and tells: the first of a kind at once, then in tens, hundreds and so on."""

    def __init__(self, tell: Callable[[Denied], None]) -> None:
        self._tell = tell
        self._untold: dict[tuple[str, int, str, str, str], Denied] = {}
        self._told: dict[tuple[str, int, str, str, str], int] = {}

    def add(self, denied: Denied) -> None:
        """Count one more."""
        denied = _shortened(denied)
        kind = (denied.host, denied.port, denied.code, denied.method, denied.path)
        if kind not in self._told and len(self._told) >= MOST_KINDS:
            kind = ("", 0, denied.code, "", "")
            denied = replace(denied, host="", port=0, method="", path="", says="further hosts and requests")
        told = self._told.setdefault(kind, 0)
        untold = self._untold[kind].times if kind in self._untold else 0
        waiting = replace(denied, times=untold + denied.times)
        if told and waiting.times < 9 * told:
            self._untold[kind] = waiting
            return
        self._untold.pop(kind, None)
        self._told[kind] = told + waiting.times
        self._tell(waiting)

    def flush(self) -> None:
        """Tell what was counted and not yet told."""
        untold, self._untold = self._untold, {}
        for denied in untold.values():
            self._tell(denied)


def _shortened(denied: Denied) -> Denied:
    """Make hostile text fit to be kept."""
    return replace(
        denied,
        host=one_line(denied.host, 255),
        says=one_line(denied.says, 300),
        method=one_line(denied.method, 20),
        path=one_line(denied.path, 300),
    )
