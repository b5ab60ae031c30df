"""`agent canary` on a page: each case's figures then and now, what is worse, and what no replay can show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tickover.cli.blocks import Block, Cell, Ink, Line, Quote, Table
from tickover.cli.wire import FORMAT, iso
from tickover.cli.words import counted
from tickover.core.canary import NOT_SEEN, CanaryNote, CanaryState, Case, CaseResult, Side

_RESULTS: Final = {
    CaseResult.SAME: Ink("= same", "dim"),
    CaseResult.DIFFERS: Ink("≠ differs", ""),
    CaseResult.BETTER: Ink("+ better", "good"),
    CaseResult.WORSE: Ink("✘ worse", "bad"),
    CaseResult.UNCLEAR: Ink("▲ unclear", "warn"),
}
_STATES: Final = {
    CanaryState.NONE_WORSE: Ink("= none worse", "bold"),
    CanaryState.WORSE: Ink("✘ worse", "bad"),
    CanaryState.UNCLEAR: Ink("▲ unclear", "warn"),
    CanaryState.UNFINISHED: Ink("▲ unfinished", "warn"),
}


def case_line(case: Case) -> Line:
    """Return one case as it is told meanwhile."""
    return Line(_RESULTS[case.result], f"  {case.run}  {case.routine}")


def canary_cell(note: CanaryNote | None) -> Cell:
    """Return what is known of a build, for a list."""
    if note is None:
        return Ink("not compared", "dim")
    state = note.state
    if state is CanaryState.UNFINISHED:
        return Ink("not finished", "warn")
    if state is CanaryState.UNCLEAR and not note.cases:
        return Ink("nothing to compare with", "warn")
    of = counted(len(note.cases), "case")
    words = {CanaryState.WORSE: CaseResult.WORSE, CanaryState.UNCLEAR: CaseResult.UNCLEAR}
    if (result := words.get(state)) is not None:
        number = sum(each.result is result for each in note.cases)
        return Ink(f"{number} of {of} {result}", "bad" if result is CaseResult.WORSE else "warn")
    return f"none of {of} worse"


def canary_page(note: CanaryNote) -> Iterator[Block]:
    """Return the whole comparison."""
    yield Line(_STATES[note.state], Ink(f"  {note.build}", "bold"), f"  on {counted(len(note.cases), 'recorded run')}")
    if not note.cases:
        yield Line("nothing of this agent was recorded; `tickover run --record FOLDER` records a run", indent=2)
    else:
        heads = ("", "run", "routine", "recorded with", "checks", "findings", "requests", "drift", "exit", "ended")
        yield Table(tuple(map(_row, note.cases)), heads=heads)
    for case in note.cases:
        if case.why or case.blind:
            yield Line("")
            yield Line(_RESULTS[case.result], f"  {case.run}", Ink(_runs(case), "dim"))
            yield from (Quote(each) for each in (*case.why, *case.blind))
    yield Line("")
    yield Line(Ink("what this cannot show:", "dim"))
    yield from (Line(Ink(each, "dim"), indent=2) for each in NOT_SEEN)
    if note.held:
        yield Line(f"{note.build} is used only where a routine pins it")


def canary_json(note: CanaryNote) -> dict[str, Any]:
    """Return the same as programs read it."""
    return {"format": FORMAT, "build": note.build, **state_json(note), "not_seen": list(NOT_SEEN)}


def state_json(note: CanaryNote) -> dict[str, Any]:
    """Return what is known of a build, with every case."""
    return {
        "state": note.state,
        "held": note.held,
        "compared_at": iso(note.at),
        "cases": [each.model_dump(mode="json") for each in note.cases],
    }


def _row(case: Case) -> tuple[Cell, ...]:
    then, now = case.then, case.now
    return (
        _RESULTS[case.result], case.run, case.routine, case.recorded_with,
        _beside(f"{then.passed}/{then.checks}", f"{now.passed}/{now.checks}", case),
        _beside(str(len(then.findings)), str(len(now.findings)), case),
        _beside(str(then.calls), str(now.calls), case),
        str(case.drift),
        _beside(_exit(then), _exit(now), case),
        _beside(then.execution, now.execution, case),
    )  # fmt: skip


def _beside(then: str, now: str, case: Case) -> str:
    if not case.now.execution:
        return f"{then} → -"
    return then if then == now else f"{then} → {now}"


def _exit(side: Side) -> str:
    return "-" if side.exit is None else str(side.exit)


def _runs(case: Case) -> str:
    named = [f"replay {case.replay}" if case.replay else "", f"control {case.control}" if case.control else ""]
    said = ", ".join(filter(None, named))
    return f"  ({said}; `tickover runs show ID`)" if said else ""
