"""The meter of one run: what its calls to language models take, and that they take no more than its budget.

A call holds what it may need before it leaves (core/metering.py), so that calls side by side cannot take the same
rest twice; when it ends, what it took is counted and the rest given back. A model that says who asks is nobody it
knows (401, 403) is not asked again: no number of attempts makes a key right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tickover.core.enforcement import MODEL, Allow, Body, JsonBody
from tickover.core.metering import (
    NOTHING,
    Budget,
    Dialect,
    Question,
    Spent,
    TooLittle,
    cost_of,
    dialect_of,
    lowered,
    read_question,
    reserve,
)
from tickover.core.model_stream import BYTES_PER_TOKEN, UsageReader
from tickover.core.price import Price, Tokens, price_of
from tickover.core.target import TargetError, read_path
from tickover.gateway.asked import Asked
from tickover.gateway.framing import Framing, Kind
from tickover.gateway.refusal import Refusal
from tickover.gateway.session import Called

MOST_BYTES: Final = 16 << 20
"""Bytes of a request to a model that are read."""
_NOBODY: Final = frozenset({401, 403})
_ERROR: Final = 400
_MORE: Final = 4096
"""Tokens by which a call's reserve grows when its answer is longer than it was to be."""
_SLACK: Final = 4
"""How many times its reserve an answer may seem to have that will still say itself what it took."""
_DIGESTS: Final = ("content-md5", "digest", "content-digest", "repr-digest")


