"""What a run's network comes to as findings: derived from its row, so that whoever ends the run finds the same."""

from __future__ import annotations

from collections.abc import Iterator

from tickover.core.contract import is_proved, spoken_names
from tickover.core.definition import Routine
from tickover.core.finding import Finding, FindingCode, found
from tickover.core.metering import BUDGET_CODES
from tickover.core.receipt import Identity
from tickover.core.row import NAMED_MOST, DenialRow, RunRow
from tickover.core.text import one_line

_NAMED = 3


def findings_outside(row: RunRow, routine: Routine | None = None) -> list[Finding]:
    """List what the last attempt's traffic comes to, save what was found already.

    Without the routine (its process is gone) nobody can say which permissions a check would prove.
    """
    made = {each.code for each in row.findings_of_attempt()}
    unproved = _unproved(row, routine) if routine is not None else ()
    return [each for each in (*_denied(row), *_budget(row), *_unknown(row), *unproved) if each.code not in made]


def unknown_writes(row: RunRow) -> int:
    """Count the agent's writes that left and were never answered, over all attempts."""
    return len(_unanswered(row))


def _denied(row: RunRow) -> Iterator[Finding]:
    of_attempt = [each for each in row.network.denials if each.attempt == row.attempt]
    seen = [each for each in of_attempt if each.identity is not Identity.VERIFIER and each.code not in BUDGET_CODES]
    least = "at least " if len(row.network.denials) >= NAMED_MOST else ""
    connections = [each for each in seen if not each.method]
    requests = [each for each in seen if each.method]  # read one by one, so the host itself was allowed
    for code, denied in ((FindingCode.HOST_DENIED, connections), (FindingCode.REQUEST_DENIED, requests)):
        if denied:
            yield _denial(code, denied, least)


def _denial(code: FindingCode, seen: list[DenialRow], least: str) -> Finding:
    times = sum(each.times for each in seen)
    what = "; ".join(_said(each) for each in seen[:_NAMED])
    more = f"; and {len(seen) - _NAMED} more" if len(seen) > _NAMED else ""
    hosts = [f"{each.host}:{each.port}" for each in seen]
    text = f"{least}{times} {'was' if times == 1 else 'were'} denied: {what}{more}"
    return found(code, text, detail={"hosts": [*dict.fromkeys(hosts)], "denied": times})


def _budget(row: RunRow) -> Iterator[Finding]:
    seen = [each for each in row.network.denials if each.attempt == row.attempt and each.code in BUDGET_CODES]
    if seen:
        times = sum(each.times for each in seen)
        text = f"{times} {'call' if times == 1 else 'calls'} to a model did not pass: {one_line(seen[0].says, 300)}"
        yield found(FindingCode.BUDGET_STOP, text, detail={"calls": times, "code": seen[0].code})


def _said(denial: DenialRow) -> str:
    request = f"{denial.method} " if denial.method else ""
    return one_line(f"{request}{denial.host}:{denial.port}{denial.path} ({denial.code}: {denial.says})", 200)


def _unknown(row: RunRow) -> Iterator[Finding]:
    targets = _unanswered(row)
    if targets:
        text = f"left and never answered, so what it did is unknown: {'; '.join(targets[:_NAMED])}"
        yield found(FindingCode.UNKNOWN_WRITE, text, detail={"writes": len(targets)})


def _unanswered(row: RunRow) -> list[str]:
    calls = (*row.network.open_calls, *row.network.unknown)
    return [one_line(call.target, 120) for call in calls if call.writes]


def _unproved(row: RunRow, routine: Routine) -> Iterator[Finding]:
    names = spoken_names(routine)
    for index, permission in enumerate(routine.may):
        if row.network.rules.get(f"may[{index}]") and not is_proved(permission, routine.expect):
            text = f"no check would notice what it did: {permission.sentence(names)}"
            yield found(FindingCode.UNPROVED_WRITE, text, detail={"may": index})
