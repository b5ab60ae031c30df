from __future__ import annotations

from typing import Any

from tickover.core.definition import Routine
from tickover.core.grant import AskKind, asks_of, change, waiting
from tickover.core.instance import Instance

POST: dict[str, dict[str, Any]] = {"request": {"to": "POST https://chat.test/api/post", "credential": "chat", "max": 1}}
PUSH = {"push": {"repo": "app", "refs": ["tickover/*"]}}
INSTANCE = Instance.model_validate({"credentials": {"chat": {"hosts": ["chat.test", "*.chat.test"]}}})


def routine(**keys: Any) -> Routine:
    return Routine.model_validate({"name": "r", "agent": "steps", **keys})


def said(**keys: Any) -> list[tuple[str, str]]:
    return [(each.kind.value, each.says) for each in asks_of(routine(**keys), INSTANCE)]


def digests(**keys: Any) -> set[str]:
    return {each.digest for each in asks_of(routine(**keys), INSTANCE)}


def test_a_plain_routine_asks_for_nothing() -> None:
    assert asks_of(routine(), INSTANCE) == ()


def test_each_thing_asked_for_is_a_sentence() -> None:
    assert said(
        environment={"network": ["packages", "docs.test", "packages"], "credentials": ["other"]},
        repositories={"app": {"url": "https://git.test/acme/app.git"}},
        may=[POST, PUSH],
    ) == [
        ("credential", "the credential `other` (this instance does not have it yet)"),
        ("credential", "the credential `chat`, and all that it can read at chat.test, *.chat.test"),
        ("write", "to change one POST request to https://chat.test/api/post"),
        ("write", "to change branches tickover/* of acme/app"),
        ("host", "to reach packages"),
        ("host", "to reach docs.test"),
    ]
    assert said(environment={"network": "observe"}) == [("host", "to reach any host that this instance does not deny")]


def test_any_other_permission_is_another_item() -> None:
    def write(**keys: Any) -> str:
        [found] = [each for each in asks_of(routine(may=[{"request": keys}]), INSTANCE) if each.kind is AskKind.WRITE]
        return found.digest

    asked = POST["request"]
    for changed in ({"max": 2}, {"to": "POST https://chat.test/api/other"}, {"json": {"channel": "C1"}}):
        assert write(**{**asked, **changed}) != write(**asked)
    one = digests(repositories={"app": {"url": "https://git.test/one"}}, may=[PUSH])
    assert one.isdisjoint(digests(repositories={"app": {"url": "https://git.test/two"}}, may=[PUSH]))
    assert one.isdisjoint(
        digests(repositories={"app": {"url": "https://git.test/one", "credential": "chat"}}, may=[PUSH])
    )


def test_the_order_of_keys_and_entries_does_not_matter() -> None:
    other = {"request": dict(reversed(POST["request"].items()))}
    assert digests(may=[POST, PUSH]) == digests(may=[PUSH, other])


def test_who_watches_needs_no_grant_for_hosts_alone() -> None:
    asks = asks_of(routine(environment={"network": ["docs.test"]}, may=[POST]), INSTANCE)
    kinds = [AskKind.CREDENTIAL, AskKind.WRITE]
    assert [each.kind for each in waiting(asks, (), foreground=True)] == kinds
    assert [each.kind for each in waiting(asks, (), foreground=False)] == [*kinds, AskKind.HOST]
    assert waiting(asks, {each.digest for each in asks}, foreground=False) == ()


def test_a_change_says_what_is_new_what_stays_and_what_goes() -> None:
    asks = asks_of(routine(environment={"network": ["docs.test"]}, may=[POST]), INSTANCE)
    found = change(asks, [asks[0].digest, "0" * 64])
    assert (found.new, found.kept, found.gone) == (asks[1:], asks[:1], ("0" * 64,))


def test_a_credential_that_goes_elsewhere_is_another_item() -> None:
    elsewhere = Instance.model_validate({"credentials": {"chat": {"hosts": ["evil.test"]}}})
    asks = routine(environment={"credentials": ["chat"]})
    granted = {each.digest for each in asks_of(asks, INSTANCE)}
    assert waiting(asks_of(asks, INSTANCE), granted, foreground=True) == ()
    [left] = waiting(asks_of(asks, elsewhere), granted, foreground=True)
    assert left.says == "the credential `chat`, and all that it can read at evil.test"
