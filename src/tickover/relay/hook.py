"""Where a sender sends to: one URL for each trigger, and what proves whoever uses it."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from tickover.relay.base import Provider


@dataclass(frozen=True, slots=True)
class Hook:
    """One URL: `source` is what its events are filed under, ROUTINE/TRIGGER.

    `secrets` are names. `token` is the last part of the URL where the sender has no other proof; then the provider's
    schemes are not asked. `paused`: answered with 410.
    """

    source: str
    provider: Provider
    secrets: Sequence[str] = ()
    token: str | None = None
    paused: bool = False


def hook_token(key: bytes, source: str) -> str:
    """Make the unguessable last part of a hook's URL from the instance's key: the same for the same hook."""
    return hmac.digest(key, b"hook\0" + source.encode(), "sha256").hex()[:40]
