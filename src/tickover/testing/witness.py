"""A witness of the gateway that keeps what it hears, in the place of a run's journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tickover.core.receipt import Head, Link, Receipt, receipts_of
from tickover.gateway.session import Called, Denied, Drifted, Reached


@dataclass
class KeptWitness:
    """Keeps everything in order. While `writable` is cleared, nothing becomes durable; `fails` makes it raise."""

    links: list[Link] = field(default_factory=list)
    denials: list[Denied] = field(default_factory=list)
    hosts: list[Reached] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    drifts: list[Drifted] = field(default_factory=list)
    writable: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    fails: BaseException | None = None

    def __post_init__(self) -> None:
        self.writable.set()

    async def linked(self, links: Sequence[Link]) -> None:
        self.heard.set()
        await self.writable.wait()
        if self.fails is not None:
            raise self.fails
        self.links += links

    async def denied(self, denied: Sequence[Denied]) -> None:
        self.denials += denied

    async def called(self, called: Sequence[Called]) -> None:
        self.calls += called

    async def reached(self, reached: Sequence[Reached]) -> None:
        self.hosts += reached

    async def drifted(self, drifted: Sequence[Drifted]) -> None:
        self.drifts += drifted

    async def sealed(self, head: Head) -> None:
        self.heads.append(head)

    def receipts(self) -> list[Receipt]:
        return receipts_of(link.record for link in self.links)
