from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tickover.core.credential import Credential
from tickover.core.definition import Routine
from tickover.core.enforcement import MODEL, Allow, OtherBody, Request, judge_request
from tickover.core.errors import DefinitionErrors
from tickover.core.instance import Instance, credentials_of, egress_of, verifier_egress_of
from tickover.core.metering import Budget
from tickover.core.network import Asked, Preset, Reach, Route
from tickover.core.price import Rates

PRESETS = {"packages": Preset("packages", ("index.test",), inspect=True, private=True)}
CHAT = {"credentials": {"chat": {"hosts": ["chat.test"]}}}
POST = "POST https://chat.test/api/post"


def instance(**keys: Any) -> Instance:
    return Instance.model_validate(keys)


def routine(**keys: Any) -> Routine:
    return Routine.model_validate({"name": "r", "agent": "steps", **keys})


def refused(of: Routine, by: Instance) -> list[tuple[str, str | None]]:
    with pytest.raises(DefinitionErrors) as caught:
        egress_of(of, by, PRESETS)
    return [(each.code, each.where.key if each.where else None) for each in caught.value.problems]


def test_a_routine_that_asks_for_nothing_has_no_way_out() -> None:
    assert egress_of(routine(), Instance(), {}).closed


def test_the_way_out_of_a_routine_that_posts() -> None:
    egress = egress_of(
        routine(
            environment={"network": ["packages", "docs.test"], "credentials": ["chat"]},
            may=[{"request": {"to": POST, "credential": "chat", "max": 1}}],
            expect=[
                {"receipt": {"to": POST, "request": {"json": {"channel": "C1"}}, "response": {"json": {"ok": True}}}}
            ],
        ),
        instance(**CHAT, network={"private": ["chat.test"], "deny": ["files.docs.test"]}),
        PRESETS,
    )
    policy = egress.policy
    assert policy.judge("docs.test", 443).route is Route.TUNNEL
    assert policy.judge("index.test", 443).route is Route.INSPECT
    assert (policy.judge("chat.test", 443).route, policy.judge("chat.test", 443).private) == (Route.INSPECT, True)
    assert policy.judge("other.test", 443).route is Route.DENY
    assert policy.credentials_for("chat.test", 443) == ("chat",)
    assert policy.credentials_for("docs.test", 443) == ()
    assert [(rule.name, rule.most, rule.credential) for rule in egress.powers.rules] == [("may[0]", 1, "chat")]
    assert egress.forms["chat"].kind == "header"
    assert [str(path) for path in egress.wanted.request] == ["channel"]
    assert [str(path) for path in egress.wanted.response] == ["ok"]


