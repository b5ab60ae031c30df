"""What a GitHub event says, under the names that filters use: the same ones whatever kind of event it is.

Any other path into the event works besides. A name that the event says nothing about is not there. Source of the
fields: docs.github.com, "Webhook events and payloads".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tickover.core.lookup import MISSING, JsonPath

_SUBJECTS: Final = ("pull_request", "issue", "discussion", "release", "sub_issue")
_BRANCH: Final = "refs/heads/"
_TAG: Final = "refs/tags/"


def _paths(*texts: str) -> tuple[JsonPath, ...]:
    return tuple(JsonPath.parse(text) for text in texts)


def _of_subject(field: str, *more: str) -> tuple[JsonPath, ...]:
    return _paths(*(f"{subject}.{field}" for subject in _SUBJECTS), *more)


_PLAIN: Final[Mapping[str, tuple[JsonPath, ...]]] = {
    "action": _paths("action"),
    "assignees": _of_subject("assignees[].login"),
    "author": _of_subject(
        "user.login",
        "release.author.login",
        "workflow_run.actor.login",
        "head_commit.author.username",
        "comment.user.login",
    ),
    "author_association": _of_subject("author_association", "comment.author_association"),
    "body": _of_subject("body"),
    "comment": _paths("comment.body", "review.body"),
    "commit_authors": _paths("commits[].author.username"),
    "conclusion": _paths(
        "workflow_run.conclusion", "workflow_job.conclusion", "check_suite.conclusion", "check_run.conclusion"
    ),
    "is_draft": _paths("pull_request.draft", "release.draft"),
    "is_prerelease": _paths("release.prerelease"),
    "label": _paths("label.name"),
    "labels": _of_subject("labels[].name"),
    "milestone": _of_subject("milestone.title", "milestone.title"),
    "number": _of_subject("number", "number"),
    "repository": _paths("repository.full_name"),
    "requested_reviewers": _paths("pull_request.requested_reviewers[].login"),
    "review_state": _paths("review.state"),
    "sender": _paths("sender.login"),
    "state": _of_subject("state", "deployment_status.state", "state"),
    "title": _of_subject("title", "release.name"),
    "workflow": _paths("workflow.name", "workflow_run.name", "workflow_job.workflow_name"),
}


def names(event: str, document: Any) -> dict[str, Any]:
    """Return every short name that the event has a value for. `event` is EVENT or EVENT.ACTION."""
    found = {name: _first(document, paths) for name, paths in _PLAIN.items()}
    made: dict[str, Callable[[str, Any], Any]] = {
        "base_branch": _base_branch,
        "changed_paths": _changed_paths,
        "from_fork": _from_fork,
        "head_branch": _head_branch,
        "is_merged": _is_merged,
        "ref": _ref,
        "tag": _tag,
    }
    found |= {name: make(event.partition(".")[0], document) for name, make in made.items()}
    return {name: value for name, value in found.items() if value is not MISSING}


NAMES: Final = tuple(
    sorted([*_PLAIN, "base_branch", "changed_paths", "from_fork", "head_branch", "is_merged", "ref", "tag"])
)


_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class PullName:
    """A pull request: OWNER/NAME and its number."""

    repository: str
    number: int


def pull_of(document: Any) -> PullName | None:
    """Return the pull request that an event is about, a comment on one too; None if it is about none."""
    repository = _at(document, "repository.full_name")
    number = _at(document, "pull_request.number")
    if number is MISSING and isinstance(_at(document, "issue.pull_request"), dict):
        number = _at(document, "issue.number")
    named = isinstance(repository, str) and _REPOSITORY.fullmatch(repository) and ".." not in repository
    if not named or isinstance(number, bool) or not isinstance(number, int) or number < 1:
        return None
    return PullName(repository, number)


def fork_is_unknown(document: Any) -> bool:
    """Tell whether the event is about a pull request but does not say whose branch it is: a comment on one."""
    return _at(document, "issue.pull_request") not in (MISSING, None) and not isinstance(
        _at(document, "pull_request"), dict
    )


def _at(document: Any, path: str) -> Any:
    value = document
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def _first(document: Any, paths: tuple[JsonPath, ...]) -> Any:
    """Return the first value there is; a null counts if there is nothing better."""
    found: Any = MISSING
    for path in paths:
        value = path.get(document)
        if value is not MISSING and value is not None:
            return value
        found = value if found is MISSING else found
    return found


def _text(document: Any, *paths: str) -> Any:
    return next((value for path in paths if isinstance(value := _at(document, path), str)), MISSING)


def _branch(ref: Any) -> Any:
    return ref.removeprefix(_BRANCH) if isinstance(ref, str) else MISSING


def _base_branch(_: str, document: Any) -> Any:
    return _branch(_text(document, "pull_request.base.ref", "merge_group.base_ref"))


def _head_branch(event: str, document: Any) -> Any:
    ref = _at(document, "ref")
    if event == "push":
        return _branch(ref) if isinstance(ref, str) and ref.startswith(_BRANCH) else MISSING
    if event in {"create", "delete"} and _at(document, "ref_type") == "branch":
        return _branch(ref)
    return _branch(
        _text(
            document,
            "pull_request.head.ref",
            "workflow_run.head_branch",
            "workflow_job.head_branch",
            "check_suite.head_branch",
            "check_run.check_suite.head_branch",
            "merge_group.head_ref",
        )
    )


def _ref(_: str, document: Any) -> Any:
    return _text(document, "ref", "deployment.ref", "release.tag_name")


def _tag(event: str, document: Any) -> Any:
    ref = _at(document, "ref")
    if isinstance(ref, str) and ref.startswith(_TAG):
        return ref.removeprefix(_TAG)
    if event in {"create", "delete"} and _at(document, "ref_type") == "tag":
        return ref
    return _text(document, "release.tag_name")


def _is_merged(_: str, document: Any) -> Any:
    """Read it, or the time of the merge: `merged` is not in every form of a pull request."""
    merged = _at(document, "pull_request.merged")
    if isinstance(merged, bool):
        return merged
    at = _at(document, "pull_request.merged_at")
    return MISSING if at is MISSING else at is not None


def _from_fork(_: str, document: Any) -> Any:
    """Compare the two repositories; one that is gone was a fork. A repository that is a fork itself is not from one."""
    if isinstance(_at(document, "pull_request"), dict):
        head, base = (_at(document, f"pull_request.{end}.repo") for end in ("head", "base"))
        if base is MISSING:
            base = _at(document, "repository")
        return MISSING if head is MISSING else _identity(head) is None or _identity(head) != _identity(base)
    for run in ("workflow_run", "check_suite"):
        head = _at(document, f"{run}.head_repository")
        if head is not MISSING:
            return _identity(head) is None or _identity(head) != _identity(_at(document, "repository"))
    # "Pushes to a branch in a forked repository are not detected and return ... a null value for head_branch."
    suites = (_at(document, path) for path in ("check_suite.head_branch", "check_run.check_suite.head_branch"))
    return True if any(branch is None for branch in suites) else MISSING


def _identity(repository: Any) -> Any:
    return repository.get("id") if isinstance(repository, dict) else None


def _changed_paths(event: str, document: Any) -> Any:
    """Of a push. A pull request's paths are not in its event: GitHub is asked for them."""
    commits = _at(document, "commits")
    if event != "push" or not isinstance(commits, list):
        return MISSING
    kinds = ("added", "removed", "modified")
    paths = {
        path
        for commit in commits
        if isinstance(commit, dict)
        for kind in kinds
        if isinstance(commit.get(kind), list)
        for path in commit[kind]
        if isinstance(path, str)
    }
    return sorted(paths)
