from __future__ import annotations

from typing import Any

import pytest

from tickover.core.github import NAMES, fork_is_unknown, names

PULL = {
    "action": "labeled",
    "number": 7,
    "label": {"name": "ready"},
    "pull_request": {
        "number": 7,
        "title": "T",
        "body": None,
        "draft": False,
        "merged": False,
        "state": "open",
        "user": {"login": "ada"},
        "author_association": "MEMBER",
        "head": {"ref": "feature", "repo": {"id": 2}},
        "base": {"ref": "main", "repo": {"id": 1}},
        "labels": [{"name": "ready"}, {"name": "api"}],
        "assignees": [{"login": "bob"}],
        "requested_reviewers": [{"login": "eve"}],
        "milestone": {"title": "1.0"},
    },
    "repository": {"id": 1, "full_name": "acme/app"},
    "sender": {"login": "carl"},
}


def test_a_pull_request() -> None:
    assert names("pull_request.labeled", PULL) == {
        "action": "labeled", "assignees": ["bob"], "author": "ada", "author_association": "MEMBER", "body": None,
        "is_draft": False, "label": "ready", "labels": ["ready", "api"], "milestone": "1.0", "number": 7,
        "repository": "acme/app", "requested_reviewers": ["eve"], "sender": "carl", "state": "open", "title": "T",
        "base_branch": "main", "head_branch": "feature", "from_fork": True, "is_merged": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "document", "name", "value"),
    [
        ("issues.opened", {"issue": {"user": {"login": "a"}}}, "author", "a"),
        ("push", {"ref": "refs/heads/main"}, "head_branch", "main"),
        ("push", {"ref": "refs/heads/main"}, "ref", "refs/heads/main"),
        ("push", {"ref": "refs/tags/v1"}, "tag", "v1"),
        ("push", {"ref": "refs/tags/v1"}, "head_branch", None),
        ("push", {"commits": [{"added": ["b"], "modified": ["a", 1]}, {"removed": ["a"]}, 3]}, "changed_paths", ["a", "b"]),
        ("create", {"ref": "v1", "ref_type": "tag"}, "tag", "v1"),
        ("release.published", {"release": {"tag_name": "v2", "name": "Two", "prerelease": True}}, "tag", "v2"),
        ("release.published", {"release": {"tag_name": "v2", "name": "Two", "prerelease": True}}, "title", "Two"),
        ("release.published", {"release": {"prerelease": True}}, "is_prerelease", True),
        ("workflow_run.completed", {"workflow_run": {"conclusion": "failure"}}, "conclusion", "failure"),
        ("workflow_run.completed", {"workflow": {"name": "CI"}}, "workflow", "CI"),
        ("check_run.completed", {"check_run": {"check_suite": {"head_branch": "x"}}}, "head_branch", "x"),
        ("merge_group.checks_requested", {"merge_group": {"base_ref": "refs/heads/main"}}, "base_branch", "main"),
        ("pull_request_review.submitted", {"pull_request": {"merged_at": "2031"}}, "is_merged", True),
        ("pull_request_review.submitted", {"pull_request": {"merged_at": None}}, "is_merged", False),
        ("pull_request_review.submitted", {"review": {"state": "approved"}}, "review_state", "approved"),
        ("issue_comment.created", {"comment": {"body": "hi"}}, "comment", "hi"),
    ],
)  # fmt: skip
def test_other_events(event: str, document: Any, name: str, value: Any) -> None:
    assert names(event, document).get(name) == value


@pytest.mark.parametrize(
    ("head", "base", "fork"),
    [
        ({"id": 1, "fork": True}, {"id": 1}, False),
        ({"id": 2, "fork": False}, {"id": 1}, True),
        (None, {"id": 1}, True),
        ({}, {"id": 1}, True),
        ("x", {"id": 1}, True),
    ],
)
def test_a_fork_is_another_repository_and_one_that_is_gone(head: Any, base: Any, fork: bool) -> None:
    assert (
        names("pull_request.opened", {"pull_request": {"head": {"repo": head}, "base": {"repo": base}}})["from_fork"]
        is fork
    )
    run = {"workflow_run": {"head_repository": head}, "repository": base}
    assert names("workflow_run.completed", run)["from_fork"] is fork


def test_a_comment_on_a_pull_request_does_not_say_whose_branch() -> None:
    assert fork_is_unknown({"issue": {"pull_request": {"url": "x"}}})
    assert not fork_is_unknown({"issue": {"pull_request": {"url": "x"}}, "pull_request": {}})
    assert not fork_is_unknown({"issue": {}})


@pytest.mark.parametrize("hostile", [None, [], "x", 5, {"pull_request": 5}, {"pull_request": {"head": [], "base": None}}, {"commits": {}},
                                     {"sender": {"login": {"login": 1}}}, {"ref": {}}])  # fmt: skip
def test_hostile_documents(hostile: Any) -> None:
    for event in ("push", "pull_request.opened", "", "create"):
        assert set(names(event, hostile)) <= set(NAMES)
    assert fork_is_unknown(hostile) is False


@pytest.mark.parametrize(
    ("event", "document", "expected"),
    [
        ("sub_issues.sub_issue_added", {"sub_issue": {"title": "S", "number": 3, "user": {"login": "ada"}}}, {"title": "S", "number": 3, "author": "ada"}),
        ("commit_comment.created", {"comment": {"body": "x", "user": {"login": "ada"}}}, {"comment": "x", "author": "ada"}),
        ("issue_comment.created", {"issue": {"user": {"login": "ada"}}, "comment": {"user": {"login": "eve"}}}, {"author": "ada"}),
        ("create", {"ref": "fix/it", "ref_type": "branch"}, {"ref": "fix/it", "head_branch": "fix/it"}),
        ("create", {"ref": "v1", "ref_type": "tag"}, {"ref": "v1", "tag": "v1"}),
        ("check_run.completed", {"check_run": {"conclusion": "failure", "check_suite": {"head_branch": None}}}, {"conclusion": "failure", "from_fork": True}),
        ("check_suite.completed", {"check_suite": {"head_branch": None, "conclusion": "success"}}, {"conclusion": "success", "from_fork": True}),
        ("check_suite.completed", {"check_suite": {"head_branch": "main", "conclusion": "success"}}, {"conclusion": "success", "head_branch": "main"}),
    ],
)  # fmt: skip
def test_what_other_events_say(event: str, document: dict[str, Any], expected: dict[str, Any]) -> None:
    found = names(event, document)
    assert {name: found.get(name) for name in expected} == expected
    assert "from_fork" in found or "from_fork" not in expected
    assert not (event == "check_suite.completed" and "head_branch" in expected and "from_fork" in found)
