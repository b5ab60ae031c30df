"""Holding a run while it is worked on: the lease is renewed, and a wish to cancel is heard.

Whoever lets something out of the run's sandboxes does so until the lease's deadline and no longer: that is counted from
before the heartbeat was sent, on a clock that goes on while a machine sleeps, so that it ends before the store's does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self, TypeVar

from tickover.control.failure import Ended
from tickover.core.cause import CauseCode
from tickover.core.status import Execution
from tickover.gateway.fence import boot_time
from tickover.store.base import Lease, Leases, Runs, StaleFenceError

T = TypeVar("T")
TTL: Final = 30.0  # seconds a lease lives without being renewed
_MARGIN: Final = 2.0  # seconds between the end of what a run may send and the first moment of its successor
_BEAT: Final = 0.5  # seconds between two looks


class Kept:
    """A lease that is renewed in the background. `gone` is set when the run was cancelled or taken over."""

    def __init__(self, leases: Leases, runs: Runs, lease: Lease, *, ttl: float = TTL) -> None:
        self._ttl = ttl
        self._asked = boot_time()
        self._deadline = 0.0
        self._followers: list[Callable[[float], None]] = []
        self._renewed = asyncio.Event()
        self._leases = leases
        self._runs = runs
        self._lease = lease
        self._task: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()
        self.why: str = ""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._leases.release, self._lease)

    async def deadline(self) -> float:
        """Return until when the run is surely ours, in seconds of CLOCK_BOOTTIME."""
        await self._renewed.wait()
        return self._deadline

    def follow(self, follower: Callable[[float], None]) -> Callable[[], None]:
        """Tell of each new deadline; return the way to stop that."""
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def cancel(self) -> None:
        """Stop the run from this process, at once."""
        self.why = self.why or "cancelled"
        self.gone.set()

    async def _beat(self) -> None:
        await self._renew()
        while not self.gone.is_set():
            await asyncio.sleep(min(_BEAT, self._ttl / 3))
            if boot_time() - self._asked >= self._ttl / 3:
                await self._renew()
            row = await asyncio.to_thread(self._runs.get, self._lease.run)
            if row.row.get("cancel_requested_by"):
                self.cancel()

    async def _renew(self) -> None:
        asked = boot_time()
        try:
            self._lease = await asyncio.to_thread(self._leases.renew, self._lease, self._ttl)
        except StaleFenceError:
            self.why = "taken over"
            self.gone.set()
        else:
            self._asked = asked
            self._deadline = asked + self._ttl - min(_MARGIN, self._ttl / 4)
            for follower in self._followers:
                follower(self._deadline)
        self._renewed.set()


async def unless_gone(what: Awaitable[T], kept: Kept) -> T:
    """Await `what`, or end as cancelled as soon as the run is; `what` is told and waited for."""
    task = asyncio.ensure_future(what)
    gone = asyncio.create_task(kept.gone.wait())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise Ended(Execution.CANCELLED, CauseCode.CANCELLED, kept.why)
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
