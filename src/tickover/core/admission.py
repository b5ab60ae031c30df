"""Whether a run may be queued and may start: caps, intervals, budgets, overlap. Pure: the numbers are the caller's.

A refusal is a row with its numbers and, where time helps, when to come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from tickover.core.cause import Cause, CauseCode
from tickover.core.limits import Limits

DAY_S: Final = 86400.0
"""The window of `runs_per_day` and `cost_usd_per_day`: the 24 hours before now, in no time zone."""

MAX_DEPTH: Final = 3
"""How many runs may stand behind a run: a routine's own event starts another, but not for ever."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What the instance allows each routine and all of them together. None does not bind."""

    runs_per_day: int | None = None
    min_interval_s: float | None = None
    all_runs_per_day: int | None = None
    concurrent: int = 8
    pause_after: int = 5
    """Failures in a row after which a routine pauses itself; 0: never."""


PRESETS: Final[dict[str, Caps]] = {
    "claude-pro": Caps(min_interval_s=3600.0, all_runs_per_day=5),
    "claude-team": Caps(min_interval_s=3600.0, all_runs_per_day=25),
}
"""The caps of Claude Code Routines on its plans, for people who want to know what they would have refused."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Which numbers a decision looks at: those that no cap asks for are not counted, whatever stands in the store.

    `active` is how many runs under way are told of at most.
    """

    runs: bool = False
    all_runs: bool = False
    last: bool = False
    cost: bool = False
    active: int = 0


def needs(limits: Limits, caps: Caps, overlap: str = "queue") -> Needs:
    """Return what must be counted before `admit`, `standing` or `by_hand` decide."""
    return Needs(
        runs=limits.runs_per_day is not None or caps.runs_per_day is not None,
        all_runs=caps.all_runs_per_day is not None,
        last=limits.min_interval is not None or caps.min_interval_s is not None,
        cost=limits.cost_usd_per_day is not None,
        active={"queue": 0, "skip": limits.concurrent, "replace": _ALL}[overlap],
    )


_ALL: Final = 10_000  # runs that one `replace` asks to stop at most


@dataclass(frozen=True, slots=True)
class Counts:
    """What the store says at one moment. Runs that never ran (refused, skipped, missed) are not counted.

    `cost` is the sum of known costs of the routine's last 24 hours, `unpriced` how many of these runs had unknown ones.
    `last_due` is when the routine's last run was to start.
    """

    at: float
    paused: str | None = None
    active: tuple[str, ...] = ()
    runs: int = 0
    oldest: float | None = None
    all_runs: int = 0
    all_oldest: float | None = None
    last_due: float | None = None
    cost_usd: float = 0.0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the routine and the wish say."""

    limits: Limits
    due: float
    overlap: Literal["skip", "queue", "replace"] = "skip"
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not. `retry_at` is the moment from which the same wish would not meet this cap; None: time does not help."""

    cause: Cause
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """It may be queued; the runs in `replaces` are asked to stop."""

    replaces: tuple[str, ...] = ()


def admit(asked: Asked, counts: Counts, caps: Caps) -> Welcome | Refusal:
    """Decide about a wish, before its run is counted."""
    if (refusal := standing(asked.limits, counts)) is not None:
        return refusal
    if asked.depth > MAX_DEPTH:
        text = f"{asked.depth} runs stand behind this one, {MAX_DEPTH} are allowed: its own events start it"
        return _cap(text, None)
    return _interval(asked, counts, caps) or _per_day(asked, counts, caps) or _overlap(asked, counts)


def standing(limits: Limits, counts: Counts) -> Refusal | None:
    """Return what refuses a run also later, when it is about to start: a pause, and money."""
    if counts.paused is not None:
        return Refusal(Cause(None, CauseCode.PAUSED, counts.paused))
    return _money(limits, counts)


def by_hand(limits: Limits, counts: Counts) -> Refusal | None:
    """Return what refuses a run that a person starts: its routine's own limits, no pause, no overlap, no other caps."""
    asked = Asked(limits, counts.at)
    return _interval(asked, counts, Caps()) or _per_day(asked, counts, Caps()) or _money(limits, counts)


def _money(limits: Limits, counts: Counts) -> Refusal | None:
    budget = limits.cost_usd_per_day
    if budget is None:
        return None
    if counts.unpriced:
        text = (
            f"the cost of {counts.unpriced} runs of the last 24 hours is not known, and `cost_usd_per_day` is {budget}"
        )
        return _cap(text, _later(counts.oldest))
    if counts.cost_usd >= budget:
        text = f"{counts.cost_usd:.4g} USD in the last 24 hours, `limits.cost_usd_per_day` is {budget:g}"
        return _cap(text, _later(counts.oldest))
    return None


def _interval(asked: Asked, counts: Counts, caps: Caps) -> Refusal | None:
    for name, least in (("limits.min_interval", asked.limits.min_interval), ("min_interval", caps.min_interval_s)):
        if least is None or counts.last_due is None or asked.due - counts.last_due >= least:
            continue
        since = max(asked.due - counts.last_due, 0.0)
        return _cap(f"the last run was {since:.0f} s before, `{name}` is {float(least):.0f} s", counts.last_due + least)
    return None


def _per_day(asked: Asked, counts: Counts, caps: Caps) -> Refusal | None:
    rows = (
        ("limits.runs_per_day", asked.limits.runs_per_day, counts.runs, counts.oldest),
        ("runs_per_day of this instance", caps.runs_per_day, counts.runs, counts.oldest),
        ("all_runs_per_day of this instance", caps.all_runs_per_day, counts.all_runs, counts.all_oldest),
    )
    for name, most, have, oldest in rows:
        if most is not None and have >= most:
            return _cap(f"{have} runs in the last 24 hours, `{name}` is {most}", _later(oldest))
    return None


def _overlap(asked: Asked, counts: Counts) -> Welcome | Refusal:
    places = asked.limits.concurrent
    if asked.overlap == "queue" or len(counts.active) < places:
        return Welcome()
    if asked.overlap == "replace":
        return Welcome(replaces=counts.active)
    text = f"under way: {len(counts.active)}, the first of them {counts.active[0]}; `limits.concurrent` is {places}"
    return Refusal(Cause(None, CauseCode.OVERLAP, text))


def _later(oldest: float | None) -> float | None:
    return None if oldest is None else oldest + DAY_S


def _cap(text: str, retry_at: float | None) -> Refusal:
    again = "" if retry_at is None else f"; again from {_moment(retry_at)}"
    return Refusal(Cause(None, CauseCode.CAP, text + again), retry_at)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
