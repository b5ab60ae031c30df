"""The stop gate of one attempt: the agent rings, its sandbox is frozen, its workspace is looked at, it goes on or not.

What is found is journalled, and counts for nothing else: the agent could have rung at a moment that suits it, or not at
all. So whatever goes wrong here lets it stop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from tickover.control.own_tools import OwnTools
from tickover.control.record import Recorder
from tickover.control.still import Still
from tickover.control.verify import Judge
from tickover.core.errors import TickoverError
from tickover.core.event import StopGateJudged
from tickover.core.gate import MOST_JUDGED, MOST_RETURNS, words
from tickover.core.host import INTERNAL
from tickover.core.text import one_line
from tickover.gateway.bell import STOP

BELL: Final = f"http://{INTERNAL}{STOP}"
"""Where it is rung, inside."""


class StopGate:
    """Judges at most `MOST_JUDGED` times, and sends the agent back at most `MOST_RETURNS` times."""

    def __init__(self, judge: Judge, record: Recorder, still: Still, tools: OwnTools) -> None:
        self._judge = judge
        self._record = record
        self._still = still
        self._tools = tools
        self._rings = 0
        self._returns = 0
        self._one_at_a_time = asyncio.Lock()

    async def rung(self) -> Sequence[str]:
        """Judge; return what the agent hears, nothing if it may stop (a `Bell`). Who rings too early may stop."""
        async with self._one_at_a_time:
            if not self._still.watched or self._returns >= MOST_RETURNS or self._rings >= MOST_JUDGED:
                return ()
            self._rings += 1
            began = time.monotonic()
            try:
                judged = await self._look()
            except (TickoverError, OSError) as error:
                judged = StopGateJudged(number=self._rings, problem=one_line(str(error), 300))
            said = judged.model_copy(update={"duration_s": round(time.monotonic() - began, 6)})
            try:
                await self._record.add(said)
            except (TickoverError, OSError):  # whoever has the lease now says how the run ends
                return ()
            self._returns += bool(said.says)
            return said.says

    async def _look(self) -> StopGateJudged:
        async with self._still.held() as workspace, self._tools.laid_over(workspace) as whole:
            said = await self._judge.at_gate(whole)
        return StopGateJudged(number=self._rings, checks=tuple(said), says=words(self._judge.gated, said))
