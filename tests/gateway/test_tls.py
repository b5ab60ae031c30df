"""The bricks together: curl's TLS is ended by us, its request read, written anew to an upstream, the answer scrubbed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tickover.gateway.certificates import RunAuthority, upstream_context
from tickover.gateway.fence import Fence, boot_time
from tickover.gateway.hello import HelloReader
from tickover.gateway.http1 import (
    BodyWriter,
    Data,
    End,
    Request,
    RequestReader,
    Response,
    ResponseReader,
    request_head,
    response_head,
)
from tickover.gateway.refusal import Refusal
from tickover.gateway.scrub import Scrubber
from tickover.gateway.tls import Secure
from tickover.gateway.wire import Wire

HOST = "api.example.com"
OURS = RunAuthority("run", now=datetime.now(UTC))
DOUBLE = RunAuthority("double", now=datetime.now(UTC))
SECRET = b"xoxb-1234567890-abcDEF"


@asynccontextmanager
async def listening(serve: Callable[[Wire], Coroutine[Any, Any, None]]) -> AsyncIterator[int]:
    fence = Fence(boot_time() + 60, 1 << 40)
    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(
        lambda: Wire(fence, lambda wire: tasks.append(loop.create_task(serve(wire)))), sock=listener
    )
    yield listener.getsockname()[1]
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    fence.cut("over")
    server.close()


async def dial(port: int) -> Wire:
    fence = Fence(boot_time() + 60, 1 << 40)
    _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire(fence), "127.0.0.1", port)
    return wire


async def curl(*arguments: str, authority: RunAuthority, tmp_path: Path, data: bytes = b"") -> tuple[int, bytes]:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    process = await asyncio.create_subprocess_exec(
        "curl", "-q", "-sS", "--max-time", "60", "--noproxy", "*", "--cacert", str(tmp_path / "ca.pem"), *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate(data)
    return process.returncode or 0, out


async def judged(wire: Wire) -> bytes:
    reader = HelloReader()
    while reader.feed(await wire.read()) is None:
        pass
    return bytes(reader.seen)


async def test_the_bricks_make_an_inspecting_proxy(tmp_path: Path) -> None:
    upstream_saw: list[bytes] = []

    async def double(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readuntil(b"0\r\n\r\n")
        upstream_saw.append(head + body)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (b"you said " + SECRET[:7], SECRET[7:] + b" and " + SECRET.hex().encode()):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def inspect(wire: Wire) -> None:
        client = Secure(wire, OURS.context(HOST), first=await judged(wire))
        await client.handshake()
        requests = RequestReader(frozenset({"origin"}))
        upstream = Secure(await dial(upstream_port), upstream_context(DOUBLE.pem), server_name=HOST)
        await upstream.handshake()
        body: BodyWriter | None = None
        while not isinstance(event := requests.next_event(), End):
            if isinstance(event, Request):
                fields = event.fields.having("Authorization", "Bearer " + SECRET.decode())
                upstream.write(request_head(event.method, event.target.path, HOST, fields, event.framing))
                body = BodyWriter(event.framing)
            elif isinstance(event, Data) and body:
                upstream.write(body.data(event.data))
            else:
                requests.receive(await client.read())
        assert body
        upstream.write(body.end())
        answers, scrubber = ResponseReader(), Scrubber([SECRET])
        answers.expect("POST")
        while not isinstance(answer := answers.next_event(), End):
            if isinstance(answer, Response):
                client.write(response_head(answer.status, answer.fields, answer.framing, keep_alive=False))
                body = BodyWriter(answer.framing)
            elif isinstance(answer, Data):
                client.write(body.data(scrubber.feed(answer.data)))
            else:
                answers.receive(await upstream.read())
        client.write(body.data(scrubber.finish()) + body.end())
        upstream.close()
        client.close()

    server = await asyncio.start_server(double, "127.0.0.1", 0, ssl=DOUBLE.context(HOST))
    upstream_port = server.sockets[0].getsockname()[1]
    async with listening(inspect) as port:
        code, out = await curl(
            "--resolve", f"{HOST}:{port}:127.0.0.1", "-H", "Authorization: Bearer mine", "-H", "Transfer-Encoding: chunked",
            "--data-binary", "@-", f"https://{HOST}:{port}/v1?x=y", authority=OURS, tmp_path=tmp_path, data=b"hi",
        )  # fmt: skip
    server.close()
    assert code == 0
    assert out == b"you said " + b"*" * len(SECRET) + b" and " + b"*" * 2 * len(SECRET)
    assert upstream_saw[0].startswith(b"POST /v1?x=y HTTP/1.1\r\nhost: api.example.com\r\n")
    assert upstream_saw[0].lower().count(b"authorization") == 1
    assert b"Bearer " + SECRET in upstream_saw[0]
    assert upstream_saw[0].endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


async def test_an_upstream_with_a_wrong_certificate_is_refused() -> None:
    async def nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    for authority, name in ((OURS, HOST), (DOUBLE, "evil.test")):
        server = await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=authority.context(name))
        wire = await dial(server.sockets[0].getsockname()[1])
        with pytest.raises(Refusal, match="tls_certificate") as caught:
            await Secure(wire, upstream_context(DOUBLE.pem), server_name=HOST).handshake()
        assert caught.value.status == 502
        wire.close()
        server.close()


@pytest.mark.parametrize(("said", "reason"), [(b"HTTP/1.1 400 Bad\r\n\r\n", "tls_handshake"), (b"", "truncated")])
async def test_an_upstream_without_tls_is_refused(said: bytes, reason: str) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    wire = await dial(server.sockets[0].getsockname()[1])
    with pytest.raises(Refusal, match=reason):
        await Secure(wire, upstream_context(DOUBLE.pem), server_name=HOST).handshake()
    wire.close()
    server.close()


@pytest.mark.parametrize("politely", [True, False])
async def test_an_end_that_was_not_announced_is_told_apart(politely: bool) -> None:
    ends: list[bool] = []

    async def serve(wire: Wire) -> None:
        secure = Secure(wire, DOUBLE.context(HOST))
        await secure.handshake()
        secure.write(b"some")
        await secure.drain()
        secure.close() if politely else wire.close()

    async with listening(serve) as port:
        wire = await dial(port)
        secure = Secure(wire, upstream_context(DOUBLE.pem), server_name=HOST)
        await secure.handshake()
        assert await secure.read() == b"some"
        assert await secure.read() == b""
        ends.append(secure.ended_well)
        wire.close()
    assert ends == [politely]


async def test_megabytes_pass_both_ways() -> None:
    body = bytes(range(256)) * 12_000

    async def serve(wire: Wire) -> None:
        secure = Secure(wire, DOUBLE.context(HOST))
        await secure.handshake()
        while data := await secure.read():
            secure.write(data)
            await secure.drain()
        secure.close()

    async with listening(serve) as port:
        wire = await dial(port)
        secure = Secure(wire, upstream_context(DOUBLE.pem), server_name=HOST)
        await secure.handshake()
        found = bytearray()
        for at in range(0, len(body), 100_000):
            secure.write(body[at : at + 100_000])
            while len(found) < min(at + 100_000, len(body)):
                found += await secure.read()
        assert found == body
        secure.close()


async def test_rubbish_after_the_handshake_is_a_refusal() -> None:
    async def serve(wire: Wire) -> None:
        secure = Secure(wire, DOUBLE.context(HOST))
        await secure.handshake()
        wire.write(b"\x17\x03\x03\0\x20" + bytes(32))
        wire.close()

    async with listening(serve) as port:
        wire = await dial(port)
        secure = Secure(wire, upstream_context(DOUBLE.pem), server_name=HOST)
        await secure.handshake()
        with pytest.raises(Refusal, match="tls_broken"):
            await secure.read()
        wire.close()
