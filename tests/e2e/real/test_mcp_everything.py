"""The reference server of MCP over HTTP, asked by the real Claude Code CLI; the model is the scripted model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.real.conftest import Real, texts

from tickover.testing.absent import absent
from tickover.testing.secluded import secluded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PACKAGE = "@modelcontextprotocol/server-everything"
INSIDE = 3001
FRONT: dict[str, Any] = {
    "connectors": {"everything": {"tools": ["echo", "get-sum"], "required": ["get-sum"]}},
    "may": [{"everything": {"tool": "echo"}}, {"everything": {"tool": "get-sum", "max": 1, "json": {"a": 19}}}],
    "expect": [
        {
            "receipt": {
                "to": "CALL mcp://everything/get-sum",
                "request": {"json": {"a": 19, "b": 23}},
                "response": {"json": {"content[0].text": {"contains": "is 42"}}},
            }
        }
    ],
    "limits": {"tokens": 1_000_000},
}


def calls(*asked: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"tools": [{"name": f"mcp__everything__{name}", "input": given} for name, given in asked]}


TURNS = [
    calls(("echo", {"message": "hello from the run"})),
    calls(("get-sum", {"a": 18, "b": 1}), ("get-sum", {"a": 19, "b": 23})),
    calls(("get-sum", {"a": 19, "b": 24}), ("get-env", {})),
    {"text": "It is 42."},
]


async def test_its_tools_are_called_as_far_as_they_may_and_proved(real: Real, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(tmp_path / "cache")]
    npm = subprocess.run([*install, "--prefix", str(kit), f"{PACKAGE}@2026.1.26"], capture_output=True, check=False)  # noqa: ASYNC221 - nothing else is done meanwhile
    if npm.returncode != 0:
        absent(f"{PACKAGE} could not be installed: {npm.stderr.decode()[-500:]}")
    command = ["node", f"{kit}/node_modules/{PACKAGE}/dist/index.js", "streamableHttp"]
    alone = secluded(command, INSIDE, real.authority, tmp_path, env={"PORT": str(INSIDE)})
    async with alone as port:
        with real.model({"turns": TURNS}, port) as model:
            where = real.bench.tickover.home / "tickover.yaml"
            known = json.loads(where.read_text())
            mcp = {"url": f"https://localhost:{port}/mcp", "allow": ["resources", "logging"]}
            where.write_text(json.dumps({**known, "connectors": {"everything": {"mcp": mcp}}}))
            folder = real.routine("claude-code", model, **FRONT)
            real.bench.tickover.grant(folder, by="owner")
            row = await real.bench.run(folder)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.reason, real.bench.said()[-2000:])
    told = texts(model)
    assert "Echo: hello from the run" in told
    assert "The sum of 19 and 23 is 42" in told
    begun = {each["record"]["call"]: each["record"] for each in real.bench.facts("receipt_begun")}
    ended = {each["record"]["call"]: each["record"] for each in real.bench.facts("receipt_ended")}
    assert set(begun) == set(ended)
    asked = [(each["method"], each["path"], each["writes"]) for each in begun.values() if each["scheme"] == "mcp"]
    assert [each for each in asked if each[0] == "CALL"] == [("CALL", "/echo", True), ("CALL", "/get-sum", True)]
    assert ("LIST", "/tools", False) in asked
    assert ("READ", "/stream", False) in asked
    denied = [(each["code"], each["path"]) for each in real.bench.facts("connection_denied")]
    assert ("body", "/mcp/everything/get-sum") in denied
    assert ("max", "/mcp/everything/get-sum") in denied
    assert "required_missing" not in real.bench.findings(row)
    offered = {name for each in real.bench.facts("model_called") for name in each["tools"] or ()}
    assert {each for each in offered if each.startswith("mcp__everything__")} <= {
        "mcp__everything__echo", "mcp__everything__get-sum",
    }  # fmt: skip
