"""Marks are green for what was proved and for nothing else; the commit is the one that the event is about."""

from __future__ import annotations

from typing import Any

import pytest

from tickover.core.github_desk import (
    PENDING,
    GitHubSettings,
    Head,
    check_body,
    event_of,
    head_of,
    mark_of,
    read_sent,
    status_body,
)
from tickover.core.row import RunRow
from tickover.core.status import Execution, Outcome

SHA = "0a" * 20
REPO = {"repository": {"full_name": "acme/app"}}


def row(execution: Execution, outcome: Outcome | None, reason: str = "") -> RunRow:
    return RunRow(
        id="r1", routine="r", title="", folder="", trigger="github", inputs={}, event_digest=None, isolation="sandbox",
        created=0, last_seq=1, queued=True, key="e7:r/github", execution=execution, outcome=outcome, reason=reason,
        finished=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("execution", list(Execution))
@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_only_what_was_proved_is_green(execution: Execution, outcome: Outcome | None) -> None:
    mark = mark_of(row(execution, outcome))
    proved = outcome in {Outcome.VERIFIED, Outcome.NOOP}
    assert ((mark.state == "success"), (mark.conclusion == "success")) == (proved, proved)
    assert (mark.state == "failure") is (outcome is Outcome.FAILED)
    assert mark.conclusion not in {None, "neutral", "skipped"}  # GitHub takes these two for good enough
    assert 0 < len(mark.description) <= 140


def test_a_reason_is_one_line_of_bounded_length() -> None:
    mark = mark_of(row(Execution.COMPLETED, Outcome.FAILED, "a\nb\x1b[31m" + "c" * 500))
    assert len(mark.description) == 140
    assert mark.description.isprintable()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({**REPO, "pull_request": {"head": {"sha": SHA}}, "after": "0b" * 20}, Head("acme/app", SHA)),
        ({**REPO, "ref": "refs/heads/main", "after": SHA}, Head("acme/app", SHA)),
        ({**REPO, "after": "0" * 40}, None),
        ({**REPO, "check_run": {"head_sha": SHA}}, Head("acme/app", SHA)),
        ({**REPO, "issue": {"number": 1}}, None),
        ({**REPO, "after": "../../admin"}, None),
        ({"repository": {"full_name": "acme/app/../x"}, "after": SHA}, None),
        ({"after": SHA}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_commit_of_an_event(document: Any, expected: Head | None) -> None:
    assert head_of(document) == expected


def test_a_run_names_its_event_only_if_one_started_it() -> None:
    assert event_of(row(Execution.COMPLETED, None)) == "e7"
    for key in (None, "", "slot:1", "e7", "x:e7:r"):
        assert event_of(row(Execution.COMPLETED, None).model_copy(update={"key": key})) is None


def test_bodies_are_as_documented() -> None:
    assert status_body(PENDING, "tickover/r", "https://t.example.com/1") == {
        "state": "pending", "context": "tickover/r", "description": "the run has been queued",
        "target_url": "https://t.example.com/1",
    }  # fmt: skip
    assert "target_url" not in status_body(PENDING, "c", "tickover runs show 1")
    assert check_body(PENDING, "c", "", "r1", SHA)["status"] == "in_progress"
    done = check_body(mark_of(row(Execution.COMPLETED, Outcome.UNVERIFIED)), "c", "", "r1", SHA)
    assert (done["status"], done["conclusion"], done["external_id"]) == ("completed", "action_required", "r1")


@pytest.mark.parametrize("wrong", [{"marks": "status"}, {"backfill": "10m"}, {"backfill": "10s", "credential": "a"}, {"marks": "all", "credential": "a"}])  # fmt: skip
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"credential|60|status"):
        GitHubSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "entry", [None, {}, [], {"id": "1", "guid": "g"}, {"id": True, "guid": "g"}, {"id": 1, "guid": ""}]
)
def test_what_is_no_delivery_is_none(entry: Any) -> None:
    assert read_sent(entry, 1.0) is None
    assert read_sent({"id": 1, "guid": "g", "event": "push"}, None) is None
