"""A run's traffic on loopback: real clients on fake addresses, real sockets upstream, and everything that is refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tickover.core.network import Endpoint, Governed, NetworkPolicy, Opening, Route
from tickover.gateway import dns
from tickover.gateway.certificates import RunAuthority
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.hello import ACCESS_DENIED, INTERNAL_ERROR, UNRECOGNIZED_NAME, alert
from tickover.gateway.plane import Arrival, Limits, Listeners, Passage, Plane, names_of

HOST = "api.example.com"
AUTHORITY = RunAuthority("double", now=datetime.now(UTC))
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A run's gateway with an upstream for HOST, both on loopback."""

    plane: Plane
    fence: Fence
    fake: str
    port: int
    proxy: int
    dns: int
    tcp_dns: int
    now: float = 0.0
    passages: list[Passage] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    at_upstream: bytearray = field(default_factory=bytearray)
    arrivals: int = 0
    resolved: list[str] = field(default_factory=list)

    async def passage(self, entry: str = "", count: int = 1) -> Passage:
        """Wait until so many passages (of an entry) have been told; return the last."""
        async with asyncio.timeout(60):
            while (
                len(found := [each for each in self.passages if entry in {each.entry, ""} and each.entry != "dns"])
                < count
            ):
                self.news.clear()
                await self.news.wait()
        return found[-1]


async def hello_world(site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError):
        site.at_upstream += await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        await writer.drain()


