"""The table of "Evidence and verdict", row by row and rule by rule, then what must hold whatever is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tickover.core.evidence import CheckId, CheckList, CheckResult, EvidenceClass, Said
from tickover.core.finding import Finding, FindingCode, found
from tickover.core.status import ClaimStatus, Execution, Outcome, exit_code
from tickover.core.verdict import CheckTerm, Contract, Verdict, decide, too_weak

CLAIM, ARTIFACT, EFFECT, STATE = EvidenceClass
PASS, FAIL, ERROR, PENDING = CheckResult
REQUIRED = found(FindingCode.DENIED_TOOL, "Bash was denied", required=True)


@dataclass(frozen=True)
class C:
    """A check with what it said: `before` the agent started, and after it ended (`now`)."""

    class_: EvidenceClass = STATE
    before: CheckResult | None = FAIL
    now: CheckResult | None = PASS
    guard: bool = False
    summary: str = ""
    kind: str = "http"


@dataclass(frozen=True)
class Given:
    expect: tuple[C, ...] = ()
    noop: tuple[C, ...] = ()
    claim: ClaimStatus | None = ClaimStatus.DONE
    findings: tuple[Finding, ...] = ()
    started: bool = True
    writes: int = 0
    may_write: bool = True


def judge(case: Given) -> Verdict:
    terms: list[CheckTerm] = []
    before: dict[CheckId, CheckResult] = {}
    now: dict[CheckId, Said] = {}
    for list_, checks in ((CheckList.EXPECT, case.expect), (CheckList.NOOP, case.noop)):
        for index, check in enumerate(checks):
            term = CheckTerm(list_, index, check.kind, check.class_, check.guard)
            terms.append(term)
            if check.before is not None:
                before[term.id] = check.before
            if check.now is not None:
                now[term.id] = Said(check.now, check.summary, check.class_)
    return decide(
        Contract(tuple(terms), case.may_write),
        before,
        now,
        case.claim,
        case.findings,
        started=case.started,
        forwarded_writes=case.writes,
    )


NOOP = ClaimStatus.NOOP
GUARD = C(guard=True, before=PASS)
QUIET = C(before=PASS, summary="no commits", kind="git")

TABLE: dict[str, tuple[Given, Outcome]] = {
    # agent never started
    "never started": (Given(expect=(C(),), started=False), Outcome.NONE),
    "never started, whatever else": (
        Given(expect=(C(now=FAIL),), findings=(REQUIRED,), started=False, claim=NOOP, writes=1),
        Outcome.NONE,
    ),
    # a required finding, a failed guard, noop claimed together with a forwarded write
    "required finding over proof": (Given(expect=(C(),), findings=(REQUIRED,)), Outcome.FAILED),
    "required finding over noop": (Given(noop=(QUIET,), claim=NOOP, findings=(REQUIRED,)), Outcome.FAILED),
    "required finding over pending": (Given(expect=(C(now=PENDING),), findings=(REQUIRED,)), Outcome.FAILED),
    "required finding without a contract": (Given(findings=(REQUIRED,)), Outcome.FAILED),
    "failed guard over proof": (Given(expect=(C(), replace(GUARD, now=FAIL))), Outcome.FAILED),
    "failed guard over noop": (
        Given(expect=(replace(GUARD, now=FAIL),), noop=(QUIET,), claim=NOOP),
        Outcome.FAILED,
    ),
    "failed guard over error": (Given(expect=(replace(GUARD, now=FAIL), C(now=ERROR))), Outcome.FAILED),
    "noop claimed and a write": (Given(noop=(QUIET,), claim=NOOP, writes=1), Outcome.FAILED),
    "noop claimed and a write, work proved": (Given(expect=(C(),), claim=NOOP, writes=1), Outcome.FAILED),
    "done claimed and a write": (Given(expect=(C(),), writes=1), Outcome.VERIFIED),
    # noop claimed, at least one noop check, not only claims, and all pass
    "noop proved": (Given(expect=(C(now=FAIL),), noop=(QUIET,), claim=NOOP), Outcome.NOOP),
    "noop proved, expect pending": (Given(expect=(C(now=PENDING),), noop=(QUIET,), claim=NOOP), Outcome.NOOP),
    "noop proved, expect error": (Given(expect=(C(now=ERROR),), noop=(QUIET,), claim=NOOP), Outcome.NOOP),
    "noop proved, work proved too": (Given(expect=(C(),), noop=(QUIET,), claim=NOOP), Outcome.NOOP),
    "noop proved without expect": (Given(noop=(QUIET,), claim=NOOP), Outcome.NOOP),
    "noop proved by an artifact": (Given(noop=(C(ARTIFACT, before=PASS),), claim=NOOP), Outcome.NOOP),
    "noop by an artifact that the agent made so": (Given(noop=(C(ARTIFACT),), claim=NOOP), Outcome.UNVERIFIED),
    "noop by such an artifact beside a proof": (Given(noop=(QUIET, C(ARTIFACT)), claim=NOOP), Outcome.UNVERIFIED),
    "noop by such an artifact, work not done": (
        Given(expect=(C(now=FAIL),), noop=(C(ARTIFACT),), claim=NOOP),
        Outcome.FAILED,
    ),
    "noop by the outside as it became": (Given(noop=(C(),), claim=NOOP), Outcome.NOOP),
    "noop proved, one of them a claim": (Given(noop=(C(CLAIM), QUIET), claim=NOOP), Outcome.NOOP),
    "noop proved, a guard held": (Given(expect=(GUARD,), noop=(QUIET,), claim=NOOP), Outcome.NOOP),
    "noop of which one fails": (Given(noop=(QUIET, C(now=FAIL)), claim=NOOP), Outcome.UNVERIFIED),
    "noop of which one errs": (Given(noop=(QUIET, C(now=ERROR)), claim=NOOP), Outcome.UNVERIFIED),
    "noop not decidable yet": (Given(noop=(QUIET, C(now=PENDING)), claim=NOOP), Outcome.PENDING),
    "noop by claims alone": (Given(noop=(C(CLAIM),), claim=NOOP), Outcome.UNVERIFIED),
    "noop without noop checks": (Given(claim=NOOP), Outcome.UNVERIFIED),
    "noop while a guard errs": (
        Given(expect=(replace(GUARD, now=ERROR),), noop=(QUIET,), claim=NOOP),
        Outcome.UNVERIFIED,
    ),
    "noop while a guard is undecided": (
        Given(expect=(replace(GUARD, now=PENDING),), noop=(QUIET,), claim=NOOP),
        Outcome.PENDING,
    ),
    "noop holds but was not claimed": (Given(expect=(C(now=FAIL),), noop=(QUIET,)), Outcome.FAILED),
    "noop holds, nothing was claimed": (Given(noop=(QUIET,), claim=None), Outcome.UNVERIFIED),
    "noop fails but was not claimed": (Given(expect=(C(),), noop=(C(now=FAIL),)), Outcome.VERIFIED),
    "noop errs but was not claimed": (Given(expect=(C(),), noop=(C(now=ERROR),)), Outcome.VERIFIED),
    # any expect check fails
    "expect fails": (Given(expect=(C(now=FAIL),)), Outcome.FAILED),
    "expect fails, another proves": (Given(expect=(C(), C(now=FAIL))), Outcome.FAILED),
    "a claim fails, another proves": (Given(expect=(C(), C(CLAIM, now=FAIL))), Outcome.FAILED),
    "expect fails over pending": (Given(expect=(C(now=PENDING), C(now=FAIL))), Outcome.FAILED),
    "expect fails over error": (Given(expect=(C(now=ERROR), C(now=FAIL))), Outcome.FAILED),
    "expect fails that held before": (Given(expect=(C(before=PASS, now=FAIL),)), Outcome.FAILED),
    "noop claimed in vain, expect fails": (
        Given(expect=(C(now=FAIL),), noop=(C(now=FAIL),), claim=NOOP),
        Outcome.FAILED,
    ),
    # any check not yet decidable
    "pending": (Given(expect=(C(now=PENDING),)), Outcome.PENDING),
    "pending over proof": (Given(expect=(C(), C(now=PENDING))), Outcome.PENDING),
    "pending over error": (Given(expect=(C(now=ERROR), C(now=PENDING))), Outcome.PENDING),
    "pending guard over proof": (Given(expect=(C(), replace(GUARD, now=PENDING))), Outcome.PENDING),
    # an error, no contract, or no non-vacuous evidence of the needed class
    "error": (Given(expect=(C(now=ERROR),)), Outcome.UNVERIFIED),
    "error beside proof": (Given(expect=(C(), C(now=ERROR))), Outcome.UNVERIFIED),
    "error of a guard beside proof": (Given(expect=(C(), replace(GUARD, now=ERROR))), Outcome.UNVERIFIED),
    "not evaluated is an error": (Given(expect=(C(), C(now=None))), Outcome.UNVERIFIED),
    "no contract": (Given(), Outcome.UNVERIFIED),
    "no contract, nothing claimed": (Given(claim=None, may_write=False), Outcome.UNVERIFIED),
    "only claims": (Given(expect=(C(CLAIM), C(CLAIM)), may_write=False), Outcome.UNVERIFIED),
    "only a guard": (Given(expect=(C(guard=True),)), Outcome.UNVERIFIED),
    "artifact, may write outside": (Given(expect=(C(ARTIFACT),)), Outcome.UNVERIFIED),
    "artifact and claim, may write outside": (Given(expect=(C(ARTIFACT), C(CLAIM))), Outcome.UNVERIFIED),
    "vacuous state": (Given(expect=(C(before=PASS),)), Outcome.UNVERIFIED),
    "vacuous effect": (Given(expect=(C(EFFECT, before=PASS),)), Outcome.UNVERIFIED),
    "vacuous artifact": (Given(expect=(C(ARTIFACT, before=PASS),), may_write=False), Outcome.UNVERIFIED),
    "vacuous state, proving claim": (Given(expect=(C(before=PASS), C(CLAIM))), Outcome.UNVERIFIED),
    "state never seen to fail": (Given(expect=(C(before=ERROR),)), Outcome.UNVERIFIED),
    "state without a baseline": (Given(expect=(C(before=None),)), Outcome.UNVERIFIED),
    "state undecided before": (Given(expect=(C(before=PENDING),)), Outcome.UNVERIFIED),
    "artifact never seen to fail": (Given(expect=(C(ARTIFACT, before=ERROR),), may_write=False), Outcome.UNVERIFIED),
    # otherwise
    "state": (Given(expect=(C(),)), Outcome.VERIFIED),
    "state, may write nothing": (Given(expect=(C(),), may_write=False), Outcome.VERIFIED),
    "effect": (Given(expect=(C(EFFECT),)), Outcome.VERIFIED),
    "effect: a receipt is of this run": (Given(expect=(C(EFFECT, before=None),)), Outcome.VERIFIED),
    "artifact, may write nothing": (Given(expect=(C(ARTIFACT),), may_write=False), Outcome.VERIFIED),
    "proof beside vacuous": (Given(expect=(C(), C(before=PASS))), Outcome.VERIFIED),
    "proof beside a claim": (Given(expect=(C(), C(CLAIM))), Outcome.VERIFIED),
    "proof beside a guard": (Given(expect=(C(), GUARD)), Outcome.VERIFIED),
    "proof beside a finding": (
        Given(expect=(C(),), findings=(found(FindingCode.AGENT_ENDED_BADLY),)),
        Outcome.VERIFIED,
    ),
    "failure claimed, work proved": (Given(expect=(C(),), claim=ClaimStatus.FAILED), Outcome.VERIFIED),
    "nothing claimed, work proved": (Given(expect=(C(),), claim=None), Outcome.VERIFIED),
    "noop claimed in vain, work proved": (
        Given(expect=(C(),), noop=(C(now=FAIL),), claim=NOOP),
        Outcome.VERIFIED,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    case, outcome = TABLE[name]
    assert judge(case).outcome is outcome


SENTENCES: list[tuple[Given, str]] = [
    (Given(started=False), "none (the agent never started)"),
    (
        Given(expect=(C(summary="message read back from #eng"),)),
        "verified (state: message read back from #eng)",
    ),
    (
        Given(expect=(C(ARTIFACT, summary="digest equal"), C(EFFECT, summary="POST, 200")), may_write=False),
        "verified (effect: POST, 200; artifact: digest equal)",
    ),
    (Given(expect=(C(CLAIM, summary="said so"), C())), "verified (state: http)"),
    (Given(noop=(C(CLAIM), QUIET), claim=NOOP), "noop (state: no commits)"),
    (Given(expect=(C(now=FAIL, summary="the list is empty"),)), "failed (expect[0] http: the list is empty)"),
    (
        Given(expect=(replace(GUARD, now=FAIL, summary="README changed"),)),
        "failed (guard expect[0] http: README changed)",
    ),
    (Given(findings=(REQUIRED,)), "failed (required: denied_tool: Bash was denied)"),
    (
        Given(claim=NOOP, writes=2),
        "failed (nothing to do was claimed, but writes left for the outside: 2)",
    ),
    (Given(expect=(C(now=PENDING),)), "pending (expect[0] http)"),
    (Given(), "unverified (the routine has no contract: `expect` is empty)"),
    (
        Given(expect=(C(now=ERROR, summary="no such command", kind="command"), C())),
        "unverified (expect[0] command could not be evaluated: no such command)",
    ),
    (Given(expect=(C(now=None),)), "unverified (expect[0] http could not be evaluated: it was not evaluated)"),
    (
        Given(expect=(C(before=PASS), C(CLAIM), C(ARTIFACT), C(guard=True), C(before=ERROR))),
        (
            "unverified (expect[0] http: it held already before the agent started; "
            "expect[1] http: it is only a claim; "
            "expect[2] http: an artifact proves nothing where the routine may write outside; "
            "expect[3] http: a guard can fail a run, never verify it; "
            "expect[4] http: it was not seen to fail before the agent started)"
        ),
    ),
    (
        Given(noop=(replace(QUIET, now=FAIL, summary="3 commits"),), claim=NOOP),
        (
            "unverified (the routine has no contract: `expect` is empty; "
            "nothing to do was claimed, but not proved: noop[0] git: 3 commits)"
        ),
    ),
]


@pytest.mark.parametrize(("case", "sentence"), SENTENCES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_reason_says_it_in_words(case: Given, sentence: str) -> None:
    assert judge(case).reason == sentence


def test_a_reason_stays_one_short_printable_line() -> None:
    verdict = judge(Given(expect=tuple(C(now=FAIL, summary="\x1b[2J\nroot:\r" + "x" * 9000) for _ in range(50))))
    assert verdict.reason.isprintable()
    assert len(verdict.reason) < 1500
    assert verdict.reason.endswith("; and 45 more)")
    assert len(verdict.reasons) == 50


def test_the_evidence_says_of_each_check_what_it_was_worth() -> None:
    verdict = judge(Given(expect=(C(), C(before=PASS), GUARD, C(CLAIM)), noop=(QUIET,)))
    assert [(str(check.id), check.vacuous, check.proves) for check in verdict.evidence] == [
        ("expect[0]", False, True),
        ("expect[1]", True, False),
        ("expect[2]", False, False),
        ("expect[3]", False, False),
        ("noop[0]", False, False),
    ]
    assert [check.baseline for check in verdict.evidence] == [FAIL, PASS, PASS, FAIL, PASS]


def test_a_proved_noop_rests_on_its_noop_checks_without_the_claims() -> None:
    verdict = judge(Given(expect=(C(),), noop=(QUIET, C(CLAIM)), claim=NOOP))
    assert [str(check.id) for check in verdict.evidence if check.proves] == ["noop[0]"]


def test_nothing_proves_where_the_outcome_is_not_green() -> None:
    verdict = judge(Given(expect=(C(), C(now=FAIL))))
    assert not any(check.proves for check in verdict.evidence)


def test_findings_are_passed_on() -> None:
    findings = (found(FindingCode.LATE), REQUIRED)
    assert judge(Given(findings=findings)).findings == findings


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (Given(), "`expect` is empty"),
        (Given(noop=(QUIET,)), "`expect` is empty"),
        (Given(expect=(GUARD,)), "`expect` has only guards"),
        (
            Given(expect=(C(CLAIM), GUARD), may_write=False),
            "every check in `expect` only looks at what the agent claims",
        ),
        (
            Given(expect=(C(ARTIFACT), C(CLAIM))),
            "it may write outside, and no check looks at the outside (class `effect` or `state`)",
        ),
        (Given(expect=(C(ARTIFACT),), may_write=False), ""),
        (Given(expect=(C(EFFECT),)), ""),
        (Given(expect=(C(CLAIM), C(STATE))), ""),
    ],
)
def test_a_contract_that_can_never_verify_says_why(case: Given, why: str) -> None:
    assert too_weak(_contract(case)) == why


def _contract(case: Given) -> Contract:
    lists = ((CheckList.EXPECT, case.expect), (CheckList.NOOP, case.noop))
    return Contract(
        tuple(
            CheckTerm(list_, index, check.kind, check.class_, check.guard)
            for list_, checks in lists
            for index, check in enumerate(checks)
        ),
        case.may_write,
    )


# What must hold whatever is given

results = st.sampled_from(CheckResult)
unseen = st.one_of(st.none(), results)
checks = st.builds(
    C,
    st.sampled_from(EvidenceClass),
    unseen,
    unseen,
    st.booleans(),
    st.text(max_size=5),
    st.sampled_from(["file", "http"]),
)
findings = st.builds(found, st.sampled_from(FindingCode), required=st.booleans())


def some(items: st.SearchStrategy[C]) -> st.SearchStrategy[tuple[C, ...]]:
    return st.lists(items, max_size=4).map(tuple)


cases = st.builds(
    Given,
    expect=some(checks),
    noop=some(checks.map(lambda check: replace(check, guard=False))),
    claim=st.one_of(st.none(), st.sampled_from(ClaimStatus)),
    findings=st.lists(findings, max_size=1).map(tuple),
    started=st.sampled_from([True, True, True, False]),
    writes=st.sampled_from([0, 0, 0, 1, 7]),
    may_write=st.booleans(),
)
"""Any evidence at all."""

before = st.sampled_from([FAIL, FAIL, FAIL, PASS, ERROR, None])
likely = st.builds(
    Given,
    expect=some(st.builds(C, st.sampled_from(EvidenceClass), before, st.just(PASS), st.booleans())),
    noop=some(st.builds(C, st.sampled_from(EvidenceClass), before, st.just(PASS))),
    claim=st.sampled_from(ClaimStatus),
    writes=st.sampled_from([0, 1]),
    may_write=st.booleans(),
)
"""Evidence of which all passes: the neighbourhood of green."""

anything = st.one_of(cases, likely)
thoroughly = settings(max_examples=400)


def only_claims_pass(checks: Sequence[C]) -> tuple[C, ...]:
    return tuple(replace(check, class_=CLAIM) if check.now is PASS else check for check in checks)


@thoroughly
@given(anything)
def test_claims_alone_never_make_green(case: Given) -> None:
    weak = replace(case, expect=only_claims_pass(case.expect), noop=only_claims_pass(case.noop))
    outcome = judge(weak).outcome
    event(outcome)
    assert outcome not in {Outcome.VERIFIED, Outcome.NOOP}


@thoroughly
@given(anything)
def test_green_rests_on_evidence_that_can_verify_and_was_false_before(case: Given) -> None:
    verdict = judge(case)
    event(verdict.outcome)
    if verdict.outcome is not Outcome.VERIFIED:
        return
    assert all(check.now is PASS for check in case.expect)
    proofs = [check for check in verdict.evidence if check.proves]
    assert proofs
    for proof in proofs:
        assert proof.list is CheckList.EXPECT
        assert not proof.guard
        assert proof.evidence_class in ({EFFECT, STATE} if case.may_write else {ARTIFACT, EFFECT, STATE})
        assert proof.baseline is FAIL or (proof.evidence_class is EFFECT and proof.baseline is not PASS)


@thoroughly
@given(anything)
def test_noop_never_goes_with_a_forwarded_write_or_without_its_claim(case: Given) -> None:
    if judge(case).outcome is Outcome.NOOP:
        event("noop")
        assert case.writes == 0
        assert case.claim is NOOP
        assert case.noop
        assert all(check.now is PASS for check in case.noop)


@thoroughly
@given(anything)
def test_a_guard_never_makes_a_verdict_better(case: Given) -> None:
    rank = [Outcome.VERIFIED, Outcome.NOOP, Outcome.UNVERIFIED, Outcome.PENDING, Outcome.FAILED, Outcome.NONE]
    without = judge(replace(case, expect=tuple(check for check in case.expect if not check.guard)))
    assert rank.index(judge(case).outcome) >= min(rank.index(without.outcome), rank.index(Outcome.UNVERIFIED))
    if judge(case).outcome is Outcome.VERIFIED:
        assert without.outcome is Outcome.VERIFIED


@thoroughly
@given(anything, checks)
def test_one_more_check_that_held_before_never_makes_green(case: Given, check: C) -> None:
    more = replace(case, expect=(*case.expect, replace(check, before=PASS)))
    if judge(more).outcome is Outcome.VERIFIED:
        assert judge(case).outcome is Outcome.VERIFIED


@thoroughly
@given(anything)
def test_what_the_agent_claims_changes_nothing_but_whether_noop_is_looked_at(case: Given) -> None:
    by_claim = {claim: judge(replace(case, claim=claim)).outcome for claim in (None, *ClaimStatus)}
    assert by_claim[None] is by_claim[ClaimStatus.DONE] is by_claim[ClaimStatus.FAILED]


@thoroughly
@given(anything)
def test_the_outcome_is_none_exactly_where_the_agent_never_started(case: Given) -> None:
    assert (judge(case).outcome is Outcome.NONE) is not case.started


@thoroughly
@given(anything)
def test_every_verdict_has_a_reason_and_speaks_of_every_check(case: Given) -> None:
    verdict = judge(case)
    assert verdict.reasons
    assert verdict.reason.startswith(f"{verdict.outcome} (")
    assert len(verdict.evidence) == len(case.expect) + len(case.noop)


others = st.sampled_from(EvidenceClass)


@thoroughly
@given(likely, st.lists(others, min_size=8, max_size=8))
def test_what_is_said_of_another_class_than_the_contracts_never_makes_green(
    case: Given, said: list[EvidenceClass]
) -> None:
    contract = _contract(case)
    asked = {CheckList.EXPECT: case.expect, CheckList.NOOP: case.noop}
    before = {term.id: found for term in contract.checks if (found := asked[term.list][term.index].before)}
    now = {term.id: Said(PASS, "", class_) for term, class_ in zip(contract.checks, said, strict=False)}
    verdict = decide(contract, before, now, case.claim, (), started=True, forwarded_writes=case.writes)
    event(verdict.outcome)
    fitting = {term.id for term in contract.checks if now[term.id].evidence_class is term.evidence_class}
    assert all(check.result is (PASS if check.id in fitting else ERROR) for check in verdict.evidence)
    assert all(check.id in fitting for check in verdict.evidence if check.proves)
    if verdict.outcome is Outcome.VERIFIED:
        assert all(term.id in fitting for term in contract.checks if term.list is CheckList.EXPECT)
    if verdict.outcome is Outcome.NOOP:
        assert all(term.id in fitting for term in contract.checks if term.list is CheckList.NOOP)


def test_a_claim_said_in_the_place_of_an_effect_is_an_error_that_tells_the_classes() -> None:
    term = CheckTerm(CheckList.EXPECT, 0, "receipt", EFFECT)
    verdict = decide(Contract((term,)), {}, {term.id: Said(PASS, "I sent it", CLAIM)}, None, (), started=True)
    assert verdict.outcome is Outcome.UNVERIFIED
    assert verdict.reason.endswith("could not be evaluated: the contract asks for effect, and this was claim)")
    unsaid = decide(Contract((term,)), {}, {term.id: Said(PASS, "I sent it")}, None, (), started=True)
    assert unsaid.outcome is Outcome.UNVERIFIED


def test_a_contract_has_one_check_for_each_place() -> None:
    effect = CheckTerm(CheckList.EXPECT, 1, "receipt", EFFECT)
    with pytest.raises(ValueError, match=r"expect\[1\] stands twice in the contract"):
        Contract((effect, replace(effect, kind="file", evidence_class=CLAIM)))
    assert Contract((effect, replace(effect, list=CheckList.NOOP), replace(effect, index=0))).checks


@pytest.mark.parametrize("execution", Execution)
def test_exit_codes(execution: Execution) -> None:
    by_outcome = {outcome.value: exit_code(execution, outcome) for outcome in Outcome}
    if execution is Execution.COMPLETED:
        assert by_outcome == {"verified": 0, "noop": 0, "pending": 8, "failed": 5, "unverified": 6, "none": 7}
    else:
        assert by_outcome == {"verified": 0, "noop": 0, "pending": 8, "failed": 7, "unverified": 7, "none": 7}
