from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.definition import Environment, Repository
from tickover.core.errors import DefinitionErrors
from tickover.core.host import HostError, HostPattern
from tickover.core.network import (
    Asked,
    Binding,
    Endpoint,
    InstanceNetwork,
    NetworkPolicy,
    Preset,
    Route,
    asked_by,
    policy_of,
)
from tickover.core.permission import PushPermission, RequestPermission

PRESETS = {
    "forge": Preset("forge", ("forge.test", "*.forge.test")),
    "packages": Preset("packages", ("index.test", "files.test:8443"), inspect=True, private=True),
    "model": Preset("model", ("api.model.test",), inspect=True),
}
LIST = ("forge", "packages", "api.example.com", "*.wild.example.com", "db.example.com:5432", "localhost:8443")


def policy(*entries: str, **more: Any) -> NetworkPolicy:
    asked = [Asked(entry, f"environment.network[{index}]") for index, entry in enumerate(entries)]
    return policy_of([*asked, *more.pop("asked", ())], PRESETS, **more)


ALL = policy(
    *LIST,
    asked=[Asked("chat.test:443", "may[0].request", inspect=True)],
    instance=InstanceNetwork(deny=("bad.forge.test", "*.banned.test", "api.example.com:80"), private=("localhost",)),
    bindings=[Binding("forge", ("forge.test", "*.forge.test"))],
)
ROUTES = {
    ("api.example.com", 443): "tunnel",
    ("API.Example.com.", 443): "tunnel",
    ("a.wild.example.com", 443): "tunnel",
    ("a.b.wild.example.com", 80): "inspect",
    ("db.example.com", 5432): "tunnel",
    ("localhost", 8443): "tunnel",
    ("forge.test", 443): "inspect",
    ("x.forge.test", 443): "inspect",
    ("index.test", 443): "inspect",
    ("files.test", 8443): "inspect",
    ("chat.test", 443): "inspect",
    # refused, by name
    ("other.test", 443): "not_listed",
    ("xapi.example.com", 443): "not_listed",
    ("api.example.com.evil.test", 443): "not_listed",
    ("evil.test.api.example.com", 443): "not_listed",
    ("example.com", 443): "not_listed",
    ("wild.example.com", 443): "not_listed",
    ("evilwild.example.com", 443): "not_listed",
    ("wild.example.com.evil.test", 443): "not_listed",
    ("metadata.google.internal", 80): "not_listed",
    ("\u0430pi.example.com", 443): "not_listed",
    ("xn--pi-6kc.example.com", 443): "not_listed",
    ("api\u3002example.com", 443): "bad_host",
    ("user@api.example.com", 443): "bad_host",
    ("api.example.com#.evil.test", 443): "bad_host",
    ("api.example.com%00.evil.test", 443): "bad_host",
    ("api.example.com\\.evil.test", 443): "bad_host",
    ("api.example.com\t", 443): "bad_host",
    ("api..example.com", 443): "bad_host",
    ("*", 443): "bad_host",
    ("*.wild.example.com", 443): "bad_host",
    ("2130706433", 80): "bad_host",
    ("0x7f000001", 80): "bad_host",
    ("0177.0.0.1", 80): "bad_host",
    ("127.1", 80): "bad_host",
    ("169.254.169.254", 80): "bad_host",
    ("[::1]", 80): "bad_host",
    ("::ffff:127.0.0.1", 80): "bad_host",
    ("", 443): "bad_host",
    # refused, by port or by the instance
    ("a.wild.example.com", 22): "port",
    ("db.example.com", 443): "port",
    ("localhost", 80): "port",
    ("files.test", 443): "port",
    ("api.example.com", 0): "bad_port",
    ("api.example.com", 65536): "bad_port",
    ("bad.forge.test", 443): "denied_by_instance",
    ("BAD.forge.test.", 443): "denied_by_instance",
    ("x.banned.test", 443): "denied_by_instance",
    ("api.example.com", 80): "denied_by_instance",
    ("tickover.internal", 80): "reserved",
    ("mcp.tickover.internal", 443): "reserved",
}


