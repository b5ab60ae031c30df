"""A run: THE transition table, and the fold of a journal into the run's row.

`TRANSITIONS` is data: `fold` obeys it, `mermaid` draws it. A fact which has no place in the state it came in
cannot have happened, and the fold says so with the number of the event.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from tickover.core.event import (
    AttemptFinished,
    Fact,
    JournalCorruptError,
    JournalEvent,
    PhaseStarted,
    RunCreated,
    UnknownFact,
    decode,
)
from tickover.core.projection import ImpossibleError, changes_of
from tickover.core.row import RunRow
from tickover.core.status import ENDED, LIVE, NEVER_RAN, Execution, Outcome, Phase

__all__ = [
    "NOTES",
    "SEALED_NOTES",
    "TRANSITIONS",
    "Execution",
    "NextStep",
    "Outcome",
    "RunRow",
    "Transition",
    "fold",
    "is_terminal",
    "mermaid",
    "next_step",
    "signal",
]


class Transition(NamedTuple):
    """In `source`, the fact `signal` leads to `target`. Source None: the run does not exist yet."""

    source: Execution | None
    signal: str
    target: Execution


_Q, _P, _R, _V = LIVE
TRANSITIONS: tuple[Transition, ...] = (
    Transition(None, "run_created", _Q),
    Transition(_Q, "attempt_started", _P),
    Transition(_Q, "run_missed", Execution.MISSED),
    Transition(_Q, "run_skipped", Execution.SKIPPED),
    Transition(_P, "run_skipped", Execution.SKIPPED),
    Transition(_Q, "run_refused", Execution.REFUSED),
    Transition(_P, "run_refused", Execution.REFUSED),
    Transition(_P, "agent_started", _R),
    Transition(_R, "phase_started:verify", _V),
    *(Transition(source, "attempt_finished:completed", Execution.COMPLETED) for source in (_R, _V)),
    *(Transition(source, "attempt_finished:failed", Execution.FAILED) for source in LIVE),
    *(Transition(source, "attempt_finished:timed_out", Execution.TIMED_OUT) for source in (_P, _R, _V)),
    *(Transition(source, "attempt_finished:cancelled", Execution.CANCELLED) for source in LIVE),
    *(Transition(source, "attempt_finished:lost", Execution.LOST) for source in LIVE),
    Transition(Execution.FAILED, "retry_scheduled", _Q),
    Transition(Execution.TIMED_OUT, "retry_scheduled", _Q),
    Transition(Execution.LOST, "retry_scheduled", _Q),
)
"""Every fact that moves a run from one execution to another."""

SEALED_NOTES = frozenset({"cancel_requested", "run_recovered", "finding", "phase_started:cleanup", "phase_finished"})
"""What may stand anywhere, and all that may follow `run_finished` (a `pending` outcome is still asked again)."""

_GATEWAY = {
    "receipt_begun",
    "receipt_ended",
    "receipts_sealed",
    "connection_denied",
    "model_called",
    "host_reached",
    "replay_drifted",
}
_AGENT = {
    "agent_ready",
    "agent_output",
    "agent_step",
    "agent_text",
    "agent_tool_call",
    "agent_tool_result",
    "agent_usage",
    "agent_finished",
    "cassette_stored",
    "report_claimed",
    "phase_started:artifacts",
    "artifact_stored",
    "artifact_refused",
}
_AFTERWARDS = {
    "report_claimed",
    "phase_started:verify",
    "phase_started:artifacts",
    "phase_started:state",
    "sandbox_started",
    "check_evaluated",
    "verdict_reached",
    "artifact_stored",
    "artifact_refused",
    "state_committed",
    "state_discarded",
}
_BEFORE = {"version_resolved", "account_seen", "sandbox_started", "layer_ready", "baseline_checked"} | {
    f"phase_started:{phase}" for phase in Phase if phase is not Phase.VERIFY
}

NOTES: dict[Execution, frozenset[str]] = {
    _Q: SEALED_NOTES | {"version_resolved"},
    _P: SEALED_NOTES | _GATEWAY | _BEFORE,
    _R: SEALED_NOTES | _GATEWAY | _AGENT | {"phase_started:agent", "stop_gate_judged"},
    _V: SEALED_NOTES | _GATEWAY | _AGENT | _AFTERWARDS,
    # Also where the last attempt was refused: an earlier one may have an outcome that is still asked for.
    **dict.fromkeys((*ENDED, *NEVER_RAN), SEALED_NOTES | _GATEWAY | _AFTERWARDS | {"run_finished"}),
}
"""The facts which may be noted in a state without leading out of it."""

_NEXT = {(move.source, move.signal): move.target for move in TRANSITIONS}


def signal(fact: Fact) -> str:
    """Return the fact's name in the transition table."""
    if isinstance(fact, PhaseStarted):
        return f"{fact.type}:{fact.phase}"
    if isinstance(fact, AttemptFinished):
        return f"{fact.type}:{fact.execution}"
    return fact.type