async def echo(site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        site.at_upstream += data
        writer.write(data)
        await writer.drain()


async def silent(site: Site, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        site.at_upstream += data


async def asks_again(site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    site.at_upstream += await reader.read(65536)
    body = b"\x03\x03" + RETRY + b"\0\x13\x01\0"
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    writer.write(b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message)
    while data := await reader.read(65536):
        site.at_upstream += data
        writer.write(b"\x17\x03\x03\0\x02ok")


@asynccontextmanager
async def site(
    *,
    upstream: Callable[[Site, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = hello_world,
    tls: bool = True,
    private: bool = True,
    inspect: bool = False,
    inspector: Callable[[Arrival], Awaitable[None]] | None = None,
    limits: Limits | None = None,
    resolve: Callable[[str, int], Awaitable[Sequence[str]]] | None = None,
    most_bytes: int = 1 << 40,
    connect_s: float = 5.0,
) -> AsyncIterator[Site]:
    addresses = dns.FakeAddresses(IPv4Network("127.64.0.0/10"))
    fake = str(addresses.address_of(HOST))
    at_upstream = socket.socket()
    at_upstream.bind(("127.0.0.1", 0))
    port = int(at_upstream.getsockname()[1])
    transparent = socket.create_server((fake, port))
    proxy = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    tcp = socket.create_server(("127.0.0.1", 0))
    endpoint = Endpoint.parse(HOST, (port,))
    governed = (Governed(endpoint=endpoint, why="test"),) if inspect else ()
    policy = NetworkPolicy((Opening(endpoint, "test", inspect=inspect, private=private),), governed)

    async def loopback(host: str, _port: int) -> Sequence[str]:
        found.resolved.append(host)
        return ["127.0.0.1"]

    def tell(passage: Passage) -> None:
        found.passages.append(passage)
        found.news.set()

    fence = Fence(1000.0, most_bytes, clock=lambda: found.now)
    plane = Plane(
        judge=policy.judge, allowed=names_of(policy.names()), addresses=addresses, fence=fence, tell=tell,
        dialler=Dialler(resolve=resolve or loopback, connect_s=connect_s), limits=limits or Limits(linger_s=0.5),
        **({"inspect": inspector} if inspector else {}),
    )  # fmt: skip
    found = Site(plane, fence, fake, port, proxy.getsockname()[1], udp.getsockname()[1], tcp.getsockname()[1])

    async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.arrivals += 1
        with suppress(ConnectionError):
            if upstream:
                await upstream(found, reader, writer)
        writer.close()

    server = None
    if upstream:
        context = AUTHORITY.context(HOST) if tls else None
        server = await asyncio.start_server(arrived, sock=at_upstream, ssl=context)
    await plane.open(Listeners(udp, tcp, proxy, (transparent,)))
    try:
        yield found
    finally:
        await plane.close()
        if server:
            server.close()
        at_upstream.close()


async def curl(*arguments: str, tmp_path: Path) -> tuple[int, bytes, str]:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(AUTHORITY.pem)
    process = await asyncio.create_subprocess_exec(
        "curl", "-q", "-sS", "-i", "--max-time", "60", "--noproxy", "", "--cacert", str(trusted), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out, err.decode()


def hello(name: str = HOST) -> bytes:
    context = ssl.create_default_context()
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


async def say(site: Site, data: bytes, *, to: tuple[str, int] | None = None) -> bytes:
    """Send bytes as a client would; return all that comes until the end."""
    reader, writer = await asyncio.open_connection(*(to or (site.fake, site.port)))
    writer.write(data)
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b"reset"
        finally:
            writer.close()


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


async def test_curl_gets_through_transparently(tmp_path: Path) -> None:
    async with site() as run:
        code, out, err = await curl(
            "--resolve", f"{HOST}:{run.port}:{run.fake}", f"https://{HOST}:{run.port}/x", tmp_path=tmp_path
        )
        assert (code, out[-2:]) == (0, b"ok"), err
        passage = await run.passage("transparent")
    assert (passage.host, passage.port, passage.route, passage.reason) == (HOST, run.port, Route.TUNNEL, "listed")
    assert passage.address == "127.0.0.1"
    assert passage.sent > 200
    assert passage.received > 500
    assert b"GET /x" in run.at_upstream
    assert run.resolved == [HOST]


async def test_curl_gets_through_by_the_proxy(tmp_path: Path) -> None:
    async with site() as run:
        code, out, err = await curl(
            "-x", f"http://127.0.0.1:{run.proxy}", f"https://{HOST}:{run.port}/", tmp_path=tmp_path
        )
        assert (code, out[-2:]) == (0, b"ok"), err
        assert (await run.passage("proxy")).route is Route.TUNNEL


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("evil.test:443", "not_listed"),
        (f"x{HOST}:443", "not_listed"),
        (f"{HOST}.evil.test:443", "not_listed"),
        ("example.com:443", "not_listed"),
        (f"{HOST}:22", "port"),
        ("tickover.internal:443", "reserved"),
        ("169.254.169.254:80", "bad_host"),
        ("2130706433:80", "bad_host"),
        ("[::1]:443", "bad_host"),
    ],
)
async def test_the_proxy_says_why_it_denies(target: str, reason: str) -> None:
    async with site() as run:
        answer = await say(run, connect(target), to=("127.0.0.1", run.proxy))
        passage = await run.passage("proxy")
    assert f"x-tickover-deny: {reason}\r\n".encode() in answer
    assert (passage.route, passage.reason) == (Route.DENY, reason)
    assert not run.resolved
    assert not run.arrivals


async def test_another_port_of_a_name_and_an_address_without_a_name_are_denied() -> None:
    async with site() as run:
        other = socket.create_server((run.fake, 0))
        nameless = socket.create_server(("127.64.0.1", 0))
        await run.plane.open(Listeners(transparent=(other, nameless)))
        assert await say(run, hello(), to=other.getsockname()) == alert(ACCESS_DENIED)
        assert (await run.passage()).reason == "port"
        assert b"x-tickover-deny: bad_host" in await say(run, b"GET / HTTP/1.1\r\n\r\n", to=nameless.getsockname())
    assert not run.arrivals


NAMES = {
    "another name": (hello("evil.test"), alert(UNRECOGNIZED_NAME), "sni"),
    "a name below": (hello(f"x.{HOST}"), alert(UNRECOGNIZED_NAME), "sni"),
    "http": (b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", b"HTTP/1.1 400 ", "not_tls"),
    "ssh": (b"SSH-2.0-x\r\n", b"HTTP/1.1 400 ", "not_tls"),
    "half a hello": (hello()[:100], alert(INTERNAL_ERROR), "slow_peer"),
    "nothing": (b"", b"HTTP/1.1 408 ", "slow_peer"),
}


@pytest.mark.parametrize(("said", "answer", "reason"), NAMES.values(), ids=NAMES)
async def test_a_tunnel_is_for_tls_to_its_own_name(said: bytes, answer: bytes, reason: str) -> None:
    for by_proxy in (False, True):
        async with site(limits=Limits(hello_s=0.3 if reason == "slow_peer" else 20, linger_s=0.2)) as run:
            to = ("127.0.0.1", run.proxy) if by_proxy else None
            found = await say(run, (connect(f"{HOST}:{run.port}") if by_proxy else b"") + said, to=to)
            passage = await run.passage()
        assert answer in found
        assert passage.reason == reason
        assert not run.at_upstream


async def test_a_second_hello_is_held_to_the_name_too() -> None:
    first = hello()
    evil = first.replace(HOST.encode(), b"evil.attacker.x")
    assert len(evil) == len(first)
    async with site(upstream=asks_again, tls=False) as run:
        reader, writer = await asyncio.open_connection(run.fake, run.port)
        writer.write(first + evil)  # the hostile one does not even wait
        found = await reader.read()
        assert found.endswith(alert(UNRECOGNIZED_NAME))
        assert (await run.passage()).reason == "sni"
        assert bytes(run.at_upstream) == first
        writer.close()
        reader, writer = await asyncio.open_connection(run.fake, run.port)
        writer.write(first)
        assert (await reader.read(100))[:1] == b"\x16"
        writer.write(b"\x14\x03\x03\0\x01\x01" + first)
        assert await reader.read(100) == b"\x17\x03\x03\0\x02ok"
        writer.close()


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["127.0.0.1"], "address.loopback"),
        (["10.0.0.1"], "address.private"),
        (["169.254.169.254"], "address.metadata"),
        (["64:ff9b::7f00:1"], "address.loopback"),
        (["::ffff:10.0.0.1"], "address.private"),
        (["93.184.216.34", "127.0.0.1"], "address.loopback"),
        ([], "address.none"),
    ],
)
async def test_an_allowed_name_that_leads_inside_is_refused(addresses: list[str], reason: str) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    async with site(private=False, resolve=resolve) as run:
        answer = await say(run, connect(f"{HOST}:{run.port}"), to=("127.0.0.1", run.proxy))
        assert f"403 Forbidden\r\nx-tickover-deny: {reason}\r\n".encode() in answer
        assert (await run.passage()).reason == reason
    assert not run.arrivals


async def test_a_name_is_resolved_once_and_what_was_judged_is_dialled(tmp_path: Path) -> None:
    """A name server that answers well first and badly next is not asked again."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    async with site(resolve=resolve) as run:
        code, *_ = await curl("-x", f"http://127.0.0.1:{run.proxy}", f"https://{HOST}:{run.port}/", tmp_path=tmp_path)
        assert code == 0
        answer = await say(run, connect(f"{HOST}:{run.port}"), to=("127.0.0.1", run.proxy))
        assert b"address.metadata" in answer
    assert run.arrivals == 1


async def test_dead_upstreams_are_told_apart() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    for resolve, code, reason in (
        (never, 504, "connect_timeout"), (unknown, 502, "unresolvable"), (None, 502, "connect_failed"),
    ):  # fmt: skip
        async with site(upstream=None, resolve=resolve, connect_s=0.3 if resolve is never else 20) as run:
            answer = await say(run, connect(f"{HOST}:{run.port}"), to=("127.0.0.1", run.proxy))
            assert answer.startswith(b"HTTP/1.1 %d " % code)
            assert f"x-tickover-deny: {reason}\r\n".encode() in answer
            assert await say(run, hello()) == alert(INTERNAL_ERROR)
            assert (await run.passage(count=2)).reason == reason


async def test_an_upstream_that_never_answers_is_given_up() -> None:
    async with site(upstream=silent, tls=False, limits=Limits(hello_s=0.3, linger_s=0.1)) as run:
        assert await say(run, hello()) == alert(INTERNAL_ERROR)
        assert (await run.passage()).reason == "slow_peer"
        assert bytes(run.at_upstream)[:1] == b"\x16"


async def test_silence_ends_a_tunnel() -> None:
    async with site(upstream=echo, tls=False, limits=Limits(idle_s=0.2)) as run:
        assert await say(run, hello()) in {hello_back(run), b"reset"}
        assert (await run.passage()).reason == "idle"


def hello_back(run: Site) -> bytes:
    return bytes(run.at_upstream)


async def test_half_closed_connections_get_their_rest() -> None:
    async with site(upstream=echo, tls=False) as run:
        reader, writer = await asyncio.open_connection(run.fake, run.port)
        first = hello()
        writer.write(first)
        assert await reader.readexactly(len(first)) == first
        body = bytes(range(256)) * 20_000
        writer.write(body)
        writer.write_eof()
        assert await reader.read() == body
        writer.close()
        passage = await run.passage()
    assert passage.sent == passage.received == len(first) + len(body)


async def test_too_many_connections_are_reset() -> None:
    async with site(limits=Limits(connections=2)) as run:
        held = [await asyncio.open_connection(run.fake, run.port) for _ in range(2)]
        assert await say(run, hello()) == b"reset"
        assert run.passages[-1].reason == "too_many_connections"
        for _, writer in held:
            writer.close()


async def tunnel(run: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(run.fake, run.port)
    first = hello()
    writer.write(first)
    await reader.readexactly(len(first))
    return reader, writer


async def test_nothing_passes_after_the_lease() -> None:
    """The clock jumps as it does for a process that was stopped: the bytes are there before any timer could run."""
    async with site(upstream=echo, tls=False) as run:
        reader, writer = await tunnel(run)
        before = bytes(run.at_upstream)
        run.now = 1000.0
        writer.write(b"late")
        with pytest.raises(ConnectionError):
            await reader.readexactly(4)
        writer.close()
        assert (await run.passage()).reason == "lease_expired"
        assert bytes(run.at_upstream) == before
        assert not run.fence.renew(2000.0)
        assert await say(run, hello()) == b"reset"


async def test_a_quiet_connection_ends_with_the_lease() -> None:
    async with site(upstream=echo, tls=False) as run:
        reader, writer = await tunnel(run)
        run.now = 1000.0
        async with asyncio.timeout(60):
            with pytest.raises(ConnectionError):
                await reader.readexactly(1)
        writer.close()


async def test_a_renewed_lease_goes_on() -> None:
    async with site(upstream=echo, tls=False) as run:
        reader, writer = await tunnel(run)
        run.now = 999.0
        assert run.fence.renew(2000.0)
        run.now = 1500.0
        writer.write(b"in time")
        assert await reader.readexactly(7) == b"in time"
        writer.close()


async def test_a_run_has_so_many_bytes() -> None:
    async with site(upstream=echo, tls=False, most_bytes=20_000) as run:
        reader, writer = await tunnel(run)
        writer.write(bytes(30_000))
        with pytest.raises(ConnectionError):
            await reader.readexactly(30_000)
        writer.close()
        assert (await run.passage()).reason == "byte_limit"


async def test_closing_breaks_off_and_leaves_nothing() -> None:
    async with site(upstream=echo, tls=False) as run:
        reader, writer = await tunnel(run)
        await run.plane.close("cancelled")
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        writer.close()
        assert run.passages[-1].reason == "cancelled"
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(run.fake, run.port)


@pytest.mark.parametrize("said", ["hello", "plain", "absolute", "connect"])
async def test_what_is_inspected_arrives_at_the_inspector_and_nowhere_else(said: str) -> None:
    seen: list[Arrival] = []

    async def inspector(arrival: Arrival) -> None:
        seen.append(arrival)
        arrival.client.write(b"inspected")

    async with site(inspect=True, inspector=inspector) as run:
        proxy = ("127.0.0.1", run.proxy)
        if said == "absolute":
            url = f"http://{HOST}:{run.port}/x"
            assert (
                await say(run, f"GET {url} HTTP/1.1\r\nHost: {HOST}:{run.port}\r\n\r\n".encode(), to=proxy)
                == b"inspected"
            )
            assert seen[0].request
            assert seen[0].request.target.path == "/x"
        elif said == "plain":
            assert await say(run, b"GET / HTTP/1.1\r\n") == b"inspected"
            assert (seen[0].first, seen[0].hello) == (b"GET / HTTP/1.1\r\n", None)
        else:
            first = hello()
            start = connect(f"{HOST}:{run.port}") if said == "connect" else b""
            assert (await say(run, start + first, to=proxy if start else None)).endswith(b"inspected")
            assert seen[0].first == first
            assert seen[0].hello
            assert seen[0].hello.name == HOST
        assert (await run.passage()).route is Route.INSPECT
    assert not run.arrivals


async def test_without_an_inspector_nothing_passes_unread() -> None:
    async with site(inspect=True) as run:
        assert b"x-tickover-deny: not_inspectable" in await say(run, b"GET / HTTP/1.1\r\n\r\n")
        assert await say(run, hello("evil.test")) == alert(UNRECOGNIZED_NAME)
    assert not run.arrivals


def query(name: str) -> bytes:
    wire = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    return b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + wire + b"\0\x01\0\x01"


async def test_names_are_answered_over_udp_and_tcp() -> None:
    async with site() as run:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("127.0.0.1", run.dns))
            async with asyncio.timeout(60):
                await loop.sock_sendall(client, query(HOST))
                assert socket.inet_ntoa((await loop.sock_recv(client, 512))[-4:]) == run.fake
                await loop.sock_sendall(client, query("evil.test"))
                assert (await loop.sock_recv(client, 512))[3] & 15 == 3
        reader, writer = await asyncio.open_connection("127.0.0.1", run.tcp_dns)
        writer.write(dns.frame(query(HOST)) * 2)
        async with asyncio.timeout(60):
            for _ in range(2):
                length = int.from_bytes(await reader.readexactly(2), "big")
                assert socket.inet_ntoa((await reader.readexactly(length))[-4:]) == run.fake
            writer.write(b"\0\0")
            assert await reader.read() == b""
        writer.close()
    told = [(each.host, each.reason) for each in run.passages if each.entry == "dns"]
    assert told == [(HOST, "address"), ("evil.test", "no_name")]


async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    """Closing on what was not read would reset the connection, and the reason with it."""
    async with site() as run:
        reader, writer = await asyncio.open_connection("127.0.0.1", run.proxy)
        writer.write(connect("evil.test:443") + bytes(3_000_000))
        answer = await reader.read()
        assert b"x-tickover-deny: not_listed" in answer
        assert answer.endswith(b"}\n")
        writer.close()


async def test_a_fault_of_ours_ends_the_runs_traffic() -> None:
    async def broken(_arrival: Arrival) -> None:
        raise ZeroDivisionError

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context.get("exception")))
    async with site(inspect=True, inspector=broken) as run:
        await say(run, b"GET / HTTP/1.1\r\n\r\n")
        assert await say(run, hello()) == b"reset"
        assert run.fence.reason == "gateway_error"
    assert [type(each) for each in faults] == [ZeroDivisionError]
