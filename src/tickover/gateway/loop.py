"""The event loop that the gateway's process turns: uvloop's where it is installed, else asyncio's own.

An interpreter that uvloop has no build for does without (docs/decisions/0009-event-loop.md). Nothing else here knows
which of the two it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Final

NAMES: Final = ("uvloop", "asyncio")


def loop_factory(name: str = "") -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes a loop: the one of that name, or the best there is. Raises ImportError, ValueError."""
    if name not in {"", *NAMES}:
        raise ValueError(f"there is no event loop `{name}`, only {', '.join(NAMES)}")
    if name != "asyncio":
        try:
            made: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
        except ImportError:
            if name:
                raise
        else:
            return made
    return asyncio.new_event_loop


def run(main: Coroutine[Any, Any, None], name: str = "") -> None:
    """Run to the end, as asyncio.run does."""
    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        runner.run(main)
