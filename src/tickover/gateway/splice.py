"""What was switched to another protocol: bytes pass both ways until one side ends or both are silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tickover.gateway.base import Channel
from tickover.gateway.calls import Tally
from tickover.gateway.refusal import Refusal

Change = Callable[[bytes], bytes]


class Splice:
    """Two channels tied together. What comes from the upstream goes through `change` first."""

    def __init__(self, client: Channel, upstream: Channel, change: Change, *, idle_s: float) -> None:
        self._client, self._upstream, self._change = client, upstream, change
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()

    async def run(self, sent: Tally, received: Tally) -> None:
        """Pass all bytes. Raises Refusal for silence, and for what `change` refuses."""
        ways = {
            self._loop.create_task(self._pump(self._client, self._upstream, bytes, sent)),
            self._loop.create_task(self._pump(self._upstream, self._client, self._change, received)),
        }
        try:
            while True:
                quiet = self._loop.time() - self._last
                if quiet >= self._idle_s:
                    raise Refusal(408, "idle", f"nothing passed for {self._idle_s:g} s")
                done, _ = await asyncio.wait(ways, timeout=self._idle_s - quiet, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                    return
        finally:
            for task in ways:
                task.cancel()
            await asyncio.wait(ways)
            for task in ways:
                if not task.cancelled():
                    task.exception()  # one end is enough to tell of

    async def _pump(self, source: Channel, sink: Channel, change: Change, tally: Tally) -> None:
        while data := await source.read():
            self._last = self._loop.time()
            if out := change(data):
                tally.add(out)
                sink.write(out)
                await sink.drain()
