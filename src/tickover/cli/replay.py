"""A replay on a page: what drifted from the recording, and each check beside what it said then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tickover.cli.blocks import Block, Cell, Ink, Line, Quote, Table
from tickover.cli.show import RESULTS
from tickover.cli.wire import FORMAT, row_json
from tickover.cli.words import counted
from tickover.core.comparison import Beside, Comparison, Likeness
from tickover.core.evidence import CheckResult
from tickover.core.row import DriftRow, RunRow
from tickover.core.text import one_line

_LIKENESS = {
    Likeness.SAME: Ink("= same", "dim"),
    Likeness.DIFFERS: Ink("≠ differs", "bad"),
    Likeness.NOT_ASKED: Ink("- not asked", "dim"),
}
_KINDS = {
    "unknown": "not in the recording",
    "differs": "asked otherwise",
    "repeated": "asked more often",
    "unasked": "not asked any more",
    "unread": "was not recorded",
}


def comparison_page(compared: Comparison) -> Iterator[Block]:
    """Return a replay beside its original."""
    then, now = compared.then, compared.now
    yield Line("")
    if compared.as_recorded:
        yield Line(Ink(f"= as recorded: replay {now.id} of run {then.id}", "bold"))
    elif not compared.completed:
        yield Line(Ink(f"▲ the replay {now.id} of run {then.id} did not complete", "warn"))
    else:
        yield Line(Ink(f"≠ not as recorded: replay {now.id} of run {then.id}", "bad"))
    yield Line(Ink("it says how the routine behaves, and nothing of the world", "dim"), indent=2)
    rows: list[tuple[Cell, ...]] = [
        ("execution", then.execution.value, now.execution.value),
        ("outcome", (then.outcome or "-"), (now.outcome or "-")),
        ("agent", then.agent_build or "-", now.agent_build or "-"),
    ]
    if not compared.same_version:
        rows.append(("version", (then.version or "-")[:12], (now.version or "-")[:12]))
    yield Table(tuple(rows), heads=("", "recorded", "replay"))
    if compared.checks:
        yield Line("")
        heads = ("", "check", "kind", "recorded", "replay", "why")
        yield Table(tuple(map(_check, compared.checks)), heads=heads)
    yield from drift_blocks(now)


def drift_blocks(row: RunRow) -> Iterator[Block]:
    """Return how a replay drifted; nothing for one that did not."""
    if not row.drift:
        return
    yield Line("")
    yield Line(Ink(f"drift: {counted(row.drift, 'request')}", "bold"))
    for drift in row.drifts:
        yield Line(Ink(f"! {_KINDS.get(drift.kind, drift.kind)}", "warn"), f"  {_what(drift)}", indent=2)
        if drift.then or drift.now:
            yield Quote(f"- {one_line(drift.then)}\n+ {one_line(drift.now)}")


def comparison_json(compared: Comparison) -> dict[str, Any]:
    """Return the same as programs read it."""
    return {
        "format": FORMAT,
        "as_recorded": compared.as_recorded,
        "completed": compared.completed,
        "drift": compared.now.drift,
        "checks": [
            {
                "id": str(each.id),
                "kind": each.kind,
                "recorded": each.then,
                "replay": each.now,
                "likeness": each.likeness,
            }
            for each in compared.checks
        ],
        "recorded": row_json(compared.then),
        "replay": row_json(compared.now),
    }


def _what(drift: DriftRow) -> str:
    times = f" ({drift.times} times)" if drift.times > 1 else ""
    where = f" at {one_line(drift.where)}" if drift.where else ""
    return f"{one_line(drift.target)}{where}{times}"


def _check(beside: Beside) -> tuple[Cell, ...]:
    why = beside.summary_now if beside.likeness is Likeness.DIFFERS else ""
    return (_LIKENESS[beside.likeness], str(beside.id), beside.kind, _result(beside.then), _result(beside.now), why)


def _result(result: CheckResult | None) -> str:
    return "-" if result is None else f"{RESULTS[result].shape} {result}"
