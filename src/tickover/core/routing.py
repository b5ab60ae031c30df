"""Whether an event starts a routine, and why not: each clause with its value and verdict. Pure; numbers are given.

`judge` is about what the event says. What depends on other events (`dedup`, `debounce`, `limits`, `silence`) is
decided by the functions below it over numbers that the store keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tickover.core.definition import Routine
from tickover.core.github import PullName, fork_is_unknown, names, pull_of
from tickover.core.lookup import MISSING, Aliased, JsonPath
from tickover.core.matcher import Clause, Matcher
from tickover.core.trigger import Dedup, EventTrigger, Flow, GitHubTrigger, Trigger

MAX_DEPTH: Final = 3
"""How many runs of ours may stand behind an event that still starts one."""

HOUR: Final = 3600.0
_CHANGED: Final = "changed_paths"
_PING: Final = ("ping",)
_HANDSHAKES: Final = {"sns": ("SubscriptionConfirmation", "UnsubscribeConfirmation")}
PATIENCE: Final = 10
"""A debounced event waits at most this many times `debounce`, however many come after it."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What routing sees of an event. `behind` counts the runs of ours behind the last ones about the same thing."""

    provider: str
    name: str
    document: Any = MISSING
    own: Collection[str] = ()
    """The logins under which this instance acts."""

    behind: int = 0
    paths: Sequence[str] | None = None
    """The files that a pull request changes, where GitHub was asked for them."""


@dataclass(frozen=True, slots=True)
class Judged:
    """`reason` is "" if it fires, else a stable word for the first part that does not hold."""

    reason: str
    clauses: tuple[Clause, ...] = ()
    depth: int = 0

    @property
    def fires(self) -> bool:
        return not self.reason


@dataclass(slots=True)
class _Told:
    """Clauses as they are found, and the first reason against."""

    reason: str = ""
    clauses: list[Clause] = field(default_factory=list)

    def say(self, reason: str, path: str, says: str, value: Any, *, ok: bool) -> None:
        self.clauses.append(Clause(path, says, value, ok))
        if not ok and not self.reason:
            self.reason = reason


def trigger_names(triggers: Sequence[Trigger]) -> list[str]:
    """Name each entry of `on`: its kind, and `kind-2` for the second of that kind."""
    found: list[str] = []
    for trigger in triggers:
        count = sum(each.kind == trigger.kind for each in triggers[: len(found)]) + 1
        found.append(trigger.kind if count == 1 else f"{trigger.kind}-{count}")
    return found


def judge(trigger: EventTrigger, event: Occurrence, *, writes: bool) -> Judged:
    """Say whether the event fires the trigger. `writes`: the routine's `may` is not empty."""
    told = _Told()
    document = event.document
    if document is not MISSING and event.provider == "github":
        changed = {} if event.paths is None else {_CHANGED: list(event.paths)}
        document = Aliased(document, {**names(event.name, document), **changed})
    _name(told, trigger, event, document)
    depth = 0
    if isinstance(trigger, GitHubTrigger):
        _repository(told, trigger, event)
        _fork(told, trigger, document, event, writes=writes)
        depth = _own(told, event)
    if trigger.when is not None:
        clauses = trigger.when.explain(document)
        told.clauses += clauses
        if not told.reason and not trigger.when.matches(document):
            told.reason = "when"
    return Judged(told.reason, tuple(told.clauses), depth)


def paths_decide(trigger: EventTrigger, event: Occurrence, judged: Judged) -> PullName | None:
    """Return the pull request whose files decide whether the event fires; None where the rest has decided already."""
    when = trigger.when
    if event.provider != "github" or when is None or event.paths is not None or judged.reason not in {"", "when"}:
        return None
    if not any(path.text == _CHANGED for path in when.paths()):
        return None
    if any(not each.ok and each.depth == 0 and each.path not in {"", _CHANGED} for each in judged.clauses):
        return None
    return pull_of(event.document)


def _name(told: _Told, trigger: EventTrigger, event: Occurrence, document: Any) -> None:
    if not trigger.events:
        handshakes = _HANDSHAKES.get(event.provider, _PING)
        if event.name in handshakes:
            told.say("handshake", "event", f"any but {' and '.join(handshakes)}", event.name, ok=False)
        return
    wanted = list(trigger.events)
    ok = any(_is_named(each, event.name, document) for each in wanted)
    told.say("event", "event", f"one of {json.dumps(wanted)}", event.name, ok=ok)


