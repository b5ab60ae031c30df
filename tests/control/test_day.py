"""A day in fast-forward: the real scheduler and engine on a told clock, with outages, suspended hours, a clock set back.

What should have fired is computed here, slot by slot, from the schedules alone; each of these slots must be a run that
ran, or lie in a run that says it was missed, and none may be in two.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tickover.control.registry import plan_of_record
from tickover.core.finding import FindingCode
from tickover.core.schedule import offset_of, slots
from tickover.core.status import Execution, Outcome
from tickover.store.server import ScheduleRecord
from tickover.testing.clock import START
from tickover.testing.server import ToldServer

DAY = 86400.0
HOUR = 3600.0


@pytest.fixture
def told(tmp_path: Path) -> Iterator[ToldServer]:
    server = ToldServer(tmp_path)
    yield server
    server.store.close()
    assert server.wrong == []


def expected(record: ScheduleRecord, begin: float, end: float) -> list[float]:
    """Return the slots whose firing lies in (begin, end]."""
    plan = plan_of_record(record)
    offset = offset_of(record.id, plan.stagger_s)
    found: list[float] = []
    for slot in slots(plan, begin):
        if slot + offset > end:
            return found
        found.append(slot)
    return found


def account(told: ToldServer, begin: float, end: float) -> Counter[str]:
    """Check every expected slot against the slots' rows and their runs; return how many there were of each kind."""
    kinds: Counter[str] = Counter()
    rows = {row.id: row for row in told.rows()}
    for record in told.store.schedules.all("", 1_000_000):
        wanted = expected(record, begin, end)
        seen: list[float] = []
        for noted in reversed(told.store.schedules.slots(record.id, 1_000_000)):
            covered = [slot for slot in wanted if noted.slot <= slot <= noted.last]
            assert len(covered) == noted.slots, record.id
            seen += covered
            assert noted.run is not None
            row = rows.pop(noted.run)
            kinds[noted.kind] += noted.slots
            if noted.kind == "missed":
                assert row.execution is Execution.MISSED
                assert row.reason == noted.reason != ""
            else:
                assert row.execution is not Execution.MISSED
                assert row.finished is not None
        assert seen == wanted, record.id
    assert rows == {}, "runs of no slot"
    return kinds


def fill(told: ToldServer, count: int) -> None:
    """Push that many routines, all kinds of schedules among them, each with its share of catching up."""
    dice = random.Random(4)
    for number in range(count):
        trigger: dict[str, object] = dice.choice([
            {"every": f"{dice.randrange(3, 18)}h"},
            {"cron": f"{dice.randrange(60)} {dice.randrange(24)} * * *", "time_zone": "Europe/Berlin"},
            {"cron": f"{dice.randrange(60)} */{dice.randrange(4, 12)} * * *", "time_zone": "America/New_York"},
            {"at": datetime.fromtimestamp(START + dice.randrange(int(DAY)), UTC).isoformat()},
        ])  # fmt: skip
        trigger |= {"catch_up": dice.choice(["latest", "all", "none"]), "stagger": dice.choice(["0s", "10m"])}
        told.push(f"overlap: queue\non: [{{schedule: {json.dumps(trigger)}}}]", f"r{number}")


async def live_a_day(told: ToldServer, count: int) -> Counter[str]:
    clock = told.clock
    fill(told, count)
    async with told.up():
        await told.live(START + 5 * HOUR)
    clock.advance(3 * HOUR)  # nobody is there
    async with told.up():
        await told.live(START + 10 * HOUR)
        clock.suspend(2 * HOUR)
        await told.quiet()
        await told.live(START + 15 * HOUR)
        clock.set(clock.now() - 2 * HOUR)  # two hours come again: what fired in them does not
        await told.live(START + 17 * HOUR)
    async with told.up():
        clock.set(clock.now() + HOUR)  # and one is left out
        await told.quiet()
        await told.live(START + DAY)
    return account(told, START, START + DAY)


async def test_a_day(told: ToldServer) -> None:
    kinds = await live_a_day(told, 40)
    assert kinds["fired"] > 40
    assert kinds["missed"] > 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_day_of_a_thousand_routines(told: ToldServer) -> None:
    kinds = await live_a_day(told, 1000)
    assert kinds["fired"] > 1000


SCHEDULE = "overlap: queue\non: [{schedule: {every: 1h, catch_up: CATCH_UP}}]"


