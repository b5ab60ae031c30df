"""The data plane of one run: the listeners inside its namespace, and what becomes of each connection.

    dns        a name that is allowed gets a fake address
    transparent  whoever dials a fake address is let through to its name
    proxy      CONNECT and absolute-form requests, for clients that know a proxy

Each connection is judged by name and port (`deny`, `tunnel`, `inspect`), dialled once, held to the name in its hello,
and told of in one `Passage`. A listener is the identity: everything on it is this run's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from tickover.core.host import HostPattern
from tickover.core.network import Decision, Route
from tickover.gateway import dns
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.hello import (
    ACCESS_DENIED,
    INTERNAL_ERROR,
    UNRECOGNIZED_NAME,
    AnswerReader,
    Hello,
    HelloReader,
    NotTls,
    alert,
)
from tickover.gateway.http1 import Request, RequestReader, refusal_answer
from tickover.gateway.refusal import Refusal
from tickover.gateway.wire import Wire

_ALERTS = {403: ACCESS_DENIED, 421: UNRECOGNIZED_NAME}
_CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_TOLD_NAMES = 1000
_LOOPBACK, _LOCALHOST = "127.0.0.1", "localhost"
"""The one name that a sandbox finds without asking us: whoever dials it there means it here, if it is listed."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Sockets that listen inside the run's namespace. Plane.close closes them.

    Outside of one the listener is no identity: there the proxy has a password (Basic, RFC 7617, of whatever user).
    """

    udp_dns: socket.socket | None = None
    tcp_dns: socket.socket | None = None
    proxy: socket.socket | None = None
    transparent: tuple[socket.socket, ...] = ()
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run's traffic may take: connections at once; seconds for a hello or a head, and of silence."""

    connections: int = 256
    hello_s: float = 10.0
    idle_s: float = 300.0
    linger_s: float = 2.0


@dataclass(slots=True)
class Passage:
    """What became of a connection or a name. `reason` is stable, `says` is for people; bytes as the run sees them."""

    entry: str
    host: str = ""
    port: int = 0
    route: Route = Route.DENY
    reason: str = ""
    says: str = ""
    address: str = ""
    sent: int = 0
    received: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Arrival:
    """A connection for whoever reads requests: `client` is to be read on from what is in `first`.

    `hello` is set if the client speaks TLS (`first` begins with it then); `request` and `reader` if it asked a proxy in
    the absolute form, its body being read from that reader.
    """

    decision: Decision
    client: Wire
    first: bytes
    passage: Passage
    hello: Hello | None = None
    request: Request | None = None
    reader: RequestReader | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Visit:
    """A client, the language it speaks (its first bytes, none yet), and what is told of it."""

    client: Wire
    passage: Passage
    said: bytes = b""


Inspect = Callable[[Arrival], Awaitable[None]]


async def inspect_nothing(arrival: Arrival) -> None:
    """Refuse what should be inspected: the default, so that nothing passes unread by mistake."""
    raise Refusal(501, "not_inspectable", f"requests to {arrival.decision.host} cannot be read")


