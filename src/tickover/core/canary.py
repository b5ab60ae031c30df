"""What a replay at a new build of an agent comes to: worse than the recording, or not, and why.

A recorded run is a case. A replay differs from its recording for reasons that are not the new build's: the clock, what
was not recorded. So what seems worse is held against a control, a replay at the build that was recorded: what happens
there too says nothing of the new one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from tickover.core.cassette import MOST_BODY
from tickover.core.cause import CAUSES, CauseCode
from tickover.core.comparison import Comparison, Likeness
from tickover.core.evidence import CheckResult
from tickover.core.finding import FindingCode
from tickover.core.player import DriftKind
from tickover.core.row import DriftRow, RunRow
from tickover.core.status import Execution
from tickover.core.text import one_line

NONE_WORSE, ONE_WORSE, NOT_COMPARED = 0, 5, 6
"""What `agent canary` exits with."""

NOT_SEEN: Final = (
    "how a model answers this build: the recorded answers are played to it, whatever it asks",
    "what went through a tunnel, and what MCP servers answered: it was not recorded",
    "the world outside: checks that look there are not asked, and nothing is posted",
)
"""What no replay can show, whatever it comes to."""

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DENIALS: Final = frozenset({FindingCode.HOST_DENIED, FindingCode.REQUEST_DENIED})
_OURS: Final = frozenset({CauseCode.INFRASTRUCTURE, CauseCode.INTERNAL, CauseCode.CANCELLED})
"""Ends that say nothing of an agent."""
_CIRCUMSTANCE: Final = frozenset(map(str, (FindingCode.LATE, FindingCode.DUPLICATE, FindingCode.RECOVERED)))
"""Findings that no replay can have."""
_OFFLINE: Final = "replay_"
"""How the codes begin with which a replay refuses (gateway/playing.py)."""
_NAMED: Final = 3


class CaseResult(StrEnum):
    """What a case came to. `differs`: other requests or another exit, nothing worse. `unclear`: it says nothing."""

    SAME = "same"
    DIFFERS = "differs"
    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"


class CanaryState(StrEnum):
    """What is known of a build. `unclear`: some case, or every one, could not be compared."""

    NONE_WORSE = "none worse"
    WORSE = "worse"
    UNCLEAR = "unclear"
    UNFINISHED = "unfinished"


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Side(_Kept):
    """One side of a case: figures that are put beside each other. `calls` are the agent's, as far as they were read."""

    execution: str = ""
    exit: int | None = None
    passed: int = 0
    checks: int = 0
    findings: tuple[str, ...] = ()
    calls: int = 0


class Case(_Kept):
    """A recorded run beside its replay at the new build; `replay` and `control` are runs, "" where there is none.

    `why` says what is worse, better or unclear, `blind` what this recording cannot show. Both may quote hostile text.
    """

    run: str
    routine: str
    recorded_with: str
    result: CaseResult
    replay: str = ""
    control: str = ""
    then: Side = Side()
    now: Side = Side()
    drift: int = 0
    why: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()


class CanaryNote(_Kept):
    """What `agent canary` found of a build. `key` is the layer that was compared, `at` UTC epoch seconds."""

    build: str
    key: str = ""
    at: float = 0.0
    finished: bool = False
    cases: tuple[Case, ...] = ()

    @property
    def state(self) -> CanaryState:
        if not self.finished:
            return CanaryState.UNFINISHED
        results = {each.result for each in self.cases}
        if CaseResult.WORSE in results:
            return CanaryState.WORSE
        return CanaryState.UNCLEAR if CaseResult.UNCLEAR in results or not results else CanaryState.NONE_WORSE

    @property
    def held(self) -> bool:
        """Whether the build is kept from routines that pin none."""
        return self.state in {CanaryState.WORSE, CanaryState.UNFINISHED}

    @property
    def exit_code(self) -> int:
        return {CanaryState.NONE_WORSE: NONE_WORSE, CanaryState.WORSE: ONE_WORSE}.get(self.state, NOT_COMPARED)


class Sign(NamedTuple):
    """One thing that is worse. Two replays show the same where `what` is the same."""

    what: str
    says: str


def worse(compared: Comparison) -> tuple[Sign, ...]:
    """Return what is worse in a replay than in its recording. That it asks otherwise is not: a new build does."""
    return (*_process(compared), *_checks(compared), *_findings(compared), *_writes(compared))


