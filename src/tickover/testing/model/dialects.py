"""Which dialect a path speaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tickover.testing.model import anthropic, gemini, openai_chat, openai_responses
from tickover.testing.model.answer import Answer
from tickover.testing.model.conversation import Conversation, Json


class Dialect(NamedTuple):
    """`path` is searched in the request's; `named` says whether an event of a stream carries its type as its name."""

    path: re.Pattern[str]
    read: Callable[[Json, str], Conversation]
    whole: Callable[[Answer], Json]
    events: Callable[[Answer], Iterator[Json]]
    error: Callable[[str, str, int], Json]
    named: bool
    end: bytes = b""


_DIALECTS = (
    Dialect(re.compile(r"/messages$"), anthropic.read, anthropic.whole, anthropic.events, anthropic.error, named=True),
    Dialect(
        re.compile(r"/chat/completions$"),
        openai_chat.read,
        openai_chat.whole,
        openai_chat.events,
        openai_chat.error,
        named=False,
        end=b"data: [DONE]\n\n",
    ),
    Dialect(
        re.compile(r"/responses$"),
        openai_responses.read,
        openai_responses.whole,
        openai_responses.events,
        openai_responses.error,
        named=True,
    ),
    Dialect(
        re.compile(r":(?:stream)?[gG]enerateContent$"),
        gemini.read,
        gemini.whole,
        gemini.events,
        gemini.error,
        named=False,
    ),
)


def dialect_of(path: str) -> Dialect | None:
    """Return the dialect of a path without its query; None: it asks no model for anything."""
    return next((dialect for dialect in _DIALECTS if dialect.path.search(path)), None)
