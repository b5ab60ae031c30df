"""The stop gate: checks that are asked when the agent wants to stop, so that it can still mend what they miss.

The agent hears `says`, never what is checked. Nothing here bears on the verdict: every check is asked anew after the
agent's end, and one that failed at the gate and passes then is told as `repaired`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tickover.core.check import Gated
from tickover.core.definition import Routine
from tickover.core.evidence import CheckId, CheckList, CheckResult
from tickover.core.finding import Finding, FindingCode, found
from tickover.core.gate_said import GateSaid
from tickover.core.row import RunRow
from tickover.core.status import ClaimStatus

MOST_RETURNS: Final = 3
"""How often the agent is told to go on, in one attempt."""
MOST_JUDGED: Final = 8
"""How often it is judged at all in one attempt, whoever rings: no gate is an oracle."""

DEAF: Final = frozenset({"steps", "command", "remote"})
"""Agents that nobody can tell anything once they have begun."""


def gated(routine: Routine) -> dict[CheckId, Gated]:
    """Return the checks that have a stop gate, in the order of the contract."""
    return {
        CheckId(list_, index): check
        for list_, checks in ((CheckList.EXPECT, routine.expect), (CheckList.NOOP, routine.noop))
        for index, check in enumerate(checks)
        if isinstance(check, Gated) and check.stop_gate is not None
    }


def bears(id_: CheckId, claim: ClaimStatus | None) -> bool:
    """Say whether a gate is asked: those of `noop` where there was nothing to do, as the agent says, else the others.

    An agent that says that it failed may stop.
    """
    if claim is ClaimStatus.FAILED:
        return False
    return (id_.list is CheckList.NOOP) == (claim is ClaimStatus.NOOP)


def words(checks: dict[CheckId, Gated], said: Sequence[GateSaid]) -> tuple[str, ...]:
    """Return what the agent hears: of each check that fails, once. One that could not be evaluated is not its fault."""
    failed = [checks[each.id].stop_gate for each in said if each.result is CheckResult.FAIL]
    return tuple(dict.fromkeys(gate.says for gate in failed if gate is not None))


def repaired(row: RunRow) -> Iterator[Finding]:
    """Yield the checks of the last attempt that passed only after the agent was told that they do not."""
    failed = {
        each.id for gate in row.gates if gate.attempt == row.attempt for each in gate.checks
        if each.result is CheckResult.FAIL
    }  # fmt: skip
    results = row.results()
    passed = [str(id_) for id_ in sorted(failed) if id_ in results and results[id_].result is CheckResult.PASS]
    if passed and FindingCode.REPAIRED not in {each.code for each in row.findings_of_attempt()}:
        text = f"{', '.join(passed)} passed only after the agent was told at its stop gate that it does not"
        yield found(FindingCode.REPAIRED, text, detail={"checks": [*passed]})
