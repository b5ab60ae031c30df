"""The real CLIs with the run's own tools and a stop gate; the model is the scripted model, and no model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.real.conftest import Real, says

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SAYS = "out/report.md must name the apples."
CHECK = {"report.py": "import sys; sys.exit(open('/subject/out/report.md').read() != 'Three apples.\\n')"}
GATED = [{"command": {"run": "python3 report.py", "stop_gate": {"says": SAYS}}}]
HAND_IN = {"path": "out/report.md", "content": "Three apples.\n"}
CLAIM = {"status": "done", "summary": "all is there"}


def calls(agent: str, *several: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a turn that calls tools of the run's own: Codex reaches those of MCP servers by its tool `exec`."""
    if agent == "claude-code":
        return {"tools": [{"name": f"mcp__tickover__{tool}", "input": given} for tool, given in several]}
    lines = [f"text(await tools.mcp__tickover__{tool}({json.dumps(given)}));" for tool, given in several]
    return {"tools": [{"name": "exec", "input": "\n".join(lines)}]}


@pytest.mark.parametrize("agent", ["claude-code", "codex"])
async def test_it_goes_on_where_it_is_sent_back_and_hands_in(real: Real, agent: str) -> None:
    second = calls(agent, ("artifact", HAND_IN), ("report", CLAIM))
    turns = [says(agent, "Done: all is verified."), second, says(agent, "Done."), says(agent, "Done.")]
    with real.model({"turns": turns}) as model:
        folder = real.routine(agent, model, checks=CHECK, expect=GATED, limits={"tokens": 10_000_000, "timeout": "5m"})
        row = await real.bench.run(folder)
        told = json.dumps(model.requests[-1].body)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.attempts[-1].cause, real.bench.said(), told)
    assert [gate.says for gate in row.gates] == [(SAYS,), ()]
    assert SAYS in told
    assert row.claim
    assert row.claim.summary == CLAIM["summary"]
    assert "repaired" in real.bench.findings(row)
    denied = {each["host"] for each in real.bench.facts("connection_denied")}
    assert "tickover.internal" not in denied
    assert [each["path"] for each in real.bench.facts("artifact_stored")] == ["out/report.md"]


@pytest.mark.parametrize("agent", ["claude-code", "codex"])
async def test_it_is_sent_back_three_times_and_no_more(real: Real, agent: str) -> None:
    with real.model({"turns": [says(agent, "Done.") for _ in range(6)]}) as model:
        folder = real.routine(agent, model, checks=CHECK, expect=GATED, limits={"tokens": 10_000_000, "timeout": "5m"})
        row = await real.bench.run(folder)
    assert (row.execution, row.outcome) == ("completed", "failed"), (row.attempts[-1].cause, real.bench.said())
    assert len([gate for gate in row.gates if gate.says]) == 3
    assert len(model.requests) == 4
