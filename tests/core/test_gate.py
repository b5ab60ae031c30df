"""The stop gate's rules: which checks are asked, what is heard, what counts as repaired."""

from __future__ import annotations

import pytest

from tickover.core.errors import DefinitionErrors
from tickover.core.evidence import CheckFact, CheckId, CheckList, CheckResult, EvidenceClass
from tickover.core.gate import DEAF, bears, gated, repaired, words
from tickover.core.gate_said import GateSaid
from tickover.core.instance import Instance, egress_of
from tickover.core.row import AttemptRow, GateRow, RunRow
from tickover.core.status import ClaimStatus
from tickover.routines.loader import parse_routine

FRONT = """\
---
name: work
agent: {agent}
{more}
expect:
  - file: {{path: a.txt, stop_gate: {{says: Write a.txt.}}}}
  - file: {{path: b.txt}}
  - command: {{run: "true", stop_gate: {{says: Write a.txt.}}}}
noop:
  - command: {{run: "true", stop_gate: {{says: There is work.}}}}
---
{body}
"""
LOOP = "model: {name: m, url: 'https://models.test/v1', wire: openai}"
EXPECT = CheckId(CheckList.EXPECT, 0)
OTHER = CheckId(CheckList.EXPECT, 2)
NOOP = CheckId(CheckList.NOOP, 0)
ROUTINE = parse_routine(FRONT.format(agent="loop", more=LOOP, body="Work.").encode()).routine


def said(id_: CheckId, result: CheckResult) -> GateSaid:
    return GateSaid(list=id_.list, index=id_.index, kind="file", result=result)


def test_the_gated_checks_are_those_that_say_so_and_they_or_own_tools_open_our_own_name() -> None:
    assert list(gated(ROUTINE)) == [EXPECT, OTHER, NOOP]
    assert egress_of(ROUTINE, Instance(), {}).policy.internal
    plain = ROUTINE.model_copy(update={"expect": ROUTINE.expect[1:2], "noop": ()})
    assert egress_of(plain, Instance(), {}).own_tools == ("report", "artifact")
    assert egress_of(plain, Instance(), {}).policy.internal
    toolless = plain.model_copy(update={"agent": "command", "model": None})
    assert not egress_of(toolless, Instance(), {}).policy.internal


@pytest.mark.parametrize("claim", [None, *ClaimStatus])
def test_which_gates_bear_on_what_the_agent_claims(claim: ClaimStatus | None) -> None:
    asked = [str(id_) for id_ in (EXPECT, NOOP) if bears(id_, claim)]
    wanted = {ClaimStatus.NOOP: ["noop[0]"], ClaimStatus.FAILED: []}
    assert asked == wanted.get(claim, ["expect[0]"]) if claim is not None else asked == ["expect[0]"]


def test_it_hears_each_sentence_once_and_only_of_what_fails() -> None:
    checks = gated(ROUTINE)
    failing = [said(EXPECT, CheckResult.FAIL), said(OTHER, CheckResult.FAIL)]
    assert words(checks, failing) == ("Write a.txt.",)
    assert words(checks, [said(EXPECT, CheckResult.PASS), said(OTHER, CheckResult.ERROR)]) == ()


def row(gates: list[GateRow], last: CheckResult) -> RunRow:
    fact = CheckFact(CheckList.EXPECT, 0, "file", EvidenceClass.CLAIM, guard=False, result=last)
    attempts = tuple(AttemptRow(number=number, started=0.0) for number in (1, 2))
    return RunRow(
        id="r", routine="work", title="", folder="", trigger="manual", inputs={}, event_digest=None,
        isolation="sandbox", created=0.0, last_seq=1, gates=tuple(gates), evidence=(fact,), attempts=attempts,
    )  # fmt: skip


def gate(attempt: int, result: CheckResult) -> GateRow:
    return GateRow(attempt=attempt, number=1, checks=(said(EXPECT, result),))


@pytest.mark.parametrize(
    ("gates", "last", "found"),
    [
        ([gate(2, CheckResult.FAIL), gate(2, CheckResult.PASS)], CheckResult.PASS, 1),
        ([gate(2, CheckResult.FAIL)], CheckResult.FAIL, 0),
        ([gate(2, CheckResult.ERROR)], CheckResult.PASS, 0),
        ([gate(1, CheckResult.FAIL)], CheckResult.PASS, 0),
        ([gate(2, CheckResult.PASS)], CheckResult.PASS, 0),
    ],
)
def test_repaired_is_what_failed_at_a_gate_of_this_attempt_and_passed_in_the_end(
    gates: list[GateRow], last: CheckResult, found: int
) -> None:
    assert [str(each.code) for each in repaired(row(gates, last))] == ["repaired"] * found


@pytest.mark.parametrize("agent", sorted(DEAF))
def test_an_agent_that_hears_nothing_has_no_gate(agent: str) -> None:
    more = {"command": "argv: ['true']", "remote": "remote: {to: none}"}.get(agent, "description: x")
    body = "```bash\ntrue\n```" if agent == "steps" else ""
    with pytest.raises(DefinitionErrors) as caught:
        parse_routine(FRONT.format(agent=agent, more=more, body=body).encode())
    assert {each.code for each in caught.value.problems} == {"definition.stop_gate"}
