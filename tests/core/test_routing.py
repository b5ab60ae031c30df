from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tickover.core.lookup import MISSING
from tickover.core.routing import (
    Drop,
    Go,
    Judged,
    Occurrence,
    Wait,
    debounced_until,
    dedup_key,
    flow,
    group_of,
    is_duplicate,
    is_silent,
    judge,
    subject_of,
    trigger_names,
)
from tickover.core.trigger import EventTrigger, Flow, Trigger, TriggerItem

ITEM: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)
PULL: dict[str, Any] = {
    "action": "opened",
    "label": {"name": "ready", "color": "f00"},
    "pull_request": {
        "user": {"login": "ada"},
        "draft": False,
        "merged": True,
        "head": {"repo": {"id": 1}},
        "base": {"ref": "main", "repo": {"id": 1}},
        "labels": [{"name": "ready"}],
    },
    "repository": {"id": 1, "full_name": "acme/app"},
    "sender": {"login": "ada"},
}


def trigger(kind: str = "github", **keys: Any) -> EventTrigger:
    base: dict[str, dict[str, Any]] = {
        "github": {"repo": "acme/app"},
        "webhook": {"verify": {"token": {"header": "x"}, "secret": "s"}},
    }
    item = ITEM.validate_python({kind: {**base.get(kind, {"secret": "s"}), **keys}})
    assert isinstance(item, EventTrigger)
    return item


def github(name: str = "pull_request.opened", document: Any = PULL, **more: Any) -> Occurrence:
    return Occurrence("github", name, document, **more)


def asked(keys: dict[str, Any], event: Occurrence, *, writes: bool = False) -> Judged:
    return judge(trigger(**keys), event, writes=writes)


@pytest.mark.parametrize(
    ("events", "name", "fires"),
    [
        ([], "pull_request.opened", True),
        ([], "ping", False),
        (["ping"], "ping", True),
        (["pull_request"], "pull_request.opened", True),
        (["pull_request.opened"], "pull_request.opened", True),
        (["pull_request.closed"], "pull_request.opened", False),
        (["pull"], "pull_request.opened", False),
        (["push", "pull_request.opened"], "pull_request.opened", True),
        (["push"], "push", True),
        (["push"], "", False),
        (["pull_request.merged"], "pull_request.closed", True),
        (["merged"], "pull_request.closed", True),
        (["pull_request.merged"], "pull_request.opened", False),
        (["pull_request.closed"], "pull_request.closed", True),
    ],
)
def test_events(events: list[str], name: str, fires: bool) -> None:
    found = asked({"events": events}, github(name))
    assert (found.fires, found.reason) == (fires, "" if fires else ("handshake" if not events else "event"))


def test_closed_without_a_merge_is_not_merged() -> None:
    document = copy.deepcopy(PULL)
    document["pull_request"]["merged"] = False
    assert not asked({"events": ["merged"]}, github("pull_request.closed", document)).fires


@pytest.mark.parametrize(("wanted", "name", "fires"), [("invoice", "invoice.paid", True), ("invoice.*", "invoice.paid", True), ("invoice.p*", "invoice.paid", True),
                                                     ("Invoice", "invoice.paid", False), ("*", "x", True), ("x", "", False)])  # fmt: skip
def test_events_of_others(wanted: str, name: str, fires: bool) -> None:
    assert judge(trigger("stripe", events=[wanted]), Occurrence("stripe", name, {}), writes=True).fires is fires


@pytest.mark.parametrize("name", [None, "acme/other", ["acme/app"], 5])
def test_another_repository(name: Any) -> None:
    assert asked({}, github(document={"repository": {"full_name": name}})).reason == "repository"
    assert asked({}, github(document={"repository": {"full_name": "ACME/App"}})).fires
    assert asked({}, github(document={})).reason == asked({}, github(document=MISSING)).reason == "repository"


def forked(**more: Any) -> dict[str, Any]:
    document = copy.deepcopy(PULL)
    document["pull_request"]["head"]["repo"] = {"id": 2}
    return {**document, **more}


@pytest.mark.parametrize(
    ("keys", "writes", "fires"),
    [({}, False, True), ({}, True, False), ({"from_fork": True}, True, True), ({"from_fork": False}, False, False)],
)
def test_a_fork_starts_nothing_that_may_write_unless_it_is_said(
    keys: dict[str, Any], writes: bool, fires: bool
) -> None:
    assert asked(keys, github(document=forked()), writes=writes).fires is fires
    assert asked(keys, github(), writes=writes).fires
    comment = {"issue": {"pull_request": {"url": "x"}}, "repository": PULL["repository"]}
    assert asked(keys, github("issue_comment.created", comment), writes=writes).fires is fires
    assert asked(keys, github("push", {"repository": PULL["repository"]}), writes=writes).fires


