"""The least list: what the list let through, nothing that somebody else opens, nothing that was not reached."""

from __future__ import annotations

from tickover.core.allowlist import Allowlist, least
from tickover.core.event import HostReached
from tickover.core.receipt import Identity


def reached(host: str, port: int = 443, rule: str | None = None, **more: Identity) -> HostReached:
    return HostReached(host=host, port=port, rule=rule or f"environment.network[0] (`{host}`)", **more)


def test_hosts_are_named_once_with_their_port_and_what_is_not_used_is_told() -> None:
    facts = [reached("b.test"), reached("a.test", 8443), reached("b.test"), reached("b.test", identity=Identity.SETUP)]
    found = least(facts, ["b.test", "a.test:8443", "a.test:9000", "*.b.test", "packages"])
    assert found.entries == ("a.test:8443", "b.test:443")
    assert found.unused == ("a.test:9000", "*.b.test", "packages")


def test_a_preset_stays_a_preset() -> None:
    facts = [reached(f"{name}.test", rule=f"environment.network[1], preset packages (`{name}.test`)") for name in "ab"]
    assert least(facts, ["docs.test", "packages"]) == Allowlist(("packages",), ("docs.test",))


def test_what_may_or_the_agent_or_the_verifier_opens_needs_no_entry() -> None:
    facts = [
        reached("chat.test", rule="may[0].request (`chat.test`)"),
        reached("model.test", rule="agent claude-code (`model.test`)"),
        reached("page.test", identity=Identity.VERIFIER),
    ]
    assert least(facts, "none").entries == ()


def test_what_a_person_watched_is_listed() -> None:
    assert least([reached("new.test", 8080, rule="network: observe")], "observe").entries == ("new.test:8080",)