async def test_an_outage_is_told(told: ToldServer) -> None:
    told.push(SCHEDULE.replace("CATCH_UP", "latest"))
    told.clock.advance(5 * HOUR)
    async with told.up():
        pass
    missed, late = sorted(told.rows(), key=lambda row: row.execution is not Execution.MISSED)
    assert missed.reason == (
        "4 slots from 2026-11-30T01:00:00Z to 2026-11-30T04:00:00Z were not fired: no server was running"
    )
    assert (missed.exit_code, missed.outcome) == (7, Outcome.NONE)
    assert late.outcome is Outcome.VERIFIED
    assert late.due == START + 5 * HOUR
    assert late.findings == ()  # it is the slot of this very moment


async def test_a_late_run_says_so(told: ToldServer) -> None:
    told.push(SCHEDULE.replace("CATCH_UP", "latest"))
    told.clock.advance(HOUR + 1800)
    async with told.up():
        pass
    [row] = told.rows()
    assert [each.finding.code for each in row.findings] == [FindingCode.LATE]
    assert "1800 s after its time" in row.findings[0].finding.message


async def test_a_suspended_machine_is_named(told: ToldServer) -> None:
    told.push(SCHEDULE.replace("CATCH_UP", "none"))
    async with told.up():
        told.clock.suspend(3 * HOUR + 1000)
        await told.quiet()
    [row] = told.rows()
    assert row.reason.endswith("were not fired: the machine was suspended for 11800 s")


async def test_a_clock_set_forward_is_named(told: ToldServer) -> None:
    told.push(SCHEDULE.replace("CATCH_UP", "none"))
    async with told.up():
        told.clock.set(START + 3 * HOUR + 1000)
        await told.quiet()
    [row] = told.rows()
    assert row.reason.endswith("were not fired: the clock was set forward by 11800 s")


async def test_a_clock_set_back_fires_nothing_twice(told: ToldServer) -> None:
    told.push(SCHEDULE.replace("CATCH_UP", "all"))
    async with told.up():
        await told.live(START + 3 * HOUR)
        told.clock.set(START)
        await told.live(START + 4 * HOUR)
    assert sorted(row.due or 0 for row in told.rows()) == [START + number * HOUR for number in range(1, 5)]


async def test_a_slot_that_a_killed_server_noted_is_fired_by_the_next(told: ToldServer) -> None:
    """Between the transaction that notes a slot and the one that makes its run."""
    told.push(SCHEDULE.replace("CATCH_UP", "latest"))
    told.clock.advance(HOUR)
    [record] = told.store.schedules.due(told.clock.now(), 10)
    scheduler = told.scheduler()
    told.store.schedules.advance([scheduler._advance(record, told.clock.now(), "")])
    assert told.rows() == []
    async with told.up():
        pass
    [row] = told.rows()
    assert (row.due, row.outcome) == (START + HOUR, Outcome.VERIFIED)


async def test_a_pause_expects_nothing_and_resuming_goes_on_from_now(told: ToldServer) -> None:
    told.push(SCHEDULE.replace("CATCH_UP", "all"))
    async with told.up():
        told.registry.pause("r", "ann", "")
        await told.live(START + 5 * HOUR + 1)
        assert told.rows() == []
        told.registry.resume("r", "ann")
        await told.quiet()
        await told.live(START + 6 * HOUR)
    assert [row.due for row in told.rows()] == [START + 6 * HOUR]


async def test_a_push_that_keeps_a_trigger_lets_it_run_on(told: ToldServer) -> None:
    told.push("overlap: queue\non: [{schedule: {every: 1h}}]")
    told.clock.advance(HOUR + 60)  # its slot has come, and nobody looked yet
    told.push("description: new\noverlap: queue\non: [{schedule: {every: 1h}}, {schedule: {every: 6h}}]")
    async with told.up():
        pass
    [row] = told.rows()
    assert (row.due, row.title) == (START + HOUR, "new")
    told.push("description: none")
    assert told.store.schedules.all("", 10) == []


async def test_other_rules_of_time_zones_move_the_next_slots(told: ToldServer) -> None:
    told.push('on: [{schedule: {cron: "0 9 * * *", time_zone: Europe/Berlin}}, {schedule: {every: 1h}}]')
    right = {each.id: each.slot for each in told.store.schedules.all("", 10)}
    with told.store._database.writing():
        told.store._database.run_sql("UPDATE schedule SET slot = slot - 1800, fire_at = fire_at - 1800")
    told.store.schedules.note("tzdata", "an older release")
    async with told.up():
        pass
    moved = {each.id: each.slot for each in told.store.schedules.all("", 10)}
    cron = [each.id for each in told.store.schedules.all("", 10) if "cron" in each.spec]
    assert [moved[id_] for id_ in cron] == [right[id_] for id_ in cron]
