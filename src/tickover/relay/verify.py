"""The verifier: one function for every scheme. It is total: whatever the headers and the body hold, it answers.

It gives "" or a stable reason. Every secret is tried with every signature, in constant time, so that two secrets can
be valid while one is replaced. The body counts as its raw bytes and is never written again.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tickover.core.lookup import MISSING
from tickover.core.trigger import Verify
from tickover.relay.base import MAX_HEADER, Certified, Delivery, Scheme, Signed, Token, reference
from tickover.relay.form import sorted_form
from tickover.relay.sns import verify_message

_HOLE = re.compile(r"\{([a-z]+(?::[^{}]*)?)\}")
_DIGITS = re.compile(r"[0-9]{1,13}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_CANDIDATES: Final = 16
WHSEC: Final = b"whsec_"


def scheme_of(verify: Verify) -> Scheme:
    """Return a routine's own scheme, as it stands in `webhook.verify`."""
    if verify.token is not None:
        return Token(verify.token.header.lower(), verify.token.prefix)
    sig = verify.sig
    assert sig is not None
    return Signed(
        header=sig.header.lower(),
        signed=verify.signed,
        prefix=sig.prefix,
        encoding=sig.encoding,
        split=sig.split,
        kv=sig.kv,
        algo=sig.algo,
        ts=verify.ts,
        ts_unit=verify.ts_unit,
        tolerance=float(verify.tolerance),
        secret_form=verify.secret_form,
    )


def verify(scheme: Scheme, secrets: Sequence[bytes], delivery: Delivery, now: float) -> str:
    """Return "" if the delivery proves its sender, else the reason why not. `now` is UTC epoch seconds.

    For a `Certified` one the secrets are certificates.
    """
    value = delivery.headers.get(scheme.header)
    if value is None:
        return "header_missing"
    if len(value) > MAX_HEADER:
        return "header_too_long"
    if isinstance(scheme, Token):
        return _token(scheme, secrets, value)
    if isinstance(scheme, Certified):
        return verify_message(scheme, secrets, delivery, now)
    return _signature(scheme, secrets, delivery, value, now)


def _token(scheme: Token, secrets: Sequence[bytes], value: str) -> str:
    prefix = "Basic " if scheme.basic else scheme.prefix
    if not value.startswith(prefix):
        return "token_form"
    got = value[len(prefix) :].encode("latin-1")
    if scheme.basic:
        try:
            got = base64.b64decode(got, validate=True)
        except (ValueError, binascii.Error):
            return "token_form"
    # A signing key is none of the tokens: nobody sends one in the clear.
    usable = [secret for secret in secrets if secret and not secret.startswith(WHSEC)]
    if not usable:
        return "secret_unusable"
    matched = [hmac.compare_digest(got, secret) for secret in usable]
    return "" if any(matched) else "token_mismatch"


def _signature(scheme: Signed, secrets: Sequence[bytes], delivery: Delivery, value: str, now: float) -> str:
    parts = [part.strip() for part in (value.split(scheme.split) if scheme.split else [value])]
    pairs: dict[str, str] = {}
    for part in parts if scheme.kv else ():
        name, _, rest = part.partition("=")
        pairs.setdefault(name, rest)
    given = [_decoded(part[len(scheme.prefix) :], scheme) for part in parts if part.startswith(scheme.prefix)]
    signatures = [each for each in given if each][:_CANDIDATES]
    if not signatures:
        return "signature_unreadable"
    in_body = scheme.ts is not None and scheme.ts.startswith("body:")
    if scheme.ts is not None and not in_body and (late := _late(scheme, delivery, pairs, now)):
        return late
    message = _message(scheme.signed, delivery, pairs)
    if message is None:
        return "part_missing"
    keys = [key for secret in secrets if (key := _key(scheme, secret))]
    if not keys:
        return "secret_unusable"
    matched = [_matches(scheme, key, message, signature) for key in keys for signature in signatures]
    if not any(matched):
        return "signature_mismatch"
    return _late(scheme, delivery, pairs, now) if in_body else ""


def _decoded(text: str, scheme: Signed) -> bytes | None:
    if scheme.encoding == "hex":
        return bytes.fromhex(text) if _HEX.fullmatch(text) else None
    try:
        return base64.b64decode(text, validate=True) if _BASE64.fullmatch(text) else None
    except (ValueError, binascii.Error):
        return None


def _late(scheme: Signed, delivery: Delivery, pairs: Mapping[str, str], now: float) -> str:
    value = reference(delivery, scheme.ts or "", pairs)
    if value is MISSING:
        return "timestamp_missing"
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "timestamp_unreadable"
    if not 0 <= value < 10**14:
        return "timestamp_unreadable"
    seconds = value / 1000 if scheme.ts_unit == "ms" else value
    return "" if abs(now - seconds) <= scheme.tolerance else "timestamp_outside"


def _message(template: str, delivery: Delivery, pairs: Mapping[str, str]) -> bytes | None:
    """Put together what was signed; None if a part of it is not there."""
    pieces: list[bytes] = []
    end = 0
    for hole in _HOLE.finditer(template):
        pieces.append(template[end : hole.start()].encode())
        end = hole.end()
        if hole[1] == "body":
            pieces.append(delivery.body)
            continue
        if hole[1] in {"url", "form"}:
            part = delivery.url.encode("latin-1", "replace") if hole[1] == "url" else sorted_form(delivery)
            if not delivery.url or part is None:
                return None
            pieces.append(part)
            continue
        value = reference(delivery, hole[1], pairs)
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        # Headers are bytes as Latin-1; text of the body is UTF-8, half a surrogate pair as it can be written.
        charset = "utf-8" if hole[1].startswith("body:") else "latin-1"
        pieces.append(str(value).encode(charset, "surrogatepass" if charset == "utf-8" else "replace"))
    pieces.append(template[end:].encode())
    return b"".join(pieces)


def _key(scheme: Signed, secret: bytes) -> bytes | None:
    """Return the key that a secret is, None if it is none. An empty key would let everybody sign."""
    text = secret.strip()
    try:
        if scheme.algo == "ed25519":
            return bytes.fromhex(text.decode("ascii"))
        if scheme.secret_form == "text":  # noqa: S105
            return secret or None
        text = text.removeprefix(WHSEC)
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True) or None
    except (ValueError, binascii.Error):
        return None


def _matches(scheme: Signed, key: bytes, message: bytes, signature: bytes) -> bool:
    if scheme.algo != "ed25519":
        return hmac.compare_digest(hmac.digest(key, message, scheme.algo.removeprefix("hmac-")), signature)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