@pytest.mark.parametrize(("where", "expected"), ROUTES.items(), ids=[f"{host!a}:{port}" for host, port in ROUTES])
def test_a_destination_is_judged(where: tuple[str, int], expected: str) -> None:
    decision = ALL.judge(*where)
    assert expected == (decision.route if decision.allowed else decision.code)
    assert decision.says


def test_every_answer_explains_itself() -> None:
    def says(host: str, port: int = 443) -> str:
        return ALL.judge(host, port).says

    assert (
        says("api.example.com")
        == "api.example.com:443 is allowed by environment.network[2] (`api.example.com`); tunnelled"
    )
    assert (
        "by environment.network[0], preset forge (`*.forge.test`); inspected, because the credential `forge`"
        in says("x.forge.test")
    )
    assert says("index.test").endswith("inspected, because environment.network[1], preset packages needs it")
    assert says("chat.test").endswith("inspected, because may[0].request needs it")
    assert says("a.wild.example.com", 80).endswith("inspected, because plain HTTP is read as it passes")
    assert says("apl.example.com") == (
        "apl.example.com:443 is not on this run's list; the nearest entry is `api.example.com` (environment.network[2])"
    )
    assert "is what is below it, not itself" in says("wild.example.com")
    assert (
        says("db.example.com", 22)
        == "db.example.com is on this run's list for port 5432, not for 22 (environment.network[4])"
    )
    assert (
        says("x.banned.test")
        == "x.banned.test:443 is denied by this instance (`*.banned.test`), whatever a routine asks"
    )
    assert policy().judge("a.test", 443).says == "a.test:443 is not on this run's list, which is empty"
    assert "\x1b" not in says("evil\x1b[2J.test")


def test_a_private_address_is_granted_by_the_instance_or_its_own_package_configuration_only() -> None:
    private = {host for host, port in ROUTES if ALL.judge(host, port).private}
    assert private == {"localhost", "index.test", "files.test"}


def test_a_host_with_a_rule_or_a_credential_is_inspected_at_every_port_that_is_open() -> None:
    made = policy(
        "chat.test:8443",
        "forge.test:8443",
        asked=[Asked("chat.test:443", "may[0].request", inspect=True)],
        bindings=[Binding("forge", ("forge.test",))],
    )
    assert made.judge("chat.test", 8443).route is Route.INSPECT
    assert made.judge("forge.test", 8443).route is Route.INSPECT


def test_a_credential_goes_to_its_hosts_and_ports_in_the_order_of_the_grants() -> None:
    bindings = [Binding("b", ("forge.test", "*.forge.test:8443")), Binding("a", ("forge.test",))]
    made = policy("forge", bindings=bindings)
    assert made.credentials_for("forge.test", 443) == ("b", "a")
    assert made.credentials_for("x.forge.test", 8443) == ("b",)
    for host, port in (("forge.test", 80), ("forge.test", 8443), ("x.forge.test", 443), ("forge.test.evil.test", 443)):
        assert made.credentials_for(host, port) == ()


@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ({"entries": ["forg"]}, "network.unknown_preset"),
        ({"entries": ["localhost"]}, "network.unknown_preset"),
        ({"entries": ["*.test"]}, "network.too_wide"),
        ({"entries": ["tickover.internal"]}, "network.reserved"),
        ({"entries": ["*.tickover.internal"]}, "network.reserved"),
        ({"entries": ["10.0.0.1"]}, "host.malformed"),
        ({"entries": ["api.example.com:0"]}, "host.malformed"),
        ({"entries": ["api.example.com:99999"]}, "host.malformed"),
        ({"entries": ["api.example.com:0443"]}, "host.malformed"),
        ({"entries": ["model"], "tunnel": ["*.model.test"]}, "network.credential_on_tunnel"),
        ({"entries": ["a.test"], "tunnel": ["a.test"], "bindings": [Binding("c", ("*.test",))]}, "network.credential_on_tunnel"),
        ({"entries": ["a.test"], "tunnel": ["*.a.test"], "bindings": [Binding("c", ("*.x.a.test",))]}, "network.credential_on_tunnel"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value["entries"]),
)  # fmt: skip
def test_what_cannot_be_is_an_error_of_the_definition(given_: dict[str, Any], code: str) -> None:
    instance = InstanceNetwork(tunnel=tuple(given_.get("tunnel", ())))
    with pytest.raises(DefinitionErrors) as caught:
        policy(*given_["entries"], instance=instance, bindings=given_.get("bindings", ()))
    assert [problem.code for problem in caught.value.problems] == [code]


