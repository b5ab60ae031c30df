"""How an event becomes text and what may not: the same for every store, so the fake refuses what SQLite refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from tickover.store.errors import EventRefusedError

MAX_EVENT_BYTES: Final = 1 << 20
"""Of one event as JSON, where a character takes up to 12. Larger bodies go to a blob, the event carries the digest."""

MAX_DEPTH: Final = 64
"""Nested lists and objects. Reading a journal must never meet the interpreter's recursion limit."""

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


def encode_event(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return its type and the rest as JSON text. ASCII only: hostile NULs and lone surrogates survive as escapes."""
    kind = event.get("type")
    if not isinstance(kind, str) or not _TYPE.match(kind):
        raise EventRefusedError(f"its type is {str(kind)[:80]!r}")
    return kind, encode_data({key: value for key, value in event.items() if key != "type"})


def encode_data(data: Mapping[str, Any]) -> str:
    """Write an event's data, within the size that an event may have."""
    text = encode_json(data)
    if len(text) > MAX_EVENT_BYTES:
        raise EventRefusedError(f"{len(text)} bytes of JSON, {MAX_EVENT_BYTES} are allowed")
    return text


def encode_json(value: Mapping[str, Any]) -> str:
    """Write the value as JSON text, not nested too deeply; floats that JSON does not know are refused."""
    try:
        text = json.dumps(dict(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise EventRefusedError(str(error)) from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise EventRefusedError(f"nested deeper than {MAX_DEPTH}")
    return text


def decode_json(text: str) -> dict[str, Any]:
    """Read what `encode_json` wrote."""
    value: dict[str, Any] = json.loads(text)
    return value


def _depth(value: Any) -> int:
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, depth = todo.pop()
        if isinstance(item, Mapping):
            children = list(item.values())
        elif isinstance(item, list | tuple):
            children = list(item)
        else:
            continue
        deepest = max(deepest, depth)
        todo.extend((child, depth + 1) for child in children)
    return deepest
