from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tickover.core import event as facts
from tickover.core.cause import CAUSES, Cause, CauseCode
from tickover.core.event import FACT_TYPES, Fact, JournalCorruptError, JournalEvent, decode, encode, payload
from tickover.core.evidence import CheckFact, CheckList, CheckResult, EvidenceClass
from tickover.core.finding import FINDINGS, FindingCode, found
from tickover.core.gate_said import GateSaid
from tickover.core.receipt import Begun, Chosen, Delivery, Ended, head_of, link, origin, verify
from tickover.core.status import ENDED, AgentStatus, ClaimStatus, Execution, Outcome, Phase

PROVED = CheckFact(
    CheckList.EXPECT,
    0,
    "http",
    EvidenceClass.STATE,
    guard=False,
    result=CheckResult.PASS,
    baseline=CheckResult.FAIL,
    proves=True,
    summary="read back",
)
BEGUN = Begun(
    call=1, at=1.5, attempt=1, method="POST", scheme="https", host="a.test", port=443, path="/x", rule="may[0]",
    writes=True, request_json=Chosen(value={"a": [1, None]}),
)  # fmt: skip
EXAMPLES: list[Fact] = [
    facts.RunCreated(routine="digest", inputs={"week": "last", "n": 3, "dry": True, "x": 0.5}, folder="/r"),
    facts.VersionResolved(routine_version="v1", trusted={"app": "a" * 40}, subject={"app": "b" * 40}),
    facts.AttemptStarted(attempt=1),
    facts.PhaseStarted(phase=Phase.CLONE),
    facts.PhaseFinished(phase=Phase.CLONE, duration_s=0.25),
    facts.SandboxStarted(backend="bwrap", tier="sandbox", weaknesses=("a",), limits={"pids": 512}),
    facts.LayerReady(key="k", built=True, duration_s=3.0, bytes=4096, log_blob="sha256:00"),
    facts.AccountSeen(place="slack", credential="bot", account="digest in Acme"),
    facts.AgentStarted(build="steps"),
    facts.AgentReady(version_said="1.2.3", model="m", tools=("Bash",), connectors={"slack": "connected"}),
    facts.AgentOutput(stream="stdout", text="hello"),
    facts.AgentStep(id="one", lang="bash", title="One", exit=None, duration_s=0.1, ok=False),
    facts.AgentText(text="done"),
    facts.AgentToolCall(id="t1", tool="Bash", arguments={"command": ["ls", 1, None]}),
    facts.AgentToolResult(id="t1", ok=False, text="denied"),
    facts.AgentUsage(model="m", input_tokens=10, output_tokens=2, cost_usd=None),
    facts.AgentFinished(status=AgentStatus.KILLED, signal=9, reason="memory"),
    facts.ReceiptBegun(receipt=1, record=BEGUN, mac="ab"),
    facts.ReceiptEnded(receipt=2, record=Ended(call=1, at=2.5, delivery=Delivery.ANSWERED, status=200), mac="cd"),
    facts.ReceiptsSealed(receipt=2, mac="cd"),
    facts.ConnectionDenied(host="evil.test", port=443, code="not_listed", says="not on the list", times=3),
    facts.ModelCalled(host="model.test", port=443, dialect="anthropic", model="m", status=200, tools=("Bash",)),
    facts.HostReached(host="docs.test", port=443, rule="environment.network[0] (`docs.test`)"),
    facts.CassetteStored(digest="e" * 64, calls=3, bytes=4096, left_out=1),
    facts.ReplayDrifted(kind="differs", target="POST https://model.test:443/v1/messages", where="turn 1", then="a"),
    facts.StopGateJudged(
        number=1,
        checks=(GateSaid(list=CheckList.EXPECT, index=0, kind="file", result=CheckResult.FAIL),),
        says=("Write it.",),
    ),
    facts.ReportClaimed(status=ClaimStatus.NOOP, summary="nothing new"),
    facts.BaselineChecked(list=CheckList.EXPECT, index=0, kind="http", result=CheckResult.FAIL),
    facts.CheckEvaluated(
        list=CheckList.NOOP,
        index=1,
        kind="git",
        evidence_class=EvidenceClass.STATE,
        result=CheckResult.PENDING,
        detail={"seen": [1, {"a": None}]},
    ),
    facts.FindingReported.of(found(FindingCode.STEP_FAILED, detail={"step": "one"})),
    facts.ArtifactStored(path="out/a.md", bytes=3, sha256="ab"),
    facts.ArtifactRefused(path="out/link", reason="a symlink"),
    facts.StateCommitted(digest="sha256:1"),
    facts.StateDiscarded(reason="not verified"),
    facts.AttemptFinished(execution=Execution.TIMED_OUT, cause=Cause(Phase.AGENT, CauseCode.TIMEOUT, "raise it")),
    facts.VerdictReached(
        outcome=Outcome.VERIFIED,
        reason="verified (state: read back)",
        evidence=(PROVED,),
        findings=(found(FindingCode.LATE),),
    ),
    facts.RetryScheduled(at=30.0, why="lost", attempt=2),
    facts.CancelRequested(by="someone"),
    facts.RunRefused(cause=Cause(None, CauseCode.ISOLATION)),
    facts.RunSkipped(reason="only_if said so"),
    facts.RunMissed(),
    facts.RunRecovered(note="after a crash"),
    facts.RunFinished(execution=Execution.COMPLETED, outcome=Outcome.VERIFIED, exit_code=0),
]


