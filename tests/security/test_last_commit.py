"""What is pushed while a run works was not worked on: the next run cannot call it nothing to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench, Repository

WORK = "mkdir -p out; echo done > out/a.txt"
CLAIM = 'mkdir -p .tickover; echo \'{"status": "noop"}\' > .tickover/report.json'


def front(app: Repository) -> dict[str, Any]:
    return {
        "repositories": {"app": {"url": app.url}},
        "noop": [{"git": {"repo": "app", "range": "{{ state.last_commit }}..main", "commits": 0}}],
        "expect": [
            {"file": {"path": "out/a.txt", "equals": "done\n"}},
            {"git": {"repo": "app", "ref": "main", "exists": True, "guard": True}},
        ],
    }


@pytest.mark.parametrize("phase", ["version_resolved", "agent_started"])
async def test_a_commit_that_came_meanwhile_is_not_done(bench: Bench, phase: str) -> None:
    app = bench.repository({"a": "1"})
    running = asyncio.create_task(bench.run(bench.routine(f"sleep 1; {WORK}", **front(app))))
    await bench.until(phase, running)
    app.commit({"a": "2"})
    assert (await running).outcome == "verified"
    row = await bench.run(bench.routine(CLAIM, **front(app)))
    assert row.outcome == "failed", row.reason
    await bench.run(bench.routine(WORK, **front(app)))
    row = await bench.run(bench.routine(CLAIM, **front(app)))
    assert row.outcome == "noop", row.reason
