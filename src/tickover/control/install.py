"""An agent is installed outside any run: its sandbox reads from this machine's registries, by way of the gateway.

No run holds a lease here, so the way out lives as long as this process renews it; and no journal hears what was
denied, so that is part of the error.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from tickover.agents.base import Package
from tickover.control.house import House
from tickover.control.network import Way, registries_of
from tickover.core.event import ConnectionDenied, Fact
from tickover.core.receipt import Identity
from tickover.gateway.fence import boot_time
from tickover.gateway.packages import INSIDE
from tickover.workspace.builds import Build, Builds
from tickover.workspace.layer import SetupFailed

_LIVES: Final = 30.0  # seconds that the way out lives on when this process does not
_BEAT: Final = 10.0


class Memo:
    """What a run's journal would be told; only refusals are of use."""

    attempt = 0

    def __init__(self, name: str) -> None:
        self.run = name
        self.denied: dict[str, str] = {}

    async def add(self, *facts: Fact) -> None:
        for fact in facts:
            if isinstance(fact, ConnectionDenied):
                self.denied[f"{fact.host}:{fact.port}"] = fact.says


class Alive:
    """A deadline that moves on for as long as this process runs."""

    def __init__(self) -> None:
        self._followers: list[Callable[[float], None]] = []

    async def deadline(self) -> float:
        return boot_time() + _LIVES

    def follow(self, follower: Callable[[float], None]) -> Callable[[], None]:
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            deadline = await self.deadline()
            for follower in self._followers:
                follower(deadline)


async def install(house: House, agent: str, version: str, package: Package) -> Build:
    """Install an exact version from this machine's registry. Raises SetupFailed with what npm and the gateway said."""
    memo = Memo(f"install-{secrets.token_hex(8)}")
    async with _registries(house, memo) as way:
        try:
            held = await Builds(house.data, way).get(agent, version, package)
        except SetupFailed as error:
            if memo.denied:
                said = "; ".join(f"{where}: {says}" for where, says in list(memo.denied.items())[:5])
                error.hint = f"{error.hint}\nnot let through: {said}".strip()
            raise
    held.close()
    return next(each for each in Builds(house.data).installed(agent) if each.version == version)


@asynccontextmanager
async def _registries(house: House, memo: Memo) -> AsyncIterator[Way]:
    packages = await house.packages()
    instance = house.instance()
    alive = Alive()
    way = Way(house, memo, alive, Identity.SETUP, registries_of(packages, instance))
    way.roots = instance.network.roots
    way.environment = {**INSIDE, **packages.environment}
    beating = asyncio.create_task(alive.beat())
    try:
        yield way
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        await way.close()
