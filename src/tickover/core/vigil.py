"""When the silence of a server is an alarm: pure. Seconds are of any clock that only goes forward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

News: TypeAlias = Literal["silent", "back"]


@dataclass(frozen=True, slots=True)
class Vigil:
    """What a watcher remembers. `heard` is when the server answered last, or when the watch began."""

    limit: float
    heard: float
    silent: bool = False

    def seen(self, now: float, *, answered: bool) -> tuple[Vigil, News | None]:
        """Take one look into account: each silence is news once, and so is its end."""
        if answered:
            return replace(self, heard=now, silent=False), "back" if self.silent else None
        if not self.silent and now - self.heard >= self.limit:
            return replace(self, silent=True), "silent"
        return self, None
