"""Caps, intervals, budgets, overlap: each refusal has its numbers, and says when to come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tickover.core.admission import DAY_S, PRESETS, Asked, Caps, Counts, Refusal, Welcome, admit, by_hand, standing
from tickover.core.cause import CauseCode
from tickover.core.limits import Limits

NOW = 1_800_000_000.0
NOTHING = Counts(at=NOW)


def limits(**keys: Any) -> Limits:
    return Limits.model_validate(keys)


def asked(overlap: Any = "skip", due: float = NOW, depth: int = 0, **keys: Any) -> Asked:
    return Asked(limits(**keys), due, overlap, depth)


def refused(verdict: Welcome | Refusal | None) -> Refusal:
    assert isinstance(verdict, Refusal)
    return verdict


def test_nothing_stands_against_a_first_run() -> None:
    assert admit(asked(), NOTHING, Caps()) == Welcome()


@pytest.mark.parametrize(
    ("question", "counts", "caps", "words", "retry_at"),
    [
        (asked(runs_per_day=5), Counts(NOW, runs=5, oldest=NOW - 100), Caps(), "5 runs", NOW - 100 + DAY_S),
        (asked(), Counts(NOW, runs=3, oldest=NOW - 9), Caps(runs_per_day=3), "3 runs", NOW - 9 + DAY_S),
        (asked(), Counts(NOW, all_runs=5, all_oldest=NOW - 9), Caps(all_runs_per_day=5), "5 runs", NOW - 9 + DAY_S),
        (asked(min_interval="1h"), Counts(NOW, last_due=NOW - 600), Caps(), "600 s before", NOW + 3000),
        (asked(), Counts(NOW, last_due=NOW - 600), Caps(min_interval_s=3600), "600 s before", NOW + 3000),
        (asked(cost_usd_per_day=2), Counts(NOW, cost_usd=2.5, oldest=NOW), Caps(), "2.5 USD", NOW + DAY_S),
        (asked(cost_usd_per_day=2), Counts(NOW, unpriced=1, oldest=NOW), Caps(), "not known", NOW + DAY_S),
        (asked(depth=4), NOTHING, Caps(), "4 runs stand behind", None),
    ],
)
def test_caps(question: Asked, counts: Counts, caps: Caps, words: str, retry_at: float | None) -> None:
    refusal = refused(admit(question, counts, caps))
    assert refusal.cause.cause is CauseCode.CAP
    assert words in refusal.cause.hint
    assert refusal.retry_at == retry_at
    assert ("again from" in refusal.cause.hint) is (retry_at is not None)


@pytest.mark.parametrize(
    ("question", "counts"),
    [
        (asked(runs_per_day=5), Counts(NOW, runs=4, oldest=NOW)),
        (asked(min_interval="1h"), Counts(NOW, last_due=NOW - 3600)),
        (asked(min_interval="1h", due=NOW + 3000), Counts(NOW, last_due=NOW - 600)),  # slots count, not the moment
        (asked(cost_usd_per_day=2), Counts(NOW, cost_usd=1.99)),
        (asked(), Counts(NOW, unpriced=9)),
        (asked(depth=3), NOTHING),
    ],
)
def test_what_is_within_a_cap(question: Asked, counts: Counts) -> None:
    assert admit(question, counts, Caps()) == Welcome()


@pytest.mark.parametrize(("preset", "most"), [("claude-pro", 5), ("claude-team", 25)])
def test_presets(preset: str, most: int) -> None:
    caps = PRESETS[preset]
    apart = replace(NOTHING, last_due=NOW - 3600)
    assert admit(asked(), replace(apart, all_runs=most - 1), caps) == Welcome()
    assert refused(admit(asked(), replace(apart, all_runs=most), caps))
    assert refused(admit(asked(), replace(NOTHING, last_due=NOW - 3599), caps))


def test_overlap() -> None:
    busy = replace(NOTHING, active=("a", "b"))
    refusal = refused(admit(asked("skip", concurrent=2), busy, Caps()))
    assert refusal.cause.cause is CauseCode.OVERLAP
    assert "2, the first of them a" in refusal.cause.hint
    assert admit(asked("skip", concurrent=3), busy, Caps()) == Welcome()
    assert admit(asked("queue", concurrent=2), busy, Caps()) == Welcome()
    assert admit(asked("replace", concurrent=2), busy, Caps()) == Welcome(replaces=("a", "b"))


def test_a_pause_refuses_whatever_else_is_true() -> None:
    paused = replace(NOTHING, paused="paused by ann: the wiki moves")
    for refusal in (refused(admit(asked("queue"), paused, Caps())), refused(standing(limits(), paused))):
        assert refusal.cause.cause is CauseCode.PAUSED
        assert refusal.cause.hint == "paused by ann: the wiki moves"


def test_a_person_is_bound_by_the_routines_own_limits_only() -> None:
    assert by_hand(limits(), replace(NOTHING, paused="x", active=("a",), runs=1000)) is None
    assert refused(by_hand(limits(runs_per_day=1), replace(NOTHING, runs=1)))
    assert refused(by_hand(limits(min_interval="1h"), replace(NOTHING, last_due=NOW - 1)))
    assert refused(by_hand(limits(cost_usd_per_day=1), replace(NOTHING, cost_usd=1.0)))
