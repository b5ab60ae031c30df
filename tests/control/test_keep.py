"""Until when a run may send: the deadline ends before the store's, and every new one is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from tickover.control.keep import Kept
from tickover.gateway.fence import boot_time
from tickover.store.base import Lease, StaleFenceError


class SlowLeases:
    """A store whose answers take long: what it grants counts from the end, what we believe from the beginning."""

    def __init__(self) -> None:
        self.granted: list[float] = []
        self.stale = False
        self.answering = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def renew(self, lease: Lease, ttl: float) -> Lease:
        asyncio.run_coroutine_threadsafe(self.answering.wait(), self._loop).result(60)
        if self.stale:
            raise StaleFenceError("run-1", 1, 2)
        self.granted.append(boot_time() + ttl)
        return replace(lease, expires_at=lease.expires_at + ttl)

    def release(self, lease: Lease) -> None:
        del lease


class Rows:
    def get(self, run: str) -> Any:
        del run
        return type("Row", (), {"row": {}})


def kept(leases: SlowLeases, ttl: float) -> Kept:
    return Kept(cast("Any", leases), cast("Any", Rows()), Lease("run-1", "me", 1, 0.0), ttl=ttl)


async def test_the_deadline_is_counted_from_before_the_heartbeat_and_ends_before_the_stores() -> None:
    leases = SlowLeases()
    async with kept(leases, 30.0) as holding:
        began = boot_time()
        waiting = asyncio.create_task(holding.deadline())
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        leases.answering.set()
        deadline = await asyncio.wait_for(waiting, 60)
        assert deadline <= began + 28.1
        assert deadline <= leases.granted[0] - 2.0


async def test_followers_are_told_of_each_new_deadline_until_they_stop() -> None:
    leases = SlowLeases()
    leases.answering.set()
    told: list[float] = []
    enough = asyncio.Event()

    def hear(deadline: float) -> None:
        told.append(deadline)
        if len(told) == 3:
            enough.set()

    async with kept(leases, 0.3) as holding:
        stop = holding.follow(hear)
        await asyncio.wait_for(enough.wait(), 60)
        stop()
    assert told[:3] == sorted(told[:3])


async def test_a_lease_that_somebody_else_has_is_not_renewed_and_the_run_is_gone() -> None:
    leases = SlowLeases()
    leases.stale = True
    leases.answering.set()
    async with kept(leases, 30.0) as holding:
        await asyncio.wait_for(holding.gone.wait(), 60)
        assert holding.why == "taken over"
        assert await holding.deadline() == 0.0