class Plane:
    """A run's traffic. `judge` decides by name and port, `allowed` which names exist, `tell` hears of each passage."""

    def __init__(
        self,
        *,
        judge: Callable[[str, int], Decision],
        allowed: Callable[[str], bool],
        addresses: dns.FakeAddresses,
        fence: Fence,
        tell: Callable[[Passage], None],
        dialler: Dialler | None = None,
        inspect: Inspect = inspect_nothing,
        limits: Limits | None = None,
    ) -> None:
        self._judge = judge
        self._allowed = allowed
        self._addresses = addresses
        self._fence = fence
        self._tell = tell
        self._dialler = dialler or Dialler()
        self._inspect = inspect
        self._limits = limits or Limits()
        self._password = ""
        self._servers: list[asyncio.Server] = []
        self._datagrams: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._told: set[tuple[str, str]] = set()

    async def open(self, listeners: Listeners) -> None:
        """Begin to serve."""
        loop = asyncio.get_running_loop()
        self._password = listeners.password
        if listeners.udp_dns:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._name), sock=listeners.udp_dns)
            self._datagrams = transport
        if listeners.tcp_dns:
            await self._listen(listeners.tcp_dns, self._names)
        if listeners.proxy:
            await self._listen(listeners.proxy, self._proxied)
        for listener in listeners.transparent:
            await self._listen(listener, self._dialled)
        self._look_at_the_clock()

    async def close(self, reason: str = "closed") -> None:
        """Break off everything, at once, and wait until nothing of it runs any more."""
        self._fence.cut(reason)
        if self._watch:
            self._watch.cancel()
        if self._datagrams:
            self._datagrams.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)  # transports say goodbye in the next turn of the loop

    def _look_at_the_clock(self) -> None:
        if self._fence.passes():
            wait = min(self._fence.remaining(), 1.0)  # the clock of the lease goes on while the loop's may not
            self._watch = asyncio.get_running_loop().call_later(wait, self._look_at_the_clock)
        else:
            for task in self._tasks:
                task.cancel()

    async def _listen(self, listener: socket.socket, serve: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
        def arrived(wire: Wire) -> None:
            if len(self._tasks) >= self._limits.connections:
                self._tell(Passage("connection", reason="too_many_connections", says="the run has too many open"))
                wire.reset()
                return
            task = asyncio.get_running_loop().create_task(serve(wire))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: Wire(self._fence, arrived), sock=listener))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a connection. If our own code broke on it, the run's traffic ends with it."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._fence.cut("gateway_error")
            context = {"message": "the gateway broke on a connection", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    # Names.

    def _name(self, query: bytes) -> bytes | None:
        if not self._fence.passes(len(query)):
            return None
        reply = dns.answer(query, lambda name: self._addresses.address_of(name) if self._allowed(name) else None)
        known = (reply.name, reply.outcome.value)
        if known not in self._told and len(self._told) < _TOLD_NAMES:
            self._told.add(known)
            route = Route.TUNNEL if reply.outcome in {dns.Outcome.ADDRESS, dns.Outcome.EMPTY} else Route.DENY
            self._tell(Passage("dns", host=reply.name, route=route, reason=reply.outcome.value))
        return reply.wire

    async def _names(self, wire: Wire) -> None:
        frames = dns.Frames()
        with contextlib.suppress(TimeoutError, dns.MalformedError):
            while data := await self._read(wire):
                for query in frames.feed(data):
                    if (answer := self._name(query)) is not None:
                        wire.write(dns.frame(answer))
                await wire.drain()
        wire.close()

    # Connections.

    async def _dialled(self, client: Wire) -> None:
        """Serve whoever has dialled a fake address."""
        address, port = client.local
        name = self._addresses.name_of(address) or (_LOCALHOST if address == _LOOPBACK else address)
        passage = Passage("transparent", host=name, port=port)
        await self._account(_Visit(client, passage), self._serve_dialled)

    async def _serve_dialled(self, visit: _Visit) -> None:
        visit.said = await self._read(visit.client)  # who is refused is told so in the language it speaks
        await self._through(self._decide(visit.passage), visit)

    async def _proxied(self, client: Wire) -> None:
        """Serve a client of the proxy: one tunnel, or one connection's absolute-form requests."""
        await self._account(_Visit(client, Passage("proxy")), self._serve_proxied)

    async def _serve_proxied(self, visit: _Visit) -> None:
        client, passage = visit.client, visit.passage
        reader = RequestReader(frozenset({"absolute", "authority"}))
        async with asyncio.timeout(self._limits.hello_s):
            while (event := reader.next_event()) is None:
                data = await client.read()
                if not client.received:
                    passage.reason = "unused"
                    return
                reader.receive(data)
        request = cast("Request", event)
        passage.host, passage.port = request.host.at(request.target.default_port)
        if self._password and not _says(self._password, request):
            raise Refusal(407, "proxy_password", "this proxy is not for everybody on this machine")
        decision = self._decide(passage)
        if request.method != "CONNECT":
            await self._inspect(Arrival(decision, client, b"", passage, request=request, reader=reader))
            return
        tunnel = decision.route is Route.TUNNEL
        upstream = await self._dialler.dial(decision, self._fence) if tunnel else None
        client.write(_CONNECTED)
        try:
            visit.said = reader.take_rest() or await self._read(client)
            await self._through(decision, visit, upstream)
        finally:
            if upstream:
                upstream.close()

    def _decide(self, passage: Passage) -> Decision:
        decision = self._judge(passage.host, passage.port)
        passage.host, passage.route = decision.host or passage.host, decision.route
        passage.reason, passage.says = decision.code, decision.says
        if not decision.allowed:
            raise Refusal(403, decision.code, decision.says)
        return decision

    async def _through(self, decision: Decision, visit: _Visit, upstream: Wire | None = None) -> None:
        """Let a client through that has begun to speak: by its hello into a tunnel, or to the inspector."""
        reader = HelloReader()
        hello = await self._hello(reader, visit.client, visit.said)
        inspected = decision.route is Route.INSPECT
        if isinstance(hello, NotTls):
            if not inspected or hello.reason != "not_tls":
                raise Refusal(400, hello.reason, "this is no TLS hello that can be let through")
            await self._inspect(Arrival(decision, visit.client, bytes(reader.seen), visit.passage))
            return
        _hold_to_name(hello, decision)
        if inspected:
            await self._inspect(Arrival(decision, visit.client, bytes(reader.seen), visit.passage, hello))
            return
        upstream = upstream or await self._dialler.dial(decision, self._fence)
        try:
            await self._tunnel(decision, visit, upstream, reader)
        finally:
            visit.passage.received = upstream.received
            upstream.close()

    async def _tunnel(self, decision: Decision, visit: _Visit, upstream: Wire, reader: HelloReader) -> None:
        visit.passage.address = upstream.remote
        _pass_on(reader, visit.client, upstream)
        await self._until_answered(decision, visit.client, upstream)
        if not await visit.client.splice(upstream, idle_s=self._limits.idle_s):
            visit.passage.reason, visit.passage.says = "idle", f"nothing passed for {self._limits.idle_s:g} s"

    async def _hello(self, reader: HelloReader, client: Wire, first: bytes) -> Hello | NotTls:
        async with asyncio.timeout(self._limits.hello_s):
            hello = reader.feed(first)
            while hello is None:
                data = await client.read()
                if not data:
                    return NotTls("truncated")
                hello = reader.feed(data)
            return hello

    async def _until_answered(self, decision: Decision, client: Wire, upstream: Wire) -> None:
        """Pass on what the server answers first; if it asks for a second hello, hold that one to the name too."""
        answers = AnswerReader()
        async with asyncio.timeout(self._limits.hello_s):
            answer = None
            while answer is None:
                data = await upstream.read()
                if not data:
                    raise Refusal(502, "upstream_closed", f"{decision.host} closed the connection without an answer")
                client.write(data)
                answer = answers.feed(data)
        if isinstance(answer, NotTls) or not answer.retry:
            return
        again = HelloReader(again=True)
        hello = await self._hello(again, client, b"")
        if isinstance(hello, NotTls):
            raise Refusal(400, hello.reason, "the second TLS hello cannot be read")
        _hold_to_name(hello, decision)
        _pass_on(again, client, upstream)

    async def _read(self, client: Wire) -> bytes:
        async with asyncio.timeout(self._limits.hello_s):
            return await client.read()

    # What every connection ends with.

    async def _account(self, visit: _Visit, serve: Callable[[_Visit], Coroutine[Any, Any, None]]) -> None:
        """Serve; answer a refusal in the client's own language; tell of the passage in any case."""
        passage = visit.passage
        begun = asyncio.get_running_loop().time()
        refused = False
        try:
            try:
                await serve(visit)
            except TimeoutError as error:
                raise Refusal(408, "slow_peer", f"nothing useful within {self._limits.hello_s:g} s") from error
        except Refusal as refusal:
            passage.route, passage.reason, passage.says = Route.DENY, refusal.reason, refusal.detail
            refused = self._fence.reason is None
            await self._refuse(visit, refusal)
        finally:
            if self._fence.reason and not refused:
                passage.reason, passage.says = self._fence.reason, "the run's traffic was cut off"
            visit.client.close()
            passage.sent = visit.client.received
            passage.seconds = asyncio.get_running_loop().time() - begun
            self._tell(passage)

    async def _refuse(self, visit: _Visit, refusal: Refusal) -> None:
        """Answer, and read on for a moment: closing on unread bytes would take the answer back."""
        if visit.said[:1] == b"\x16":
            visit.client.write(alert(_ALERTS.get(refusal.status, INTERNAL_ERROR)))
        else:
            visit.client.write(refusal_answer(refusal))
        visit.client.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_s):
                while await visit.client.read():
                    pass