def _is_named(wanted: str, name: str, document: Any) -> bool:
    """`EVENT` has all its actions; `*` stands for anything up to a slash; `merged` is closed and merged."""
    if isinstance(document, Aliased) and wanted in {"merged", "pull_request.merged"}:
        return name == "pull_request.closed" and document.names.get("is_merged") is True
    if "*" in wanted:
        return Matcher({"glob": wanted}).matches(name)
    return name == wanted or name.startswith(f"{wanted}.")


def _repository(told: _Told, trigger: GitHubTrigger, event: Occurrence) -> None:
    found = JsonPath.parse("repository.full_name").get(event.document)
    ok = isinstance(found, str) and found.casefold() == trigger.repo.casefold()
    told.say("repository", "repository", f"is {json.dumps(trigger.repo)}", found, ok=ok)


def _fork(told: _Told, trigger: GitHubTrigger, document: Any, event: Occurrence, *, writes: bool) -> None:
    wanted = trigger.from_fork
    by_default = wanted is None and writes
    if wanted is None and not writes:
        return
    value = document.names.get("from_fork", MISSING) if isinstance(document, Aliased) else MISSING
    says = "is false (the default of a routine that may write)" if by_default else f"is {json.dumps(wanted)}"
    if wanted is None or wanted is False:
        unknown = fork_is_unknown(event.document)
        ok = value is not True and not unknown
        says += "; a comment on a pull request does not say whose branch it is" if unknown else ""
    else:  # `from_fork: true` lets forks in; it does not ask for them
        ok, says = True, "may be true"
    told.say("from_fork", "from_fork", says, value, ok=ok)


def _own(told: _Told, event: Occurrence) -> int:
    sender = JsonPath.parse("sender.login").get(event.document)
    if not isinstance(sender, str) or sender.casefold() not in {each.casefold() for each in event.own}:
        return 0
    depth = event.behind + 1
    told.say(
        "own_event", "sender", f"is ourselves, with at most {MAX_DEPTH} runs behind it", depth, ok=depth <= MAX_DEPTH
    )
    return depth


def subject_of(event: Occurrence) -> str:
    """Name what the loop guard counts by: the repository."""
    found = JsonPath.parse("repository.full_name").get(event.document)
    return f"{event.provider}:{found}"[:300] if isinstance(found, str) else event.provider


# -- decisions over numbers ------------------------------------------------------------------------------------------


def group_of(trigger: EventTrigger, document: Any) -> str:
    """Return the group that an event belongs to; without `group_by`, or without a value there, one for all."""
    if trigger.group_by is None:
        return ""
    value = JsonPath.parse(trigger.group_by).get(document)
    return "" if value is MISSING else _digest([value])


def dedup_key(dedup: Dedup, document: Any) -> str:
    """Return the key of `dedup`; a value that is not there is told apart from null."""
    values = [JsonPath.parse(path).get(document) for path in dedup.key]
    return _digest([[] if value is MISSING else [value] for value in values])


def is_duplicate(dedup: Dedup, last: float | None, now: float) -> bool:
    """Tell whether the key was let through less than `within` ago."""
    return last is not None and now - last < dedup.within


def debounced_until(debounce: int, first: float, now: float) -> float:
    """Return when a group that began at `first` is quiet, if nothing more comes."""
    return min(now + debounce, first + PATIENCE * debounce)


@dataclass(frozen=True, slots=True)
class Go:
    """Start at `at`: now, or when the hour has room."""

    at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Hold the event until `at`; a newer one takes its place."""

    at: float


@dataclass(frozen=True, slots=True)
class Drop:
    """The hour is full; `retry_at` is when it will not be."""

    retry_at: float


def flow(limits: Flow | None, starts: Sequence[float], now: float) -> Go | Wait | Drop:
    """Decide over the times at which runs of this trigger started or will start, newest first."""
    if limits is None:
        return Go(now)
    recent = sorted((at for at in starts if at > now - HOUR), reverse=True)
    if len(recent) < limits.per_hour:
        return Go(now)
    room = recent[limits.per_hour - 1] + HOUR
    over: dict[Literal["queue", "coalesce", "drop"], Go | Wait | Drop] = {
        "queue": Go(room),
        "coalesce": Wait(room),
        "drop": Drop(room),
    }
    return over[limits.over]


def is_silent(after: int, heard: float, alarmed: float | None, now: float) -> bool:
    """Tell whether a sender's silence is to be reported: once, until something is heard again."""
    return now - heard >= after and (alarmed is None or alarmed <= heard)


def writes(routine: Routine) -> bool:
    """Tell whether a routine may change something outside."""
    return bool(routine.may)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
