"""What a model's tokens cost: counts, rates in USD per million tokens, and which rates are a model's.

No price stands here: they are dated data (gateway/prices/), and what the instance's configuration says wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_MILLION: Final = 1_000_000
_DATED: Final = r"(?:-20\d{6}|-20\d\d-[01]\d-[0-3]\d|-latest|\[1m\])?"
"""What may follow a model's name without making it another model: the day of its build, or how it is asked for."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What calls took. `input` is what neither was read from a cache nor written to one."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def prompt(self) -> int:
        """All that went in."""
        return self.input + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """All of them: what `limits.tokens` counts."""
        return self.prompt + self.output


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def cost(self, tokens: Tokens) -> float:
        """Return what so many tokens cost, in USD."""
        return (
            tokens.input * self.input
            + tokens.output * self.output
            + tokens.cache_read * self.cache_read
            + tokens.cache_write * self.cache_write
        ) / _MILLION

    @property
    def dearest_input(self) -> float:
        """The most that a token of the prompt can cost."""
        return max(self.input, self.cache_read, self.cache_write)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of the models that `model` names (`*`: anything). Prompts of more than `above` tokens pay `long`."""

    model: str
    rates: Rates
    above: int = 0
    long: Rates | None = None

    def names(self, model: str) -> bool:
        pattern = ".*".join(map(re.escape, self.model.split("*")))
        return re.fullmatch(pattern + _DATED, model) is not None

    def rates_for(self, prompt: int) -> Rates:
        """Return the rates for a prompt of so many tokens."""
        return self.long if self.long is not None and prompt > self.above else self.rates


def price_of(model: str, prices: Iterable[Price]) -> Price | None:
    """Return the price of a model, None if nobody knows it. Of several the one that says most decides."""
    found = [price for price in prices if price.names(model)]
    return max(found, key=lambda price: (len(price.model.replace("*", "")), -price.model.count("*")), default=None)
