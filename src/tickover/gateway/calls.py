"""The calls of one run: numbered, counted against `max`, and receipted before they leave and after they ended."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tickover.core.enforcement import Allow
from tickover.core.receipt import Begun, Chosen, Delivery, Ended, Identity
from tickover.gateway.asked import Asked
from tickover.gateway.base import Ledger, LedgerError
from tickover.gateway.fence import Fence
from tickover.gateway.refusal import Refusal


class Tally:
    """Counts bytes that pass, and digests them."""

    __slots__ = ("_digest", "size")

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str | None:
        """The digest in hexadecimal; None where nothing passed."""
        return self._digest.hexdigest() if self.size else None


@dataclass(slots=True)
class Call:
    """One call on its way. `sent` from the moment that a byte of it may have left; `status` once it was answered."""

    begun: Begun
    since: float
    receipted: asyncio.Task[bool]
    sent: bool = False
    whole: bool = False
    status: int | None = None
    why: str = ""
    request: Tally = field(default_factory=Tally)
    response: Tally = field(default_factory=Tally)
    response_json: Chosen | None = None

    @property
    def delivery(self) -> Delivery:
        if not self.sent:
            return Delivery.UNSENT
        return Delivery.ANSWERED if self.whole else Delivery.CUT


class Calls:
    """Begins and ends calls. `counts` has what left before, under each rule; `numbers` gives each call its number.

    When a receipt cannot be kept, the run's traffic ends: nothing passes that leaves no trace.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        fence: Fence,
        attempt: int,
        identity: Identity,
        counts: Counter[str],
        numbers: Iterator[int],
        clock: Callable[[], float],
    ) -> None:
        self.counts = counts
        self._ledger = ledger
        self._fence = fence
        self._attempt = attempt
        self._identity = identity
        self._numbers = numbers
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._appending: set[asyncio.Task[bool]] = set()

    async def begin(self, asked: Asked, allow: Allow, request_json: Chosen | None, refs: tuple[str, ...]) -> Call:
        """Begin a call: numbered, and counted at once if it writes. A write's record is durable on return.

        `asked` is what leaves but for the credential. Raises Refusal if a write's record could not be kept.
        """
        if allow.writes:
            self.counts[allow.rule] += 1
        begun = Begun(
            call=next(self._numbers), at=self._clock(), attempt=self._attempt, identity=self._identity,
            method=asked.method, scheme=asked.scheme, host=asked.host, port=asked.port, path=asked.path,
            query=asked.query, rule=allow.rule, credential=allow.credential, writes=allow.writes,
            request_json=request_json, refs=refs,
        )  # fmt: skip
        call = Call(begun, self._loop.time(), self._later(begun))
        if allow.writes:
            try:
                kept = await asyncio.shield(call.receipted)
            except BaseException:
                call.why = "it was broken off before it left"
                self.end(call)
                raise
            if not kept:
                self.counts[allow.rule] -= 1
                raise Refusal(503, "ledger", "the receipt of this write could not be kept, so it does not leave")
        return call

    def end(self, call: Call) -> None:
        """Write down what became of a call; one that never left gives its place back."""
        begun = call.begun
        if begun.writes and not call.sent:
            self.counts[begun.rule] -= 1
        why = call.why or ("" if call.whole else self._fence.reason or "it was broken off")
        ended = Ended(
            call=begun.call, at=self._clock(), delivery=call.delivery, status=call.status if call.sent else None,
            duration_ms=round(1000 * (self._loop.time() - call.since)), request_bytes=call.request.size,
            response_bytes=call.response.size, request_sha256=call.request.sha256,
            response_sha256=call.response.sha256, response_json=call.response_json, why=why,
        )  # fmt: skip
        self._later(ended, call.receipted)

    async def settled(self) -> None:
        """Wait until every record that was handed over is durable, or is not going to be."""
        while self._appending:
            await asyncio.wait(self._appending)

    def _later(self, record: Begun | Ended, after: asyncio.Task[bool] | None = None) -> asyncio.Task[bool]:
        task = self._loop.create_task(self._append(record, after))
        self._appending.add(task)
        task.add_done_callback(self._appending.discard)
        return task

    async def _append(self, record: Begun | Ended, after: asyncio.Task[bool] | None) -> bool:
        """Append a record after another one; say whether it was kept. If not, nothing passes any more."""
        try:
            if after and not await after:
                return False
            await self._ledger.append(record)
        except LedgerError:
            self._fence.cut("ledger")
            return False
        except BaseException:
            self._fence.cut("ledger")
            raise
        return True
