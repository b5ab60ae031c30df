"""The lease is a fence: what an agent sends while nobody holds its run any more goes nowhere."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tickover.gateway.fence import boot_time
from tickover.testing.localhost import configure, entry, serving, url
from tickover.testing.sandbox import living, quiet, until

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

LEASE = 10.0
WORKER = """
import asyncio, sys
from pathlib import Path
from tickover.app import RunRequest, Tickover

async def main():
    async with await Tickover.open(Path(sys.argv[1])) as tickover:
        tickover.lease_s = float(sys.argv[3])
        tickover.grant(Path(sys.argv[2]), by="test")
        row = await tickover.run(RunRequest(folder=sys.argv[2]))
        print(row.execution, row.cause.cause, row.cause.hint, flush=True)

asyncio.run(main())
"""


@pytest.mark.timeout(300)
async def test_an_agent_posts_in_a_loop_while_its_worker_is_stopped_past_the_lease(bench: Bench) -> None:
    async with serving() as read, serving() as written:
        home = bench.folder / "other"
        home.mkdir()
        configure(home, [read, written])
        post = f"curl -sS --max-time 5 -d '' {url(written)}/post"
        script = f"while :; do curl -sS --max-time 5 {url(read)}/ & {post} & wait; echo; done"
        folder = bench.routine(
            script,
            environment={"network": [entry(read)], "env": {"MARK": "fence-test"}},
            may=[{"request": {"to": f"POST {url(written)}/post"}}],
        )
        command = [sys.executable, "-c", WORKER, str(home), str(folder), str(LEASE)]
        worker = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, env={**os.environ})
        try:
            await until(lambda: len(written.seen) > 2, lambda: "the agent never posted", seconds=100)
            worker.send_signal(signal.SIGSTOP)
            stopped, before = boot_time(), len(read.seen)
            await until(lambda: boot_time() > stopped + LEASE + 3, lambda: "time stands still", seconds=60)
            after = (len(read.seen), len(written.seen))
            assert after[0] > before, "a stopped worker alone stops nothing: its lease has to end"
            await quiet(3.0)
            assert living("fence-test"), "the agent is still there, and still tries"
            assert (len(read.seen), len(written.seen)) == after
            worker.send_signal(signal.SIGCONT)
            said, _ = await asyncio.wait_for(asyncio.to_thread(worker.communicate), 90)
        finally:
            worker.kill()
        assert said.decode().startswith("failed infrastructure nobody renewed the run's lease"), said
        assert (len(read.seen), len(written.seen)) == after
        assert not living("fence-test")
