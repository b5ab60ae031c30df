"""The transition table, and the fold of it, by example. `test_projection.py` has the random journals."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tickover.core import event as facts
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import FACT_TYPES, Fact, JournalCorruptError, JournalEvent, UnknownFact, encode
from tickover.core.evidence import CheckFact, CheckList, CheckResult, EvidenceClass
from tickover.core.finding import FindingCode, found
from tickover.core.receipt import Begun, Delivery, Ended, Identity
from tickover.core.run import (
    NOTES,
    TRANSITIONS,
    NextStep,
    RunRow,
    fold,
    is_terminal,
    mermaid,
    next_step,
)
from tickover.core.status import ENDED, LIVE, NEVER_RAN, AgentStatus, ClaimStatus, Execution, Outcome, Phase

COMPLETED, FAILED, TIMED_OUT, CANCELLED, LOST = ENDED
CREATED = facts.RunCreated(routine="digest")
VERIFY = facts.PhaseStarted(phase=Phase.VERIFY)


def journal(*said: Fact) -> list[JournalEvent]:
    return [
        encode(fact, run="r1", seq=seq, at=100.0 + seq, attempt=1, fence=1) for seq, fact in enumerate(said, start=1)
    ]


def folded(*said: Fact) -> RunRow:
    return fold(journal(*said))


def ended(how: Execution, code: CauseCode = CauseCode.INFRASTRUCTURE) -> facts.AttemptFinished:
    return facts.AttemptFinished(execution=how, cause=None if how is COMPLETED else Cause(Phase.AGENT, code))


def verdict(outcome: Outcome, *evidence: CheckFact) -> facts.VerdictReached:
    return facts.VerdictReached(outcome=outcome, reason=f"{outcome} (because)", evidence=evidence)


def finished(execution: Execution, outcome: Outcome, code: int = 0) -> facts.RunFinished:
    return facts.RunFinished(execution=execution, outcome=outcome, exit_code=code)


def asked(result: CheckResult, index: int = 0, class_: EvidenceClass = EvidenceClass.STATE) -> facts.CheckEvaluated:
    return facts.CheckEvaluated(list=CheckList.EXPECT, index=index, kind="http", evidence_class=class_, result=result)


def before(result: CheckResult, index: int = 0) -> facts.BaselineChecked:
    return facts.BaselineChecked(list=CheckList.EXPECT, index=index, kind="http", result=result)


STARTED = (CREATED, facts.AttemptStarted(attempt=1))
RAN = (*STARTED, facts.AgentStarted(build="steps"))
VERIFYING = (*RAN, VERIFY)
REACH: dict[Execution, tuple[Fact, ...]] = {
    Execution.QUEUED: (CREATED,),
    Execution.PREPARING: STARTED,
    Execution.RUNNING: RAN,
    Execution.VERIFYING: VERIFYING,
    **{how: (*RAN, ended(how)) for how in ENDED},
    Execution.REFUSED: (CREATED, facts.RunRefused(cause=Cause(None, CauseCode.CAP))),
    Execution.SKIPPED: (CREATED, facts.RunSkipped(reason="nothing new")),
    Execution.MISSED: (CREATED, facts.RunMissed()),
}
"""The shortest journal that leads to each execution."""


# The table

WAYS = {
    ("queued", "attempt_started", "preparing"),
    ("queued", "run_refused", "refused"),
    ("queued", "run_skipped", "skipped"),
    ("queued", "run_missed", "missed"),
    ("queued", "attempt_finished", "failed"),
    ("queued", "attempt_finished", "cancelled"),
    ("queued", "attempt_finished", "lost"),
    ("preparing", "agent_started", "running"),
    ("preparing", "run_refused", "refused"),
    ("preparing", "run_skipped", "skipped"),
    ("preparing", "attempt_finished", "failed"),
    ("preparing", "attempt_finished", "timed_out"),
    ("preparing", "attempt_finished", "cancelled"),
    ("preparing", "attempt_finished", "lost"),
    ("running", "phase_started", "verifying"),
    ("running", "attempt_finished", "completed"),
    ("running", "attempt_finished", "failed"),
    ("running", "attempt_finished", "timed_out"),
    ("running", "attempt_finished", "cancelled"),
    ("running", "attempt_finished", "lost"),
    ("verifying", "attempt_finished", "completed"),
    ("verifying", "attempt_finished", "failed"),
    ("verifying", "attempt_finished", "timed_out"),
    ("verifying", "attempt_finished", "cancelled"),
    ("verifying", "attempt_finished", "lost"),
    ("failed", "retry_scheduled", "queued"),
    ("timed_out", "retry_scheduled", "queued"),
    ("lost", "retry_scheduled", "queued"),
}
MOVES: list[Fact] = [
    facts.AttemptStarted(attempt=1),
    facts.AgentStarted(),
    VERIFY,
    facts.RunRefused(cause=Cause(None, CauseCode.CAP)),
    facts.RunSkipped(reason="x"),
    facts.RunMissed(),
    *(ended(how) for how in ENDED),
]


@pytest.mark.parametrize("source", Execution)
def test_from_every_state_exactly_the_ways_of_the_table_are_open(source: Execution) -> None:
    row = folded(*REACH[source])
    assert row.execution is source
    moves = [*MOVES, facts.RetryScheduled(at=1.0, why="x", attempt=row.attempt + 1 if row.attempt else 2)]
    found_ways = set()
    for move in moves:
        target = _after(REACH[source], move)
        if target not in {None, source}:
            found_ways.add((source.value, move.type, str(target)))
    assert found_ways == {way for way in WAYS if way[0] == source}


def _after(so_far: Sequence[Fact], fact: Fact) -> Execution | None:
    try:
        return folded(*so_far, fact).execution
    except JournalCorruptError:
        return None


def test_the_lists_of_states_are_all_states_once() -> None:
    assert sorted(LIVE + ENDED + NEVER_RAN) == sorted(Execution)


def test_every_known_fact_has_a_place_in_the_table() -> None:
    named = {move.signal for move in TRANSITIONS}.union(*NOTES.values())
    assert {name.partition(":")[0] for name in named} == set(FACT_TYPES)


ANYWHERE = "cancel_requested run_recovered finding phase_started:cleanup phase_finished"
GATEWAY = "receipt_begun receipt_ended receipts_sealed connection_denied model_called host_reached replay_drifted"
BEFORE = "version_resolved account_seen sandbox_started layer_ready baseline_checked"
AGENT = (
    "agent_ready agent_output agent_step agent_text agent_tool_call agent_tool_result agent_usage agent_finished"
    " cassette_stored report_claimed artifact_stored artifact_refused phase_started:artifacts"
)
AFTER = (
    "sandbox_started check_evaluated verdict_reached report_claimed artifact_stored artifact_refused"
    " state_committed state_discarded phase_started:verify phase_started:artifacts phase_started:state"
)
PHASES = " ".join(f"phase_started:{phase}" for phase in Phase if phase is not Phase.VERIFY)
ONLY: dict[Execution, str] = {
    Execution.QUEUED: f"{ANYWHERE} version_resolved",
    Execution.PREPARING: f"{ANYWHERE} {GATEWAY} {BEFORE} {PHASES}",
    Execution.RUNNING: f"{ANYWHERE} {GATEWAY} {AGENT} phase_started:agent stop_gate_judged",
    Execution.VERIFYING: f"{ANYWHERE} {GATEWAY} {AGENT} {AFTER}",
    **dict.fromkeys((*ENDED, *NEVER_RAN), f"{ANYWHERE} {GATEWAY} {AFTER} run_finished"),
}


@pytest.mark.parametrize("state", Execution)
def test_a_state_takes_these_notes_and_no_others(state: Execution) -> None:
    assert NOTES[state] == set(ONLY[state].split())


def test_a_note_never_contradicts_a_move() -> None:
    for move in TRANSITIONS:
        if move.source is not None:
            assert move.signal not in NOTES[move.source]


def test_every_state_leads_to_an_end() -> None:
    ends = {*ENDED, *NEVER_RAN}
    for source in LIVE:
        assert {move.target for move in TRANSITIONS if move.source is source} & ends
    for end in ends:
        assert "run_finished" in NOTES[end]


def test_the_diagram_draws_every_way() -> None:
    drawn = mermaid().splitlines()
    assert drawn[0] == "stateDiagram-v2"
    for source, name, target in WAYS:
        (line,) = [line for line in drawn if line.startswith(f"    {source} --> {target}: ")]
        assert name in line
    assert "    [*] --> queued: run_created" in drawn
    assert "    missed --> [*]: run_finished" in drawn
    assert len(drawn) == 1 + len(WAYS) + 1 + len(ENDED + NEVER_RAN)


# What the fold refuses

ILLEGAL: dict[str, tuple[tuple[Fact, ...], str]] = {
    "another beginning": ((facts.RunMissed(),), "begins with `run_missed`"),
    "created twice": ((CREATED, CREATED), "cannot happen while the run is queued"),
    "an agent that was never prepared": ((CREATED, facts.AgentStarted()), "while the run is queued"),
    "output before the agent": ((*STARTED, facts.AgentOutput(stream="stdout", text="x")), "while the run is preparing"),
    "a baseline after the agent's first action": ((*RAN, before(CheckResult.FAIL)), "while the run is running"),
    "a verdict while the agent runs": ((*RAN, verdict(Outcome.VERIFIED)), "while the run is running"),
    "a check while the agent runs": ((*RAN, asked(CheckResult.PASS)), "while the run is running"),
    "a second end": ((*RAN, ended(COMPLETED), ended(FAILED)), "while the run is completed"),
    "a retry of what completed": (
        (*RAN, ended(COMPLETED), facts.RetryScheduled(at=1, why="x", attempt=2)),
        "while the run is completed",
    ),
    "a retry of what was cancelled": (
        (*RAN, ended(CANCELLED), facts.RetryScheduled(at=1, why="x", attempt=2)),
        "while the run is cancelled",
    ),
    "an attempt out of order": ((CREATED, facts.AttemptStarted(attempt=2)), "attempt 2 cannot follow attempt 0"),
    "a retry out of order": (
        (*RAN, ended(LOST), facts.RetryScheduled(at=1, why="x", attempt=3)),
        "attempt 3 cannot follow attempt 1",
    ),
    "a phase that had not begun": (
        (*STARTED, facts.PhaseFinished(phase=Phase.CLONE, duration_s=1)),
        "ended without having begun",
    ),
    "a phase that ends twice": (
        (
            *STARTED,
            facts.PhaseStarted(phase=Phase.CLONE),
            facts.PhaseFinished(phase=Phase.CLONE, duration_s=1),
            facts.PhaseFinished(phase=Phase.CLONE, duration_s=1),
        ),
        "ended without having begun",
    ),
    "a phase outside an attempt": (
        (CREATED, facts.PhaseStarted(phase=Phase.CLEANUP)),
        "belongs to an attempt",
    ),
    "green without an agent": ((*STARTED, ended(FAILED), verdict(Outcome.VERIFIED)), "where the agent never started"),
    "none though the agent ran": ((*RAN, ended(FAILED), verdict(Outcome.NONE)), "where the agent had started"),
    "finished with an execution of its own": (
        (*RAN, ended(FAILED), verdict(Outcome.FAILED), finished(COMPLETED, Outcome.FAILED)),
        "the journal says failed, failed",
    ),
    "finished with an outcome of its own": (
        (*RAN, ended(COMPLETED), verdict(Outcome.UNVERIFIED), finished(COMPLETED, Outcome.VERIFIED)),
        "the journal says completed, unverified",
    ),
    "finished without a verdict": (
        (*RAN, ended(COMPLETED), finished(COMPLETED, Outcome.UNVERIFIED)),
        "the journal says completed, None",
    ),
    "finished while it runs": ((*RAN, finished(COMPLETED, Outcome.VERIFIED)), "while the run is running"),
    "a verdict after the end": (
        (
            *RAN,
            ended(COMPLETED),
            verdict(Outcome.FAILED),
            finished(COMPLETED, Outcome.FAILED),
            verdict(Outcome.VERIFIED),
        ),
        "cannot follow `run_finished`",
    ),
    "a retry after the end": (
        (
            *RAN,
            ended(LOST),
            verdict(Outcome.FAILED),
            finished(LOST, Outcome.FAILED),
            facts.RetryScheduled(at=1, why="x", attempt=2),
        ),
        "cannot follow `run_finished`",
    ),
    "a retry while the verdict is pending": (
        (
            *RAN,
            ended(LOST),
            verdict(Outcome.PENDING),
            finished(LOST, Outcome.PENDING),
            facts.RetryScheduled(at=1, why="x", attempt=2),
        ),
        "cannot follow `run_finished`",
    ),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_the_fold_refuses(name: str) -> None:
    said, message = ILLEGAL[name]
    with pytest.raises(JournalCorruptError, match="journal of run r1, seq") as caught:
        folded(*said)
    assert message in caught.value.message
    assert caught.value.seq == len(said)
    assert caught.value.hint == ""
    if len(said) > 1:
        folded(*said[:-1])


def test_an_empty_journal_is_no_run() -> None:
    with pytest.raises(JournalCorruptError, match="empty"):
        fold([])


@pytest.mark.parametrize("seq", [1, 2, 4])
def test_gaps_and_repetitions_are_seen(seq: int) -> None:
    first, second, third = journal(*RAN)
    with pytest.raises(JournalCorruptError, match="goes on after seq 2") as caught:
        fold([first, second, third.model_copy(update={"seq": seq})])
    assert caught.value.seq == seq


def test_an_event_of_another_run_is_seen() -> None:
    first, second = journal(*STARTED)
    with pytest.raises(JournalCorruptError, match="an event of run r2"):
        fold([first, second.model_copy(update={"run": "r2"})])


def test_facts_of_another_build_are_counted_and_explain_what_does_not_fit() -> None:
    strange = UnknownFact(type="agent_dreamt", data={"version": 1})
    row = folded(*RAN, strange, strange)
    assert (row.unknown_facts, row.last_seq, row.execution) == (2, 5, Execution.RUNNING)
    with pytest.raises(JournalCorruptError, match="newer Tickover") as caught:
        folded(*RAN, strange, facts.RunMissed())
    assert "newer" in caught.value.hint


# What a row says


def test_a_whole_run() -> None:
    proof = CheckFact(
        CheckList.EXPECT, 0, "http", EvidenceClass.STATE, guard=False, result=CheckResult.PASS, proves=True
    )
    row = folded(
        facts.RunCreated(routine="digest", title="Weekly", trigger="schedule", inputs={"n": 1}, folder="/f"),
        facts.VersionResolved(routine_version="v9", trusted={"app": "aa"}, subject={"app": "bb"}, agent_build="b"),
        facts.AttemptStarted(attempt=1),
        facts.PhaseStarted(phase=Phase.LAYER),
        facts.LayerReady(key="k", built=True),
        facts.PhaseFinished(phase=Phase.LAYER, duration_s=2.5),
        facts.SandboxStarted(backend="bwrap", tier="sandbox"),
        before(CheckResult.FAIL),
        facts.AgentStarted(build="steps@1"),
        facts.AgentUsage(input_tokens=5, output_tokens=1, cost_usd=0.5),
        facts.AgentUsage(input_tokens=5, output_tokens=1, cost_usd=0.25),
        facts.AgentFinished(status=AgentStatus.COMPLETED, exit=0),
        facts.ReportClaimed(status=ClaimStatus.DONE, summary="posted"),
        facts.FindingReported.of(found(FindingCode.LATE)),
        VERIFY,
        asked(CheckResult.PENDING),
        asked(CheckResult.PASS),
        verdict(Outcome.VERIFIED, proof),
        facts.ArtifactStored(path="out/a", bytes=1, sha256="00"),
        facts.ArtifactRefused(path="out/b", reason="a symlink"),
        facts.StateCommitted(digest="d"),
        ended(COMPLETED),
        finished(COMPLETED, Outcome.VERIFIED),
    )
    assert (row.routine, row.title, row.trigger, row.inputs, row.folder) == (
        "digest",
        "Weekly",
        "schedule",
        {"n": 1},
        "/f",
    )
    assert (row.version, row.trusted, row.subject, row.agent_build) == ("v9", {"app": "aa"}, {"app": "bb"}, "steps@1")
    assert (row.execution, row.outcome, row.reason, row.exit_code) == (
        COMPLETED,
        Outcome.VERIFIED,
        "verified (because)",
        0,
    )
    assert (row.created, row.started, row.finished, row.last_seq) == (101.0, 103.0, 123.0, 23)
    assert row.cause is None
    assert row.evidence == (proof,)
    assert row.claim is not None
    assert row.claim.summary == "posted"
    assert [said.finding.code for said in row.findings] == [FindingCode.LATE]
    assert row.layer is not None
    assert row.sandbox is not None
    assert row.sandbox.backend == "bwrap"
    assert (row.usage.input_tokens, row.usage.output_tokens, row.usage.cost_usd) == (10, 2, 0.75)
    assert [stored.path for stored in row.artifacts] == ["out/a"]
    assert [refused.reason for refused in row.refused_artifacts] == ["a symlink"]
    assert (row.state_digest, row.state_discarded) == ("d", None)
    (attempt,) = row.attempts
    assert (attempt.execution, attempt.outcome, attempt.agent_exit) == (COMPLETED, Outcome.VERIFIED, 0)
    assert [(said.phase, said.duration_s) for said in attempt.phases] == [(Phase.LAYER, 2.5), (Phase.VERIFY, None)]


def test_evidence_before_the_verdict_knows_what_held_already() -> None:
    row = folded(
        *STARTED,
        before(CheckResult.PASS, 0),
        before(CheckResult.FAIL, 1),
        facts.AgentStarted(),
        VERIFY,
        asked(CheckResult.PASS, 0),
        asked(CheckResult.PENDING, 1),
        asked(CheckResult.PASS, 1),
    )
    assert [(said.index, said.vacuous, said.result, said.baseline) for said in row.evidence] == [
        (0, True, CheckResult.PASS, CheckResult.PASS),
        (1, False, CheckResult.PASS, CheckResult.FAIL),
    ]


RETRIED = (
    *STARTED,
    before(CheckResult.FAIL),
    facts.SandboxStarted(backend="bwrap", tier="sandbox"),
    facts.AgentStarted(),
    facts.ReportClaimed(status=ClaimStatus.DONE),
    ended(LOST, CauseCode.LOST),
    asked(CheckResult.FAIL),
    verdict(Outcome.FAILED),
    facts.RetryScheduled(at=500.0, why="lost", attempt=2),
)


def test_a_retry_takes_back_the_outcome_and_a_new_attempt_starts_clean() -> None:
    waiting = folded(*RETRIED)
    assert (waiting.execution, waiting.outcome, waiting.retry_at) == (Execution.QUEUED, None, 500.0)
    assert waiting.cause == Cause(Phase.AGENT, CauseCode.LOST)
    row = folded(*RETRIED, facts.AttemptStarted(attempt=2))
    assert (row.attempt, row.retry_at, row.cause, row.reason) == (2, None, None, "")
    assert (row.evidence, row.claim, row.sandbox) == ((), None, None)
    assert row.started == waiting.started
    assert row.attempts[0].outcome is Outcome.FAILED
    assert row.attempts[0].execution is LOST
    assert row.agent_started
    assert not row.attempts[1].agent_started


def test_an_end_while_a_retry_waits_leaves_the_earlier_attempt_as_it_was() -> None:
    row = folded(*RETRIED, ended(CANCELLED, CauseCode.CANCELLED))
    assert (row.execution, row.cause) == (CANCELLED, Cause(Phase.AGENT, CauseCode.CANCELLED))
    assert row.attempts == folded(*RETRIED).attempts


def test_a_refusal_while_a_retry_waits_leaves_the_earlier_attempt_as_it_was() -> None:
    row = folded(*RETRIED, facts.RunRefused(cause=Cause(None, CauseCode.CAP)))
    assert row.execution is Execution.REFUSED
    assert row.attempts == folded(*RETRIED).attempts


def test_the_baseline_is_the_run_s_first() -> None:
    row = folded(*RETRIED, facts.AttemptStarted(attempt=2), before(CheckResult.PASS), before(CheckResult.PASS, 1))
    assert list(row.first_baseline().values()) == [CheckResult.FAIL, CheckResult.PASS]


def test_findings_stay_with_their_attempt() -> None:
    late, step = found(FindingCode.LATE), found(FindingCode.STEP_FAILED)
    row = folded(
        *STARTED,
        facts.FindingReported.of(late),
        ended(LOST),
        facts.RetryScheduled(at=1, why="x", attempt=2),
        facts.AttemptStarted(attempt=2),
        facts.FindingReported.of(step),
    )
    assert [said.finding for said in row.findings] == [late, step]
    assert row.findings_of_attempt() == (step,)


def test_a_pending_run_is_asked_again_and_then_sealed() -> None:
    waiting = (*RAN, ended(COMPLETED), verdict(Outcome.PENDING), finished(COMPLETED, Outcome.PENDING, 8))
    row = folded(*waiting)
    assert (row.exit_code, is_terminal(row), next_step(row)) == (8, False, NextStep.VERIFY)
    decided = (*waiting, VERIFY, asked(CheckResult.PASS), verdict(Outcome.VERIFIED))
    row = folded(*decided)
    assert (row.finished, row.exit_code, next_step(row)) == (None, None, NextStep.CLOSE)
    row = folded(*decided, finished(COMPLETED, Outcome.VERIFIED))
    assert (row.exit_code, is_terminal(row)) == (0, True)


def test_late_notes_do_not_move_a_finished_run() -> None:
    done = (*RAN, ended(COMPLETED), verdict(Outcome.FAILED), finished(COMPLETED, Outcome.FAILED, 5))
    row = folded(
        *done,
        facts.CancelRequested(by="late"),
        facts.RunRecovered(note="swept"),
        facts.PhaseStarted(phase=Phase.CLEANUP),
        facts.PhaseFinished(phase=Phase.CLEANUP, duration_s=0.1),
    )
    assert (row.execution, row.outcome, row.finished, row.recovered) == (COMPLETED, Outcome.FAILED, 106.0, 1)
    assert is_terminal(row)


def test_the_first_to_cancel_is_named() -> None:
    row = folded(CREATED, facts.CancelRequested(by="first"), facts.CancelRequested(by="second"))
    assert row.cancel_requested_by == "first"


def test_a_price_that_is_not_known_makes_the_sum_unknown() -> None:
    row = folded(*RAN, facts.AgentUsage(cost_usd=None), facts.AgentUsage(cost_usd=1.0))
    assert row.usage.cost_usd is None


def test_a_refusal_while_preparing_ends_the_attempt() -> None:
    cause = Cause(Phase.PREFLIGHT, CauseCode.ISOLATION)
    row = folded(*STARTED, facts.RunRefused(cause=cause), finished(Execution.REFUSED, Outcome.NONE, 7))
    assert (row.execution, row.outcome, row.cause, row.exit_code) == (Execution.REFUSED, Outcome.NONE, cause, 7)
    assert (row.attempts[0].execution, row.attempts[0].finished) == (Execution.REFUSED, 103.0)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        (REACH[Execution.QUEUED], NextStep.START),
        ((CREATED, facts.CancelRequested(by="me")), NextStep.CANCEL),
        (RETRIED, NextStep.START),
        (REACH[Execution.PREPARING], NextStep.END_LOST),
        (REACH[Execution.RUNNING], NextStep.END_LOST),
        (REACH[Execution.VERIFYING], NextStep.END_LOST),
        (REACH[Execution.LOST], NextStep.VERIFY),
        ((*STARTED, ended(LOST)), NextStep.CLOSE),
        ((*REACH[Execution.LOST], verdict(Outcome.UNVERIFIED)), NextStep.CLOSE),
        (REACH[Execution.REFUSED], NextStep.CLOSE),
        ((*REACH[Execution.REFUSED], finished(Execution.REFUSED, Outcome.NONE, 7)), NextStep.DONE),
    ],
)
def test_what_an_orphan_needs_next(said: tuple[Fact, ...], step: NextStep) -> None:
    assert next_step(folded(*said)) is step


# What the gateway saw


def begun(call: int, identity: Identity = Identity.AGENT) -> facts.ReceiptBegun:
    record = Begun(
        call=call, at=1.0, attempt=1, method="POST", scheme="https", host="a.test", port=443, path="/x", rule="may[0]",
        writes=True, identity=identity,
    )  # fmt: skip
    return facts.ReceiptBegun(receipt=call, record=record, mac="")


def answered(call: int, delivery: Delivery = Delivery.ANSWERED) -> facts.ReceiptEnded:
    return facts.ReceiptEnded(receipt=call, record=Ended(call=call, at=2.0, delivery=delivery), mac="")


def test_writes_are_counted_over_all_attempts_and_an_open_one_is_shown() -> None:
    again = facts.RetryScheduled(at=1.0, why="lost", attempt=2)
    row = folded(
        *RAN, begun(1), answered(1, Delivery.UNSENT), begun(2), answered(2), begun(3), ended(LOST), again,
        facts.AttemptStarted(attempt=2), begun(4), facts.AgentStarted(), begun(5), answered(5, Delivery.CUT),
    )  # fmt: skip
    assert row.network.writes == 4
    assert [each.call for each in row.network.open_calls] == [3, 4]
    assert row.network.open_calls[0].target == "POST https://a.test/x"


def test_only_the_agent_s_writes_are_counted() -> None:
    row = folded(*RAN, begun(1, Identity.VERIFIER), begun(2, Identity.SETUP), answered(2, Delivery.UNSENT), begun(3))
    assert (row.network.calls, row.network.writes) == (3, 1)
    assert [each.writes for each in row.network.open_calls] == [False, True]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([begun(2)], "call 2 cannot follow call 0"),
        ([begun(1), begun(1)], "call 1 cannot follow call 1"),
        ([answered(1)], "ended without having begun"),
        ([begun(1), answered(1), answered(1)], "ended without having begun"),
    ],
)
def test_a_call_begins_once_and_ends_once(said: list[Fact], why: str) -> None:
    with pytest.raises(JournalCorruptError, match=why):
        folded(*RAN, *said)