@pytest.mark.parametrize(("behind", "fires"), [(0, True), (1, True), (2, True), (3, False), (9, False)])
def test_a_loop_ends(behind: int, fires: bool) -> None:
    found = asked({}, github(own=["ADA"], behind=behind))
    assert (found.fires, found.depth) == (fires, behind + 1)
    assert found.reason == ("" if fires else "own_event")
    assert asked({}, github(own=["other"], behind=behind)).depth == 0


@pytest.mark.parametrize(
    ("when", "fires"),
    [
        ({"base_branch": "main"}, True),
        ({"base_branch": {"glob": ["release/*"]}}, False),
        ({"label": "ready"}, True),
        ({"label.color": "f00"}, True),
        ({"$.label": "ready"}, False),
        ({"labels": {"not_contains": "wip"}}, True),
        ({"is_draft": False, "author": ["ada", "bob"]}, True),
        ({"any": [{"author": "eve"}, {"pull_request.draft": False}]}, True),
        ({"not": {"author": "ada"}}, False),
        ({"nothing": {"exists": False}}, True),
    ],
)
def test_when(when: dict[str, Any], fires: bool) -> None:
    found = asked({"when": when}, github())
    assert (found.fires, found.reason) == (fires, "" if fires else "when")


def test_every_clause_is_told_also_after_the_first_that_fails() -> None:
    found = asked({"events": ["push"], "when": {"base_branch": "develop", "is_draft": False}}, github())
    assert found.reason == "event"
    assert [str(clause) for clause in found.clauses] == [
        '✗ event one of ["push"]: got "pull_request.opened"',
        '✓ repository is "acme/app": got "acme/app"',
        '✗ base_branch is "develop": got "main"',
        "✓ is_draft is false: got false",
    ]


def test_an_event_that_is_no_json_fires_what_asks_nothing() -> None:
    assert judge(trigger("webhook"), Occurrence("webhook", ""), writes=False).fires
    assert judge(trigger("webhook", when={"a": 1}), Occurrence("webhook", ""), writes=False).reason == "when"


def test_names_of_triggers() -> None:
    on: list[dict[str, Any]] = [{"api": {}}, {"github": {"repo": "a/b"}}, {"api": {}}, {"github": {"repo": "a/c"}}]
    assert trigger_names([ITEM.validate_python(item) for item in on]) == ["api", "github", "api-2", "github-2"]


def test_groups_and_keys() -> None:
    grouped = trigger("webhook", group_by="$.id", dedup={"key": ["$.a", "$.b"], "within": "4h"})
    assert group_of(trigger("webhook"), {"id": 1}) == group_of(grouped, {}) == ""
    assert group_of(grouped, {"id": 1}) == group_of(grouped, {"id": 1, "x": 2}) != group_of(grouped, {"id": 2})
    assert grouped.dedup is not None
    keys = [
        dedup_key(grouped.dedup, each)
        for each in ({"a": 1, "b": 2}, {"a": 12}, {"a": 1, "b": None}, {"a": 1}, {"b": 1}, {})
    ]
    assert len(set(keys)) == len(keys)
    assert is_duplicate(grouped.dedup, 1000, 1000 + 4 * 3600 - 1)
    assert not is_duplicate(grouped.dedup, 1000, 1000 + 4 * 3600)
    assert not is_duplicate(grouped.dedup, None, 0)
    assert subject_of(github()) == "github:acme/app"
    assert subject_of(Occurrence("stripe", "x")) == "stripe"


def test_a_group_that_never_becomes_quiet_fires_all_the_same() -> None:
    assert debounced_until(120, 1000, 1000) == 1120
    assert debounced_until(120, 1000, 1100) == 1220
    assert debounced_until(120, 1000, 9000) == 2200


@pytest.mark.parametrize(
    ("over", "answer"), [("queue", Go(4600.0)), ("coalesce", Wait(4600.0)), ("drop", Drop(4600.0))]
)
def test_a_full_hour(over: Any, answer: object) -> None:
    limits = Flow(per_hour=2, over=over)
    assert flow(None, [3000.0] * 9, 3000.0) == flow(limits, [1000.0], 3000.0) == Go(3000.0)
    assert flow(limits, [1500.0, 1000.0], 3000.0) == answer
    assert flow(limits, [1500.0, 1000.0], 4600.0) == Go(4600.0)


@given(st.lists(st.integers(0, 20_000).map(float), min_size=1, max_size=60), st.integers(1, 5))
def test_a_queue_never_starts_more_in_any_hour(arrivals: list[float], per_hour: int) -> None:
    starts: list[float] = []
    for now in sorted(arrivals):
        decided = flow(Flow(per_hour=per_hour), sorted(starts, reverse=True), now)
        assert isinstance(decided, Go)
        assert decided.at >= now
        starts.append(decided.at)
    for start in starts:
        assert sum(start - 3600 < other <= start for other in starts) <= per_hour


def test_silence_is_reported_once() -> None:
    assert not is_silent(100, 1000, None, 1099)
    assert is_silent(100, 1000, None, 1100)
    assert not is_silent(100, 1000, 1100, 5000)
    assert is_silent(100, 2000, 1100, 2100)
