"""Each row of the way out's list is shown to bite: without its protections what it tries gets through.

A row names the protections that must all be gone for that; each of them alone is enough. The rows about the empty
network namespace (addresses dialled directly, UDP, IPv6) are proved so in test_escapes.py.

    spelled   what is no plain name of a host is refused     screened   an address that a run may not reach is refused
    listed    what the routine does not list is refused      named      the TLS hello asks for the name of the connection
    tls       a tunnel carries TLS only
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest

from tickover.core.address import AddressKind, Judged
from tickover.core.network import Decision, Endpoint, NetworkPolicy, Opening, Route
from tickover.gateway import dns, http1, plane, target
from tickover.gateway.dial import Dialler, core_screen
from tickover.gateway.fence import Fence
from tickover.gateway.hello import Hello, HelloReader
from tickover.gateway.plane import Limits, Listeners, Passage, Plane, names_of
from tickover.gateway.target import Authority
from tickover.gateway.wire import Wire

PUBLIC = "1.1.1.1"
RESOLVED = {
    "127.0.0.1": "127.0.0.1", "2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "::1": "::1", "localhost": "127.0.0.1",
    "169.254.169.254": "169.254.169.254", "metadata.google.internal": "169.254.169.254",
}  # fmt: skip
ROWS: dict[str, frozenset[str]] = {
    target: frozenset(protections.split())
    for target, protections in {
        "127.0.0.1:PORT": "spelled listed screened",
        "2130706433:PORT": "spelled listed screened",
        "0x7f.1:PORT": "spelled listed screened",
        "[::1]:PORT": "spelled listed screened",
        "169.254.169.254:80": "spelled listed screened",
        "localhost:PORT@evil.test:PORT": "spelled listed",
        "localhost%00.evil.test:PORT": "spelled listed",
        "xn--loclhost-l1a:PORT": "listed",
        "*:PORT": "spelled listed",
        "LOCALHOST.evil.test:PORT": "listed",
        "evil-localhost:PORT": "listed",
        "tickover.internal:443": "listed",
        "metadata.google.internal:80": "listed screened",
        "localhost:1": "listed screened",
    }.items()
}
CASES = [
    pytest.param(row, gone, id=f"{row} without {' and '.join(sorted(gone)) or 'nothing'}")
    for row, needed in ROWS.items()
    for gone in sorted({frozenset[str](), needed, *(needed - {each} for each in needed)}, key=sorted)
]


@dataclass
class Way:
    """A proxy that lets `localhost` through to a listener, and what that listener was told."""

    proxy: int
    port: int
    plane: Plane
    arrived: bytearray = field(default_factory=bytearray)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class ToTheListener(Dialler):
    """Dials the listener in the place of every address: what it is asked to dial counts."""

    port = 0

    async def _first(self, judged: Sequence[Judged], port: int, fence: Fence) -> Wire:
        return await super()._first([Judged(IPv4Address("127.0.0.1"), AddressKind.LOOPBACK)], self.port, fence)


class EveryHello(HelloReader):
    """Takes whatever comes for a hello to localhost."""

    def feed(self, data: bytes) -> Hello:
        self.seen += data
        return Hello("localhost", (), ech=False)

    def split(self) -> tuple[bytes, bytes]:
        return bytes(self.seen), b""


def as_it_comes(text: str) -> Authority:
    host, _, port = text.rpartition(":")
    return Authority(host.strip("[]"), int(port))


async def resolve(host: str, _port: int) -> Sequence[str]:
    return [RESOLVED.get(host, PUBLIC)]


def let_through(host: str, port: int) -> Decision:
    return Decision(Route.TUNNEL, "listed", "everything is", host, port)


@asynccontextmanager
async def way(monkeypatch: pytest.MonkeyPatch, gone: frozenset[str]) -> AsyncIterator[Way]:
    """Build it without some protections."""
    if "spelled" in gone:
        for module in (http1, target):
            monkeypatch.setattr(module, "parse_authority", as_it_comes)
    if "named" in gone:
        monkeypatch.setattr(plane, "_hold_to_name", lambda hello, decision: None)
    if "tls" in gone:
        monkeypatch.setattr(plane, "HelloReader", EveryHello)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                found.arrived += data
                found.news.set()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    policy = NetworkPolicy((Opening(Endpoint.parse("localhost", (port,)), "test", private=True),), ())

    def unscreened(addresses: Sequence[str], _: Decision) -> Sequence[Judged]:
        return [Judged(ip_address(each), AddressKind.PUBLIC) for each in addresses]

    dialler = ToTheListener(resolve=resolve, screen=unscreened if "screened" in gone else core_screen)
    dialler.port = port
    listener = socket.create_server(("127.0.0.1", 0))
    passages: list[Passage] = []
    made = Plane(
        judge=let_through if "listed" in gone else policy.judge,
        allowed=(lambda _: True) if "listed" in gone else names_of(policy.names()),
        addresses=dns.FakeAddresses(IPv4Network("127.64.0.0/10")), fence=Fence(1.0, 1 << 40, clock=lambda: 0.0),
        tell=passages.append, dialler=dialler, limits=Limits(linger_s=0.1),
    )  # fmt: skip
    found = Way(listener.getsockname()[1], port, made)
    await made.open(Listeners(proxy=listener))
    try:
        yield found
    finally:
        await made.close()
        server.close()


async def connected(at: Way, asked: str) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", at.proxy)
    name = asked.replace("PORT", str(at.port))
    writer.write(f"CONNECT {name} HTTP/1.1\r\nhost: {name}\r\n\r\n".encode())
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60), reader, writer


@pytest.mark.parametrize(("row", "gone"), CASES)
async def test_a_name_of_the_list(monkeypatch: pytest.MonkeyPatch, row: str, gone: frozenset[str]) -> None:
    async with way(monkeypatch, gone) as at:
        said, _, writer = await connected(at, row)
        writer.close()
    assert (b" 200 " in said.split(b"\r\n")[0]) == (gone == ROWS[row]), said


def hello(name: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def hiding(hello: bytes) -> bytes:
    """Return a hello with one extension more: what may hide another name (ECH, RFC 9849)."""
    message = hello[9:]
    at = 35 + message[34]  # version, random, session
    at += 2 + int.from_bytes(message[at : at + 2])  # ciphers
    at += 1 + message[at]  # compression
    extensions = message[at + 2 :] + b"\xfe\x0d\x00\x04\x00\x01\x02\x03"
    message = message[:at] + len(extensions).to_bytes(2) + extensions
    message = hello[5:6] + len(message).to_bytes(3) + message
    return hello[:3] + len(message).to_bytes(2) + message


@pytest.mark.parametrize(
    ("said", "protection"),
    [
        (hello("evil.test"), "named"),
        (hiding(hello("localhost")), "named"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", "tls"),
    ],
    ids=["another name", "a hidden name", "no TLS"],
)
@pytest.mark.parametrize("without", [True, False])
async def test_what_a_tunnel_may_carry(
    monkeypatch: pytest.MonkeyPatch, said: bytes, protection: str, without: bool
) -> None:
    async with way(monkeypatch, frozenset({protection} if without else ())) as at:
        answer, reader, writer = await connected(at, "localhost:PORT")
        assert b" 200 " in answer
        writer.write(said)
        if without:
            await asyncio.wait_for(at.news.wait(), 60)
        else:
            assert await asyncio.wait_for(reader.read(), 60), "the refusal"
        writer.close()
    assert bool(at.arrived) == without


@pytest.mark.parametrize("without", [True, False])
async def test_a_name_that_is_not_listed_has_no_address(monkeypatch: pytest.MonkeyPatch, without: bool) -> None:
    query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\x04evil\x04test\x00" + struct.pack(">2H", 1, 1)
    async with way(monkeypatch, frozenset({"listed"} if without else ())) as at:
        answer = at.plane._name(query)
    assert answer is not None
    assert (struct.unpack(">H", answer[6:8])[0] == 1) == without
