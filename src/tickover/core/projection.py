"""What each fact changes in a run's row: one small function per fact. `core/run.py` decides whether it may."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from tickover.core.enforcement import MODEL
from tickover.core.event import (
    AccountSeen,
    AgentFinished,
    AgentStarted,
    AgentUsage,
    ArtifactRefused,
    ArtifactStored,
    AttemptFinished,
    AttemptStarted,
    BaselineChecked,
    CancelRequested,
    CassetteStored,
    CheckEvaluated,
    ConnectionDenied,
    Fact,
    FindingReported,
    LayerReady,
    ModelCalled,
    PhaseFinished,
    PhaseStarted,
    ReceiptBegun,
    ReceiptEnded,
    ReceiptsSealed,
    ReplayDrifted,
    ReportClaimed,
    RetryScheduled,
    RunFinished,
    RunMissed,
    RunRecovered,
    RunRefused,
    RunSkipped,
    SandboxStarted,
    StateCommitted,
    StateDiscarded,
    StopGateJudged,
    VerdictReached,
    VersionResolved,
)
from tickover.core.evidence import CheckFact, CheckId, is_vacuous
from tickover.core.finding import Finding
from tickover.core.receipt import Delivery, Identity
from tickover.core.row import (
    NAMED_MOST,
    AccountRow,
    ArtifactRow,
    AttemptRow,
    CallRow,
    CassetteRow,
    ClaimRow,
    DenialRow,
    DriftRow,
    FindingRow,
    GateRow,
    LayerRow,
    NetworkRow,
    PhaseRow,
    RefusedArtifactRow,
    RunRow,
    SandboxRow,
    SealRow,
    UsageRow,
)
from tickover.core.status import Execution, Outcome
from tickover.core.text import one_line


class ImpossibleError(Exception):
    """A fact contradicts what the journal said before; `fold` adds run and seq."""


@singledispatch
def changes_of(fact: Fact, row: RunRow, at: float) -> dict[str, Any]:
    """Return the fields of the row that a fact changes, `execution` and `last_seq` aside."""
    del fact, row, at
    return {}


@changes_of.register
def _(fact: VersionResolved, row: RunRow, at: float) -> dict[str, Any]:
    del row, at
    return {
        "version": fact.routine_version,
        "trusted": fact.trusted,
        "subject": fact.subject,
        "agent_build": fact.agent_build,
    }


@changes_of.register
def _(fact: AttemptStarted, row: RunRow, at: float) -> dict[str, Any]:
    if fact.attempt != row.attempt + 1:
        raise ImpossibleError(f"attempt {fact.attempt} cannot follow attempt {row.attempt}")
    return {
        "attempts": (*row.attempts, AttemptRow(number=fact.attempt, started=at)),
        "started": row.started if row.started is not None else at,
        "retry_at": None,
        "cause": None,
        "reason": "",
        "accounts": (),
        "evidence": (),
        "claim": None,
        "sandbox": None,
        "artifacts": (),
        "refused_artifacts": (),
    }


@changes_of.register
def _(fact: PhaseStarted, row: RunRow, at: float) -> dict[str, Any]:
    phases = (*_last(row).phases, PhaseRow(phase=fact.phase, started=at))
    return _last_attempt(row, phases=phases)


@changes_of.register
def _(fact: PhaseFinished, row: RunRow, at: float) -> dict[str, Any]:
    del at
    phases = list(_last(row).phases)
    for index in reversed(range(len(phases))):
        if phases[index].phase is fact.phase and phases[index].duration_s is None:
            phases[index] = phases[index].model_copy(update={"duration_s": fact.duration_s})
            return _last_attempt(row, phases=tuple(phases))
    raise ImpossibleError(f"phase `{fact.phase}` ended without having begun")


@changes_of.register
def _(fact: SandboxStarted, row: RunRow, at: float) -> dict[str, Any]:
    del at
    if row.execution is not Execution.PREPARING:
        return {}
    return {"sandbox": SandboxRow(**fact.model_dump(exclude={"type", "version"}))}


@changes_of.register
def _(fact: LayerReady, row: RunRow, at: float) -> dict[str, Any]:
    del row, at
    return {"layer": LayerRow(**fact.model_dump(exclude={"type", "version"}))}


@changes_of.register
def _(fact: AccountSeen, row: RunRow, at: float) -> dict[str, Any]:
    del at
    seen = AccountRow(**fact.model_dump(exclude={"type", "version"}))
    return {"accounts": (*(each for each in row.accounts if each.place != seen.place), seen)}


@changes_of.register
def _(fact: AgentStarted, row: RunRow, at: float) -> dict[str, Any]:
    del at
    build = fact.build or row.agent_build
    started = _last_attempt(row, agent_started=True)
    return {"agent_started": True, "agent_build": build, "required": fact.required, **started}


@changes_of.register
def _(fact: AgentUsage, row: RunRow, at: float) -> dict[str, Any]:
    del at
    if row.usage.calls or row.replay_of is not None:  # the gateway's count stands, and a replay takes nothing
        return {}
    usage = UsageRow(
        input_tokens=row.usage.input_tokens + fact.input_tokens,
        output_tokens=row.usage.output_tokens + fact.output_tokens,
        cost_usd=_sum(row.usage.cost_usd, fact.cost_usd),
    )
    return {"usage": usage}


@changes_of.register
def _(fact: ModelCalled, row: RunRow, at: float) -> dict[str, Any]:
    del at
    before = row.usage if row.usage.calls else UsageRow()
    usage = UsageRow(
        input_tokens=before.input_tokens + fact.input_tokens,
        output_tokens=before.output_tokens + fact.output_tokens,
        cost_usd=_sum(before.cost_usd, fact.cost_usd if fact.tokens.total else 0.0),
        cache_read_tokens=before.cache_read_tokens + fact.cache_read_tokens,
        cache_write_tokens=before.cache_write_tokens + fact.cache_write_tokens,
        calls=before.calls + 1,
        estimated=before.estimated + fact.estimated,
    )
    return {"usage": usage}


@changes_of.register
def _(fact: AgentFinished, row: RunRow, at: float) -> dict[str, Any]:
    del at
    return _last_attempt(row, agent_status=fact.status, agent_exit=fact.exit)


@changes_of.register
def _(fact: ReceiptBegun, row: RunRow, at: float) -> dict[str, Any]:
    del at
    begun, seen = fact.record, row.network
    if begun.call != seen.calls + 1:
        raise ImpossibleError(f"call {begun.call} cannot follow call {seen.calls}")
    writes = begun.writes and begun.identity is Identity.AGENT and begun.rule != MODEL
    target = f"{begun.method} {begun.scheme}://{begun.host}{begun.path}"
    call = CallRow(call=begun.call, attempt=begun.attempt, writes=writes, target=target, rule=begun.rule)
    counted = _counted(seen, call, 1) if writes else {}
    return _network(row, calls=begun.call, open_calls=(*seen.open_calls, call), **counted)


@changes_of.register
def _(fact: ReceiptEnded, row: RunRow, at: float) -> dict[str, Any]:
    del at
    seen = row.network
    found = [each for each in seen.open_calls if each.call == fact.record.call]
    if not found:
        raise ImpossibleError(f"call {fact.record.call} ended without having begun")
    unsent = fact.record.delivery is Delivery.UNSENT
    rest = tuple(each for each in seen.open_calls if each is not found[0])
    counted = _counted(seen, found[0], -1) if found[0].writes and unsent else {}
    unknown = (*seen.unknown, found[0]) if not unsent and fact.record.status is None else seen.unknown
    return _network(row, open_calls=rest, unknown=unknown[:NAMED_MOST], **counted)


@changes_of.register
def _(fact: ReceiptsSealed, row: RunRow, at: float) -> dict[str, Any]:
    del at
    return _network(row, seal=SealRow(receipt=fact.receipt, mac=fact.mac))


@changes_of.register
def _(fact: ConnectionDenied, row: RunRow, at: float) -> dict[str, Any]:
    del at
    seen = row.network
    denial = DenialRow(
        attempt=row.attempt,
        identity=fact.identity,
        host=one_line(fact.host, 260),
        port=fact.port,
        code=fact.code,
        says=one_line(fact.says, 300),
        method=one_line(fact.method, 20),
        path=one_line(fact.path, 200),
        times=fact.times,
    )
    return _network(row, denied=seen.denied + fact.times, denials=_with_denial(seen.denials, denial))


@changes_of.register
def _(fact: CassetteStored, row: RunRow, at: float) -> dict[str, Any]:
    del at
    return {"cassette": CassetteRow(attempt=row.attempt, **fact.model_dump(exclude={"type", "version"}))}


@changes_of.register
def _(fact: ReplayDrifted, row: RunRow, at: float) -> dict[str, Any]:
    del at
    if row.replay_of is None:
        raise ImpossibleError("only a replay can drift")
    texts = {name: one_line(getattr(fact, name), 300) for name in ("kind", "target", "where", "then", "now")}
    drifts = (*row.drifts, DriftRow(**texts, times=fact.times))
    return {"drift": row.drift + fact.times, "drifts": drifts[:NAMED_MOST]}


@changes_of.register
def _(fact: StopGateJudged, row: RunRow, at: float) -> dict[str, Any]:
    del at
    told = fact.model_dump(include={"number", "says", "problem"})
    return {"gates": (*row.gates, GateRow(attempt=row.attempt, checks=fact.checks, **told))}


@changes_of.register
def _(fact: ReportClaimed, row: RunRow, at: float) -> dict[str, Any]:
    del row, at
    return {"claim": ClaimRow(status=fact.status, summary=fact.summary)}


@changes_of.register
def _(fact: BaselineChecked, row: RunRow, at: float) -> dict[str, Any]:
    del at
    known = CheckId(fact.list, fact.index) in row.first_baseline()
    return {} if known else {"baseline": (*row.baseline, fact)}


@changes_of.register
def _(fact: CheckEvaluated, row: RunRow, at: float) -> dict[str, Any]:
    del at
    baseline = row.first_baseline().get(CheckId(fact.list, fact.index))
    said = CheckFact(
        list=fact.list,
        index=fact.index,
        kind=fact.kind,
        evidence_class=fact.evidence_class,
        guard=fact.guard,
        result=fact.result,
        baseline=baseline,
        vacuous=is_vacuous(fact.list, guard=fact.guard, baseline=baseline),
        summary=fact.summary,
    )
    if said.id in {earlier.id for earlier in row.evidence}:
        return {"evidence": tuple(said if old.id == said.id else old for old in row.evidence)}
    return {"evidence": (*row.evidence, said)}


@changes_of.register
def _(fact: FindingReported, row: RunRow, at: float) -> dict[str, Any]:
    del at
    finding = Finding(code=fact.code, message=fact.message, required=fact.required, detail=fact.detail)
    return {"findings": (*row.findings, FindingRow(attempt=row.attempt, finding=finding))}


@changes_of.register
def _(fact: ArtifactStored, row: RunRow, at: float) -> dict[str, Any]:
    del at
    stored = ArtifactRow(path=fact.path, bytes=fact.bytes, sha256=fact.sha256)
    return {"artifacts": (*row.artifacts, stored)}


@changes_of.register
def _(fact: ArtifactRefused, row: RunRow, at: float) -> dict[str, Any]:
    del at
    refused = RefusedArtifactRow(path=fact.path, reason=fact.reason)
    return {"refused_artifacts": (*row.refused_artifacts, refused)}


@changes_of.register
def _(fact: StateCommitted, row: RunRow, at: float) -> dict[str, Any]:
    del row, at
    return {"state_digest": fact.digest, "state_discarded": None}


@changes_of.register
def _(fact: StateDiscarded, row: RunRow, at: float) -> dict[str, Any]:
    del row, at
    return {"state_discarded": fact.reason}


@changes_of.register
def _(fact: AttemptFinished, row: RunRow, at: float) -> dict[str, Any]:
    if not row.attempts or row.attempts[-1].finished is not None:
        return {"cause": fact.cause}
    ended = _last_attempt(row, finished=at, execution=fact.execution, cause=fact.cause)
    return {"cause": fact.cause, **ended}


@changes_of.register
def _(fact: VerdictReached, row: RunRow, at: float) -> dict[str, Any]:
    del at
    if (fact.outcome is Outcome.NONE) is row.agent_started:
        raise ImpossibleError(
            f"the outcome cannot be `{fact.outcome}` where the agent {'had' if row.agent_started else 'never'} started"
        )
    if row.replay_of is not None and fact.outcome in {Outcome.VERIFIED, Outcome.NOOP}:
        raise ImpossibleError(f"a replay cannot be `{fact.outcome}`: it says nothing of the world")
    verdict = {"outcome": fact.outcome, "reason": fact.reason, "evidence": fact.evidence}
    judged = _last_attempt(row, outcome=fact.outcome) if row.attempts else {}
    return {**verdict, **judged, "finished": None, "exit_code": None}


@changes_of.register
def _(fact: RetryScheduled, row: RunRow, at: float) -> dict[str, Any]:
    del at
    if fact.attempt != row.attempt + 1:
        raise ImpossibleError(f"attempt {fact.attempt} cannot follow attempt {row.attempt}")
    return {"retry_at": fact.at, "outcome": None}


@changes_of.register
def _(fact: CancelRequested, row: RunRow, at: float) -> dict[str, Any]:
    del at
    return {"cancel_requested_by": fact.by} if row.cancel_requested_by is None else {}


@changes_of.register
def _(fact: RunRefused, row: RunRow, at: float) -> dict[str, Any]:
    return {"cause": fact.cause, **_never_ran(row, Execution.REFUSED, at)}


@changes_of.register
def _(fact: RunSkipped, row: RunRow, at: float) -> dict[str, Any]:
    return {"reason": fact.reason, **_never_ran(row, Execution.SKIPPED, at)}


@changes_of.register
def _(fact: RunMissed, row: RunRow, at: float) -> dict[str, Any]:
    del row, at
    return {"reason": fact.reason}


@changes_of.register
def _(fact: RunRecovered, row: RunRow, at: float) -> dict[str, Any]:
    del fact, at
    return {"recovered": row.recovered + 1}


@changes_of.register
def _(fact: RunFinished, row: RunRow, at: float) -> dict[str, Any]:
    outcome = row.outcome if row.agent_started else Outcome.NONE
    if (fact.execution, fact.outcome) != (row.execution, outcome):
        told = f"{fact.execution}, {fact.outcome}"
        raise ImpossibleError(f"`run_finished` says {told}; the journal says {row.execution}, {outcome}")
    return {"finished": at, "outcome": outcome, "exit_code": fact.exit_code}


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _last(row: RunRow) -> AttemptRow:
    if not row.attempts:
        raise ImpossibleError("a phase belongs to an attempt, and none had started")
    return row.attempts[-1]


def _last_attempt(row: RunRow, **changes: object) -> dict[str, Any]:
    *earlier, last = row.attempts
    return {"attempts": (*earlier, last.model_copy(update=changes))}


def _network(row: RunRow, **changes: object) -> dict[str, NetworkRow]:
    return {"network": row.network.model_copy(update=changes)}


def _counted(seen: NetworkRow, call: CallRow, by: int) -> dict[str, Any]:
    rules = {**seen.rules, call.rule: seen.rules.get(call.rule, 0) + by}
    return {"writes": seen.writes + by, "rules": rules}


def _with_denial(denials: tuple[DenialRow, ...], new: DenialRow) -> tuple[DenialRow, ...]:
    for index, each in enumerate(denials):
        if each.model_copy(update={"times": new.times}) == new:
            summed = each.model_copy(update={"times": each.times + new.times})
            return (*denials[:index], summed, *denials[index + 1 :])
    return (*denials, new)[:NAMED_MOST]


def _never_ran(row: RunRow, execution: Execution, at: float) -> dict[str, Any]:
    """Close the attempt in which it turned out that the agent shall not start."""
    if row.attempts and row.attempts[-1].finished is None:
        return _last_attempt(row, finished=at, execution=execution)
    return {}
