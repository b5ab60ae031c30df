"""Whole runs with an MCP server: asked through the gateway alone, its calls counted, and proved by their receipts."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.errors import DefinitionErrors
from tickover.core.row import RunRow
from tickover.gateway.certificates import RunAuthority
from tickover.testing.acp_agent import acp_agent
from tickover.testing.localhost import entry, serving, url
from tickover.testing.mcp import DoubleTool, McpDouble
from tickover.testing.model import ScriptedModel
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

    def configure(self, *ports: int, pem: bytes = b"") -> None:
        """Write what only the owner says; a scripted model answers at these ports."""
        roots = self.bench.folder / "roots.pem"
        roots.write_bytes((self.at.authority.pem if self.at.authority else b"") + pem)
        connectors = {"tracker": {"mcp": {"url": f"{url(self.at)}/mcp", "credential": "tracker-token"}}}
        network = {"private": [entry(self.at), *(f"localhost:{port}" for port in ports)], "roots": [str(roots)]}
        where = self.bench.tickover.home / "tickover.yaml"
        where.write_text(json.dumps({"network": network, "connectors": connectors}))

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
        bench.tickover.secrets.set("tracker-token", TOKEN.encode(), by="owner", binding={"hosts": [entry(at)]})
        town = Town(bench, double, at)
        town.configure()
        yield town


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
    assert [(each["method"], each["path"], each["writes"]) for each in begun] == [
        ("LIST", "/tools", False),
        ("CALL", "/create_issue", True),
        ("CALL", "/search", False),
    ]
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


# Agents, driven by the scripted model.

TURNS: list[dict[str, Any]] = [
    {"tools": [{"name": "mcp__tracker__create_issue", "input": MAKE["arguments"]}]},
    {"tools": [{"name": "mcp__tracker__create_issue", "input": MAKE["arguments"]}]},
    {"text": "I have created the issue."},
]
CODE = f"const made = await tools.mcp__tracker__create_issue({json.dumps(MAKE['arguments'])}); text(made)"
IN_CODE: list[dict[str, Any]] = [{"tools": [{"name": "exec", "input": CODE}]}] * 2 + TURNS[2:]
CLIS = {
    "claude-code": ("claude-code@2.1.197", {"ANTHROPIC_BASE_URL": ""}),
    "codex": ("codex@0.169.0", {"OPENAI_BASE_URL": "/v1"}),
}


async def play(town: Town, agent: str, *turns: dict[str, Any], **front: Any) -> RunRow:
    """Run an agent on a script."""
    authority = RunAuthority("scripted model", now=datetime.now(UTC))
    with ScriptedModel({"turns": turns}, tls=authority.context("localhost")) as model:
        town.configure(model.port, pem=authority.pem)
        at = f"https://localhost:{model.port}"
        if agent in CLIS:
            build, env = CLIS[agent]
            await town.bench.tickover.install(build)
            variables = {name: at + path for name, path in env.items()}
            keys: dict[str, Any] = {"agent": build, "limits": {"tokens": 1_000_000}, "environment": {"env": variables}}
        else:
            keys = {"agent": "loop", "model": {"name": "scripted", "url": at, "wire": "anthropic"}}
        folder = town.bench.routine("Create the issue.\n```text\nops\n```\n", **{**FRONT, **keys, **front})
        town.bench.tickover.grant(folder, by="owner")
        return await town.bench.run(folder)


REAL = [
    pytest.param(
        each,
        marks=[
            pytest.mark.slow,
            pytest.mark.timeout(900),
            pytest.mark.skipif(not os.path.exists("/usr/bin/npm"), reason="npm is not at /usr/bin/npm"),
        ],
    )
    for each in CLIS
]
REQUIRED = {"tools": ["search", "create_issue"], "required": ["create_issue"]}


@pytest.mark.parametrize("agent", ["loop", *REAL])
async def test_an_agent_calls_a_tool_once_and_is_refused_the_second_time(town: Town, agent: str) -> None:
    row = await play(town, agent, *(IN_CODE if agent == "codex" else TURNS), connectors={"tracker": REQUIRED})
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.reason, row.cause, town.bench.said())
    assert town.double.calls() == [("create_issue", MAKE["arguments"])]
    denied = [each for each in town.bench.facts("connection_denied") if each["host"] == "tickover.internal"]
    assert [(each["code"], each["path"]) for each in denied] == [("max", "/mcp/tracker/create_issue")]
    findings = town.bench.findings(row)
    assert "request_denied" in findings
    assert not {"required_missing", "connector_failed", "connector_without_tools"} & set(findings)
    offered = {name for each in town.bench.facts("model_called") for name in each["tools"] or ()}
    assert any(name.endswith("create_issue") or name == "exec" for name in offered), offered


@pytest.mark.parametrize("agent", ["loop", *REAL])
async def test_a_required_tool_that_the_model_is_not_offered_fails_the_run(town: Town, agent: str) -> None:
    del town.double.tools[1]
    check = {"command": {"run": "test ! -e /subject/nothing"}}
    front = {"connectors": {"tracker": REQUIRED}, "expect": [check], "may": []}
    row = await play(town, agent, {"text": "All done!"}, **front)
    assert "required_missing" in town.bench.findings(row)
    assert row.outcome == "failed", row.reason


async def test_a_required_tool_that_is_only_ever_denied_fails_the_run(town: Town) -> None:
    may = [{"tracker": {"tool": "create_issue", "json": {"project": "other"}}}]
    row = await play(town, "loop", *TURNS, connectors={"tracker": REQUIRED}, may=may)
    assert town.double.calls() == []
    assert "required_missing" in town.bench.findings(row)
    assert row.outcome == "failed"


@pytest.mark.parametrize("speaks", [True, False])
async def test_an_agent_of_the_agent_client_protocol_is_told_of_the_server(town: Town, *, speaks: bool) -> None:
    client = CLIENT.replace("URL =", "import os; URL = os.environ.get('MCP_URL') or")
    command = f"python3 -c {shlex.quote(client)} direct {shlex.quote(json.dumps(MAKE))}"
    if not speaks:
        command = "test -z $MCP_URL"
    argv = ["python3", "-c", acp_agent(command, "Done.", mcp=speaks)]
    folder = town.bench.routine("Create it.\n```text\n3\n```\n", **{**FRONT, "agent": "acp", "argv": argv})
    town.bench.tickover.grant(folder, by="owner")
    row = await town.bench.run(folder)
    assert (row.outcome == "verified") is speaks, (row.reason, town.bench.said())
    assert ("connector_failed" in town.bench.findings(row)) is not speaks
