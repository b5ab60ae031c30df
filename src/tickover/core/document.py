"""JSON from outside, read so that nothing in it can hurt: whatever it nests, counts or pretends is one error.

And what of it is kept, written so that nothing can fail on it later.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pydantic import JsonValue

MAX_DEPTH = 100


class DocumentError(ValueError):
    """The text is no JSON, or none that a program should hold."""


def read_json(text: bytes | str, *, unique: bool = False) -> JsonValue:
    """Read one JSON document. Depth is at most 100, numbers are finite and short, text is UTF-8.

    With `unique` a key that stands twice in a map is an error, also where only its case differs: readers disagree
    about which one counts.
    """
    pairs = _unique if unique else None
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value: JsonValue = json.loads(decoded, parse_constant=_no_constant, object_pairs_hook=pairs)
    except RecursionError:
        raise DocumentError("it nests too deeply") from None
    except UnicodeDecodeError:
        raise DocumentError("it is not UTF-8") from None
    except DocumentError:
        raise
    except json.JSONDecodeError as error:
        raise DocumentError(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError:
        raise DocumentError("a number in it is too long") from None
    _bound(value)
    return value


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    if len({key.casefold() for key, _ in pairs}) != len(pairs):
        raise DocumentError("a key stands twice in a map")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"{name} is no JSON")


def _bound(value: JsonValue) -> None:
    level: list[JsonValue] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
        if float("inf") in [abs(each) for each in level if isinstance(each, float)]:
            raise DocumentError("a number in it is too large")
    raise DocumentError("it nests too deeply")


def encodable(value: Any) -> Any:
    """Return a JSON value that UTF-8 can write: half of a surrogate pair in it becomes `?`."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [encodable(item) for item in value]
    return value
