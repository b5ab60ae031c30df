"""A real server in a process of its own, to be killed: `python up_child.py HOME`; it says `up` when it is."""

import asyncio
import sys
from pathlib import Path

from tickover.app import Tickover


async def main(home: str) -> None:
    async with await Tickover.open(Path(home)) as tickover, tickover.server() as server:
        print("up", flush=True)
        raise await server.failure()


asyncio.run(main(sys.argv[1]))
