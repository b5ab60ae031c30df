"""Waiting for a run, and its journal as server-sent events (WHATWG HTML, section 9.2).

However many callers wait for one run, one thread waits for its journal. Every event has the number that it has in
the journal, so a reader that comes back with `Last-Event-ID` misses none and sees none twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tickover.core.errors import TickoverError
from tickover.core.event import JournalEvent
from tickover.core.row import RunRow
from tickover.core.wire import event_json, row_json

MOST_RUNS: Final = 64
"""Runs that can be followed at a time, each by any number of callers."""
_ROUND: Final = 2.0  # seconds of one wait in a thread: as long as an idle thread may outlive its last caller
BEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, so that nobody between takes the stream for dead."""


class BusyError(TickoverError):
    """The server has no room for this now. `retry_after` is seconds."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__("api.busy", message, hint=f"try again in {retry_after} s")
        self.retry_after = retry_after


class _Followed:
    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.callers = 0
        self.moved = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Followers:
    """The runs that somebody waits for. `wait` is the desk's: it blocks, and a thread is spent on each run."""

    def __init__(self, wait: Callable[[str, int, float], int], *, most: int = MOST_RUNS) -> None:
        self._wait = wait
        self._most = most
        self._followed: dict[str, _Followed] = {}
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="follow")
        self._closing = asyncio.Event()
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether the server takes no new run any more; those that are under way can still be followed."""
        return self._draining or self.closing

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def drain(self) -> None:
        """Take no new run."""
        self._draining = True

    async def beyond(self, run: str, after: int, seconds: float) -> int:
        """Return the run's last seq as soon as it is beyond `after`, or when `seconds` passed.

        Returns at once when the server ends. Raises BusyError.
        """
        followed = self._followed.get(run)
        if followed is None:
            if len(self._followed) >= self._most:
                raise BusyError(f"{self._most} runs are being followed already")
            followed = self._followed[run] = _Followed(after)
            followed.task = asyncio.create_task(self._follow(run, followed))
        followed.callers += 1
        try:
            async with asyncio.timeout(seconds):
                while followed.seq <= after and not self.closing:
                    if followed.task is not None and followed.task.done():
                        followed.task.result()  # raises what went wrong in it
                        break
                    await followed.moved.wait()
        except TimeoutError:
            pass
        finally:
            followed.callers -= 1
        return followed.seq

    async def _follow(self, run: str, followed: _Followed) -> None:
        loop = asyncio.get_running_loop()
        try:
            while followed.callers and not self.closing:
                seq = await loop.run_in_executor(self._threads, self._wait, run, followed.seq, _ROUND)
                if seq > followed.seq:
                    followed.seq, moved = seq, followed.moved
                    followed.moved = asyncio.Event()
                    moved.set()
                    await asyncio.sleep(0)  # those who were woken read, and wait again or leave
        finally:
            self._followed.pop(run, None)
            followed.moved.set()

    def close(self) -> None:
        """Wake everybody: the server ends."""
        self._closing.set()
        for followed in self._followed.values():
            followed.moved.set()
        self._threads.shutdown(wait=False, cancel_futures=True)


async def wait_for_end(followers: Followers, look: Callable[[], Awaitable[RunRow]], run: str, seconds: float) -> RunRow:
    """Return the run's row when it has ended, or as it is after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    row = await look()
    while row.finished is None and not followers.closing:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            break
        await followers.beyond(run, row.last_seq, left)
        row = await look()
    return row


async def event_stream(
    followers: Followers,
    read: Callable[[int], Awaitable[Sequence[JournalEvent]]],
    look: Callable[[], Awaitable[RunRow]],
    run: str,
    after: int,
) -> AsyncIterator[bytes]:
    """Yield a run's journal beyond `after`, and its row when it has ended."""
    yield b"retry: 2000\n\n"
    while True:
        page = await read(after)
        if page:
            after = page[-1].seq
            yield b"".join(_message(event.type, event_json(event), event.seq) for event in page)
            continue
        row = await look()
        if row.finished is not None and row.last_seq <= after:
            yield _message("run", row_json(row))
            return
        if followers.closing:
            return
        if await followers.beyond(run, after, BEAT) <= after:
            yield b": still here\n\n"


def _message(kind: str, data: Any, seq: int | None = None) -> bytes:
    """Return one event. JSON in ASCII has no line ends, so nothing in it can begin a field of its own."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {kind}\ndata: {text}\n\n".encode("ascii")
