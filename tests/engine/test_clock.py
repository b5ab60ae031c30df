"""The wall clock: it waits for a moment, and hears its bell before."""

from __future__ import annotations

import asyncio
import os
import time

from tickover.engine.clock import WallClock


async def test_it_waits_for_the_moment() -> None:
    at = time.time() + 0.3
    async with asyncio.timeout(60):
        await WallClock().until(at, asyncio.Event())
    assert time.time() >= at


async def test_a_moment_that_is_over_is_not_waited_for() -> None:
    bell = asyncio.Event()
    bell.set()
    async with asyncio.timeout(60):
        await WallClock().until(time.time() - 1, bell)
    assert not bell.is_set()


async def test_the_bell_ends_the_wait_and_is_quiet_again() -> None:
    for at in (None, time.time() + 1e6, 1e15):
        bell = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, bell.set)
        async with asyncio.timeout(60):
            await WallClock().until(at, bell)
        assert not bell.is_set()


async def test_no_timer_is_left_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await WallClock().until(time.time() + 0.01, asyncio.Event())
    assert len(os.listdir("/proc/self/fd")) == before
