"""A server that is stopped past its lease (SIGSTOP) and goes on (SIGCONT): its run is another's by then."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickover.core.status import Execution, Outcome
from tickover.core.wish import Wish
from tickover.testing.now import RealClock
from tickover.testing.sandbox import until
from tickover.testing.server import ToldServer

CHILD = Path(__file__).with_name("stopped_child.py")
LEASE_S = 6.0


@pytest.fixture
def told(tmp_path: Path) -> Iterator[ToldServer]:
    server = ToldServer(tmp_path, RealClock())
    server.lease_s = LEASE_S
    yield server
    server.store.close()
    assert server.wrong == []


@pytest.mark.timeout(300)
async def test_stopped_past_its_lease_a_server_writes_nothing_more(told: ToldServer) -> None:
    told.push("retry: {attempts: 2, backoff: 0s}")
    run = told.desk.enqueue(Wish("r")).run
    command = [sys.executable, str(CHILD), str(told.home), str(LEASE_S)]
    with await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            _, status = await asyncio.to_thread(os.waitpid, child.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            held = told.store.leases.current(run)
            assert held is not None
            server = told.server()
            stepper = server._stepper
            taken = stepper._lease(run)  # alive as far as anybody can tell: only its lease's end frees the run
            if taken is not None:
                assert told.clock.now() >= held.expires_at
                told.store.leases.release(taken)
            await until(lambda: told.clock.now() > held.expires_at + LEASE_S, lambda: held)

            await asyncio.to_thread(told.store.queue.recover, told.clock.now(), 8)
            serving = asyncio.create_task(server.engine.serve(stepper))
            await until(lambda: told.row(run).finished is not None, lambda: told.row(run), seconds=120)
            await server.engine.drain(60)
            await serving
            row, journal = told.row(run), told.store.journal.read(run)
            assert [each.execution for each in row.attempts] == [Execution.LOST, Execution.COMPLETED]
            assert (row.outcome, row.recovered) == (Outcome.VERIFIED, 1)

            os.kill(child.pid, signal.SIGCONT)
            assert await asyncio.to_thread(child.stdout.readline) == b"refused\n"
            assert told.store.journal.read(run) == journal
            assert told.row(run) == row
        finally:
            child.kill()
