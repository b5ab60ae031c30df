"""An agent cannot make that there is nothing to do by taking the work away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

CLAIM = 'mkdir -p .tickover; echo \'{"status": "noop"}\' > .tickover/report.json'


async def test_work_that_was_thrown_away_was_there(bench: Bench) -> None:
    app = bench.repository({"inbox/letter": "answer me\n"})
    front: dict[str, Any] = {
        "repositories": {"app": {"url": app.url}},
        "expect": [{"file": {"path": "out/answer", "equals": "yes\n"}}],
        "noop": [{"command": {"run": "test ! -s /subject/inbox/letter"}}],
    }
    row = await bench.run(bench.routine(f"rm inbox/letter; {CLAIM}", **front))
    assert row.outcome == "failed", row.reason
    app.git("rm", "-q", "inbox/letter")
    app.commit({})
    row = await bench.run(bench.routine(CLAIM, **front))
    assert row.outcome == "noop", row.reason
