"""How long the inspector waits, and what somebody reads who let it wait too long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType

from tickover.gateway.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds, of what.

    `head_s`: a handshake, a head from its first byte. `keep_alive_s`: until the next request on a kept connection.
    `body_s`: a body that must be read first. `idle_s`: silence in a body. `answer_s`: until an answer begins.
    `linger_s`: a refused client is still listened to. `pooled_s`: an idle upstream connection is used again for a
    read, `pooled_for_writes_s` for a write, which cannot be sent a second time.
    """

    head_s: float = 10.0
    keep_alive_s: float = 75.0
    body_s: float = 60.0
    idle_s: float = 300.0
    answer_s: float = 900.0
    linger_s: float = 2.0
    pooled_s: float = 30.0
    pooled_for_writes_s: float = 2.0


class within:  # noqa: N801 - it reads as a verb
    """Let something take so many seconds; then it is this refusal."""

    __slots__ = ("_detail", "_reason", "_seconds", "_status", "_timeout")

    def __init__(self, seconds: float, status: int, reason: str, detail: str) -> None:
        self._seconds, self._status, self._reason, self._detail = seconds, status, reason, detail
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            says = f"{self._detail} within {self._seconds:g} s"
            raise Refusal(self._status, self._reason, says) from late
