"""Watchdogs: how long an agent that speaks may be silent. One that is silent for longer is ended.

Time is counted from what the agent itself says, so it may chatter to be left alone; the run's timeout stands above it.
Raw output and retries of a model are no sign of life: an agent that is refused a hundred times is doing nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from tickover.agents.base import AgentFact
from tickover.core.event import AgentReady, AgentStep, AgentText, AgentToolCall, AgentToolResult, AgentUsage
from tickover.core.limits import Watch

_ANSWERS: Final = (AgentText, AgentToolCall)
_SIGNS: Final = (AgentReady, AgentStep, AgentText, AgentToolCall, AgentToolResult, AgentUsage)


class Watchdog:
    """`clock` gives monotonic seconds. `silent` ends with a sentence when one of the three waits is over."""

    def __init__(self, watch: Watch, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages = (
            ("init", float(watch.init), "it did not start"),
            ("first_answer", float(watch.first_answer), "no first answer came"),
            ("progress", float(watch.progress), "it made no progress"),
        )
        self._stage = 0
        self._since = clock()
        self._heard = asyncio.Event()
        self._resting = False

    def rest(self) -> None:
        """Count no time until `wake`: the agent is frozen."""
        self._resting = True
        self._heard.set()

    def wake(self) -> None:
        """Count from now on."""
        self._resting = False
        self._since = self._clock()
        self._heard.set()

    def hear(self, facts: Iterable[AgentFact]) -> None:
        """Take note of what the agent said just now."""
        signs = [fact for fact in facts if isinstance(fact, _SIGNS)]
        if not signs:
            return
        self._stage = max(self._stage, 2 if any(isinstance(fact, _ANSWERS) for fact in signs) else 1)
        self._since = self._clock()
        self._heard.set()

    async def silent(self) -> str:
        """Return when it was silent for too long, with what it failed to do and the key that allows more."""
        while True:
            self._heard.clear()
            if self._resting:
                await self._heard.wait()
                continue
            key, allowed, what = self._stages[self._stage]
            left = self._since + allowed - self._clock()
            if left <= 0:
                return f"{what} within {allowed:g} s (`watch.{key}`)"
            try:
                async with asyncio.timeout(left):
                    await self._heard.wait()
            except TimeoutError:
                continue
