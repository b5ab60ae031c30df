"""Whether a failed attempt is tried again. Pure: the jitter is a number that the caller drew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tickover.core.cause import CauseCode
from tickover.core.evidence import CheckId, CheckList, CheckResult, EvidenceClass
from tickover.core.status import Outcome
from tickover.core.verdict import CheckTerm

MAX_DELAY_S = 3600.0
"""Backoff doubles with every attempt up to here; the jitter comes on top."""

JITTER = 0.5
"""The largest jitter, as a part of the delay: runs that failed together do not come back together."""

RETRY_WHEN: dict[str, frozenset[CauseCode]] = {
    "infrastructure": frozenset({CauseCode.INFRASTRUCTURE, CauseCode.LOST, CauseCode.CLONE_FAILED}),
    "model_overloaded": frozenset({CauseCode.MODEL_OVERLOADED}),
    "lost": frozenset({CauseCode.LOST}),
    "clone_failed": frozenset({CauseCode.CLONE_FAILED}),
    "setup_failed": frozenset({CauseCode.SETUP_FAILED}),
    "timeout": frozenset({CauseCode.TIMEOUT, CauseCode.STALLED}),
    "agent_failed": frozenset({CauseCode.AGENT_FAILED}),
}
"""The names that `retry.when` may use and the causes each stands for. No other cause is ever tried again."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` counts the first one; `backoff_s` is the delay before the second; `when` names RETRY_WHEN."""

    attempts: int = 1
    backoff_s: float = 30.0
    when: tuple[str, ...] = ("infrastructure", "model_overloaded")

    def covers(self, cause: CauseCode) -> bool:
        return any(cause in RETRY_WHEN[name] for name in self.when)


@dataclass(frozen=True, slots=True)
class Retry:
    """Start another attempt `at_delay_s` seconds from now."""

    at_delay_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """This was the last attempt."""

    why: str


def decide_retry(
    attempt: int,
    policy: RetryPolicy,
    cause: CauseCode | None,
    outcome: Outcome,
    *,
    checks: Collection[CheckTerm],
    baseline_then: Mapping[CheckId, CheckResult],
    baseline_now: Mapping[CheckId, CheckResult],
    unknown_writes: int = 0,
    jitter: float = 0.0,
) -> Retry | Stop:
    """Decide after attempt number `attempt` (from 1) whether there is another.

    `baseline_then` is the run's first baseline, `baseline_now` what the checks say after this attempt: what was done
    outside shall not be done twice, however badly the attempt ended (what was done inside went with the sandbox).
    `unknown_writes` left and were never answered;
    `jitter` is in [0, 1).
    """
    if cause is None:
        return Stop("the attempt completed: a verdict is not improved by trying again")
    if outcome in {Outcome.VERIFIED, Outcome.NOOP}:
        return Stop(f"the outcome is {outcome} already")
    outside = [check for check in checks if _looks_outside(check)]
    for check in outside:
        if baseline_now.get(check.id) is CheckResult.PASS and baseline_then.get(check.id) is not CheckResult.PASS:
            return Stop(f"{check.id} {check.kind} holds since this run: another attempt could do it twice")
    if unknown_writes and not _undone(outside, baseline_then, baseline_now):
        return Stop(f"writes that were never answered: {unknown_writes}, and no `state` check says they did not land")
    if not policy.covers(cause):
        return Stop(f"`retry.when` does not name {cause}")
    if attempt >= policy.attempts:
        return Stop(f"attempt {attempt} of {policy.attempts} was the last")
    delay = min(policy.backoff_s * 2.0 ** min(attempt - 1, 64), MAX_DELAY_S)
    return Retry(delay * (1 + JITTER * jitter), f"{cause}: attempt {attempt + 1} of {policy.attempts}")


def _looks_outside(check: CheckTerm) -> bool:
    """Say whether it sees what was done outside; a receipt does, however little its check asks of it."""
    outside = check.evidence_class in {EvidenceClass.EFFECT, EvidenceClass.STATE} or check.kind == "receipt"
    return outside and check.list is CheckList.EXPECT and not check.guard


def _undone(
    outside: Collection[CheckTerm],
    then: Mapping[CheckId, CheckResult],
    now: Mapping[CheckId, CheckResult],
) -> bool:
    """Say whether the world, read back, shows that nothing landed: every `state` check failed then and fails now."""
    state = [check.id for check in outside if check.evidence_class is EvidenceClass.STATE]
    return bool(state) and all(then.get(id_) is now.get(id_) is CheckResult.FAIL for id_ in state)
