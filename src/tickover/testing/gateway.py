"""What the gateway asks of others, as fakes: a ledger in memory that links and verifies, values in a dict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from tickover.core.errors import NotFoundError
from tickover.core.receipt import (
    Begun,
    Broken,
    Ended,
    Head,
    Link,
    Receipt,
    head_of,
    link,
    origin,
    receipts_of,
    verify,
)
from tickover.gateway.base import LedgerError


class MemoryLedger:
    """Links records as the gateway does. `hold` makes appends wait, `fail` makes them raise LedgerError."""

    def __init__(self, run: str = "run", key: bytes = b"a key for tests") -> None:
        self._run, self._key = run, key
        self.head: Head = origin(run, key)
        self.links: list[Link] = []
        self.fail = False
        self._open = asyncio.Event()
        self._open.set()
        self._waits = asyncio.Event()
        self._news = asyncio.Condition()

    async def append(self, record: Begun | Ended) -> None:
        if not self._open.is_set():
            self._waits.set()
            await self._open.wait()
        if self.fail:
            raise LedgerError("the ledger is full")
        async with self._news:
            self.links.append(link(record, self.head, self._key))
            self.head = head_of(self.links[-1])
            self._news.notify_all()

    def hold(self) -> None:
        self._waits.clear()
        self._open.clear()

    async def waiting(self, *, seconds: float = 30) -> None:
        """Wait until somebody waits for an append that is held."""
        async with asyncio.timeout(seconds):
            await self._waits.wait()

    def release(self) -> None:
        self._open.set()

    @property
    def records(self) -> list[Begun | Ended]:
        return [each.record for each in self.links]

    @property
    def receipts(self) -> list[Receipt]:
        return receipts_of(self.records)

    def broken(self) -> Broken | None:
        """Verify the chain against its own head."""
        return verify(self.links, self.head, self._run, self._key)

    async def ended(self, count: int = 1, *, seconds: float = 30) -> list[Receipt]:
        """Wait until so many calls have their end; return all receipts."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: sum(isinstance(each, Ended) for each in self.records) >= count)
        return self.receipts


class NoValueError(NotFoundError):
    """There is no such credential."""


@dataclass
class MemoryValues:
    """Values by name; `asked` has the names that were asked for."""

    values: Mapping[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def value(self, name: str) -> bytes:
        self.asked.append(name)
        if name not in self.values:
            raise NoValueError("secret.not_found", f"there is no secret `{name}`")
        return self.values[name]

    async def fresh(self, name: str, *, rejected: bytes | None = None) -> None:
        """Do nothing: these are always fresh."""
