"""What the inspector asks of others: durable receipts, a credential's value, somebody who hears of refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tickover.core.receipt import Begun, Ended


class Channel(Protocol):
    """A connection in the clear (Wire) or with TLS (Secure)."""

    @property
    def quiet(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    async def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...


class Ledger(Protocol):
    """Keeps the receipts of one run, linked in the order in which they are appended."""

    async def append(self, record: Begun | Ended) -> None:
        """Return only when the record is durable. Raises LedgerError: then the request does not leave."""
        ...


class LedgerError(Exception):
    """A receipt could not be kept, for instance because the attempt's lease is gone."""


class Values(Protocol):
    """The values of credentials. Asked for each request, so that a new value counts at once."""

    def value(self, name: str) -> bytes:
        """Return the value. Raises TickoverError if there is none; its text never holds a value."""
        ...

    async def fresh(self, name: str, *, rejected: bytes | None = None) -> None:
        """See to it that `value` returns one that can be used now; one that is stored always can.

        `rejected` is the value that an upstream has answered 401 to. Raises Refusal if none can be had.
        """


@dataclass(frozen=True, slots=True)
class Denial:
    """A request that was not answered by its upstream, and why.

    `status` is what the run read: 5xx is an upstream's fault or ours, else the request was refused. `code` is stable;
    `says`, `method` and `path` hold hostile text; method and path are empty where no request could be read.
    """

    host: str
    port: int
    status: int
    code: str
    says: str
    method: str = ""
    path: str = ""


TellDenial = Callable[[Denial], None]
