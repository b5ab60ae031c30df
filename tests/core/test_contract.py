from __future__ import annotations

from typing import Any

import pytest

from tickover.core.contract import can_change, is_proved, weaknesses
from tickover.core.definition import Routine

FILE = {"file": {"path": "a"}}
COMMAND = {"command": {"run": "x"}}
HTTP = {"http": {"url": "https://a.test"}}
PUSH = {"push": {"repo": "app", "refs": ["tickover/*"]}}
POST = {"request": {"to": "POST https://a.test/v1/*/notes", "max": 1}}
SLACK = {"slack": {"tool": "post_message", "channels": ["C0ENG"], "max": 1}}
RECEIPT = {"receipt": {"to": "POST https://a.test/v1/7/notes", "request": {"json": {"a": 1}}}}
NOOP = [{"git": {"repo": "app", "range": "a..b", "commits": 0}}]


def routine(**keys: Any) -> Routine:
    repositories = {"app": {"url": "https://git.test/acme/app.git"}, "here": {"url": "file:///srv/here"}}
    return Routine.model_validate({"name": "r", "agent": "steps", "repositories": repositories, "noop": NOOP, **keys})


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "it has no `expect`"),
        ({"expect": [FILE]}, "its checks read only what the agent says or that a file exists"),
        (
            {"expect": [FILE, {"receipt": {"to": "POST https://a.test/"}}]},
            "its receipts ask only that something was sent",
        ),
        ({"expect": [{"http": {"url": "https://a.test", "guard": True}}]}, "all of its checks are guards"),
        ({"expect": [COMMAND], "may": [POST]}, "it may write outside, and its checks read only what the agent left"),
        ({"expect": [FILE, COMMAND]}, None),
        ({"expect": [HTTP], "may": [POST]}, None),
        ({"expect": [RECEIPT], "may": [POST]}, None),
    ],
)
def test_a_contract_that_can_never_verify_says_why(keys: dict[str, Any], why: str | None) -> None:
    found = weaknesses(routine(**keys))
    assert [each.code for each in found if each.code != "contract.receipt_too_weak"] == (
        ["contract.too_weak"] if why else []
    )
    if why:
        assert found[0].message.startswith(f"this routine can only ever be unverified, because {why}")


def test_a_noop_that_nothing_proves() -> None:
    assert [each.code for each in weaknesses(routine(expect=[HTTP], noop=[]))] == ["contract.no_noop"]
    assert [each.code for each in weaknesses(routine(expect=[HTTP], noop=[FILE]))] == ["contract.noop_too_weak"]


def test_a_receipt_that_any_request_satisfies() -> None:
    loose = {"receipt": {"to": "POST https://a.test/x"}}
    reading = {"receipt": {"to": "GET https://a.test/x"}}
    assert [each.code for each in weaknesses(routine(expect=[loose, reading]))] == ["contract.receipt_too_weak"]


@pytest.mark.parametrize(
    ("permission", "sentence"),
    [
        (SLACK, "one message in C0ENG"),
        ({"slack": {"tool": "post_message", "channels": ["A", "B"]}}, "any number of messages in A, B"),
        ({"slack": {"tool": "post_message", "max": 3}}, "up to three messages in any channel"),
        ({"jira": {"tool": "comment", "project": "X", "max": 12}}, "up to 12 calls of jira's comment (project X)"),
        (PUSH, "branches tickover/* of acme/app"),
        ({"push": {"repo": "here", "refs": ["*"], "force": True}}, "branches * of here (also overwritten)"),
        (POST, "one POST request to https://a.test/v1/*/notes"),
        ({"request": {"to": "DELETE https://a.test/x"}}, "any number of DELETE requests to https://a.test/x"),
    ],
)
def test_a_permission_says_itself(permission: dict[str, Any], sentence: str) -> None:
    assert can_change(routine(may=[permission]))[0] == f"can change: {sentence}; nothing else"


def test_nothing_outside() -> None:
    assert can_change(routine()) == ["can change: nothing outside"]


@pytest.mark.parametrize(
    ("permission", "check", "proved"),
    [
        (PUSH, {"git": {"repo": "app", "ref": "m"}}, True),
        (PUSH, {"git": {"repo": "here", "ref": "m"}}, False),
        (PUSH, {"git": {"repo": "app", "ref": "m", "in": "subject"}}, False),
        (PUSH, {"git": {"repo": "app", "ref": "m", "guard": True}}, False),
        (POST, RECEIPT, True),
        (POST, {"receipt": {"to": "POST https://a.test/v1/7/other"}}, False),
        (POST, {"receipt": {"to": "PUT https://a.test/v1/7/notes"}}, False),
        (POST, HTTP, False),
        (SLACK, {"slack": {"channel": "C0ENG"}}, True),
        (SLACK, HTTP, False),
        ({"db": {"tool": "insert"}}, {"sql": {"connector": "db", "query": "select 1"}}, True),
        ({"db": {"tool": "insert"}}, {"http": {"url": "https://db.test/1"}}, True),
    ],
)
def test_a_write_that_no_check_would_notice(permission: dict[str, Any], check: dict[str, Any], proved: bool) -> None:
    lines = can_change(routine(may=[permission], expect=[check]))
    assert [line.startswith("unproved write: ") for line in lines] == ([False] if proved else [False, True])


@pytest.mark.parametrize(
    ("may", "check", "proved"),
    [
        ({"slack": {"tool": "post_message", "channels": ["C0"]}}, {"slack": {"channel": "C0"}}, True),
        ({"slack": {"tool": "post_message", "channels": ["C0"]}}, {"slack": {"channel": "C1"}}, False),
        ({"slack": {"tool": "post_message"}}, {"slack": {"channel": "C1"}}, True),
        ({"slack": {"tool": "post_message"}}, {"receipt": {"to": "POST https://slack.com/api/chat.postMessage"}}, True),
        ({"slack": {"tool": "post_message"}}, {"receipt": {"to": "POST https://slack.com/api/chat.update"}}, False),
        ({"github": {"tool": "create_review", "repos": "a/b"}}, {"github": {"repo": "a/b", "pull": 1}}, False),
        ({"github": {"tool": "create_review", "repos": "a/b"}}, {"github": {"repo": "a/b", "pull": 1, "review_by": "x"}}, True),
        ({"github": {"tool": "create_review", "repos": "a/b"}}, {"slack": {"channel": "C1"}}, False),
        ({"github": {"tool": "create_review", "repos": "a/b"}}, {"receipt": {"to": "POST https://api.github.com/repos/a/b/pulls/7/reviews"}}, True),
        ({"github": {"tool": "create_pull", "repos": "a/b"}}, {"github": {"repo": "a/b", "pull": "fix"}}, True),
    ],
)  # fmt: skip
def test_which_check_would_see_what_a_connector_does(
    may: dict[str, Any], check: dict[str, Any], *, proved: bool
) -> None:
    made = Routine.model_validate({"name": "r", "agent": "steps", "may": [may], "expect": [check]})
    assert is_proved(made.may[0], made.expect) is proved
