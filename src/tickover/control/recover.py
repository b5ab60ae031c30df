"""What a killed process left: every unfinished run is settled from its journal, before anything new starts.

The attempt ends `lost`; its sandbox is gone, so checks of the workspace cannot be asked any more, and the verdict says
so. A run is never silently forgotten, and never called green for what nobody saw.
"""

from __future__ import annotations

from tickover.control.execute import finish
from tickover.control.house import House
from tickover.control.keep import TTL
from tickover.control.record import Recorder
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import AttemptFinished, FindingReported, RunRecovered, VerdictReached
from tickover.core.evidence import CheckId, EvidenceClass
from tickover.core.finding import FindingCode, found
from tickover.core.row import RunRow
from tickover.core.run import NextStep, next_step
from tickover.core.status import Execution, Phase
from tickover.core.verdict import CheckTerm, Contract, Said, decide
from tickover.store.base import LeaseHeldError


async def recover(house: House) -> list[str]:
    """Settle every unfinished run that no living process holds; return their ids."""
    settled = []
    for record in house.store.runs.list(finished=False, limit=10_000):
        held = house.store.leases.current(record.run)
        if held is not None and not house.is_gone(held.owner):
            continue
        try:
            lease = house.store.leases.acquire(record.run, house.owner, TTL, dead=held)
        except LeaseHeldError:
            continue
        recorder = Recorder(house.store.journal, house.store.runs, lease)
        try:
            await _settle(recorder)
        finally:
            house.store.leases.release(lease)
        settled.append(record.run)
    return settled


async def _settle(record: Recorder) -> None:
    row = record.row()
    record.attempt = row.attempt
    await record.add(RunRecovered(note="the process that worked on it is gone"))
    while (step := next_step(record.row())) is not NextStep.DONE:
        row = record.row()
        if step in {NextStep.END_LOST, NextStep.START}:
            await record.add(AttemptFinished(execution=Execution.LOST, cause=_cause(row)))
        elif step is NextStep.CANCEL:
            cause = Cause(None, CauseCode.CANCELLED, f"by {row.cancel_requested_by}")
            await record.add(AttemptFinished(execution=Execution.CANCELLED, cause=cause))
        elif step is NextStep.VERIFY:
            await _judge(record)
        else:
            await finish(record)


def _cause(row: RunRow) -> Cause:
    phases = row.attempts[-1].phases if row.attempts else ()
    phase: Phase | None = phases[-1].phase if phases else None
    return Cause(phase, CauseCode.LOST, "start the routine again; what it did outside may be done already")


async def _judge(record: Recorder) -> None:
    """Reach the verdict that is left: what was evaluated before the crash counts, the rest is an error."""
    await record.add(FindingReported.of(found(FindingCode.RECOVERED)))
    row = record.row()
    verdict = decide(
        _contract(row),
        row.first_baseline(),
        {said.id: Said(said.result, said.summary) for said in row.evidence},
        row.claim.status if row.claim else None,
        row.findings_of_attempt(),
        started=row.agent_started,
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
