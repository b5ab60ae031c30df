"""Whole runs with an MCP server that is a program: in a sandbox of its own, with its own way out."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e import test_mcp

from tickover.core.errors import DefinitionErrors
from tickover.testing import mcp_program
from tickover.testing.localhost import entry, serving, url
from tickover.testing.upstream import Seen, Talk, Upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

CLIENT = test_mcp.CLIENT.replace("/mcp/tracker", "/mcp/desk")
TOKEN = "prg_the_token_of_the_program_4711"
INSTALL = (
    f"mkdir -p /home/agent/server && cat > /home/agent/server/double.py <<'EOF'\n{inspect.getsource(mcp_program)}EOF\n"
)
COMMAND = ["/usr/bin/python3", "-I", "/home/agent/server/double.py"]
TOOLS = ["echo", "env", "fetch", "die", "slow"]


def instance(bench: Bench, at: Upstream | None = None, **program: Any) -> None:
    """Say in tickover.yaml that there is the connector `desk`, and what it is."""
    known: dict[str, Any] = {
        "connectors": {"desk": {"mcp": {"program": {"command": COMMAND, "setup": INSTALL, **program}}}}
    }
    if at is not None:
        roots = bench.folder / "roots.pem"
        roots.write_bytes(at.authority.pem if at.authority else b"")
        known["network"] = {"private": [entry(at)], "roots": [str(roots)]}
        bench.tickover.secrets.set("desk-token", TOKEN.encode(), by="owner", binding={"hosts": [entry(at)]})
    (bench.tickover.home / "tickover.yaml").write_text(json.dumps(known))


def routine(bench: Bench, *calls: dict[str, Any], after: str = "", **front: Any) -> Path:
    arguments = " ".join(f"'{json.dumps(each)}'" for each in calls)
    body = f"cat > client.py <<'EOF'\n{CLIENT}EOF\npython3 client.py direct {arguments}\n{after}\n"
    wanted: dict[str, Any] = {"connectors": {"desk": {"tools": TOOLS}}}
    folder = bench.routine(body, **{**wanted, **front})
    bench.tickover.grant(folder, by="owner")
    return folder


def call(tool: str, **given: Any) -> dict[str, Any]:
    return {"name": tool, "arguments": given}


async def test_a_tool_is_asked_and_its_write_proved(bench: Bench) -> None:
    async with serving(_answers) as at:
        instance(bench, at, network=[entry(at)], credentials={"TOKEN": "desk-token"}, env={"COLOUR": "green"})
        folder = routine(
            bench,
            call("echo", text="hello desk"),
            call("env", name="COLOUR"),
            call("env", name="TOKEN"),
            call("fetch", url=f"{url(at)}/things", body='{"title": "Disk is full"}'),
            call("fetch", url=f"{url(at)}/things"),
            after=f"ls /home/agent/server || echo not here; curl -sS -m 20 {url(at)}/ || true",
            may=[{"desk": {"tool": "fetch", "max": 1}}],
            expect=[{"receipt": {"to": "CALL mcp://desk/fetch", "request": {"json": {"body": {"contains": "Disk"}}}}}],
        )
        row = await bench.run(folder)
        assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, bench.said())
        said = bench.said()
        assert "hello desk" in said
        assert "green" in said
        assert "tickover-placeholder-desk-token" in said
        assert "not here" in said  # the server's layer is not the agent's
        assert [(each.method, each.header("authorization")) for each in at.seen] == [("POST", f"Bearer {TOKEN}")]
        begun = [each["record"] for each in bench.facts("receipt_begun")]
        wrote = [(each["identity"], each["method"], each["host"], each["rule"]) for each in begun if each["writes"]]
        assert wrote == [("agent", "CALL", "desk", "may[0]"), ("server", "POST", "localhost", "connectors.desk")]
        denied = {(each["identity"], each["code"]) for each in bench.facts("connection_denied")}
        assert ("agent", "max") in denied
        assert TOKEN not in json.dumps([event.data for event in bench.events])


async def _answers(seen: Seen, talk: Talk) -> None:
    """Echo the token: what an upstream says is blotted out, there too."""
    shown = {"you": seen.header("authorization"), "id": 7}
    await talk.answer(json.dumps(shown).encode(), headers=(("content-type", "application/json"),))


async def test_a_program_reaches_its_own_list_and_no_more(bench: Bench) -> None:
    async with serving(_answers) as at:
        instance(bench, at, network=["localhost:81"])
        folder = routine(
            bench,
            call("fetch", url="https://other.example.com/x"),
            call("fetch", url=f"{url(at)}/things"),
            may=[{"desk": {"tool": "fetch"}}],
            environment={"network": [entry(at)]},  # the agent's list is not the program's
        )
        await bench.run(folder)
        assert at.seen == []
        denied = [(each["identity"], each["host"]) for each in bench.facts("connection_denied")]
        assert denied == [("server", "other.example.com")]


async def test_a_replay_starts_no_program_and_says_that_its_answers_are_missing(bench: Bench) -> None:
    async with serving(_answers) as at:
        instance(bench, at, network=[entry(at)], credentials={"TOKEN": "desk-token"})
        wrote = call("fetch", url=f"{url(at)}/things", body='{"title": "Disk is full"}')
        row = await bench.run(routine(bench, wrote, may=[{"desk": {"tool": "fetch", "max": 1}}]), record=True)
        assert len(at.seen) == 1
        bench.events = []
        compared = await bench.tickover.replay(row.id, observe=bench.events.append)
        assert len(at.seen) == 1
    assert compared.now.execution == "completed"
    assert {each.kind for each in compared.now.drifts} == {"unread"}
    assert "replay_offline" in bench.said()
    assert compared.now.network.calls == 0
    assert "connector_failed" not in bench.findings(compared.now)


async def test_a_program_that_dies_is_a_finding_and_an_error_of_the_call(bench: Bench) -> None:
    instance(bench)
    folder = routine(
        bench, call("echo", text="before"), call("die"), call("echo", text="after"), may=[{"desk": {"tool": "die"}}]
    )
    row = await bench.run(folder)
    assert "connector_failed" in bench.findings(row)
    [said] = [each.finding.message for each in row.findings if each.finding.code == "connector_failed"]
    assert said == "the MCP server `desk` ended with exit code 3: double of an MCP server"
    said = bench.said()
    assert "before" in said
    assert '"error"' in said
    assert "mcp_died" in said
    assert '"after"' not in said


async def test_a_program_that_is_not_there(bench: Bench) -> None:
    instance(bench, command=["/home/agent/none"])
    row = await bench.run(routine(bench, call("echo", text="?")))
    assert "connector_failed" in bench.findings(row)
    assert "mcp_died" in bench.said()


async def test_a_setup_that_fails_is_the_error(bench: Bench) -> None:
    instance(bench, setup="echo no such package >&2; false")
    row = await bench.run(routine(bench, call("echo", text="?")))
    assert (row.outcome, row.exit_code) == ("none", 7), row.reason


async def test_what_a_program_asks_for_is_granted_by_the_owner(bench: Bench) -> None:
    instance(bench, network=["localhost:81"], credentials={"TOKEN": "nobodys"})
    with pytest.raises(DefinitionErrors) as caught:
        await bench.run(routine(bench, call("echo", text="?")))
    assert "credential.unknown" in {each.code for each in caught.value.problems}
    instance(bench, network=["localhost:81"])
    folder = routine(bench, call("echo", text="?"))
    [ask] = [each for each in bench.tickover.grants_of(folder).kept if "MCP server desk" in each.says]
    assert "a program in a sandbox of its own, which reaches localhost:81" in ask.says
    instance(bench, network=["localhost:82"])
    assert [each for each in bench.tickover.grants_of(folder).new if "localhost:82" in each.says]
