"""The chain of a run's receipts, as the gateway's process keeps it: linked here, durable where the journal is.

Calls are numbered and linked in the order in which they are kept, whichever of the run's sandboxes made them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from tickover.core.receipt import Begun, Ended, Head, Link, head_of, link, origin

Keep = Callable[[Link], Awaitable[None]]
"""Returns when the link is durable. Raises LedgerError where it never will be."""


class Chain:
    """One run's chain, however many sandboxes it has at a time. `key` is the instance's, for receipts."""

    def __init__(self, run: str, key: bytes, *, head: Head | None, calls: int, counts: Mapping[str, int]) -> None:
        self.head = head or origin(run, key)
        self.counts = Counter(counts)
        """Writes that left, by rule: what `max` is compared with."""
        self._calls = calls
        self._key = key

    def begin(self, begun: Begun) -> Link:
        """Link a call that is about to leave, under the run's next number."""
        self._calls += 1
        return self._link(begun.model_copy(update={"call": self._calls}))

    def end(self, ended: Ended) -> Link:
        return self._link(ended)

    def _link(self, record: Begun | Ended) -> Link:
        made = link(record, self.head, self._key)
        self.head = head_of(made)
        return made


class SessionLedger:
    """The receipts of one session: its own numbers of calls become the run's."""

    def __init__(self, chain: Chain, keep: Keep) -> None:
        self._chain = chain
        self._keep = keep
        self._numbers: dict[int, int] = {}

    async def append(self, record: Begun | Ended) -> None:
        """Link it and return when it is durable (see the port `Ledger`). Raises LedgerError."""
        if isinstance(record, Begun):
            made = self._chain.begin(record)
            self._numbers[record.call] = made.record.call
        else:
            number = self._numbers.pop(record.call)
            made = self._chain.end(record.model_copy(update={"call": number}))
        await self._keep(made)
