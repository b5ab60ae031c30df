"""Requests to models: recognised on whatever host, held to what is left, lowered so that they cannot take more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.metering import (
    FLOOR,
    NOTHING,
    USUAL_MOST,
    Budget,
    Dialect,
    Question,
    Reserve,
    Spent,
    TooLittle,
    dialect_of,
    lowered,
    read_question,
    reserve,
)
from tickover.core.price import Price, Rates

PRICE = Price("m", Rates(input=10, output=100, cache_read=1, cache_write=20))
FREE = Price("m", Rates(0, 0, 0, 0))


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("v1/messages", "anthropic"),
        ("proxy/anthropic/v1/messages", "anthropic"),
        ("v1/chat/completions", "openai-chat"),
        ("openai/deployments/x/chat/completions", "openai-chat"),
        ("v1/responses", "openai-responses"),
        ("responses", "openai-responses"),
        ("v1beta/models/gemini-x:generateContent", "gemini"),
        ("v1beta/models/gemini-x:streamGenerateContent", "gemini"),
        ("v1/messages/count_tokens", None),
        ("messages", None),
        ("v1/completions", None),
        ("v1beta/models/gemini-x:countTokens", None),
        ("", None),
    ],
)
def test_a_model_is_recognised_by_its_path(path: str, dialect: str | None) -> None:
    segments = tuple(path.split("/"))
    assert dialect_of("POST", segments) == dialect
    assert dialect_of("GET", segments) is None


CASES: list[tuple[Dialect, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        Dialect.ANTHROPIC,
        {"model": "m", "max_tokens": 900, "tools": [{"name": "Bash"}, {"type": "web_search_1", "name": "web_search"}]},
        {"most": 900, "tools": ("Bash", "web_search")},
        {"max_tokens": 7},
    ),
    (
        Dialect.ANTHROPIC,
        {"model": "m", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 4000}},
        {"most": 9000, "least": 4001},
        {"max_tokens": 7},
    ),
    (
        Dialect.OPENAI_CHAT,
        {"model": "m", "max_tokens": 5, "max_completion_tokens": 9, "n": 3, "tools": [{"function": {"name": "f"}}]},
        {"most": 9, "choices": 3, "tools": ("f",)},
        {"max_tokens": 7, "max_completion_tokens": 7},
    ),
    (Dialect.ANTHROPIC, {"model": "m", "max_tokens": 1e300}, {"most": 10**9}, {"max_tokens": 7}),
    (Dialect.OPENAI_CHAT, {"model": "m", "stream": True}, {"tells_usage": False}, {"max_completion_tokens": 7}),
    (
        Dialect.OPENAI_CHAT,
        {"model": "m", "stream": True, "stream_options": {"include_usage": True}},
        {"tells_usage": True},
        {"max_completion_tokens": 7},
    ),
    (
        Dialect.OPENAI_RESPONSES,
        {"model": "m", "max_output_tokens": 5, "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}]},
        {"most": 5, "tools": ("web_search", "f")},
        {"max_output_tokens": 7},
    ),
    (
        Dialect.GEMINI,
        {
            "generationConfig": {"maxOutputTokens": 5, "temperature": 0},
            "generation_config": {"max_output_tokens": 9, "candidateCount": 2},
            "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}],
        },
        {"most": 9, "choices": 2, "tools": ("f", "g")},
        {
            "generationConfig": {"maxOutputTokens": 7, "temperature": 0},
            "generation_config": {"max_output_tokens": 7, "candidateCount": 2},
        },
    ),
    (Dialect.GEMINI, {"contents": []}, {"most": None}, {"generationConfig": {"maxOutputTokens": 7}}),
]


@pytest.mark.parametrize(("dialect", "body", "asked", "lower"), CASES)
def test_each_dialect_is_read_and_lowered(
    dialect: Dialect, body: dict[str, Any], asked: dict[str, Any], lower: dict[str, Any]
) -> None:
    question = read_question(dialect, ("models", "m:generateContent"), body, 300)
    assert question
    assert (question.model, question.prompt) == ("m", 100)
    assert {name: getattr(question, name) for name in asked} == asked
    assert lowered(dialect, body, 7) == {**body, **lower}


@given(st.sampled_from(Dialect), st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_whatever_stands_in_a_request_does_not_hurt(dialect: Dialect, value: Any) -> None:
    names = ["max_tokens", "thinking", "tools", "n", "generationConfig", "stream_options", "max_output_tokens"]
    some: dict[str, Any] = {"model": "m", **dict.fromkeys(names, value)}
    bodies: list[Any] = [value, some, {"model": value}, {"tools": [{"name": value}]}]
    for body in bodies:
        read_question(dialect, ("x",), body, 10)
        if isinstance(body, dict):
            json.dumps(lowered(dialect, body, 5))


@pytest.mark.parametrize(
    ("question", "budget", "spent", "answer"),
    [
        (Question(Dialect.ANTHROPIC, "m", 500, size=300), Budget(), NOTHING, Reserve(100, 500)),
        (Question(Dialect.ANTHROPIC, "m", 500, size=300), Budget(tokens=600), NOTHING, Reserve(100, 500)),
        (Question(Dialect.ANTHROPIC, "m", 500, size=300), Budget(tokens=599), NOTHING, Reserve(100, 499, lower=499)),
        (Question(Dialect.ANTHROPIC, "m", size=0), Budget(tokens=10**9), NOTHING, Reserve(0, USUAL_MOST)),
        (Question(Dialect.OPENAI_CHAT, "m", 500, choices=3), Budget(tokens=1000), NOTHING, Reserve(0, 999, lower=333)),
        (Question(Dialect.ANTHROPIC, "m", 1), Budget(tokens=10), Spent(tokens=9), Reserve(0, 1)),
        # 0.05 USD: 100 tokens of prompt at most 0.002, the rest is 480 tokens of output.
        (Question(Dialect.ANTHROPIC, "m", 500, size=300), Budget(cost_usd=0.05), NOTHING, Reserve(100, 480, lower=480)),
    ],
)
def test_what_a_call_holds(question: Question, budget: Budget, spent: Spent, answer: Reserve) -> None:
    assert reserve(question, budget, spent, PRICE) == answer


@pytest.mark.parametrize(
    ("question", "budget", "spent"),
    [
        (Question(Dialect.ANTHROPIC, "m", 500), Budget(tokens=FLOOR - 1), NOTHING),
        (Question(Dialect.ANTHROPIC, "m", 500, size=3000), Budget(tokens=900), NOTHING),
        (Question(Dialect.ANTHROPIC, "m", 9000, least=4001), Budget(tokens=4000), NOTHING),
        (Question(Dialect.ANTHROPIC, "m", 500), Budget(tokens=10**6, cost_usd=1), Spent(cost_usd=1.0)),
        (Question(Dialect.ANTHROPIC, "m", 1), Budget(tokens=10), Spent(tokens=10)),
    ],
)
def test_what_is_not_enough(question: Question, budget: Budget, spent: Spent) -> None:
    found = reserve(question, budget, spent, PRICE)
    assert isinstance(found, TooLittle)
    assert found.code == "budget"


def test_a_free_model_costs_nothing_and_an_unknown_one_needs_tokens() -> None:
    question = Question(Dialect.ANTHROPIC, "m", 500, size=300)
    assert reserve(question, Budget(cost_usd=0.01), NOTHING, FREE) == Reserve(100, 500)
    unknown = reserve(question, Budget(cost_usd=100), NOTHING, None)
    assert isinstance(unknown, TooLittle)
    assert unknown.code == "price_unknown"
    assert reserve(question, Budget(cost_usd=100, tokens=600), NOTHING, None) == Reserve(100, 500)


@given(
    st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 4), st.integers(0, 20_000), st.integers(0, 20_000),
    st.floats(0.01, 2), st.floats(0, 2),
)  # fmt: skip
def test_nothing_is_held_that_is_not_there(
    size: int, most: int, choices: int, tokens: int, gone: int, cost: float, paid: float
) -> None:
    question = Question(Dialect.OPENAI_CHAT, "m", most, choices, size=size)
    budget, spent = Budget(tokens=tokens, cost_usd=cost), Spent(gone, paid)
    held = reserve(question, budget, spent, PRICE)
    if isinstance(held, Reserve):
        assert gone + held.tokens.total <= tokens
        assert paid + (held.input * 20 + held.output * 100) / 1e6 <= cost + 1e-9
        assert held.output <= most * choices
