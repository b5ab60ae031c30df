"""Random legal journals, folded twice: by `fold`, and by a second fold (naive_fold.py)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.naive_fold import Raw, naive_fold

from tickover.core import event as facts
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import Fact, JournalEvent, UnknownFact, encode
from tickover.core.evidence import CheckFact, CheckList, CheckResult, EvidenceClass
from tickover.core.finding import FindingCode
from tickover.core.receipt import Begun, Delivery, Ended, Identity
from tickover.core.run import NextStep, RunRow, fold, next_step
from tickover.core.status import ENDED, AgentStatus, ClaimStatus, Execution, Outcome, Phase
from tickover.core.verdict import CheckTerm, Contract, decide

COMPLETED, FAILED, TIMED_OUT, CANCELLED, LOST = ENDED
VERIFY = facts.PhaseStarted(phase=Phase.VERIFY)


# Random legal journals: a walk that knows only the words of the documentation, not the table

some_phases = st.sampled_from([phase for phase in Phase if phase is not Phase.VERIFY])
short = st.text(max_size=4)
amounts = st.integers(0, 9)
check_results = st.sampled_from(CheckResult)
lists = st.sampled_from(CheckList)
causes = st.builds(Cause, st.one_of(st.none(), st.sampled_from(Phase)), st.sampled_from(CauseCode), short)
check_facts = st.builds(
    CheckFact, lists, st.integers(0, 2), short, st.sampled_from(EvidenceClass), st.booleans(), check_results
)

ANY_TIME: list[st.SearchStrategy[Fact]] = [
    st.builds(facts.CancelRequested, by=short),
    st.builds(facts.RunRecovered, note=short),
    st.builds(
        facts.FindingReported,
        code=st.sampled_from(FindingCode),
        message=short,
        required=st.booleans(),
        detail=st.dictionaries(short, amounts, max_size=1),
    ),
    st.builds(UnknownFact, type=st.just("from_the_future"), data=st.just({"version": 3})),
]
RESOLVED: st.SearchStrategy[Fact] = st.builds(
    facts.VersionResolved, routine_version=short, trusted=st.dictionaries(short, short, max_size=1), agent_build=short
)
SANDBOX: st.SearchStrategy[Fact] = st.builds(
    facts.SandboxStarted, backend=short, tier=short, protections=st.lists(short, max_size=1).map(tuple)
)
PREPARING: list[st.SearchStrategy[Fact]] = [
    RESOLVED,
    SANDBOX,
    st.builds(facts.PhaseStarted, phase=some_phases),
    st.builds(facts.LayerReady, key=short, built=st.booleans(), bytes=amounts),
    st.builds(facts.AccountSeen, place=st.sampled_from(["slack", "github"]), credential=short, account=short),
    st.builds(facts.BaselineChecked, list=lists, index=st.integers(0, 2), kind=short, result=check_results),
]
COLLECTED: list[st.SearchStrategy[Fact]] = [
    st.builds(facts.ArtifactStored, path=short, bytes=amounts, sha256=short),
    st.builds(facts.ArtifactRefused, path=short, reason=short),
    st.builds(facts.ReportClaimed, status=st.sampled_from(ClaimStatus), summary=short),
    st.builds(facts.PhaseStarted, phase=st.just(Phase.ARTIFACTS)),
]
AT_THE_GATE: st.SearchStrategy[Fact] = st.builds(
    facts.StopGateJudged, number=st.integers(1, 4), says=st.lists(short, max_size=2).map(tuple), problem=short
)
AGENT: list[st.SearchStrategy[Fact]] = [
    *COLLECTED,
    st.builds(facts.CassetteStored, digest=short, calls=amounts, bytes=amounts, left_out=amounts),
    st.builds(facts.AgentReady, version_said=short, model=short),
    st.builds(facts.AgentOutput, stream=st.just("stdout"), text=short),
    st.builds(facts.AgentStep, id=short, lang=short, exit=amounts, duration_s=st.just(0.5), ok=st.booleans()),
    st.builds(facts.AgentText, text=short),
    st.builds(facts.AgentToolCall, id=short, tool=short),
    st.builds(facts.AgentToolResult, id=short, ok=st.booleans()),
    st.builds(
        facts.AgentUsage,
        input_tokens=amounts,
        output_tokens=amounts,
        cost_usd=st.one_of(st.none(), amounts.map(float), amounts.map(float)),
    ),
    st.builds(facts.AgentFinished, status=st.sampled_from(AgentStatus), exit=amounts),
]
AFTERWARDS: list[st.SearchStrategy[Fact]] = [
    *COLLECTED,
    SANDBOX,
    st.builds(
        facts.CheckEvaluated,
        list=lists,
        index=st.integers(0, 2),
        kind=short,
        guard=st.booleans(),
        evidence_class=st.sampled_from(EvidenceClass),
        result=check_results,
        summary=short,
    ),
    st.builds(facts.StateCommitted, digest=short),
    st.builds(facts.StateDiscarded, reason=short),
    st.builds(facts.PhaseStarted, phase=st.sampled_from([Phase.VERIFY, Phase.STATE])),
]


class Walk:
    """Where a run stands, as one who had read only the documentation would keep it."""

    def __init__(self) -> None:
        self.at = "queued"
        self.attempts = 0
        self.ran = False
        self.outcome: Outcome | None = None
        self.sealed = False
        self.open_phases: list[Phase] = []
        self.calls = 0
        self.open_calls: list[int] = []

    def choices(self) -> list[st.SearchStrategy[Fact]]:
        found_here = list(ANY_TIME)
        if self.attempts:
            found_here.append(st.builds(facts.PhaseStarted, phase=st.just(Phase.CLEANUP)))
        if self.open_phases:
            finish = st.builds(
                facts.PhaseFinished, phase=st.sampled_from(self.open_phases), duration_s=amounts.map(float)
            )
            found_here += [finish, finish]
        if self.sealed:
            return [*found_here, *self._asked_again()]
        if self.at in {"preparing", "running", "verifying", *ENDED}:
            found_here += self._gateway()
        return [*found_here, *getattr(self, f"_{self.at}")()]

    def _gateway(self) -> list[st.SearchStrategy[Fact]]:
        record = st.builds(
            Begun,
            call=st.just(self.calls + 1),
            at=st.just(1.0),
            attempt=amounts,
            identity=st.sampled_from(Identity),
            method=st.just("POST"),
            scheme=st.just("https"),
            host=short,
            port=st.just(443),
            path=short,
            rule=short,
            writes=st.booleans(),
        )
        found_here: list[st.SearchStrategy[Fact]] = [
            st.builds(facts.ReceiptBegun, receipt=st.just(1), record=record, mac=short),
            st.builds(facts.ReceiptsSealed, receipt=amounts, mac=short),
            st.builds(
                facts.ConnectionDenied, host=short, port=amounts, code=short, says=short, times=st.integers(1, 3)
            ),
            st.builds(
                facts.ModelCalled,
                host=short,
                port=amounts,
                dialect=short,
                input_tokens=amounts,
                output_tokens=amounts,
                cache_read_tokens=amounts,
                cost_usd=st.none() | amounts.map(float),
                estimated=st.booleans(),
            ),
        ]
        if self.open_calls:
            end = st.builds(
                Ended, call=st.sampled_from(self.open_calls), at=st.just(2.0), delivery=st.sampled_from(Delivery)
            )
            found_here.append(st.builds(facts.ReceiptEnded, receipt=st.just(2), record=end, mac=short))
        return found_here

    def _end(self, *hows: Execution) -> st.SearchStrategy[Fact]:
        badly = [how for how in hows if how is not COMPLETED]
        bad = st.builds(facts.AttemptFinished, execution=st.sampled_from(badly), cause=causes)
        return st.one_of(st.just(facts.AttemptFinished(execution=COMPLETED)), bad) if COMPLETED in hows else bad

    def _never(self) -> list[st.SearchStrategy[Fact]]:
        return [st.builds(facts.RunRefused, cause=causes), st.builds(facts.RunSkipped, reason=short)]

    def _queued(self) -> list[st.SearchStrategy[Fact]]:
        start: st.SearchStrategy[Fact] = st.just(facts.AttemptStarted(attempt=self.attempts + 1))
        missed = st.builds(facts.RunMissed, reason=short)
        return [RESOLVED, *[start] * 12, missed, *self._never(), self._end(FAILED, CANCELLED, LOST)]

    def _preparing(self) -> list[st.SearchStrategy[Fact]]:
        agent: st.SearchStrategy[Fact] = st.builds(facts.AgentStarted, build=short)
        return [*PREPARING, *PREPARING, *[agent] * 6, *self._never(), self._end(FAILED, TIMED_OUT, CANCELLED, LOST)]

    def _running(self) -> list[st.SearchStrategy[Fact]]:
        verify: st.SearchStrategy[Fact] = st.just(VERIFY)
        return [*AGENT, AT_THE_GATE, *[verify] * 4, self._end(*ENDED)]

    def _verdict(self) -> st.SearchStrategy[Fact]:
        outcomes = [outcome for outcome in Outcome if (outcome is Outcome.NONE) is not self.ran]
        evidence = st.lists(check_facts, max_size=2, unique_by=lambda check: check.id).map(tuple)
        return st.builds(facts.VerdictReached, outcome=st.sampled_from(outcomes), reason=short, evidence=evidence)

    def _verifying(self) -> list[st.SearchStrategy[Fact]]:
        return [*AGENT, *AFTERWARDS, *[self._verdict()] * 3, *[self._end(*ENDED)] * 4]

    def _over(self) -> list[st.SearchStrategy[Fact]]:
        found_here = [*(AFTERWARDS if self.ran else []), *[self._verdict()] * 5, *self._sealing()]
        if self.at in {"failed", "timed_out", "lost"}:
            again = st.builds(
                facts.RetryScheduled, at=amounts.map(float), why=short, attempt=st.just(self.attempts + 1)
            )
            found_here += [again] * 4 if self.attempts else []
        return found_here

    _completed = _failed = _timed_out = _cancelled = _lost = _over

    def _sealing(self) -> list[st.SearchStrategy[Fact]]:
        outcome = self.outcome if self.ran else Outcome.NONE
        if outcome is None:
            return []
        seal = st.builds(
            facts.RunFinished, execution=st.just(self.at), outcome=st.just(outcome), exit_code=st.integers(0, 8)
        )
        return [seal] * 4

    def _nothing_ran(self) -> list[st.SearchStrategy[Fact]]:
        return [self._verdict(), *self._sealing()]

    _refused = _skipped = _missed = _nothing_ran

    def _asked_again(self) -> list[st.SearchStrategy[Fact]]:
        return [*AFTERWARDS, self._verdict(), *self._sealing()] if self.outcome is Outcome.PENDING else []

    def go(self, fact: Fact) -> None:
        match fact:
            case facts.AttemptStarted():
                self.at, self.open_phases = "preparing", []
                self.attempts += 1
            case facts.AgentStarted():
                self.at, self.ran = "running", True
            case facts.PhaseStarted():
                self.open_phases.append(fact.phase)
                if (fact.phase, self.at) == (Phase.VERIFY, "running"):
                    self.at = "verifying"
            case facts.PhaseFinished():
                self.open_phases.remove(fact.phase)
            case facts.ReceiptBegun():
                self.calls += 1
                self.open_calls.append(fact.record.call)
            case facts.ReceiptEnded():
                self.open_calls.remove(fact.record.call)
            case facts.AttemptFinished():
                self.at = fact.execution.value
            case facts.RunRefused() | facts.RunSkipped() | facts.RunMissed():
                self.at = fact.type.removeprefix("run_")
            case facts.VerdictReached():
                self.outcome, self.sealed = fact.outcome, False
            case facts.RetryScheduled():
                self.at, self.outcome = "queued", None
            case facts.RunFinished():
                self.outcome, self.sealed = fact.outcome, True


@st.composite
def journals(draw: st.DrawFn) -> list[JournalEvent]:
    walk = Walk()
    said: list[Fact] = [
        draw(
            st.builds(facts.RunCreated, routine=short, title=short, inputs=st.dictionaries(short, amounts, max_size=1))
        )
    ]
    for _ in range(draw(st.integers(0, 40))):
        choices = walk.choices()
        fact = draw(choices[draw(st.integers(0, len(choices) - 1))])
        walk.go(fact)
        said.append(fact)
    first = draw(st.integers(0, 1))
    return [
        encode(fact, run="r1", seq=first + place, at=float(place), attempt=0, fence=1)
        for place, fact in enumerate(said)
    ]


many = settings(max_examples=150, deadline=None)


@many
@given(journals())
def test_every_prefix_of_a_legal_journal_folds_and_the_same_way_each_time(events: list[JournalEvent]) -> None:
    row: RunRow | None = None
    for count, event in enumerate(events, start=1):
        row = fold([event], row)
        assert row.last_seq == event.seq
        assert next_step(row) in NextStep
        if count % 7 == 0:
            assert fold(events[:count]) == row
    assert fold(events) == row
    assert row is not None
    note(f"{row.execution} {row.outcome}")


@many
@given(journals())
def test_a_second_fold_gives_the_same_row(events: list[JournalEvent]) -> None:
    row = fold(events).model_dump(mode="json")
    naive = naive_fold([event.model_dump(mode="json") for event in events])
    assert row == naive


@many
@given(journals())
def test_a_row_survives_json(events: list[JournalEvent]) -> None:
    row = fold(events)
    assert RunRow.model_validate_json(row.model_dump_json()) == row


@many
@given(journals())
def test_no_row_is_green_without_a_verdict_that_says_so(events: list[JournalEvent]) -> None:
    row = fold(events)
    if row.outcome in {Outcome.VERIFIED, Outcome.NOOP}:
        assert row.agent_started
        said = [event.data["outcome"] for event in events if event.type == "verdict_reached"]
        assert said[-1] == row.outcome


@many
@given(journals(), st.booleans(), st.sampled_from([True, True, True, False]), st.sampled_from([0, 0, 1]))
def test_a_journal_whose_passing_evidence_is_only_claims_is_never_judged_green(
    events: list[JournalEvent],
    may_write_outside: bool,
    started: bool,
    forwarded_writes: int,
) -> None:
    row = fold(only_claims_pass(event) for event in events)
    claims = (row.claim.status if row.claim else None, *ClaimStatus)
    for terms, claim in product(contracts_about(row), claims):
        verdict = decide(
            Contract(terms, may_write_outside),
            row.first_baseline(),
            row.results(),
            claim,
            row.findings_of_attempt(),
            started=started,
            forwarded_writes=forwarded_writes,
        )
        note(verdict.outcome)
        assert verdict.outcome not in {Outcome.VERIFIED, Outcome.NOOP}


def contracts_about(row: RunRow) -> Iterable[tuple[CheckTerm, ...]]:
    """The contract that the evidence speaks of, then those that ask of all that passed to be of one class."""
    yield tuple(CheckTerm(said.list, said.index, said.kind, said.evidence_class, said.guard) for said in row.evidence)
    passed = [said for said in row.evidence if said.result is CheckResult.PASS]
    for class_ in EvidenceClass:
        yield tuple(CheckTerm(said.list, said.index, said.kind, class_) for said in passed)


def only_claims_pass(event: JournalEvent) -> JournalEvent:
    def weakened(check: Raw) -> Raw:
        return {**check, "evidence_class": "claim"} if check["result"] == "pass" else check

    data = event.data
    if event.type == "check_evaluated":
        data = weakened(data)
    elif event.type == "verdict_reached":
        data = {**data, "evidence": [weakened(check) for check in data["evidence"]]}
    return event.model_copy(update={"data": data})
