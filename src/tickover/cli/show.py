"""A run on a page: the two facts first, then what they rest on. Colour follows the outcome, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tickover.cli.blocks import Block, Cell, Ink, Line, Quote, Table
from tickover.cli.words import ago, counted, size, span
from tickover.core.cause import CAUSES, Cause
from tickover.core.event import AccountSeen
from tickover.core.evidence import CheckFact, CheckResult, EvidenceClass
from tickover.core.finding import Finding
from tickover.core.row import AccountRow, AttemptRow, GateRow, RunRow, UsageRow
from tickover.core.status import ENDED, LIVE, Execution, Outcome
from tickover.core.text import one_line


class Sign(NamedTuple):
    """How a word looks: a shape that tells it apart without colour, and a colour."""

    shape: str
    look: str


OUTCOMES: Final = {
    Outcome.VERIFIED: Sign("✔", "good"),
    Outcome.NOOP: Sign("○", "good"),
    Outcome.FAILED: Sign("✘", "bad"),
    Outcome.UNVERIFIED: Sign("▲", "warn"),
    Outcome.PENDING: Sign("…", "wait"),
    Outcome.NONE: Sign("-", "dim"),
}
RESULTS: Final = {
    CheckResult.PASS: Sign("✔", ""),
    CheckResult.FAIL: Sign("✘", "bad"),
    CheckResult.ERROR: Sign("▲", "warn"),
    CheckResult.PENDING: Sign("…", "wait"),
}
_SHORT: Final = 12  # digits of a commit or digest


def outcome_cell(outcome: Outcome | None) -> Ink:
    """Return the outcome as a shape and its word; before there is a verdict, a dash."""
    if outcome is None:
        return Ink("-", "dim")
    sign = OUTCOMES[outcome]
    return Ink(f"{sign.shape} {outcome}", sign.look)


def headline(outcome: Outcome, reason: str) -> list[Block]:
    """Return what was proved, big."""
    sign = OUTCOMES[outcome]
    why = reason.removeprefix(f"{outcome} ") or ("the agent never started" if outcome is Outcome.NONE else "")
    return [Table(((Ink(f"{sign.shape} {outcome.upper()}", f"badge-{sign.look}"), Ink(why, "bold")),), indent=0)]


def process(execution: Execution, cause: Cause | None, seconds: float, *, attempts: int = 1) -> list[Block]:
    """Return what happened to the process, small and without colour: it proves nothing."""
    words = f"execution {execution}"
    if execution in ENDED:
        words += f" after {span(seconds)}"
    if attempts > 1:
        words += f", {attempts} attempts"
    if cause is None:
        return [Line(Ink(words, "dim"))]
    first, *rest = cause_lines(cause)
    return [Line(Ink(f"{words}: {first}", "dim")), *(Quote(line) for line in rest)]


def cause_lines(cause: Cause) -> list[str]:
    """Return a cause as a sentence: what, in which phase, what to do. Output of programs comes after it."""
    where = f" (in {cause.phase})" if cause.phase else ""
    first, *rest = cause.hint.rstrip().split("\n", 1)
    return [f"{CAUSES[cause.cause]}{where}" + (f": {first}" if first else ""), *rest]


def check_table(evidence: Iterable[CheckFact]) -> list[Block]:
    """Return the contract check by check: result, class of the evidence, why."""
    rows = [_check_row(check) for check in evidence]
    return [Table(tuple(rows), heads=("", "check", "kind", "class", "why"))] if rows else []


def _check_row(check: CheckFact) -> tuple[Cell, ...]:
    if check.idle:
        why = "asked only if the agent claims that there is nothing to do"
        return (Ink("- idle", "dim"), str(check.id), check.kind, check.evidence_class.value, Ink(why, "dim"))
    sign = RESULTS[check.result]
    notes = []
    if check.vacuous:
        notes.append("held before the agent began, so it proves nothing")
    elif check.result is CheckResult.PASS and check.evidence_class is EvidenceClass.CLAIM:
        notes.append("only a claim of the agent, so it proves nothing")
    if check.guard:
        notes.append("guard")
    why = "; ".join([check.summary or "-", *notes])
    shape = Ink(f"{sign.shape} {check.result}", "good" if check.proves else sign.look)
    return (shape, str(check.id), check.kind, check.evidence_class.value, why)


def finding_table(findings: Iterable[Finding]) -> list[Block]:
    """Return what came to light unasked. A required finding fails the run."""
    rows = [
        (Ink("✘ required", "bad") if finding.required else Ink("! noted", "warn"), finding.code.value, finding.message)
        for finding in findings
    ]
    return [Table(tuple(rows))] if rows else []


def gate_table(gates: Iterable[GateRow]) -> list[Block]:
    """Return what was found each time when the agent wanted to stop, and whether it was sent back."""
    rows: list[tuple[Cell, ...]] = []
    for gate in gates:
        failed = [str(each.id) for each in gate.checks if each.result is not CheckResult.PASS]
        if gate.problem:
            why = f"nobody could judge: {gate.problem}"
        elif gate.says:
            why = f"{', '.join(failed)}; it was told: {' / '.join(one_line(each, 200) for each in gate.says)}"
        else:
            why = f"{', '.join(failed)} could not be evaluated" if failed else "nothing was missing"
        rows.append((f"{gate.number}.", "sent back" if gate.says else "may stop", why))
    return [Table(tuple(rows))] if rows else []


def run_table(rows: Sequence[RunRow], now: float) -> Table:
    """Return runs as a list, newest first."""
    heads = ("RUN", "ROUTINE", "OUTCOME", "EXECUTION", "STARTED", "TOOK")
    lines: list[tuple[Cell, ...]] = [
        (
            row.id,
            f"{row.routine} (replay)" if row.replay_of else row.routine,
            outcome_cell(row.outcome),
            Ink(row.execution.value, "dim"),
            ago(row.created, now),
            span((row.finished if row.finished is not None else now) - row.created),
        )
        for row in rows
    ]
    return Table(tuple(lines), indent=0, heads=heads)


def run_page(row: RunRow, now: float) -> Iterator[Block]:
    """Return everything about a run, most important first."""
    yield Line(Ink(row.routine, "bold"), "  ", Ink(f"run {row.id}", "dim"))
    if row.title:
        yield Line(Ink(row.title, "dim"), indent=2)
    if row.replay_of is not None:
        yield Line(Ink(f"a replay of run {row.replay_of}: it says nothing of the world", "warn"), indent=2)
    yield Line("")
    yield from _facts(row, now)
    yield from _section("checks", check_table(row.evidence))
    for attempt in row.attempts:
        found = [each.finding for each in row.findings if each.attempt == attempt.number]
        suffix = f", attempt {attempt.number}" if len(row.attempts) > 1 else ""
        yield from _section(f"findings{suffix}", finding_table(found))
    yield from _section("stop gate (no evidence: every check was asked anew afterwards)", gate_table(row.gates))
    if row.claim is not None:
        said = Quote(f"{row.claim.status}: {row.claim.summary}")
        yield from _section("the agent's claim (its own words, no evidence)", [said])
    yield from _section("artifacts", _artifacts(row))
    for attempt in row.attempts:
        yield from _attempt(attempt, len(row.attempts))
    yield from _section("sandbox", _sandbox(row))
    yield from _section("run", [Table(tuple(_about(row, now)))])


def _facts(row: RunRow, now: float) -> Iterator[Block]:
    if row.outcome is not None:
        yield from headline(row.outcome, row.reason)
    elif row.execution in LIVE:
        yield Line(Ink(row.execution.upper(), "badge-dim"), "  no verdict yet")
    else:
        yield Line(Ink(row.execution.upper(), "badge-dim"), "  no verdict", Ink(f"  {row.reason}"))
    ended = row.finished if row.finished is not None else now
    yield from process(row.execution, row.cause, ended - row.created, attempts=len(row.attempts))


def _section(title: str, blocks: Sequence[Block]) -> Iterator[Block]:
    if blocks:
        yield Line("")
        yield Line(Ink(title, "bold"))
        yield from blocks


def _attempt(attempt: AttemptRow, of: int) -> Iterator[Block]:
    how = attempt.execution or "under way"
    agent = f", agent {attempt.agent_status}" if attempt.agent_status else ""
    code = f" (exit code {attempt.agent_exit})" if attempt.agent_exit is not None else ""
    number = f" {attempt.number}" if of > 1 else ""
    phases = [
        (phase.phase.value, Ink("not finished", "dim") if phase.duration_s is None else span(phase.duration_s))
        for phase in attempt.phases
    ]
    why = [Line(cause_lines(attempt.cause)[0], indent=2)] if attempt.cause is not None and of > 1 else []
    table = [Table(tuple(phases))] if phases else []
    yield from _section(f"attempt{number}: {how}{agent}{code}", [*table, *why] or [Line("no phase began", indent=2)])


def _artifacts(row: RunRow) -> list[Block]:
    kept: list[tuple[Cell, ...]] = [
        (each.path, size(each.bytes), Ink(f"sha256:{each.sha256[:_SHORT]}", "dim")) for each in row.artifacts
    ]
    refused: list[tuple[Cell, ...]] = [
        (each.path, Ink("not taken", "warn"), each.reason) for each in row.refused_artifacts
    ]
    return [Table((*kept, *refused))] if kept or refused else []


def _sandbox(row: RunRow) -> list[Block]:
    box = row.sandbox
    if box is None:
        return []
    limits = ", ".join(
        f"{name} {size(int(value)) if name in {'memory', 'disk'} else value}" for name, value in box.limits.items()
    )
    lines: list[tuple[Cell, ...]] = [("backend", f"{box.backend} (tier {box.tier}), network {box.network}")]
    if limits:
        lines.append(("limits", limits))
    if box.protections:
        lines.append(("in force", ", ".join(box.protections)))
    lines += [("not protected", Ink(weakness, "warn")) for weakness in box.weaknesses]
    return [Table(tuple(lines))]


def account_text(seen: AccountRow | AccountSeen) -> str:
    """Return who acts at a place, in one line."""
    who = seen.account or ("nobody knows whom" if seen.problem else "the owner of it")
    why = f": {seen.problem}" if seen.problem else ""
    return f"{seen.place}: {one_line(who, 200)}, by the credential {seen.credential}{one_line(why, 200)}"


def usage_text(usage: UsageRow) -> str:
    """Return what models took, in one line; an agent's own word for it says so."""
    prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    cached = f" ({usage.cache_read_tokens} from a cache)" if usage.cache_read_tokens else ""
    cost = "price unknown" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"
    calls = counted(usage.calls, "call") if usage.calls else "the agent says"
    guess = f", {usage.estimated} of them estimated" if usage.estimated else ""
    return f"{calls}: {prompt} tokens in{cached}, {usage.output_tokens} out, {cost}{guess}"


