"""A backend that outlives its launcher: while somebody minds it, a dead launcher is started again.

What ran when it died is broken, and says so; what is started meanwhile waits for the next launcher, for some time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tickover.core.errors import TickoverError
from tickover.core.pauses import Pauses
from tickover.sandbox.base import BackendReport, SandboxBroken, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend, BwrapSandbox

PATIENCE_S: Final = 60.0
"""How long a sandbox that is asked for waits for a launcher."""

Open = Callable[[], Awaitable[BwrapBackend]]
Report = Callable[[BaseException], None]


class LastingBackend:
    """`Backend` over one launcher after another. `mind` starts the next one; without it the first is the last."""

    def __init__(self, first: BwrapBackend, again: Open, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = first.name
        self.tier = first.tier
        self.current = first
        self._again = again
        self._clock = clock
        self._minded = False
        self._closed = False
        self._changed = asyncio.Condition()

    @classmethod
    async def open(cls, data: Path) -> LastingBackend:
        """Start the first launcher. Raises SandboxRefused."""
        return cls(await BwrapBackend.open(data), lambda: BwrapBackend.open(data))

    async def mind(self, report: Report, pauses: Pauses | None = None) -> None:
        """Start a launcher again whenever one has died, until cancelled. `report` is told of each death and failure."""
        pauses = pauses or Pauses()
        self._minded = True
        try:
            while True:
                began = self._clock()
                await self.current.gone()
                if self._closed:
                    return
                report(SandboxBroken("sandbox.launcher", "the sandbox launcher ended; it is started again"))
                await self.current.close()
                await self._revive(report, pauses, began)
        finally:
            self._minded = False
            async with self._changed:
                self._changed.notify_all()

    async def _revive(self, report: Report, pauses: Pauses, began: float) -> None:
        while True:
            await asyncio.sleep(pauses.after(self._clock() - began))
            began = self._clock()
            try:
                self.current = await self._again()
            except (TickoverError, OSError) as error:
                report(error)
                continue
            async with self._changed:
                self._changed.notify_all()
            return

    async def start(self, spec: SandboxSpec) -> BwrapSandbox:
        """Start a sandbox (see the port), as soon as there is a launcher."""
        if self.current.is_gone and self._minded and not self._closed:
            try:
                async with asyncio.timeout(PATIENCE_S), self._changed:
                    await self._changed.wait_for(lambda: not self.current.is_gone or not self._minded)
            except TimeoutError:
                text = f"the sandbox launcher ended, and none could be started within {PATIENCE_S:.0f} s"
                raise SandboxBroken("sandbox.launcher", text) from None
        return await self.current.start(spec)

    async def report(self) -> BackendReport:
        return await self.current.report()

    async def close(self) -> None:
        """End every sandbox and the launcher. Idempotent."""
        self._closed = True
        await self.current.close()
