"""What a GitHub App's token is asked for follows from what the routine itself names, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tickover.core.definition import Routine
from tickover.core.errors import DefinitionErrors
from tickover.core.github_app import AppForm, AppScope, permissions_of
from tickover.core.instance import Instance, egress_of, read_back_of, verifier_egress_of

API = "https://api.github.com"
APP = {"kind": "github-app", "app": "Iv1.app", "hosts": ["api.github.com", "github.com"]}
REVIEW = {"request": {"to": f"POST {API}/repos/acme/app/pulls/*/reviews", "credential": "gh"}}
CLONE = {"app": {"url": "https://github.com/acme/app.git", "credential": "gh"}}


def routine(**keys: Any) -> Routine:
    return Routine.model_validate({"name": "r", "agent": "command", "argv": ["true"], "body": "", **keys})


def instance(**more: Any) -> Instance:
    return Instance.model_validate(
        {"credentials": {"gh": {**APP, **more}}, "connectors": {"github": {"credential": "gh"}}}
    )


def app_of(of: Routine, **more: Any) -> AppForm:
    app = egress_of(of, instance(**more), {}).forms["gh"].app
    assert app is not None
    return app


def test_a_clone_reads_the_contents_of_one_repository_and_nothing_else() -> None:
    app = app_of(routine(repositories=CLONE))
    assert app == AppForm("Iv1.app", API, (AppScope("acme", ("app",)),))
    assert app.scopes[0].reads == ("contents",)


def test_a_push_writes_contents_and_a_review_pull_requests() -> None:
    app = app_of(routine(repositories=CLONE, may=[{"push": {"repo": "app", "refs": ["tickover/*"]}}, REVIEW]))
    assert app.scopes == (
        AppScope("acme", ("app",), ("contents", "pull_requests"), ("checks", "contents", "issues", "pull_requests", "statuses")),
    )  # fmt: skip


def test_a_connector_s_tools_are_such_writes_too() -> None:
    may = [{"github": {"tool": "create_comment", "repos": ["acme/app", "other/lib"]}}]
    app = app_of(routine(connectors={"github": {"tools": ["create_comment"]}}, may=may))
    assert [(each.owner, each.repositories, each.writes) for each in app.scopes] == [
        ("acme", ("app",), ("issues|pull_requests",)),
        ("other", ("lib",), ("issues|pull_requests",)),
    ]


def test_the_verifier_s_token_reads() -> None:
    of = routine(
        repositories=CLONE, may=[REVIEW], expect=[{"github": {"repo": "acme/app", "pull": 1, "review_by": "b"}}]
    )
    app = verifier_egress_of(of, instance(), {}).forms["gh"].app
    back = read_back_of(of, instance(), {})["github"].forms["gh"].app
    assert app is not None
    assert back is not None
    assert [each.writes for each in (*app.scopes, *back.scopes)] == [(), ()]
    assert [each.repositories for each in (*app.scopes, *back.scopes)] == [("app",), ("app",)]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"may": [{"request": {"to": f"POST {API}/repos/*/app/issues", "credential": "gh"}}]}, "by name"),
        ({"may": [{"request": {"to": f"POST {API}/repos/acme/app/keys", "credential": "gh"}}]}, "not known here"),
        ({"may": [{"request": {"to": f"POST {API}/user/repos", "credential": "gh"}}]}, "not below"),
        ({"environment": {"network": ["api.github.com"], "credentials": ["gh"]}}, "nothing in the routine says"),
    ],
)
def test_what_a_token_cannot_be_for_is_said_before_anything_runs(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        app_of(routine(**keys))
    assert any(each.code == "credential.app_scope" and words in each.message for each in caught.value.problems)


def test_a_trigger_names_the_repository_that_is_read() -> None:
    on = [{"github": {"repo": "acme/app"}}]
    app = app_of(routine(on=on, environment={"network": ["api.github.com"], "credentials": ["gh"]}))
    assert app.scopes[0].repositories == ("app",)


def test_an_enterprise_server_has_its_api_below_a_path() -> None:
    api = "https://git.example.com/api/v3"
    may = [{"request": {"to": f"POST {api}/repos/acme/app/issues", "credential": "gh"}}]
    app = app_of(routine(may=may), api=api, hosts=["git.example.com"])
    assert (app.place, app.base) == (("git.example.com", 443), "/api/v3")
    assert app.is_api("git.example.com", 443, "/api/v3/repos/acme/app")
    assert not app.is_api("git.example.com", 443, "/acme/app")
    assert app.scopes[0].writes == ("issues|pull_requests",)


def test_a_request_gets_the_token_of_the_owner_in_its_path() -> None:
    one, two = AppScope("Acme", ("app",)), AppScope("other", ("lib",))
    app = AppForm("1", API, (one, two))
    assert app.scope_for("/repos/acme/app/pulls") == one
    assert app.scope_for("/other/lib.git/info/refs") == two
    assert app.scope_for("/user") is None
    assert AppForm("1", API, (one,)).scope_for("/user") == one


def test_a_token_asks_for_no_more_than_was_given() -> None:
    scope = AppScope("acme", ("app",), ("issues|pull_requests",), ("contents", "statuses"))
    asked, missing = permissions_of(scope, {"contents": "write", "pull_requests": "write", "metadata": "read"})
    assert (asked, missing) == ({"contents": "read", "pull_requests": "write"}, [])
    assert permissions_of(scope, {"issues": "read"})[1] == ["issues or pull_requests"]
    assert permissions_of(AppScope("a", ("b",)), {"metadata": "read"})[0] == {"metadata": "read"}


def test_the_kind_needs_its_app_and_has_no_header() -> None:
    for wrong in (
        {"kind": "github-app", "hosts": ["x.test"]},
        {**APP, "header": "x"},
        {"app": "1", "hosts": ["x.test"]},
    ):
        with pytest.raises(ValueError, match=r"app|header"):
            Instance.model_validate({"credentials": {"gh": wrong}})
