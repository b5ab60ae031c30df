"""What this build can do.

Every key validates. One whose behaviour is not built yet is an error of the verb that needs it, never ignored;
a default never is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from tickover.core.check import Check
from tickover.core.definition import FrontMatter, Routine
from tickover.core.errors import NotYetError, Where

Verb = Literal["run", "push", "up"]

AGENTS = frozenset({"steps", "command", "claude-code", "codex", "loop", "acp", "remote"})
SPEAKING = frozenset({"claude-code", "codex", "loop", "acp"})
"""Agents that tell what they do: `model`, `task` and `watch` mean something to them."""
VERSIONED = frozenset({"claude-code", "codex"})
TRIGGERS = frozenset({"schedule"})
CHECKS = frozenset({"file", "command", "output", "git", "http", "receipt", "slack", "github", "sql"})


class Need(NamedTuple):
    """A key, the verbs that need its behaviour, and the places where a routine uses it."""

    key: str
    verbs: frozenset[Verb]
    places: Callable[[Routine], Iterable[str]]


EVERY: frozenset[Verb] = frozenset({"run", "push", "up"})
SERVER: frozenset[Verb] = frozenset({"push", "up"})
UP: frozenset[Verb] = frozenset({"up"})


def _given(key: str) -> Callable[[Routine], Iterable[str]]:
    """Places of a key (`watch`, `limits.tokens`) that says something else than its default."""
    first, *rest = key.split(".")

    def places(routine: Routine) -> Iterator[str]:
        value = getattr(routine, first)
        default = FrontMatter.model_fields[first].get_default(call_default_factory=True)
        for part in rest:
            value, default = getattr(value, part), getattr(default, part)
        if value != default:
            yield key

    return places


def _checks(routine: Routine) -> Iterator[tuple[str, Check]]:
    for name, checks in (("expect", routine.expect), ("noop", routine.noop)):
        for index, check in enumerate(checks):
            yield f"{name}[{index}].{check.kind}", check


def _agent(routine: Routine) -> Iterator[str]:
    if routine.agent_name not in AGENTS or (routine.agent_version and routine.agent_name not in VERSIONED):
        yield "agent"


def _spoken(key: str) -> Callable[[Routine], Iterable[str]]:
    """Places of a key that only agents that speak have a use for."""
    places = _given(key)
    return lambda routine: () if routine.agent_name in SPEAKING else places(routine)


def _model(routine: Routine) -> Iterator[str]:
    if routine.model is not None and routine.agent_name not in SPEAKING - {"acp"}:
        yield "model"


def _kinds(routine: Routine) -> Iterator[str]:
    return (place for place, check in _checks(routine) if check.kind not in CHECKS)


def _base(routine: Routine) -> Iterator[str]:
    if routine.environment.base != "host":
        yield "environment.base"


def _observes(routine: Routine) -> Iterator[str]:
    if routine.environment.network == "observe":
        yield "environment.network"


def _unmetered(routine: Routine) -> Iterator[str]:
    """Places of a budget whose agent asks its model in a way of its own, so that nobody counts."""
    if routine.agent_name == "acp":
        yield from (f"limits.{key}" for key in ("cost_usd", "tokens") if getattr(routine.limits, key) is not None)


# THE table. A row goes when its behaviour is built.
NOT_BUILT: tuple[Need, ...] = (
    Need("agent", EVERY, _agent),
    Need("model", EVERY, _model),
    *(Need(key, EVERY, _spoken(key)) for key in ("task", "system_prompt", "watch")),
    *(Need(key, EVERY, _given(key)) for key in ("isolation",)),
    Need("environment.base", EVERY, _base),
    Need("environment.network: observe", SERVER, _observes),
    Need("approve", EVERY, _given("approve")),
    Need("check", EVERY, _kinds),
    Need("limits.tokens", EVERY, _unmetered),
    Need("require_eval", SERVER, _given("require_eval")),
)


def not_yet(routine: Routine, verb: Verb) -> list[NotYetError]:
    """List what a routine asks of `verb` that this build cannot do, each with its place."""
    return [
        NotYetError(place, where=Where(key=place))
        for need in NOT_BUILT
        if verb in need.verbs
        for place in need.places(routine)
    ]
