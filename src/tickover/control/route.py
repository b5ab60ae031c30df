"""From a stored event to a wish, off the hot path: filter, dedup, debounce, hourly limits, inputs, enqueue.

Everything that happens to an event is kept as its routing, with the reason; an event stays `received` until then. So
it may be done again after a crash at any step: the wish has the key EVENT:TARGET, and the same key is the same run.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tickover.control.changed_paths import AskPaths, ChangedPaths
from tickover.core.errors import TickoverError
from tickover.core.github import PullName
from tickover.core.lookup import MISSING, Aliased
from tickover.core.matcher import Clause, shown
from tickover.core.routing import (
    HOUR,
    Drop,
    Judged,
    Occurrence,
    Wait,
    debounced_until,
    dedup_key,
    flow,
    group_of,
    is_duplicate,
    is_silent,
    judge,
    paths_decide,
    subject_of,
)
from tickover.core.trigger import EventTrigger
from tickover.core.wish import Enqueued, Wish
from tickover.relay.base import Delivery
from tickover.relay.content import read_content
from tickover.relay.identify import event_name
from tickover.relay.mapper import Mapper, MappingError, file_inputs
from tickover.relay.providers import provider_of
from tickover.store.base import Blobs
from tickover.store.errors import StoreError
from tickover.store.events import EventRecord, Events, Held, HeldKind, Outcome, Routing

_LOG = logging.getLogger("tickover.route")
_BATCH: Final = 100
_LONGEST_WAIT: Final = 60.0
"""Seconds after which the router looks by itself, for a clock that was set and for silences."""

Fired = Callable[[EventRecord, Any, str, str], None]
"""Told of an event, its document, the routine, and the run that it started."""

_BACKOFF: Final = (0.5, 1.0, 2.0, 5.0, 15.0)


@dataclass(frozen=True, slots=True)
class Target:
    """A trigger that events of a source are for. `name` is ROUTINE/TRIGGER; `writes`: `may` is not empty.

    `source` is another one by which its events come as well.
    """

    name: str
    routine: str
    trigger: EventTrigger
    writes: bool = False
    paused: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """A sender that was expected to be heard, and was not since `heard` (UTC seconds)."""

    target: Target
    heard: float


@dataclass(frozen=True, slots=True)
class _Case:
    """One event at one trigger, while it is decided. `now` is one moment for all of it."""

    record: EventRecord
    target: Target
    body: bytes
    document: Any
    now: float
    judged: Judged
    subject: str
    pull: PullName | None = None
    """The pull request whose files are to be asked for first."""

    def ends(self, verdict: Any, reason: str, says: str = "", **more: Any) -> Routing:
        return Routing(
            event=self.record.event,
            target=self.target.name,
            at=self.now,
            verdict=verdict,
            reason=reason,
            says=says,
            clauses=[clause_map(clause) for clause in self.judged.clauses],
            subject=self.subject,
            depth=self.judged.depth,
            **more,
        )


class Router:
    """The one consumer of events. `serve` until cancelled; `wake` from the event loop whenever something was stored.

    `targets(source)` lists the triggers for a source, `targets(None)` all of them. `enqueue` is called in a thread and
    is durable on return; a TickoverError of it is the event's reason, a StoreError is tried again. `own` are the logins
    under which this instance acts outside.
    """

    def __init__(
        self,
        events: Events,
        blobs: Blobs,
        targets: Callable[[str | None], Sequence[Target]],
        mapper: Mapper,
        enqueue: Callable[[Wish], Enqueued],
        *,
        clock: Callable[[], float],
        own: Collection[str] = (),
        alarm: Callable[[Silence], None] = lambda _: None,
        fired: Fired = lambda _record, _document, _routine, _run: None,
        changed: AskPaths | None = None,
    ) -> None:
        """Take `changed` to ask which files a pull request changes; without it nobody asks."""
        self._fired = fired
        self._changed = None if changed is None else ChangedPaths(changed, wake=self.wake)
        self._events = events
        self._blobs = blobs
        self._targets = targets
        self._mapper = mapper
        self._enqueue = enqueue
        self._clock = clock
        self._own = own
        self._alarm = alarm
        self._awake = asyncio.Event()

    def wake(self) -> None:
        self._awake.set()

    async def serve(self) -> None:
        """Route what comes, for ever. What the store refuses for now is tried again, at growing intervals."""
        failures = 0
        while True:
            self._awake.clear()
            try:
                busy = await self.step()
                failures = 0
            except StoreError as error:
                _LOG.warning("events wait: %s", error.code)
                await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                failures += 1
                continue
            if not busy:
                await self._rest()

    async def step(self) -> bool:
        """Route what waits and release what is due; say whether there was something. Raises StoreError."""
        waiting = await asyncio.to_thread(self._events.pending, _BATCH)
        routed = [await self._route(record) for record in waiting]
        due = await asyncio.to_thread(self._events.due, self._clock(), _BATCH)
        for held in due:
            await self._release(held)
        busy = any(routed) or bool(due)
        if not busy:
            await asyncio.to_thread(self._listen)
        return busy

    async def close(self) -> None:
        """Let go of what is being asked for; its events are still `received`."""
        if self._changed is not None:
            await self._changed.close()

    async def _rest(self) -> None:
        due = await asyncio.to_thread(self._events.next_due)
        left = _LONGEST_WAIT if due is None else min(max(due - self._clock(), 0.0), _LONGEST_WAIT)
        try:
            await asyncio.wait_for(self._awake.wait(), left)
        except TimeoutError:
            return

    # -- one event ---------------------------------------------------------------------------------------------------

    async def _route(self, record: EventRecord) -> bool:
        """Decide about an event; False: it waits for an answer from outside, and `wake` is called then."""
        targets = self._targets(record.source)
        if not targets:
            gone = Routing(record.event, record.source, self._clock(), "dropped", "no_trigger", "the trigger is gone")
            await asyncio.to_thread(self._events.decide, record.event, [Outcome(gone)])
            self._forget(record.event)
            return True
        body, document = await asyncio.to_thread(self._content, record)
        if not record.name:
            delivery = Delivery(record.headers, body)
            named = await asyncio.to_thread(event_name, provider_of(targets[0].trigger), delivery)
            record = replace(record, name=named)
        cases = [await asyncio.to_thread(self._judged, record, target, body, document) for target in targets]
        paths: Sequence[str] | TickoverError | None = None
        if self._changed is not None and (pull := next((each.pull for each in cases if each.pull), None)) is not None:
            paths = self._changed.of(record.event, pull)
            if paths is None:
                return False
        outcomes = []
        for case in cases:
            if case.pull is not None and isinstance(paths, TickoverError):
                outcomes.append(Outcome(case.ends("failed", paths.code, paths.message)))
                continue
            known = case.pull is not None and paths is not None
            full = await asyncio.to_thread(self._judged, record, case.target, body, document, paths) if known else case
            outcomes.append(await self._decide(full))
        await asyncio.to_thread(self._events.decide, record.event, outcomes, name=record.name)
        self._forget(record.event)
        return True

    def _forget(self, event: str) -> None:
        if self._changed is not None:
            self._changed.forget(event)

    def _content(self, record: EventRecord) -> tuple[bytes, Any]:
        body = record.body
        if body is None:
            body = b"" if record.digest is None else self._blobs.get(record.digest)
        return body, read_content(record.headers.get("content-type", ""), body)

    def _judged(
        self, record: EventRecord, target: Target, body: bytes, document: Any, paths: Sequence[str] | None = None
    ) -> _Case:
        now = self._clock()
        seen = Occurrence(record.provider, record.name, document, self._own, paths=paths)
        subject = subject_of(seen)
        if self._own:
            seen = replace(seen, behind=self._events.deepest(subject, now - HOUR, but=record.event))
        judged = judge(target.trigger, seen, writes=target.writes)
        pull = None if target.paused else paths_decide(target.trigger, seen, judged)
        return _Case(record, target, body, document, now, judged, subject, pull)

    async def _decide(self, case: _Case) -> Outcome:
        trigger, target, now = case.target.trigger, case.target, case.now
        if target.paused:
            return Outcome(case.ends("dropped", "paused", "the routine is paused"))
        if not case.judged.fires:
            return Outcome(case.ends("filtered", case.judged.reason, _why(case.judged)))
        key = None
        if trigger.dedup is not None:
            key = dedup_key(trigger.dedup, case.document)
            last = await asyncio.to_thread(self._events.seen, target.name, key, but=case.record.event)
            if is_duplicate(trigger.dedup, last, now):
                says = f"the same {', '.join(trigger.dedup.key)} within {trigger.dedup.within} s"
                return Outcome(case.ends("duplicate", "dedup", says))
        if trigger.debounce is not None:
            group = group_of(trigger, case.document)
            window = await asyncio.to_thread(self._events.held, target.name, "debounce", group)
            first = window.first_at if window else now
            due = debounced_until(trigger.debounce, first, now)
            return replace(self._hold(case, "debounce", first, due), saw=key)
        outcome = await self._start(case)
        return replace(outcome, saw=key) if outcome.routing.verdict in {"fired", "held"} else outcome

    async def _release(self, held: Held) -> None:
        """Let an event go on whose window is over, as it was judged when it came."""
        record = await asyncio.to_thread(self._events.get, held.event)
        target = next((each for each in self._targets(record.source) if each.name == held.target), None)
        before = next(each for each in self._events.routings(held.event) if each.target == held.target)
        if target is None or target.paused:
            reason = "no_trigger" if target is None else "paused"
            ended = replace(before, at=self._clock(), verdict="dropped", reason=reason, says="")
            await asyncio.to_thread(self._events.decide, held.event, [Outcome(ended)])
            return
        body, document = await asyncio.to_thread(self._content, record)
        case = _Case(record, target, body, document, self._clock(), Judged("", (), before.depth), before.subject)
        outcome = await self._start(case, held)
        outcome = replace(outcome, routing=replace(outcome.routing, clauses=before.clauses))
        await asyncio.to_thread(self._events.decide, held.event, [outcome])

    def _hold(self, case: _Case, kind: HeldKind, first: float, due: float) -> Outcome:
        group = group_of(case.target.trigger, case.document)
        window = Held(case.target.name, kind, group, case.record.event, first, due)
        return Outcome(case.ends("held", kind, f"until {due:.0f}, or a newer one comes"), hold=window)

    async def _start(self, case: _Case, held: Held | None = None) -> Outcome:
        limits = case.target.trigger.limits
        starts: Sequence[float] = ()
        if limits is not None:
            since = case.now - HOUR
            ask = (case.target.name, since)
            starts = await asyncio.to_thread(self._events.fired, *ask, but=case.record.event, limit=limits.per_hour)
        room = flow(limits, starts, case.now)
        if isinstance(room, Wait):
            first = held.first_at if held is not None and held.kind == "coalesce" else case.now
            return self._hold(case, "coalesce", first, room.at)
        if isinstance(room, Drop):
            assert limits is not None
            says = f"{len(starts)} of {limits.per_hour} runs of this hour have started; room at {room.retry_at:.0f}"
            return Outcome(case.ends("dropped", "per_hour", says))
        return await self._fire(case, room.at)

    async def _fire(self, case: _Case, at: float) -> Outcome:
        target, record = case.target, case.record
        try:
            wish = Wish(
                routine=target.routine,
                trigger=target.name.partition("/")[2],
                inputs=await self._mapper.inputs(target.trigger.input, case.document),
                files=file_inputs(target.trigger.input, case.document),
                event=case.body,
                key=f"{record.event}:{target.name}",
                by=f"{record.provider} {record.name} {record.delivery}".replace("  ", " "),
                depth=case.judged.depth,
                not_before=at if at > case.now else None,
                repeats=await asyncio.to_thread(self._before, record, target.name),
            )
            done = await asyncio.to_thread(self._enqueue, wish)
            await asyncio.to_thread(self._fired, record, case.document, target.routine, done.run)
        except MappingError as error:
            return Outcome(case.ends("failed", error.code, error.message))
        except StoreError:
            raise
        except TickoverError as error:
            return Outcome(case.ends("failed", error.code, error.message))
        except Exception as error:  # noqa: BLE001 - one event that meets a fault of ours must not stop all others
            _LOG.exception("event %s at %s", record.event, target.name)
            return Outcome(case.ends("failed", "internal", f"an error of Tickover itself: {type(error).__name__}"))
        says = "" if at <= case.now else f"the hour is full: starts at {at:.0f}"
        return Outcome(case.ends("fired", "", says, run=done.run, starts_at=at))

    def _before(self, record: EventRecord, target: str) -> str | None:
        """Return the run that this event started at this trigger before it was put in once more."""
        if record.replay_of is None:
            return None
        found = [each.run for each in self._events.routings(record.replay_of) if each.target == target]
        return found[0] if found else None

    # -- what did not come -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        for target in self._targets(None):
            silence = target.trigger.silence
            if silence is None or target.paused:
                continue
            now = self._clock()
            heard, alarmed = self._events.silent_since(target.name, now)
            if target.source:
                heard = max(heard, self._events.silent_since(target.source, now)[0])
            if is_silent(silence.after, heard, alarmed, now):
                self._alarm(Silence(target, heard))
                self._events.alarmed(target.name, now)


def clause_map(clause: Clause) -> dict[str, Any]:
    """Return a clause as it is kept and printed; a long or nested value as one line."""
    value = clause.value.document if isinstance(clause.value, Aliased) else clause.value  # of a group: all of it
    missing = value is MISSING
    told: dict[str, Any] = {"path": clause.path, "says": clause.says, "ok": clause.ok, "depth": clause.depth}
    return {**told, "value": None if missing else _short(value), "missing": missing}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:200]
    return value if len(json.dumps(value)) <= 300 else shown(value)


def _why(judged: Judged) -> str:
    """Say the first clause that does not hold."""
    return next((str(clause).strip() for clause in judged.clauses if not clause.ok), judged.reason)