def envelope(fact: Fact) -> JournalEvent:
    return encode(fact, run="r1", seq=1, at=1.5, attempt=1, fence=7)


def raw(kind: str, **data: Any) -> JournalEvent:
    return JournalEvent(run="r1", seq=9, at=1.5, attempt=1, fence=7, type=kind, data=data)


def test_there_is_an_example_of_every_type() -> None:
    assert [fact.type for fact in EXAMPLES] == list(FACT_TYPES)


@pytest.mark.parametrize("fact", EXAMPLES, ids=lambda fact: fact.type)
def test_a_fact_survives_its_envelope_as_json(fact: Fact) -> None:
    stored = envelope(fact).model_dump_json()
    again = decode(JournalEvent.model_validate_json(stored))
    assert again == fact
    assert type(again) is type(fact)


def test_the_envelope_says_the_type_once_and_the_version_always() -> None:
    for fact in EXAMPLES:
        assert payload(fact)["version"] == 1
        assert "type" not in payload(fact)


@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=5))
def test_whatever_an_agent_writes_can_be_stored(text: str, key: str) -> None:
    call = facts.AgentToolCall(id="t", tool="x", arguments={key: [text]})
    for fact in (facts.AgentOutput(stream="stdout", text=text), call):
        stored = envelope(fact).model_dump_json().encode()
        again = decode(JournalEvent.model_validate_json(stored))
        assert payload(again) == payload(fact)


def test_half_a_surrogate_pair_becomes_a_question_mark_and_all_else_stays() -> None:
    said = payload(facts.AgentText(text="ä\udc80\x00\x1b[31m€"))
    assert said["text"] == "ä?\x00\x1b[31m€"


@pytest.mark.parametrize(
    "event",
    [
        raw("agent_dreamt", version=1, of="sheep"),
        raw("run_missed", version=2, reason="moved", more=[1]),
        raw("run_missed", version="1"),
        raw("", version=1),
        raw("phase_started", version=2, phase="teleport"),
    ],
    ids=["type", "version", "version of another kind", "no type", "a new phase"],
)
def test_what_another_build_wrote_is_kept_as_it_is(event: JournalEvent) -> None:
    fact = decode(event)
    assert isinstance(fact, facts.UnknownFact)
    again = encode(fact, run="r1", seq=9, at=1.5, attempt=1, fence=7)
    assert again == event


def test_a_field_that_another_build_added_is_no_reason_to_fail() -> None:
    fact = decode(raw("cancel_requested", version=1, by="someone", via="pager"))
    assert fact == facts.CancelRequested(by="someone")


def test_a_damaged_fact_is_named_by_run_seq_and_field() -> None:
    with pytest.raises(JournalCorruptError) as caught:
        decode(raw("run_finished", version=1, execution="completed", outcome="green", exit_code=0))
    assert caught.value.code == "journal.corrupt"
    assert caught.value.seq == 9
    assert "run r1, seq 9" in caught.value.message
    assert "outcome" in caught.value.message


