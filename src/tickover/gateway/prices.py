"""The prices that ship with Tickover: one JSON file for each who asks them, with the day and place they were read.

Prices move; a file's `as_of` says how old ours are, and `prices` of the instance's configuration wins over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tickover.core.errors import TickoverError, Where
from tickover.core.price import Price, Rates

Usd = Annotated[float, Field(ge=0, le=1_000_000)]


class PriceError(TickoverError):
    """A file of prices is wrong: the installation is damaged, or a packager's mistake."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RatesOf(_Strict):
    """USD per million tokens; what comes from a cache or goes to one costs as input does where nothing else is said."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write: Usd | None = None

    def rates(self) -> Rates:
        read = self.input if self.cache_read is None else self.cache_read
        return Rates(self.input, self.output, read, self.input if self.cache_write is None else self.cache_write)


class LongRates(RatesOf):
    """The rates of prompts with more than `above` tokens."""

    above: int = Field(ge=1)


class Line(RatesOf):
    """Models of one price."""

    models: tuple[str, ...] = Field(min_length=1)
    long: LongRates | None = None

    def prices(self) -> Iterator[Price]:
        long = self.long
        for model in self.models:
            yield Price(model, self.rates(), long.above if long else 0, long.rates() if long else None)


class PriceFile(_Strict):
    """What stands in a file."""

    prices: tuple[Line, ...] = Field(min_length=1)
    about: str = Field(min_length=1)
    source: str = Field(pattern=r"^https://\S+$")
    as_of: str = Field(pattern=r"^20\d\d-[01]\d-[0-3]\d$")


def read_prices(name: str, text: str | bytes) -> tuple[Price, ...]:
    """Read one file. Raises PriceError naming it."""
    try:
        found = PriceFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "file"
        where = Where(file=f"prices/{name}.json")
        raise PriceError("prices.malformed", f"{place}: {first['msg']}", where=where) from error
    return tuple(price for line in found.prices for price in line.prices())


@cache
def prices() -> tuple[Price, ...]:
    """Load every price that ships."""
    folder = files(__package__) / "prices"
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".json")), key=lambda each: each.name)
    return tuple(price for each in found for price in read_prices(each.name.removesuffix(".json"), each.read_bytes()))
