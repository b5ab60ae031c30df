from __future__ import annotations

from typing import Any

import pytest

from tickover.core.definition import Routine
from tickover.core.event import (
    AgentStarted,
    AttemptStarted,
    ConnectionDenied,
    Fact,
    FindingReported,
    PhaseStarted,
    ReceiptBegun,
    ReceiptEnded,
    RunCreated,
    encode,
)
from tickover.core.outside import findings_outside, unknown_writes
from tickover.core.receipt import Begun, Ended
from tickover.core.row import RunRow
from tickover.core.run import fold
from tickover.core.status import Phase

STARTED: tuple[Fact, ...] = (
    RunCreated(routine="r"),
    AttemptStarted(attempt=1),
    PhaseStarted(phase=Phase.AGENT),
    AgentStarted(),
)


def row(*facts: Fact) -> RunRow:
    told = [
        encode(each, run="r-1", seq=seq, at=1.0, attempt=1, fence=1) for seq, each in enumerate((*STARTED, *facts), 1)
    ]
    return fold(told)


def begun(call: int, rule: str = "may[0]", **more: Any) -> ReceiptBegun:
    keys: dict[str, Any] = {"at": 1.0, "attempt": 1, "method": "POST", "scheme": "https", "host": "chat.test"}
    record = Begun(call=call, **{**keys, "port": 443, "path": "/post", "rule": rule, "writes": True, **more})
    return ReceiptBegun(receipt=2 * call - 1, record=record, mac="m")


def ended(call: int, delivery: str = "answered", status: int | None = 200) -> ReceiptEnded:
    return ReceiptEnded(receipt=2 * call, record=Ended(call=call, at=2.0, delivery=delivery, status=status), mac="m")


def denied(host: str = "evil.test", code: str = "not_listed", **more: Any) -> ConnectionDenied:
    return ConnectionDenied(host=host, port=443, code=code, says=f"{host} is not on the list", **more)


def said(of: RunRow, **keys: Any) -> dict[str, str]:
    routine = Routine.model_validate({"name": "r", "agent": "steps", **keys})
    return {each.code.value: each.message for each in findings_outside(of, routine)}


def test_a_quiet_run_has_no_findings() -> None:
    assert findings_outside(row()) == []
    assert said(row(begun(1, writes=False, method="GET", rule="read"), ended(1))) == {}


def test_denied_connections_are_one_finding_and_denied_requests_another() -> None:
    found = findings_outside(
        row(denied(times=3), denied(times=2), denied("b.test"), denied(method="POST", path="/x", code="max"))
    )
    [finding, request] = found
    assert (finding.code, finding.required) == ("host_denied", False)
    assert finding.message.startswith(
        "6 were denied: evil.test:443 (not_listed: evil.test is not on the list); b.test:443"
    )
    assert finding.detail == {"hosts": ["evil.test:443", "b.test:443"], "denied": 6}
    assert (request.code, request.required) == ("request_denied", False)
    assert request.message.startswith("1 was denied: POST evil.test:443/x (max:")
    assert request.detail == {"hosts": ["evil.test:443"], "denied": 1}


def test_calls_that_had_no_budget_are_a_finding_of_their_own() -> None:
    of = row(denied(code="budget", times=3), denied(code="price_unknown"), denied("b.test"))
    found = said(of)
    assert set(found) == {"budget_stop", "host_denied"}
    assert found["budget_stop"].startswith("4 calls to a model did not pass: evil.test is not")
    assert "evil.test" not in found["host_denied"]


def test_hostile_words_of_a_denial_stay_on_one_line_and_short() -> None:
    [finding] = findings_outside(row(*(denied(f"h{n}.test\n\x1b[2J\u202e", path="/" + "x" * 9000) for n in range(200))))
    assert len(finding.message) < 1000
    assert finding.message.isprintable()
    assert finding.message.startswith("at least 50 were denied: ")


def test_what_the_verifier_was_denied_is_not_the_agents() -> None:
    assert findings_outside(row(denied(identity="verifier"))) == []
    assert said(row(denied(identity="setup"))).keys() == {"host_denied"}


@pytest.mark.parametrize(
    ("facts", "unknown"),
    [
        ([begun(1)], 1),
        ([begun(1), ended(1, "cut", None)], 1),
        ([begun(1), ended(1, "cut", 200)], 0),
        ([begun(1), ended(1, "unsent", None)], 0),
        ([begun(1), ended(1)], 0),
        ([begun(1, writes=False)], 0),
        ([begun(1, identity="setup")], 0),
        ([begun(1), begun(2), ended(1, "cut", None)], 2),
    ],
)
def test_a_write_without_an_answer_is_unknown(facts: list[Fact], unknown: int) -> None:
    of = row(*facts)
    assert unknown_writes(of) == unknown
    assert ("unknown_write" in said(of)) is bool(unknown)


MAY = [{"request": {"to": "POST https://chat.test/post"}}, {"request": {"to": "POST https://chat.test/other"}}]
PROOF = [{"receipt": {"to": "POST https://chat.test/post", "request": {}}}]


def test_a_write_that_no_check_would_notice_is_a_finding_once_it_left() -> None:
    assert said(row(), may=MAY) == {}
    assert said(row(begun(1), ended(1)), may=MAY, expect=PROOF) == {}
    assert said(row(begun(1, "may[1]"), ended(1, "unsent", None)), may=MAY, expect=PROOF) == {}
    assert said(row(begun(1, "may[1]"), ended(1)), may=MAY, expect=PROOF) == {
        "unproved_write": "no check would notice what it did: any number of POST requests to https://chat.test/other"
    }


def test_what_was_found_in_this_attempt_is_not_found_again() -> None:
    facts = (denied(), begun(1))
    found = findings_outside(row(*facts))
    assert [each.code.value for each in found] == ["host_denied", "unknown_write"]
    assert findings_outside(row(*facts, *map(FindingReported.of, found))) == []
