"""What an MCP server says unasked: who hears it, what of it passes, and how much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tickover.gateway.internal import InternalAnswer
from tickover.gateway.mcp import session as sessions
from tickover.testing.mcp import DoubleTool, McpDouble
from tickover.testing.mcp_face import Faced, faced

TOKEN = "trk_the_token_of_the_server_4711"


def double(**more: Any) -> McpDouble:
    can = {"tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": True, "x": 1}}
    return McpDouble([DoubleTool("look", reads=True)], capabilities=can, unasked=asyncio.Queue(), **more)


def updated(uri: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri, "more": 1}}


def changed(what: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": f"notifications/{what}/list_changed"}


def body(answer: InternalAnswer) -> AsyncIterator[bytes]:
    assert answer.status == 200
    assert answer.fields.all("content-type") == ("text/event-stream",)
    assert not isinstance(answer.body, bytes)
    return answer.body


async def heard(stream: AsyncIterator[bytes], count: int = 1) -> list[dict[str, Any]]:
    """Return the next events."""
    async with asyncio.timeout(60):
        pieces = [await anext(stream) for _ in range(count)]
    return [json.loads(each.partition(b"data: ")[2]) for each in pieces]


async def ended(stream: AsyncIterator[bytes]) -> bool:
    async with asyncio.timeout(60):
        return [each async for each in stream] == []


async def why(face: Faced) -> str:
    """Return why the stream's receipt was ended."""
    receipts = await face.ledger.ended(1)
    [receipt] = [each for each in receipts if each.begun.path == "/stream"]
    assert receipt.ended
    return receipt.ended.why


async def test_news_of_what_was_asked_for_pass_without_secrets_and_nothing_else() -> None:
    server = double(token=TOKEN)
    async with faced(server, allow=["resources"]) as face:
        told = await face.begin()
        assert told["capabilities"]["resources"] == {"subscribe": True, "listChanged": True}
        stream = body(await face.listen())
        assert (await face.request("resources/subscribe", {"uri": "a://b", "more": 1})).last["result"] == {}
        server.say(updated("a://other"), updated("a://bb"), updated(7), updated("a://b"), updated("a://b/below"))
        log = {"level": "info", "data": {"deep": [f"Bearer {TOKEN}"]}, "more": 1}
        server.say({"jsonrpc": "2.0", "method": "notifications/message", "params": log})
        server.say({"jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage", "params": {}})
        server.say({"jsonrpc": "2.0", "id": 1, "result": {"forged": True}}, changed("prompts"), changed("resources"))
        first, below, logged, news = await heard(stream, 4)
        assert first == {**updated("a://b"), "params": {"uri": "a://b"}}
        assert below["params"] == {"uri": "a://b/below"}
        assert set(logged["params"]) == {"level", "data"}
        assert TOKEN not in json.dumps(logged)
        assert news["method"] == "notifications/resources/list_changed"
        assert (await face.request("resources/unsubscribe", {"uri": "a://b"})).last["result"] == {}
        server.say(updated("a://b"), changed("tools"))
        assert [each["method"] for each in await heard(stream)] == ["notifications/tools/list_changed"]
        assert server.unasked
        server.unasked.put_nowait(None)
        assert await ended(stream)
        receipts = await face.ledger.ended(3)
    assert [(each.begun.method, each.begun.path, each.ended.status) for each in receipts if each.ended] == [
        ("READ", "/stream", 200), ("READ", "/resources/subscribe", 200), ("READ", "/resources/unsubscribe", 200),
    ]  # fmt: skip
    assert not any(each.begun.writes for each in receipts)
    assert face.codes() == ["mcp_server_asks"]
    refused = [each for each in server.heard if "method" not in each]
    assert [(each["id"], "error" in each) for each in refused] == [(9, True)]
    watched = [each["params"] for each in server.heard if str(each.get("method")).startswith("resources/")]
    assert watched == [{"uri": "a://b"}] * 2


async def test_a_subscription_needs_the_instances_word() -> None:
    server = double()
    async with faced(server) as face:
        await face.begin()
        stream = body(await face.listen())
        assert (await face.request("resources/subscribe", {"uri": "a://b"})).reason == "mcp_method"
        assert (await face.request("resources/unsubscribe", {"uri": "a://b"})).reason == "mcp_method"
        server.say(updated("a://b"), changed("resources"), changed("tools"))
        assert [each["method"] for each in await heard(stream)] == ["notifications/tools/list_changed"]
    assert [each["method"] for each in server.heard] == ["initialize", "notifications/initialized"]
    assert face.codes() == ["mcp_method"] * 2


NO_RESOURCES = (
    b'{"uri":"a://b","uri":"a://c"}', b'{"uri":"a://b","URI":"a://c"}', b'{"uri":["a://b"]}', b'{"uri":""}', b"{}",
    b'{"uri":"' + b"x" * 5000 + b'"}', b'{"uri":"\\ud800"}',
)  # fmt: skip


