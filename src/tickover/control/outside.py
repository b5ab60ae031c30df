"""Asking again when the workspace is gone: checks of class `state`, and what the gateway has seen.

A check that waits (`within`) is asked until it holds or its time is over, whatever process is there then. After a crash
the same questions decide whether what was to be done is done already, before anything is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Never

from tickover.checks.base import HttpAnswer, PinnedRun, SubjectFile, Where, ask
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.outreach import count_rows, get_page, read_connector, resolve_refs
from tickover.control.receipts import believed, traffic_of
from tickover.control.record import Recorder
from tickover.core.check import Check, GitCheck, HttpCheck, ReceiptCheck, SqlCheck, Subject
from tickover.core.connector import KINDS
from tickover.core.definition import Routine
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import TickoverError
from tickover.core.event import CheckEvaluated
from tickover.core.evidence import CheckId, CheckList, CheckResult
from tickover.core.receipt import Receipt
from tickover.core.row import RunRow
from tickover.core.status import ClaimStatus, Phase
from tickover.core.verdict import CheckTerm, Contract
from tickover.workspace.base import Commit

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0


class OutsideHands:
    """`Hands` that reach the outside world, through the gateway under the lease of whoever asks, and no workspace."""

    def __init__(self, house: House, routine: Routine, record: Recorder, kept: Kept, began: float) -> None:
        self.began = began
        self._run = record.run
        self._record = record
        self._kept = kept
        self._house = house
        self._routine = routine

    async def run_pinned(self, run: str, *, subject: Subject, timeout_s: float) -> PinnedRun:
        del run, subject, timeout_s
        _gone()

    async def read_subject(self, path: str, *, max_bytes: int) -> SubjectFile:
        del path, max_bytes
        _gone()

    async def read_pinned(self, path: str) -> bytes:
        del path
        _gone()

    async def resolve_ref(self, repo: str, where: Where, ref: str) -> str | None:
        try:
            return (await self._commit(repo, where, ref)).sha
        except TickoverError as error:
            if error.code in {"repository.no_ref", "repository.empty"}:
                return None
            raise

    async def count_commits(self, repo: str, where: Where, *, base: str, head: str) -> int:
        commit = await self._commit(repo, where, None)
        git = self._house.mirrors.git
        said = await git.run(f"--git-dir={commit.mirror}", "rev-list", "--count", "--end-of-options", f"{base}..{head}")
        if said.code != 0:
            raise TickoverError("check.git", f"{base[:12]}..{head[:12]} of {repo} cannot be counted")
        return int(said.out)

    async def _commit(self, repo: str, where: Where, ref: str | None) -> Commit:
        if where != "remote" or repo not in self._routine.repositories:
            _gone()
        url = self._routine.repositories[repo].url
        [found] = await resolve_refs(self._house, self._routine, self._record, self._kept, url, [ref])
        return found

    async def http_get(self, url: str, *, timeout_s: float) -> HttpAnswer:
        return await get_page(self._house, self._routine, self._record, self._kept, url, timeout_s=timeout_s)

    async def read_connector(self, name: str, path: str, query: Mapping[str, str]) -> HttpAnswer:
        return await read_connector(self._house, self._routine, self._record, self._kept, name, path, query)

    async def count_rows(self, connector: str, query: str, values: tuple[str, ...]) -> int:
        return await count_rows(self._house, self._routine, self._record, self._kept, connector, query, values)

    async def receipts(self) -> Sequence[Receipt]:
        traffic = await asyncio.to_thread(traffic_of, self._house.store.journal, self._run)
        return await believed(self._house.gateway, traffic, self._run)


def _gone() -> Never:
    raise TickoverError("check.workspace_gone", "the workspace that the agent left is gone")


def contract_of(routine: Routine) -> Contract:
    """Return the contract as the verdict needs it."""
    terms = (CheckTerm(id_.list, id_.index, c.kind, c.evidence, c.guard) for id_, c in checks_of(routine))
    return Contract(tuple(terms), may_write_outside=bool(routine.may))


def checks_of(routine: Routine) -> Iterator[tuple[CheckId, Check]]:
    """Yield every check with its place."""
    for list_, checks in ((CheckList.EXPECT, routine.expect), (CheckList.NOOP, routine.noop)):
        for index, check in enumerate(checks):
            yield CheckId(list_, index), check


def waits_outside(routine: Routine) -> bool:
    """Say whether checks that wait may be asked by a later process.

    Not where proved work leaves more than a verdict: `state/` goes with the sandbox, and the commits that a `git`
    check remembers are those of the clone. Such a run keeps its process until it is decided.
    """
    kept = any(check.patience and isinstance(check, GitCheck) for _, check in checks_of(routine))
    return not routine.state and not kept


def outside(routine: Routine, row: RunRow) -> set[CheckId]:
    """Return the checks that can be asked without a workspace and that bear on this run."""
    noop = row.claim is not None and row.claim.status is ClaimStatus.NOOP
    return {
        id_
        for id_, check in checks_of(routine)
        if (
            isinstance(check, HttpCheck | ReceiptCheck)
            or check.kind in KINDS
            or isinstance(check, SqlCheck)
            or (isinstance(check, GitCheck) and check.in_ == "remote")
        )
        and (id_.list is CheckList.EXPECT or noop)
    }


def pending(row: RunRow) -> set[CheckId]:
    """Return the checks that wait."""
    return {said.id for said in row.evidence if said.result is CheckResult.PENDING}


async def ask_outside(
    house: House,
    routine: Routine,
    record: Recorder,
    kept: Kept,
    which: Collection[CheckId],
    *,
    event: bytes | None,
    now: float,
) -> None:
    """Ask these checks, and journal what they say. One whose `within` is not over may be pending again."""
    row = record.row()
    began = verifying_since(row)
    hands = OutsideHands(house, routine, record, kept, row.started or row.created)
    for id_, check in checks_of(routine):
        if id_ not in which:
            continue
        left = float(check.patience) - (now - began) if began is not None else 0.0
        answer = await ask(
            house.check(check.kind), check, hands, scope=_scope(house, row, check, event), patience_s=max(left, 0.0)
        )
        blob = None if answer.evidence is None else await asyncio.to_thread(house.blobs.put, answer.evidence)
        await record.add(
            CheckEvaluated(
                list=id_.list,
                index=id_.index,
                kind=check.kind,
                guard=check.guard,
                evidence_class=check.evidence,
                result=answer.result,
                summary=answer.summary,
                detail=dict(answer.detail),
                evidence_blob=blob,
            )
        )


def verifying_since(row: RunRow) -> float | None:
    """Return when the last attempt's checks were asked first: `within` counts from here."""
    phases = row.attempts[-1].phases if row.attempts else ()
    return next((phase.started for phase in reversed(phases) if phase.phase is Phase.VERIFY), None)


def ask_again_at(routine: Routine, row: RunRow, now: float) -> float:
    """Return when the checks that wait are asked next: the pauses grow, and the end of each `within` is met."""
    began = verifying_since(row) or now
    pause = min(max((now - began) * 0.5, FIRST_PAUSE_S), LONGEST_PAUSE_S)
    ends = [began + float(check.patience) for id_, check in checks_of(routine) if id_ in pending(row)]
    ahead = [end for end in ends if end > now]
    return min([now + pause, *ahead])


def _scope(house: House, row: RunRow, check: Check, event: bytes | None) -> dict[str, Any]:
    scope: dict[str, Any] = {"inputs": row.inputs, "run": {"id": row.id}}
    if event is not None:
        try:
            scope["event"] = read_json(event)
        except DocumentError:
            scope["event"] = None
    last = house.store.verifier.last_commits(row.routine).get(check.repo) if isinstance(check, GitCheck) else None
    if last is not None:
        scope["state"] = {"last_commit": last}
    return scope
