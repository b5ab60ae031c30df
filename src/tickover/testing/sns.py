"""A double of AWS SNS: messages signed by a certificate of its own, by code that shares nothing with the verifier."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

TOPIC: Final = "arn:aws:sns:eu-central-1:123456789012:alerts"
_AT: Final = "https://sns.eu-central-1.amazonaws.com"
CERTIFICATE: Final = f"{_AT}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
SUBSCRIBE: Final = f"{_AT}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb687f"
CONFIRMED: Final = (
    b'<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ConfirmSubscriptionResult>'
    b"<SubscriptionArn>" + TOPIC.encode() + b":2bcfbf39-05c3-41de-beaa-fcfcc21c8f55</SubscriptionArn>"
    b"</ConfirmSubscriptionResult></ConfirmSubscriptionResponse>"
)
"""What the address of a confirmation answers (docs.aws.amazon.com/sns/latest/api, "ConfirmSubscription")."""


class Amazon:
    """Signs messages. `pem` is its certificate, good for a year from a day before `now` (UTC seconds)."""

    def __init__(self, *, now: float) -> None:
        self._now = datetime.fromtimestamp(now, UTC)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
        made = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(self._now - timedelta(days=1)).not_valid_after(self._now + timedelta(days=365))
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def message(self, kind: str = "Notification", *, version: str = "2", **fields: Any) -> dict[str, Any]:
        """Return a message as it is sent, with these fields in it, signed."""
        message: dict[str, Any] = {
            "Type": kind,
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Message": '{"AlarmName": "disk"}',
            "Timestamp": self._now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE,
        }
        if kind != "Notification":
            message |= {"Token": "2336412f37fb687f", "SubscribeURL": SUBSCRIBE}
        message |= fields
        signed = ""
        for name in sorted(message):
            if name not in {"SignatureVersion", "SigningCertURL", "UnsubscribeURL"}:
                signed += f"{name}\n{message[name]}\n"
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - as Amazon's version 1
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), algorithm)
        return {**message, "Signature": base64.b64encode(signature).decode()}
