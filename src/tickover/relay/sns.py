"""AWS SNS: a message names the certificate that signed it. Only Amazon's address for the topic's own region counts.

Anybody can have a topic whose messages Amazon signs, so what proves a sender is the topic, which the routine names.
Sources: docs.aws.amazon.com/sns/latest/dg, "Verifying the signatures of Amazon SNS messages", "HTTP/HTTPS notification
JSON format".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tickover.relay.base import Certified, Delivery

NOTIFICATION: Final = "Notification"
CONFIRMATION: Final = "SubscriptionConfirmation"
_SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        (CONFIRMATION, "UnsubscribeConfirmation"),
        ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_OPTIONAL: Final = "Subject"
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - version 1 is what Amazon sends unless told otherwise
_DOMAINS: Final = {"aws-cn": "amazonaws.com.cn"}
_FILE: Final = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
_LONGEST: Final = 1000  # characters of an address, or of a signature

TOLERANCE: Final = 7 * 86400.0
"""Seconds. A message keeps its time while it is sent again, for days; its id is known for longer than this."""


def host_of(topic: str) -> str:
    """Return where the certificates and confirmations of a topic's region are."""
    _, partition, _, region, *_ = topic.split(":")
    return f"sns.{region}.{_DOMAINS.get(partition, 'amazonaws.com')}"


def certificate_of(scheme: Certified, delivery: Delivery) -> str | None:
    """Return the address of the certificate that a message of the topic names; None: nothing to be fetched for it."""
    message = _message(scheme, delivery)
    return None if isinstance(message, str) else _certificate(scheme, message)


def verify_message(scheme: Certified, certificates: Sequence[bytes], delivery: Delivery, now: float) -> str:
    """Return "" if one of the certificates (PEM) signed the message, else the reason why not. It never raises."""
    message = _message(scheme, delivery)
    if isinstance(message, str):
        return message
    if _certificate(scheme, message) is None:
        return "certificate_address"
    signed = _text(message)
    algorithm = _HASHES.get(str(message.get("SignatureVersion")))
    signature = _decoded(message.get("Signature"))
    if signed is None:
        return "part_missing"
    if algorithm is None or signature is None:
        return "signature_unreadable"
    keys = [key for pem in certificates if (key := _key(pem, int(now) // 60)) is not None]
    if not keys:
        return "secret_unusable"
    if not any(_is_signed(key, signature, signed, algorithm) for key in keys):
        return "signature_mismatch"
    return _late(message["Timestamp"], now)


def confirmation_of(topic: str, message: Any) -> str | None:
    """Return the address that confirms a subscription to the topic; None if the message has none that is Amazon's."""
    if not isinstance(message, dict) or (message.get("Type"), message.get("TopicArn")) != (CONFIRMATION, topic):
        return None
    url = message.get("SubscribeURL")
    parts = _at(url, host_of(topic))
    if parts is None or parts.path not in {"", "/"}:
        return None
    asked = parse_qs(parts.query)
    same = asked.get("Action") == ["ConfirmSubscription"] and asked.get("TopicArn") == [topic]
    return str(url) if same else None


def _message(scheme: Certified, delivery: Delivery) -> dict[str, Any] | str:
    """Return the message, or why it is none of the topic."""
    message = delivery.content
    if not isinstance(message, dict) or str(message.get("Type")) not in _SIGNED:
        return "part_missing"  # raw delivery: nobody signed it
    return message if message.get("TopicArn") == scheme.topic else "topic_other"


def _certificate(scheme: Certified, message: Mapping[str, Any]) -> str | None:
    url = message.get("SigningCertURL")
    parts = _at(url, host_of(scheme.topic))
    fits = parts is not None and not parts.query and _FILE.fullmatch(parts.path) is not None
    return str(url) if fits else None


def _at(url: Any, host: str) -> Any:
    """Return the parts of an https address whose host and port are these and nothing else."""
    if not isinstance(url, str) or len(url) > _LONGEST or not url.isascii() or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if (parts.scheme, parts.netloc, parts.fragment) == ("https", host, "") and " " not in url else None


def _text(message: Mapping[str, Any]) -> bytes | None:
    lines = []
    for name in _SIGNED[str(message["Type"])]:
        value = message.get(name)
        if value is None and name == _OPTIONAL:
            continue
        if not isinstance(value, str):
            return None
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def _decoded(text: Any) -> bytes | None:
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        return base64.b64decode(text, validate=True) or None
    except (ValueError, binascii.Error):
        return None


@lru_cache(maxsize=64)
def _key(pem: bytes, minute: int) -> RSAPublicKey | None:
    """Return the key of a certificate that is valid in this minute of UTC."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except ValueError:
        return None
    at = datetime.fromtimestamp(minute * 60, UTC)
    valid = certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
    return key if valid and isinstance(key, RSAPublicKey) else None


def _is_signed(key: RSAPublicKey, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    try:
        key.verify(signature, signed, PKCS1v15(), algorithm)
    except (InvalidSignature, ValueError):
        return False
    return True


def _late(timestamp: str, now: float) -> str:
    try:
        at = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return "timestamp_unreadable"
    return "" if abs(now - at) <= TOLERANCE else "timestamp_outside"
