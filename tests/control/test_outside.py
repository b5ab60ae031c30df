"""Checks that wait are asked again by whatever process is there, and before anything is tried again after a crash."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickover.control.outside import waits_outside
from tickover.core.definition import Routine
from tickover.core.event import (
    AgentStarted,
    AttemptFinished,
    BaselineChecked,
    CheckEvaluated,
    Fact,
    PhaseStarted,
    VerdictReached,
)
from tickover.core.evidence import CheckFact, CheckList, CheckResult, EvidenceClass
from tickover.core.status import Execution, Outcome, Phase
from tickover.core.wish import Wish
from tickover.testing.clock import START
from tickover.testing.server import ToldServer


class Page:
    """A page on loopback that is not there, until it is."""

    def __init__(self) -> None:
        self.status = 404
        self.asked = 0
        page = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.asked += 1
                self.send_response(page.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever)


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    page.thread.start()
    yield page
    page.server.shutdown()
    page.thread.join(60)
    page.server.server_close()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[ToldServer]:
    server = ToldServer(tmp_path)
    yield server
    server.store.close()
    assert server.wrong == []


def check(result: CheckResult) -> CheckEvaluated:
    return CheckEvaluated(
        list=CheckList.EXPECT, index=0, kind="http", evidence_class=EvidenceClass.STATE, result=result, summary="told"
    )


BASELINE = BaselineChecked(list=CheckList.EXPECT, index=0, kind="http", result=CheckResult.FAIL)
PENDING: tuple[Fact, ...] = (
    BASELINE,
    AgentStarted(),
    PhaseStarted(phase=Phase.VERIFY),
    check(CheckResult.PENDING),
    AttemptFinished(execution=Execution.COMPLETED),
    VerdictReached(
        outcome=Outcome.PENDING,
        reason="told",
        evidence=(
            CheckFact(
                list=CheckList.EXPECT,
                index=0,
                kind="http",
                evidence_class=EvidenceClass.STATE,
                guard=False,
                result=CheckResult.PENDING,
                baseline=CheckResult.FAIL,
                vacuous=False,
                summary="told",
            ),
        ),
    ),
)


def push(told: ToldServer, page: Page, more: str = "") -> None:
    told.push(f'expect: [{{http: {{url: "{page.url}", status: 200, within: 10m}}}}]\n{more}')


async def test_a_pending_run_is_decided_as_soon_as_its_check_holds(told: ToldServer, page: Page) -> None:
    push(told, page)
    told.tell = lambda _row: PENDING
    async with told.up():
        run = told.desk.enqueue(Wish("r")).run
        await told.quiet()
        assert (told.row(run).outcome, told.row(run).exit_code) == (Outcome.PENDING, 8)
        await told.live(START + 60)
        assert told.row(run).outcome is Outcome.PENDING
        assert page.asked >= 3
    page.status = 200
    async with told.up():  # another server asks on
        await told.live(START + 200)
        row = told.row(run)
    assert (row.outcome, row.exit_code, row.execution) == (Outcome.VERIFIED, 0, Execution.COMPLETED)
    assert [notice.run for notice in told.noticed] == [run, run]


async def test_a_pending_run_fails_when_its_time_is_over(told: ToldServer, page: Page) -> None:
    push(told, page)
    told.tell = lambda _row: PENDING
    async with told.up():
        run = told.desk.enqueue(Wish("r")).run
        await told.quiet()
        await told.live(START + 599)
        assert told.row(run).outcome is Outcome.PENDING
        await told.live(START + 601)
        assert told.row(run).outcome is Outcome.FAILED
        asked = page.asked
        await told.live(START + 5000)
    assert page.asked == asked


async def test_what_was_done_before_a_crash_is_not_done_again(told: ToldServer, page: Page) -> None:
    push(told, page, "retry: {attempts: 3, backoff: 0s}")
    run = told.desk.enqueue(Wish("r")).run
    told.leave_open(run, PhaseStarted(phase=Phase.VERIFY), before=(BASELINE,))
    page.status = 200
    async with told.up():
        pass
    row = told.row(run)
    assert (row.attempt, row.outcome, row.execution) == (1, Outcome.VERIFIED, Execution.LOST)


async def test_what_may_still_show_is_waited_for_and_not_done_again(told: ToldServer, page: Page) -> None:
    push(told, page, "retry: {attempts: 3, backoff: 0s}")
    run = told.desk.enqueue(Wish("r")).run
    told.leave_open(run, PhaseStarted(phase=Phase.VERIFY), before=(BASELINE,))
    async with told.up():
        assert told.row(run).outcome is Outcome.PENDING
        await told.live(START + 601)
    row = told.row(run)
    assert (row.attempt, row.outcome) == (1, Outcome.FAILED)


async def test_a_pending_run_holds_no_place(told: ToldServer, page: Page) -> None:
    push(told, page)
    told.tell = lambda _row: PENDING
    async with told.up():
        told.desk.enqueue(Wish("r"))
        await told.quiet()
        second = told.desk.enqueue(Wish("r")).run
        await told.quiet()
    assert told.row(second).outcome is Outcome.PENDING


@pytest.mark.parametrize(
    ("keys", "later"),
    [
        ({"expect": [{"http": {"url": "https://a.test/", "within": "1h"}}]}, True),
        ({"expect": [{"http": {"url": "https://a.test/", "within": "1h"}}], "state": True}, False),
        ({"expect": [{"git": {"repo": "a", "ref": "m", "within": "1h"}}]}, False),
        ({"expect": [{"git": {"repo": "a", "ref": "m"}}]}, True),
        ({"expect": [{"slack": {"channel": "C0ENG", "within": "1h"}}]}, True),
    ],
)
def test_who_waits_in_its_process(keys: dict[str, object], later: bool) -> None:
    repositories = {"a": {"url": "https://a.test/a"}}
    routine = Routine.model_validate({"name": "r", "agent": "steps", "repositories": repositories, **keys})
    assert waits_outside(routine) is later
