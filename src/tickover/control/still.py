"""Looking at the workspace of an agent that lives: its sandbox is frozen meanwhile, one look at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from tickover.control.watchdog import Watchdog
from tickover.core.errors import TickoverError
from tickover.sandbox.base import Sandbox
from tickover.workspace.base import UPPER, Workspace


class Still:
    """The workspace of one attempt, held still for who looks. The watchdog rests while it is."""

    def __init__(self, workspace: Workspace, dog: Watchdog | None) -> None:
        self._workspace = workspace
        self._dog = dog
        self._sandbox: Sandbox | None = None
        self._one_at_a_time = asyncio.Lock()

    def watch(self, sandbox: Sandbox) -> None:
        """Say whose workspace it is."""
        self._sandbox = sandbox

    @property
    def watched(self) -> bool:
        """Whether there is anything to look at."""
        return self._sandbox is not None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Workspace]:
        """Give the workspace as it is now; before the agent began, as it will find it. Raises as a sandbox does."""
        async with self._one_at_a_time:
            sandbox = self._sandbox
            if sandbox is None:
                yield self._workspace
                return
            if self._dog is not None:
                self._dog.rest()
            try:
                await sandbox.freeze()
                yield replace(self._workspace, upper=sandbox.upper(UPPER))
            finally:
                with suppress(TickoverError):  # it is gone
                    await sandbox.thaw()
                if self._dog is not None:
                    self._dog.wake()
