"""The stop gate of one attempt: the agent rings, its sandbox is frozen, its workspace is looked at, it goes on or not.

What is found is journalled, and counts for nothing else: the agent could have rung at a moment that suits it, or not at
all. So whatever goes wrong here lets it stop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from tickover.control.record import Recorder
from tickover.control.verify import Judge
from tickover.control.watchdog import Watchdog
from tickover.core.errors import TickoverError
from tickover.core.event import StopGateJudged
from tickover.core.gate import MOST_JUDGED, MOST_RETURNS, words
from tickover.core.host import INTERNAL
from tickover.core.text import one_line
from tickover.gateway.bell import STOP
from tickover.sandbox.base import Sandbox
from tickover.workspace.base import UPPER, Workspace

BELL: Final = f"http://{INTERNAL}{STOP}"
"""Where it is rung, inside."""


class StopGate:
    """Judges at most `MOST_JUDGED` times, and sends the agent back at most `MOST_RETURNS` times."""

    def __init__(self, judge: Judge, workspace: Workspace, record: Recorder, dog: Watchdog | None) -> None:
        self._judge = judge
        self._workspace = workspace
        self._record = record
        self._dog = dog
        self._sandbox: Sandbox | None = None
        self._rings = 0
        self._returns = 0
        self._one_at_a_time = asyncio.Lock()

    def watch(self, sandbox: Sandbox) -> None:
        """Say whose workspace it is. Who rings before may stop."""
        self._sandbox = sandbox

    async def rung(self) -> Sequence[str]:
        """Judge; return what the agent hears, nothing if it may stop (a `Bell`)."""
        async with self._one_at_a_time:
            if self._sandbox is None or self._returns >= MOST_RETURNS or self._rings >= MOST_JUDGED:
                return ()
            self._rings += 1
            began = time.monotonic()
            try:
                judged = await self._look(self._sandbox)
            except (TickoverError, OSError) as error:
                judged = StopGateJudged(number=self._rings, problem=one_line(str(error), 300))
            said = judged.model_copy(update={"duration_s": round(time.monotonic() - began, 6)})
            try:
                await self._record.add(said)
            except (TickoverError, OSError):  # whoever has the lease now says how the run ends
                return ()
            self._returns += bool(said.says)
            return said.says

    async def _look(self, sandbox: Sandbox) -> StopGateJudged:
        async with self._frozen(sandbox):
            said = await self._judge.at_gate(replace(self._workspace, upper=sandbox.upper(UPPER)))
        return StopGateJudged(number=self._rings, checks=tuple(said), says=words(self._judge.gated, said))

    @asynccontextmanager
    async def _frozen(self, sandbox: Sandbox) -> AsyncIterator[None]:
        if self._dog is not None:
            self._dog.rest()
        try:
            await sandbox.freeze()
            yield
        finally:
            with suppress(TickoverError):  # it is gone
                await sandbox.thaw()
            if self._dog is not None:
                self._dog.wake()
