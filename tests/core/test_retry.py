from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.cause import CauseCode
from tickover.core.evidence import CheckId, CheckList, CheckResult, EvidenceClass
from tickover.core.retry import JITTER, MAX_DELAY_S, RETRY_WHEN, Retry, RetryPolicy, Stop, decide_retry
from tickover.core.status import Outcome
from tickover.core.verdict import CheckTerm

CLAIM, ARTIFACT, EFFECT, STATE = EvidenceClass
PASS, FAIL, ERROR, PENDING = CheckResult
NEVER_AGAIN = {
    CauseCode.MODEL_AUTH,
    CauseCode.PAUSED,
    CauseCode.LIMIT,
    CauseCode.BUDGET,
    CauseCode.CONDITION_FAILED,
    CauseCode.CANCELLED,
    CauseCode.PREFLIGHT,
    CauseCode.ISOLATION,
    CauseCode.NOT_YET,
    CauseCode.NOT_GRANTED,
    CauseCode.CAP,
    CauseCode.PAUSED,
    CauseCode.OVERLAP,
    CauseCode.UNPROMOTED,
    CauseCode.BAD_INPUT,
    CauseCode.INTERNAL,
}
EVERYTHING = RetryPolicy(attempts=3, backoff_s=30.0, when=tuple(RETRY_WHEN))


@dataclass(frozen=True)
class After:
    """An attempt that ended, by default one that is worth another."""

    attempt: int = 1
    policy: RetryPolicy = EVERYTHING
    cause: CauseCode | None = CauseCode.LOST
    outcome: Outcome = Outcome.FAILED
    check: EvidenceClass = STATE
    guard: bool = False
    list_: CheckList = CheckList.EXPECT
    then: CheckResult | None = FAIL
    now: CheckResult | None = FAIL
    unknown: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    def decide(self) -> Retry | Stop:
        term = CheckTerm(self.list_, 0, "http", self.check, self.guard)
        return decide_retry(
            self.attempt,
            self.policy,
            self.cause,
            self.outcome,
            checks=[term],
            baseline_then={} if self.then is None else {term.id: self.then},
            baseline_now={} if self.now is None else {term.id: self.now},
            unknown_writes=self.unknown,
            **self.more,
        )


AGAIN: dict[str, After] = {
    "lost": After(),
    "the outcome was unverified": After(outcome=Outcome.UNVERIFIED),
    "nothing had started": After(outcome=Outcome.NONE, then=None, now=None),
    "what holds held before": After(then=PASS, now=PASS),
    "an artifact went with its sandbox": After(check=ARTIFACT, now=PASS),
    "a claim is not work": After(check=CLAIM, now=PASS),
    "a guard is not work": After(guard=True, now=PASS),
    "a noop check is not work": After(list_=CheckList.NOOP, now=PASS),
    "unknown write, the outside shows that it did not land": After(unknown=1),
}
NOT_AGAIN: dict[str, tuple[After, str]] = {
    "completed": (After(cause=None), "completed"),
    "verified": (After(outcome=Outcome.VERIFIED, now=FAIL), "verified already"),
    "noop": (After(outcome=Outcome.NOOP), "noop already"),
    "the state was reached": (After(now=PASS), "holds since this run"),
    "the effect was had": (After(check=EFFECT, now=PASS), "holds since this run"),
    "the state was reached, unknown before": (After(then=ERROR, now=PASS), "holds since this run"),
    "the state was reached, no baseline": (After(then=None, now=PASS), "holds since this run"),
    "unknown write, undecided": (After(unknown=1, now=PENDING), "never answered: 1"),
    "unknown write, not readable": (After(unknown=2, now=ERROR), "never answered: 2"),
    "unknown write, not read": (After(unknown=1, now=None), "never answered"),
    "unknown write, held before": (After(unknown=1, then=PASS, now=PASS), "never answered"),
    "unknown write, did not hold any more": (After(unknown=1, then=PASS, now=FAIL), "never answered"),
    "unknown write, only a receipt": (After(unknown=1, check=EFFECT), "never answered"),
    "unknown write, only an artifact": (After(unknown=1, check=ARTIFACT), "never answered"),
    "unknown write, only a guard": (After(unknown=1, guard=True), "never answered"),
    "not named": (After(policy=RetryPolicy(attempts=3), cause=CauseCode.TIMEOUT), "does not name timeout"),
    "the last": (After(attempt=3), "attempt 3 of 3 was the last"),
    "one is the default": (After(policy=RetryPolicy()), "attempt 1 of 1 was the last"),
}


@pytest.mark.parametrize("name", AGAIN)
def test_again(name: str) -> None:
    assert AGAIN[name].decide() == Retry(30.0, f"{CauseCode.LOST}: attempt 2 of 3")


