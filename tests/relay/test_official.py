"""The senders' own libraries sign, we verify; and what we refuse they refuse, too."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier
from standardwebhooks.webhooks import Webhook as Standard
from svix.webhooks import Webhook as Svix

from tickover.relay.base import Accepted, Delivery
from tickover.relay.providers import PROVIDERS
from tickover.relay.receive import receive
from tickover.testing.senders import SECRET, WHSEC, delivery

bodies = st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "replace").encode())
few = settings(max_examples=60, deadline=None)


class Fixed(Clock):
    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


def accepted(provider: str, secret: bytes, given: Delivery, now: float) -> bool:
    return isinstance(receive(PROVIDERS[provider], [secret], given, now), Accepted)


@few
@given(bodies, st.integers(0, 2_000_000_000))
def test_slack(body: bytes, at: int) -> None:
    official = SignatureVerifier(SECRET.decode(), Fixed(at))
    signature = official.generate_signature(timestamp=str(at), body=body)
    assert signature is not None
    headers = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": str(at)}
    assert accepted("slack", SECRET, delivery(headers, body), at)
    assert not accepted("slack", SECRET, delivery(headers, body + b"x"), at)
    assert not official.is_valid(body + b"x", str(at), signature)


@few
@given(bodies)
def test_stripe(body: bytes) -> None:
    now = int(time.time())
    compute = stripe.WebhookSignature._compute_signature
    header = f"t={now},v1={compute(f'{now}.{body.decode()}', SECRET.decode())}"
    assert stripe.WebhookSignature.verify_header(body.decode(), header, SECRET.decode(), 300)
    assert accepted("stripe", SECRET, delivery({"stripe-signature": header}, body), now)
    assert not accepted("stripe", SECRET, delivery({"stripe-signature": header}, body + b"x"), now)


@few
@given(bodies, st.integers(0, 2_000_000_000))
def test_standard_webhooks(body: bytes, at: int) -> None:
    signature = Standard(WHSEC.decode()).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}
    for provider in ("standard", "fathom", "gitlab"):
        assert accepted(provider, WHSEC, delivery(headers, body), at)
        assert not accepted(provider, WHSEC, delivery(headers, body + b"x"), at)


@few
@given(bodies, st.integers(0, 2_000_000_000))
def test_svix(body: bytes, at: int) -> None:
    signature = Svix(WHSEC.decode()).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())
    headers = {"svix-id": "msg_1", "svix-timestamp": str(at), "svix-signature": signature}
    assert accepted("svix", WHSEC, delivery(headers, body), at)
    assert not accepted("svix", WHSEC, delivery({**headers, "svix-id": "msg_2"}, body), at)


def test_the_official_window_is_ours() -> None:
    now = int(time.time())
    for offset, good in ((0, True), (-400, False)):
        header = f"t={now + offset},v1={stripe.WebhookSignature._compute_signature(f'{now + offset}.x', 's')}"
        assert accepted("stripe", b"s", delivery({"stripe-signature": header}, b"x"), now) is good
        if not good:
            with pytest.raises(stripe.SignatureVerificationError):
                stripe.WebhookSignature.verify_header("x", header, "s", 300)
