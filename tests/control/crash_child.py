"""Runs one routine and kills itself, for real, right after the journal event of a given number is durable."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tickover.app import RunRequest, Tickover
from tickover.core.event import JournalEvent


async def main(home: str, folder: str, die_at: int) -> None:
    def observe(event: JournalEvent) -> None:
        if event.seq == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async with await Tickover.open(Path(home)) as tickover:
        await tickover.run(RunRequest(folder=folder), observe)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