def _pass_on(reader: HelloReader, client: Wire, upstream: Wire) -> None:
    """Pass on a hello that was judged, and nothing that came after it."""
    hello, rest = reader.split()
    upstream.write(hello)
    client.unread(rest)


def _says(password: str, request: Request) -> bool:
    """Say whether a request to the proxy brings the password, in a time that does not depend on it."""
    scheme, _, pair = request.proxy_authorization.partition(" ")
    try:
        _, _, said = base64.b64decode(pair, validate=True).partition(b":")
    except ValueError:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(said, password.encode())


def _hold_to_name(hello: Hello, decision: Decision) -> None:
    if hello.name != decision.host:
        raise Refusal(421, "sni", f"the TLS hello asks for {hello.name or 'no name'}, not for {decision.host}")
    if hello.ech and decision.route is Route.TUNNEL:
        raise Refusal(421, "ech", "the TLS hello may hide another name (ECH)")


class _Datagrams(asyncio.DatagramProtocol):
    """Names over UDP."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._transport and (answer := self._answer(data)) is not None:
            self._transport.sendto(answer, addr)


def names_of(patterns: Iterable[HostPattern]) -> Callable[[str], bool]:
    """Return which names exist for a run: those that one of its patterns covers."""
    every = tuple(patterns)
    return lambda name: any(pattern.covers(name) for pattern in every)
