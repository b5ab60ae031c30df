"""What an event would do at a routine's triggers: the same judgement as the router's, and nothing starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tickover.core.definition import Routine
from tickover.core.event import Scalar
from tickover.core.routing import Judged, Occurrence, judge, trigger_names
from tickover.core.trigger import EventTrigger
from tickover.relay.base import Delivery
from tickover.relay.identify import event_name
from tickover.relay.mapper import Mapper, MappingError
from tickover.relay.providers import provider_of


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One trigger's answer. `inputs` are those of a trigger that fires; `error` says why there are none."""

    trigger: str
    event: str
    judged: Judged
    inputs: dict[str, Scalar]
    error: MappingError | None = None


def event_triggers(routine: Routine, provider: str | None = None) -> Iterator[tuple[str, EventTrigger]]:
    """Yield the triggers that deliveries can fire, with their names; only a provider's, if one is given."""
    for name, trigger in zip(trigger_names(routine.on), routine.on, strict=True):
        if isinstance(trigger, EventTrigger) and provider in (None, trigger.kind):
            yield name, trigger


async def rehearse(
    routine: Routine, name: str, trigger: EventTrigger, delivery: Delivery, *, event: str | None = None
) -> Rehearsed:
    """Judge one delivery at one trigger, as if its sender were proved. `event`: its name, where headers do not say."""
    named = event if event is not None else event_name(provider_of(trigger), delivery)
    seen = Occurrence(trigger.kind, named, delivery.content)
    judged = judge(trigger, seen, writes=bool(routine.may))
    if not judged.fires:
        return Rehearsed(name, named, judged, {})
    mapper = Mapper()
    try:
        inputs: dict[str, Any] = await mapper.inputs(trigger.input, delivery.content)
    except MappingError as error:
        return Rehearsed(name, named, judged, {}, error)
    finally:
        await mapper.close()
    return Rehearsed(name, named, judged, inputs)
