"""The wall clock, with sleep that ends at a moment of it: also when the machine was suspended or the clock was set.

asyncio sleeps by CLOCK_MONOTONIC, which stands still while a machine is suspended. A timerfd of CLOCK_REALTIME does
not, and TFD_TIMER_CANCEL_ON_SET wakes it when somebody sets the clock (timerfd_create(2)). Python has it from 3.13 on.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from typing import Final

_CLOEXEC_NONBLOCK: Final = os.O_CLOEXEC | os.O_NONBLOCK
_ABSTIME_CANCEL_ON_SET: Final = 1 | 2
_FARTHEST: Final = 4_000_000_000.0  # 2096: no timer is set for later, and a time_t of 32 bits is not our concern


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("value", _Moment))


class WallClock:
    """`Clock` of this machine."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def now(self) -> float:
        return time.time()

    async def until(self, at: float | None, bell: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        if at is None:
            await bell.wait()
        elif at > time.time():
            timer = self._timer(min(at, _FARTHEST))
            loop.add_reader(timer, bell.set)
            try:
                await bell.wait()
            finally:
                loop.remove_reader(timer)
                os.close(timer)
        bell.clear()

    def _timer(self, at: float) -> int:
        descriptor = self._libc.timerfd_create(time.CLOCK_REALTIME, _CLOEXEC_NONBLOCK)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        whole = int(at)
        value = _Timer(_Moment(0, 0), _Moment(whole, max(int((at - whole) * 1e9), 1)))
        if self._libc.timerfd_settime(descriptor, _ABSTIME_CANCEL_ON_SET, ctypes.byref(value), None) != 0:
            error = ctypes.get_errno()
            os.close(descriptor)
            raise OSError(error, "timerfd_settime")
        return int(descriptor)
