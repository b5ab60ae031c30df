"""Whole runs of `claude-code`: the adapter, builds and watchdogs are real, the CLI is a package of the test's own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.errors import UsageError
from tickover.testing.agent_package import agent_package

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/bin/npm"), reason="npm is not at /usr/bin/npm")

INIT = {"type": "system", "subtype": "init", "tools": ["Bash"], "claude_code_version": "9.9.9", "model": "scripted"}
DONE = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "permission_denials": []}
SAID = {"type": "assistant", "message": {"content": [{"type": "text", "text": "Wrote 3."}]}}
CLI = f"""\
if [ "$1" = --version ]; then echo 9.9.9; exit 0; fi
cat > turn.jsonl
printf '%s\\n' "$@" > argv.txt
ready() {{ echo '{json.dumps(INIT)}'; }}
case "$CASE" in
  writes) ready; echo 3 > count.txt; echo '{json.dumps(SAID)}'; echo '{json.dumps(DONE)}' ;;
  says) ready; echo '{json.dumps(SAID)}'; echo '{json.dumps(DONE)}' ;;
  cut) ready; echo 3 > count.txt; printf '%s' '{{"type":"result","subtype":"success","is_err'; kill -9 $$ ;;
  garbage) ready; printf '\377\000{{]\n[[[[\n{{"type":null}}\n{{"type":"assistant","message":7}}\n"result"\n{{"type":"result"}}\n'
    head -c 20000000 /dev/zero | tr '\000' '['; exit 0 ;;
  dies) ready; echo 3 > count.txt; exit 0 ;;
  mute) setsid sleep 3600 & sleep 3600 ;;
  hangs) ready; setsid sleep 3600 & sleep 3600 ;;
  stuck) ready; echo '{json.dumps(SAID)}'; sleep 3600 ;;
  result) ready; echo '{{"type":"result","is_error":false,"num_turns":1,"structured_output":{{"n":3}}}}' ;;
  overloaded) ready; echo '{{"type":"result","subtype":"success","is_error":true,"api_error_status":529}}'; exit 1 ;;
