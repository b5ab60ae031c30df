from __future__ import annotations

from typing import Any

import pytest

from tickover.core.definition import Repository
from tickover.core.permission import PushPermission
from tickover.core.push import RefUpdate, git_service, judge_push, push_rules, without_suffix
from tickover.core.target import read_path

OLD, NEW, NONE = "a" * 40, "b" * 40, "0" * 40
REPOSITORIES = {
    "app": Repository.model_validate({"url": "https://forge.test/acme/app.git", "credential": "forge"}),
    "local": Repository.model_validate({"url": "file:///srv/app"}),
}


def may(**keys: Any) -> PushPermission:
    return PushPermission.model_validate({"repo": "app", "refs": ["tickover/*"], **keys})


def code(update: RefUpdate, **keys: Any) -> str:
    [judged] = judge_push([update], push_rules([may(**keys)], REPOSITORIES))
    assert (judged.rule is not None) is (judged.code == "allowed")
    assert judged.says
    return judged.code


@pytest.mark.parametrize(
    ("ref", "refs", "expected"),
    [
        ("refs/heads/tickover/x", ["tickover/*"], "allowed"),
        ("refs/heads/tickover/x/y", ["tickover/*"], "ref_not_allowed"),
        ("refs/heads/tickover/x/y", ["tickover/**"], "allowed"),
        ("refs/heads/tickover", ["tickover/*"], "ref_not_allowed"),
        ("refs/heads/main", ["tickover/*"], "ref_not_allowed"),
        ("refs/heads/xtickover/x", ["tickover/*"], "ref_not_allowed"),
        ("refs/heads/main", ["tickover/*", "main"], "allowed"),
        ("refs/tags/tickover/x", ["tickover/*"], "ref_not_allowed"),
        ("refs/tags/v1", ["refs/tags/v*"], "allowed"),
        ("refs/heads/refs/tags/v1", ["refs/tags/v*"], "ref_not_allowed"),
        ("refs/heads/MAIN", ["main"], "ref_not_allowed"),
        ("refs/for/main", ["**"], "ref_not_allowed"),
        ("HEAD", ["**"], "ref_malformed"),
        ("tickover/x", ["tickover/*"], "ref_malformed"),
        ("refs/heads/tickover/../main", ["tickover/**"], "ref_malformed"),
        ("refs/heads/tickover//main", ["tickover/**"], "ref_malformed"),
        ("refs/heads/tickover/x.lock", ["tickover/*"], "ref_malformed"),
        ("refs/heads/tickover/x\0", ["tickover/*"], "ref_malformed"),
        ("refs/heads/tickover/x y", ["tickover/*"], "ref_malformed"),
        ("refs/heads/tickover/@{1}", ["tickover/*"], "ref_malformed"),
    ],
)
def test_a_ref_is_one_that_may_names(ref: str, refs: list[str], expected: str) -> None:
    assert code(RefUpdate(ref, NONE, NEW), refs=refs) == expected


REF = "refs/heads/tickover/x"


@pytest.mark.parametrize(
    ("update", "plain", "forced", "deleting"),
    [
        (RefUpdate(REF, NONE, NEW), "allowed", "allowed", "allowed"),
        (RefUpdate(REF, OLD, NEW, fast_forward=True), "allowed", "allowed", "allowed"),
        (RefUpdate(REF, OLD, NEW, fast_forward=False), "ref_force", "allowed", "ref_force"),
        (RefUpdate(REF, OLD, NEW), "ref_force", "allowed", "ref_force"),
        (RefUpdate(REF, OLD, NONE), "ref_delete", "ref_delete", "allowed"),
        (RefUpdate(REF, OLD, NONE, fast_forward=True), "ref_delete", "ref_delete", "allowed"),
        (RefUpdate(REF, NONE, NONE), "ref_malformed", "ref_malformed", "ref_malformed"),
        (RefUpdate(REF, "a" * 39, NEW), "ref_malformed", "ref_malformed", "ref_malformed"),
        (RefUpdate(REF, OLD, "b" * 64), "ref_malformed", "ref_malformed", "ref_malformed"),
        (RefUpdate(REF, "A" * 40, NEW), "ref_malformed", "ref_malformed", "ref_malformed"),
        (RefUpdate(REF, "0" * 64, "b" * 64), "allowed", "allowed", "allowed"),
    ],
    ids=[
        "create",
        "forward",
        "force",
        "unknown",
        "delete",
        "delete",
        "nothing",
        "short",
        "two kinds",
        "case",
        "sha256",
    ],
)
def test_overwriting_and_deleting_are_asked_for(update: RefUpdate, plain: str, forced: str, deleting: str) -> None:
    assert (code(update), code(update, force=True), code(update, delete=True)) == (plain, forced, deleting)


def test_each_update_is_judged_and_no_ref_twice() -> None:
    rules = push_rules([may(), may(refs=["wip"], force=True)], REPOSITORIES)
    updates = [
        RefUpdate(REF, NONE, NEW),
        RefUpdate("refs/heads/wip", OLD, NEW, fast_forward=False),
        RefUpdate("refs/heads/main", OLD, NEW, fast_forward=True),
        RefUpdate(REF, NONE, OLD),
    ]
    judged = judge_push(updates, rules)
    assert [each.code for each in judged] == ["allowed", "allowed", "ref_not_allowed", "ref_twice"]
    assert [each.rule and each.rule.name for each in judged] == ["may[0]", "may[1]", None, None]
    assert judged[2].says == "refs/heads/main is not among the refs that `may` names: tickover/*, wip"
    assert judge_push([], rules) == []


def test_rules_are_of_repositories_that_are_reached_over_https() -> None:
    rules = push_rules([may(), may(repo="local"), may(repo="gone"), may(refs=["x"])], REPOSITORIES)
    assert [(rule.name, rule.credential) for rule in rules] == [("may[0]", "forge"), ("may[3]", "forge")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/acme/app.git/git-receive-pack", ("git-receive-pack", ("acme", "app"))),
        ("/acme/app/git-upload-pack", ("git-upload-pack", ("acme", "app"))),
        ("/git-receive-pack", None),
        ("/acme/app.git/info/refs", None),
        ("/acme/app.git//git-receive-pack", None),
        ("/acme/app.git/git-receive-pack/", None),
    ],
)
def test_the_services_of_git_are_known_by_their_paths(path: str, expected: object) -> None:
    assert git_service(read_path(path)) == expected


def test_a_repository_has_one_name() -> None:
    assert without_suffix(("acme", "app.git")) == without_suffix(("acme", "app")) == ("acme", "app")
    assert without_suffix(("acme.git", "app")) == ("acme.git", "app")
