"""An address that gets the message as JSON, signed as Standard Webhooks 1.0.0 has it (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from tickover.core.notice import Message, WebhookTarget, json_of
from tickover.core.text import one_line
from tickover.notify.base import Envelope, NotifyError, Secret
from tickover.notify.post import post

_PREFIX: Final = b"whsec_"


class Notifier:
    """Posts, and takes any 2xx as delivered."""

    async def send(self, message: Message, target: WebhookTarget, envelope: Envelope, secret: Secret) -> str:
        body = json_of(message)
        headers = {"content-type": "application/json", "user-agent": "tickover"}
        headers |= {"webhook-id": envelope.id, "webhook-timestamp": str(int(envelope.at))}
        if target.secret is not None:
            headers["webhook-signature"] = signature(secret(target.secret), envelope.id, int(envelope.at), body)
        said = await post(target.url, body, headers)
        return one_line(said.decode("utf-8", "replace")) or "taken"


def signature(secret: bytes, id_: str, at: int, body: bytes) -> str:
    """Sign a message. A secret that begins with `whsec_` is base64, any other is the key itself. Raises NotifyError."""
    key = secret.strip()
    if key.startswith(_PREFIX):
        try:
            key = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise NotifyError("secret", "the signing secret is no base64 after `whsec_`", again=False) from None
    signed = f"{id_}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
