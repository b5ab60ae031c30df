"""The server with told attempts: caps, overlap, order, pauses, what a restart finds. The store is the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tickover.core.admission import Caps
from tickover.core.cause import Cause, CauseCode
from tickover.core.errors import DefinitionErrors, NotFoundError, UsageError
from tickover.core.event import (
    AgentStarted,
    AttemptFinished,
    ConnectionDenied,
    Fact,
    ReceiptBegun,
    ReceiptEnded,
)
from tickover.core.finding import FindingCode
from tickover.core.receipt import Begun, Ended, Identity
from tickover.core.status import Execution, Outcome
from tickover.core.wanted import RequiredTool
from tickover.core.wish import Enqueued, Wish
from tickover.testing.clock import START
from tickover.testing.server import FAILED, VERIFIED, ToldServer


@pytest.fixture
def told(tmp_path: Path) -> Iterator[ToldServer]:
    server = ToldServer(tmp_path)
    yield server
    server.store.close()
    assert server.wrong == []


def wish(told: ToldServer, routine: str = "r", **keys: object) -> Enqueued:
    return told.desk.enqueue(Wish(routine, **keys))  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.to_thread(condition)


# -- wishes ----------------------------------------------------------------------------------------------------------


def test_a_wish_for_what_was_not_pushed_is_no_run(told: ToldServer) -> None:
    with pytest.raises(NotFoundError):
        wish(told)
    assert told.rows() == []


async def test_a_wish_is_worked_off(told: ToldServer) -> None:
    told.push("inputs: {week: {type: string, default: last}}")
    async with told.up():
        run = wish(told, event=b'{"a": 1}', inputs={"week": "48"}, by="ann", trigger="api").run
        await told.quiet()
    row = told.row(run)
    assert (row.execution, row.outcome) == (Execution.COMPLETED, Outcome.VERIFIED)
    assert (row.trigger, row.by, row.inputs) == ("api", "ann", {"week": "48"})
    assert row.event_digest is not None
    assert told.blobs.get(row.event_digest) == b'{"a": 1}'
    assert [notice.run for notice in told.noticed] == [run]


async def test_a_wish_that_was_made_without_a_server_waits_for_one(told: ToldServer) -> None:
    told.push("")
    run = wish(told).run
    assert told.row(run).execution is Execution.QUEUED
    async with told.up():
        pass
    assert told.row(run).outcome is Outcome.VERIFIED


def test_the_same_key_is_the_same_run(told: ToldServer) -> None:
    told.push("overlap: queue")
    first = wish(told, key="k")
    assert first == Enqueued(first.run, created=True)
    assert wish(told, key="k") == Enqueued(first.run, created=False)
    assert wish(told, key="other").run != first.run
    told.push("overlap: queue", name="s")
    assert wish(told, "s", key="k").created


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "`n` is required"),
        ({"n": "x"}, "no integer"),
        ({"n": True}, "no integer"),
        ({"n": 1, "m": 2}, "no input `m`"),
        ({"n": 1, "s": "a\0b"}, "NUL"),
        ({"n": 1, "s": "a" * 70_000}, "characters"),
    ],
)
async def test_bad_inputs_are_a_row_with_the_reason(told: ToldServer, inputs: dict[str, object], words: str) -> None:
    told.push("inputs: {n: {type: integer}, s: {type: string, default: x}}")
    row = told.row(wish(told, inputs=inputs).run)
    assert row.execution is Execution.REFUSED
    assert row.cause is not None
    assert row.cause.cause is CauseCode.BAD_INPUT
    assert words in row.cause.hint
    assert row.exit_code == 7


async def test_a_refusal_is_told_like_every_end(told: ToldServer) -> None:
    told.push("limits: {runs_per_day: 1}")
    async with told.up():
        first = wish(told)
        await told.quiet()
        second = wish(told)
        await told.quiet()
    assert {notice.run for notice in told.noticed} == {first.run, second.run}
    assert second.retry_at == START + 86400
    assert told.row(second.run).execution is Execution.REFUSED


async def test_a_day_later_the_cap_is_free_again(told: ToldServer) -> None:
    told.push("limits: {runs_per_day: 1}")
    async with told.up():
        wish(told)
        await told.quiet()
        told.clock.advance(86400.5)
        await told.quiet()
        again = wish(told)
        await told.quiet()
    assert told.row(again.run).outcome is Outcome.VERIFIED


async def test_the_instances_cap_counts_all_routines(told: ToldServer) -> None:
    told.caps = Caps(all_runs_per_day=2)
    for name in ("a", "b", "c"):
        told.push("", name)
    async with told.up():
        rows = []
        for name in ("a", "b", "c"):
            rows.append(wish(told, name).run)
            await told.quiet()
    assert [told.row(run).execution for run in rows] == [Execution.COMPLETED] * 2 + [Execution.REFUSED]


# -- places ----------------------------------------------------------------------------------------------------------


async def test_overlap_skip_refuses(told: ToldServer) -> None:
    told.push("")
    told.hold = asyncio.Event()
    async with told.up():
        first = wish(told)
        await until(lambda: told.row(first.run).execution is Execution.PREPARING)
        second = wish(told)
        told.hold.set()
        await until(lambda: told.row(first.run).finished is not None)
        told.hold = None
        await told.quiet()
    cause = told.row(second.run).cause
    assert cause is not None
    assert cause.cause is CauseCode.OVERLAP
    assert first.run in cause.hint


async def test_overlap_queue_waits_for_its_place_and_priority_goes_first(told: ToldServer) -> None:
    told.caps = Caps(concurrent=1)
    for name, priority in (("low", 0), ("high", 5), ("first", 0)):
        told.push(f"overlap: queue\npriority: {priority}", name)
    order: list[str] = []
    told.tell = lambda row: order.append(row.routine) or VERIFIED  # type: ignore[func-returns-value]
    told.hold = asyncio.Event()
    async with told.up():
        first = wish(told, "first").run
        await until(lambda: told.row(first).execution is Execution.PREPARING)
        for name in ("low", "low", "high", "low", "high"):
            wish(told, name)
        hold, told.hold = told.hold, None
        hold.set()
        await told.quiet()
    assert order == ["first", "high", "high", "low", "low", "low"]
    assert all(row.outcome is Outcome.VERIFIED for row in told.rows())


async def test_no_more_than_its_places_work_at_once(told: ToldServer) -> None:
    told.push("overlap: queue\nlimits: {concurrent: 2}")
    told.hold = asyncio.Event()
    async with told.up():
        runs = [wish(told).run for _ in range(5)]
        await until(lambda: sum(told.row(run).execution is Execution.PREPARING for run in runs) == 2)
        await told.clock.idle(2)
        assert sum(told.row(run).execution is Execution.PREPARING for run in runs) == 2
        hold, told.hold = told.hold, None
        hold.set()
        await told.quiet()
    assert all(told.row(run).outcome is Outcome.VERIFIED for run in runs)


async def test_overlap_replace_cancels_what_runs_and_what_waits(told: ToldServer) -> None:
    told.push("overlap: replace")
    told.hold = asyncio.Event()
    async with told.up():
        first = wish(told).run
        await until(lambda: told.row(first).execution is Execution.PREPARING)
        second = wish(told).run
        third = wish(told).run
        await until(lambda: told.row(first).finished is not None and told.row(second).finished is not None)
        told.hold.set()
        await until(lambda: told.row(third).finished is not None)
        told.hold = None
        await told.quiet()
    assert [told.row(run).execution for run in (first, second)] == [Execution.CANCELLED] * 2
    assert told.row(third).outcome is Outcome.VERIFIED
    assert second in (told.row(first).cancel_requested_by or "")


async def test_a_queued_run_can_be_cancelled(told: ToldServer) -> None:
    told.push("")
    later = START + 3600
    async with told.up():
        run = wish(told, not_before=later).run
        await told.quiet()
        told.store.journal.append(run, 0, [{"type": "cancel_requested", "version": 1, "by": "ann"}])
        told.store.queue.wake(run, told.clock.now())
        await told.quiet()
        assert told.row(run).execution is Execution.CANCELLED


async def test_a_run_does_not_begin_before_its_moment(told: ToldServer) -> None:
    told.push("")
    run = wish(told, not_before=START + 3600).run
    async with told.up():
        await told.live(START + 3599)
        assert told.row(run).execution is Execution.QUEUED
        await told.live(START + 3601)
    assert told.row(run).started == START + 3600


# -- pauses ----------------------------------------------------------------------------------------------------------


async def test_a_paused_routine_refuses_what_comes_and_what_waited(told: ToldServer) -> None:
    told.push("overlap: queue")
    waited = wish(told).run
    told.registry.pause("r", "ann", "the wiki moves")
    refused = wish(told).run
    async with told.up():
        await told.quiet()
        for run in (waited, refused):
            cause = told.row(run).cause
            assert cause is not None
            assert (cause.cause, cause.hint) == (CauseCode.PAUSED, "paused by ann: the wiki moves")
        told.registry.resume("r", "ann")
        again = wish(told).run
        await told.quiet()
    assert told.row(again).outcome is Outcome.VERIFIED


async def test_after_five_failures_in_a_row_a_routine_pauses_itself(told: ToldServer) -> None:
    told.push("")
    outcomes = iter([FAILED, FAILED, VERIFIED, FAILED, FAILED, FAILED, FAILED, FAILED, FAILED])
    told.tell = lambda _row: next(outcomes)
    async with told.up():
        for number in range(9):
            wish(told)
            await told.quiet()
            told.clock.advance(1)
            paused = told.registry.get("r").paused_at is not None
            assert paused is (number >= 7)
        record = told.registry.get("r")
        assert record.paused_by == "tickover"
        assert "5 runs in a row failed" in record.paused_reason
        assert [notice.text for notice in told.noticed if notice.kind == "paused"] == [record.paused_reason]
        assert told.rows()[-1].execution is Execution.REFUSED
        told.registry.resume("r", "ann")
        told.tell = lambda _row: FAILED
        wish(told)
        await told.quiet()
    assert told.registry.get("r").paused_at is None  # what failed before is forgiven


async def test_what_the_machine_could_not_do_pauses_no_routine(told: ToldServer) -> None:
    told.push("")
    broken = AttemptFinished(execution=Execution.FAILED, cause=Cause(None, CauseCode.INFRASTRUCTURE, "no sandbox"))
    told.tell = lambda _row: (broken,)
    async with told.up():
        for _ in range(7):
            wish(told)
            await told.quiet()
            told.clock.advance(1)
    assert {row.execution for row in told.rows()} == {Execution.FAILED}
    assert told.registry.get("r").paused_at is None


async def test_a_server_ends_with_what_it_cannot_do_without(told: ToldServer) -> None:
    gone = asyncio.Event()

    async def launcher() -> None:
        await gone.wait()

    server = told.server()
    server._vital = {"sandbox launcher": launcher}
    async with server:
        failure = asyncio.create_task(server.failure())
        gone.set()
        assert str(await failure) == "the sandbox launcher ended"


async def test_a_slot_that_two_schedules_name_is_found(told: ToldServer) -> None:
    told.push('on: [{schedule: {cron: "0 1 * * *"}}, {schedule: {every: 1h}}]\noverlap: queue')
    async with told.up():
        await told.live(START + 2 * 3600 + 1)
        await told.quiet()
    rows = told.rows()
    both = [row for row in rows if row.due == START + 3600]
    assert len(both) == 2
    told_of = [[each.finding.code for each in row.findings] for row in both]
    assert sorted(told_of) == [[], ["duplicate"]]
    assert not [row for row in rows if row.due != START + 3600 and row.findings]


async def test_an_event_that_started_a_run_before_is_found(told: ToldServer) -> None:
    told.push("")
    async with told.up():
        first = wish(told).run
        await told.quiet()
        again = told.desk.enqueue(Wish("r", "webhook", repeats=first)).run
        assert told.engine is not None
        told.engine.ring()
        await told.quiet()
    [finding] = [each.finding for each in told.row(again).findings]
    assert (finding.code, finding.required, finding.detail) == ("duplicate", False, {"run": first})


# -- retries and restarts ----------------------------------------------------------------------------------------------

RETRY = "retry: {attempts: 3, backoff: 10m, when: [infrastructure, agent_failed]}"


async def test_a_server_that_was_killed_goes_on_with_the_run_it_worked_on(told: ToldServer) -> None:
    told.push(RETRY)
    run = wish(told).run
    told.leave_open(run)
    async with told.up():
        row = told.row(run)
        assert row.execution is Execution.QUEUED
        assert row.attempts[0].execution is Execution.LOST
        assert row.retry_at is not None
        assert START + 600 <= row.retry_at <= START + 900
        await told.live(START + 100)
    async with told.up():  # the moment outlives this server too
        await told.live(row.retry_at - 1)
        assert told.row(run).attempt == 1
        await told.live(row.retry_at + 1)
    row = told.row(run)
    assert (row.attempt, row.outcome, row.recovered) == (2, Outcome.VERIFIED, 1)
    assert FindingCode.RECOVERED in {each.finding.code for each in row.findings}


def write(call: int) -> ReceiptBegun:
    record = Begun(
        call=call, at=START, attempt=1, method="POST", scheme="https", host="a.test", port=443, path="/",
        rule="may[0]", writes=True,
    )  # fmt: skip
    return ReceiptBegun(receipt=2 * call - 1, record=record, mac="m")


def answer(call: int, delivery: str, status: int | None) -> ReceiptEnded:
    return ReceiptEnded(receipt=2 * call, record=Ended(call=call, at=START, delivery=delivery, status=status), mac="m")


@pytest.mark.parametrize(
    ("facts", "again"),
    [
        ([write(1), answer(1, "answered", 200)], True),
        ([write(1)], False),
        ([write(1), answer(1, "cut", None)], False),
    ],
)
async def test_after_a_crash_a_write_without_an_answer_is_not_made_again(
    told: ToldServer, facts: list[Fact], again: bool
) -> None:
    told.push(RETRY)
    run = wish(told).run
    told.leave_open(run, *facts)
    async with told.up():
        await told.live(START + 1000)
    row = told.row(run)
    assert row.execution is (Execution.COMPLETED if again else Execution.LOST)
    assert row.attempt == 1 + again


async def test_a_required_tool_that_was_denied_fails_a_run_that_is_settled_after_a_crash(told: ToldServer) -> None:
    tool = RequiredTool(
        connector="slack", tool="post_message", method="POST", host="a.test", port=443, path="/post", rules=("may[0]",)
    )
    denied = ConnectionDenied(
        identity=Identity.AGENT, host="a.test", port=443, code="max", says="1 left already", method="POST", path="/post"
    )
    told.push("")
    outcomes = {}
    stories: dict[str, list[Fact]] = {"denied": [denied], "let through": [write(1), answer(1, "answered", 200), denied]}
    for name, facts in stories.items():
        run = wish(told, key=name).run
        told.leave_open(run, *facts, started=AgentStarted(required=(tool,)))
        async with told.up():
            pass
        row = told.row(run)
        found = [each.finding.code for each in row.findings if each.finding.required]
        outcomes[name] = (row.execution, row.outcome, found)
    assert outcomes == {
        "denied": (Execution.LOST, Outcome.FAILED, [FindingCode.REQUIRED_MISSING]),
        "let through": (Execution.LOST, Outcome.UNVERIFIED, []),
    }


async def test_without_retries_a_lost_run_ends(told: ToldServer) -> None:
    told.push("")
    run = wish(told).run
    told.leave_open(run)
    async with told.up():
        pass
    row = told.row(run)
    assert (row.execution, row.outcome, row.attempt) == (Execution.LOST, Outcome.UNVERIFIED, 1)


async def test_a_crash_between_an_attempts_end_and_its_retry_loses_nothing(told: ToldServer) -> None:
    told.push(RETRY)
    run = wish(told).run
    told.leave_open(run, *FAILED[1:])
    async with told.up():
        assert told.row(run).retry_at is not None
        await told.live(START + 1000)
    assert told.row(run).outcome is Outcome.VERIFIED


async def test_a_crash_before_the_last_fact_loses_nothing(told: ToldServer) -> None:
    told.push("")
    run = wish(told).run
    told.leave_open(run, *VERIFIED[1:])
    async with told.up():
        pass
    row = told.row(run)
    assert row.finished is not None
    assert (row.outcome, row.attempt) == (Outcome.VERIFIED, 1)


async def test_a_damaged_version_ends_its_run_and_no_other(told: ToldServer) -> None:
    told.push("overlap: queue", "bad")
    told.push("", "good")
    bad, good = wish(told, "bad").run, wish(told, "good").run
    file = next((told.home / "routines" / "bad").glob("*/routines/bad/ROUTINE.md"))
    file.chmod(0o600)
    file.write_text("no front matter")
    told.registry._loaded.clear()
    async with told.up():
        pass
    assert told.row(bad).execution is Execution.FAILED
    assert told.row(good).outcome is Outcome.VERIFIED


async def test_a_second_server_on_the_same_data_refuses(told: ToldServer) -> None:
    async with told.up():
        with pytest.raises(UsageError, match=r"another server .process [0-9]+. works on") as refused:
            async with told.server():
                pass
    assert refused.value.code == "server.running"
    async with told.up():
        pass


# -- pushing -----------------------------------------------------------------------------------------------------------


def test_a_push_is_a_copy_that_stays(told: ToldServer) -> None:
    told.push("description: one")
    run = wish(told).run
    told.push("description: two")
    assert told.row(run).title == "one"
    assert told.registry.loaded("r", Path(told.row(run).folder).parents[1].name).routine.description == "one"
    assert len(told.store.routines.versions("r")) == 2


def test_what_this_build_cannot_do_is_refused_when_it_is_pushed(told: ToldServer) -> None:
    with pytest.raises(DefinitionErrors, match="require_eval"):
        told.push("require_eval: true")
    assert told.registry.list() == []


def test_a_named_environment_is_pushed_with_it(told: ToldServer) -> None:
    environments = told.home / "sources" / "environments"
    environments.mkdir(parents=True)
    (environments / "small.yaml").write_text("env: {A: b}\n")
    told.push("environment: small")
    (environments / "small.yaml").unlink()
    told.registry._loaded.clear()
    loaded = told.registry.loaded("r", told.registry.get("r").version)
    assert loaded.routine.environment.env == {"A": "b"}
