"""Answers of models as recorded, cut anywhere: what they took is read the same, and nothing hostile hurts."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickover.core.metering import Dialect
from tickover.core.model_stream import LONGEST, Events, UsageReader
from tickover.core.price import Tokens


def sse(*events: dict[str, Any], named: bool = True, line: str = "\n", end: str = "") -> bytes:
    said = [
        (f"event: {event['type']}{line}" if named and "type" in event else "")
        + f"data: {json.dumps(event)}{line}{line}"
        for event in events
    ]
    return (": keep alive" + line + line + "".join(said) + end).encode()


USAGE = {"input_tokens": 12, "output_tokens": 1, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 400}
RESPONSE = {
    "object": "response",
    "model": "gpt-x",
    "usage": {"input_tokens": 500, "input_tokens_details": {"cached_tokens": 384}, "output_tokens": 77},
}
COMPLETED = {"type": "response.completed", "response": RESPONSE}
CHAT = {"prompt_tokens": 500, "prompt_tokens_details": {"cached_tokens": 384}, "completion_tokens": 77}
STREAMS: dict[str, tuple[Dialect, bytes, Tokens]] = {
    "anthropic": (
        Dialect.ANTHROPIC,
        sse(
            {"type": "message_start", "message": {"model": "claude-x", "usage": USAGE}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße \u2028 \n"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 89}},
            {"type": "message_stop"},
        ),
        Tokens(12, 89, 400, 30),
    ),
    "anthropic, CRLF": (
        Dialect.ANTHROPIC,
        sse(
            {"type": "message_start", "message": {"usage": USAGE}},
            {"type": "message_delta", "usage": {"output_tokens": 89}},
            {"type": "message_stop"},
            line="\r\n",
        ),
        Tokens(12, 89, 400, 30),
    ),
    "anthropic, whole": (
        Dialect.ANTHROPIC,
        json.dumps({"type": "message", "content": [{"text": "hi"}], "usage": {**USAGE, "output_tokens": 89}}).encode(),
        Tokens(12, 89, 400, 30),
    ),
    "chat": (
        Dialect.OPENAI_CHAT,
        sse(
            {"model": "gpt-x", "choices": [{"delta": {"content": "Hello"}}], "usage": None},
            {"choices": [], "usage": CHAT},
            named=False,
            end="data: [DONE]\n\n",
        ),
        Tokens(116, 77, 384),
    ),
    "chat, whole": (
        Dialect.OPENAI_CHAT,
        json.dumps({"choices": [{"message": {"content": "Hello"}}], "usage": CHAT}, indent=1).encode(),
        Tokens(116, 77, 384),
    ),
    "responses": (
        Dialect.OPENAI_RESPONSES,
        sse(
            {"type": "response.created", "response": {**RESPONSE, "usage": None}},
            {"type": "response.output_text.delta", "delta": "Hello"},
            COMPLETED,
        ),
        Tokens(116, 77, 384),
    ),
    "responses, whole": (Dialect.OPENAI_RESPONSES, json.dumps(RESPONSE).encode(), Tokens(116, 77, 384)),
    "gemini": (
        Dialect.GEMINI,
        sse(
            {"candidates": [{"content": {"parts": [{"text": "He"}]}}], "usageMetadata": {"promptTokenCount": 500}},
            {
                "candidates": [{"content": {"parts": [{"text": "llo"}]}, "finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 500, "candidatesTokenCount": 70, "thoughtsTokenCount": 7,
                    "cachedContentTokenCount": 384,
                },
                "modelVersion": "gemini-x",
            },
        ),
        Tokens(116, 77, 384),
    ),
    "gemini, a list": (
        Dialect.GEMINI,
        json.dumps(
            [
                {"candidates": [], "usageMetadata": {"promptTokenCount": 500}},
                {
                    "candidates": [{"finishReason": "STOP"}],
                    "usageMetadata": {"promptTokenCount": 500, "candidatesTokenCount": 77},
                },
            ]
        ).encode(),
        Tokens(500, 77),
    ),
}  # fmt: skip


def read(dialect: Dialect, pieces: list[bytes]) -> UsageReader:
    reader = UsageReader(dialect)
    for piece in pieces:
        reader.feed(piece)
    reader.finish()
    return reader


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@pytest.mark.parametrize("name", STREAMS)
def test_usage_is_read_whatever_pieces_it_comes_in(name: str) -> None:
    dialect, data, tokens = STREAMS[name]
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))], cut(data, [7, 33, 90, 181])):
        reader = read(dialect, pieces)
        assert (reader.tokens, reader.complete) == (tokens, True)
    for at in range(len(data)):
        assert read(dialect, [data[:at], data[at:]]).tokens == tokens


@pytest.mark.parametrize("name", STREAMS)
def test_what_breaks_off_is_never_complete_before_its_usage(name: str) -> None:
    dialect, data, tokens = STREAMS[name]
    for at in range(len(data)):
        reader = read(dialect, [data[:at]])
        assert not reader.complete or reader.tokens == tokens


@given(st.sampled_from(Dialect), st.lists(st.binary(max_size=60), max_size=6))
@example(Dialect.ANTHROPIC, [b'data: {"type": "message_start", "message": 3}\n\n'])
@example(Dialect.GEMINI, [b"[" * 100_000])
@example(Dialect.OPENAI_CHAT, [b'data: {"usage": {"prompt_tokens": -1, "completion_tokens": true}}\n\n'])
@example(Dialect.OPENAI_CHAT, [b'{"choices": {}, "usage": {"prompt_tokens": 1e400}}'])
@example(Dialect.OPENAI_RESPONSES, [b'data: {"type": "response.completed", "response": []}\r', b"\n\r\n"])
def test_nothing_hostile_raises_or_counts(dialect: Dialect, pieces: list[bytes]) -> None:
    reader = read(dialect, pieces)
    assert reader.tokens is None
    assert not reader.complete


def test_text_is_counted_where_nobody_says_what_it_took() -> None:
    reader = read(Dialect.OPENAI_CHAT, [sse({"choices": [{"delta": {"role": "assistant", "content": "x" * 400}}]})])
    assert (reader.tokens, reader.written) == (None, 100)


def test_an_event_that_is_too_long_is_passed_over_in_bounded_memory() -> None:
    events = Events()
    piece = b"x" * (1 << 20)
    assert events.feed(b"data: ") == []
    for _ in range(LONGEST // len(piece) + 2):
        assert events.feed(piece) == []
    assert events.feed(b"\n\ndata: next\n\n") == [b"next"]


def test_a_document_that_is_too_long_counts_by_its_size() -> None:
    reader = UsageReader(Dialect.ANTHROPIC)
    reader.feed(b'{"type": "message", "content": "')
    for _ in range(9):
        reader.feed(b"x" * (1 << 20))
    reader.finish()
    assert reader.tokens is None
    assert reader.written > 2 << 20
