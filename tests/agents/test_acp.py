"""The adapter of the Agent Client Protocol: its runner on this machine, driven by agents that a test writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tickover.agents.acp import PROMPT, RUNNER, TASK
from tickover.agents.acp import Agent as AcpAgent
from tickover.agents.base import Agent, AgentExit, AgentFact, AgentTask
from tickover.core.errors import UsageError
from tickover.core.event import (
    AgentFinished,
    AgentReady,
    AgentText,
    AgentToolCall,
    AgentToolResult,
    FindingReported,
)
from tickover.core.network import Reach
from tickover.core.status import AgentStatus
from tickover.testing.acp_agent import acp_agent
from tickover.testing.agent_suite import AgentSuite, Output

ASKED = AgentTask("3b1f8a52c6d94e07", prompt="You count.", argv=("agent", "--acp"), output_limit=1 << 20)
READY = b'{"tickover": "ready", "model": "", "session": "s1", "version": "1.0", "tools": []}\n'
DONE = b'{"tickover": "end", "why": "done", "message": "", "status": 0}\n'


class TestConformance(AgentSuite):
    def agent(self) -> Agent:
        return AcpAgent()

    def task(self) -> AgentTask:
        return ASKED

    def success(self) -> Output:
        return [("stdout", READY), ("stdout", b'{"tickover": "text", "text": "Counted."}\n'), ("stdout", DONE)]


def run(folder: Path, program: str) -> list[AgentFact]:
    """Lay the plan out below a folder and run it."""
    task = replace(ASKED, argv=(sys.executable, "-c", program), workspace=str(folder))
    plan = AcpAgent().plan(task)
    told = {**json.loads(plan.files[TASK]), "prompt": str(folder / "prompt.md")}
    (folder / "acp.py").write_bytes(plan.files[RUNNER])
    (folder / "acp.json").write_text(json.dumps(told))
    (folder / "prompt.md").write_bytes(plan.files[PROMPT])
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "acp.py"), str(folder / "acp.json")],
        env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=100,
    )  # fmt: skip
    parser = AcpAgent().parser(task)
    facts = [*parser.feed("stdout", done.stdout), *parser.feed("stderr", done.stderr)]
    return [*facts, *parser.finish(AgentExit(done.returncode))]


def last(facts: list[AgentFact]) -> AgentFinished:
    assert isinstance(facts[-1], AgentFinished)
    return facts[-1]


def test_a_turn_is_told_and_its_permission_given(tmp_path: Path) -> None:
    facts = run(tmp_path, acp_agent("echo 3 > count.txt", "Counted."))
    told = [fact for fact in facts if not isinstance(fact, AgentFinished)]
    assert [type(fact) for fact in told] == [AgentReady, AgentText, AgentToolCall, AgentToolResult, AgentText]
    assert last(facts).status is AgentStatus.COMPLETED, facts
    assert (tmp_path / "count.txt").read_text() == "3\n"


def test_a_tool_that_failed_is_a_finding(tmp_path: Path) -> None:
    facts = run(tmp_path, acp_agent("exit 7", "All good!"))
    assert [fact.code for fact in facts if isinstance(fact, FindingReported)] == ["tool_failed"]
    assert last(facts).status is AgentStatus.COMPLETED


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("raise SystemExit(0)", "ended before it answered initialize"),
        ("print('[' * 100000, flush=True)", "ended before it answered initialize"),
        ('print(\'{"id": 1, "result": {"protocolVersion": 2}}\', flush=True); input()', "speaks version 2, not 1"),
        ('print(\'{"id": 1, "error": {"code": 429, "message": "busy"}}\', flush=True)', "busy (429)"),
        (acp_agent("true", "", stop="refusal"), "the turn ended with refusal"),
        (acp_agent("true", "", stop="max_tokens"), "the turn ended with max_tokens"),
        (acp_agent("true", "", dies=True), "ended before it answered session/prompt"),
    ],
)
def test_what_is_no_completion(tmp_path: Path, program: str, says: str) -> None:
    facts = run(tmp_path, program)
    assert last(facts).status is AgentStatus.FAILED
    assert says in last(facts).reason


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        AcpAgent().plan(replace(ASKED, argv=()))
    assert AcpAgent().reach({}) == Reach()
    prompt = AcpAgent().plan(ASKED).files[PROMPT].decode()
    assert prompt.startswith("You count.\n")
    assert "Carry out the routine." in prompt
