"""The port of sums over runs: what metrics and the page of usage show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RunSum:
    """Runs of one routine that came to the same end. `unpriced` of them have no known cost and count 0 in it."""

    routine: str
    execution: str
    outcome: str | None
    runs: int
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0


class Usage(Protocol):
    """Sums, made when they are asked for."""

    def since(self, created: float) -> Sequence[RunSum]:
        """Return the sums over runs created at or after that time (UTC epoch seconds)."""
        ...
