"""One row per sender: how it signs, how it names a delivery and what happened.

Sources: each sender's page on webhook signatures; the Standard Webhooks specification 1.0; for the alerts
prometheus/alertmanager, notify/webhook. Tests compare the rows with the senders' own libraries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tickover.core.trigger import EventTrigger, GitHubTrigger, ProviderTrigger, SnsTrigger, WebhookTrigger
from tickover.relay.base import Certified, Provider, Signed, Token
from tickover.relay.identify import alert_group, discord_ping, slack_challenge
from tickover.relay.verify import scheme_of

_HUB = Signed("x-hub-signature", prefix="sha256=")
_STANDARD = Signed(
    "webhook-signature",
    signed="{header:webhook-id}.{header:webhook-timestamp}.{body}",
    prefix="v1,",
    encoding="base64",
    split=" ",
    ts="header:webhook-timestamp",
    secret_form="whsec",  # noqa: S106 - how it is written
)
_SVIX = replace(
    _STANDARD,
    header="svix-signature",
    signed="{header:svix-id}.{header:svix-timestamp}.{body}",
    ts="header:svix-timestamp",
)
_BEARER = Token("authorization", "Bearer ")
_BASIC = Token("authorization", basic=True)
_OWN = Token("x-tickover-token")
_TYPE = ("body:type",)

_ROWS: Final = (
    Provider(
        "github",
        (Signed("x-hub-signature-256", prefix="sha256="),),
        ids=("header:x-github-delivery",),
        event=("header:x-github-event", "body:action"),
        keep=("x-github-event", "x-github-delivery", "x-github-hook-installation-target-type"),
    ),
    Provider(
        "gitlab",
        (_STANDARD, Token("x-gitlab-token")),
        ids=("header:webhook-id", "header:idempotency-key", "header:x-gitlab-event-uuid"),
        event=("body:object_kind", "body:object_attributes.action"),
        keep=("x-gitlab-event", "x-gitlab-instance"),
    ),
    Provider(
        "stripe",
        (Signed("stripe-signature", signed="{kv:t}.{body}", prefix="v1=", split=",", kv=True, ts="kv:t"),),
        ids=("body:id",),
        event=_TYPE,
    ),
    Provider(
        "slack",
        (
            Signed(
                "x-slack-signature",
                signed="v0:{header:x-slack-request-timestamp}:{body}",
                prefix="v0=",
                ts="header:x-slack-request-timestamp",
            ),
        ),
        ids=("body:event_id", "body:trigger_id"),
        event=("body:event.type", "body:command"),
        keep=("x-slack-retry-num", "x-slack-retry-reason"),
        handshake=slack_challenge,
    ),
    Provider("standard", (_STANDARD,), ids=("header:webhook-id",), event=_TYPE, keep=("webhook-id",)),
    Provider("svix", (_SVIX, _STANDARD), ids=("header:svix-id", "header:webhook-id"), event=_TYPE, keep=("svix-id",)),
    Provider("fathom", (_STANDARD,), ids=("header:webhook-id",), event=_TYPE, keep=("webhook-id",)),
    Provider(
        "linear",
        (Signed("linear-signature", ts="body:webhookTimestamp", ts_unit="ms", tolerance=60.0),),
        ids=("header:linear-delivery",),
        event=("header:linear-event", "body:action"),
        keep=("linear-event", "linear-delivery"),
    ),
    Provider(
        "sentry",
        (Signed("sentry-hook-signature"),),
        ids=("header:request-id",),
        event=("header:sentry-hook-resource", "body:action"),
        keep=("sentry-hook-resource", "sentry-hook-timestamp"),
    ),
    Provider(
        "pagerduty",
        (Signed("x-pagerduty-signature", prefix="v1=", split=","),),
        ids=("body:event.id",),
        event=("body:event.event_type",),
    ),
    Provider("alertmanager", (_BEARER, _BASIC), event=("body:status",), key=alert_group),
    Provider("grafana", (_BEARER, _BASIC), event=("body:status",), key=alert_group),
    Provider(
        "shopify",
        (Signed("x-shopify-hmac-sha256", encoding="base64"),),
        ids=("header:x-shopify-event-id", "header:x-shopify-webhook-id"),
        event=("header:x-shopify-topic",),
        keep=("x-shopify-topic", "x-shopify-shop-domain"),
    ),
    Provider(
        "jira",
        (_HUB,),
        ids=("header:x-atlassian-webhook-identifier",),
        event=("body:webhookEvent",),
        keep=("x-atlassian-webhook-identifier",),
    ),
    Provider(
        "bitbucket", (_HUB,), ids=("header:x-request-uuid",), event=("header:x-event-key",), keep=("x-event-key",)
    ),
    Provider(
        "discord",
        (
            Signed(
                "x-signature-ed25519",
                signed="{header:x-signature-timestamp}{body}",
                algo="ed25519",
                ts="header:x-signature-timestamp",
            ),
        ),
        ids=("body:id",),
        event=("body:event.type",),
        handshake=discord_ping,
    ),
    Provider(
        "twilio",
        (Signed("x-twilio-signature", signed="{url}{form}", encoding="base64", algo="hmac-sha1"),),
        ids=("header:i-twilio-idempotency-token",),
        event=("body:SmsStatus", "body:CallStatus"),
        keep=("i-twilio-idempotency-token",),
    ),
    Provider("zapier", (_BEARER, _OWN), ids=("header:idempotency-key",), event=_TYPE),
    Provider("make", (_BEARER, _OWN), ids=("header:idempotency-key",), event=_TYPE),
)

PROVIDERS: Final = {row.name: row for row in _ROWS}


def provider_of(trigger: EventTrigger) -> Provider:
    """Return the row of a trigger; a `webhook` brings its own scheme, `sns` its topic."""
    if isinstance(trigger, SnsTrigger):
        keep = ("x-amz-sns-message-type",)
        return Provider("sns", (Certified(trigger.topic),), ids=("body:MessageId",), event=("body:Type",), keep=keep)
    if not isinstance(trigger, WebhookTrigger):
        return PROVIDERS[trigger.kind]
    scheme = scheme_of(trigger.verify)
    ids = (f"body:{trigger.id}",) if trigger.id else ("header:idempotency-key",)
    return Provider("webhook", (scheme,), ids=ids, event=_TYPE)


def secrets_of(trigger: EventTrigger) -> tuple[str, ...]:
    """Return the names of the secrets that verify a trigger's deliveries; two while one is replaced."""
    if isinstance(trigger, WebhookTrigger):
        given = trigger.verify.secret
        return (given,) if isinstance(given, str) else tuple(given)
    if isinstance(trigger, GitHubTrigger | ProviderTrigger):
        return (trigger.secret,) if trigger.secret else ()
    return ()
