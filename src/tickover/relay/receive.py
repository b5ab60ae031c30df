"""The verb of the relay: a delivery is accepted with its name, or refused with a reason. It never raises."""

from __future__ import annotations

from collections.abc import Sequence

from tickover.relay.base import Accepted, Delivery, Provider, Refused
from tickover.relay.identify import delivery_id, event_name
from tickover.relay.verify import verify


def receive(
    provider: Provider, secrets: Sequence[bytes], delivery: Delivery, now: float, *, named: bool = True
) -> Accepted | Refused:
    """Verify, identify, and answer a handshake. A provider without schemes is proved by its URL, elsewhere.

    Not `named`: the event's name is left "", which mostly spares reading the body.
    """
    refused = reason_against(provider, secrets, delivery, now)
    if refused:
        return Refused(401, refused)
    name = event_name(provider, delivery) if named else ""
    return Accepted(delivery_id(provider, delivery), name, provider.handshake(delivery))


def reason_against(provider: Provider, secrets: Sequence[bytes], delivery: Delivery, now: float) -> str:
    """Return "" if one of the provider's schemes holds, else the reason that says most."""
    if not provider.schemes:
        return ""
    reasons = []
    for scheme in provider.schemes:
        reason = verify(scheme, secrets, delivery, now)
        if not reason:
            return ""
        reasons.append(reason)
    return max(reasons, key=_tells)


def hopeless(provider: Provider, delivery: Delivery) -> bool:
    """Tell from the headers alone whether no scheme can hold, so that the body need not be read."""
    return bool(provider.schemes) and not any(scheme.header in delivery.headers for scheme in provider.schemes)


def _tells(reason: str) -> int:
    return {"header_missing": 0, "token_form": 1}.get(reason, 2)