@dataclass(slots=True)
class MeteredCall:
    """A call that holds its part of the budget. Feed it the answer; when `over`, the answer must go no further."""

    meter: Meter
    question: Question
    host: str
    port: int
    most: int
    price: Price | None
    reader: UsageReader
    held: Spent = NOTHING
    raw: int = 0
    over: bool = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer's body, in the clear."""
        self.reader.feed(data)
        self._check(self.reader.written)

    def skip(self, size: int) -> None:
        """Take note of bytes of the answer that nobody can read."""
        self.raw += size
        self._check(self.raw // BYTES_PER_TOKEN)

    def _check(self, written: int) -> None:
        slack = _SLACK if self.question.tells_usage and not self.raw else 1
        while not self.over and written > self.most * slack:
            self.over = not self.meter.grow(self)

    def end(self, *, sent: bool, status: int | None, whole: bool) -> None:
        """Count what it took, and give back what it held. To be called once."""
        self.reader.finish()
        self.meter.end(self, sent=sent, status=status, whole=whole)


class Meter:
    """Meters one session. `spent` is what the run took before, over all attempts; `tell` hears of each call.

    `own` are the instance's prices: they win over `prices`, those that ship.
    """

    def __init__(
        self,
        budget: Budget,
        own: Sequence[Price],
        prices: Sequence[Price],
        spent: Spent,
        tell: Callable[[Called], None],
    ) -> None:
        self._budget = budget
        self._own = own
        self._prices = prices
        self._spent = spent
        self._tell = tell
        self._unknown_to: dict[tuple[str, int], int] = {}
        self._tools = ""

    def dialect(self, asked: Asked) -> Dialect | None:
        """Say whether a request speaks to a model, by its head."""
        try:
            return dialect_of(asked.method, read_path(asked.path).segments)
        except TargetError:
            return None

    def admit(
        self, dialect: Dialect, asked: Asked, allow: Allow, body: Body, size: int
    ) -> tuple[MeteredCall | None, bytes | None]:
        """Hold what a call may need, and return it; with it, the body that is to be sent instead.

        `size` is the body's, in bytes. None where it is no call to a model after all. Raises Refusal where it must
        not leave.
        """
        try:
            segments = read_path(asked.path).segments
        except TargetError:
            return None, None
        value = body.value if isinstance(body, JsonBody) else None
        question = read_question(dialect, segments, value, size)
        if question is None or not isinstance(value, dict):
            if self._budget.bounds and (allow.rule == MODEL or not isinstance(body, JsonBody)):
                raise Refusal(403, "model_unread", "what it asks the model cannot be read, so it has no budget")
            return None, None
        status = self._unknown_to.get((asked.host, asked.port))
        if status is not None:
            says = f"{asked.host} answered {status} before: it does not accept the credential, so it is not asked again"
            raise Refusal(403, "model_auth", says)
        price = price_of(question.model, self._own) or price_of(question.model, self._prices)
        held = reserve(question, self._budget, self._spent, price)
        if isinstance(held, TooLittle):
            raise Refusal(402, held.code, held.says)
        call = MeteredCall(self, question, asked.host, asked.port, held.output, price, UsageReader(dialect))
        self._hold(call, held.tokens)
        if held.lower is None:
            return call, None
        return call, json.dumps(lowered(dialect, value, held.lower)).encode()

    def grow(self, call: MeteredCall) -> bool:
        """Hold more for a call; say whether there was more."""
        more = Tokens(output=_MORE)
        budget, spent = self._budget, self._spent
        if budget.tokens is not None and spent.tokens + more.total > budget.tokens:
            return False
        if budget.cost_usd is not None and spent.cost_usd + _dearest(more, call) > budget.cost_usd:
            return False
        self._hold(call, more)
        call.most += _MORE
        return True

    def end(self, call: MeteredCall, *, sent: bool, status: int | None, whole: bool) -> None:
        """Count one call, and tell of it. One that never left took nothing, and is not told of."""
        self._spent = self._spent.less(call.held)
        if not sent:
            return
        if status in _NOBODY and status is not None:
            self._unknown_to[call.host, call.port] = status
        tokens, estimated = _took(call, status, whole=whole)
        cost = cost_of(tokens, call.price)
        self._spent = self._spent.plus(Spent(tokens.total, cost or 0.0))
        names = call.question.tools
        digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
        new, self._tools = digest != self._tools, digest
        self._tell(
            Called(
                host=call.host, port=call.port, dialect=call.question.dialect.value,
                model=call.question.model or call.reader.model, status=status, input_tokens=tokens.input,
                output_tokens=tokens.output, cache_read_tokens=tokens.cache_read,
                cache_write_tokens=tokens.cache_write, cost_usd=cost, estimated=estimated, tools_digest=digest,
                tools=names if new else None,
            )
        )  # fmt: skip

    def _hold(self, call: MeteredCall, tokens: Tokens) -> None:
        more = Spent(tokens.total, _dearest(tokens, call))
        self._spent = self._spent.plus(more)
        call.held = call.held.plus(more)


def _dearest(tokens: Tokens, call: MeteredCall) -> float:
    """Return the most that so many tokens of a call can cost."""
    if call.price is None:
        return 0.0
    rates = call.price.rates_for(call.question.prompt)
    return (tokens.prompt * rates.dearest_input + tokens.output * rates.output) / 1e6


def _took(call: MeteredCall, status: int | None, *, whole: bool) -> tuple[Tokens, bool]:
    """Return what a call took, and whether that is an estimate: nobody said it, or the answer was cut off."""
    said = call.reader.tokens
    if said is not None and whole and call.reader.complete:
        return said, False
    if said is None and status is not None and status >= _ERROR:
        return Tokens(), False
    written = max(call.reader.written, call.raw // BYTES_PER_TOKEN)
    if said is None:
        return Tokens(call.question.prompt, written), True
    return replace(said, output=max(said.output, written)), True


def with_body(asked: Asked, body: bytes) -> Asked:
    """Return a request with another body; what vouched for the old one goes."""
    fields = asked.fields.without(*_DIGESTS)
    return replace(asked, fields=fields, framing=Framing(Kind.LENGTH, len(body)))


def plain(asked: Asked) -> Asked:
    """Ask for an answer that can be read as it passes."""
    return asked.having("accept-encoding", "identity")
