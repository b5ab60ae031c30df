"""Automation that runs elsewhere, judged here: an imported Claude Routine whose `/fire` answers 200, whatever it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.importing import from_claude_routine
from tickover.testing.localhost import configure, entry, serving, url
from tickover.testing.upstream import Seen, Talk, Upstream, upstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Bench

TOKEN = b"sk-ant-oat01-nobody-inside-may-see-this"
FIRE = "/v1/claude_code/routines/trig_1/fire"
KEPT = {
    "name": "Weekly digest",
    "cron_expression": "0 9 * * 1",
    "job_config": {"ccr": {"events": [{"data": {"message": {"content": "Write the digest."}}}]}},
}


class Elsewhere:
    """A double of the service and of the page that its routine is there to write."""

    def __init__(self, *, works: bool, status: str = "200 OK") -> None:
        self.works = works
        self.status = status
        self.fired: list[Seen] = []

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        if seen.method == "POST":
            self.fired.append(seen)
            told = {"type": "routine_fire", "claude_code_session_id": "session_01"}
            await talk.answer(json.dumps(told).encode(), status=self.status)
        else:
            await talk.answer(b"", status="200 OK" if self.works and self.fired else "404 Not Found")


def imported(bench: Bench, service: Upstream, page: Upstream) -> Path:
    """Import it, add the contract that its importer could not guess, and grant it."""
    configure(bench.tickover.home, [service])
    made = from_claude_routine(json.dumps(KEPT).encode(), f"{url(service)}{FIRE}")
    check = {"http": {"url": f"http://127.0.0.1:{page.port}/digest", "status": 200}}
    front: dict[str, Any] = {**made.front, "expect": [check]}
    folder = bench.routine(made.body, **front)
    bench.tickover.secrets.set(made.name, TOKEN, by="owner", binding={"hosts": [entry(service)]})
    bench.tickover.grant(folder, by="owner")
    return folder


@pytest.mark.parametrize(("works", "outcome"), [(False, "failed"), (True, "verified")])
async def test_a_fire_that_answers_200_is_believed_only_for_what_it_did(
    bench: Bench, works: bool, outcome: str
) -> None:
    double = Elsewhere(works=works)
    async with serving(double) as service, upstream("127.0.0.1", double, authority=None) as page:
        row = await bench.run(imported(bench, service, page), event=b'{"why": "release 7"}')
    assert (row.execution, row.outcome) == ("completed", outcome), row.evidence
    assert "answered 200" in bench.said()
    [fired] = double.fired
    assert fired.target == FIRE
    assert fired.header("authorization") == f"Bearer {TOKEN.decode()}"
    assert fired.header("anthropic-beta") == "experimental-cc-routine-2026-04-01"
    assert fired.header("idempotency-key") == row.id
    assert json.loads(fired.body) == {"text": '{"why": "release 7"}'}
    assert row.network.rules == {"may[0]": 1}


async def test_one_that_refuses_is_a_run_that_failed(bench: Bench) -> None:
    double = Elsewhere(works=False, status="429 Too Many Requests")
    async with serving(double) as service, upstream("127.0.0.1", double, authority=None) as page:
        row = await bench.run(imported(bench, service, page))
    assert (row.execution, row.outcome) == ("failed", "failed")
    assert "answered 429" in bench.said()
    assert len(double.fired) == 1
