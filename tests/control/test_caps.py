"""`caps` of tickover.yaml, in force for what a server queues."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickover.app import Tickover
from tickover.core.admission import Caps
from tickover.core.errors import DefinitionErrors
from tickover.core.status import Execution
from tickover.core.wish import Wish

ROUTINE = "---\nname: r\nagent: steps\noverlap: queue\n---\n```bash\ntrue\n```\n"


async def test_the_file_caps_what_is_queued_and_a_change_needs_no_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TICKOVER_CONFIG", raising=False)
    home, folder = tmp_path / "home", tmp_path / "routines" / "r"
    folder.mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(ROUTINE)
    async with await Tickover.open(home, sandbox=False) as tickover:
        tickover.push(folder)
        first = tickover.enqueue(Wish("r"))
        (home / "tickover.yaml").write_text("caps: {preset: claude-pro}\n")
        second = tickover.enqueue(Wish("r"))
        row = tickover.run_row(second.run)
        assert (tickover.run_row(first.run).execution, row.execution) == (Execution.QUEUED, Execution.REFUSED)
        assert row.cause is not None
        assert "`min_interval` is 3600 s" in row.cause.hint
        assert second.retry_at is not None
        (home / "tickover.yaml").write_text("caps: {all_runs_per_day: 2}\n")
        assert tickover.run_row(tickover.enqueue(Wish("r")).run).execution is Execution.QUEUED


async def test_a_file_that_breaks_leaves_what_was_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKOVER_CONFIG", raising=False)
    file = tmp_path / "tickover.yaml"
    file.write_text("caps: {concurrent: 3}\n")
    async with await Tickover.open(tmp_path, sandbox=False) as tickover:
        assert tickover.caps == Caps(concurrent=3)
        file.write_text("caps: {concurrent: many}\n")
        assert tickover.caps == Caps(concurrent=3)
        file.unlink()
        assert tickover.caps == Caps()
    file.write_text("caps: {concurrent: many}\n")
    async with await Tickover.open(tmp_path, sandbox=False) as tickover:
        with pytest.raises(DefinitionErrors):
            _ = tickover.caps
