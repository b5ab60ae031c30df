"""The verdict: what was proved about the work, decided from evidence alone. Execution is no argument of it.

The table is `_ROWS`, in that order: the first row that applies decides. Each row answers with the reasons why it
applies, or with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from tickover.core.evidence import (
    NOT_EVALUATED,
    CheckFact,
    CheckId,
    CheckList,
    CheckResult,
    EvidenceClass,
    Said,
    first_twice,
    is_vacuous,
)
from tickover.core.finding import Finding
from tickover.core.status import ClaimStatus, Outcome
from tickover.core.text import one_line

__all__ = ["CheckTerm", "Contract", "Said", "Verdict", "decide", "too_weak"]

MAX_REASONS = 5
"""Reasons that the sentence quotes; `Verdict.reasons` has all."""


@dataclass(frozen=True, slots=True)
class CheckTerm:
    """One check as the contract has it."""

    list: CheckList
    index: int
    kind: str
    evidence_class: EvidenceClass
    guard: bool = False

    @property
    def id(self) -> CheckId:
        return CheckId(self.list, self.index)


@dataclass(frozen=True, slots=True)
class Contract:
    """All checks of a routine, and whether its `may` lets it change anything outside.

    Raises ValueError where two checks have one place: what one of them says would count for the other.
    """

    checks: tuple[CheckTerm, ...] = ()
    may_write_outside: bool = False

    def __post_init__(self) -> None:
        if (twice := first_twice(self.checks)) is not None:
            raise ValueError(f"{twice} stands twice in the contract")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, why (in one sentence, and reason by reason), and every check with what it was worth."""

    outcome: Outcome
    reason: str
    reasons: tuple[str, ...]
    evidence: tuple[CheckFact, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """What there is to judge: the arguments of `decide`, each check joined with what it said."""

    expect: tuple[CheckFact, ...]
    noop: tuple[CheckFact, ...]
    noop_claimed: bool
    may_write_outside: bool
    findings: tuple[Finding, ...]
    started: bool
    forwarded_writes: int

    @property
    def guards(self) -> tuple[CheckFact, ...]:
        return tuple(check for check in self.expect if check.guard)

    @property
    def asked(self) -> tuple[CheckFact, ...]:
        """The checks that bear on this run: those of `noop` only if nothing to do was claimed."""
        return self.expect + self.noop if self.noop_claimed else self.expect


def decide(
    contract: Contract,
    baseline: Mapping[CheckId, CheckResult],
    results: Mapping[CheckId, Said],
    claim: ClaimStatus | None,
    findings: Collection[Finding],
    *,
    started: bool,
    forwarded_writes: int = 0,
) -> Verdict:
    """Decide what was proved.

    `baseline` is the run's first, from before the agent's first action; a check that has no result, or one of
    another class than its own, counts as `error`. `claim` is what the agent said of its work, `started` whether it
    ever started in this run, `forwarded_writes` how many writes left for the outside, over all attempts.
    """
    checks = tuple(_joined(term, baseline.get(term.id), results.get(term.id)) for term in contract.checks)
    case = _Case(
        expect=tuple(check for check in checks if check.list is CheckList.EXPECT),
        noop=tuple(check for check in checks if check.list is CheckList.NOOP),
        noop_claimed=claim is ClaimStatus.NOOP,
        may_write_outside=contract.may_write_outside,
        findings=tuple(findings),
        started=started,
        forwarded_writes=forwarded_writes,
    )
    outcome, reasons = next((row.outcome, reasons) for row in _ROWS if (reasons := row.applies(case)))
    proofs = {Outcome.VERIFIED: _proofs(case), Outcome.NOOP: _noop_proofs(case)}.get(outcome, ())
    return Verdict(
        outcome=outcome,
        reason=_sentence(outcome, reasons),
        reasons=tuple(reasons),
        evidence=tuple(replace(check, proves=check in proofs) for check in checks),
        findings=case.findings,
    )


def too_weak(contract: Contract) -> str:
    """Say why no run of this contract can ever be `verified`, or nothing if one can."""
    expect = [check for check in contract.checks if check.list is CheckList.EXPECT and not check.guard]
    if not expect:
        guarded = any(check.guard for check in contract.checks)
        return "`expect` has only guards" if guarded else "`expect` is empty"
    classes = {check.evidence_class for check in expect}
    if any(class_.can_verify(may_write_outside=contract.may_write_outside) for class_ in classes):
        return ""
    if EvidenceClass.ARTIFACT in classes:
        return "it may write outside, and no check looks at the outside (class `effect` or `state`)"
    return "every check in `expect` only looks at what the agent claims"


def _joined(term: CheckTerm, before: CheckResult | None, said: Said | None) -> CheckFact:
    result, summary = _heard(term, said)
    return CheckFact(
        list=term.list,
        index=term.index,
        kind=term.kind,
        evidence_class=term.evidence_class,
        guard=term.guard,
        result=result,
        baseline=before,
        vacuous=is_vacuous(term.list, guard=term.guard, baseline=before),
        summary=summary,
    )


def _heard(term: CheckTerm, said: Said | None) -> tuple[CheckResult, str]:
    """Return what was said of a check. Evidence of another class than the contract's is about something else."""
    if said is None:
        return CheckResult.ERROR, NOT_EVALUATED
    if said.evidence_class is not term.evidence_class:
        return CheckResult.ERROR, f"the contract asks for {term.evidence_class}, and this was {said.evidence_class}"
    return said.result, said.summary


def _never_started(case: _Case) -> list[str]:
    return [] if case.started else ["the agent never started"]


def _broken(case: _Case) -> list[str]:
    reasons = [
        f"required: {finding.code}: {one_line(finding.message)}" for finding in case.findings if finding.required
    ]
    reasons += [f"guard {_named(check)}" for check in case.guards if check.result is CheckResult.FAIL]
    if case.noop_claimed and case.forwarded_writes:
        reasons.append(f"nothing to do was claimed, but writes left for the outside: {case.forwarded_writes}")
    return reasons


def _nothing_to_do(case: _Case) -> list[str]:
    held = all(check.result is CheckResult.PASS and not _made_true(check) for check in case.noop + case.guards)
    return _quoted(_noop_proofs(case)) if case.noop_claimed and held else []


def _failing(case: _Case) -> list[str]:
    return [_named(check) for check in case.expect if check.result is CheckResult.FAIL]


def _undecided(case: _Case) -> list[str]:
    return [_named(check) for check in case.asked if check.result is CheckResult.PENDING]


def _unproved(case: _Case) -> list[str]:
    errors = [check for check in case.asked if check.result is CheckResult.ERROR]
    reasons = [_named(check, "could not be evaluated") for check in errors]
    if not reasons and not _proofs(case):
        reasons = [f"{check.id} {check.kind}: {_weakness(check, case)}" for check in case.expect]
        reasons = reasons or ["the routine has no contract: `expect` is empty"]
    if reasons and case.noop_claimed:
        unmet = [_named(check) for check in case.noop if check.result is not CheckResult.PASS]
        unmet += [_named(check, "did not hold before the agent started") for check in case.noop if _made_true(check)]
        reasons.append(": ".join(["nothing to do was claimed, but not proved", *unmet[:1]]))
    return reasons


def _proved(case: _Case) -> list[str]:
    return _quoted(_proofs(case))


class _Row(NamedTuple):
    outcome: Outcome
    applies: Callable[[_Case], list[str]]


_ROWS = (
    _Row(Outcome.NONE, _never_started),
    _Row(Outcome.FAILED, _broken),
    _Row(Outcome.NOOP, _nothing_to_do),
    _Row(Outcome.FAILED, _failing),
    _Row(Outcome.PENDING, _undecided),
    _Row(Outcome.UNVERIFIED, _unproved),
    _Row(Outcome.VERIFIED, _proved),
)


def _proofs(case: _Case) -> tuple[CheckFact, ...]:
    return tuple(check for check in case.expect if not _weakness(check, case))


def _noop_proofs(case: _Case) -> tuple[CheckFact, ...]:
    return tuple(check for check in case.noop if check.evidence_class is not EvidenceClass.CLAIM)


def _made_true(check: CheckFact) -> bool:
    """Say whether a `noop` check of the workspace came to hold under the agent's hands: then there was work to do."""
    return (
        check.list is CheckList.NOOP
        and check.evidence_class is EvidenceClass.ARTIFACT
        and check.result is CheckResult.PASS
        and check.baseline is not CheckResult.PASS
    )


def _weakness(check: CheckFact, case: _Case) -> str:
    """Say why a check that may have passed proves nothing, or nothing if it proves something."""
    if check.guard:
        return "a guard can fail a run, never verify it"
    if check.evidence_class is EvidenceClass.CLAIM:
        return "it is only a claim"
    if not check.evidence_class.can_verify(may_write_outside=case.may_write_outside):
        return "an artifact proves nothing where the routine may write outside"
    if check.vacuous:
        return "it held already before the agent started"
    if check.baseline is not CheckResult.FAIL and check.evidence_class is not EvidenceClass.EFFECT:
        return "it was not seen to fail before the agent started"
    return "" if check.result is CheckResult.PASS else "it did not pass"


def _named(check: CheckFact, what: str = "") -> str:
    name = " ".join(filter(None, (str(check.id), check.kind, what)))
    return ": ".join(filter(None, (name, one_line(check.summary))))


def _quoted(checks: Collection[CheckFact]) -> list[str]:
    strongest_first = sorted(checks, key=lambda check: -check.evidence_class.rank)
    return [f"{check.evidence_class}: {one_line(check.summary) or check.kind}" for check in strongest_first]


def _sentence(outcome: Outcome, reasons: list[str]) -> str:
    more = [f"and {len(reasons) - MAX_REASONS} more"] if len(reasons) > MAX_REASONS else []
    return f"{outcome} ({'; '.join(reasons[:MAX_REASONS] + more)})"
