"""The prices that ship: every file is read, dated, and plausible."""

from __future__ import annotations

import pytest

from tickover.core.price import price_of
from tickover.gateway.prices import PriceError, prices, read_prices


def test_every_price_that_ships_is_plausible_and_each_model_has_one() -> None:
    names = [price.model for price in prices()]
    assert len(names) == len(set(names))
    for price in prices():
        assert 0 < price.rates.cache_read <= price.rates.input <= price.rates.output, price.model
        assert price.long is None or price.long.input > price.rates.input
        assert "*" not in price.model


@pytest.mark.parametrize(
    ("model", "rates"),
    [("claude-opus-4-5-20251101", (5, 25)), ("claude-opus-4-1-20250805", (15, 75)), ("gpt-5.4-nano", (0.2, 1.25))],
)
def test_a_models_dated_name_has_its_price(model: str, rates: tuple[float, float]) -> None:
    found = price_of(model, prices())
    assert found
    assert (found.rates.input, found.rates.output) == rates


@pytest.mark.parametrize("model", ["gpt-5.5-ultra", "claude-opus-9", "claude-opus-4-5-fast", ""])
def test_a_model_that_is_like_another_has_no_price(model: str) -> None:
    assert price_of(model, prices()) is None


@pytest.mark.parametrize("text", ["{", "{}", '{"prices": [], "about": "x", "source": "https://x.test", "as_of": "x"}'])
def test_a_damaged_file_is_named(text: str) -> None:
    with pytest.raises(PriceError) as raised:
        read_prices("acme", text)
    assert raised.value.where
    assert raised.value.where.file == "prices/acme.json"
