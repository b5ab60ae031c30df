"""The agent's clone, made to hang whoever reads it: the run waits once, and not for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

HANGS = {
    "a pipe for HEAD": "rm .git/HEAD; mkfifo .git/HEAD",
    "a pipe for the settings": "rm .git/config; mkfifo .git/config",
    "a pipe for a branch": "mkfifo .git/refs/heads/other",
    "settings from a pipe": "mkfifo settings; git config include.path /subject/settings",
}


@pytest.mark.parametrize("hang", HANGS)
async def test_a_clone_that_hangs_costs_one_deadline(bench: Bench, monkeypatch: pytest.MonkeyPatch, hang: str) -> None:
    monkeypatch.setattr("tickover.control.subject_git._TIMEOUT", 2.0)
    app = bench.repository({"a": "1"})
    row = await bench.run(
        bench.routine(
            f"git checkout -q -b proof; {HANGS[hang]}",
            repositories={"app": {"url": app.url}},
            expect=[{"git": {"repo": "app", "in": "subject", "ref": "proof"}}] * 4,
        )
    )
    assert bench.results(row) == ["error"] * 4
    assert row.outcome == "unverified"
    [verify] = [phase for phase in row.attempts[0].phases if phase.phase == "verify"]
    assert verify.duration_s is not None
    assert verify.duration_s < 4 * 2.0
