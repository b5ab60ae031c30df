"""A double of an upstream: an HTTP server on loopback with a certificate of its own, that keeps what it was asked."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

from tickover.gateway.certificates import RunAuthority


@dataclass(frozen=True)
class Seen:
    """One request as the upstream saw it. `connection` numbers its connections from 1; names are in lower case."""

    connection: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    resumed: bool = False

    def header(self, name: str) -> str | None:
        """Return a header's values, joined by commas; None if it is not there."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


@dataclass
class Talk:
    """A connection of the upstream's, for an answer that is written by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def answer(
        self, body: bytes = b"", *, status: str = "200 OK", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Write a whole answer with its length."""
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), f"content-length: {len(body)}"]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Handler = Callable[[Seen, Talk], Awaitable[None]]


async def say_ok(seen: Seen, talk: Talk) -> None:  # noqa: ARG001 - whatever is asked
    await talk.answer(b'{"ok":true}', headers=(("content-type", "application/json"),))


@dataclass
class Upstream:
    """A running double: its port, and all that it saw. `read_bodies` is off where a handler reads them itself."""

    authority: RunAuthority | None
    handler: Handler
    port: int = 0
    read_bodies: bool = True
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    raw: bytearray = field(default_factory=bytearray)

    def bodies(self) -> list[bytes]:
        return [each.body for each in self.seen]

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = Talk(reader, writer, self.connections)
        tls = writer.get_extra_info("ssl_object")
        with (
            closing(writer),
            suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError),
        ):  # nobody waits in vain
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.raw += head
                first, *lines = head.decode("latin-1").split("\r\n")[:-2]
                method, target, _ = first.split(" ")
                headers = tuple((name.lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines))
                body = await _body(reader, dict(headers)) if self.read_bodies else b""
                self.raw += body
                seen = Seen(talk.number, method, target, headers, body, resumed=bool(tls and tls.session_reused))
                self.seen.append(seen)
                await self.handler(seen, talk)
                if writer.is_closing():
                    return


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        body = bytearray()
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return bytes(body)
    return await reader.readexactly(int(headers.get("content-length", "0")))


@asynccontextmanager
async def upstream(
    host: str,
    handler: Handler = say_ok,
    *,
    authority: RunAuthority | None,
    read_bodies: bool = True,
) -> AsyncIterator[Upstream]:
    """Serve on a free port of loopback, with TLS by `authority` for `host`; in the clear without one."""
    listener = socket.create_server(("127.0.0.1", 0))
    double = Upstream(authority, handler, listener.getsockname()[1], read_bodies)
    context = authority.context(host) if authority else None
    tasks: set[asyncio.Task[None]] = set()

    def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(double._arrived(reader, writer))  # noqa: SLF001 - its own
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(arrived, sock=listener, ssl=context)
    try:
        yield double
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
