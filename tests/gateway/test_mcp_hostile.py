"""What no message may do at the face of an MCP server: each is refused, told as a denial, and reaches no server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickover.core.mcp import ToolRule
from tickover.gateway.mcp.base import Message
from tickover.gateway.refusal import Refusal
from tickover.testing.mcp import DoubleTool, McpDouble
from tickover.testing.mcp_face import faced

CALL = b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"look","arguments":{}}}'
OTHER = b'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"wipe","arguments":{}}}'


def double() -> McpDouble:
    return McpDouble([DoubleTool("look", reads=True), DoubleTool("wipe")])


@pytest.mark.parametrize(
    ("body", "fields", "reason"),
    [
        (b"[" + CALL + b"," + OTHER + b"]", {}, "mcp_batch"),
        (CALL.replace(b'"name":"look"', b'"name":"look","name":"wipe"'), {}, "mcp_malformed"),
        (CALL.replace(b'"name":"look"', b'"name":"look","n\\u0061me":"wipe"'), {}, "mcp_malformed"),
        (CALL.replace(b'"name":"look"', b'"name":"look","NAME":"wipe"'), {}, "mcp_malformed"),
        (CALL.replace(b'"params"', b'"Params":{"name":"wipe"},"params"'), {}, "mcp_malformed"),
        (CALL.replace(b'"arguments":{}', b'"arguments":{},"task":{"ttl":1}'), {}, "mcp_malformed"),
        (CALL.replace(b'"look"', b"[1]"), {}, "mcp_malformed"),
        (CALL.replace(b'"look"', b'"loo\\ud800k"'), {}, "mcp_malformed"),
        (CALL.replace(b"{}", b'{"a":NaN}'), {}, "mcp_malformed"),
        (CALL.replace(b"{}", b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"), {}, "mcp_malformed"),
        (CALL.replace(b"{}", b'{"a":"' + b"x" * (1 << 20) + b'"}'), {}, "mcp_too_large"),
        (b"\xef\xbb\xbf" + CALL, {}, "mcp_malformed"),
        (CALL.decode().encode("utf-16"), {}, "mcp_malformed"),
        (CALL, {"content_type": "application/json; charset=utf-16"}, "mcp_encoding"),
        (CALL, {"content_type": "text/plain"}, "mcp_encoding"),
        (CALL, {"content_type": ""}, "mcp_encoding"),
        (CALL, {"content_encoding": "gzip"}, "mcp_encoding"),
        (OTHER, {}, "no_rule"),
        (OTHER, {"mcp_name": "look", "mcp_method": "ping"}, "no_rule"),
        (CALL.replace(b"look", b"loo\\u006b\\u0000"), {}, "mcp_no_tool"),
        (CALL.replace(b"look", b"LOOK"), {}, "mcp_no_tool"),
        (CALL.replace(b"look", b"look "), {}, "mcp_no_tool"),
        (CALL.replace(b"tools/call", b"tools/Call"), {}, "mcp_method"),
        (CALL.replace(b"tools/call", b"sampling/createMessage"), {}, "mcp_method"),
    ],
)
async def test_it_is_refused_told_and_reaches_no_server(body: bytes, fields: dict[str, str], reason: str) -> None:
    server = double()
    async with faced(server) as face:
        await face.begin()
        said = await face.post(body, **fields)
        assert said.reason == reason
        assert said.status in {200, 400}
    assert server.calls() == []
    assert face.codes() == [reason]


async def test_an_id_that_is_under_way_is_not_taken_twice_and_one_can_be_cancelled() -> None:
    go = asyncio.Event()
    server = Recorder(go)
    async with faced(double(), tools=["wipe"], rules=[ToolRule("may[0]", "wipe")], connect=lambda: server) as face:
        await face.begin()
        await face.tools()
        first = asyncio.create_task(face.post(OTHER))
        async with asyncio.timeout(30):
            await server.called.wait()
        assert (await face.post(OTHER)).reason == "mcp_busy"
        await face.post(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6}}')
        await face.post(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}')
        go.set()
        assert (await first).last["result"] == {"content": []}
    number = next(each["id"] for each in server.heard if each.get("method") == "tools/call")
    cancelled = [each["params"] for each in server.heard if each.get("method") == "notifications/cancelled"]
    assert cancelled == [{"requestId": number}]


class Recorder:
    """A server in memory that keeps what it is sent."""

    def __init__(self, go: asyncio.Event | None = None) -> None:
        self.heard: list[dict[str, Any]] = []
        self.called = asyncio.Event()
        self._go = go

    async def send(self, message: Message) -> AsyncGenerator[Message, None]:
        self.heard.append(dict(message))
        method, number = message.get("method"), message.get("id")
        if number is None:
            return
        if method == "tools/call":
            self.called.set()
            if self._go:
                await self._go.wait()
        tools = [each.described() for each in double().tools]
        results: dict[Any, dict[str, Any]] = {
            "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}},
            "tools/list": {"tools": tools},
        }
        yield {"jsonrpc": "2.0", "id": number, "result": results.get(method, {"content": []})}

    async def listen(self) -> AsyncGenerator[Message, None]:
        yield {}

    async def close(self) -> None:
        """Nothing is open."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    at=st.integers(0, len(OTHER) - 1),
    piece=st.sampled_from(
        [b'"', b"\\", b",", b"{", b"}", b'"name":"wipe",', b"\\u0077", b"\x00", b"\xff", b"[", b"1e9"]
    ),
    cut=st.integers(0, 12),
)
def test_whatever_is_made_of_a_message_the_tool_that_is_judged_is_the_one_that_is_called(
    at: int, piece: bytes, cut: int
) -> None:
    """`wipe` is not allowed: no mutation of a call of `look` or of `wipe` may make the server see it."""

    async def attempt() -> None:
        server = Recorder()
        async with faced(double(), connect=lambda: server) as face:
            await face.begin()
            for body in (OTHER, CALL):
                await face.post(body[:at] + piece + body[at + cut :])
        names = [each["params"]["name"] for each in server.heard if each.get("method") == "tools/call"]
        assert set(names) <= {"look"}
        assert all(json.loads(json.dumps(each)) == each for each in server.heard)

    asyncio.run(attempt())


async def test_a_server_that_is_not_there_is_an_error_of_initialize() -> None:
    def gone() -> Any:
        raise Refusal(503, "mcp_not_there", "the server tracker is not there")

    async with faced(double(), connect=gone) as face:
        assert (await face.request("initialize", {})).reason == "mcp_not_there"