def mermaid() -> str:
    """Draw the transition table as a Mermaid state diagram."""
    labels: dict[tuple[str, str], list[str]] = {}
    for move in TRANSITIONS:
        name = move.signal.removesuffix(f":{move.target}")
        labels.setdefault((move.source or "[*]", move.target), []).append(name)
    for final in (*ENDED, *NEVER_RAN):
        labels[final, "[*]"] = ["run_finished"]
    arrows = [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in labels.items()]
    return "\n".join(["stateDiagram-v2", *arrows, ""])


class NextStep(StrEnum):
    """What an engine does next with a run that nobody works on."""

    START = "start"
    CANCEL = "cancel"
    END_LOST = "end_lost"
    VERIFY = "verify"
    CLOSE = "close"
    DONE = "done"


def is_terminal(row: RunRow) -> bool:
    """Say whether nothing more will be decided about this run. A `pending` one is asked again."""
    return row.finished is not None and row.outcome is not Outcome.PENDING


def next_step(row: RunRow) -> NextStep:
    """Say what a run needs that no living process holds.

    START an attempt (not before `retry_at`), CANCEL it, END_LOST the attempt that somebody left open, VERIFY what
    the agent did, CLOSE it (a retry or `run_finished`), or nothing: DONE.
    """
    if row.finished is not None:
        return NextStep.DONE if is_terminal(row) else NextStep.VERIFY
    if row.execution is Execution.QUEUED:
        return NextStep.START if row.cancel_requested_by is None else NextStep.CANCEL
    if row.execution in LIVE:
        return NextStep.END_LOST
    return NextStep.VERIFY if row.agent_started and row.outcome is None else NextStep.CLOSE


def fold(events: Iterable[JournalEvent], row: RunRow | None = None) -> RunRow:
    """Project a journal, from its start or from where `row` stands, to the run's row.

    Raises `JournalCorruptError`, naming the event, on a gap, a foreign event or an illegal transition.
    """
    for event in events:
        row = _begin(event) if row is None else _advance(row, event)
    if row is None:
        raise JournalCorruptError("it is empty")
    return row


def _begin(event: JournalEvent) -> RunRow:
    fact = decode(event)
    if not isinstance(fact, RunCreated):
        problem = f"it begins with `{event.type}`, not with `run_created`"
        raise JournalCorruptError(problem, run=event.run, seq=event.seq)
    told = fact.model_dump(exclude={"type", "version"})
    return RunRow(id=event.run, created=event.at, last_seq=event.seq, **told)


def _advance(row: RunRow, event: JournalEvent) -> RunRow:
    fact = decode(event)
    if event.run != row.id:
        raise JournalCorruptError(f"an event of run {event.run} stands in it", run=row.id, seq=event.seq)
    if event.seq != row.last_seq + 1:
        raise JournalCorruptError(f"it goes on after seq {row.last_seq}", run=row.id, seq=event.seq)
    if isinstance(fact, UnknownFact):
        return row.model_copy(update={"last_seq": event.seq, "unknown_facts": row.unknown_facts + 1})
    try:
        target = _target(row, signal(fact))
        changes = changes_of(fact, row, event.at)
    except ImpossibleError as error:
        hint = "a newer Tickover wrote into this journal: read it with that one" if row.unknown_facts else ""
        raise JournalCorruptError(str(error), run=row.id, seq=event.seq, hint=hint) from error
    return row.model_copy(update={**changes, "execution": target, "last_seq": event.seq})


def _target(row: RunRow, name: str) -> Execution:
    if row.finished is not None and (is_terminal(row) or (row.execution, name) in _NEXT):
        if name not in SEALED_NOTES:
            raise ImpossibleError(f"`{name}` cannot follow `run_finished`")
        return row.execution
    target = _NEXT.get((row.execution, name))
    if target is None and name not in NOTES[row.execution]:
        raise ImpossibleError(f"`{name}` cannot happen while the run is {row.execution}")
    return target or row.execution
