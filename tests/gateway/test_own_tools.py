"""The run's own tools as an MCP server: asked of the real process, by its door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from tests.gateway.test_internal import Client, session

from tickover.core.egress import Egress
from tickover.core.network import NetworkPolicy

TOLD = Egress(NetworkPolicy(internal=True), own_tools=("report", "state"))
JSON = "content-type: application/json"


async def rpc(client: Client, method: str, id_: int | None = 1, **params: Any) -> tuple[int, Any]:
    message = {"jsonrpc": "2.0", "method": method, "params": params, **({} if id_ is None else {"id": id_})}
    status, body = await client.ask("POST", "/tools", json.dumps(message).encode(), more=JSON)
    return status, json.loads(body) if body else None


async def test_a_client_shakes_hands_lists_and_calls(tmp_path: Path) -> None:
    used: list[tuple[str, Mapping[str, JsonValue]]] = []

    async def use(tool: str, arguments: Mapping[str, JsonValue]) -> tuple[bool, str]:
        used.append((tool, arguments))
        return tool == "state", f"{tool} was here"

    async with session(tmp_path, TOLD) as (opened, client, witness):
        opened.lend(use)
        _, hello = await rpc(client, "initialize", protocolVersion="2025-06-18", capabilities={})
        assert hello["result"]["protocolVersion"] == "2025-06-18"
        assert hello["result"]["capabilities"] == {"tools": {}}
        assert await rpc(client, "notifications/initialized", None) == (202, None)
        _, listed = await rpc(client, "tools/list")
        assert [each["name"] for each in listed["result"]["tools"]] == ["report", "state"]
        _, kept = await rpc(client, "tools/call", name="state", arguments={"path": "a"})
        _, failed = await rpc(client, "tools/call", 2, name="report")
        assert kept["result"] == {"content": [{"type": "text", "text": "state was here"}], "isError": False}
        assert (failed["id"], failed["result"]["isError"]) == (2, True)
        assert used == [("state", {"path": "a"}), ("report", {})]
    assert (witness.denials, witness.receipts(), witness.hosts) == ([], [], []), "nothing leaves, nothing is an effect"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}', 200, -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "artifact"}}', 200, -32602),
        (
            b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "state", "arguments": 1}}',
            200,
            -32602,
        ),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "ping"}', 400, -32700),
    ],
)
async def test_what_is_no_call_of_an_offered_tool(tmp_path: Path, body: bytes, status: int, code: int) -> None:
    async with session(tmp_path, TOLD) as (_, client, _witness):
        said, answer = await client.ask("POST", "/tools", body, more=JSON)
        assert (said, json.loads(answer)["error"]["code"]) == (status, code)


async def test_who_has_no_tools_finds_nothing_there(tmp_path: Path) -> None:
    async with session(tmp_path) as (_, client, _witness):
        assert (await client.ask("POST", "/tools", b"{}", more=JSON))[0] == 404
    async with session(tmp_path, TOLD) as (_, client, _witness):
        assert (await client.ask("GET", "/tools"))[0] == 405
        assert (await client.ask("POST", "/tools/more", b"{}", more=JSON))[0] == 404
        _, answer = await rpc(client, "tools/call", name="state")
        assert answer["result"]["isError"] is True, "nobody takes it"


async def test_a_session_that_closes_waits_for_no_tool(tmp_path: Path) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def use(_tool: str, _arguments: Mapping[str, JsonValue]) -> tuple[bool, str]:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return True, ""

    async with session(tmp_path, TOLD) as (opened, client, _):
        opened.lend(use)
        asking = asyncio.create_task(rpc(client, "tools/call", name="state"))
        async with asyncio.timeout(60):
            await began.wait()
    assert cancelled.is_set()
    await asyncio.gather(asking, return_exceptions=True)
