"""Before anything is spent: what the routine asks was granted, and each credential that it uses has a value."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tickover.control.dispatch import Accepted
from tickover.control.house import House
from tickover.control.registry import is_pushed
from tickover.core.errors import TickoverError
from tickover.core.grant import NotGrantedError, asks_of, waiting
from tickover.core.instance import credentials_of, read_by_checks, stored_for
from tickover.store.base import SecretNotFoundError

BY_HAND = "manual"
"""The trigger of a run that a person started and watches."""

PUSHED = "(pushed)"
"""Where a grant of a pushed routine is kept: its versions have folders of their own, and ask for the same things."""


def place_of(data: Path, folder: str) -> str:
    """Return what grants of the routine in a folder are kept under."""
    return PUSHED if is_pushed(data, folder) else os.path.abspath(folder)


async def require_grants(house: House, accepted: Accepted) -> None:
    """Raise NotGrantedError for what has to be granted first, TickoverError for a credential without a value."""
    await asyncio.to_thread(_require, house, accepted)


def _require(house: House, accepted: Accepted) -> None:
    routine, instance = accepted.routine, house.instance()
    folder = place_of(house.data, accepted.request.folder)
    granted = {each.digest for each in house.store.grants.current(routine.name) if each.folder == folder}
    by_hand = accepted.request.trigger == BY_HAND
    missing = waiting(asks_of(routine, instance), granted, foreground=by_hand)
    if missing:
        raise NotGrantedError(routine.name, routine.name if folder == PUSHED else folder, missing)
    for name in stored_for({**credentials_of(routine, instance), **read_by_checks(routine, instance)}, instance):
        known = instance.credentials.get(name)
        try:
            secret = house.store.secrets.get(name)
        except SecretNotFoundError:
            text = f"the credential `{name}` has no value"
            raise TickoverError("credential.no_value", text, hint=f"tickover secret set {name}") from None
        if known is not None and known.kind != secret.kind:
            text = f"the credential `{name}` is of kind `{known.kind}` now, and its value was set for `{secret.kind}`"
            raise TickoverError("credential.kind", text, hint=f"set it again: tickover secret set {name}")
