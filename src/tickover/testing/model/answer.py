"""What the scripted model answers, in one shape. The same request gets the same ids: recordings stay comparable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tickover.testing.model.conversation import Json

CREATED = 1_700_000_000
"""UTC epoch seconds in every answer that carries a time."""

_PIECE = 40


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call. `input` is a map, or text for a free-form tool of the Responses dialect."""

    id: str
    name: str
    input: Any


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the answer claims to have taken."""

    input: int = 100
    output: int = 20
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    id: str
    model: str
    text: str
    calls: tuple[Call, ...]
    stop: str | None
    tokens: Tokens

    @classmethod
    def make(cls, key: str, model: str, text: str, tools: list[Json], stop: str | None, tokens: Tokens) -> Answer:
        """Make an answer whose ids depend on `key` alone."""
        calls = tuple(
            Call(id_of("toolu_", f"{key}/{number}"), tool["name"], tool.get("input", {}))
            for number, tool in enumerate(tools)
        )
        return cls(id_of("msg_", key), model, text, calls, stop, tokens)


def id_of(prefix: str, key: str) -> str:
    return prefix + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:24]


def pieces(text: str) -> Iterator[str]:
    """Cut a text as a stream of events carries it; an empty one is one empty piece."""
    for start in range(0, max(len(text), 1), _PIECE):
        yield text[start : start + _PIECE]