def _about(row: RunRow, now: float) -> Iterator[tuple[Cell, ...]]:
    stamp = datetime.fromtimestamp(row.created, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield ("started", f"{ago(row.created, now)} ({stamp}), {row.trigger}")
    yield ("folder", row.folder)
    if row.version:
        yield ("version", row.version[:_SHORT])
    for name, commit in row.subject.items():
        trusted = row.trusted.get(name)
        apart = "" if trusted in {None, commit} else f", trusted {str(trusted)[:_SHORT]}"
        yield ("repository", f"{name} at {commit[:_SHORT]}{apart}")
    for name, value in row.inputs.items():
        yield ("input", f"{name} = {value}")
    if row.agent_build:
        yield ("agent", row.agent_build)
    yield from (("acts as", account_text(each)) for each in row.accounts)
    if row.usage != UsageRow():
        yield ("model", usage_text(row.usage))
    if row.cassette is not None:
        kept = row.cassette
        missing = f", {kept.left_out} left out" if kept.left_out else ""
        yield ("recorded", f"{counted(kept.calls, 'exchange')}, {size(kept.bytes)}{missing}")
    if row.replay_of is not None:
        yield ("drift", counted(row.drift, "request") if row.drift else "none")
    if row.layer is not None:
        made = f"built in {span(row.layer.duration_s)}" if row.layer.built else "from the cache"
        yield ("layer", f"{row.layer.key[:_SHORT]}, {size(row.layer.bytes)}, {made}")
    if row.state_discarded is not None:
        yield ("state", f"not kept: {row.state_discarded}")
    elif row.state_digest is not None:
        yield ("state", f"kept as {row.state_digest[:_SHORT]}")
    if row.cancel_requested_by is not None:
        yield ("cancelled by", row.cancel_requested_by)
    if row.retry_at is not None:
        yield ("next attempt", ago(row.retry_at, now))
    if row.recovered:
        yield ("recovered", counted(row.recovered, "time"))
    if row.exit_code is not None:
        yield ("exit code", str(row.exit_code))
