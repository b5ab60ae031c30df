from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import TypeAdapter

from tickover.core.trigger import Trigger, TriggerItem, WebhookTrigger
from tickover.relay.base import Accepted, Delivery, Refused, Signed
from tickover.relay.providers import PROVIDERS, provider_of, secrets_of
from tickover.relay.receive import hopeless, receive
from tickover.testing.senders import BODY, KEY, NOW, SECRET, SIGNERS, WHSEC, delivery, mac

ITEM: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)
EVERY = pytest.mark.parametrize("sender", SIGNERS)


def test_every_row_has_a_sender() -> None:
    assert {provider for provider, _, _ in SIGNERS.values()} == set(PROVIDERS)


@EVERY
def test_what_a_sender_signs_is_accepted(sender: str) -> None:
    name, secret, sign = SIGNERS[sender]
    found = receive(PROVIDERS[name], [secret], delivery(sign(BODY)), NOW)
    assert isinstance(found, Accepted), found


@EVERY
def test_one_of_two_secrets_is_enough_and_none_is_not(sender: str) -> None:
    name, secret, sign = SIGNERS[sender]
    given, wrong = delivery(sign(BODY)), b"whsec_AAAA" if secret.startswith(b"whsec_") else b"00" * 32
    assert isinstance(receive(PROVIDERS[name], [wrong, secret], given, NOW), Accepted)
    assert isinstance(receive(PROVIDERS[name], [secret, wrong], given, NOW), Accepted)
    for secrets in ([], [wrong], [b""], [b"whsec_"], [wrong, wrong]):
        found = receive(PROVIDERS[name], secrets, given, NOW)
        assert isinstance(found, Refused)
        assert found.status == 401


@EVERY
def test_a_changed_body_is_refused_where_the_body_is_signed(sender: str) -> None:
    name, secret, sign = SIGNERS[sender]
    changed = replace(delivery(sign(BODY)), body=BODY + b" ")
    found = receive(PROVIDERS[name], [secret], changed, NOW)
    signed = any(isinstance(each, Signed) and each.header in changed.headers for each in PROVIDERS[name].schemes)
    assert isinstance(found, Refused if signed else Accepted)


@EVERY
def test_without_its_header_a_delivery_is_hopeless(sender: str) -> None:
    name, secret, sign = SIGNERS[sender]
    assert not hopeless(PROVIDERS[name], delivery(sign(BODY)))
    assert hopeless(PROVIDERS[name], delivery({}))
    assert receive(PROVIDERS[name], [secret], delivery({}), NOW) == Refused(401, "header_missing")


