"""An event once more: a new one that names the old, routed as if its sender had sent it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tickover.control.rehearse import event_triggers
from tickover.control.triggers import Installed
from tickover.core.errors import NotFoundError, UsageError
from tickover.store.events import EventRecord, NewEvent


def again(
    old: EventRecord, to: str | None, installed: Callable[[], Iterable[Installed]], *, now: float, nonce: str
) -> NewEvent:
    """Return the event to be put. `to` is ROUTINE/TRIGGER, None: where it came by. Raises NotFoundError, UsageError."""
    if old.body is None and old.digest is None:
        raise NotFoundError("event.purged", f"the body of {old.event} is not kept any more")
    if to is not None and to.count("/") != 1:
        raise UsageError("events.target", f"`{to}` is no trigger", hint="ROUTINE/TRIGGER, as in `events list`")
    if to is not None:
        there = [f"{each.routine.name}/{name}" for each in installed() for name, _ in event_triggers(each.routine)]
        if to not in there:
            hint = f"there is: {', '.join(there) or 'none'}"
            raise NotFoundError("events.no_trigger", f"no pushed routine has the trigger `{to}`", hint=hint)
    return NewEvent(
        source=to or old.source,
        provider=old.provider,
        delivery=f"replay:{old.event}:{nonce}",
        name=old.name,
        received_at=now,
        headers=old.headers,
        size=old.size,
        body=old.body,
        digest=old.digest,
        replay_of=old.event,
    )
