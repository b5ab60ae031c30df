"""How long to wait before a child process that died is started again. Pure; seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Pauses:
    """The first death is answered at once; each one soon after another doubles the pause, up to `longest`.

    A child that lived for `steady` did not die of its start.
    """

    first: float = 0.5
    longest: float = 30.0
    steady: float = 60.0
    _next: float = 0.0

    def after(self, lived: float) -> float:
        """Return the pause before the next start, when the last one lived (or tried to) for `lived`."""
        if lived >= self.steady:
            self._next = 0.0
        pause = self._next
        self._next = min(max(pause * 2, self.first), self.longest)
        return pause
