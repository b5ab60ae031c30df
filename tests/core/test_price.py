"""Prices: which one is a model's, and what tokens cost at it."""

from __future__ import annotations

import pytest

from tickover.core.price import Price, Rates, Tokens, price_of

CHEAP, DEAR = Rates(1, 2, 0.1, 1.25), Rates(10, 20, 1, 12.5)
PRICES = (Price("opus-4", DEAR), Price("opus-4-5", CHEAP), Price("local-*", CHEAP), Price("*", DEAR))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("opus-4", "opus-4"),
        ("opus-4-20250514", "opus-4"),
        ("opus-4-2026-05-14", "opus-4"),
        ("opus-4-latest", "opus-4"),
        ("opus-4-5", "opus-4-5"),
        ("opus-4-5[1m]", "opus-4-5"),
        ("opus-4-9", "*"),
        ("local-7b", "local-*"),
        ("xopus-4", "*"),
        ("opus.4", "*"),
    ],
)
def test_the_price_that_says_most_is_a_models(model: str, name: str) -> None:
    found = price_of(model, PRICES)
    assert found
    assert found.model == name


def test_a_model_that_nobody_names_has_no_price() -> None:
    assert price_of("opus-4-pro", PRICES[:3]) is None


def test_each_kind_of_token_has_its_rate() -> None:
    tokens = Tokens(input=1_000_000, output=2_000_000, cache_read=3_000_000, cache_write=4_000_000)
    assert (tokens.prompt, tokens.total) == (8_000_000, 10_000_000)
    assert CHEAP.cost(tokens) == pytest.approx(1 + 4 + 0.3 + 5)


def test_long_prompts_have_their_own_rates() -> None:
    price = Price("m", CHEAP, above=100, long=DEAR)
    assert [price.rates_for(size) for size in (0, 100, 101)] == [CHEAP, CHEAP, DEAR]
