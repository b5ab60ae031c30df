from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tickover.core.lookup import MISSING
from tickover.relay.base import Accepted, Answer, Delivery
from tickover.relay.identify import delivery_id, event_name
from tickover.relay.providers import PROVIDERS
from tickover.relay.receive import receive
from tickover.testing.senders import NOW, SIGNERS, delivery


def of(provider: str, headers: dict[str, str], body: Any) -> tuple[str, str]:
    given = delivery(headers, body if isinstance(body, bytes) else json.dumps(body).encode())
    row = PROVIDERS[provider]
    return delivery_id(row, given), event_name(row, given)


@pytest.mark.parametrize(
    ("provider", "headers", "body", "expected"),
    [
        ("github", {"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "pull_request"}, {"action": "opened"}, ("d-1", "pull_request.opened")),
        ("github", {"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "push"}, {"ref": "x"}, ("d-1", "push")),
        ("gitlab", {"Idempotency-Key": "k"}, {"object_kind": "merge_request", "object_attributes": {"action": "open"}}, ("k", "merge_request.open")),
        ("gitlab", {"webhook-id": "w", "Idempotency-Key": "k"}, {"object_kind": "push"}, ("w", "push")),
        ("stripe", {}, {"id": "evt_1", "type": "invoice.payment_failed"}, ("evt_1", "invoice.payment_failed")),
        ("slack", {}, {"event_id": "Ev1", "event": {"type": "app_mention"}}, ("Ev1", "app_mention")),
        ("svix", {"svix-id": "m"}, {"type": "user.created"}, ("m", "user.created")),
        ("linear", {"Linear-Delivery": "l", "Linear-Event": "Issue"}, {"action": "create"}, ("l", "Issue.create")),
        ("sentry", {"Request-ID": "r", "Sentry-Hook-Resource": "issue"}, {"action": "created"}, ("r", "issue.created")),
        ("pagerduty", {}, {"event": {"id": "p", "event_type": "incident.triggered"}}, ("p", "incident.triggered")),
        ("shopify", {"X-Shopify-Event-Id": "s", "X-Shopify-Topic": "orders/create"}, {}, ("s", "orders/create")),
        ("jira", {"X-Atlassian-Webhook-Identifier": "j"}, {"webhookEvent": "jira:issue_created"}, ("j", "jira:issue_created")),
        ("bitbucket", {"X-Request-UUID": "b", "X-Event-Key": "repo:push"}, {}, ("b", "repo:push")),
        ("zapier", {"Idempotency-Key": "z"}, {}, ("z", "")),
    ],
)  # fmt: skip
def test_names(provider: str, headers: dict[str, str], body: Any, expected: tuple[str, str]) -> None:
    assert of(provider, headers, body) == expected


def test_without_an_id_the_body_names_it() -> None:
    assert of("stripe", {}, b"no json") == (f"sha256:{hashlib.sha256(b'no json').hexdigest()}", "")


@pytest.mark.parametrize("hostile", ["a b", "x" * 201, "é", "\x00", "\n"])
def test_an_id_that_is_no_word_is_its_digest(hostile: str) -> None:
    found, _ = of("github", {"X-GitHub-Delivery": hostile}, {})
    assert found.startswith("sha256:")


@pytest.mark.parametrize("hostile", [{"id": True}, {"id": None}, {"id": {}}, {"id": ""}, {"id": 1.5}, [], "x"])
def test_an_id_of_another_kind_is_none(hostile: Any) -> None:
    assert of("stripe", {}, hostile)[0].startswith("sha256:")


def group(status: str, *alerts: tuple[str, str], **more: Any) -> dict[str, Any]:
    listed = [{"fingerprint": name, "startsAt": at, "labels": more} for name, at in alerts]
    return {"groupKey": "{}:{a}", "status": status, "alerts": listed, **more}


@pytest.mark.parametrize("provider", ["alertmanager", "grafana"])
def test_alerts_are_named_by_what_they_say(provider: str) -> None:
    one = of(provider, {}, group("firing", ("f1", "t1"), ("f2", "t2")))
    assert one[1] == "firing"
    assert one == of(provider, {}, group("firing", ("f2", "t2"), ("f1", "t1"), truncatedAlerts=3))
    others = [
        group("resolved", ("f1", "t1"), ("f2", "t2")),
        group("firing", ("f1", "t1")),
        group("firing", ("f1", "t1"), ("f2", "t3")),
        {**group("firing", ("f1", "t1"), ("f2", "t2")), "groupKey": "x"},
    ]
    assert one[0] not in {of(provider, {}, other)[0] for other in others}


@pytest.mark.parametrize(
    "hostile", [{"groupKey": 1}, {"groupKey": "a", "alerts": 5}, {"groupKey": "a", "alerts": [1, {}]}, []]
)
def test_hostile_alerts(hostile: Any) -> None:
    assert of("alertmanager", {}, hostile)[0]


def answer(sender: str, body: Any, **headers: str) -> Answer | None:
    name, secret, sign = SIGNERS[sender]
    raw = json.dumps(body).encode()
    found = receive(PROVIDERS[name], [secret], delivery({**sign(raw), **headers}, raw), NOW)
    assert isinstance(found, Accepted)
    return found.answer


def test_handshakes() -> None:
    assert answer("slack", {"type": "url_verification", "challenge": "3eZ"}) == Answer(
        b"3eZ", "text/plain; charset=utf-8"
    )
    assert answer("slack", {"type": "url_verification", "challenge": ["x"]}) == Answer(b"", "text/plain; charset=utf-8")
    assert answer("slack", {"type": "event_callback"}) is None
    assert answer("discord", {"type": 1}) == Answer(b'{"type":1}')
    assert answer("discord", {"type": True}) is None


@pytest.mark.parametrize(
    ("kind", "body", "content"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("", b"[1]", [1]),
        ("application/x-www-form-urlencoded", b"payload=%7B%22a%22%3A1%7D", {"a": 1}),
        ("application/x-www-form-urlencoded; charset=utf-8", b"command=%2Fdeploy&text=a+b", {"command": "/deploy", "text": "a b"}),
        ("application/x-www-form-urlencoded", b"a=%ff", MISSING),
        ("application/x-www-form-urlencoded", b"a=1&" * 2000, MISSING),
        ("application/x-www-form-urlencoded", b"payload=[", MISSING),
        ("application/json", b"", MISSING),
        ("application/json", b"[" * 100_000, MISSING),
    ],
)  # fmt: skip
def test_what_a_body_says(kind: str, body: bytes, content: Any) -> None:
    assert Delivery.of([(b"Content-Type", kind.encode())], body).content == content
