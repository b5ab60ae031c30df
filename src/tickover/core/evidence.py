"""Evidence: what a check saw, and what kind of thing it looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


class EvidenceClass(StrEnum):
    """What a piece of evidence is made of, weakest first: `rank` orders them."""

    CLAIM = "claim"
    ARTIFACT = "artifact"
    EFFECT = "effect"
    STATE = "state"

    @property
    def rank(self) -> int:
        return tuple(EvidenceClass).index(self)

    def can_verify(self, *, may_write_outside: bool) -> bool:
        """Say whether evidence of this class may make a run green.

        The agent's own words never do. Content it wrote does only where writing content is all it could do:
        a routine that may change the outside world is proved by the outside world.
        """
        if self is EvidenceClass.CLAIM:
            return False
        return self is not EvidenceClass.ARTIFACT or not may_write_outside


class CheckList(StrEnum):
    """The list of the contract a check stands in."""

    EXPECT = "expect"
    NOOP = "noop"


class CheckResult(StrEnum):
    """What one evaluation said. `error`: could not be evaluated. `pending`: not decidable yet (`within`)."""

    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    ERROR = "error"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, order=True)
class CheckId:
    """A check's place in the contract; prints as `expect[0]`."""

    list: CheckList
    index: int

    def __str__(self) -> str:
        return f"{self.list.value}[{self.index}]"


class _Placed(Protocol):
    @property
    def id(self) -> CheckId: ...


class Said(NamedTuple):
    """What one evaluation of a check said, and what kind of thing it looked at: a claim, where nobody says more."""

    result: CheckResult
    summary: str = ""
    evidence_class: EvidenceClass = EvidenceClass.CLAIM


NOT_EVALUATED = "it was not evaluated"
"""The summary of a check that has no result."""


@dataclass(frozen=True, slots=True)
class CheckFact:
    """One check of a run with all that the verdict knows about it.

    `baseline` is what it said before the agent's first action, None if it was not asked. `vacuous`: it held
    already, so that it proves nothing. `proves`: it is one of the reasons for a `verified` or `noop`.
    """

    list: CheckList
    index: int
    kind: str
    evidence_class: EvidenceClass
    guard: bool
    result: CheckResult
    baseline: CheckResult | None = None
    vacuous: bool = False
    proves: bool = False
    summary: str = ""

    @property
    def id(self) -> CheckId:
        return CheckId(self.list, self.index)

    @property
    def said(self) -> Said:
        return Said(self.result, self.summary, self.evidence_class)

    @property
    def idle(self) -> bool:
        """Say whether it is a `noop` check that nobody had to ask: nothing to do was not claimed."""
        return self.list is CheckList.NOOP and self.result is CheckResult.ERROR and self.summary == NOT_EVALUATED


def first_twice(checks: Iterable[_Placed]) -> CheckId | None:
    """Return the first place that two of these checks have, or None."""
    seen: set[CheckId] = set()
    for check in checks:
        if check.id in seen:
            return check.id
        seen.add(check.id)
    return None


def is_vacuous(list_: CheckList, *, guard: bool, baseline: CheckResult | None) -> bool:
    """Say whether a check held before the agent's first action, so that its passing proves nothing.

    `noop` checks and guards are exempt: they are about what holds all along.
    """
    return list_ is CheckList.EXPECT and not guard and baseline is CheckResult.PASS
