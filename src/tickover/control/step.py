"""One step of a queued run: read its journal, ask `core/run.py` what is next, do it, append, say when to look again.

Engines call it, and know nothing else. Whatever process died before, the journal says how to go on:

    START      its moment, the pause of its routine, its place; then an attempt (`execute.Attempt`)
    END_LOST   the attempt that a dead process left open: ended, judged by what the outside world says, tried again
    VERIFY     the verdict that is left; a pending one: the checks that wait are asked again
    CLOSE      another attempt, or the end;  CANCEL  the end
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.control.dispatch import Accepted, RunRequest, document_of
from tickover.control.execute import Attempt
from tickover.control.failure import told
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.outside import ask_again_at, ask_outside, contract_of, outside, pending, waits_outside
from tickover.control.record import Recorder
from tickover.control.registry import Registry
from tickover.control.settle import finish, judge_left, settle
from tickover.core.admission import Caps, needs, standing
from tickover.core.cause import Cause, CauseCode
from tickover.core.definition import Routine
from tickover.core.errors import TickoverError
from tickover.core.event import (
    AttemptFinished,
    FindingReported,
    RetryScheduled,
    RunFinished,
    RunRecovered,
    RunRefused,
)
from tickover.core.finding import FindingCode, found
from tickover.core.outside import unknown_writes
from tickover.core.refs import with_refs
from tickover.core.retry import Retry, RetryPolicy, decide_retry
from tickover.core.row import RunRow
from tickover.core.run import NextStep, is_terminal, next_step
from tickover.core.schedule import GRACE_S
from tickover.core.status import Execution, Outcome, Phase, exit_code
from tickover.engine.base import Again, Clock, Done, Next, Wait
from tickover.store.base import Lease, LeaseHeldError, StaleFenceError
from tickover.store.server import ServerStore, Stage

Work = Callable[[House, Accepted, Recorder, Kept, int], Awaitable[Retry | None]]
"""Make one attempt; None: it was the last."""

Ended = Callable[[RunRow], Awaitable[None]]
"""Told of every run that has ended, at least once, and again when its pending outcome was decided."""

SCHEDULE: Final = "schedule"
_LOOK_BACK: Final = 50  # runs of the routine among which another one of the same slot is looked for
_LOST = "the process that drove it is gone; what it did outside may be done already"


async def _attempt(house: House, accepted: Accepted, record: Recorder, kept: Kept, number: int) -> Retry | None:
    return await Attempt(house, accepted, record, kept, number).run()


@dataclass(frozen=True, slots=True)
class Stepper:
    """`engine.base.Step`. `work` makes an attempt: a test of schedules and engines puts a told one here."""

    house: House
    store: ServerStore
    registry: Registry
    clock: Clock
    caps: Callable[[], Caps]
    ended: Ended
    work: Work = _attempt

    async def __call__(self, run: str, stop: asyncio.Event) -> Next:
        row = await self._row(run)
        if is_terminal(row):
            await self.ended(row)
            return await self._park(run, "done", None)
        lease = await asyncio.to_thread(self._lease, run)
        if lease is None:
            return Wait(self.clock.now() + self.house.lease_s)
        async with Kept(self.store.leases, self.store.runs, lease, ttl=self.house.lease_s) as kept:
            hears = asyncio.create_task(_hear(stop, kept))
            record = Recorder(self.store.journal, self.store.runs, lease)
            record.attempt = row.attempt
            try:
                return await self._one(record, kept)
            except StaleFenceError:  # somebody else has the run, and says when to look again
                return Wait(self.clock.now() + self.house.lease_s)
            except (TickoverError, OSError) as error:
                return await self._broken(record, CauseCode.INFRASTRUCTURE, error)
            except Exception as error:
                await self._broken(record, CauseCode.INTERNAL, error)
                raise
            finally:
                hears.cancel()

    def _lease(self, run: str) -> Lease | None:
        held = self.store.leases.current(run)
        dead = held if held is not None and self.house.is_gone(held.owner) else None
        try:
            return self.store.leases.acquire(run, self.house.owner, self.house.lease_s, dead=dead)
        except LeaseHeldError:
            return None

    async def _row(self, run: str) -> RunRow:
        return RunRow.model_validate((await asyncio.to_thread(self.store.runs.get, run)).row)

    async def _park(self, run: str, stage: Stage, wake_at: float | None) -> Next:
        now, places = self.clock.now(), self.caps().concurrent
        await asyncio.to_thread(lambda: self.store.queue.park(run, stage, wake_at, now=now, places=places))
        if stage == "done":
            return Done()
        # A wish to cancel that came before the queue was written would else wait for the moment written there.
        row = await self._row(run)
        return Again() if row.cancel_requested_by and row.finished is None else Wait(wake_at)

    async def _broken(self, record: Recorder, code: CauseCode, error: Exception) -> Next:
        row = await settle(record, Execution.FAILED, code, told(error))
        return await self._closed(record, row)

    # -- what is next ------------------------------------------------------------------------------------------------

    async def _one(self, record: Recorder, kept: Kept) -> Next:
        row = record.row()
        step = next_step(row)
        if step is NextStep.DONE:
            return await self._park(record.run, "done", None)
        if step is NextStep.CANCEL:
            return await self._closed(record, await settle(record, Execution.CANCELLED, CauseCode.CANCELLED, ""))
        accepted = self._accepted(row, record)
        if step is NextStep.START:
            return await self._start(accepted, record, kept, row)
        if step is NextStep.END_LOST:
            return await self._end_lost(accepted, record, kept, row)
        if step is NextStep.VERIFY and row.finished is not None:
            return await self._ask_again(accepted, record, kept, row)
        if step is NextStep.VERIFY:
            await judge_left(record, contract_of(accepted.routine))
        return await self._close(accepted.routine, record)

    def _accepted(self, row: RunRow, record: Recorder) -> Accepted:
        folder = Path(row.folder)
        loaded = self.registry.loaded(row.routine, folder.parents[1].name)
        event = None if row.event_digest is None else self.house.blobs.get(row.event_digest)
        request = RunRequest(
            folder=row.folder, event=event, wait=not waits_outside(loaded.routine), trigger=row.trigger
        )
        routine = with_refs(loaded.routine, document_of(event))
        files = {name: self.house.blobs.get(digest) for name, digest in row.input_files.items()}
        return Accepted(record.run, record.lease, request, loaded, routine, dict(row.inputs), files)

    async def _start(self, accepted: Accepted, record: Recorder, kept: Kept, row: RunRow) -> Next:
        now, routine = self.clock.now(), accepted.routine
        at = row.retry_at if row.attempts else row.due
        if at is not None and at > now:
            return await self._park(record.run, "waiting", at)
        counted = needs(routine.limits, self.caps())
        counts = await asyncio.to_thread(self.store.queue.counts, routine.name, now, counted)
        refusal = standing(routine.limits, counts)
        if refusal is not None:
            await record.add(RunRefused(cause=refusal.cause))
            return await self._closed(record, await finish(record))
        if not await asyncio.to_thread(self.store.queue.claim, record.run, self.caps().concurrent, now):
            return Again() if (await self._row(record.run)).cancel_requested_by else Wait(None)
        if row.due is not None and row.trigger == SCHEDULE and not row.attempts and now - row.due > GRACE_S:
            text = f"it starts {now - row.due:.0f} s after its time"
            await record.add(FindingReported.of(found(FindingCode.LATE, text, detail={"seconds": now - row.due})))
        if not row.attempts and (before := row.repeats or await asyncio.to_thread(self._same_slot, row)):
            text = f"run {before} was started by the same {'event' if row.repeats else 'slot'}"
            await record.add(FindingReported.of(found(FindingCode.DUPLICATE, text, detail={"run": before})))
        again = await self.work(self.house, accepted, record, kept, row.attempt + 1)
        if again is not None:
            return await self._park(record.run, "waiting", record.row().retry_at)
        return await self._closed(record, await finish(record))

    def _same_slot(self, row: RunRow) -> str | None:
        """Return another run of the routine that was due at the very same moment by the clock: two schedules say it."""
        if row.trigger != SCHEDULE or row.due is None:
            return None
        earlier = self.store.runs.list(routine=row.routine, before=row.id, limit=_LOOK_BACK)
        same = (
            str(each.row["id"])
            for each in earlier
            if each.row.get("trigger") == SCHEDULE and each.row.get("due") == row.due
        )
        return next(same, None)

    async def _end_lost(self, accepted: Accepted, record: Recorder, kept: Kept, row: RunRow) -> Next:
        """End what a dead process left open. What it may have done outside is asked before anything is tried again."""
        await record.add(RunRecovered(note="the process that worked on it is gone"))
        if row.agent_started:
            await record.add(FindingReported.of(found(FindingCode.RECOVERED)))
        await record.add(AttemptFinished(execution=Execution.LOST, cause=Cause(_phase(row), CauseCode.LOST, _LOST)))
        if row.attempts[-1].agent_started:
            which = outside(accepted.routine, row)
            event, now = accepted.request.event, self.clock.now()
            await ask_outside(self.house, accepted.routine, record, kept, which, event=event, now=now)
        if next_step(record.row()) is NextStep.VERIFY:
            await judge_left(record, contract_of(accepted.routine))
        return await self._close(accepted.routine, record)

    async def _ask_again(self, accepted: Accepted, record: Recorder, kept: Kept, row: RunRow) -> Next:
        """Ask the checks that wait. They are decided, or the run is looked at again."""
        routine, event = accepted.routine, accepted.request.event
        await ask_outside(self.house, routine, record, kept, pending(row), event=event, now=self.clock.now())
        row = record.row()
        if pending(row):
            return await self._park(record.run, "settling", ask_again_at(routine, row, self.clock.now()))
        await judge_left(record, contract_of(routine))
        row = record.row()
        outcome = row.outcome or Outcome.NONE
        code = exit_code(row.execution, outcome)
        await record.add(RunFinished(execution=row.execution, outcome=outcome, exit_code=code))
        return await self._closed(record, record.row())

    async def _close(self, routine: Routine, record: Recorder) -> Next:
        """Try again, or end the run."""
        row = record.row()
        retry = routine.retry
        contract = contract_of(routine)
        decision = decide_retry(
            row.attempt,
            RetryPolicy(retry.attempts, float(retry.backoff), tuple(retry.when)),
            None if row.cause is None else row.cause.cause,
            row.outcome if row.agent_started and row.outcome is not None else Outcome.NONE,
            checks=contract.checks,
            baseline_then=row.first_baseline(),
            baseline_now={id_: said.result for id_, said in row.results().items()},
            unknown_writes=unknown_writes(row),
            jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
        )
        undecided = row.outcome is Outcome.PENDING  # what was done may still show: nothing is done twice meanwhile
        if isinstance(decision, Retry) and not undecided and row.cancel_requested_by is None and row.attempts:
            at = self.clock.now() + decision.at_delay_s
            await record.add(RetryScheduled(at=at, why=decision.why, attempt=row.attempt + 1))
            return await self._park(record.run, "waiting", at)
        return await self._closed(record, await finish(record))

    async def _closed(self, record: Recorder, row: RunRow) -> Next:
        """Note the end of a run, or when its pending checks are asked again."""
        await self.ended(row)
        if row.outcome is not Outcome.PENDING:
            return await self._park(record.run, "done", None)
        try:
            routine = self._accepted(row, record).routine
        except TickoverError:  # nothing is left that could be asked again: it stays as it is
            return await self._park(record.run, "done", None)
        return await self._park(record.run, "settling", ask_again_at(routine, row, self.clock.now()))


async def _hear(stop: asyncio.Event, kept: Kept) -> None:
    await stop.wait()
    kept.cancel()


def _phase(row: RunRow) -> Phase | None:
    phases = row.attempts[-1].phases if row.attempts else ()
    return phases[-1].phase if phases else None
