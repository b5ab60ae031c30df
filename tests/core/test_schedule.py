"""Slots: the table of the two clock changes, catching up, staggering; and properties of all of them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.core.schedule import (
    GRACE_S,
    MOST_CAUGHT_UP,
    MOST_COUNTED,
    CatchUp,
    Plan,
    next_slot,
    offset_of,
    plan_of,
    schedule_id,
    slots,
    spec_of,
    turn,
)
from tickover.core.trigger import ScheduleTrigger

NEW_YORK = ZoneInfo("America/New_York")
SPRING = datetime(2026, 3, 8, tzinfo=NEW_YORK)
"""The day whose 02:00 to 03:00 does not exist."""
AUTUMN = datetime(2026, 11, 1, tzinfo=NEW_YORK)
"""The day whose 01:00 to 02:00 comes twice."""


def day(cron: str, start: datetime, zone: ZoneInfo = NEW_YORK) -> list[str]:
    """Return the slots of that day as UTC times of day."""
    end = (start + timedelta(days=1)).timestamp()
    plan = Plan(zone, cron=cron)
    found = itertools.takewhile(lambda slot: slot < end, slots(plan, start.timestamp() - 1))
    return [datetime.fromtimestamp(slot, UTC).strftime("%H:%M") for slot in found]


@pytest.mark.parametrize(
    ("cron", "start", "expected"),
    [
        ("30 2 * * *", SPRING, ["07:00"]),  # 03:00 EDT, the first minute after the gap, once
        ("30 1 * * *", AUTUMN, ["05:30"]),  # once, at the first of the two
        ("0 1,2 * * *", AUTUMN, ["05:00", "07:00"]),
        ("*/30 * * * *", SPRING, [f"{hour:02}:{minute:02}" for hour in (*range(5, 24),) for minute in (0, 30)]),
        ("0 12 * * *", SPRING, ["16:00"]),
        ("0 12 * * *", AUTUMN, ["17:00"]),
    ],
)
def test_the_two_clock_changes(cron: str, start: datetime, expected: list[str]) -> None:
    assert day(cron, start)[: len(expected)] == expected
    if "*/" not in cron:
        assert day(cron, start) == expected


@pytest.mark.parametrize(("start", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_a_line_that_goes_by_passing_time_neither_stops_nor_doubles(start: datetime, hours: int) -> None:
    end = (start.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=NEW_YORK).timestamp()
    plan = Plan(NEW_YORK, cron="*/30 * * * *")
    found = list(itertools.takewhile(lambda slot: slot < end, slots(plan, start.timestamp() - 1)))
    assert len(found) == 2 * hours
    assert {after - before for before, after in itertools.pairwise(found)} == {1800.0}


def test_day_of_month_and_weekday_are_either_and_sunday_is_seven_too() -> None:
    start = datetime(2026, 2, 12, tzinfo=UTC)
    found = [datetime.fromtimestamp(each, UTC) for each in itertools.islice(
        slots(Plan(UTC, cron="0 0 13 * 5"), start.timestamp()), 3
    )]  # fmt: skip
    assert [each.day for each in found] == [13, 20, 27]
    sundays = {next_slot(Plan(UTC, cron=f"0 0 * * {day}"), start.timestamp()) for day in ("0", "7", "sun")}
    assert len(sundays) == 1


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6 *"])
def test_a_line_that_never_comes_has_no_slot(cron: str) -> None:
    assert next_slot(Plan(UTC, cron=cron), 0.0) is None


def test_an_interval_counts_from_the_epoch() -> None:
    plan = Plan(UTC, every_s=900)
    assert list(itertools.islice(slots(plan, 899.5), 2)) == [900.0, 1800.0]
    assert next_slot(plan, 900.0) == 1800.0


def test_one_moment_comes_once() -> None:
    plan = plan_of(ScheduleTrigger.model_validate({"at": "2027-01-31T09:00:00+01:00"}), UTC)
    at = datetime(2027, 1, 31, 8, tzinfo=UTC).timestamp()
    assert next_slot(plan, at - 1) == at
    assert next_slot(plan, at) is None


@pytest.mark.parametrize("preset", ["hourly", "daily", "weekdays", "weekly"])
def test_presets(preset: str) -> None:
    assert next_slot(plan_of(ScheduleTrigger.model_validate({"cron": preset}), UTC), 0.0) is not None


def test_a_trigger_survives_being_written_down() -> None:
    trigger = ScheduleTrigger.model_validate({"cron": "0 9 * * mon", "time_zone": "Europe/Berlin", "stagger": "5m"})
    assert ScheduleTrigger.model_validate(spec_of(trigger)) == trigger


def test_an_unchanged_trigger_keeps_its_name_and_equal_ones_have_two() -> None:
    spec = {"every": "15m"}
    assert schedule_id("r", spec) == schedule_id("r", dict(spec)) != schedule_id("r", {"every": "16m"})
    assert schedule_id("r", spec) != schedule_id("r", spec, 1)


def test_stagger_is_spread_and_fixed() -> None:
    offsets = [offset_of(f"r{number}#x", 600) for number in range(2000)]
    assert offsets == [offset_of(f"r{number}#x", 600) for number in range(2000)]
    assert min(offsets) >= 0
    assert max(offsets) < 600
    busiest = max(sum(minute * 60 <= each < minute * 60 + 60 for each in offsets) for minute in range(10))
    assert busiest < 2 * len(offsets) / 10
    assert offset_of("r#x", 0) == 0


# -- catching up -----------------------------------------------------------------------------------------------------


def caught(catch_up: CatchUp, *, late: float, every: int = 60) -> tuple[int, int]:
    """Return how many slots are fired and missed, `late` seconds after the first of them."""
    decided = turn(Plan(UTC, every_s=every, catch_up=catch_up), 6000.0, 6000.0 + late)
    return len(decided.fire), decided.missed.count if decided.missed else 0


@pytest.mark.parametrize(
    ("catch_up", "late", "expected"),
    [
        ("latest", 0.0, (1, 0)),
        ("latest", 3600.0, (1, 60)),
        ("all", 3600.0, (61, 0)),
        ("none", 0.0, (1, 0)),
        ("none", 59.0, (1, 0)),
        ("none", 3600.0, (1, 60)),  # the slot of this very moment is in time
        ("none", 3659.0, (1, 60)),
    ],
)
def test_catching_up(catch_up: CatchUp, late: float, expected: tuple[int, int]) -> None:
    assert caught(catch_up, late=late) == expected


def test_none_lets_a_late_slot_go() -> None:
    decided = turn(Plan(UTC, every_s=86400, catch_up="none"), 86400.0, 86400.0 + GRACE_S + 1)
    assert decided.fire == ()
    assert decided.missed is not None
    assert decided.next == 2 * 86400.0


def test_catching_up_all_has_an_end() -> None:
    fired, missed = caught("all", late=60.0 * 3000)
    assert fired == MOST_CAUGHT_UP
    assert missed == 3001 - MOST_CAUGHT_UP


@pytest.mark.parametrize("plan", [Plan(UTC, every_s=1), Plan(UTC, cron="* * * * *")])
def test_years_of_slots_are_not_counted_one_by_one(plan: Plan) -> None:
    now = 1_800_000_000.0
    decided = turn(plan, 1_600_000_000.0 - 1_600_000_000.0 % 60, now)
    assert decided.missed is not None
    assert decided.missed.more
    assert decided.missed.count == MOST_COUNTED - 1
    assert now - decided.fire[-1] < 60
    assert decided.next is not None
    assert decided.next > now


plans = st.one_of(
    st.builds(
        Plan,
        st.sampled_from([UTC, NEW_YORK, ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")]),
        cron=st.sampled_from(
            ["30 2 * * *", "*/7 * * * *", "0 1,2 * * *", "15 */5 * * *", "0 9 * * 1-5", "59 23 31 * *"]
        ),
        catch_up=st.sampled_from(["latest", "all", "none"]),
    ),
    st.builds(
        Plan, st.just(UTC), every_s=st.integers(30, 100_000), catch_up=st.sampled_from(["latest", "all", "none"])
    ),
)


@given(plans, st.floats(1_700_000_000, 1_900_000_000))
@settings(max_examples=60, deadline=None)
def test_slots_grow_and_a_later_start_finds_the_same_ones(plan: Plan, start: float) -> None:
    found = list(itertools.islice(slots(plan, start), 30))
    assert all(start < slot for slot in found[:1])
    assert all(before < after for before, after in itertools.pairwise(found))
    for before, after in itertools.pairwise(found):
        assert next_slot(plan, before) == after
        assert next_slot(plan, (before + after) / 2) == after


@given(
    plans, st.integers(1_700_000_000, 1_900_000_000), st.lists(st.integers(0, 200_000), max_size=6), st.integers(0, 900)
)
@settings(max_examples=60, deadline=None)
def test_whenever_one_looks_every_slot_is_fired_or_missed_once(
    plan: Plan, start: int, pauses: list[int], offset: int
) -> None:
    slot = next_slot(plan, float(start))
    assert slot is not None
    now, counted, last = float(start), 0, slot
    fired: list[float] = []
    first = slot
    for pause in pauses:
        now += pause
        if slot + offset > now:
            continue
        decided = turn(plan, slot, now, offset=offset)
        counted += len(decided.fire) + (decided.missed.count if decided.missed else 0)
        fired += decided.fire
        assert decided.next is not None
        assert decided.next + offset > now
        last, slot = slot, decided.next
    expected = sum(1 for _ in itertools.takewhile(lambda each: each + offset <= now, slots(plan, first - 1)))
    assert counted == expected
    assert fired == sorted(set(fired))
    assert last <= slot
