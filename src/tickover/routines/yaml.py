"""YAML 1.2 to plain data, with the place of every key. Meant for text that a stranger may have written.

The scanner and parser are ruamel.yaml's; resolving is ours, because YAML 1.2's core schema is all we accept:
`on`, `no` and `1:30` are text, `0o17` is 15, `0123` is 123. One thing is added: `400_000` is a number.
Anchors, aliases, tags, directives and merge keys are refused, so nothing can expand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tickover.core.errors import UsageError, Where

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

KeyPath = tuple[str | int, ...]
Data = dict[str, Any] | list[Any] | str | int | float | bool | None


class YamlError(UsageError):
    """The text is no YAML that we read."""


class Mark(NamedTuple):
    """A place in the file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, and where each key (or entry of a list) stands. `()` is the document itself."""

    data: Data
    marks: dict[KeyPath, Mark] = field(default_factory=dict)

    def nearest(self, path: KeyPath) -> Mark | None:
        """Find where `path` stands, or the innermost part of it that does."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.marks:
                return self.marks[path[:end]]
        return None


def decode(raw: bytes, file: str) -> str:
    """Decode UTF-8 of at most 256 KiB, with line feeds alone at line ends. Raises YamlError with the place."""
    if len(raw) > MAX_BYTES:
        raise YamlError("yaml.size", f"larger than {MAX_BYTES // 1024} KiB", where=Where(file))
    if raw.startswith(b"\xef\xbb\xbf"):
        raise YamlError(
            "yaml.bom",
            "the file begins with a byte order mark",
            hint="save as UTF-8 without it",
            where=Where(file, 1, 1),
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        where = Where(file, line, error.start - raw.rfind(b"\n", 0, error.start))
        raise YamlError("yaml.encoding", "not UTF-8", hint="save as UTF-8", where=where) from None
    if "\0" in text:
        before = text[: text.index("\0")]
        where = Where(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise YamlError("yaml.nul", "a NUL character", where=where)
    return text.replace("\r\n", "\n")


def parse(text: str, file: str, first_line: int = 1) -> Document:
    """Read one document. `first_line` is the line of `file` where `text` begins.

    Raises YamlError for everything that cannot be read; nothing else, whatever the text is.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise YamlError("yaml.size", f"larger than {MAX_BYTES // 1024} KiB", where=Where(file))
    reader = _Reader(file, first_line)
    try:
        return reader.read(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Where(file, mark.line + first_line, mark.column + 1) if mark else Where(file)
        said = _sentence(error.problem or error.context)
        message, hint = next((plain for words, plain in _PLAINER.items() if said.startswith(words)), (said, ""))
        raise YamlError("yaml.syntax", message, hint=hint, where=where) from None
    except YAMLError as error:
        raise YamlError("yaml.syntax", _sentence(getattr(error, "reason", None)), where=Where(file)) from None
    except _BUGS as error:
        raise YamlError("yaml.syntax", f"cannot be read ({type(error).__name__})", where=Where(file)) from None


# What ruamel.yaml's scanner raises on some broken texts instead of its own error.
_BUGS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, RecursionError,
    StopIteration, TypeError, ValueError, UnicodeError,
)  # fmt: skip


# The mistakes that people make most, in other words than the scanner's.
_PLAINER = {
    "found character '\\t'": ("a tab stands where a key or a value begins", "indent with spaces"),
    "expected <block end>": (
        "this line does not line up with those above",
        "the keys of one map begin in the same column",
    ),
    "mapping values are not allowed": ("a `:` where no key can stand", "put text with `: ` in quotes, or indent less"),
}


def _sentence(problem: object) -> str:
    return re.sub(r"\s+", " ", str(problem or "not valid YAML"))[:200]


_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class _Reader:
    def __init__(self, file: str, first_line: int) -> None:
        self.file = file
        self.first_line = first_line
        self.marks: dict[KeyPath, Mark] = {}

    def read(self, events: Iterator[Event]) -> Document:
        data: Data = None
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.refuse(event, "yaml.documents", "more than one document")
                if event.version or event.tags:
                    self.refuse(event, "yaml.directive", "a directive (%...) is not read")
            elif isinstance(event, NodeEvent):
                self.marks[()] = self.mark(event)
                data = self.node(event, events, ())
        return Document(data, self.marks)

    def node(self, event: Event, events: Iterator[Event], path: KeyPath) -> Data:
        if isinstance(event, AliasEvent):
            self.refuse(event, "yaml.alias", "an alias (*name) is not read")
        if getattr(event, "anchor", None):
            self.refuse(event, "yaml.anchor", "an anchor (&name) is not read")
        if getattr(event, "tag", None):
            self.refuse(event, "yaml.tag", "a tag (!name) is not read")
        if len(path) > MAX_DEPTH:
            self.refuse(event, "yaml.depth", f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, MappingStartEvent):
            return self.mapping(events, path)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(events, path)
        if isinstance(event, ScalarEvent):
            return self.scalar(event)
        return self.refuse(event, "yaml.syntax", "a value is missing")

    def mapping(self, events: Iterator[Event], path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self.key(event)
            if key in found:
                first = self.marks[(*path, key)].line
                self.refuse(event, "yaml.duplicate", f"`{key}` stands twice, first in line {first}")
            here = (*path, key)
            self.marks[here] = self.mark(event)
            found[key] = None
            found[key] = self.node(next(events), events, here)
        return found

    def key(self, event: Event) -> str:
        if not isinstance(event, ScalarEvent):
            self.refuse(event, "yaml.key", "a key is plain text")
        key = self.node(event, iter(()), ())
        if event.value == "<<":
            self.refuse(event, "yaml.merge", "a merge key (<<) is not read")
        if not isinstance(key, str):
            self.refuse(event, "yaml.key", f"the key `{event.value[:40]}` is not text", "put it in quotes")
        return key

    def sequence(self, events: Iterator[Event], path: KeyPath) -> list[Any]:
        found: list[Any] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            here = (*path, len(found))
            self.marks[here] = self.mark(event)
            found.append(self.node(event, events, here))
        return found

    def scalar(self, event: ScalarEvent) -> Data:
        text: str = event.value
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            self.refuse(event, "yaml.character", "a NUL or a half of a surrogate pair")
        if event.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text) or _BASED.fullmatch(text):
            return self.whole(event, text)
        if _FLOAT.fullmatch(text):
            number = float(text) if len(text) < 400 else math.inf
            if math.isfinite(number):
                return number
            self.refuse(event, "yaml.number", "a number too large")
        if _NO_NUMBER.fullmatch(text):
            self.refuse(event, "yaml.number", "no number that can be counted with")
        return text

    def whole(self, event: ScalarEvent, text: str) -> int:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number = int(text[2:] if base != 10 else text, base) if len(text) < 100 else 1 << 64
        if abs(number) >= 1 << 63:
            self.refuse(event, "yaml.number", "a number too large")
        return number

    def mark(self, event: Event) -> Mark:
        return Mark(event.start_mark.line + self.first_line, event.start_mark.column + 1)

    def refuse(self, event: Event, code: str, message: str, hint: str = "") -> NoReturn:
        line, column = self.mark(event)
        raise YamlError(code, message, hint=hint, where=Where(self.file, line, column))
