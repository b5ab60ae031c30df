"""From a wish to a queued run: durable, judged by the caps in the same transaction, and there once per key.

All that a later process needs to carry the run out stands in its journal, the blobs, and the version's folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tickover.control.dispatch import LONGEST_INPUTS, document_of
from tickover.control.registry import Registry
from tickover.core.admission import Asked, Caps, Counts, Needs, Refusal, admit, needs
from tickover.core.cause import Cause, CauseCode
from tickover.core.definition import Input, Routine
from tickover.core.errors import UsageError
from tickover.core.event import Fact, RunCreated, RunFinished, RunMissed, RunRefused, Scalar, payload
from tickover.core.refs import with_refs
from tickover.core.status import Execution, Outcome, exit_code
from tickover.core.text import one_line
from tickover.core.wish import Enqueued, Wish
from tickover.store.base import Blobs, Event
from tickover.store.server import Admitted, Entry, Judge, ServerStore

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What makes runs of wishes. `now` is the wall clock, `random(n)` n random bytes in hexadecimal."""

    store: ServerStore
    blobs: Blobs
    registry: Registry
    caps: Callable[[], Caps]
    now: Callable[[], float]
    random: Callable[[int], str]

    def enqueue(self, wish: Wish, *, due: float | None = None) -> Enqueued:
        """Make a queued run, or a refused one with its reason. Raises NotFoundError for an unknown routine.

        `due` is when it was to start, where that is not now: a schedule's slot.
        """
        entry, judge, refusals = self.wanted(wish, due=due)
        run, new = self.store.queue.enqueue(entry, judge)
        return Enqueued(run, new, refusals[0].retry_at if new and refusals else None)

    def wanted(self, wish: Wish, *, due: float | None = None) -> tuple[Entry, Judge, list[Refusal]]:
        """Return what the queue is asked for a wish, and where its refusal will stand. Raises as `enqueue`."""
        record = self.registry.get(wish.routine)
        routine = self.registry.loaded(wish.routine, record.version).routine
        now = self.now()
        planned = due if due is not None else wish.not_before if wish.not_before is not None else now
        folder = str(self.registry.folder(wish.routine, record.version))
        inputs, problem = _inputs(routine, wish.inputs, self.registry.not_yet(wish.routine, record.version))
        problem = problem or _ref_problem(routine, wish.event)
        created = self._created(wish, routine, folder=folder, inputs=inputs, due=planned)
        asked = Asked(routine.limits, planned, routine.overlap, wish.depth)
        refusals: list[Refusal] = []

        def judge(counts: Counts) -> Admitted:
            verdict = Refusal(problem) if problem is not None else admit(asked, counts, self.caps())
            if isinstance(verdict, Refusal):
                refusals.append(verdict)
                events = _ended(created, RunRefused(cause=verdict.cause), Execution.REFUSED)
                return Admitted(events, now, stage="settling")
            start = now if wish.not_before is None else max(wish.not_before, now)
            return Admitted(_events(created), start, verdict.replaces)

        counted = needs(routine.limits, self.caps(), routine.overlap)
        places = routine.limits.concurrent
        return Entry(self._name(now), routine.name, wish.key, routine.priority, places, now, counted), judge, refusals

    def missed(self, routine: str, *, key: str, due: float, reason: str, trigger: str) -> tuple[Entry, Judge]:
        """Return what the queue is asked for the run of slots that nobody fired. The routine may be gone since."""
        created = RunCreated(routine=routine, trigger=trigger, queued=True, key=key, due=due)
        events = _ended(created, RunMissed(reason=reason), Execution.MISSED)
        now = self.now()
        entry = Entry(self._name(now), routine, key, 0, 1, now, Needs())
        return entry, lambda _counts: Admitted(events, now, stage="settling")

    def _created(
        self, wish: Wish, routine: Routine, *, folder: str, inputs: dict[str, Scalar], due: float
    ) -> RunCreated:
        return RunCreated(
            routine=routine.name,
            title=routine.description,
            trigger=wish.trigger,
            inputs=inputs,
            input_files={name: self.blobs.put(content) for name, content in wish.files.items()},
            event_digest=None if wish.event is None else self.blobs.put(wish.event),
            isolation=routine.isolation,
            folder=folder,
            queued=True,
            key=wish.key,
            by=wish.by,
            depth=wish.depth,
            due=due,
            repeats=wish.repeats,
        )

    def _name(self, now: float) -> str:
        return f"{time.strftime('%y%m%d-%H%M%S', time.gmtime(now))}-{self.random(4)}"


def _ended(created: RunCreated, why: Fact, execution: Execution) -> list[Event]:
    code = exit_code(execution, Outcome.NONE)
    return _events(created, why, RunFinished(execution=execution, outcome=Outcome.NONE, exit_code=code))


def _events(*facts: Fact) -> list[Event]:
    return [{"type": fact.type, **payload(fact)} for fact in facts]


def _inputs(
    routine: Routine, given: Mapping[str, Scalar], missing: Sequence[str]
) -> tuple[dict[str, Scalar], Cause | None]:
    """Return the run's inputs with defaults, and what is wrong with them; `missing` is what this build cannot do."""
    if missing:
        return {}, Cause(None, CauseCode.NOT_YET, f"this build cannot do {', '.join(missing)} yet")
    values: dict[str, Scalar] = {
        name: what.default for name, what in routine.inputs.items() if what.default is not None
    }
    try:
        for name, value in given.items():
            values[name] = _checked(routine.inputs, name, value)
        if (size := sum(len(str(value)) for value in values.values())) > LONGEST_INPUTS:
            raise UsageError("input.too_long", f"the inputs have {size} characters, {LONGEST_INPUTS} are allowed")
        absent = [name for name in routine.inputs if name not in values]
        if absent:
            raise UsageError("input.missing", f"the input `{absent[0]}` is required")
    except UsageError as error:
        return values, Cause(None, CauseCode.BAD_INPUT, error.message)
    return values, None


def _ref_problem(routine: Routine, event: bytes | None) -> Cause | None:
    if all("{{" not in (each.ref or "") for each in routine.repositories.values()):
        return None
    try:
        with_refs(routine, document_of(event))
    except UsageError as error:
        return Cause(None, CauseCode.BAD_INPUT, error.message)
    return None


def _defaults(routine: Routine) -> dict[str, Scalar]:
    return {name: what.default for name, what in routine.inputs.items() if what.default is not None}


def _checked(declared: Mapping[str, Input], name: str, value: Any) -> Scalar:
    if name not in declared:
        have = ", ".join(declared) or "none"
        raise UsageError("input.unknown", f"the routine has no input `{one_line(name, 80)}`; it has: {have}")
    kind = declared[name].type
    if not _is(kind, value):
        raise UsageError("input.type", f"the input `{name}` is no {kind}: {one_line(repr(value), 80)}")
    if isinstance(value, str) and "\0" in value:
        raise UsageError("input.nul", f"the input `{name}` holds a NUL character")
    checked: Scalar = value
    return checked


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _KINDS[kind]) and isinstance(value, bool) is (kind == "boolean")
