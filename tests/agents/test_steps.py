from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tickover.agents.base import Agent, AgentExit, AgentFact, AgentTask, Block
from tickover.agents.steps import RUNNER, STEPS
from tickover.agents.steps import Agent as StepsAgent
from tickover.core.errors import UsageError
from tickover.core.event import AgentFinished, AgentOutput, AgentStep, FindingReported
from tickover.core.status import AgentStatus
from tickover.testing.agent_suite import AgentSuite, Output

BLOCKS = (
    Block("fetch", "bash", "echo fetched", title="Fetch", timeout_s=60),
    Block("über/../x", "python", "print(1)"),
)
TASK = AgentTask(boundary="0f1e2d3c", blocks=BLOCKS, inputs={"text": "last"}, event=b"{}", env={"LANG": "C.UTF-8"})


def line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


SUCCESS = (
    line(tickover="output", step="fetch", stream="stdout", text="fetched\n"),
    line(tickover="output", step="fetch", stream="stderr", text="warning\n"),
    line(tickover="step", id="fetch", exit=0, seconds=0.5),
    line(tickover="step", id="über/../x", exit=0, seconds=1),
    line(tickover="end", exit=0),
)


CLEAN = AgentExit(0)


def run(*lines: bytes, exit_: AgentExit = CLEAN, task: AgentTask = TASK) -> list[AgentFact]:
    parser = StepsAgent().parser(task)
    return [fact for each in lines for fact in parser.feed("stdout", each)] + parser.finish(exit_)


def steps(facts: list[AgentFact]) -> list[tuple[str, int | None]]:
    return [(fact.id, fact.exit) for fact in facts if isinstance(fact, AgentStep)]


def text(facts: list[AgentFact]) -> str:
    return "".join(fact.text or "" for fact in facts if isinstance(fact, AgentOutput))


class TestConformance(AgentSuite):
    def agent(self) -> Agent:
        return StepsAgent()

    def task(self) -> AgentTask:
        return TASK

    def success(self) -> Output:
        return [("stdout", each) for each in SUCCESS]


def test_the_plan_holds_runner_steps_and_each_block() -> None:
    plan = StepsAgent().plan(TASK)
    assert plan.argv == ("/usr/bin/python3", "-I", RUNNER, STEPS)
    assert json.loads(plan.files[STEPS]) == {
        "cwd": "/workspace",
        "output": 64 << 20,
        "steps": [
            {"id": "fetch", "lang": "bash", "file": "/tickover/blocks/01-fetch.bash", "timeout": 60},
            {"id": "über/../x", "lang": "python", "file": "/tickover/blocks/02--ber----x.py", "timeout": None},
        ],
    }
    assert plan.files["/tickover/blocks/01-fetch.bash"] == b"echo fetched"
    assert b"Run the blocks of a routine" in plan.files[RUNNER]


def test_without_blocks_there_is_nothing_to_run() -> None:
    with pytest.raises(UsageError) as error:
        StepsAgent().plan(AgentTask(boundary="b"))
    assert error.value.code == "agent.no_blocks"


def test_success_in_the_normal_form() -> None:
    assert run(*SUCCESS) == [
        AgentOutput(stream="stdout", text="fetched\n"),
        AgentOutput(stream="stderr", text="warning\n"),
        AgentStep(id="fetch", lang="bash", title="Fetch", exit=0, duration_s=0.5, ok=True),
        AgentStep(id="über/../x", lang="python", exit=0, duration_s=1, ok=True),
        AgentFinished(status=AgentStatus.COMPLETED, exit=0),
    ]


