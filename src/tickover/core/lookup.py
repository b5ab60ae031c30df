"""Paths into JSON: `a.b[0]`, `$.a.b`, `labels[].name` (each element), `["a key"]`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

KEY = r"""[^.\[\]{}"'\s]+"""
BRACKET = r"""\[(?:[0-9]{0,6}|"[^"\]]*"|'[^'\]]*')\]"""
PATH_PATTERN = rf"{KEY}(?:\.{KEY}|{BRACKET})*"
ROOTED_PATTERN = rf"\$(?:\.{KEY}|{BRACKET})*"
_PART = re.compile(rf"\.?(?P<key>{KEY})|(?P<bracket>{BRACKET})")


class Missing(Enum):
    """What a path gives that leads nowhere. It is not null."""

    MISSING = "missing"

    def __str__(self) -> str:
        return "nothing"


MISSING: Final = Missing.MISSING


class _Each(Enum):
    EACH = "[]"


class PathError(ValueError):
    """The text is no path."""


@dataclass(frozen=True, slots=True)
class Aliased:
    """A document with short names besides: a path of one name (`label`, not `$.label`) is looked up there first."""

    document: object
    names: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path. `get` never raises: a path that leads nowhere gives MISSING."""

    text: str
    parts: tuple[str | int | _Each, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        if len(text) > 500 or not re.fullmatch(PATH_PATTERN, text):
            raise PathError(f"`{text[:80]}` is no path; write a.b, $.a.b, a[0] or a[].b")
        parts = [_part(found) for found in _PART.finditer(text)]
        return cls(text, tuple(parts[1:] if parts[0] == "$" else parts))

    def get(self, document: object) -> Any:
        if isinstance(document, Aliased):
            if self.text in document.names:
                return document.names[self.text]
            document = document.document
        return _walk(document, self.parts)

    def __str__(self) -> str:
        return self.text


def _part(found: re.Match[str]) -> str | int | _Each:
    if found["key"] is not None:
        return found["key"]
    inside = found["bracket"][1:-1]
    if not inside:
        return _Each.EACH
    return int(inside) if inside.isdecimal() else inside[1:-1]


def _walk(value: object, parts: Sequence[str | int | _Each]) -> Any:
    for index, part in enumerate(parts):
        if isinstance(part, str):
            if not isinstance(value, Mapping) or part not in value:
                return MISSING
            value = value[part]
        elif not isinstance(value, list | tuple):
            return MISSING
        elif isinstance(part, int):
            if part >= len(value):
                return MISSING
            value = value[part]
        else:
            rest = parts[index + 1 :]
            found = [_walk(element, rest) for element in value]
            return [each for each in found if each is not MISSING]
    return value


def lookup(document: object, path: str) -> Any:
    """Return what stands at `path`, or MISSING. Raises PathError for text that is no path."""
    return JsonPath.parse(path).get(document)
