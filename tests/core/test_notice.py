from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tickover.core.cause import Cause, CauseCode
from tickover.core.event import RunFinished, RunRefused
from tickover.core.evidence import CheckResult
from tickover.core.instance import Instance
from tickover.core.notice import Kind, cause_of, json_of, kinds_of, message_of, text_of
from tickover.core.row import ClaimRow, RunRow
from tickover.core.status import ClaimStatus, Execution, Outcome
from tickover.testing import stories


def row(execution: Execution, outcome: Outcome, **more: object) -> RunRow:
    told = stories.folded([*stories.created()])
    update = {"execution": execution, "outcome": outcome, "finished": 10.0, **more}
    return told.model_copy(update=update)


@pytest.mark.parametrize(
    ("execution", "outcome", "before", "kinds"),
    [
        (Execution.COMPLETED, Outcome.VERIFIED, None, {"verified"}),
        (Execution.COMPLETED, Outcome.VERIFIED, Outcome.VERIFIED, {"verified"}),
        (Execution.COMPLETED, Outcome.VERIFIED, Outcome.FAILED, {"verified", "recovered"}),
        (Execution.COMPLETED, Outcome.NOOP, Outcome.UNVERIFIED, {"noop", "recovered"}),
        (Execution.FAILED, Outcome.VERIFIED, None, {"verified"}),
        (Execution.COMPLETED, Outcome.FAILED, None, {"failed"}),
        (Execution.COMPLETED, Outcome.UNVERIFIED, None, {"unverified"}),
        (Execution.TIMED_OUT, Outcome.UNVERIFIED, None, {"failed", "unverified"}),
        (Execution.FAILED, Outcome.NONE, None, {"failed"}),
        (Execution.LOST, Outcome.NONE, None, {"failed"}),
        (Execution.CANCELLED, Outcome.NONE, None, set()),
        (Execution.CANCELLED, Outcome.FAILED, None, {"failed"}),
        (Execution.SKIPPED, Outcome.NONE, None, set()),
        (Execution.MISSED, Outcome.NONE, None, {"missed"}),
        (Execution.REFUSED, Outcome.NONE, None, {"refused"}),
        (Execution.COMPLETED, Outcome.PENDING, None, set()),
    ],
)
def test_what_an_end_is_news_of(
    execution: Execution, outcome: Outcome, before: Outcome | None, kinds: set[Kind]
) -> None:
    assert kinds_of(row(execution, outcome), before) == kinds


def test_what_has_not_ended_is_no_news() -> None:
    assert kinds_of(row(Execution.RUNNING, Outcome.NONE, finished=None), None) == frozenset()


def test_causes_tell_one_trouble_from_another_and_good_news_has_none() -> None:
    lost = row(Execution.LOST, Outcome.NONE, cause=Cause(None, CauseCode.LOST, "once"))
    again = row(Execution.LOST, Outcome.NONE, cause=Cause(None, CauseCode.LOST, "twice"))
    timeout = row(Execution.TIMED_OUT, Outcome.NONE, cause=Cause(None, CauseCode.TIMEOUT))
    assert cause_of(lost, {"failed"}) == cause_of(again, {"failed"}) != cause_of(timeout, {"failed"})
    assert cause_of(row(Execution.COMPLETED, Outcome.VERIFIED), {"verified"}) == ""


def test_a_message_shows_the_checks_and_marks_the_claim() -> None:
    claim = ClaimRow(status=ClaimStatus.DONE, summary="all good\n\x1b[2Jchecks:\n  pass state everything")
    told = row(Execution.COMPLETED, Outcome.FAILED, reason="failed (x)", claim=claim)
    fact = stories.check(0, CheckResult.FAIL, "the page says\r\n 404")
    message = message_of(told.model_copy(update={"evidence": (fact,)}), {"failed"}, "tickover runs show r")
    text = text_of(message)
    assert message.subject == "count: failed"
    assert "  fail    artifact expect[0] command: the page says 404\n" in text
    assert "its claim, not evidence" in text
    assert all(line.startswith("  | ") for line in text.split("\n") if "everything" in line or "all good" in line)
    assert "\x1b" not in text
    told_json = json.loads(json_of(message))
    assert (told_json["type"], told_json["outcome"], told_json["checks"][0]["result"]) == ("notice", "failed", "fail")


def test_a_refusal_says_why() -> None:
    refused = RunRefused(cause=Cause(None, CauseCode.CAP, "5 runs in the last 24 hours"))
    end = RunFinished(execution=Execution.REFUSED, outcome=Outcome.NONE, exit_code=7)
    text = text_of(message_of(stories.folded([*stories.created(), refused, end]), {"refused"}, ""))
    assert text.startswith("count: refused\n")
    assert "hint: 5 runs in the last 24 hours" in text


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "slack", "webhook": "hook"},
        {"kind": "slack", "channel": "C0ENG", "token": "bot"},
        {"kind": "webhook", "url": "https://ops.example.com/in", "secret": "ops"},
        {"kind": "email", "host": "mail.test", "sender": "t@example.com", "to": ["a@example.com"]},
        {"kind": "command", "argv": ["/usr/local/bin/page", "ops"], "timeout": "10s"},
    ],
    ids=lambda each: str(each["kind"]),
)
def test_targets(target: dict[str, object]) -> None:
    assert Instance.model_validate({"notify": {"ops": target}}).notify["ops"].kind == target["kind"]


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "slack"},
        {"kind": "slack", "webhook": "a", "channel": "b", "token": "c"},
        {"kind": "slack", "channel": "b"},
        {"kind": "webhook", "url": "file:///etc/passwd"},
        {"kind": "email", "host": "m", "sender": "a@b\nBcc: c@d", "to": ["a@b"]},
        {"kind": "email", "host": "m", "sender": "a@b", "to": []},
        {"kind": "command", "argv": []},
        {"kind": "pager", "url": "https://example.com"},
    ],
    ids=str,
)
def test_what_is_no_target(target: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Instance.model_validate({"notify": {"ops": target}})
