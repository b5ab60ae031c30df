"""MCP servers that are programs: one conversation on the pipes, several on our side."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tickover.gateway.fence import Fence
from tickover.gateway.mcp import stdio
from tickover.gateway.mcp.base import Message, NotSent, Upstream
from tickover.gateway.mcp.stdio import StdioServer
from tickover.gateway.patience import Patience
from tickover.gateway.refusal import Refusal
from tickover.testing import mcp_program
from tickover.testing.sandbox import until

INITIALIZE: Message = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
READY: Message = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@asynccontextmanager
async def program(
    text: str | None = None, *, fence: Fence | None = None, patience: Patience | None = None
) -> AsyncIterator[StdioServer]:
    """Start the double, or another program."""
    argv = [sys.executable, "-I", *(["-c", text] if text else [str(Path(mcp_program.__file__))])]
    process = subprocess.Popen(  # noqa: ASYNC220 - it ends with this block
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    fence = fence or Fence(1e12, 1 << 40)
    server = StdioServer(_taken(process.stdin), _taken(process.stdout), fence, patience)
    try:
        await server.open()
        yield server
    finally:
        server.close()
        process.kill()
        await asyncio.to_thread(process.wait)


def _taken(pipe: Any) -> int:
    number = os.dup(pipe.fileno())
    pipe.close()
    return number


def call(number: int, name: str, *, token: object = None, **given: str) -> Message:
    params: dict[str, Any] = {"name": name, "arguments": given}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def said(upstream: Upstream, message: Message) -> list[Message]:
    async with asyncio.timeout(60):
        return [each async for each in upstream.send(message)]


def words(message: Message) -> str:
    result: Any = message["result"]
    return str(result["content"][0]["text"])


async def log(upstream: Upstream) -> list[str]:
    *_, answer = await said(upstream, {"jsonrpc": "2.0", "id": 99, "method": "test/log"})
    result: Any = answer["result"]
    return list(result["log"])


async def test_a_conversation() -> None:
    async with program() as server:
        talk = server.connect()
        [hello] = await said(talk, INITIALIZE)
        assert hello["id"] == 1
        assert await said(talk, READY) == []
        [answer] = await said(talk, call(2, "echo", text="grüezi"))
        assert (answer["id"], words(answer)) == (2, "grüezi")


async def test_conversations_share_the_program_and_no_answers() -> None:
    async with program() as server:
        one, other = server.connect(), server.connect()
        [first], [second] = await asyncio.gather(said(one, INITIALIZE), said(other, {**INITIALIZE, "id": 7}))
        assert (first["id"], second["id"]) == (1, 7)
        assert first["result"] == second["result"]
        await said(one, READY)
        await said(other, READY)
        answers = await asyncio.gather(
            *(
                said(talk, call(2, "echo", text=f"{name} {n}"))
                for n in range(20)
                for name, talk in (("a", one), ("b", other))
            )
        )
        assert [words(answer) for [answer] in answers] == [f"{name} {n}" for n in range(20) for name in "ab"]
        assert all(answer["id"] == 2 for [answer] in answers)
        heard = await log(one)
        assert [each.partition(" ")[0] for each in heard[:2]] == ["initialize", "notifications/initialized"]
        assert sum(each.startswith("initialize") for each in heard) == 1
        assert heard.count("notifications/initialized") == 1
        numbers = [each.partition(" ")[2] for each in heard if " " in each]
        assert len(set(numbers)) == len(numbers)


async def test_progress_and_logs_reach_who_asked() -> None:
    async with program() as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        *told, answer = await said(talk, call(2, "slow", token="mine"))
        assert [each["method"] for each in told] == ["notifications/progress"] * 2 + ["notifications/message"]
        assert [each["params"]["progressToken"] for each in told[:2]] == ["mine", "mine"]  # type: ignore[index,call-overload]
        assert words(answer) == "done"


def watching(number: int, uri: str, *, ends: bool = False) -> Message:
    method = "resources/unsubscribe" if ends else "resources/subscribe"
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {"uri": uri}}


async def test_news_reach_every_conversation_that_listens_once() -> None:
    async with program() as server:
        one, other = server.connect(), server.connect()
        await said(one, INITIALIZE)
        old, new, others = one.listen(), one.listen(), other.listen()
        async with asyncio.timeout(60):
            assert [await anext(each) for each in (old, new, others)] == [{}, {}, {}]
            [answer] = await said(one, watching(2, "a://b"))
            assert (answer["id"], answer["result"]) == (2, {})
            assert [(await anext(each))["params"] for each in (new, others)] == [{"uri": "a://b"}] * 2
            await new.aclose()
            await said(other, watching(2, "a://b"))
            assert [(await anext(each))["params"] for each in (old, others)] == [{"uri": "a://b"}] * 2
            waiting = asyncio.create_task(anext(old))
            await one.close()
            with pytest.raises(Refusal, match="client_gone"):
                await waiting
            server.close()
            with pytest.raises(Refusal, match="mcp_closed"):
                await anext(others)
        with pytest.raises(NotSent, match="mcp_closed"):
            await anext(server.connect().listen())


async def test_the_program_hears_of_the_last_end_of_a_subscription_only() -> None:
    async with program() as server:
        one, other, third = server.connect(), server.connect(), server.connect()
        await said(one, INITIALIZE)
        for number, talk in enumerate((one, other, third), 2):
            await said(talk, watching(number, "a://b"))
        [answer] = await said(one, watching(5, "a://b", ends=True))
        assert (answer["id"], answer["result"]) == (5, {})
        await other.close()
        heard = await log(one)
        assert [each.partition(" ")[0] for each in heard].count("resources/unsubscribe") == 0
        await third.close()
        heard = await log(one)
        assert [each.partition(" ")[0] for each in heard].count("resources/unsubscribe") == 1
        assert await said(one, watching(6, "a://b", ends=True)), "nobody holds it: the program answers"


async def test_what_nobody_takes_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MOST_WAITING", 4)
    async with program() as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        stream = talk.listen()
        async with asyncio.timeout(60):
            assert await anext(stream) == {}
            for number in range(2, 12):
                await said(talk, watching(number, f"a://{number}"))
            await log(talk)
            uris = [(await anext(stream))["params"] for _ in range(4)]
            assert uris == [{"uri": f"a://{number}"} for number in range(2, 6)]
            await said(talk, watching(20, "a://new"))
            assert (await anext(stream))["params"] == {"uri": "a://new"}


async def test_what_the_program_asks_is_answered_by_another_send() -> None:
    async with program() as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        exchange = talk.send(call(2, "ask"))
        async with asyncio.timeout(60):
            asked = await anext(exchange)
            assert (asked["id"], asked["method"]) == ("mine", "elicitation/create")
            await said(talk, {"jsonrpc": "2.0", "id": "mine", "result": {"action": "decline"}})
            answer = await anext(exchange)
        assert "decline" in words(answer)


async def test_a_program_that_dies_is_a_refusal_for_who_waits_and_not_sent_after_that() -> None:
    async with program() as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        waiting = asyncio.create_task(said(talk, call(2, "never")))
        with pytest.raises(Refusal) as died:
            await said(talk, call(3, "die"))
        assert not isinstance(died.value, NotSent)
        assert died.value.reason == "mcp_died"
        with pytest.raises(Refusal, match="mcp_died"):
            await waiting
        with pytest.raises(NotSent, match="mcp_died"):
            await said(talk, call(4, "echo", text="?"))
        with pytest.raises(NotSent, match="mcp_died"):
            await said(server.connect(), INITIALIZE)


async def test_a_program_that_is_not_there() -> None:
    async with program("raise SystemExit(1)") as server:
        with pytest.raises(Refusal, match="mcp_died"):
            await said(server.connect(), INITIALIZE)


async def test_giving_up_is_told_to_the_program() -> None:
    async with program() as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        exchange = talk.send(call(2, "slow"))
        async with asyncio.timeout(60):
            await anext(exchange)
            await exchange.aclose()
        waiting = asyncio.create_task(said(talk, call(3, "never")))
        await until(lambda: server.busy, lambda: "nothing was asked")
        await said(talk, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}})
        assert (await log(talk)).count("notifications/cancelled") in {1, 2}
        await talk.close()
        with pytest.raises(Refusal, match="client_gone"):
            await waiting


async def test_nothing_is_sent_once_the_fence_is_cut() -> None:
    fence = Fence(1e12, 1 << 40)
    async with program(fence=fence) as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        waiting = asyncio.create_task(said(talk, call(2, "never")))
        await until(lambda: server.busy, lambda: "nothing was asked")
        fence.cut("lease_expired")
        with pytest.raises(Refusal, match="lease_expired"):
            await waiting
        with pytest.raises(NotSent, match="lease_expired"):
            await said(talk, call(3, "echo", text="late"))


async def test_lines_that_are_no_message() -> None:
    async with program() as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        [answer] = await said(talk, call(2, "noise"))
        assert words(answer) == "quiet again"
    async with program("while True: print('tick', flush=True)") as server:
        with pytest.raises(Refusal, match="mcp_no_protocol"):
            await said(server.connect(), INITIALIZE)


async def test_a_message_that_is_too_long_ends_it() -> None:
    async with program() as server:
        talk = server.connect()
        await said(talk, INITIALIZE)
        with pytest.raises(Refusal, match="mcp_too_large"):
            await said(talk, call(2, "huge"))


async def test_answers_twice_or_to_nobody_are_dropped() -> None:
    text = """
import json, sys
for line in sys.stdin:
    number = json.loads(line)["id"]
    for each in (number, number, number + 5, "x", None, True, [1], {"a": 1}):
        print(json.dumps({"jsonrpc": "2.0", "id": each, "result": {"to": each}}), flush=True)
    print('{"jsonrpc": "2.0", "id": %d, "id": 3, "result": 1}' % (number + 1), flush=True)
"""
    async with program(text) as server:
        talk = server.connect()
        for _ in range(3):
            [answer] = await said(talk, {"jsonrpc": "2.0", "id": 5, "method": "ping"})
            assert answer["id"] == 5


async def test_a_program_that_does_not_read_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MOST_WAITING", 4)
    patience = Patience(idle_s=0.3)
    async with program("import signal; signal.pause()", patience=patience) as server:
        talk = server.connect()
        with pytest.raises(Refusal, match="upstream_stuck"):
            await said(talk, call(2, "echo", text="x" * (1 << 20)))


async def test_who_is_silent_is_waited_for_so_long() -> None:
    async with program(patience=Patience(answer_s=0.3)) as server:
        talk = server.connect()
        with pytest.raises(Refusal, match="upstream_silent"):
            await said(talk, call(2, "never"))
