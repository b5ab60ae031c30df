"""The stop bell: `POST http://tickover.internal/stop` by an agent that wants to stop. The answer says what it hears.

It is only a bell. Who judges stands outside, looks at the workspace itself, and judges anew when the agent is gone:
nobody who does not ring it, or rings it all day, changes a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from tickover.gateway.fields import Fields
from tickover.gateway.internal import InternalAnswer, InternalRequest
from tickover.gateway.refusal import Refusal

STOP: Final = "/stop"
"""The path of the bell."""
Ring: TypeAlias = Callable[[], Awaitable[list[str]]]
"""Returns what the agent is told; nothing if it may stop."""


class StopBell:
    """Answers `{"stop": true}`, or `{"stop": false, "says": [...]}`."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    async def __call__(self, request: InternalRequest) -> InternalAnswer:
        if request.path != STOP:
            raise Refusal(404, "internal_path", "the bell is at /stop")
        if request.method != "POST":
            raise Refusal(405, "bad_method", "the bell is rung by POST")
        says = await self._ring()
        answer = {"stop": not says, **({"says": says} if says else {})}
        fields = Fields([("content-type", "application/json")])
        return InternalAnswer(200, json.dumps(answer).encode() + b"\n", fields)
