"""The gateway's own name: who asks it, how, and what it answers. The process is the real one, asked by its door."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tickover.core.egress import Egress
from tickover.core.network import NetworkPolicy, Route
from tickover.core.receipt import Identity
from tickover.gateway.base import Denial
from tickover.gateway.client import ClientSession, GatewayClient
from tickover.gateway.dns import FakeAddresses
from tickover.gateway.fence import Fence, boot_time
from tickover.gateway.internal import Internal, InternalAnswer, InternalRequest
from tickover.gateway.plane import Arrival, Listeners, Plane
from tickover.gateway.session import Door, Passport
from tickover.gateway.traffic import FAKE_ADDRESSES
from tickover.testing.witness import KeptWitness

OWN = Egress(NetworkPolicy(internal=True))


@dataclass
class Client:
    """Asks a proxy in the clear, as a client inside does."""

    port: int
    password: str = ""

    def _head(self, first: str, host: str) -> bytes:
        said = base64.b64encode(f"{Door.USER}:{self.password}".encode()).decode()
        guard = f"proxy-authorization: Basic {said}\r\n" if self.password else ""
        return f"{first} HTTP/1.1\r\nhost: {host}\r\n{guard}".encode()

    async def ask(
        self, method: str, path: str, body: bytes = b"", host: str = "tickover.internal", more: str = ""
    ) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            fields = [f"content-length: {len(body)}", *([more] if more else [])]
            length = ("\r\n".join(fields) + "\r\n\r\n").encode()
            writer.write(self._head(f"{method} http://{host}{path}", host) + length + body)
            async with asyncio.timeout(60):
                return answered(await reader.read())
        finally:
            writer.close()

    async def tunnel(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Go through CONNECT, after which the name is asked in the origin form."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._head("CONNECT tickover.internal:80", "tickover.internal:80") + b"\r\n")
        async with asyncio.timeout(60):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer


def answered(data: bytes) -> tuple[int, str]:
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode()


@asynccontextmanager
async def session(tmp_path: Path, egress: Egress = OWN) -> AsyncIterator[tuple[ClientSession, Client, KeptWitness]]:
    gateway, witness = GatewayClient(str(tmp_path / "key")), KeptWitness()
    try:
        opened = await gateway.open(Passport("run", 1, Identity.AGENT, egress, boot_time() + 600), witness)
        door = await opened.door()
        yield opened, Client(door.port, door.password), witness
        await opened.close()
    finally:
        await gateway.close()


async def test_whoever_rings_hears_what_the_judge_says(tmp_path: Path) -> None:
    said: list[Sequence[str]] = [["Write the notes."], []]

    async def bell() -> Sequence[str]:
        return said.pop(0)

    async with session(tmp_path) as (opened, client, witness):
        opened.hang(bell)
        status, body = await client.ask("POST", "/stop", b'{"stop": true}')
        assert (status, json.loads(body)) == (200, {"stop": False, "says": ["Write the notes."]})
        reader, writer = await client.tunnel()
        writer.write(
            b"POST /stop HTTP/1.1\r\nhost: tickover.internal\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        async with asyncio.timeout(60):
            assert answered(await reader.read())[1] == '{"stop": true}\n'
        writer.close()
        assert said == []
    assert witness.denials == []
    assert (witness.receipts(), witness.hosts) == ([], []), "what is said here leaves nobody's machine"


async def test_without_a_bell_every_agent_may_stop(tmp_path: Path) -> None:
    async with session(tmp_path) as (_, client, _witness):
        assert await client.ask("POST", "/stop") == (200, '{"stop": true}\n')


async def test_a_session_that_closes_waits_for_no_judge(tmp_path: Path) -> None:
    rung, cancelled = asyncio.Event(), asyncio.Event()

    async def bell() -> Sequence[str]:
        rung.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return []

    async with session(tmp_path) as (opened, client, _):
        opened.hang(bell)
        asking = asyncio.create_task(client.ask("POST", "/stop"))
        async with asyncio.timeout(60):
            await rung.wait()
    assert cancelled.is_set()
    await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/stop", 405, "bad_method"),
        ("POST", "/stop/further", 404, "internal_path"),
        ("POST", "/", 404, "internal_path"),
        ("POST", "/mcp/slack", 404, "mcp_no_server"),
    ],
)
async def test_what_nobody_answers_is_refused_and_told(
    tmp_path: Path, method: str, path: str, status: int, reason: str
) -> None:
    async with session(tmp_path) as (_, client, witness):
        said, body = await client.ask(method, path)
        assert (said, json.loads(body)["error"]["reason"]) == (status, reason)
    assert [(each.host, each.code, each.path) for each in witness.denials] == [("tickover.internal", reason, path)]


async def test_no_other_name_and_no_run_that_does_not_need_it_is_answered(tmp_path: Path) -> None:
    async with session(tmp_path) as (_, client, _witness):
        assert (await client.ask("POST", "/stop", host="mcp.tickover.internal"))[0] == 403
        assert (await client.ask("POST", "/stop", host="tickover.internal:8080"))[0] == 403
    async with session(tmp_path, Egress()) as (_, client, witness):
        assert (await client.ask("POST", "/stop"))[0] == 403
    assert [each.code for each in witness.denials] == ["reserved"]


def test_the_policy_shows_it_only_where_it_is_asked_for() -> None:
    assert NetworkPolicy().judge("tickover.internal", 80).code == "reserved"
    policy = NetworkPolicy(internal=True)
    assert policy.judge("TICKOVER.internal.", 80).route is Route.INSPECT
    assert policy.judge("tickover.internal", 443).code == "reserved"
    assert ([str(each) for each in policy.names()], policy.ports()) == (["tickover.internal"], (80,))
    assert not Egress(policy).closed


@dataclass
class Pieces:
    """Answers in pieces, and knows whether anybody still listens."""

    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: InternalRequest) -> InternalAnswer:
        return InternalAnswer(200, self._pieces(request.body))

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        try:
            yield b"first:" + body
            if body == b"for ever":
                await asyncio.Event().wait()
            yield b"second"
        finally:
            self.closed.set()


@asynccontextmanager
async def serving(handler: Pieces) -> AsyncIterator[tuple[Client, list[Denial]]]:
    told: list[Denial] = []
    internal = Internal({"/pieces/": handler}, told.append)

    async def read(arrival: Arrival) -> None:
        await internal(arrival)

    plane = Plane(
        judge=OWN.policy.judge,
        allowed=lambda _name: True,
        addresses=FakeAddresses(FAKE_ADDRESSES),
        fence=Fence(boot_time() + 600, 64 << 20),
        tell=lambda _passage: None,
        inspect=read,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    await plane.open(Listeners(proxy=listener))
    try:
        yield Client(listener.getsockname()[1]), told
    finally:
        await plane.close()


async def test_an_answer_comes_in_pieces_and_ends_with_whoever_listens() -> None:
    handler = Pieces()
    async with serving(handler) as (client, told):
        assert await client.ask("POST", "/pieces/x", b"all") == (200, "9\r\nfirst:all\r\n6\r\nsecond\r\n0\r\n\r\n")
        handler.closed.clear()
        reader, writer = await client.tunnel()
        writer.write(b"POST /pieces/x HTTP/1.1\r\nhost: tickover.internal\r\ncontent-length: 8\r\n\r\nfor ever")
        async with asyncio.timeout(60):
            await reader.readuntil(b"first:for ever")
            writer.close()
            await handler.closed.wait()
        assert told == []


async def test_a_body_without_end_is_refused() -> None:
    async with serving(Pieces()) as (client, told):
        status, body = await client.ask("POST", "/pieces/x", b"x" * ((1 << 20) + 1))
        assert (status, json.loads(body)["error"]["reason"]) == (413, "large_body")
        assert [each.code for each in told] == ["large_body"]
