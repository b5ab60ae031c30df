"""What a run asks of language models: recognised by method and path, on whatever host, and held to its budget.

`dialect_of` and `read_question` say what is asked; `reserve` how much of the budget it needs before it leaves, or why
it must not leave; `lowered` writes the request so that it cannot take more. What the answer took is read by
core/model_stream.py. Nothing here raises for what comes from a sandbox.

Formats: Anthropic's Messages, OpenAI's Chat Completions and Responses, Gemini's generateContent, as of 2026-11.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import JsonValue

from tickover.core.price import Price, Rates, Tokens
from tickover.core.text import one_line

BYTES_PER_TOKEN: Final = 3
"""Of a request's body: fewer than languages of Latin letters have, so that an estimate is rather too high."""
USUAL_MOST: Final = 32_768
"""Tokens of output that are reserved for a request that names no limit of its own."""
FLOOR: Final = 256
"""Tokens of output below which a request is refused rather than lowered; or what it asks for, if that is less."""
_MOST_TOOLS: Final = 512
_LARGEST: Final = 10**9


BUDGET_CODES: Final = frozenset({"budget", "price_unknown"})
"""What a call is refused, or cut off, with that has no budget."""


class Dialect(StrEnum):
    """How a model is spoken to."""

    ANTHROPIC = "anthropic"
    OPENAI_CHAT = "openai-chat"
    OPENAI_RESPONSES = "openai-responses"
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may take of models, over all attempts; None does not bind."""

    tokens: int | None = None
    cost_usd: float | None = None

    @property
    def bounds(self) -> bool:
        return self.tokens is not None or self.cost_usd is not None

    def __str__(self) -> str:
        parts = [] if self.cost_usd is None else [f"`limits.cost_usd` {self.cost_usd:g}"]
        parts += [] if self.tokens is None else [f"`limits.tokens` {self.tokens}"]
        return " and ".join(parts) or "no budget"


UNBOUND: Final = Budget()


@dataclass(frozen=True, slots=True)
class Spent:
    """What is gone, or held for calls under way: tokens of every kind, and USD."""

    tokens: int = 0
    cost_usd: float = 0.0

    def plus(self, more: Spent) -> Spent:
        return Spent(self.tokens + more.tokens, self.cost_usd + more.cost_usd)

    def less(self, part: Spent) -> Spent:
        return Spent(max(self.tokens - part.tokens, 0), max(self.cost_usd - part.cost_usd, 0.0))


NOTHING: Final = Spent()


@dataclass(frozen=True, slots=True)
class Question:
    """One request to a model. `most` is the output it allows for each of its `choices`, None if it does not say.

    `least` is the output below which its own settings would not hold, `size` its body's bytes, `tools` the names of
    the tools it offers. `tells_usage`: its answer will say what it took.
    """

    dialect: Dialect
    model: str
    most: int | None = None
    choices: int = 1
    least: int = 0
    size: int = 0
    tools: tuple[str, ...] = ()
    tells_usage: bool = True

    @property
    def prompt(self) -> int:
        """An estimate of its input, in tokens."""
        return math.ceil(self.size / BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is held for a call: tokens of input and output. `lower` is what its limit must become, if anything."""

    input: int
    output: int
    lower: int | None = None

    @property
    def tokens(self) -> Tokens:
        return Tokens(input=self.input, output=self.output)


@dataclass(frozen=True, slots=True)
class TooLittle:
    """The budget does not allow the call. `code` is one of `BUDGET_CODES`."""

    code: str
    says: str


def dialect_of(method: str, segments: Sequence[str]) -> Dialect | None:
    """Say which dialect a request speaks, by its method and its path's segments; None: it asks no model."""
    if method != "POST" or not segments:
        return None
    last = segments[-1]
    if last == "messages" and segments[-2:-1] == ("v1",):
        return Dialect.ANTHROPIC
    if last == "completions" and segments[-2:-1] == ("chat",):
        return Dialect.OPENAI_CHAT
    if last == "responses":
        return Dialect.OPENAI_RESPONSES
    if last.endswith((":generateContent", ":streamGenerateContent")):
        return Dialect.GEMINI
    return None


def read_question(dialect: Dialect, segments: Sequence[str], body: JsonValue, size: int) -> Question | None:
    """Read what a request asks; None if it is no request to a model, for all its path."""
    if not isinstance(body, dict):
        return None
    if dialect is Dialect.GEMINI:
        return _gemini(segments[-1].partition(":")[0], body, size)
    model = body.get("model")
    if not isinstance(model, str) and not (dialect is Dialect.OPENAI_RESPONSES and "prompt" in body):
        return None
    model = one_line(model, 200) if isinstance(model, str) else ""
    if dialect is Dialect.ANTHROPIC:
        thinking = body.get("thinking")
        deep = _count(thinking.get("budget_tokens")) if isinstance(thinking, dict) else None
        return Question(
            dialect, model, _count(body.get("max_tokens")), least=0 if deep is None else deep + 1, size=size,
            tools=tuple(_names(body)),
        )  # fmt: skip
    if dialect is Dialect.OPENAI_CHAT:
        said = [found for name in _CHAT_LIMITS if (found := _count(body.get(name))) is not None]
        options = body.get("stream_options")
        usage = isinstance(options, dict) and options.get("include_usage") is True
        return Question(
            dialect, model, max(said, default=None), choices=max(_count(body.get("n")) or 1, 1), size=size,
            tools=tuple(_names(body)), tells_usage=usage or body.get("stream") is not True,
        )  # fmt: skip
    return Question(dialect, model, _count(body.get("max_output_tokens")), size=size, tools=tuple(_names(body)))