def judge(compared: Comparison, control: Comparison | None, *, unread: Sequence[str] = ()) -> Case:
    """Return the case. `control` is the replay at the recorded build, `unread` the hosts that a tunnel led to."""
    then, now = compared.then, compared.now
    if now.cause is not None and now.cause.cause in _OURS:
        return unclear(then, f"the replay ended as `{now.execution}`: {CAUSES[now.cause.cause]}", replay=now.id)
    signs = worse(compared)
    known = {each.what for each in worse(control)} if control is not None else set()
    blamed = [each for each in signs if each.what not in known]
    better = [each for each in compared.checks if each.likeness is Likeness.DIFFERS and each.now is CheckResult.PASS]
    why: tuple[str, ...] = ()
    if blamed:
        result, why = CaseResult.WORSE, tuple(each.says for each in blamed)
    elif signs:
        result = CaseResult.UNCLEAR
        why = (f"a replay at {then.agent_build} shows it too, so it is not the build's", *(each.says for each in signs))
    elif better:
        result, why = CaseResult.BETTER, tuple(f"{each.id} passes" for each in better)
    else:
        alike = compared.as_recorded and _outward(_side(then)) == _outward(_side(now))
        result = CaseResult.SAME if alike else CaseResult.DIFFERS
    return Case(
        run=then.id, routine=then.routine, recorded_with=then.agent_build, result=result, replay=now.id,
        control="" if control is None else control.now.id, then=_side(then), now=_side(now), drift=now.drift,
        why=why, blind=tuple(_blind(compared, unread)),
    )  # fmt: skip


def unclear(row: RunRow, why: str, *, replay: str = "") -> Case:
    """Return the case of a recording that cannot be replayed."""
    return Case(
        run=row.id, routine=row.routine, recorded_with=row.agent_build, result=CaseResult.UNCLEAR, replay=replay,
        then=_side(row), why=(why,),
    )  # fmt: skip


def _process(compared: Comparison) -> Iterator[Sign]:
    then, now = compared.then, compared.now
    if not now.agent_started:
        cause = now.cause.hint.partition("\n")[0] if now.cause else ""
        yield Sign("agent", f"the agent did not start: {one_line(cause, 200)}" if cause else "the agent did not start")
    elif then.execution is Execution.COMPLETED and now.execution is not Execution.COMPLETED:
        cause = f": {one_line(now.cause.hint, 200)}" if now.cause and now.cause.hint else ""
        yield Sign("execution", f"it ended as `{now.execution}`{cause}")


def _checks(compared: Comparison) -> Iterator[Sign]:
    for each in compared.checks:
        lost = each.then is CheckResult.PASS and each.now is not CheckResult.PASS
        if lost and each.likeness is not Likeness.NOT_ASKED and compared.now.agent_started:
            said = "is not there" if each.now is None else f"says {each.now}"
            yield Sign(
                f"check {each.id}", f"{each.id} passed and {said}: {one_line(each.summary_now, 200)}".rstrip(": ")
            )


def _findings(compared: Comparison) -> Iterator[Sign]:
    before = set(_codes(compared.then))
    now = compared.now
    by_name = {str(each.finding.code): each.finding for each in reversed(now.findings)}
    for code in _codes(now):
        if code not in before:
            yield Sign(f"finding {code}", f"finding {code}: {one_line(by_name[code].message, 200)}")


def _codes(row: RunRow) -> tuple[str, ...]:
    """Return what was found of the last attempt, save what a replay itself refuses: that is drift."""
    denied = [each for each in row.network.denials if each.attempt == row.attempt]
    own = bool(denied) and all(each.code.startswith(_OFFLINE) for each in denied)
    codes = (each.code for each in row.findings_of_attempt() if not (own and each.code in _DENIALS))
    return tuple(dict.fromkeys(map(str, codes)))


def _writes(compared: Comparison) -> Iterator[Sign]:
    then, now = compared.then, compared.now
    for rule, count in sorted(now.network.rules.items()):
        if count > (before := then.network.rules.get(rule, 0)):
            yield Sign(f"writes {rule}", f"it writes {count} times by {rule}, and wrote {before} times")
    for drift in now.drifts:
        if drift.kind == DriftKind.UNKNOWN and not _of_model(drift) and drift.target.partition(" ")[0] not in _READS:
            yield Sign(f"asks {drift.target}", f"it asks what it never asked: {one_line(drift.target, 200)}")


def _of_model(drift: DriftRow) -> bool:
    """Say whether a drift is of a call to a model: those have turns."""
    return drift.where.startswith("turn ")


def _blind(compared: Comparison, unread: Sequence[str]) -> Iterator[str]:
    then, now = compared.then, compared.now
    seen = [each.target for each in now.drifts if each.kind == DriftKind.UNREAD]
    hosts = [*dict.fromkeys((*unread, *seen))]
    if hosts:
        more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
        yield f"not recorded: {', '.join(one_line(each, 120) for each in hosts[:_NAMED])}{more}"
    if then.cassette is not None and then.cassette.left_out:
        yield f"{then.cassette.left_out} too large for the recording (over {MOST_BODY >> 20} MiB, or it was full)"
    if asked := [str(each.id) for each in compared.checks if each.likeness is Likeness.NOT_ASKED]:
        yield f"not asked: {', '.join(asked)}"
    if now.drift > sum(each.times for each in now.drifts):
        yield "more drift than the run names"


def _side(row: RunRow) -> Side:
    return Side(
        execution=str(row.execution),
        exit=row.attempts[-1].agent_exit if row.attempts else None,
        passed=sum(each.result is CheckResult.PASS for each in row.evidence),
        checks=len(row.evidence),
        findings=_codes(row),
        calls=row.cassette.calls if row.cassette is not None else row.network.calls,
    )


def _outward(side: Side) -> tuple[int | None, frozenset[str]]:
    return side.exit, frozenset(side.findings) - _CIRCUMSTANCE
