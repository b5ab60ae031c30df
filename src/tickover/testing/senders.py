"""Deliveries of every sender, signed as he says, by code that shares nothing with the verifier."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from urllib.parse import unquote_plus

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tickover.relay.base import Delivery

NOW = 1_790_000_000.0
SECRET = b"a-shared-secret"
KEY = b"0123456789abcdef0123456789abcdef"
WHSEC = b"whsec_" + base64.b64encode(KEY)
ED25519 = Ed25519PrivateKey.from_private_bytes(KEY)
PUBLIC = ED25519.public_key().public_bytes_raw().hex().encode()


def mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def plain_hex(header: str, prefix: str = "") -> Callable[[bytes], dict[str, str]]:
    return lambda body: {header: prefix + mac(SECRET, body).hex()}


def standard(kind: str) -> Callable[[bytes], dict[str, str]]:
    def sign(body: bytes) -> dict[str, str]:
        signature = base64.b64encode(mac(KEY, b"msg_1.%d." % NOW + body)).decode()
        return {f"{kind}-id": "msg_1", f"{kind}-timestamp": str(int(NOW)), f"{kind}-signature": f"v1a,x v1,{signature}"}

    return sign


def stripe(body: bytes) -> dict[str, str]:
    return {"stripe-signature": f"t={int(NOW)},v1={mac(SECRET, b'%d.' % NOW + body).hex()},v0=00"}


def slack(body: bytes) -> dict[str, str]:
    signature = mac(SECRET, b"v0:%d:" % NOW + body).hex()
    return {"x-slack-signature": f"v0={signature}", "x-slack-request-timestamp": str(int(NOW))}


def discord(body: bytes) -> dict[str, str]:
    signature = ED25519.sign(b"%d" % NOW + body).hex()
    return {"x-signature-ed25519": signature, "x-signature-timestamp": str(int(NOW))}


def shopify(body: bytes) -> dict[str, str]:
    return {"x-shopify-hmac-sha256": base64.b64encode(mac(SECRET, body)).decode(), "x-shopify-topic": "orders/create"}


def token(header: str, prefix: str = "") -> Callable[[bytes], dict[str, str]]:
    return lambda _: {header: prefix + SECRET.decode()}


def basic(_: bytes) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(b"user:" + SECRET).decode()}


URL = "https://hooks.example.com/hooks/r/twilio"


def twilio(body: bytes) -> dict[str, str]:
    """Sign a form of one field named as the whole body: any body is one, if it is sent so."""
    fields: dict[str, str] = {}
    for pair in body.decode().split("&"):
        name, _, value = pair.partition("=")
        fields[unquote_plus(name)] = unquote_plus(value)
    text = URL + "".join(name + fields[name] for name in sorted(fields))
    signature = base64.b64encode(hmac.new(SECRET, text.encode(), hashlib.sha1).digest()).decode()
    return {"x-twilio-signature": signature, "content-type": "application/x-www-form-urlencoded"}


SIGNERS: dict[str, tuple[str, bytes, Callable[[bytes], dict[str, str]]]] = {
    "github": ("github", SECRET, plain_hex("x-hub-signature-256", "sha256=")),
    "gitlab token": ("gitlab", SECRET, token("x-gitlab-token")),
    "gitlab signed": ("gitlab", WHSEC, standard("webhook")),
    "stripe": ("stripe", SECRET, stripe),
    "slack": ("slack", SECRET, slack),
    "standard": ("standard", WHSEC, standard("webhook")),
    "svix": ("svix", WHSEC, standard("svix")),
    "fathom": ("fathom", WHSEC, standard("webhook")),
    "linear": ("linear", SECRET, plain_hex("linear-signature")),
    "sentry": ("sentry", SECRET, plain_hex("sentry-hook-signature")),
    "pagerduty": ("pagerduty", SECRET, lambda body: {"x-pagerduty-signature": f"v1=00,v1={mac(SECRET, body).hex()}"}),
    "alertmanager bearer": ("alertmanager", SECRET, token("authorization", "Bearer ")),
    "alertmanager basic": ("alertmanager", b"user:" + SECRET, basic),
    "grafana basic": ("grafana", b"user:" + SECRET, basic),
    "shopify": ("shopify", SECRET, shopify),
    "jira": ("jira", SECRET, plain_hex("x-hub-signature", "sha256=")),
    "bitbucket": ("bitbucket", SECRET, plain_hex("x-hub-signature", "sha256=")),
    "discord": ("discord", PUBLIC, discord),
    "twilio": ("twilio", SECRET, twilio),
    "zapier": ("zapier", SECRET, token("authorization", "Bearer ")),
    "make": ("make", SECRET, token("x-tickover-token")),
}

BODY = json.dumps({"id": "evt_1", "type": "a.b", "webhookTimestamp": NOW * 1000}).encode()


def delivery(headers: dict[str, str], body: bytes = BODY) -> Delivery:
    return Delivery({name.lower(): value for name, value in headers.items()}, body, URL)