_CHAT_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_GEMINI_CONFIG: Final = ("generationConfig", "generation_config")
_GEMINI_LIMITS: Final = ("maxOutputTokens", "max_output_tokens")
_GEMINI_CHOICES: Final = ("candidateCount", "candidate_count")


def _gemini(model: str, body: dict[str, JsonValue], size: int) -> Question:
    configs = [found for name in _GEMINI_CONFIG if isinstance(found := body.get(name), dict)]
    limits = [found for each in configs for name in _GEMINI_LIMITS if (found := _count(each.get(name))) is not None]
    choices = [found for each in configs for name in _GEMINI_CHOICES if (found := _count(each.get(name)))]
    return Question(
        Dialect.GEMINI, one_line(model, 200), max(limits, default=None), choices=max(choices, default=1), size=size,
        tools=tuple(_names(body)),
    )  # fmt: skip


def reserve(question: Question, budget: Budget, spent: Spent, price: Price | None) -> Reserve | TooLittle:
    """Say what a call needs held, lowered to what is left; or why it must not leave.

    `spent` has what is gone and what is held for others. A price nobody knows counts only where tokens do not bind.
    """
    wish = question.most if question.most is not None else USUAL_MOST
    rates = price.rates_for(question.prompt) if price else None
    if budget.cost_usd is not None and rates is None and budget.tokens is None:
        says = (
            f"nobody knows what the model `{question.model}` costs, and `limits.cost_usd` is the only budget: "
            f"set `limits.tokens`, or its price under `prices` in the instance's configuration"
        )
        return TooLittle("price_unknown", says)
    room = math.inf if budget.tokens is None else float(budget.tokens - spent.tokens - question.prompt)
    if budget.cost_usd is not None and rates is not None:
        left = budget.cost_usd - spent.cost_usd - question.prompt * rates.dearest_input / 1e6
        room = min(room, left / (rates.output / 1e6) if rates.output else math.copysign(math.inf, left))
    each = room / question.choices
    if each >= wish:
        return Reserve(question.prompt, wish * question.choices)
    if each < max(min(FLOOR, wish), question.least):
        return TooLittle("budget", f"the run's budget is spent: {budget}; gone or held: {_gone(spent)}")
    return Reserve(question.prompt, int(each) * question.choices, lower=int(each))


def _gone(spent: Spent) -> str:
    return f"{spent.tokens} tokens, {spent.cost_usd:.4f} USD"


def lowered(dialect: Dialect, body: dict[str, Any], most: int) -> dict[str, Any]:
    """Return the request with its limit of output at `most` tokens, under every name that a server may read."""
    if dialect is Dialect.ANTHROPIC:
        return {**body, "max_tokens": most}
    if dialect is Dialect.OPENAI_RESPONSES:
        return {**body, "max_output_tokens": most}
    if dialect is Dialect.OPENAI_CHAT:
        named = [name for name in _CHAT_LIMITS if body.get(name) is not None] or [_CHAT_LIMITS[0]]
        return {**body, **dict.fromkeys(named, most)}
    named = [name for name in _GEMINI_CONFIG if isinstance(body.get(name), dict)] or [_GEMINI_CONFIG[0]]
    limits = {
        name: {**kept, **dict.fromkeys([one for one in _GEMINI_LIMITS if one in kept] or [_GEMINI_LIMITS[0]], most)}
        for name in named
        for found in [body.get(name)]
        for kept in [found if isinstance(found, dict) else {}]
    }
    return {**body, **limits}


def cost_of(tokens: Tokens, price: Price | None) -> float | None:
    """Return what a call cost, in USD; None if nobody knows."""
    return None if price is None else rates_of(tokens, price).cost(tokens)


def rates_of(tokens: Tokens, price: Price) -> Rates:
    """Return the rates that a call pays."""
    return price.rates_for(tokens.prompt)


def _count(value: object) -> int | None:
    """Read a number as a server may: `1e6` is one, too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return int(min(value, _LARGEST))


def _names(body: dict[str, JsonValue]) -> Iterator[str]:
    """Yield the names of the tools that a request offers."""
    yield from _named(body.get("tools"))
    items = body.get("input")  # Codex 0.169 puts them there, for some models
    for item in items[:_MOST_TOOLS] if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            yield from _named(item.get("tools"))


def _named(tools: JsonValue, space: str = "") -> Iterator[str]:
    """Yield the names in a list of tools; those of a name space (`mcp__slack`) have it before them."""
    for tool in tools[:_MOST_TOOLS] if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        if tool.get("type") == "namespace" and not space:
            yield from _named(tool.get("tools"), f"{tool.get('name')}__")
            continue
        declared = tool.get("functionDeclarations", tool.get("function_declarations"))
        if isinstance(declared, list):
            named = [each.get("name") for each in declared[:_MOST_TOOLS] if isinstance(each, dict)]
        else:
            function = tool.get("function")
            inner = function.get("name") if isinstance(function, dict) else None
            named = [tool.get("name") or inner or tool.get("type")]
        yield from (one_line(space.removeprefix("functions__") + name, 128) for name in named if isinstance(name, str))
