"""Codex's adapter: recorded streams of the real CLI, hostile ones, and what it is told, frozen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tickover.agents.base import Agent, AgentExit, AgentFact, AgentTask, Offer, Skill
from tickover.agents.codex import Agent as CodexAgent
from tickover.core.cause import CauseCode
from tickover.core.errors import UsageError
from tickover.core.event import (
    AgentFinished,
    AgentReady,
    AgentText,
    AgentToolCall,
    AgentToolResult,
    AgentUsage,
    FindingReported,
)
from tickover.core.network import Asked, Reach
from tickover.core.status import AgentStatus
from tickover.testing.agent_suite import AgentSuite, Output

DATA = Path(__file__).parent / "data" / "codex"
GOLDEN = Path(__file__).parent / "golden_codex"
TASK = AgentTask(
    boundary="3b1f8a52c6d94e07",
    prompt="You are the release reporter.\n",
    inputs={"text": "last"},
    env={"LANG": "C.UTF-8"},
    program="/opt/codex",
    output_limit=1 << 20,
)
OK, FAILED, KILLED = AgentStatus.COMPLETED, AgentStatus.FAILED, AgentStatus.KILLED
OVERLOADED, LOST = CauseCode.MODEL_OVERLOADED, CauseCode.LOST

# recording: exit, how it ended, the cause, its findings, its own word
ENDINGS: dict[str, tuple[AgentExit, AgentStatus, CauseCode | None, list[str], str]] = {
    "success": (AgentExit(0), OK, None, [], "turn.completed"),
    "cut_once": (AgentExit(0), OK, None, [], "turn.completed"),
    "empty": (AgentExit(0), OK, None, [], "turn.completed"),
    "no_such_tool": (AgentExit(0), OK, None, [], "turn.completed"),
    "connector_failed": (AgentExit(0), OK, None, [], "turn.completed"),
    "tool_failed": (AgentExit(0), OK, None, ["tool_failed"], "turn.completed"),
    "background": (AgentExit(0), OK, None, ["background_work_cut_off"], "turn.completed"),
    "overloaded": (AgentExit(1), FAILED, OVERLOADED, [], "turn.failed"),
    "rate_limited": (AgentExit(1), FAILED, OVERLOADED, [], "turn.failed"),
    "dies_after_effect": (AgentExit(1), FAILED, OVERLOADED, [], "turn.failed"),
    "unauthorised": (AgentExit(1), FAILED, None, [], "turn.failed"),
    "bad_request": (AgentExit(1), FAILED, None, [], "turn.failed"),
    "cut_always": (AgentExit(1), FAILED, None, [], "turn.failed"),
    "sigterm": (AgentExit(143, "signalled"), KILLED, LOST, ["no_result_event"], ""),
    "sigint": (AgentExit(130), FAILED, LOST, ["no_result_event"], ""),
}


def facts_of(name: str, exit_: AgentExit, task: AgentTask = TASK) -> list[AgentFact]:
    data = (DATA / f"{name}.jsonl").read_bytes()
    parser = CodexAgent().parser(task)
    facts = [fact for start in range(0, len(data), 100) for fact in parser.feed("stdout", data[start : start + 100])]
    return [*facts, *parser.finish(exit_)]


def ending(facts: list[AgentFact]) -> AgentFinished:
    assert isinstance(facts[-1], AgentFinished)
    return facts[-1]


class TestConformance(AgentSuite):
    def agent(self) -> Agent:
        return CodexAgent()

    def task(self) -> AgentTask:
        return TASK

    def success(self) -> Output:
        return [("stdout", line) for line in (DATA / "success.jsonl").read_bytes().splitlines(keepends=True)]


@pytest.mark.parametrize("name", ENDINGS)
def test_a_recorded_ending(name: str) -> None:
    exit_, status, cause, findings, word = ENDINGS[name]
    facts = facts_of(name, exit_)
    found = [str(fact.code) for fact in facts if isinstance(fact, FindingReported)]
    assert (ending(facts).status, ending(facts).cause, found, ending(facts).said) == (status, cause, findings, word)


def test_every_recording_is_used() -> None:
    assert {path.stem for path in DATA.iterdir()} == set(ENDINGS)


def test_an_ending_is_heard_wherever_its_type_stands() -> None:
    lines = b'{"thread_id":"t","type":"thread.started"}\n{"usage":{"input_tokens":1},"type":"turn.completed"}\n'
    parser = CodexAgent().parser(TASK)
    assert ending([*parser.feed("stdout", lines), *parser.finish(AgentExit(0))]).status == "completed"


def test_the_normal_form_of_a_success() -> None:
    ready, text, call, answer, last, usage, _ = facts_of("success", AgentExit(0))
    assert isinstance(ready, AgentReady)
    assert text == AgentText(text="I will write it.")
    assert isinstance(call, AgentToolCall)
    assert (call.tool, call.arguments) == ("shell", {"command": "/bin/bash -lc 'echo 3 > count.txt && cat count.txt'"})
    assert answer == AgentToolResult(id=call.id, ok=True, text="3\n")
    assert last == AgentText(text="Wrote 3.")
    assert usage == AgentUsage(input_tokens=200, output_tokens=40)


def test_a_result_that_is_no_json_is_not_of_the_schema() -> None:
    assert ending(facts_of("success", AgentExit(0), replace(TASK, schema="{}"))).status is FAILED


def test_what_it_may_not_do_is_a_denial() -> None:
    declined = (
        b'{"type":"item.completed","item":{"id":"i","type":"command_execution","command":"rm x","status":"declined"}}\n'
    )
    done = b'{"type":"turn.completed","usage":{}}\n'
    parser = CodexAgent().parser(TASK)
    facts = [*parser.feed("stdout", declined + done), *parser.finish(AgentExit(0))]
    assert [str(fact.code) for fact in facts if isinstance(fact, FindingReported)] == ["denied_tool"]
    assert ending(facts).status is FAILED


SKILL = Skill("digest", "# Digest\n\nCount commits.\n", {"SKILL.md": b"---\nname: digest\n---\n"})
FRAMES = {
    "bare": AgentTask(boundary="3b1f8a52c6d94e07", program="/opt/codex"),
    "full": replace(
        TASK, skill=SKILL, trusted={"AGENTS.md": b"Be kind.\n", "CLAUDE.md": b"no\n"}, model="gpt-5.5", schema="{}",
        model_url="https://model.test/v1", offers=(Offer("slack", "http://tickover.internal/mcp/slack"),), event=b'{"title": "x"}',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_the_frame_is_the_golden_one(name: str) -> None:
    plan = CodexAgent().plan(FRAMES[name])
    shown = "".join(f"{word}\n" for word in plan.argv)
    shown += "".join(f"\n${key}={value}" for key, value in sorted(plan.env.items())) + "\n"
    shown += "".join(f"\n==> {path}\n{data.decode()}" for path, data in sorted(plan.files.items()))
    assert shown == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_the_host_of_its_model_is_all_it_needs() -> None:
    assert CodexAgent().reach({}) == Reach(
        (Asked("openai", "agent codex"),), ("POST https://api.openai.com/v1/responses",)
    )
    assert CodexAgent().reach({"OPENAI_BASE_URL": "https://m.test:8443/v1"}) == Reach(
        (Asked("m.test:8443", "agent codex", inspect=True),), ("POST https://m.test:8443/v1/responses",)
    )
    with pytest.raises(UsageError):
        CodexAgent().reach({"OPENAI_BASE_URL": "m.test"})


def test_without_a_build_it_can_not_be_started() -> None:
    with pytest.raises(UsageError) as error:
        CodexAgent().plan(replace(TASK, program=""))
    assert error.value.code == "agent.not_installed"
