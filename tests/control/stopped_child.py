"""A server that stops itself (SIGSTOP) while it works on a run; continued, it writes at once that it is verified.

`python stopped_child.py HOME LEASE_SECONDS`; it says `written` or `refused`. It stops between two transactions: who is
stopped within one keeps the others from writing.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tickover.control.dispatch import Accepted
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.record import Recorder
from tickover.core.event import AgentStarted, AttemptStarted
from tickover.core.retry import Retry
from tickover.store.base import StaleFenceError
from tickover.testing.now import RealClock
from tickover.testing.server import VERIFIED, ToldServer


class Child(ToldServer):
    async def _attempt(
        self, house: House, accepted: Accepted, record: Recorder, kept: Kept, number: int
    ) -> Retry | None:
        record.attempt = number
        await record.add(AttemptStarted(attempt=number), AgentStarted())
        with self.store._database.reading():
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            await record.add(*VERIFIED[1:])
        except StaleFenceError:
            print("refused", flush=True)
            raise
        print("written", flush=True)
        return None


async def main(home: str, lease_s: float) -> None:
    child = Child(Path(home), RealClock())
    child.lease_s = lease_s
    async with child.server() as server:
        raise await server.failure()


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
