"""Messages signed as AWS's documentation says, by a certificate of our own; and what must not be believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tickover.core.trigger import SnsTrigger, Trigger, TriggerItem
from tickover.relay.base import Accepted, Certified, Delivery, Refused
from tickover.relay.providers import provider_of, secrets_of
from tickover.relay.receive import hopeless, receive
from tickover.relay.sns import certificate_of, confirmation_of
from tickover.testing.senders import NOW
from tickover.testing.sns import CERTIFICATE, TOPIC, Amazon

ITEM: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)
AMAZON = Amazon(now=NOW)
SCHEME = Certified(TOPIC)


def provider() -> Any:
    trigger = ITEM.validate_python({"sns": {"topic": TOPIC}})
    assert isinstance(trigger, SnsTrigger)
    assert secrets_of(trigger) == ()
    return provider_of(trigger)


def came(message: dict[str, Any]) -> Delivery:
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": str(message.get("Type"))}
    return Delivery(headers, json.dumps(message).encode())


def judged(message: dict[str, Any], *, pem: bytes = AMAZON.pem, now: float = NOW) -> Accepted | Refused:
    return receive(provider(), [pem], came(message), now)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_what_amazon_signs_is_accepted_and_named(kind: str, version: str) -> None:
    message = AMAZON.message(kind, version=version)
    assert judged(message) == Accepted(message["MessageId"], kind)
    assert certificate_of(SCHEME, came(message)) == CERTIFICATE


def test_a_subject_counts_where_there_is_one() -> None:
    message = AMAZON.message(Subject="a subject")
    assert isinstance(judged(message), Accepted)
    assert judged({**message, "Subject": "another"}) == Refused(401, "signature_mismatch")
    assert judged({name: value for name, value in message.items() if name != "Subject"}).__class__ is Refused


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Message": "other"}, "signature_mismatch"),
        ({"MessageId": "other"}, "signature_mismatch"),
        ({"TopicArn": f"{TOPIC}-2"}, "topic_other"),
        ({"Type": "Other"}, "part_missing"),
        ({"Type": None}, "part_missing"),
        ({"Message": 7}, "part_missing"),
        ({"SignatureVersion": "3"}, "signature_unreadable"),
        ({"Signature": "%"}, "signature_unreadable"),
        ({"Signature": None}, "signature_unreadable"),
        ({"Signature": "AAAA"}, "signature_mismatch"),
        ({"SignatureVersion": "1"}, "signature_mismatch"),
        ({"SigningCertURL": None}, "certificate_address"),
    ],
)
def test_what_is_changed_is_refused_with_a_reason(change: dict[str, Any], reason: str) -> None:
    assert judged({**AMAZON.message(), **change}) == Refused(401, reason)


HOST = "sns.eu-central-1.amazonaws.com"
FILE = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/{FILE}",
        f"https://{HOST}:443/{FILE}",
        f"https://{HOST}./{FILE}",
        f"https://user@{HOST}/{FILE}",
        f"https://{HOST}@evil.example.com/{FILE}",
        f"https://evil.example.com/{HOST}/{FILE}",
        f"https://{HOST}.evil.example.com/{FILE}",
        f"https://sns.us-east-1.amazonaws.com/{FILE}",
        f"https://sns.eu-central-1.amazonaws.com.cn/{FILE}",
        f"https://169.254.169.254/{FILE}",
        f"https://{HOST}/../{FILE}",
        f"https://{HOST}/{FILE}?a=b",
        f"https://{HOST}/{FILE}#a",
        f"https://{HOST}/other.pem",
        f"https://{HOST}/x/{FILE}",
        f"https://{HOST}\\@evil.example.com/{FILE}",
        f"https://[{HOST}/{FILE}",
        f"HTTPS://{HOST.upper()}/{FILE}",
        f" https://{HOST}/{FILE}",
        f"https://{HOST}/{FILE}\n",
        "",
        7,
    ],
)
def test_only_amazons_own_address_for_the_region_is_ever_asked_for_a_certificate(url: Any) -> None:
    message = AMAZON.message(SigningCertURL=url)
    assert certificate_of(SCHEME, came(message)) is None
    assert judged(message) == Refused(401, "certificate_address")


def test_another_topic_asks_for_no_certificate() -> None:
    assert certificate_of(Certified(f"{TOPIC}-2"), came(AMAZON.message())) is None


def test_a_certificate_counts_while_it_is_valid_and_only_if_it_is_one() -> None:
    message = AMAZON.message()
    assert judged(message, pem=Amazon(now=NOW - 400 * 86400).pem) == Refused(401, "secret_unusable")
    assert judged(message, pem=Amazon(now=NOW).pem) == Refused(401, "signature_mismatch")
    assert judged(message, pem=b"no certificate") == Refused(401, "secret_unusable")
    assert receive(provider(), [], came(message), NOW) == Refused(401, "secret_unusable")


def test_a_message_is_taken_for_a_week_and_no_longer() -> None:
    message = AMAZON.message()
    assert isinstance(judged(message, now=NOW + 6 * 86400), Accepted)
    assert judged(message, now=NOW + 8 * 86400) == Refused(401, "timestamp_outside")
    assert judged(AMAZON.message(Timestamp="yesterday")) == Refused(401, "timestamp_unreadable")


def test_what_no_header_announces_is_hopeless_and_raw_delivery_proves_nothing() -> None:
    assert hopeless(provider(), Delivery({"content-type": "text/plain"}, b""))
    raw = Delivery({"x-amz-sns-message-type": "Notification", "x-amz-sns-rawdelivery": "true"}, b'{"a": 1}')
    assert receive(provider(), [AMAZON.pem], raw, NOW) == Refused(401, "part_missing")


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.dictionaries(
            st.sampled_from([*AMAZON.message("SubscriptionConfirmation"), "Subject"]),
            st.one_of(st.none(), st.integers(), st.text(max_size=40), st.lists(st.text(), max_size=2)),
        ).map(lambda change: json.dumps({**AMAZON.message(), **change, "Message": "changed"}).encode()),
    )
)
def test_whatever_comes_it_answers_and_believes_nothing(body: bytes) -> None:
    delivery = Delivery({"x-amz-sns-message-type": "Notification"}, body)
    assert isinstance(receive(provider(), [AMAZON.pem], delivery, NOW), Refused)
    certificate_of(SCHEME, delivery)


def test_a_subscription_is_confirmed_at_amazons_address_for_this_topic_alone() -> None:
    message = AMAZON.message("SubscriptionConfirmation")
    url = message["SubscribeURL"]
    assert confirmation_of(TOPIC, message) == url
    for wrong in (
        {**message, "Type": "Notification"},
        {**message, "TopicArn": f"{TOPIC}-2"},
        {**message, "SubscribeURL": url.replace(HOST, "evil.example.com")},
        {**message, "SubscribeURL": url.replace("ConfirmSubscription", "Unsubscribe")},
        {**message, "SubscribeURL": url.replace("TopicArn=", "TopicArn=x")},
        {**message, "SubscribeURL": f"{url}&Action=DeleteTopic"},
        {**message, "SubscribeURL": None},
        "no message",
    ):
        assert confirmation_of(TOPIC, wrong) is None


@pytest.mark.parametrize("topic", ["", "arn:aws:sqs:eu-central-1:123456789012:a", "arn:aws:sns:x/y:123456789012:a"])
def test_a_topic_is_a_topic(topic: str) -> None:
    with pytest.raises(ValidationError):
        ITEM.validate_python({"sns": {"topic": topic}})
