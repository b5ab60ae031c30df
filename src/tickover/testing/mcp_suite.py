"""The conformance suite of the MCP port (gateway/mcp/base.py): every adapter, and the one in memory, must pass it.

Subclass it and say how a conversation with a double is begun:

    class TestMine(UpstreamSuite):
        @asynccontextmanager
        async def speaking(self, double: McpDouble) -> AsyncIterator[Connect]: ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest

from tickover.gateway.mcp.base import Connect, Message, Upstream
from tickover.gateway.refusal import Refusal
from tickover.testing.mcp import DoubleTool, McpDouble


async def said(upstream: Upstream, message: Message) -> list[Message]:
    """Send a message; return all that came of it."""
    async with aclosing(upstream.send(message)) as heard:
        return [each async for each in heard]


def request(number: int, method: str, **params: Any) -> Message:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


class UpstreamSuite:
    """What every adapter does."""

    def speaking(self, double: McpDouble) -> AbstractAsyncContextManager[Connect]:
        """Serve a double, and say how it is spoken to."""
        raise NotImplementedError

    @asynccontextmanager
    async def begun(self, double: McpDouble) -> AsyncIterator[Upstream]:
        """Begin a conversation and shake hands."""
        async with self.speaking(double) as connect:
            upstream = connect()
            try:
                hello = await said(upstream, request(1, "initialize", protocolVersion="2025-11-25", capabilities={}))
                assert [each.get("id") for each in hello] == [1]
                assert await said(upstream, {"jsonrpc": "2.0", "method": "notifications/initialized"}) == []
                yield upstream
            finally:
                await upstream.close()
                await upstream.close()

    async def test_a_request_is_answered_under_its_id(self) -> None:
        async with self.begun(McpDouble([DoubleTool("look", reads=True)])) as upstream:
            [answer] = await said(upstream, request(2, "tools/call", name="look", arguments={"a": "ü"}))
            assert (answer["id"], answer["result"]) == (2, {"content": [{"type": "text", "text": "done"}]})
            [answer] = await said(upstream, request(3, "no/such"))
            assert "error" in answer

    async def test_what_comes_before_an_answer_comes_first_and_can_be_answered(self) -> None:
        progress: Message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
        asks: Message = {"jsonrpc": "2.0", "id": "x", "method": "sampling/createMessage", "params": {}}
        double = McpDouble([DoubleTool("look")], streams=True, first={"tools/call": [progress, asks]})
        async with self.begun(double) as upstream:
            heard: list[Message] = []
            async with aclosing(upstream.send(request(2, "tools/call", name="look"))) as messages:
                async for each in messages:
                    heard.append(each)
                    if each.get("id") == "x":
                        error: Message = {"jsonrpc": "2.0", "id": "x", "error": {"code": -32601, "message": "no"}}
                        assert await said(upstream, error) == []
            assert [each.get("method", each.get("id")) for each in heard] == [
                "notifications/progress",
                "sampling/createMessage",
                2,
            ]
            assert double.heard[-1]["error"]["code"] == -32601

    async def test_several_are_under_way_at_once(self) -> None:
        double = McpDouble([DoubleTool("echo", lambda given: given["n"])])
        async with self.begun(double) as upstream:
            asked = [request(10 + n, "tools/call", name="echo", arguments={"n": n}) for n in range(8)]
            answers = await asyncio.gather(*(said(upstream, each) for each in asked))
            assert [each["id"] for [each] in answers] == [10 + n for n in range(8)]
            texts = [each["result"]["content"][0]["text"] for [each] in answers]  # type: ignore[index, call-overload]
            assert texts == [str(n) for n in range(8)]

    async def test_giving_an_exchange_up_does_not_end_the_conversation(self) -> None:
        progress: Message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
        double = McpDouble([DoubleTool("look")], streams=True, first={"tools/call": [progress]})
        async with self.begun(double) as upstream:
            messages: AsyncGenerator[Message, None] = upstream.send(request(2, "tools/call", name="look"))
            assert "method" in await anext(messages)
            await messages.aclose()
            [answer] = await said(upstream, request(3, "tools/list"))
            assert answer["id"] == 3

    async def test_what_is_no_answer_is_a_refusal(self) -> None:
        double = McpDouble([DoubleTool("look")], raw={"tools/call": b"no JSON\n"})
        async with self.begun(double) as upstream:
            with pytest.raises(Refusal):
                await said(upstream, request(2, "tools/call", name="look"))
