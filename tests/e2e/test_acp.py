"""Whole runs of `acp`: the adapter and its runner in the sandbox; the agent is a program of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tickover.testing.acp_agent import acp_agent

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

CHECK = {"count.py": "import sys; sys.exit(open('/subject/count.txt').read() != '3\\n')"}
EXPECT = [{"command": {"run": "python3 count.py"}}]


@pytest.mark.parametrize(("command", "outcome"), [("echo 3 > count.txt", "verified"), ("true", "failed")])
async def test_work_is_verified_and_words_are_not(bench: Bench, command: str, outcome: str) -> None:
    argv = ["python3", "-c", acp_agent(command, "Verified: count.txt holds 3.")]
    folder = bench.routine("You count.\n```text\n3\n```\n", agent="acp", argv=argv, checks=CHECK, expect=EXPECT)
    row = await bench.run(folder)
    assert (row.execution, row.outcome) == ("completed", outcome), (row.attempts[-1].cause, bench.said())
    assert bench.facts("agent_ready")[0]["version_said"] == "1.0"
