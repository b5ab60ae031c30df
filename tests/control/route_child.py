"""A router in a process of its own: routes what waits, remembers each wish in a file, says a line, and ends."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from pydantic import TypeAdapter

from tickover.control.route import Router, Target
from tickover.core.trigger import EventTrigger, Trigger, TriggerItem
from tickover.core.wish import Enqueued, Wish
from tickover.relay.mapper import Mapper
from tickover.store.blobs import FileBlobs
from tickover.store.sqlite_events import SqliteEvents


async def main(folder: Path) -> None:
    adapter: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)
    trigger = adapter.validate_python({"webhook": {"verify": {"token": {"header": "x"}, "secret": "s"}}})
    assert isinstance(trigger, EventTrigger)
    wishes = os.open(folder / "wishes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def enqueue(wish: Wish) -> Enqueued:
        os.write(wishes, f"{wish.key}\n".encode())
        print(wish.key, flush=True)
        return Enqueued(str(wish.key))

    events, blobs = SqliteEvents(str(folder / "data")), FileBlobs(str(folder / "blobs"))
    router = Router(events, blobs, lambda _: [Target("r/webhook", "r", trigger)], Mapper(), enqueue, clock=time.time)
    while await router.step():
        pass
    events.close()


asyncio.run(main(Path(sys.argv[1])))