def test_all_errors_come_at_once_each_with_its_place_and_the_nearest_preset() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        policy("forg", "fine.test", "*.test")
    first, second = caught.value.problems
    assert (str(first.where), str(second.where)) == ("environment.network[0]", "environment.network[2]")
    assert "did you mean `forge`?" in first.hint


def test_a_host_that_is_only_tunnelled_may_be_listed_like_any_other() -> None:
    made = policy("pinned.test", "forge", instance=InstanceNetwork(tunnel=("pinned.test",)))
    assert made.judge("pinned.test", 443).route is Route.TUNNEL


def test_watching_lets_everything_through_that_is_not_denied() -> None:
    made = policy(instance=InstanceNetwork(deny=("evil.test",)), observe=True)
    assert made.judge("anything.test", 443).code == "observed"
    assert made.judge("anything.test", 443).route is Route.TUNNEL
    for host in ("evil.test", "127.0.0.1", "tickover.internal"):
        assert not made.judge(host, 443).allowed


def test_a_routine_asks_with_its_list_and_with_what_it_may() -> None:
    may = [
        RequestPermission.model_validate({"to": "POST https://chat.test:8443/a/*"}).named("request"),
        PushPermission.model_validate({"repo": "app", "refs": ["x/*"]}).named("push"),
        PushPermission.model_validate({"repo": "local", "refs": ["x/*"]}).named("push"),
    ]
    repositories = {
        "app": Repository.model_validate({"url": "https://forge.test/acme/app"}),
        "local": Repository.model_validate({"url": "file:///srv/app"}),
    }
    environment = Environment.model_validate({"network": ["forge", "a.test"]})
    assert list(asked_by(environment, may, repositories)) == [
        Asked("forge", "environment.network[0]"),
        Asked("a.test", "environment.network[1]"),
        Asked("chat.test:8443", "may[0].request", inspect=True),
        Asked("forge.test:443", "may[1].push", inspect=True),
    ]
    assert list(asked_by(Environment(), may[:1], {})) == [Asked("chat.test:8443", "may[0].request", inspect=True)]


def test_what_is_listened_on_and_answered_for() -> None:
    assert ALL.ports() == (80, 443, 5432, 8443)
    assert HostPattern("wild.example.com", below=True) in ALL.names()


NAMES = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){1,3}", fullmatch=True)
ENTRIES = st.lists(st.builds("{}{}".format, st.sampled_from(["", "*."]), NAMES), max_size=4)


@given(ENTRIES, ENTRIES, NAMES, st.sampled_from([22, 80, 443]), st.booleans())
def test_nothing_is_allowed_that_no_entry_covers_and_a_denial_wins(
    entries: list[str], denied: list[str], host: str, port: int, observe: bool
) -> None:
    made = policy(*entries, instance=InstanceNetwork(deny=tuple(denied)), observe=observe)
    decision = made.judge(host, port)

    def naive(entry: str) -> bool:
        return host.endswith(entry[1:]) if entry.startswith("*") else host == entry

    listed = any(map(naive, entries)) and port in {80, 443}
    assert decision.allowed is ((listed or observe) and not any(map(naive, denied)))


@pytest.mark.parametrize(
    "text", ["a.test:", "a.test:x", "a.test:-1", "a.test:1e3", "a.test:443:443", ":443", "a.test:\u0664"]
)
def test_an_endpoint_is_a_host_and_perhaps_a_port(text: str) -> None:
    with pytest.raises(HostError):
        Endpoint.parse(text)