esac
"""
CHECK = {"count.py": "import sys; sys.exit(open('/subject/count.txt').read() != '3\\n')"}
BOUND = {"limits": {"tokens": 100_000}}
EXPECT = [{"command": {"run": "python3 count.py"}}]


@pytest.fixture
async def agent(bench: Bench) -> Bench:
    await install(bench, "9.9.9")
    return bench


async def install(bench: Bench, version: str) -> None:
    folder = bench.folder / version
    folder.mkdir()
    archive = agent_package(folder, "@anthropic-ai/claude-code", version, "claude", CLI)
    await bench.tickover.install(f"claude-code@{version}", [archive])


def routine(bench: Bench, case: str, **front: Any) -> Path:
    front = {"agent": "claude-code", "environment": {"env": {"CASE": case}}, "expect": EXPECT, **BOUND, **front}
    return bench.routine("You write count.txt:\n```text\n3\n```\n", checks=CHECK, **front)


@pytest.mark.parametrize(
    ("case", "execution", "outcome"),
    [
        ("writes", "completed", "verified"),
        ("says", "completed", "failed"),
        ("dies", "lost", "verified"),
        ("cut", "lost", "verified"),
        ("garbage", "failed", "failed"),
        ("overloaded", "failed", "failed"),
    ],
)
async def test_outcome_follows_the_work_and_execution_the_process(
    agent: Bench, case: str, execution: str, outcome: str
) -> None:
    row = await agent.run(routine(agent, case))
    assert (row.execution, row.outcome) == (execution, outcome), (row.attempts[-1].cause, agent.said())
    assert agent.facts("version_resolved")[0]["agent_build"] == "claude-code@9.9.9"
    assert agent.facts("agent_ready")[0]["version_said"] == "9.9.9"


@pytest.mark.parametrize(
    ("case", "watch", "says"),
    [
        ("mute", {"init": "1s"}, "it did not start within 1 s (`watch.init`)"),
        ("hangs", {"first_answer": "1s"}, "no first answer came within 1 s (`watch.first_answer`)"),
        ("stuck", {"progress": "1s"}, "it made no progress within 1 s (`watch.progress`)"),
    ],
)
async def test_an_agent_that_falls_silent_is_ended_with_all_it_started(
    agent: Bench, case: str, watch: dict[str, str], says: str
) -> None:
    row = await agent.run(routine(agent, case, watch={"init": "60s", "first_answer": "60s", **watch}))
    assert row.execution == "timed_out"
    cause = row.attempts[-1].cause
    assert cause is not None
    assert (cause.cause, cause.hint) == ("stalled", says)


@pytest.mark.parametrize(("case", "result"), [("result", "pass"), ("says", "fail")])
async def test_the_structured_result_is_what_the_output_check_sees(agent: Bench, case: str, result: str) -> None:
    schema = {"schema.json": json.dumps({"type": "object", "required": ["n"]})}
    front: dict[str, Any] = {"agent": "claude-code", "environment": {"env": {"CASE": case}}, **BOUND}
    folder = agent.routine(
        "Say n:\n```text\n3\n```\n", checks=schema, expect=[{"output": {"schema": "schema.json"}}], **front
    )
    row = await agent.run(folder)
    assert agent.results(row) == [result]
    assert row.outcome != "verified"


async def test_an_overloaded_model_is_tried_again(agent: Bench) -> None:
    row = await agent.run(routine(agent, "overloaded", retry={"attempts": 2, "backoff": "0s"}))
    assert [attempt.cause.cause for attempt in row.attempts if attempt.cause] == ["model_overloaded"] * 2


async def test_the_newest_installed_build_is_used_unless_one_is_pinned(agent: Bench) -> None:
    await install(agent, "9.10.0-beta.1")
    await install(agent, "9.10.0")
    assert [build.version for build in agent.tickover.builds()] == ["9.10.0", "9.10.0-beta.1", "9.9.9"]
    for pin, used in (("", "9.10.0"), ("@9.9.9", "9.9.9")):
        await agent.run(routine(agent, "writes", agent=f"claude-code{pin}"))
        assert agent.facts("agent_started")[0]["build"] == f"claude-code@{used}"


async def test_without_a_build_the_run_says_what_to_type(bench: Bench) -> None:
    row = await bench.run(routine(bench, "writes"))
    assert (row.execution, row.outcome) == ("failed", "none")
    cause = row.attempts[-1].cause
    assert cause is not None
    assert cause.cause == "preflight"
    assert "tickover agent install claude-code@VERSION" in cause.hint


async def test_a_model_that_is_paid_for_needs_a_budget(agent: Bench) -> None:
    row = await agent.run(routine(agent, "writes", limits={}))
    assert (row.execution, row.agent_started) == ("failed", False)
    cause = row.attempts[-1].cause
    assert cause is not None
    assert "set `limits.cost_usd`, `limits.tokens` or both" in cause.hint


@pytest.mark.parametrize(
    "build", ["claude-code@latest", "claude-code", "claude-code@1.2", "steps@1.0.0", "claude-code@1.2.3;id"]
)
async def test_what_is_no_build(bench: Bench, build: str) -> None:
    with pytest.raises(UsageError):
        await bench.tickover.install(build)


async def test_what_it_is_told(agent: Bench) -> None:
    app = agent.repository({"CLAUDE.md": "Trusted words.", ".claude/settings.json": '{"hooks": {}}', ".mcp.json": "{}"})
    folder = routine(
        agent, "writes", repositories={"app": {"url": app.url}}, model="scripted", artifacts=["*.txt", "turn.jsonl"]
    )
    row = await agent.run(folder, event=b'{"title": "do bad things"}')
    argv = agent.tickover.artifact(row.id, "argv.txt").decode().splitlines()
    assert argv[:2] == ["-p", "--input-format"]
    assert argv[argv.index("--setting-sources") + 1] == "user"
    assert argv[argv.index("--model") + 1] == "scripted"
    turn = json.loads(agent.tickover.artifact(row.id, "turn.jsonl"))
    assert "do bad things" in turn["message"]["content"][0]["text"]
    assert turn["message"]["content"][1]["text"] == "Carry out the routine."
