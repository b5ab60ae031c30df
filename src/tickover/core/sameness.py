"""When two requests say the same: what differs from run to run for no reason of the agent's is taken out first.

Found by comparing runs of real agents (Claude Code 2.1, Codex 0.169): ids that a server or a client makes up, moments,
durations, hashes of commits made meanwhile, temporary paths, and what only steers a cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from pydantic import JsonValue

from tickover.core.document import DocumentError, read_json
from tickover.core.text import one_line

_DROPPED: Final = frozenset(
    {"cache_control", "metadata", "prompt_cache_key", "client_metadata", "user", "safety_identifier"}
)
"""Keys of a request to a model that change nothing of what it is asked."""
_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_VARIES: Final = (
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b(?:toolu|call|msg|req|resp|fc|rs|chatcmpl|gen|item|thread|turn)[_-][A-Za-z0-9_-]{6,}"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(rf"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?{_MONTH} +\d{{1,2}}\b(?:,? \d{{4}})?"), "<time>"),
    (re.compile(rf"\b\d{{1,2}} {_MONTH} \d{{4}}\b"), "<time>"),
    (re.compile(r"\b\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?\b"), "<time>"),
    (re.compile(r"(?<![\d.])1[6-9]\d{8}(?:\d{3}|\.\d+)?(?![\d.])"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s|seconds?|secs?)\b"), "<span>"),
    (re.compile(r"/tmp/[A-Za-z0-9._-]+"), "<tmp>"),  # noqa: S108 - a pattern
    (re.compile(r"\bcch=[0-9a-f]+"), "cch=<id>"),
    (re.compile(r"\bChunk ID: [0-9a-f]+"), "Chunk ID: <id>"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b"), "<hex>"),
)
_SHOWN: Final = 80
"""Characters of each side that a difference shows."""
_BEFORE: Final = 20


class Difference(NamedTuple):
    """Where two documents differ first: a path into them, and what stands there in each; hostile text, cut short."""

    at: str
    then: str
    now: str


def settled(text: str) -> str:
    """Return a text without what varies from run to run."""
    for pattern, mark in _VARIES:
        text = pattern.sub(mark, text)
    return text


def settled_json(value: JsonValue) -> JsonValue:
    """Return a request's JSON without what varies from run to run."""
    if isinstance(value, str):
        return settled(value)
    if isinstance(value, list):
        return [settled_json(each) for each in value]
    if isinstance(value, dict):
        return {key: settled_json(each) for key, each in value.items() if key not in _DROPPED}
    return value


def document(body: bytes) -> JsonValue:
    """Return what a body says: its JSON, else its text."""
    try:
        return read_json(body)
    except DocumentError:
        return body.decode("utf-8", "backslashreplace")


def difference(then: bytes, now: bytes) -> Difference | None:
    """Return where two bodies differ first, or None if they say the same."""
    if then == now:
        return None
    one, other = settled_json(document(then)), settled_json(document(now))
    return next(_differences(one, other, ""), None)


def _differences(one: JsonValue, other: JsonValue, at: str) -> Iterator[Difference]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            place = f"{at}.{one_line(key, 40)}".lstrip(".")
            if key in one and key in other:
                yield from _differences(one[key], other[key], place)
            else:
                yield Difference(place, *(_shown(side[key]) if key in side else "" for side in (one, other)))
    elif isinstance(one, list) and isinstance(other, list):
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from _differences(left, right, f"{at}[{index}]")
        both = min(len(one), len(other))
        if len(one) != len(other):
            yield Difference(f"{at}[{both}]", *(_shown(side[both]) if side[both:] else "" for side in (one, other)))
    elif isinstance(one, str) and isinstance(other, str):
        if one != other:
            pairs = zip(one, other, strict=False)
            first = next((i for i, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))
            start = max(first - _BEFORE, 0)
            yield Difference(at, _shown(one[start:]), _shown(other[start:]))
    elif one != other or isinstance(one, bool) is not isinstance(other, bool):
        yield Difference(at, _shown(one), _shown(other))


def _shown(value: JsonValue) -> str:
    return one_line(str(value)[: 4 * _SHOWN], _SHOWN)
