"""A double of a server that runs talk to: HTTPS on the loopback interface, with a certificate authority of its own.

Inside a sandbox it is reached as `https://localhost:PORT`, if the run's list names `localhost:PORT` and the instance
says that this host may be private.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tickover.gateway.certificates import RunAuthority
from tickover.gateway.fence import boot_time

HOST = "localhost"


@dataclass(frozen=True)
class Asked:
    """A request as it arrived. `at` is in seconds of CLOCK_BOOTTIME."""

    method: str
    path: str
    fields: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Given:
    """An answer. `whole` False: the connection ends in the middle of it."""

    status: int = 200
    body: bytes = b"ok"
    kind: str = "text/plain"
    whole: bool = True


def answer_ok(_asked: Asked) -> Given:
    return Given()


@dataclass
class Upstream:
    """What a double has seen. `answer` may be exchanged at any time; `hold` keeps answers back while it is cleared."""

    answer: Callable[[Asked], Given] = answer_ok
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    pem: str = ""
    """The certificate of its authority."""
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def entry(self) -> str:
        """The entry of a list that names it."""
        return f"{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its client closes it."""
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                self.arrived.set()
                await self.hold.wait()
                if not await _write(writer, asked, self.answer(asked)):
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("expect", "").lower() == "100-continue":
        raise NotImplementedError("this double answers no 100-continue")
    return Asked(method, path, fields, await _body(reader, fields), boot_time())


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", "0")))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


async def _write(writer: asyncio.StreamWriter, asked: Asked, given: Given) -> bool:
    length = len(given.body) + (0 if given.whole else 1)
    head = f"HTTP/1.1 {given.status} x\r\ncontent-type: {given.kind}\r\ncontent-length: {length}\r\n\r\n"
    writer.write(head.encode() + (b"" if asked.method == "HEAD" else given.body))
    await writer.drain()
    return given.whole


@contextlib.asynccontextmanager
async def upstream(answer: Callable[[Asked], Given] = answer_ok) -> AsyncIterator[Upstream]:
    """Serve a double."""
    authority = RunAuthority("double", now=datetime.now(UTC))
    double = Upstream(answer, pem=authority.pem.decode())
    double.hold.set()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(double.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=authority.context(HOST))
    double.port = server.sockets[0].getsockname()[1]
    try:
        yield double
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
