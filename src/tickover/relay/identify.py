"""Handshakes, and names for deliveries whose sender gives none."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from tickover.relay.base import Answer, Delivery, Provider, reference

_PLAIN = re.compile(r"[!-~]{1,200}")
_NAME = re.compile(r"[!-~ ]{1,100}")


def delivery_id(provider: Provider, delivery: Delivery) -> str:
    """Return what stays the same when the sender sends this again: his id, else the alerts' key, else the digest."""
    for name in provider.ids:
        value = reference(delivery, name, {})
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)[:200]
        if isinstance(value, str) and value:
            return value if _PLAIN.fullmatch(value) else f"sha256:{_digest(value)}"
    key = provider.key(delivery.content)
    return f"group:{_digest(key)}" if key else f"sha256:{hashlib.sha256(delivery.body).hexdigest()}"


def event_name(provider: Provider, delivery: Delivery) -> str:
    """Return the sender's name for what happened: `pull_request.opened`, `invoice.paid`; "" if he has none."""
    parts = [reference(delivery, name, {}) for name in provider.event]
    return ".".join(part for part in parts if isinstance(part, str) and _NAME.fullmatch(part))


def alert_group(content: Any) -> str | None:
    """Name a group of alerts by what it says: Alertmanager and Grafana send the same group again by design.

    groupKey, status, and each alert's fingerprint and start (prometheus/alertmanager, notify/webhook/webhook.go).
    """
    if not isinstance(content, dict) or not isinstance(content.get("groupKey"), str):
        return None
    alerts = content.get("alerts")
    named = sorted(
        [str(alert.get("fingerprint")), str(alert.get("startsAt"))]
        for alert in (alerts if isinstance(alerts, list) else [])
        if isinstance(alert, dict)
    )
    return json.dumps([content["groupKey"], str(content.get("status")), named])


def slack_challenge(delivery: Delivery) -> Answer | None:
    """Answer `url_verification` with its challenge, as plain text (docs.slack.dev, "url_verification")."""
    content = delivery.content
    if not isinstance(content, dict) or content.get("type") != "url_verification":
        return None
    challenge = content.get("challenge")
    text = challenge if isinstance(challenge, str) and len(challenge) <= 1000 else ""
    return Answer(text.encode("utf-8", "replace"), "text/plain; charset=utf-8")


def discord_ping(delivery: Delivery) -> Answer | None:
    """Answer PING (type 1) with PONG."""
    content = delivery.content
    is_ping = isinstance(content, dict) and content.get("type") == 1 and content.get("type") is not True
    return Answer(b'{"type":1}') if is_ping else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
