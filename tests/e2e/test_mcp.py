"""Whole runs with an MCP server: asked through the gateway alone, its calls counted, and proved by their receipts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.errors import DefinitionErrors
from tickover.testing.localhost import entry, serving, url
from tickover.testing.mcp import DoubleTool, McpDouble
from tickover.testing.upstream import Upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

TOKEN = "trk_the_token_of_the_server_4711"
CLIENT = """\
import json, sys, urllib.error, urllib.request
URL = "http://tickover.internal/mcp/tracker"
session = {}
def ask(method, params=None, **more):
    body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, **more}).encode()
    head = {"content-type": "application/json", "accept": "application/json, text/event-stream", **session}
    opener = urllib.request.build_opener(*([] if PROXY else [urllib.request.ProxyHandler({})]))
    try:
        with opener.open(urllib.request.Request(URL, body, head), timeout=30) as answer:
            session.update({k: v for k, v in answer.headers.items() if k.lower() == "mcp-session-id"})
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    print(method, text)
PROXY = sys.argv[1] == "proxy"
ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}}, id=1)
ask("notifications/initialized")
ask("tools/list", id=2)
for number, call in enumerate(sys.argv[2:], 3):
    ask("tools/call", json.loads(call), id=number)
"""


@dataclass
class Town:
    """The double, served, and what the owner of the machine has set up for it."""

    bench: Bench
    double: McpDouble
    at: Upstream

    def routine(self, *calls: dict[str, Any], way: str = "direct", **front: Any) -> Path:
        """Write and grant a routine that calls these tools."""
        arguments = " ".join(f"'{json.dumps(each)}'" for each in calls)
        body = f"cat > client.py <<'EOF'\n{CLIENT}EOF\npython3 client.py {way} {arguments}\n"
        folder = self.bench.routine(body, **{**FRONT, **front})
        self.bench.tickover.grant(folder, by="owner")
        return folder


@pytest.fixture
async def town(bench: Bench) -> AsyncIterator[Town]:
    double = McpDouble(
        [
            DoubleTool("search", lambda given: f"found {given.get('q')}", reads=True),
            DoubleTool("create_issue", lambda given: {"id": 7, "title": given.get("title")}),
        ],
        token=TOKEN,
    )
    async with serving(double) as at:
        roots = bench.folder / "roots.pem"
        roots.write_bytes(at.authority.pem if at.authority else b"")
        connectors = {"tracker": {"mcp": {"url": f"{url(at)}/mcp", "credential": "tracker-token"}}}
        network = {"private": [entry(at)], "roots": [str(roots)]}
        (bench.tickover.home / "tickover.yaml").write_text(json.dumps({"network": network, "connectors": connectors}))
        bench.tickover.secrets.set("tracker-token", TOKEN.encode(), by="owner", binding={"hosts": [entry(at)]})
        yield Town(bench, double, at)


MAKE = {"name": "create_issue", "arguments": {"title": "Disk is full", "project": "ops"}}
FRONT: dict[str, Any] = {
    "connectors": {"tracker": {"tools": ["search", "create_issue"]}},
    "may": [{"tracker": {"tool": "create_issue", "max": 1, "json": {"project": "ops"}}}],
    "expect": [
        {
            "receipt": {
                "to": "CALL mcp://tracker/create_issue",
                "request": {"json": {"title": "Disk is full"}},
                "response": {"json": {"structuredContent.id": {"gt": 0}}},
            }
        }
    ],
}


@pytest.mark.parametrize("way", ["direct", "proxy"])
async def test_a_call_is_verified_by_its_receipt_and_a_second_one_refused(town: Town, way: str) -> None:
    row = await town.bench.run(town.routine(MAKE, MAKE, {"name": "search", "arguments": {"q": "x"}}, way=way))
    assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, town.bench.said())
    assert "effect:" in row.reason
    assert town.double.calls() == [("create_issue", MAKE["arguments"]), ("search", {"q": "x"})]
    assert set(town.double.tokens) == {f"Bearer {TOKEN}"}
    [denied] = town.bench.facts("connection_denied")
    assert (denied["code"], denied["host"], denied["path"]) == (
        "max", "tickover.internal", "/mcp/tracker/create_issue"
    )  # fmt: skip
    assert town.bench.findings(row) == ["request_denied"]
    begun = [each["record"] for each in town.bench.facts("receipt_begun")]
    assert [(each["path"], each["writes"]) for each in begun] == [("/create_issue", True), ("/search", False)]
    everything = json.dumps([event.data for event in town.bench.events])
    assert TOKEN not in everything
    assert "session-of-the-server" not in everything


async def test_what_the_tool_calls_an_error_proves_nothing(town: Town) -> None:
    town.double.says["tools/call"] = {"content": [], "isError": True}
    row = await town.bench.run(town.routine(MAKE))
    assert (row.outcome, row.exit_code) == ("failed", 5), row.reason
    assert "answered 500" in row.reason


async def test_the_agent_has_no_way_around_the_gateway(town: Town) -> None:
    body = f"curl -sS -m 20 {url(town.at)}/mcp || true; curl -sS -m 20 http://tickover.internal:81/ || true"
    folder = town.bench.routine(body, **FRONT)
    town.bench.tickover.grant(folder, by="owner")
    row = await town.bench.run(folder)
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert town.double.tokens == []


async def test_what_the_setup_may_reach_has_no_servers(town: Town) -> None:
    environment = {"setup": {"run": "! getent hosts tickover.internal"}, "network": ["localhost:81"]}
    row = await town.bench.run(town.routine(MAKE, environment=environment))
    assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, town.bench.said())


async def test_a_server_that_the_instance_does_not_have(bench: Bench) -> None:
    folder = bench.routine("true", **FRONT)
    with pytest.raises(DefinitionErrors) as caught:
        await bench.run(folder)
    assert {each.code for each in caught.value.problems} >= {"connector.unknown"}
