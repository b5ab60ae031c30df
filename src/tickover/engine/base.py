"""The port of engines. An engine knows run ids and moments; what a run needs is decided by the step it calls.

It holds no fact that the journal and the queue lack: lose it, and `control/recover.py` wakes every unfinished run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Wait:
    """Look at the run again at `until` (UTC epoch seconds), or when it is woken; None: only when it is woken."""

    until: float | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """Look at the run again at once."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more will happen to the run."""


Next: TypeAlias = Wait | Again | Done

Step = Callable[[str, asyncio.Event], Awaitable[Next]]
"""Do what a run needs next. The event is set when the run is to stop: it was cancelled.

The step takes the run's lease itself and is fenced by it, so two engines may call it for one run: one of them is told
to wait. It notes where the run stands (the queue's stage and moment) before it answers, so an answer that is
lost with the engine is no loss. It raises only for what it could not journal; the run is then looked at again later.
"""


class Clock(Protocol):
    """The wall clock."""

    def now(self) -> float:
        """Return UTC epoch seconds."""
        ...

    async def until(self, at: float | None, bell: asyncio.Event) -> None:
        """Return when it is `at` by the wall clock (None: never), or as soon as `bell` is set; the bell is cleared."""
        ...


class Engine(Protocol):
    """Looks at runs when their time has come."""

    async def wake(self, run: str, at: float | None = None) -> None:
        """Look at the run at `at` (UTC epoch seconds), or now. Durable when it returns; twice is once."""
        ...

    async def cancel(self, run: str) -> None:
        """Tell the step that works on the run to stop; without one, look at the run now."""
        ...

    async def serve(self, step: Step) -> None:
        """Call the step for runs whose time has come, never twice at once for one run, until `drain` or cancelled."""
        ...

    async def drain(self, deadline_s: float) -> int:
        """Begin nothing more, wait for the steps under way; those still there after `deadline_s` are cut off.

        Return how many were. What they worked on is looked at again by the next engine.
        """
        ...