def test_output_is_text_or_blob_and_never_both_or_neither() -> None:
    facts.AgentOutput(stream="stderr", blob="sha256:1")
    for both in ({}, {"text": "a", "blob": "sha256:1"}):
        with pytest.raises(ValidationError, match="exactly one"):
            facts.AgentOutput.model_validate({"stream": "stderr", **both})


def test_a_verdict_has_one_piece_of_evidence_for_each_check() -> None:
    claimed = replace(PROVED, evidence_class=EvidenceClass.CLAIM, kind="output")
    with pytest.raises(ValidationError, match=r"expect\[0\] stands twice in the evidence"):
        facts.VerdictReached(outcome=Outcome.VERIFIED, reason="both", evidence=(PROVED, claimed))
    stored = payload(facts.VerdictReached(outcome=Outcome.VERIFIED, reason="one", evidence=(PROVED,)))
    with pytest.raises(JournalCorruptError, match="stands twice"):
        decode(raw("verdict_reached", **{**stored, "evidence": stored["evidence"] * 2}))


@pytest.mark.parametrize("execution", Execution)
def test_an_attempt_ends_in_one_of_five_ways_and_gives_a_cause_unless_it_completed(execution: Execution) -> None:
    cause = Cause(Phase.AGENT, CauseCode.AGENT_FAILED)
    legal = {given_cause is not None for given_cause in (None, cause) if _valid_end(execution, given_cause)}
    if execution not in ENDED:
        assert legal == set()
    else:
        assert legal == {execution is not Execution.COMPLETED}


def _valid_end(execution: Execution, cause: Cause | None) -> bool:
    try:
        facts.AttemptFinished(execution=execution, cause=cause)
    except ValidationError:
        return False
    return True


def test_a_chain_of_receipts_verifies_out_of_the_journal() -> None:
    key, head = b"k" * 32, origin("r1", b"k" * 32)
    begun = link(BEGUN.model_copy(update={"path": "/\udc80", "request_json": Chosen(value={"\udfff": 1.0})}), head, key)
    ended = link(Ended(call=1, at=3.0, delivery=Delivery.CUT), head_of(begun), key)
    assert isinstance(begun.record, Begun)
    assert isinstance(ended.record, Ended)
    told: list[Fact] = [
        facts.ReceiptBegun(receipt=begun.seq, record=begun.record, mac=begun.mac),
        facts.ReceiptEnded(receipt=ended.seq, record=ended.record, mac=ended.mac),
        facts.ReceiptsSealed(receipt=ended.seq, mac=ended.mac),
    ]
    stored = [decode(JournalEvent.model_validate_json(envelope(fact).model_dump_json())) for fact in told]
    links = [fact.link() for fact in stored if isinstance(fact, facts.ReceiptBegun | facts.ReceiptEnded)]
    [head] = [fact.head() for fact in stored if isinstance(fact, facts.ReceiptsSealed)]
    assert verify(links, head, "r1", key) is None
    assert verify(links[:1], head, "r1", key) is not None


def test_numbers_that_json_cannot_say_are_refused() -> None:
    with pytest.raises(ValidationError):
        facts.PhaseFinished(phase=Phase.AGENT, duration_s=float("inf"))
    with pytest.raises(ValidationError):
        facts.RunCreated(routine="r", inputs={"x": float("nan")})


def test_facts_are_frozen() -> None:
    with pytest.raises(ValidationError):
        facts.AgentText(text="a").text = "b"  # type: ignore[misc]


def test_closed_lists_have_a_sentence_for_every_code() -> None:
    assert set(CAUSES) == set(CauseCode)
    assert set(FINDINGS) == set(FindingCode)


def test_a_finding_takes_its_code_s_sentence_and_severity_unless_told_otherwise() -> None:
    assert found(FindingCode.DENIED_TOOL).message == "the agent was denied a tool"
    assert not found(FindingCode.DENIED_TOOL).required
    assert found(FindingCode.DENIED_TOOL, "Bash", required=True).required
    assert found(FindingCode.REQUIRED_MISSING).required
    assert not found(FindingCode.REQUIRED_MISSING, required=False).required