@pytest.mark.parametrize("sender", ["stripe", "slack", "standard", "svix", "discord", "gitlab signed", "fathom"])
@pytest.mark.parametrize(("offset", "accepted"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_a_timestamp_has_its_window(sender: str, offset: int, accepted: bool) -> None:
    name, secret, sign = SIGNERS[sender]
    found = receive(PROVIDERS[name], [secret], delivery(sign(BODY)), NOW + offset)
    assert found == Refused(401, "timestamp_outside") if not accepted else isinstance(found, Accepted)


def test_linears_time_stands_in_the_body() -> None:
    _, secret, sign = SIGNERS["linear"]
    linear = PROVIDERS["linear"]
    assert receive(linear, [secret], delivery(sign(BODY)), NOW + 61) == Refused(401, "timestamp_outside")
    for body, reason in [
        (b"{}", "timestamp_missing"),
        (b"[", "timestamp_missing"),
        (b'{"webhookTimestamp": true}', "timestamp_unreadable"),
        (b'{"webhookTimestamp": 1e400}', "timestamp_missing"),
        (b'{"webhookTimestamp": "x"}', "timestamp_unreadable"),
    ]:
        assert receive(linear, [secret], delivery(sign(body), body), NOW) == Refused(401, reason)


def test_a_signing_key_is_never_a_token() -> None:
    found = receive(PROVIDERS["gitlab"], [WHSEC], delivery({"x-gitlab-token": WHSEC.decode()}), NOW)
    assert found == Refused(401, "secret_unusable")


HOSTILE_VALUES = [
    "", " ", "=", ",", "v1=", "v0=", "sha256=", "v1,", "Bearer ", "Basic ", "Basic !!!", "t=,v1=", "t=1,v1=",
    "sha256=" + "0" * 64, "sha256=" + "0" * 63, "sha256=zz", "sha256=é" + "0" * 62, "0" * 64, "A" * 44, "v1," + "A" * 43 + "=",
    "v1,????", "v1=" + "0" * 64, "v0=" + "0" * 64, "t=99999999999999999999,v1=00", "t=1e9,v1=00", "t=-1,v1=00", "t=NaN,v1=00",
    "\x00", "\xff\xfe", "²", "٣" if False else "\xb2\xb3", "9" * 5000, "," * 9000, "v1=00," * 2000, "None", "{}", "%s",
    "sha1=" + "0" * 40, "sha256=sha256=", "Bearer a-shared-secreT", "bearer a-shared-secret", "a-shared-secret ", "-1", "1.5", "0x10",
]  # fmt: skip
HOSTILE_TIMES = [None, "", "x", "-1", "1e9", "²", "9" * 20, "1790000000.5", "1790000000\x00", " 1790000000", "0", "NaN"]
HOSTILE_BODIES = [
    b"",
    b"{}",
    b"[" * 100_000,
    b"\xff\xfe\x00",
    b'{"a":1,"a":2}',
    b'{"n":' + b"9" * 10_000 + b"}",
    b'"\\ud800"',
    BODY,
]
TIMED = {"slack": "x-slack-request-timestamp", "standard": "webhook-timestamp", "svix": "svix-timestamp",
         "fathom": "webhook-timestamp", "discord": "x-signature-timestamp", "gitlab signed": "webhook-timestamp"}  # fmt: skip


@EVERY
def test_hostile_headers_are_refused_and_never_raise(sender: str) -> None:
    """Thousands of cases over all senders: none is accepted, none is an exception."""
    name, secret, sign = SIGNERS[sender]
    provider, headers = PROVIDERS[name], sign(BODY)
    count = 0
    for scheme, value, body in itertools.product(provider.schemes, HOSTILE_VALUES, HOSTILE_BODIES):
        for time in HOSTILE_TIMES if sender in TIMED else [None]:
            hostile = {key: text for key, text in headers.items() if key != scheme.header} | {scheme.header: value}
            if sender in TIMED:
                hostile.pop(TIMED[sender])
                hostile |= {TIMED[sender]: time} if time is not None else {}
            hostile = {
                key: text
                for key, text in hostile.items()
                if key not in {each.header for each in provider.schemes} - {scheme.header}
            }
            found = receive(provider, [secret], delivery(hostile, body), NOW)
            assert isinstance(found, Refused), (hostile, body[:40])
            count += 1
    assert count >= 300


def test_a_repeated_header_is_one_value_and_matches_nothing() -> None:
    _, secret, sign = SIGNERS["github"]
    [(header, value)] = sign(BODY).items()
    twice = Delivery.of([(header.encode(), value.encode())] * 2, BODY)
    assert receive(PROVIDERS["github"], [secret], twice, NOW) == Refused(401, "signature_unreadable")


def own(**verify: object) -> WebhookTrigger:
    item = ITEM.validate_python({"webhook": {"verify": verify, "id": "$.deliveries[0].id"}})
    assert isinstance(item, WebhookTrigger)
    return item


def test_a_scheme_of_ones_own() -> None:
    trigger = own(
        sig={"header": "X-Acme-Signature", "prefix": "sha256=", "encoding": "hex"},
        signed="{header:X-Acme-Time}.{body:deliveries[0].id}.{body}",
        ts="header:X-Acme-Time",
        tolerance="60s",
        secret=["acme-new", "acme-old"],
    )
    assert secrets_of(trigger) == ("acme-new", "acme-old")
    body = b'{"deliveries": [{"id": "d1"}]}'
    signature = mac(SECRET, b"%d.d1." % NOW + body).hex()
    given = delivery({"X-Acme-Time": str(int(NOW)), "X-Acme-Signature": f"sha256={signature}"}, body)
    assert receive(provider_of(trigger), [b"new", SECRET], given, NOW + 60) == Accepted("d1", "")
    assert receive(provider_of(trigger), [SECRET], given, NOW + 61) == Refused(401, "timestamp_outside")


def test_a_token_of_ones_own() -> None:
    trigger = own(token={"header": "X-Key", "prefix": "Key "}, secret="acme")
    given = delivery({"X-Key": f"Key {SECRET.decode()}", "idempotency-key": "k"}, b"not json")
    found = receive(provider_of(trigger), [SECRET], given, NOW)
    assert isinstance(found, Accepted)
    assert found.delivery.startswith("sha256:")
    assert receive(provider_of(trigger), [KEY], given, NOW) == Refused(401, "token_mismatch")


DOCUMENTED = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+12349013030",
    "Digits": "1234",
    "From": "+12349013030",
    "To": "+18005551212",
}
"""The example of Twilio's page on the security of webhooks, with the token 12345."""


def documented(**more: Any) -> Delivery:
    headers = {
        "x-twilio-signature": "0/KCTR6DLpKmkAf8muzZqo1nDgQ=",
        "content-type": "application/x-www-form-urlencoded",
    }
    return replace(
        Delivery(headers, urlencode(DOCUMENTED).encode(), "https://mycompany.com/myapp.php?foo=1&bar=2"), **more
    )


def test_twilios_own_example_holds_and_nothing_near_it() -> None:
    def said(given: Delivery, token: bytes = b"12345") -> Accepted | Refused:
        return receive(PROVIDERS["twilio"], [token], given, NOW)

    assert isinstance(said(documented()), Accepted)
    assert said(documented(), b"12346") == Refused(401, "signature_mismatch")
    for changed in (
        documented(url="https://mycompany.com/myapp.php?foo=1"),
        documented(url="http://mycompany.com/myapp.php?foo=1&bar=2"),
        documented(body=urlencode({**DOCUMENTED, "Digits": "1235"}).encode()),
        documented(body=urlencode({**DOCUMENTED, "More": ""}).encode()),
    ):
        assert said(changed) == Refused(401, "signature_mismatch")
    assert said(documented(url="")) == Refused(401, "part_missing")  # nobody said what our address is
    assert said(documented(body=b"\xff=1")) == Refused(401, "part_missing")


def test_twilio_signs_other_bodies_by_their_digest_in_the_address() -> None:
    body = b'{"type": "com.twilio.x"}'
    url = f"https://hooks.example.com/h?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = base64.b64encode(hmac.digest(b"12345", url.encode(), "sha1")).decode()
    given = Delivery({"x-twilio-signature": signature, "content-type": "application/json"}, body, url)
    assert isinstance(receive(PROVIDERS["twilio"], [b"12345"], given, NOW), Accepted)
    for wrong in (replace(given, body=body + b" "), replace(given, url=url.partition("?")[0])):
        assert receive(PROVIDERS["twilio"], [b"12345"], wrong, NOW) == Refused(401, "part_missing")
