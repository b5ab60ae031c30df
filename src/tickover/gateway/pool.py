"""A run's connections to upstreams: kept for the next request, their TLS sessions resumed, never another run's."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field

from tickover.core.network import Decision
from tickover.gateway.base import Channel
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.http1 import ResponseReader
from tickover.gateway.patience import Patience, within
from tickover.gateway.tls import Secure

MOST_IDLE = 32
_MOST_SESSIONS = 256

Key = tuple[str, str, int]


@dataclass(slots=True)
class Upstream:
    """A connection on which requests can be sent, one after the other. `used`: it has answered one before."""

    key: Key
    channel: Channel
    address: str
    reader: ResponseReader = field(default_factory=ResponseReader)
    used: bool = False
    idle_since: float = 0.0


class Pool:
    """Connections of one run by scheme, host and port. `context` is shared by all runs, sessions are not."""

    def __init__(self, dialler: Dialler, fence: Fence, context: ssl.SSLContext, patience: Patience) -> None:
        self._dialler = dialler
        self._fence = fence
        self._context = context
        self._patience = patience
        self._idle: list[Upstream] = []
        self._sessions: dict[Key, ssl.SSLSession] = {}
        self._loop = asyncio.get_running_loop()

    async def take(self, decision: Decision, scheme: str, *, writes: bool, fresh: bool = False) -> Upstream:
        """Return a connection, an idle one if it may be. Raises Refusal; then nothing was sent."""
        key = (scheme, decision.host, decision.port)
        self._forget_old()
        youngest = self._patience.pooled_for_writes_s if writes else self._patience.pooled_s
        for each in [] if fresh else reversed(self._idle):
            if each.key == key and self._loop.time() - each.idle_since <= youngest:
                self._idle.remove(each)
                if each.channel.quiet and each.reader.idle:
                    return each
                each.channel.close()
        return await self._connect(decision, key)

    def give_back(self, upstream: Upstream) -> None:
        """Keep a connection whose answer is over for the next request."""
        if not upstream.used:
            self._remember(upstream)  # once: it costs as much as the request
        upstream.used = True
        upstream.idle_since = self._loop.time()
        self._idle.append(upstream)
        self._forget_old()

    def close(self) -> None:
        for each in self._idle:
            each.channel.close()
        self._idle.clear()

    def _forget_old(self) -> None:
        now = self._loop.time()
        while self._idle and (len(self._idle) > MOST_IDLE or now - self._idle[0].idle_since > self._patience.pooled_s):
            self._idle.pop(0).channel.close()

    async def _connect(self, decision: Decision, key: Key) -> Upstream:
        wire = await self._dialler.dial(decision, self._fence)
        if key[0] != "https":
            return Upstream(key, wire, wire.remote)
        try:
            secure = Secure(wire, self._context, server_name=decision.host, session=self._sessions.get(key))
            async with within(self._patience.head_s, 504, "tls_timeout", f"{decision.host} did not shake hands"):
                await secure.handshake()
        except BaseException:
            self._sessions.pop(key, None)
            wire.close()
            raise
        return Upstream(key, secure, wire.remote)

    def _remember(self, upstream: Upstream) -> None:
        if isinstance(upstream.channel, Secure) and (session := upstream.channel.session):
            self._sessions[upstream.key] = session
            if len(self._sessions) > _MOST_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
