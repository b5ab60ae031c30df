"""Reading an agent that writes one JSON object per line: bounded, never raising, never believing.

`JsonLines` finds the lines and keeps everything else as raw output. What an adapter makes of a line counts against
the same limit, so that a flood of well-formed lines fills no journal.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import JsonValue

from tickover.agents.base import AgentFact, Stream
from tickover.agents.output import PIECE, LineSplitter, OutputLog, writable
from tickover.core.document import DocumentError, read_json
from tickover.core.event import AgentText, AgentToolCall, AgentToolResult

_LEAST = 256
"""Bytes that a fact counts at least: its envelope is kept, too."""

Take = Callable[[dict[str, Any]], list[AgentFact] | None]


class JsonLines:
    """Hands each JSON object on stdout that begins with `prefix` to `take`; what it answers None to is raw output."""

    def __init__(self, prefix: bytes, take: Take, output_limit: int) -> None:
        self.log = OutputLog(output_limit)
        self._take = take
        self._splitter = LineSplitter(prefix)
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}

    def feed(self, stream: Stream, data: bytes) -> list[AgentFact]:
        if stream == "stderr":
            return self._raw(stream, data)
        return [fact for piece, whole in self._splitter.feed(data) for fact in self._line(piece, whole)]

    def finish(self) -> list[AgentFact]:
        """Return what is left of both streams. A line without an end is no line."""
        facts = [fact for piece, _ in self._splitter.finish() for fact in self._raw("stdout", piece)]
        streams: tuple[Stream, Stream] = ("stdout", "stderr")
        for stream in streams:
            facts += self.log.add(stream, self._decoders[stream].decode(b"", final=True))
        return [*facts, *self.log.close()]

    def _raw(self, stream: Stream, data: bytes) -> list[AgentFact]:
        return self.log.add(stream, self._decoders[stream].decode(data))

    def _line(self, line: bytes, whole: bool) -> list[AgentFact]:
        message = _message(line) if whole else None
        facts = None if message is None else self._take(message)
        return self._raw("stdout", line) if facts is None else self._kept(facts)

    def _kept(self, facts: Iterable[AgentFact]) -> list[AgentFact]:
        kept = self.log.flush()
        for fact in facts:
            size = max(_LEAST, _size(fact))
            kept += [fact] if self.log.takes(size) else self.log.drop("stdout", size)
        return kept


def _size(fact: AgentFact) -> int:
    match fact:
        case AgentText(text=text) | AgentToolResult(text=text):
            return len(json.dumps(text))
        case AgentToolCall(arguments=arguments):
            return len(json.dumps(arguments))
        case _:
            return _LEAST


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = read_json(line)
    except DocumentError:
        return None
    return message if isinstance(message, dict) else None


def short(value: object, most: int = 200) -> str:
    """Return text from an agent, cut to `most` characters; anything else is ""."""
    return writable(value[:most]) if isinstance(value, str) else ""


def count(value: object) -> int:
    """Return a count from an agent; what is none, or no sane one, is 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def maps(value: object) -> list[dict[str, Any]]:
    """Return the maps of a list from an agent; anything else is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def names(value: object, most: int = 500) -> tuple[str, ...]:
    """Return the texts of a list from an agent, each cut, at most `most` of them."""
    return tuple(short(each) for each in value[:most] if isinstance(each, str)) if isinstance(value, list) else ()


def said(text: object) -> list[AgentFact]:
    """Return a text of the agent in pieces as a journal keeps them."""
    words = writable(text) if isinstance(text, str) else ""
    return [AgentText(text=words[start : start + PIECE]) for start in range(0, len(words), PIECE)]


def called(name: object, tool: object, arguments: object) -> AgentToolCall:
    """Return a tool call; arguments that are longer than a piece are kept as the beginning of their JSON text."""
    text = json.dumps(arguments)
    kept: JsonValue = f"{text[:PIECE]}… [cut]" if len(text) > PIECE else _clean(json.loads(text))
    return AgentToolCall(id=short(name, 128), tool=short(tool, 128), arguments=kept)


def answered(name: object, text: str, *, ok: bool) -> AgentToolResult:
    """Return a tool's result; a text longer than a piece is cut."""
    kept = writable(text)
    return AgentToolResult(id=short(name, 128), ok=ok, text=kept if len(kept) <= PIECE else f"{kept[:PIECE]}… [cut]")


def _clean(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {writable(key): _clean(each) for key, each in value.items()}
    return value
