"""A session that plays a cassette: requests are judged as ever, answered from the recording, and nothing is dialled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from tickover.core.cassette import MOST_BODY, Take, read_cassette
from tickover.core.network import Decision
from tickover.core.player import Drift, DriftKind, Player
from tickover.gateway.answer import Answer
from tickover.gateway.asked import Asked
from tickover.gateway.dial import Dialler
from tickover.gateway.exchange import Exchange
from tickover.gateway.fence import Fence
from tickover.gateway.fields import Fields
from tickover.gateway.framing import NO_BODY, UNTIL_EOF, Framing, Kind
from tickover.gateway.guard import Guard
from tickover.gateway.http1 import Response
from tickover.gateway.internal import Handler, InternalAnswer, InternalRequest
from tickover.gateway.patience import Patience, within
from tickover.gateway.refusal import Refusal

OFFLINE: Final = "replay_offline"
UNKNOWN: Final = "replay_unknown"
MOST_TOLD: Final = 200
"""Drifts of one session that are told one by one."""
REPLAYED: Final = "answered from a recording: nothing left"
_BARE: Final = frozenset({204, 304})

TellDrift = Callable[[Drift, int], None]


def takes_of(descriptor: int) -> tuple[Take, ...]:
    """Read the takes of a cassette from its beginning. Raises CassetteError."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return read_cassette(file.read()).takes


class OfflineDialler(Dialler):
    """Dials nothing: what went through a tunnel was not recorded."""

    def __init__(self, tell: Callable[[Drift], None]) -> None:
        super().__init__()
        self._tell = tell

    async def dial(self, decision: Decision, fence: Fence) -> NoReturn:  # noqa: ARG002 - the port's
        self._tell(Drift(DriftKind.UNREAD, f"{decision.host}:{decision.port}", then="it went through a tunnel"))
        raise Refusal(403, OFFLINE, f"a replay dials nothing, and what was said to {decision.host} was not recorded")


class BlindGuard(Guard):
    """Judges as ever, and knows no secret: none is needed where nothing leaves."""

    async def fresh(self, host: str) -> None:  # the port's
        """Ask for no token."""

    async def renewed(self, credential: str | None) -> bool:  # noqa: ARG002 - the port's
        return False

    def app(self, credential: str | None) -> None:
        """Make no token for a GitHub App."""

    def secrets(self, host: str) -> tuple[bytes, ...]:  # noqa: ARG002 - the port's
        return ()

    def dress(self, asked: Asked, credential: str | None) -> Asked:  # noqa: ARG002 - the port's
        return asked


def unread(drifts: Drifts) -> Handler:
    """Return what answers in the place of MCP servers: their answers were not recorded."""

    async def refuse(request: InternalRequest) -> InternalAnswer:
        drifts.add(Drift(DriftKind.UNREAD, f"{request.method} {request.path}", then="an MCP server answered it"))
        raise Refusal(403, OFFLINE, "a replay dials nothing, and what MCP servers answered was not recorded")

    return refuse


class Drifts:
    """Tells drifts: the first ones each, the rest by their number."""

    def __init__(self, tell: TellDrift) -> None:
        self._tell = tell
        self._told = 0
        self._more: dict[DriftKind, int] = {}

    def add(self, drift: Drift) -> None:
        self._told += 1
        if self._told <= MOST_TOLD:
            self._tell(drift, 1)
        else:
            self._more[drift.kind] = self._more.get(drift.kind, 0) + 1

    def flush(self) -> None:
        for kind, times in self._more.items():
            self._tell(Drift(kind, "further requests"), times)
        self._more.clear()


class Playback:
    """Answers a session's exchanges, in the place of a `Carrier`."""

    def __init__(self, takes: Iterable[Take], guard: Guard, drifts: Drifts, patience: Patience) -> None:
        self._player = Player(takes)
        self._guard = guard
        self._drifts = drifts
        self._patience = patience

    def close(self) -> None:
        """Tell what was recorded and nobody asked for."""
        for drift in self._player.unasked():
            self._drifts.add(drift)
        self._drifts.flush()

    async def carry(self, exchange: Exchange) -> bool:
        """Answer from the recording; say whether the connection can be used again. Raises Refusal."""
        asked, call = exchange.asked, exchange.call
        body = await self._body(exchange)
        call.request.add(body)
        call.why = REPLAYED
        found = self._player.find(
            asked.method, asked.scheme, asked.host, asked.port, call.begun.path, call.begun.query, body
        )
        for drift in found.drift:
            self._drifts.add(drift)
        if found.take is None:
            raise Refusal(403, UNKNOWN, "the recording has no answer to this")
        return await self._answer(exchange, found.take)

    async def _body(self, exchange: Exchange) -> bytes:
        pieces = bytearray(exchange.inflow.begin)
        if exchange.request.expects_continue and not pieces:
            exchange.client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async with within(self._patience.body_s, 408, "slow_body", "the body did not come"):
            while data := await exchange.inflow.more():
                pieces += data
                if len(pieces) > MOST_BODY:
                    raise Refusal(413, UNKNOWN, "it is longer than what is recorded")
        return bytes(pieces)

    async def _answer(self, exchange: Exchange, take: Take) -> bool:
        call = exchange.call
        if take.status is None:
            raise Refusal(502, "recorded_failure", take.why or "no answer came")
        call.sent, call.status = True, take.status
        bare = exchange.asked.method == "HEAD" or take.status in _BARE
        framing = NO_BODY if bare else Framing(Kind.LENGTH, len(take.answer)) if take.whole else UNTIL_EOF
        response = Response(take.status, Fields(take.fields), framing, (1, 1), take.whole)
        answer = Answer(response, exchange.asked.host, self._guard, exchange.paths)
        head, writer, keep = answer.head(exchange.request.version, keep_alive=exchange.keep_alive and take.whole)
        exchange.answering = True
        exchange.say(head)
        for piece in () if bare else (*answer.feed(take.answer), *answer.finish()):
            call.response.add(piece)
            exchange.say(writer.data(piece))
        if take.whole:
            exchange.say(writer.end())
        exchange.flush()
        async with within(self._patience.idle_s, 408, "slow_reader", "nothing of the answer was taken"):
            await exchange.client.drain()
        if not take.whole:
            raise Refusal(502, "recorded_failure", take.why or "the answer broke off")
        call.whole = True
        call.response_json = answer.chosen(whole=True)
        return keep
