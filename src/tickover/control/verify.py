"""Judging: every check before the agent's first action, every check after its end, and what is kept afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tickover.agents.report import LONGEST_REPORT, REPORT_FILE, read_report
from tickover.checks.base import Answer, ask
from tickover.control.dispatch import Accepted
from tickover.control.hands import VerifierHands
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.prepare import Prepared
from tickover.control.record import Recorder
from tickover.core.check import Check, FileCheck, GitCheck
from tickover.core.errors import TickoverError
from tickover.core.event import (
    ArtifactRefused,
    ArtifactStored,
    BaselineChecked,
    CheckEvaluated,
    FindingReported,
    ReportClaimed,
    StateCommitted,
    StateDiscarded,
)
from tickover.core.evidence import CheckId, CheckList, CheckResult, EvidenceClass
from tickover.core.finding import FindingCode, found
from tickover.core.gate import bears, gated
from tickover.core.gate_said import GateSaid
from tickover.core.status import ClaimStatus, Outcome
from tickover.core.text import one_line
from tickover.core.verdict import CheckTerm, Contract, Said
from tickover.store.base import StateConflictError
from tickover.workspace.artifacts import collect
from tickover.workspace.base import Workspace
from tickover.workspace.state import capture

_ASK_AGAIN: Final = (0.5, 5.0)  # seconds: the first pause of a check that waits (`within`), and the longest


class Judge:
    """The contract of one attempt, asked before and after."""

    def __init__(
        self,
        house: House,
        accepted: Accepted,
        prepared: Prepared,
        record: Recorder,
        kept: Kept,
    ) -> None:
        self.results: dict[CheckId, Said] = {}
        self._accepted = accepted
        routine = accepted.routine
        self.gated = gated(routine)
        self.contract = Contract(
            tuple(CheckTerm(id_.list, id_.index, c.kind, self._class(c), c.guard) for id_, c in _checks(accepted)),
            may_write_outside=bool(routine.may),
        )
        self._house = house
        self._prepared = prepared
        self._record = record
        self._kept = kept
        self._last_commits = house.store.verifier.last_commits(routine.name)
        self._commits: dict[str, str] = {}
        self._claim: ClaimStatus | None = None

    async def baseline(self) -> None:
        """Ask every check of what was there before: what already holds proves nothing."""
        hands = self._hands(self._prepared.workspace)
        try:
            for id_, check in _checks(self._accepted):
                answer = await self._ask(check, hands)
                await self._note_commit(check, answer)
                await self._record.add(
                    BaselineChecked(
                        list=id_.list, index=id_.index, kind=check.kind, result=answer.result, summary=answer.summary
                    )
                )
        finally:
            hands.close()

    async def look(self, workspace: Workspace, *, wait: bool, stop: asyncio.Event) -> None:
        """Ask every check that bears on this run; with `wait`, until those with `within` are decided, or `stop`."""
        hands = self._hands(workspace, REPORT_FILE)
        began = time.monotonic()
        pause = _ASK_AGAIN[0]
        try:
            await self._read_claim(hands)
            await self._believe_receipts(hands)
            open_ = [(id_, check) for id_, check in _checks(self._accepted) if self._bears(id_)]
            while open_:
                for id_, check in open_:
                    patience = float(check.patience) - (time.monotonic() - began)
                    await self._evaluate(id_, check, hands, patience)
                open_ = [(i, c) for i, c in open_ if self.results[i].result is CheckResult.PENDING]
                if not wait or not open_ or await _set_within(stop, pause):
                    return
                pause = min(pause * 2, _ASK_AGAIN[1])
        finally:
            hands.close()

    async def at_gate(self, workspace: Workspace) -> list[GateSaid]:
        """Ask the checks that have a stop gate of a workspace as it is now. Nothing of it counts later."""
        hands = self._hands(workspace, REPORT_FILE)
        try:
            claim = await _claim_in(hands)
            said = []
            for id_, check in self.gated.items():
                if bears(id_, claim):
                    answer = await self._ask(check, hands)
                    said.append(
                        GateSaid(
                            list=id_.list, index=id_.index, kind=check.kind, result=answer.result,
                            summary=answer.summary,
                        )
                    )  # fmt: skip
            return said
        finally:
            hands.close()

    async def _note_commit(self, check: Check, answer: Answer) -> None:
        """Note where a remote repository was, if the clone has it so: what came later was not worked on."""
        commit = answer.detail.get("commit")
        if isinstance(check, GitCheck) and check.in_ == "remote" and isinstance(commit, str):
            cloned = self._prepared.resolved.subject[check.repo]
            if await self._house.mirrors.had(cloned, commit):
                self._commits[check.repo] = commit

    def _class(self, check: Check) -> EvidenceClass:
        """Say what a check's evidence is made of. In a replay everything is a claim: it is about a recording."""
        return check.evidence if self._accepted.request.replay is None else EvidenceClass.CLAIM

    def _bears(self, id_: CheckId) -> bool:
        return id_.list is CheckList.EXPECT or self._claim is ClaimStatus.NOOP

    def _hands(self, workspace: Workspace, *files: str) -> VerifierHands:
        asked = {*files, *(check.path for _, check in _checks(self._accepted) if isinstance(check, FileCheck))}
        row = self._record.row()
        return VerifierHands(
            self._house,
            self._accepted.routine,
            self._prepared,
            workspace,
            self._record,
            self._kept,
            asked,
            began=row.started or row.created,
        )

    async def _evaluate(self, id_: CheckId, check: Check, hands: VerifierHands, patience: float) -> None:
        began = time.monotonic()
        answer = await self._ask(check, hands, max(patience, 0.0))
        self.results[id_] = Said(answer.result, answer.summary, self._class(check))
        blob = None
        if answer.evidence is not None:
            blob = await asyncio.to_thread(self._house.blobs.put, answer.evidence)
        await self._record.add(
            CheckEvaluated(
                list=id_.list,
                index=id_.index,
                kind=check.kind,
                guard=check.guard,
                evidence_class=self._class(check),
                result=answer.result,
                summary=answer.summary,
                detail=dict(answer.detail),
                duration_s=round(time.monotonic() - began, 6),
                evidence_blob=blob,
            )
        )

    async def _ask(self, check: Check, hands: VerifierHands, patience: float = 0.0) -> Answer:
        return await ask(self._house.check(check.kind), check, hands, scope=self._scope(check), patience_s=patience)

    def _scope(self, check: Check) -> Mapping[str, Any]:
        scope: dict[str, Any] = {"inputs": self._accepted.inputs, "run": {"id": self._accepted.inside}}
        if self._accepted.request.event is not None:
            scope["event"] = self._accepted.event
        last = self._last_commits.get(check.repo) if isinstance(check, GitCheck) else None
        if last is not None:
            scope["state"] = {"last_commit": last}
        return scope

    async def _read_claim(self, hands: VerifierHands) -> None:
        """Take the agent's own word: a claim, and only if it was written during this run."""
        try:
            report = await hands.read_subject(REPORT_FILE, max_bytes=LONGEST_REPORT)
        except TickoverError as error:
            await self._find(FindingCode.REPORT_MALFORMED, str(error))
            return
        if report.status == "missing":
            return
        if report.status != "file":
            await self._find(FindingCode.REPORT_MALFORMED, report.reason)
        elif not report.written:
            await self._record.add(FindingReported.of(found(FindingCode.REPORT_STALE)))
        else:
            claim = read_report(report.data)
            await self._record.add(claim)
            if not isinstance(claim, FindingReported):
                self._claim = claim.status

    async def _believe_receipts(self, hands: VerifierHands) -> None:
        """Look at the chain of receipts, also where no check asks: one that was changed fails the run."""
        if not self._record.row().network.calls:
            return
        try:
            await hands.receipts()
        except TickoverError as error:
            if error.code == "receipts.broken":  # else nobody can tell, and a check that needs them is an error
                code = FindingCode.RECEIPTS_BROKEN
                await self._record.add(FindingReported.of(found(code, one_line(error.message, 300))))

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def take_artifacts(self, workspace: Workspace) -> None:
        """Copy what the routine declares as artifacts into blobs."""
        globs = list(self._accepted.routine.artifacts)
        if not globs:
            return
        try:
            taken = await collect(self._house.backend, workspace, globs, self._house.blobs.put)
        except TickoverError as error:
            await self._find(FindingCode.ARTIFACT_REFUSED, str(error))
            return
        await self._record.add(
            *(ArtifactStored(path=file.path, bytes=file.size, sha256=file.sha256) for file in taken.files),
            *(ArtifactRefused(path=refused.path, reason=refused.reason) for refused in taken.refused),
        )
        if not taken.complete or taken.refused_more:
            await self._record.add(FindingReported.of(found(FindingCode.ARTIFACT_LIMIT)))

    async def keep_state(self, workspace: Workspace, outcome: Outcome, fence: int) -> None:
        """Commit the state folder of a proved run; discard every other."""
        if outcome not in {Outcome.VERIFIED, Outcome.NOOP}:
            await self._record.add(StateDiscarded(reason=f"the outcome is {outcome}"))
            return
        try:
            captured = await capture(self._house.backend, workspace, self._house.blobs.put)
        except TickoverError as error:
            await self._discard(FindingCode.STATE_DISCARDED, str(error))
            return
        if captured.digest is None:
            refused = captured.refused[0] if captured.refused else None
            reason = f"{refused.path}: {refused.reason}" if refused else "it is too large"
            await self._discard(FindingCode.STATE_DISCARDED, reason)
            return
        run, before = self._record.run, self._prepared.state
        try:
            await asyncio.to_thread(self._house.store.states.commit, run, fence, before, captured.digest)
        except StateConflictError as error:
            await self._discard(FindingCode.STATE_CONFLICT, error.message)
            return
        await self._record.add(StateCommitted(digest=captured.digest))

    async def _discard(self, code: FindingCode, reason: str) -> None:
        await self._find(code, reason)
        await self._record.add(StateDiscarded(reason=reason))

    async def _find(self, code: FindingCode, why: str) -> None:
        await self._record.add(FindingReported.of(found(code, detail={"why": one_line(why, 300)})))

    async def remember_commits(self, fence: int) -> None:
        """Keep where the repositories were that the checks asked about: `state.last_commit` of the next run."""
        if self._commits:
            await asyncio.to_thread(self._house.store.verifier.record, self._record.run, fence, self._commits)


async def _claim_in(hands: VerifierHands) -> ClaimStatus | None:
    """Return what the agent says of its work, None while it says nothing that can be read."""
    report = await hands.read_subject(REPORT_FILE, max_bytes=LONGEST_REPORT)
    claim = read_report(report.data) if report.status == "file" and report.written else None
    return claim.status if isinstance(claim, ReportClaimed) else None


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _checks(accepted: Accepted) -> Iterator[tuple[CheckId, Check]]:
    routine = accepted.routine
    for list_, checks in ((CheckList.EXPECT, routine.expect), (CheckList.NOOP, routine.noop)):
        for index, check in enumerate(checks):
            yield CheckId(list_, index), check
