"""What happened that a person may want to hear of: the server hands these to whoever notifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened. `run` names the run it is about, if it is about one; `at` is UTC epoch seconds.

    `ended` says that a run has its end, or that its pending outcome was decided: its row has all the rest.
    `paused` says that a routine was paused, and `text` why.
    """

    kind: Literal["ended", "paused"]
    routine: str
    at: float
    run: str | None = None
    text: str = ""
