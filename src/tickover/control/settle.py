"""Ending a run from its journal alone: the process that worked on it is gone, or met what nobody foresaw.

The sandbox is gone, so checks of the workspace cannot be asked any more, and the verdict says so: a run is never
silently forgotten, and never called green for what nobody saw.
"""

from __future__ import annotations

import asyncio

from tickover.control.record import Recorder
from tickover.control.required import missing
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import AttemptFinished, FindingReported, RunFinished, VerdictReached
from tickover.core.evidence import CheckId, EvidenceClass
from tickover.core.gate import repaired
from tickover.core.outside import findings_outside
from tickover.core.row import RunRow
from tickover.core.run import NextStep, next_step
from tickover.core.status import Execution, Outcome, Phase, exit_code
from tickover.core.verdict import CheckTerm, Contract, decide


async def settle(record: Recorder, execution: Execution, code: CauseCode, hint: str) -> RunRow:
    """End the attempt as `execution` if it is open, reach the verdict that is left, close the run; return its row."""
    while (step := next_step(row := record.row())) is not NextStep.DONE and row.finished is None:
        if step in {NextStep.END_LOST, NextStep.START}:
            await record.add(AttemptFinished(execution=execution, cause=Cause(_phase(row), code, hint)))
        elif step is NextStep.CANCEL:
            cause = Cause(None, CauseCode.CANCELLED, f"by {row.cancel_requested_by}")
            await record.add(AttemptFinished(execution=Execution.CANCELLED, cause=cause))
        elif step is NextStep.VERIFY:
            await judge_left(record)
        else:
            await finish(record)
    return record.row()


async def finish(record: Recorder) -> RunRow:
    """Close the run: what it is from now on is what its journal says.

    Where an earlier attempt worked and the last one could not even start, the verdict that is left comes first.
    """
    if next_step(record.row()) is NextStep.VERIFY:
        await judge_left(record)
    row = record.row()
    outcome = row.outcome if row.agent_started and row.outcome is not None else Outcome.NONE
    code = exit_code(row.execution, outcome)
    await record.add(RunFinished(execution=row.execution, outcome=outcome, exit_code=code))
    return record.row()


def _phase(row: RunRow) -> Phase | None:
    phases = row.attempts[-1].phases if row.attempts else ()
    return phases[-1].phase if phases else None


async def judge_left(record: Recorder, contract: Contract | None = None) -> None:
    """Reach the verdict that is left: what was evaluated already counts, the rest is an error.

    Where the routine's own contract is not at hand, what the journal knows of it must do.
    """
    row = record.row()
    lacking = await asyncio.to_thread(missing, record.journal, row)
    await record.add(*map(FindingReported.of, (*findings_outside(row), *repaired(row), *lacking)))
    row = record.row()
    verdict = decide(
        contract or _contract(row),
        row.first_baseline(),
        row.results(),
        row.claim.status if row.claim else None,
        row.findings_of_attempt(),
        started=row.agent_started,
        forwarded_writes=row.network.writes,
    )
    await record.add(
        VerdictReached(
            outcome=verdict.outcome, reason=verdict.reason, evidence=verdict.evidence, findings=verdict.findings
        )
    )


def _contract(row: RunRow) -> Contract:
    """Return what the journal knows of the contract.

    A check that was never asked has the class of a claim: it is an error anyhow, and nothing may be proved by it.
    What the routine may write is not in the journal: assume that it may.
    """
    asked = {
        said.id: CheckTerm(said.list, said.index, said.kind, said.evidence_class, said.guard) for said in row.evidence
    }
    for before in row.baseline:
        id_ = CheckId(before.list, before.index)
        asked.setdefault(id_, CheckTerm(id_.list, id_.index, before.kind, EvidenceClass.CLAIM))
    return Contract(tuple(asked[id_] for id_ in sorted(asked)), may_write_outside=True)
