"""`agent canary` with two versions of the real Claude Code CLI. The model is scripted: it is no model."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.canary import CaseResult
from tickover.gateway.certificates import RunAuthority
from tickover.testing.absent import absent
from tickover.testing.localhost import trust
from tickover.testing.model import ScriptedModel

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

NPM = os.path.exists("/usr/bin/npm")
OLD, NEW = "claude-code@2.1.197", "claude-code@2.1.331"


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_another_version_of_the_real_cli_does_the_recorded_work(bench: Bench) -> None:
    if not NPM:
        absent("npm is not at /usr/bin/npm")
    await bench.tickover.install(OLD)
    authority = RunAuthority("scripted model", now=datetime.now(UTC))
    work: dict[str, Any] = {"name": "Bash", "input": {"command": "echo 3 > count.txt"}}
    with ScriptedModel(
        {"turns": [{"text": "Counting.", "tools": [work]}, {"text": "Done."}]}, tls=authority.context("localhost")
    ) as model:
        trust(bench.tickover.home, [model.port], authority.pem)
        front: dict[str, Any] = {
            "agent": OLD,
            "environment": {"env": {"ANTHROPIC_BASE_URL": f"https://localhost:{model.port}"}},
            "expect": [{"command": {"run": "grep -qx 3 /subject/count.txt"}}],
            "limits": {"tokens": 400_000},
        }
        row = await bench.run(bench.routine("You count.\n```text\n3\n```\n", **front), record=True)
        assert row.outcome == "verified", (row.cause, bench.said())
        asked = len(model.requests)
    note = await bench.tickover.canary(NEW, None, 1, lambda _case: None)
    assert len(model.requests) == asked
    [case] = note.cases
    assert case.result in {CaseResult.SAME, CaseResult.DIFFERS}, case
    assert (case.now.execution, case.now.passed, case.now.checks) == ("completed", 1, 1)
    assert bench.tickover.run_row(case.replay).agent_build == NEW
    assert [str(each) for each in bench.tickover.builds() if not each.held] == [NEW, OLD]
