"""All example payloads of GitHub: signed by the book, accepted, and routed as code that shares nothing with ours expects."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from collections import Counter
from typing import Any

import pytest
from pydantic import TypeAdapter

from tickover.core.github import NAMES, names
from tickover.core.routing import Occurrence, judge
from tickover.core.trigger import EventTrigger, Trigger, TriggerItem
from tickover.relay.base import Accepted, Delivery, Refused
from tickover.relay.providers import PROVIDERS
from tickover.relay.receive import receive
from tickover.testing.absent import absent
from tickover.testing.octokit import AbsentError, Example, examples

pytestmark = pytest.mark.slow
ITEM: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)
SECRET = b"octokit"


@pytest.fixture(scope="module")
def every() -> list[Example]:
    try:
        return examples()
    except AbsentError as error:
        absent(str(error))


def signed(example: Example) -> Delivery:
    body = json.dumps(example.payload, ensure_ascii=False).encode()
    headers = {
        "X-GitHub-Event": example.event,
        "X-GitHub-Delivery": f"{example.event}-{example.number}",
        "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(),
    }
    return Delivery.of([(name.encode(), value.encode()) for name, value in headers.items()], body)


def test_all_are_accepted_and_named(every: list[Example]) -> None:
    assert len(every) == 329
    for example in every:
        delivery = signed(example)
        action = example.payload.get("action")
        name = f"{example.event}.{action}" if action else example.event
        assert receive(PROVIDERS["github"], [SECRET], delivery, 0) == Accepted(
            f"{example.event}-{example.number}", name
        )
        changed = Delivery(delivery.headers, delivery.body + b" ")
        assert receive(PROVIDERS["github"], [SECRET], changed, 0) == Refused(401, "signature_mismatch")


# What a filter expects, written down again without our paths, aliases or operators.
def pull(payload: dict[str, Any]) -> dict[str, Any]:
    found = payload.get("pull_request")
    return found if isinstance(found, dict) else {}


def labels(payload: dict[str, Any]) -> list[str]:
    for kind in ("pull_request", "issue", "discussion", "release"):
        if isinstance(payload.get(kind), dict) and "labels" in payload[kind]:
            return [label["name"] for label in payload[kind]["labels"]]
    return []


def fork(payload: dict[str, Any]) -> bool:
    if pull(payload):
        head = pull(payload)["head"].get("repo")
        return head is None or head["id"] != pull(payload)["base"]["repo"]["id"]
    for kind in ("workflow_run", "check_suite"):
        run = payload.get(kind) or {}
        if "head_repository" in run:
            return bool(run["head_repository"]["id"] != payload["repository"]["id"])
    return False


ROUTINES: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda e, p: e != "ping"),
    ({"events": ["pull_request"]}, lambda e, p: e == "pull_request"),
    ({"events": ["pull_request.opened", "issues.opened"]}, lambda e, p: e in {"pull_request", "issues"} and p["action"] == "opened"),
    ({"events": ["merged"]}, lambda e, p: e == "pull_request" and p["action"] == "closed" and pull(p)["merged"] is True),
    ({"events": ["push"], "when": {"head_branch": {"exists": True}}}, lambda e, p: e == "push" and p["ref"].startswith("refs/heads/")),
    ({"events": ["push"], "when": {"tag": {"exists": True}}}, lambda e, p: e == "push" and p["ref"].startswith("refs/tags/")),
    ({"when": {"is_draft": False}}, lambda e, p: (pull(p).get("draft") if "draft" in pull(p) else (p.get("release") or {}).get("draft")) is False),
    ({"when": {"base_branch": "master"}}, lambda e, p: pull(p).get("base", {}).get("ref") == "master" or (p.get("merge_group") or {}).get("base_ref") == "refs/heads/master"),
    ({"when": {"labels": {"contains": "bug"}}}, lambda e, p: "bug" in labels(p)),
    ({"when": {"sender": {"matches": "[A-Z].*"}}}, lambda e, p: isinstance((p.get("sender") or {}).get("login"), str) and p["sender"]["login"][:1] in set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
    ({"when": {"repository.private": False}}, lambda e, p: p.get("repository", {}).get("private") is False),
    ({"events": ["release.published"], "when": {"release.prerelease": False}}, lambda e, p: e == "release" and p["action"] == "published" and p["release"]["prerelease"] is False),
    ({"when": {"conclusion": ["failure", "success"]}}, lambda e, p: any((p.get(k) or {}).get("conclusion") in {"failure", "success"} for k in ("workflow_run", "workflow_job", "check_suite", "check_run"))),
    ({"from_fork": False}, lambda e, p: e != "ping" and not fork(p) and not (p.get("issue") or {}).get("pull_request")),
]  # fmt: skip


def merged(every: list[Example]) -> Example:
    """None of the examples was merged: one that was closed, and is."""
    found = next(each for each in every if each.event == "pull_request" and each.payload["action"] == "closed")
    payload = copy.deepcopy(found.payload)
    payload["pull_request"]["merged"] = True
    return Example("pull_request", -1, payload)


def trigger(repo: str, keys: dict[str, Any]) -> EventTrigger:
    item = ITEM.validate_python({"github": {"repo": repo, **keys}})
    assert isinstance(item, EventTrigger)
    return item


@pytest.mark.parametrize(("keys", "expected"), ROUTINES, ids=[json.dumps(keys) for keys, _ in ROUTINES])
def test_all_are_routed_as_expected(every: list[Example], keys: dict[str, Any], expected: Any) -> None:
    fired: Counter[bool] = Counter()
    for event, index, payload in [*every, merged(every)]:
        repo = payload.get("repository", {}).get("full_name") if isinstance(payload.get("repository"), dict) else None
        name = f"{event}.{payload['action']}" if payload.get("action") else event
        found = judge(trigger(repo or "acme/none", keys), Occurrence("github", name, payload), writes=False)
        assert found.fires is (repo is not None and event != "ping" and bool(expected(event, payload))), (event, index)
        fired[found.fires] += 1
    assert fired[True], "no example fires it: the row proves nothing"
    assert fired[False], "every example fires it: the row proves nothing"


def test_another_repository_is_never_routed(every: list[Example]) -> None:
    for event, _, payload in every:
        assert not judge(trigger("acme/other", {}), Occurrence("github", event, payload), writes=False).fires


def scalars(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if isinstance(value, str | int) and value != ""}


def test_for_each_filter_one_changed_value_does_not_fire(every: list[Example]) -> None:
    """For every name that a payload has: the filter on its value fires, on any other value it does not."""
    tried: Counter[str] = Counter()
    for event, _, payload in every:
        repo = (payload.get("repository") or {}).get("full_name")
        name = f"{event}.{payload['action']}" if payload.get("action") else event
        if repo is None or event == "ping":
            continue
        for field, value in scalars(names(name, payload)).items():
            other = (not value) if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"{value}x"
            for wanted, fires in ((value, True), (other, False)):
                seen = Occurrence("github", name, payload)
                assert judge(trigger(repo, {"when": {field: wanted}}), seen, writes=False).fires is fires, (
                    event,
                    field,
                )
            tried[field] += 1
    lists = {"assignees", "labels", "requested_reviewers", "commit_authors", "changed_paths"}
    assert set(NAMES) - set(tried) - lists == set()


def test_a_pull_request_changed_in_one_place_is_another(every: list[Example]) -> None:
    [payload] = [
        example.payload
        for example in every
        if example.event == "pull_request" and example.payload["action"] == "opened"
    ][:1]
    keys = {"events": ["pull_request.opened"], "from_fork": False,
            "when": {"base_branch": "master", "head_branch": "changes", "author": "Codertocat", "is_draft": False, "is_merged": False,
                     "labels": {"not_contains": "wip"}, "number": {"lte": 5}, "title": {"starts_with": "Update"}}}  # fmt: skip

    def fires(changed: dict[str, Any]) -> bool:
        return judge(
            trigger("codertocat/hello-world", keys), Occurrence("github", "pull_request.opened", changed), writes=True
        ).fires

    assert fires(payload)
    changes: list[tuple[str, Any]] = [
        ("base.ref", "main"), ("head.ref", "other"), ("user.login", "eve"), ("draft", True), ("merged", True), ("labels", [{"name": "wip"}]),
        ("number", 6), ("title", "An update"), ("head.repo.id", 1), ("head.repo", None),
    ]  # fmt: skip
    for path, value in changes:
        changed = copy.deepcopy(payload)
        place = changed["pull_request"]
        *parents, last = path.split(".")
        for parent in parents:
            place = place[parent]
        place[last] = value
        assert not fires(changed), path
