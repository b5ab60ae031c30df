"""A watcher: it asks a server whether it lives, and raises an alarm when it is silent. They share nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tickover.core.notice import Message
from tickover.core.vigil import News, Vigil

ASK_SECONDS: Final = 10.0
"""How long one question may take."""


async def watch(
    *,
    what: str,
    ask: Callable[[], Awaitable[bool]],
    alarm: Callable[[Message], Awaitable[bool]],
    limit: float,
    every: float,
    clock: Callable[[], float],
    wall: Callable[[], float],
    over: asyncio.Event,
) -> None:
    """Watch until `over`. An alarm that could not be delivered is tried again at each look; news replaces older news.

    `clock` goes on while this machine sleeps no more than it does itself (CLOCK_MONOTONIC): a laptop that wakes up
    raises no alarm.
    """
    vigil, owed = Vigil(limit, clock()), None
    while not over.is_set():
        vigil, news = vigil.seen(clock(), answered=await _asked(ask))
        owed = _message(what, news, clock() - vigil.heard, wall()) if news else owed
        if owed is not None and await alarm(owed):
            owed = None
        try:
            async with asyncio.timeout(every):
                await over.wait()
        except TimeoutError:
            continue


async def _asked(ask: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await ask()
    except TimeoutError:
        return False


def _message(what: str, news: News, seconds: float, at: float) -> Message:
    if news == "back":
        return Message(kinds=("recovered",), routine="server", at=at, reason=f"{what} answers again")
    reason = f"{what} has not answered for {seconds:.0f} s"
    hint = "nothing starts while it is down; it says what it missed when it is back"
    return Message(kinds=("failed",), routine="server", at=at, reason=reason, hint=hint)
