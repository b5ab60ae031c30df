"""A replay beside the run that it replays: check by check what it said then and now, and what the process did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tickover.core.evidence import CheckFact, CheckId, CheckResult, EvidenceClass
from tickover.core.row import RunRow
from tickover.core.status import Execution

AS_RECORDED, DIFFERS, NOT_COMPLETED = 0, 5, 7
"""What `runs replay` exits with."""


class Likeness(StrEnum):
    """How a check of a replay compares. `not_asked`: it looks at the outside world, which a replay does not."""

    SAME = "same"
    DIFFERS = "differs"
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class Beside:
    """One check, then and now; None where it does not stand in that run's contract."""

    id: CheckId
    kind: str
    then: CheckResult | None
    now: CheckResult | None
    likeness: Likeness
    summary_then: str = ""
    summary_now: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A replay (`now`) beside its original (`then`)."""

    then: RunRow
    now: RunRow
    checks: tuple[Beside, ...]

    @property
    def completed(self) -> bool:
        """Whether the replay came as far as the original did, the original having completed or not."""
        return self.now.agent_started and self.now.execution in {self.then.execution, Execution.COMPLETED}

    @property
    def same_version(self) -> bool:
        return self.then.version == self.now.version

    @property
    def as_recorded(self) -> bool:
        """Whether there was no drift, the process ended alike, and no check says something else."""
        alike = all(each.likeness is not Likeness.DIFFERS for each in self.checks)
        return self.completed and alike and not self.now.drift and self.now.execution is self.then.execution

    @property
    def exit_code(self) -> int:
        if not self.completed:
            return NOT_COMPLETED
        return AS_RECORDED if self.as_recorded else DIFFERS


def compare(then: RunRow, now: RunRow) -> Comparison:
    """Put a replay beside the run that it replays."""
    before = {check.id: check for check in then.evidence}
    after = {check.id: check for check in now.evidence}
    return Comparison(
        then, now, tuple(_beside(id_, before.get(id_), after.get(id_)) for id_ in sorted({*before, *after}))
    )


def _beside(id_: CheckId, then: CheckFact | None, now: CheckFact | None) -> Beside:
    likeness = Likeness.SAME if then and now and then.result is now.result else Likeness.DIFFERS
    if then and then.evidence_class is EvidenceClass.STATE and (now is None or now.result is CheckResult.ERROR):
        likeness = Likeness.NOT_ASKED
    known = then or now
    return Beside(
        id_, known.kind if known else "", then.result if then else None, now.result if now else None, likeness,
        then.summary if then else "", now.summary if now else "",
    )  # fmt: skip
