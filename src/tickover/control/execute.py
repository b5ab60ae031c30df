"""THE MAIN PATH: a run from its lease to its end. Read this first.

    lease -> attempt { preflight -> layer -> clone -> sandbox -> baseline -> agent -> verify -> artifacts -> verdict
    -> state } -> another attempt, or the end

Nothing here believes the agent, and nothing here holds a fact that the journal lacks: after a kill -9 anywhere
`recover` reads the journal and settles the run.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

from tickover.control.account import tell_accounts
from tickover.control.condition import only_if
from tickover.control.dispatch import Accepted
from tickover.control.failure import Ended, Skipped, ended_by, refusal, told
from tickover.control.grants import require_grants
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.keepsake import keep_workspace
from tickover.control.network import Ways
from tickover.control.prepare import Prepared, prepare, resolve
from tickover.control.record import Observer, Recorder
from tickover.control.recording import Taping
from tickover.control.required import missing
from tickover.control.settle import finish, settle
from tickover.control.verify import Judge
from tickover.control.walk import Walk
from tickover.control.work import Worked, work
from tickover.core.cause import Cause, CauseCode
from tickover.core.errors import TickoverError
from tickover.core.event import (
    AttemptFinished,
    AttemptStarted,
    FindingReported,
    RetryScheduled,
    RunRefused,
    RunSkipped,
    VerdictReached,
)
from tickover.core.finding import FindingCode, found
from tickover.core.gate import repaired
from tickover.core.outside import findings_outside, unknown_writes
from tickover.core.required import required_of
from tickover.core.retry import Retry, RetryPolicy, Stop, decide_retry
from tickover.core.row import RunRow
from tickover.core.status import Execution, Outcome, Phase
from tickover.core.verdict import decide
from tickover.core.wanted import RequiredTool
from tickover.store.base import StaleFenceError

T = TypeVar("T")


async def execute(
    house: House,
    accepted: Accepted,
    observe: Observer | None = None,
    cancellable: Callable[[Callable[[], None]], None] = lambda _cancel: None,
) -> RunRow:
    """Work on an accepted run until it has ended, and return its row. `cancellable` is given the way to stop it."""
    async with Kept(house.store.leases, house.store.runs, accepted.lease, ttl=house.lease_s) as kept:
        cancellable(kept.cancel)
        record = Recorder(house.store.journal, house.store.runs, accepted.lease, observe)
        number = 1
        try:
            record.tell()
            while (again := await Attempt(house, accepted, record, kept, number).run()) is not None:
                await _pause(again, kept)
                number += 1
            return await finish(record)
        except StaleFenceError:  # somebody else has the run
            raise
        except (TickoverError, OSError) as error:
            return await settle(record, Execution.FAILED, CauseCode.INFRASTRUCTURE, told(error))
        except Exception as error:
            await settle(record, Execution.FAILED, CauseCode.INTERNAL, told(error))
            raise


async def _pause(again: Retry, kept: Kept) -> None:
    try:
        async with asyncio.timeout(again.at_delay_s):
            await kept.gone.wait()
    except TimeoutError:
        return


class Attempt:
    """One try, from checkout to teardown."""

    def __init__(self, house: House, accepted: Accepted, record: Recorder, kept: Kept, number: int) -> None:
        self.tape = None if accepted.request.record is None else Taping(house, accepted.request.record)
        house = house if self.tape is None else replace(house, gateway=self.tape)
        self.house = house
        self.accepted = accepted
        self.routine = accepted.routine
        self.record = record
        self.kept = kept
        self.number = number
        self.walk = Walk(record, kept)
        self.ways = Ways(house, accepted.routine, record, kept)
        self.judge: Judge | None = None

    async def run(self) -> Retry | None:
        """Make the attempt; None: it was the last."""
        self.record.attempt = self.number
        await self.record.add(AttemptStarted(attempt=self.number))
        async with AsyncExitStack() as teardown:
            if self.tape is not None:
                teardown.callback(self.tape.discard)
            try:
                prepared = await self._prepare(teardown)
            except Skipped as skipped:
                await self.record.add(RunSkipped(reason=skipped.reason))
                return None
            except Ended as ended:
                return await self._ended_early(ended)
            except (TickoverError, OSError) as error:
                return await self._could_not_start(error)
            try:
                assert self.judge is not None
                async with self.walk.timed(Phase.AGENT):
                    required = await self._required()
                    worked = await work(
                        self.accepted, prepared, self.record, self.kept, self.ways, teardown, self.judge, required
                    )
            except (TickoverError, OSError) as error:
                if self.record.row().attempts[-1].agent_started:
                    raise
                return await self._could_not_start(error)
            if self.tape is not None:
                await self.record.add(await self.tape.keep(self.accepted, prepared, self.number, self.ways.agent))
            return await self._judge_and_keep(worked)

    # -- before the agent ------------------------------------------------------------------------------------------

    async def _prepare(self, teardown: AsyncExitStack) -> Prepared:
        async with self.walk.timed(Phase.PREFLIGHT):
            if not self.house.offline:  # where nothing leaves, nothing is asked for
                await require_grants(self.house, self.accepted)
            await self.ways.learn()
            if not self.house.offline:  # nobody acts as anybody
                accounts = tell_accounts(self.house, self.routine, self.record, self.kept, self.ways)
                await self.walk.unless_cancelled(accounts)
            resolved = await self.walk.unless_cancelled(resolve(self.house, self.accepted, self.record, self.kept))
            await self.walk.unless_cancelled(only_if(self.house, self.accepted, resolved, self.record.run))
        prepared = await prepare(self.house, self.accepted, resolved, self.record, self.walk, self.ways, teardown)
        async with self.walk.timed(Phase.BASELINE):
            self.judge = Judge(self.house, self.accepted, prepared, self.record, self.kept)
            await self.walk.unless_cancelled(self.judge.baseline())
        return prepared

    async def _could_not_start(self, error: TickoverError | OSError) -> Retry | None:
        if isinstance(error, StaleFenceError):
            raise error
        if (cause := refusal(error, self.walk.phase)) is not None:
            await self.record.add(RunRefused(cause=cause))
            return None
        return await self._ended_early(ended_by(error))

    async def _ended_early(self, ended: Ended) -> Retry | None:
        """End an attempt whose agent never started."""
        cause = ended.cause(self.walk.phase)
        await self.record.add(AttemptFinished(execution=ended.execution, cause=cause))
        return await self._again(cause, Outcome.NONE)

    # -- the agent and what is true afterwards -----------------------------------------------------------------------

    async def _judge_and_keep(self, worked: Worked) -> Retry | None:
        assert self.judge is not None
        cause = worked.cause
        async with self.walk.timed(Phase.VERIFY):
            await self.judge.look(worked.workspace, wait=self.accepted.request.wait, stop=self.kept.gone)
        async with self.walk.timed(Phase.ARTIFACTS):
            await self.judge.take_artifacts(worked.workspace)
            if self.accepted.request.keep:
                await keep_workspace(self.house, worked.workspace, f"{self.record.run}-{self.number}")
        await self.record.add(AttemptFinished(execution=worked.execution, cause=cause))
        outcome = await self._verdict()
        if self.routine.state:
            async with self.walk.timed(Phase.STATE):
                await self.judge.keep_state(worked.workspace, outcome, self.record.fence)
        if outcome in {Outcome.VERIFIED, Outcome.NOOP}:
            await self.judge.remember_commits(self.record.fence)
        return await self._again(cause, outcome)

    async def _verdict(self) -> Outcome:
        assert self.judge is not None
        row = self.record.row()
        if row.execution is not Execution.COMPLETED:
            ended = found(FindingCode.AGENT_ENDED_BADLY, f"the agent's process ended as `{row.execution}`")
            await self.record.add(FindingReported.of(ended))
            row = self.record.row()
        lacking = await asyncio.to_thread(missing, self.house.store.journal, row)
        unasked = [*findings_outside(row, self.routine), *repaired(row), *lacking]
        await self.record.add(*map(FindingReported.of, unasked))
        row = self.record.row()
        verdict = decide(
            self.judge.contract,
            row.first_baseline(),
            self.judge.results,
            row.claim.status if row.claim else None,
            row.findings_of_attempt(),
            started=row.agent_started,
            forwarded_writes=row.network.writes,
        )
        of = row.replay_of
        reason = verdict.reason if of is None else f"{verdict.reason}; a replay of {of}: it says nothing of the world"
        reached = VerdictReached(
            outcome=verdict.outcome, reason=reason, evidence=verdict.evidence, findings=verdict.findings
        )
        await self.record.add(reached)
        return verdict.outcome

    async def _required(self) -> tuple[RequiredTool, ...]:
        """Return the tools that the routine requires: of services, and of MCP servers."""
        if not any(each.required for each in self.routine.connectors.values()):
            return ()
        instance = await asyncio.to_thread(self.house.instance)
        return required_of(self.routine, instance.connectors, self.ways.agent.servers)

    async def _again(self, cause: Cause | None, outcome: Outcome) -> Retry | None:
        retry = self.routine.retry
        row = self.record.row()
        decision = decide_retry(
            self.number,
            RetryPolicy(retry.attempts, float(retry.backoff), tuple(retry.when)),
            None if cause is None else cause.cause,
            outcome,
            checks=self.judge.contract.checks if self.judge else (),
            baseline_then=row.first_baseline(),
            baseline_now={id_: said.result for id_, said in self.judge.results.items()} if self.judge else {},
            unknown_writes=unknown_writes(row),
            jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
        )
        if isinstance(decision, Stop) or self.kept.gone.is_set():
            return None
        at = time.time() + decision.at_delay_s
        await self.record.add(RetryScheduled(at=at, why=decision.why, attempt=self.number + 1))
        return decision