@pytest.mark.parametrize("name", NOT_AGAIN)
def test_not_again(name: str) -> None:
    after, why = NOT_AGAIN[name]
    decision = after.decide()
    assert isinstance(decision, Stop)
    assert why in decision.why


def test_every_state_check_must_show_that_nothing_landed() -> None:
    checks = [CheckTerm(CheckList.EXPECT, index, "http", STATE) for index in range(2)]
    failing = {check.id: FAIL for check in checks}
    for second in (PENDING, ERROR):
        now = {**failing, CheckId(CheckList.EXPECT, 1): second}
        decision = decide_retry(
            1,
            EVERYTHING,
            CauseCode.LOST,
            Outcome.FAILED,
            checks=checks,
            baseline_then=failing,
            baseline_now=now,
            unknown_writes=1,
        )
        assert isinstance(decision, Stop)


@pytest.mark.parametrize("cause", CauseCode)
def test_causes_are_tried_again_under_their_names_only(cause: CauseCode) -> None:
    names = {name for name, causes in RETRY_WHEN.items() if cause in causes}
    assert (names == set()) is (cause in NEVER_AGAIN)
    for name in RETRY_WHEN:
        decision = After(cause=cause, policy=RetryPolicy(attempts=2, when=(name,))).decide()
        assert isinstance(decision, Retry) is (name in names)


def test_the_default_covers_the_machine_s_faults_and_the_provider_s() -> None:
    covered = {cause for cause in CauseCode if RetryPolicy().covers(cause)}
    assert covered == {
        CauseCode.INFRASTRUCTURE,
        CauseCode.LOST,
        CauseCode.CLONE_FAILED,
        CauseCode.MODEL_OVERLOADED,
    }


@pytest.mark.parametrize(
    ("attempt", "jitter", "delay"),
    [(1, 0.0, 30.0), (2, 0.0, 60.0), (3, 0.0, 120.0), (1, 0.5, 37.5), (8, 0.0, MAX_DELAY_S), (99, 0.0, MAX_DELAY_S)],
)
def test_the_delay_doubles_up_to_an_hour(attempt: int, jitter: float, delay: float) -> None:
    policy = RetryPolicy(attempts=100, backoff_s=30.0)
    decision = After(attempt=attempt, policy=policy, more={"jitter": jitter}).decide()
    assert isinstance(decision, Retry)
    assert decision.at_delay_s == delay


@given(
    st.integers(1, 10**6),
    st.floats(0, 10**6),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(CauseCode),
    st.sampled_from(Outcome),
)
def test_a_delay_is_finite_and_never_shorter_than_the_backoff(
    attempt: int, backoff: float, jitter: float, cause: CauseCode, outcome: Outcome
) -> None:
    policy = RetryPolicy(attempts=10**6, backoff_s=backoff, when=tuple(RETRY_WHEN))
    decision = After(attempt=attempt, policy=policy, cause=cause, outcome=outcome, more={"jitter": jitter}).decide()
    if isinstance(decision, Retry):
        assert attempt < policy.attempts
        assert min(backoff, MAX_DELAY_S) <= decision.at_delay_s <= MAX_DELAY_S * (1 + JITTER)


@given(
    st.lists(st.tuples(st.sampled_from(EvidenceClass), st.booleans(), st.sampled_from(CheckResult)), max_size=4),
    st.sampled_from(CauseCode),
    st.integers(0, 2),
)
def test_what_was_done_outside_is_never_done_again(
    said: list[tuple[EvidenceClass, bool, CheckResult]], cause: CauseCode, unknown: int
) -> None:
    checks = [CheckTerm(CheckList.EXPECT, i, "http", class_, guard) for i, (class_, guard, _) in enumerate(said)]
    now = {check.id: result for check, (_, _, result) in zip(checks, said, strict=True)}
    decision = decide_retry(
        1,
        EVERYTHING,
        cause,
        Outcome.FAILED,
        checks=checks,
        baseline_then=dict.fromkeys(now, FAIL),
        baseline_now=now,
        unknown_writes=unknown,
    )
    if isinstance(decision, Retry):
        outside = [(class_, result) for class_, guard, result in said if class_ in {EFFECT, STATE} and not guard]
        assert PASS not in {result for _, result in outside}
        if unknown:
            assert {result for class_, result in outside if class_ is STATE} == {FAIL}


def test_a_receipt_that_came_counts_however_little_was_asked_of_it() -> None:
    term = CheckTerm(CheckList.EXPECT, 0, "receipt", CLAIM)
    then, now = {term.id: FAIL}, {term.id: PASS}
    found = decide_retry(
        1, EVERYTHING, CauseCode.LOST, Outcome.UNVERIFIED, checks=[term], baseline_then=then, baseline_now=now
    )
    assert isinstance(found, Stop)
    assert "could do it twice" in found.why
