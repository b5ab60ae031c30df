"""The event loop that the gateway's process turns: uvloop's where it is installed, else asyncio's own.

Why, and what each costs: docs/decisions/0009-event-loop.md. Nothing else here knows which of the two it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

NAMES: Final = ("uvloop", "asyncio")


def usual() -> str:
    """Return the name of the loop that is turned where none is asked for."""
    return NAMES[0] if find_spec(NAMES[0]) else NAMES[1]


def loop_factory(name: str = "") -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes a loop: the one of that name, the usual one without. Raises ImportError, ValueError."""
    name = name or usual()
    if name not in NAMES:
        raise ValueError(f"there is no event loop `{name}`, only {' and '.join(NAMES)}")
    if name == "uvloop":
        made: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
        return made
    return asyncio.new_event_loop


def run(main: Coroutine[Any, Any, None], name: str = "") -> None:
    """Run to the end, as asyncio.run does."""
    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        runner.run(main)
