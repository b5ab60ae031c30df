"""A data folder that somebody made open to everybody is closed below: events, repositories, workspaces."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tickover.app import RunRequest, Tickover

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench


async def test_other_users_cannot_enter_what_a_run_makes(bench: Bench, tmp_path: Path) -> None:
    home = tmp_path / "open"
    home.mkdir()
    home.chmod(0o755)
    app = bench.repository({"secret": "1"})
    folder = bench.routine("sleep 1", repositories={"app": {"url": app.url}}, state=True)
    started = asyncio.Event()
    async with await Tickover.open(home) as tickover:
        request = RunRequest(folder=str(folder), event=b'{"token": "secret"}')
        running = asyncio.create_task(
            tickover.run(request, lambda event: started.set() if event.type == "agent_started" else None)
        )
        await started.wait()
        reached = [name for name in os.listdir(home) if stat.S_IMODE(os.stat(home / name).st_mode) & 0o077]
        await running
    assert reached == []
