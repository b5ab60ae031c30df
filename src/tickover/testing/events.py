"""`Events` in memory: nothing survives, everything else is as in the real ones."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tickover.store.events import (
    KEEP_BODIES,
    KEEP_IDS,
    EventNotFoundError,
    EventRecord,
    Held,
    HeldKind,
    NewEvent,
    Outcome,
    OverloadedError,
    Put,
    Rejected,
    Routing,
)

__all__ = ["MemoryEvents"]


@dataclass
class MemoryEvents:
    """The fake. With `full` every `put` is refused as if too many waited; `fault` is raised by the next `put`."""

    full: bool = False
    fault: Exception | None = None
    _events: dict[int, EventRecord] = field(default_factory=dict)
    _routings: dict[tuple[int, str], Routing] = field(default_factory=dict)
    _held: dict[tuple[str, str, str], Held] = field(default_factory=dict)
    _seen: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    _rejected: dict[tuple[str, str, int], Rejected] = field(default_factory=dict)
    _silence: dict[str, list[float | None]] = field(default_factory=dict)
    _bells: list[socket.socket] = field(default_factory=list)
    _last: int = 0

    async def put(self, new: NewEvent) -> Put:
        if self.full:
            raise OverloadedError(0)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        for record in self._events.values():
            if (record.source, record.delivery) == (new.source, new.delivery):
                return Put(record.event, created=False)
        self._last += 1
        event = f"e{self._last}"
        self._events[self._last] = EventRecord(
            event=event,
            source=new.source,
            provider=new.provider,
            delivery=new.delivery,
            name=new.name,
            received_at=new.received_at,
            headers=dict(new.headers),
            size=new.size,
            body=new.body,
            digest=new.digest,
            replay_of=new.replay_of,
            state="received",
        )
        return Put(event, created=True)

    def reject(self, source: str, reason: str, at: float, sample: Mapping[str, Any]) -> None:
        key = (source, reason, int(at // 60))
        before = self._rejected.get(key, Rejected(*key, 0, json.loads(json.dumps(dict(sample)))))
        self._rejected[key] = replace(before, count=before.count + 1)

    def missing(self, source: str, deliveries: Sequence[str]) -> Sequence[str]:
        known = {each.delivery for each in self._events.values() if each.source == source}
        return [each for each in deliveries if each not in known]

    def get(self, event: str) -> EventRecord:
        found = self._events.get(_number(event))
        if found is None:
            raise EventNotFoundError(event)
        return found

    def list(
        self, *, source: str | None = None, provider: str | None = None, limit: int = 50, before: str | None = None
    ) -> Sequence[EventRecord]:
        newest = [replace(record, body=None) for _, record in sorted(self._events.items(), reverse=True)]
        return [
            record
            for record in newest
            if source in (None, record.source)
            and provider in (None, record.provider)
            and (before is None or _number(record.event) < _number(before))
        ][:limit]

    def pending(self, limit: int = 100) -> Sequence[EventRecord]:
        return [record for _, record in sorted(self._events.items()) if record.state == "received"][:limit]

    def decide(self, event: str, outcomes: Sequence[Outcome], *, name: str | None = None) -> None:
        number = _number(event)
        for outcome in outcomes:
            self._keep(number, outcome)
        before = self._events[number]
        self._events[number] = replace(before, state="routed", name=before.name if name is None else name)

    def _keep(self, number: int, outcome: Outcome) -> None:
        routing = outcome.routing
        self._held = {
            key: held for key, held in self._held.items() if (held.event, held.target) != (f"e{number}", routing.target)
        }
        plain = tuple(json.loads(json.dumps([dict(each) for each in routing.clauses])))
        self._routings[number, routing.target] = replace(routing, clauses=plain)
        if outcome.saw is not None:
            self._seen[routing.target, outcome.saw] = (number, routing.at)
        if (hold := outcome.hold) is None:
            return
        before = self._held.get((hold.target, hold.kind, hold.group))
        if before is not None and before.event != f"e{number}":
            key = (_number(before.event), hold.target)
            says = f"event e{number} of the same group is newer"
            if self._routings[key].verdict == "held":
                self._routings[key] = replace(
                    self._routings[key], verdict="superseded", reason=hold.kind, says=says, at=routing.at
                )
        self._held[hold.target, hold.kind, hold.group] = replace(hold, event=f"e{number}")

    def routings(self, event: str) -> Sequence[Routing]:
        number = _number(event)
        return [each for (of, _), each in sorted(self._routings.items()) if of == number]

    def fired(self, target: str, since: float, *, but: str, limit: int = 1000) -> Sequence[float]:
        starts = [
            each.starts_at
            for each in self._routings.values()
            if (each.target, each.verdict) == (target, "fired") and each.event != but and each.starts_at is not None
        ]
        return sorted((at for at in starts if at > since), reverse=True)[:limit]

    def deepest(self, subject: str, since: float, *, but: str) -> int:
        every = self._routings.values()
        return max(
            (each.depth for each in every if each.subject == subject and each.at > since and each.event != but),
            default=0,
        )

    def seen(self, target: str, key: str, *, but: str) -> float | None:
        found = self._seen.get((target, key))
        return None if found is None or found[0] == _number(but) else found[1]

    def held(self, target: str, kind: HeldKind, group: str) -> Held | None:
        return self._held.get((target, kind, group))

    def due(self, now: float, limit: int = 100) -> Sequence[Held]:
        found = [held for held in self._held.values() if held.due_at <= now]
        return sorted(found, key=lambda held: held.due_at)[:limit]

    def next_due(self) -> float | None:
        return min((held.due_at for held in self._held.values()), default=None)

    def rejections(self, limit: int = 50) -> Sequence[Rejected]:
        return sorted(self._rejected.values(), key=lambda each: (-each.minute, each.source, each.reason))[:limit]

    def silent_since(self, target: str, now: float) -> tuple[float, float | None]:
        since, alarmed = self._silence.setdefault(target, [now, None])
        heard = max((each.received_at for each in self._events.values() if each.source == target), default=0.0)
        return max(since or 0.0, heard), alarmed

    def alarmed(self, target: str, at: float) -> None:
        self._silence[target][1] = at

    def ring(self) -> None:
        for listener in self._bells:
            listener.send(b"x")

    def bell(self) -> tuple[socket.socket, Callable[[], None]]:
        heard, rung = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._bells.append(rung)

        def close() -> None:
            self._bells.remove(rung)
            rung.close()
            heard.close()

        return heard, close

    def purge(self, now: float) -> int:
        waiting = {_number(held.event) for held in self._held.values()}
        gone = 0
        for number, record in list(self._events.items()):
            if record.state != "routed" or number in waiting:
                continue
            if record.received_at < now - KEEP_IDS:
                del self._events[number]
            elif record.received_at < now - KEEP_BODIES and (record.body is not None or record.digest is not None):
                self._events[number], gone = replace(record, body=None, digest=None), gone + 1
        self._routings = {key: each for key, each in self._routings.items() if key[0] in self._events}
        self._seen = {key: each for key, each in self._seen.items() if each[1] >= now - KEEP_IDS}
        return gone

    def close(self) -> None:
        """Nothing is held open."""


def _number(event: str) -> int:
    digits = event.removeprefix("e")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise EventNotFoundError(event)
    return int(digits)
