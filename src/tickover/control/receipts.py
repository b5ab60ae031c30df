"""A run's receipts as its journal has them: read as a whole, and believed only if their chain verifies."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tickover.core.errors import TickoverError
from tickover.core.event import (
    ConnectionDenied,
    Fact,
    ModelCalled,
    ReceiptBegun,
    ReceiptEnded,
    ReceiptsSealed,
    decode,
)
from tickover.core.metering import Spent
from tickover.core.receipt import Head, Link, Receipt, head_of, receipts_of
from tickover.gateway.session import Gateway
from tickover.store.base import Journal

_TYPES = {"receipt_begun", "receipt_ended", "receipts_sealed", "connection_denied"}


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the journal says of a run's network. `sealed` is None before the gateway sealed anything."""

    links: tuple[Link, ...]
    sealed: Head | None
    denials: tuple[ConnectionDenied, ...]

    @property
    def receipts(self) -> list[Receipt]:
        return receipts_of(each.record for each in self.links)


def traffic_of(journal: Journal, run: str) -> Traffic:
    """Read a run's receipts, the newest seal and the denials."""
    links: list[Link] = []
    denials: list[ConnectionDenied] = []
    sealed: Head | None = None
    for fact in _facts(journal, run):
        if isinstance(fact, ReceiptBegun | ReceiptEnded):
            links.append(fact.link())
        elif isinstance(fact, ReceiptsSealed):
            sealed = fact.head()
        elif isinstance(fact, ConnectionDenied):
            denials.append(fact)
    return Traffic(tuple(links), sealed, tuple(denials))


def spent_of(journal: Journal, run: str) -> Spent:
    """Sum up what models took in a run, over all attempts: what its budget has lost."""
    calls = [fact for fact in _facts(journal, run, {"model_called"}) if isinstance(fact, ModelCalled)]
    return Spent(sum(each.tokens.total for each in calls), sum(each.cost_usd or 0.0 for each in calls))


async def why_broken(gateway: Gateway, traffic: Traffic, run: str) -> str:
    """Say what is wrong with the chain, or nothing. Raises GatewayGone: only the gateway can tell.

    Records may follow the sealed end: the verifier's own calls, or what the gateway had no time to seal. Each is
    still linked by the key; only that one was cut off after the last seal cannot be seen.
    """
    if not traffic.links and traffic.sealed is None:
        return ""
    sealed = traffic.sealed or head_of(traffic.links[-1])
    broken = await gateway.verify(run, traffic.links, sealed, unfinished=True)
    return "" if broken is None else broken.says


async def believed(gateway: Gateway, traffic: Traffic, run: str) -> list[Receipt]:
    """Return the receipts. Raises TickoverError (`receipts.broken`) if they are not as the gateway wrote them."""
    wrong = await why_broken(gateway, traffic, run)
    if wrong:
        text = f"the receipts of this run are not as the gateway wrote them: {wrong}"
        hint = "somebody changed the journal, or the key file is another one"
        raise TickoverError("receipts.broken", text, hint=hint)
    return traffic.receipts


def _facts(journal: Journal, run: str, types: Collection[str] = _TYPES) -> Iterator[Fact]:
    after = 0
    while page := journal.read(run, after):
        after = page[-1].seq
        yield from (decode(event) for event in page if event.type in types)
