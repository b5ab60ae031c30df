from __future__ import annotations

import pytest

from tickover.core.event import (
    AgentFinished,
    AgentStarted,
    AgentToolCall,
    AgentToolResult,
    AttemptFinished,
    AttemptStarted,
    CheckEvaluated,
    Fact,
    ModelCalled,
    PhaseFinished,
    PhaseStarted,
    ReceiptBegun,
    ReceiptEnded,
    RunCreated,
    RunFinished,
)
from tickover.core.evidence import CheckList, CheckResult, EvidenceClass
from tickover.core.receipt import Begun, Delivery, Ended
from tickover.core.status import AgentStatus, Execution, Outcome, Phase
from tickover.core.trace import Span, trace_of
from tickover.testing import stories
from tickover.testing.stories import START, journal

SECRET = "hunter2"
FACTS: list[Fact] = [
    RunCreated(routine="r", inputs={"a": SECRET}),
    AttemptStarted(attempt=1),
    PhaseStarted(phase=Phase.AGENT),
    AgentStarted(build="claude-code@2.1.197"),
    AgentToolCall(id="t1", tool="Bash\x1b[31m", arguments={"command": SECRET}),
    ModelCalled(
        host="api.example.com", port=443, dialect="anthropic", model="claude-sonnet-5", status=200, input_tokens=10,
        output_tokens=5, cache_read_tokens=100, cost_usd=0.5,
    ),
    ReceiptBegun(
        receipt=1, mac="m",
        record=Begun(call=1, at=START + 3, attempt=1, method="POST", scheme="https", host="slack.com", port=443,
                     path=f"/{SECRET}", query=SECRET, rule="may[0]", writes=True),
    ),
    ReceiptEnded(receipt=2, mac="m", record=Ended(call=1, at=START + 3.25, delivery=Delivery.ANSWERED, status=500)),
    AgentToolResult(id="t1", ok=False, text=SECRET),
    AgentFinished(status=AgentStatus.COMPLETED, reason=SECRET),
    PhaseFinished(phase=Phase.AGENT, duration_s=1),
    PhaseStarted(phase=Phase.VERIFY),
    CheckEvaluated(
        list=CheckList.EXPECT, index=0, kind="command", evidence_class=EvidenceClass.ARTIFACT, result=CheckResult.FAIL,
        summary=SECRET, duration_s=0.25,
    ),
    PhaseFinished(phase=Phase.VERIFY, duration_s=1),
    AttemptFinished(execution=Execution.COMPLETED),
    RunFinished(execution=Execution.COMPLETED, outcome=Outcome.FAILED, exit_code=5),
]  # fmt: skip


def named(facts: list[Fact]) -> dict[str, Span]:
    return {each.name: each for each in trace_of(journal(facts)).spans}


def test_the_tree() -> None:
    found = named(FACTS)
    names = {each.id: each.name for each in found.values()}
    assert {name: names.get(span.parent or b"") for name, span in found.items()} == {
        "run r": None,
        "attempt 1": "run r",
        "phase agent": "attempt 1",
        "invoke_agent claude-code": "phase agent",
        "execute_tool Bash": "invoke_agent claude-code",
        "chat claude-sonnet-5": "invoke_agent claude-code",
        "POST slack.com": "invoke_agent claude-code",
        "phase verify": "attempt 1",
        "check expect[0] command": "phase verify",
    }
    call, check = found["POST slack.com"], found["check expect[0] command"]
    assert (call.start, call.end, call.ok, call.attributes["error.type"]) == (START + 3, START + 3.25, False, "500")
    assert check.end - check.start == 0.25
    assert (found["run r"].ok, found["run r"].attributes["tickover.outcome"]) == (False, "failed")


def test_a_model_call_has_the_names_of_the_conventions() -> None:
    told = named(FACTS)["chat claude-sonnet-5"]
    assert told.kind == "client"
    assert told.attributes.items() >= {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5", "gen_ai.usage.input_tokens": 110,
        "gen_ai.usage.output_tokens": 5, "server.address": "api.example.com",
    }.items()  # fmt: skip


def test_no_content_is_in_it() -> None:
    assert SECRET not in repr(trace_of(journal(FACTS)))


@pytest.mark.parametrize("story", ["VERIFIED", "FAILED", "HELD", "HOSTILE", "PROOF", "REFUSED", "RETRIED", "SKIPPED"])
def test_every_story_is_a_tree_of_its_own_time(story: str) -> None:
    facts = getattr(stories, story)
    if not isinstance(facts, list | tuple):
        return
    trace = trace_of(journal(facts))
    ids = {each.id for each in trace.spans}
    assert len(ids) == len(trace.spans)
    root, *rest = trace.spans
    assert root.parent is None
    assert all(each.parent in ids for each in rest)
    assert all(root.start <= each.start + 1 and each.start <= each.end for each in trace.spans)
    assert trace_of(journal(facts)) == trace


def test_what_a_crash_cut_off_ends_with_the_journal() -> None:
    trace = trace_of(journal(FACTS[:5]))
    assert {each.end for each in trace.spans} == {START + 0.5 * 4}


def test_every_red_outcome_is_an_error_and_amber_is_neither() -> None:
    for outcome, ok in (
        (Outcome.VERIFIED, True),
        (Outcome.NOOP, True),
        (Outcome.UNVERIFIED, None),
        (Outcome.FAILED, False),
    ):
        end = RunFinished(execution=Execution.COMPLETED, outcome=outcome, exit_code=0)
        assert named([*FACTS[:-1], end])["run r"].ok is ok