@pytest.mark.parametrize("method", [b"subscribe", b"unsubscribe"])
async def test_a_subscription_that_is_none_reaches_no_server(method: bytes) -> None:
    server = double()
    async with faced(server, allow=["resources"]) as face:
        await face.begin()
        for params in NO_RESOURCES:
            said = await face.post(b'{"jsonrpc":"2.0","id":5,"method":"resources/%b","params":%b}' % (method, params))
            assert said.reason == "mcp_malformed", params
    assert face.codes() == ["mcp_malformed"] * len(NO_RESOURCES)
    assert len(server.heard) == 2


async def test_subscriptions_are_bounded_and_one_that_the_server_refuses_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "MOST_WATCHED", 2)
    server = double()
    async with faced(server, allow=["resources"]) as face:
        await face.begin()
        server.says["resources/subscribe"] = {"error": {"code": -32602, "message": "no such resource"}}
        assert "error" in (await face.request("resources/subscribe", {"uri": "a://0"})).last
        del server.says["resources/subscribe"]
        for uri in ("a://1", "a://2", "a://2"):
            assert "result" in (await face.request("resources/subscribe", {"uri": uri})).last
        assert (await face.request("resources/subscribe", {"uri": "a://3"})).reason == "mcp_busy"
        await face.request("resources/unsubscribe", {"uri": "a://1"})
        assert "result" in (await face.request("resources/subscribe", {"uri": "a://3"})).last
        stream = body(await face.listen())
        server.say(updated("a://0"), updated("a://3"))
        assert [each["params"]["uri"] for each in await heard(stream)] == ["a://3"]
    assert face.codes() == ["mcp_busy"]


async def test_streams_are_bounded_and_end_with_their_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_STREAMS", 2)
    server = double()
    async with faced(server) as face:
        await face.begin()
        one, other = body(await face.listen()), body(await face.listen())
        refused = await face.listen()
        assert (refused.status, refused.fields.all("x-tickover-deny")) == (409, ("mcp_busy",))
        server.say(changed("tools"))
        told = {asyncio.create_task(heard(each)): each for each in (one, other)}
        async with asyncio.timeout(60):
            done, waiting = await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        assert (len(done), len(waiting)) == (1, 1), "each message comes by one stream"
        assert server.unasked
        server.unasked.put_nowait(None)
        await asyncio.wait(waiting)
        assert all(isinstance(each.exception(), StopAsyncIteration) for each in waiting)
        [left] = [told[each] for each in done]
        again = body(await face.listen())
        await face.ask("DELETE", b"", {"mcp-session-id": face.session})
        assert await ended(left)
        assert await ended(again)
    assert face.codes() == ["mcp_busy"]
    assert len(face.ledger.records) == 6, "who is refused leaves no receipt"


async def test_a_stream_ends_with_the_lease_and_none_begins_after_it() -> None:
    server = double()
    async with faced(server) as face:
        await face.begin()
        stream = body(await face.listen())
        waiting = asyncio.create_task(ended(stream))
        face.fence.cut("lease_expired")
        assert await waiting
        late = await face.listen()
        assert (late.status, late.fields.all("x-tickover-deny")) == (503, ("lease_expired",))


NO_MESSAGES = {
    b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed","method":"x"}': "mcp_malformed",
    b'{"jsonrpc":"2.0","Method":"x","method":"notifications/tools/list_changed"}': "mcp_malformed",
    b"[1]": "mcp_malformed",
    b"{" * 500: "mcp_malformed",
    b"x" * (9 << 20): "mcp_too_large",
}


async def test_a_stream_that_says_what_is_no_message_ends() -> None:
    server = double()
    async with faced(server) as face:
        await face.begin()
        for number, (event, reason) in enumerate(NO_MESSAGES.items(), 1):
            server.unasked = asyncio.Queue()
            server.unasked.put_nowait(event)
            server.say(changed("tools"))
            assert await ended(body(await face.listen())), event[:80]
            receipts = await face.ledger.ended(number)
            assert receipts[-1].ended
            assert receipts[-1].ended.why.startswith(reason)


async def test_a_server_that_never_ends_to_speak_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_SAID", 5)
    server = double()
    async with faced(server) as face:
        await face.begin()
        server.say(*[changed("other"), changed("tools")] * 4)
        stream = body(await face.listen())
        await heard(stream, 2)
        assert await ended(stream)
        assert (await why(face)).startswith("mcp_too_many")


async def test_what_begins_no_stream() -> None:
    server = double()
    async with faced(server) as face:
        assert (await face.listen()).status == 400
        await face.begin()
        assert (await face.listen(accept="application/json")).status == 406
        assert (await face.listen(mcp_protocol_version="2099-01-01")).status == 400
        assert (await face.listen(mcp_session_id="session-of-the-server-1")).status == 404
        server.unasked = None
        refused = await face.listen()
        assert (refused.status, refused.fields.all("allow")) == (405, ("POST, DELETE",))
    assert face.codes() == ["mcp_no_session", "mcp_version", "mcp_session"]