def test_repositories_are_read_and_pushed_to_at_their_addresses() -> None:
    egress = egress_of(
        routine(
            repositories={
                "app": {"url": "https://git.test:8443/acme/app.git", "credential": "forge"},
                "own": {"url": "file:///srv/own"},
            },
            may=[{"push": {"repo": "app", "refs": ["tickover/*"]}}],
        ),
        instance(credentials={"forge": {"kind": "git", "hosts": ["git.test:8443"]}}),
        {},
    )
    assert [str(each) for each in egress.powers.repositories] == ["POST https://git.test:8443/acme/app.git"]
    [push] = egress.powers.pushes
    assert (push.name, push.credential, push.refs) == ("may[0]", "forge", ("tickover/*",))
    assert egress.policy.judge("git.test", 8443).route is Route.INSPECT
    assert egress.forms["forge"].user == "x-access-token"


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ({"environment": {"credentials": ["chta"]}}, [("credential.unknown", "environment.credentials[0]")]),
        ({"environment": {"credentials": ["hook"]}}, [("credential.signing", "environment.credentials[0]")]),
        (
            {"may": [{"request": {"to": "POST https://other.test/x", "credential": "chat"}}]},
            [("credential.not_bound", "may[0].request.credential")],
        ),
        (
            {"may": [{"request": {"to": "POST https://chat.test/a/../b"}}, {"request": {"to": "POST https://1.2/x"}}]},
            [("target.malformed", "may[0].request.to"), ("target.malformed", "may[1].request.to")],
        ),
        (
            {"repositories": {"app": {"url": "https://git.test/a/..", "credential": "x"}}},
            [("credential.unknown", "repositories.app.credential"), ("target.malformed", "repositories.app.url")],
        ),
        ({"environment": {"network": ["pakages"]}}, [("network.unknown_preset", "environment.network[0]")]),
        ({"expect": [{"receipt": {"to": POST}}]}, [("receipt.unseen", "expect[0].receipt.to")]),
        (
            {"environment": {"network": ["page.test"]}, "noop": [{"receipt": {"to": "GET https://page.test/"}}]},
            [("receipt.unseen", "noop[0].receipt.to")],
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_key(keys: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    known = instance(credentials={"chat": {"hosts": ["chat.test"]}, "hook": {"kind": "signing"}})
    assert refused(routine(**keys), known) == problems


def test_a_credential_on_a_host_that_is_only_tunnelled_is_refused() -> None:
    asks = routine(environment={"network": ["chat.test"], "credentials": ["chat"]})
    assert refused(asks, instance(**CHAT, network={"tunnel": ["chat.test"]})) == [
        ("network.credential_on_tunnel", None)
    ]


def test_only_credentials_that_the_routine_asks_for_are_bound() -> None:
    egress = egress_of(routine(environment={"network": ["chat.test"]}), instance(**CHAT), {})
    assert (egress.policy.governed, dict(egress.forms)) == ((), {})


def test_every_key_that_asks_for_a_credential_is_named() -> None:
    asks = routine(
        environment={"credentials": ["a", "b"]},
        may=[{"request": {"to": POST, "credential": "a"}}],
        repositories={"app": {"url": "https://git.test/app", "credential": "c"}},
    )
    assert credentials_of(asks) == {
        "a": ["environment.credentials[0]", "may[0].request.credential"],
        "b": ["environment.credentials[1]"],
        "c": ["repositories.app.credential"],
    }


def test_the_verifier_reads_repositories_and_pages_with_the_credentials_bound_to_them_only() -> None:
    egress = verifier_egress_of(
        routine(
            repositories={"app": {"url": "https://git.test/app", "credential": "forge"}},
            environment={"network": ["docs.test"], "credentials": ["chat"]},
            may=[{"request": {"to": POST, "credential": "chat"}}],
            expect=[{"http": {"url": "https://status.test/{{ run.id }}"}}],
        ),
        instance(credentials={"chat": {"hosts": ["chat.test"]}, "forge": {"kind": "git", "hosts": ["git.test"]}}),
        {},
    )
    assert set(egress.forms) == {"forge"}
    assert not egress.powers.rules
    assert not egress.powers.pushes
    routes = {
        host: egress.policy.judge(host, 443).route for host in ("git.test", "status.test", "docs.test", "chat.test")
    }
    assert routes == {
        "git.test": Route.INSPECT,
        "status.test": Route.INSPECT,
        "docs.test": Route.DENY,
        "chat.test": Route.DENY,
    }


@pytest.mark.parametrize(
    "credential",
    [
        {"hosts": ["chat.test"], "kind": "query"},
        {"hosts": ["chat.test"], "user": "x"},
        {"hosts": ["chat.test"], "kind": "basic", "header": "x"},
        {"hosts": ["chat.test"], "kind": "claude-oauth", "prefix": "x"},
        {"hosts": ["chat.test"], "kind": "signing"},
        {"hosts": ["10.0.0.1"]},
        {"hosts": ["*"]},
        {"hosts": ["chat.test"], "header": "a: b"},
        {"hosts": ["chat.test"], "prefix": "a\r\nb: "},
        {"hosts": ["chat.test"], "kind": "basic", "user": "a:b"},
        {"kind": "header"},
        {},
    ],
)
def test_what_is_no_credential(credential: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Credential.model_validate(credential)


def test_each_kind_has_its_form() -> None:
    def form(**keys: Any) -> tuple[str, str, str, str] | None:
        found = Credential.model_validate(keys).form()
        return (found.kind, found.name, found.prefix, found.user) if found else None

    assert form(hosts=["a.test"], header="x-key", prefix="") == ("header", "x-key", "", "x-access-token")
    assert form(hosts=["a.test"], kind="query", param="key") == ("query", "key", "Bearer ", "x-access-token")
    assert form(hosts=["a.test"], kind="basic", user="bot") == ("basic", "authorization", "Bearer ", "bot")
    assert form(kind="signing") is None


def test_what_the_file_says_of_a_credential_wins() -> None:
    kept = {"chat": Credential(hosts=("elsewhere.test",)), "other": Credential(hosts=("other.test",))}
    known = instance(**CHAT).with_credentials(kept).credentials
    assert {name: each.hosts for name, each in known.items()} == {"chat": ("chat.test",), "other": ("other.test",)}


AGENT_REACH = Reach(
    (Asked("model.test", "agent claude-code"),),
    ("POST https://model.test/v1/messages", "POST https://model.test/v1/messages?beta=true"),
)


@pytest.mark.parametrize(
    ("limits", "bound"), [({}, None), ({"tokens": 5}, Budget(5)), ({"cost_usd": 2}, Budget(cost_usd=2))]
)
def test_a_model_that_is_paid_for_needs_a_budget(limits: dict[str, Any], bound: Budget | None) -> None:
    routine = Routine.model_validate({"name": "r", "agent": "claude-code", "limits": limits})
    known = {"anthropic": Preset("anthropic", ("model.test",), inspect=True)}
    reach = Reach((Asked("anthropic", "agent claude-code"),), AGENT_REACH.calls)
    if bound:
        assert egress_of(routine, Instance(), known, reach).budget == bound
        return
    with pytest.raises(DefinitionErrors) as raised:
        egress_of(routine, Instance(), known, reach)
    assert [error.code for error in raised.value.problems] == ["budget.required"]


def test_the_instances_prices_go_with_it() -> None:
    instance = Instance.model_validate({"prices": {"local-*": {"input": 1, "output": 2, "cache_read": 0.1}}})
    (price,) = egress_of(Routine.model_validate({"name": "r", "agent": "steps"}), instance, {}).prices
    assert (price.model, price.rates) == ("local-*", Rates(1, 2, 0.1, 1))


@pytest.mark.parametrize(
    ("method", "path", "query", "rule"),
    [
        ("POST", "/v1/messages", "beta=true", MODEL),
        ("POST", "/v1/messages", "", MODEL),
        ("POST", "/v1/messages", "beta=false", None),
        ("POST", "/v1/files", "", None),
        ("DELETE", "/v1/messages", "", None),
    ],
)
def test_an_agent_may_ask_its_model_and_no_more(method: str, path: str, query: str, rule: str | None) -> None:
    routine = Routine.model_validate(
        {"name": "r", "agent": "claude-code", "environment": {"credentials": ["anthropic"]}}
    )
    instance = Instance.model_validate(
        {"credentials": {"anthropic": {"kind": "header", "header": "x-api-key", "prefix": "", "hosts": ["model.test"]}}}
    )
    egress = egress_of(routine, instance, {}, AGENT_REACH)
    assert egress.policy.judge("model.test", 443).route is Route.INSPECT
    request = Request(method, "https", "model.test", 443, path, query, body=OtherBody("not read"))
    answer = judge_request(request, egress.powers, {}, egress.policy.credentials_for("model.test", 443))
    assert (answer.rule, answer.credential) == (rule, "anthropic") if isinstance(answer, Allow) else rule is None