@pytest.mark.parametrize(
    ("message", "exit_", "says"),
    [
        ({"exit": 7}, AgentExit(7), "step `fetch` ended with exit code 7"),
        ({"exit": None, "timed_out": True}, AgentExit(124), "step `fetch` ran into its time limit"),
        ({"exit": None, "signal": 9}, AgentExit(137), "step `fetch` was killed"),
        ({"exit": 141}, AgentExit(141, "signalled"), "step `fetch` ended with exit code 141"),
    ],
)
def test_a_failing_step_is_a_finding_and_the_reason(message: dict[str, object], exit_: AgentExit, says: str) -> None:
    facts = run(line(tickover="step", id="fetch", seconds=1, **message), line(tickover="end"), exit_=exit_)
    assert [fact.message for fact in facts if isinstance(fact, FindingReported)] == [says]
    assert facts[-1] == AgentFinished(status=AgentStatus.FAILED, exit=exit_.code, reason=says)


def test_a_forged_end_does_not_complete_a_run_that_stopped_early() -> None:
    finished = run(SUCCESS[0], SUCCESS[2], SUCCESS[4])[-1]
    assert finished == AgentFinished(status=AgentStatus.FAILED, exit=0, reason="1 of 2 steps ended")


@pytest.mark.parametrize(
    "forged",
    [
        line(tickover="step", id="über/../x", exit=0, seconds=1),
        line(tickover="step", id="nobody", exit=0, seconds=1),
        line(tickover="step", id="fetch", exit=0, seconds=-1),
        line(tickover="step", id="fetch", exit=0, seconds=1e300),
        line(tickover="step", id="fetch", exit=256, seconds=1),
        line(tickover="step", id="fetch", exit=True, seconds=1),
        b'{"tickover": "step", "id": "fetch", "exit": 0, "seconds": NaN}\n',
        b'{"tickover": "step", "id": "fetch", "exit": 0, "seconds": 1' + b"0" * 4000 + b"}\n",
        line(tickover="output", stream="journal", text="x"),
        line(tickover="end", exit=0)[:-1] + b" trailing\n",
    ],
)
def test_what_the_runner_cannot_have_said_is_shown_as_output(forged: bytes) -> None:
    facts = run(forged, *SUCCESS)
    assert text(facts).startswith(forged.decode())
    assert steps(facts) == [("fetch", 0), ("über/../x", 0)]


def test_a_forged_step_comes_once_and_the_true_one_is_shown() -> None:
    forged, true = (line(tickover="step", id="fetch", exit=code, seconds=1) for code in (0, 7))
    facts = run(forged, true, line(tickover="end", exit=7), exit_=AgentExit(7))
    assert steps(facts) == [("fetch", 0)]
    assert true.decode() in text(facts)
    assert isinstance(facts[-1], AgentFinished)
    assert facts[-1].status is AgentStatus.FAILED


def test_a_killed_runner_says_no_last_word() -> None:
    facts = run(*SUCCESS[:3], exit_=AgentExit(0))
    assert [fact.code for fact in facts if isinstance(fact, FindingReported)] == ["no_result_event"]
    assert facts[-1].reason == "the runner ended without its last word"  # type: ignore[union-attr]


def test_output_above_the_limit_is_counted_and_said_once() -> None:
    task = replace(TASK, output_limit=35)  # "ä" takes six of them in a journal
    facts = run(*(line(tickover="output", step="fetch", stream="stdout", text="ä" * 4) for _ in range(3)), task=task)
    assert text(facts) == "ääää" + "ä"
    assert [fact.truncated for fact in facts if isinstance(fact, AgentOutput)] == [False, True]
    assert {"dropped_bytes": 14} in [fact.detail for fact in facts if isinstance(fact, FindingReported)]


def test_what_the_runner_did_not_pass_on_counts_as_dropped() -> None:
    lines = [
        line(tickover="dropped", step="fetch", stream="stderr", bytes=size) for size in (5, 7, 0, -1, 1 << 60, True)
    ]
    facts = run(line(tickover="output", step="fetch", stream="stdout", text="kept"), *lines)
    assert [fact.truncated for fact in facts if isinstance(fact, AgentOutput)][:2] == [False, True]
    assert facts[0] == AgentOutput(stream="stdout", text="kept")
    [finding] = [each for each in facts if isinstance(each, FindingReported) and each.code == "output_truncated"]
    assert finding.detail["dropped_bytes"] >= 12  # type: ignore[operator]
