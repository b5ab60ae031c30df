"""What Twilio signs beside the address: a form's fields, sorted; or the digest of any other body, in the address.

Source: https://www.twilio.com/docs/usage/webhooks/webhooks-security; its own libraries take a field's different values
once each, sorted.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tickover.relay.base import Delivery

_FORM: Final = "application/x-www-form-urlencoded"
_FIELDS: Final = 1000


def sorted_form(delivery: Delivery) -> bytes | None:
    """Return NAMEVALUENAMEVALUE...; nothing for a body whose digest the address has; None for what nobody signed."""
    if delivery.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return _digested(delivery)
    try:
        fields = parse_qs(
            delivery.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS
        )
    except ValueError:
        return None
    text = "".join(name + value for name in sorted(fields) for value in sorted(set(fields[name])))
    return text.encode("utf-8", "surrogatepass")


def _digested(delivery: Delivery) -> bytes | None:
    try:
        given = parse_qs(urlsplit(delivery.url).query).get("bodySHA256", [""])[0]
    except ValueError:
        return None
    actual = hashlib.sha256(delivery.body).hexdigest()
    return b"" if hmac.compare_digest(given.lower().encode("utf-8", "replace"), actual.encode()) else None
