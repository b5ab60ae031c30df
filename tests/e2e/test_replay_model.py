"""Recorded conversations with a model, run again: our own loop always, the real CLIs where npm has them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.comparison import Comparison
from tickover.core.event import JournalEvent
from tickover.gateway.certificates import RunAuthority
from tickover.testing.absent import absent
from tickover.testing.localhost import trust
from tickover.testing.model import ScriptedModel

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

CHECK = {"count.py": "import sys; sys.exit(open('/subject/count.txt').read() != '3\\n')"}
FRONT: dict[str, Any] = {"expect": [{"command": {"run": "python3 count.py"}}], "limits": {"tokens": 400_000}}
BODY = "You count.\n```text\n3\n```\n"
TOLD = {"agent_text", "agent_tool_call", "agent_tool_result"}


Turns = list[dict[str, Any]]


def transcript(events: Sequence[JournalEvent]) -> list[tuple[str, str]]:
    return [(event.type, json.dumps(event.data, sort_keys=True)) for event in events if event.type in TOLD]


async def replay(bench: Bench, run: str) -> tuple[Comparison, list[tuple[str, str]]]:
    events: list[JournalEvent] = []
    compared = await bench.tickover.replay(run, observe=events.append)
    return compared, transcript(events)


async def recorded_twice(bench: Bench, turns: Turns, **front: Any) -> Comparison:
    """Record a run on a script, replay it twice without the model, and return the second replay."""
    authority = RunAuthority("scripted model", now=datetime.now(UTC))
    with ScriptedModel({"turns": turns}, tls=authority.context("localhost")) as model:
        trust(bench.tickover.home, [model.port], authority.pem)
        at = json.loads(json.dumps(front).replace("MODEL", f"https://localhost:{model.port}"))
        row = await bench.run(bench.routine(BODY, checks=CHECK, **{**FRONT, **at}), record=True)
        asked = len(model.requests)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.cause, bench.said())
    then = transcript(bench.events)
    (first, one), (second, two) = await replay(bench, row.id), await replay(bench, row.id)
    assert len(model.requests) == asked
    assert one == two == then
    for each in (first, second):
        assert each.now.drifts == ()
        assert each.as_recorded
        assert (each.now.outcome, each.now.usage.calls, each.now.usage.cost_usd) == ("unverified", 0, 0.0)
    return second


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
async def test_a_loop_is_replayed_without_its_model(bench: Bench, wire: str) -> None:
    write: dict[str, Any] = {
        "text": "Counting.",
        "tools": [{"name": "write", "input": {"path": "count.txt", "content": "3\n"}}],
    }
    first: dict[str, Any] = {"tools": [{"name": "bash", "input": {"command": "echo $TICKOVER_RUN; uname"}}]}
    url = "MODEL/v1" if wire == "openai" else "MODEL"
    at = {"name": "scripted", "url": url, "wire": wire}
    turns: list[dict[str, Any]] = [first, write, {"text": "Done."}]
    await recorded_twice(bench, turns, agent="loop", model=at)


async def test_a_stop_gate_is_judged_again_and_is_no_evidence(bench: Bench) -> None:
    def writes(content: str) -> dict[str, Any]:
        return {"text": "Counting.", "tools": [{"name": "write", "input": {"path": "count.txt", "content": content}}]}

    gated = [{"command": {"run": "python3 count.py", "stop_gate": {"says": "Count again."}}}]
    at = {"name": "scripted", "url": "MODEL", "wire": "anthropic"}
    turns: Turns = [writes("2\n"), {"text": "Done."}, writes("3\n"), {"text": "Done."}]
    second = await recorded_twice(bench, turns, agent="loop", model=at, expect=gated)
    judged = [[str(each.result) for each in gate.checks] for gate in second.now.gates]
    assert judged == [["fail"], ["pass"]]
    assert {str(each.evidence_class) for each in second.now.evidence} == {"claim"}


NPM = os.path.exists("/usr/bin/npm")
REAL = {
    "claude-code": ("claude-code@2.1.197", {"ANTHROPIC_BASE_URL": "MODEL"}, "Bash", {"command": "echo 3 > count.txt"}),
    "codex": ("codex@0.169.0", {"OPENAI_BASE_URL": "MODEL/v1"}, "exec_command", {"cmd": "echo 3 > count.txt"}),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", REAL)
async def test_a_real_agent_is_replayed_without_its_model(bench: Bench, name: str) -> None:
    if not NPM:
        absent("npm is not at /usr/bin/npm")
    build, env, tool, arguments = REAL[name]
    await bench.tickover.install(build)
    turns: Turns = [{"text": "Counting.", "tools": [{"name": tool, "input": arguments}]}, {"text": "Done."}]
    second = await recorded_twice(bench, turns, agent=build, environment={"env": env})
    assert second.now.agent_build == build
