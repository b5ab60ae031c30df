"""JSON-RPC 2.0 from outside, read in one way only: what is judged is what every later reader reads.

A message that two readers could take for two different ones is refused: a key twice or under another case, a batch,
half a surrogate pair, a number that some readers round, another encoding than UTF-8. What is read is written anew.
Source: https://www.jsonrpc.org/specification, and the messages of MCP, whose `params` are always a map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from tickover.core.document import DocumentError, read_json

LARGEST: Final = 1 << 20
"""Bytes of one message of an agent."""
LARGEST_NUMBER: Final = (1 << 53) - 1
"""Beyond it a reader that knows only doubles reads another number (RFC 8259 section 6)."""

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
DENIED: Final = -32001
"""Ours: what was asked is not allowed."""

_METHOD = re.compile(r"[A-Za-z0-9_$/.-]{1,100}")
_HALF = re.compile("[\ud800-\udfff]")
_BOM: Final = "\ufeff"
Id = str | int


class RpcError(Exception):
    """What a sender is answered: a code of the standard, and a stable reason. The text is for people."""

    def __init__(self, code: int, reason: str, says: str, id_: Id | None = None) -> None:
        super().__init__(says)
        self.code, self.reason, self.says, self.id = code, reason, says, id_

    def answer(self) -> dict[str, JsonValue]:
        """Return the message that says so."""
        error: dict[str, JsonValue] = {"code": self.code, "message": self.says, "data": {"reason": self.reason}}
        return {"jsonrpc": "2.0", "id": self.id, "error": error}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, or without an `id` a notification."""

    method: str
    params: dict[str, JsonValue]
    id: Id | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: a result, or an error."""

    id: Id
    result: JsonValue = None
    error: JsonValue = None


def read_message(data: bytes) -> Asked | Answered:
    """Read one message. Raises RpcError."""
    if len(data) > LARGEST:
        raise RpcError(INVALID_REQUEST, "mcp_too_large", f"a message has at most {LARGEST} bytes")
    try:
        text = data.decode()
        if text.startswith(_BOM):
            raise DocumentError("it begins with a byte order mark")
        value = read_json(text, unique=True)
    except UnicodeDecodeError:
        raise RpcError(PARSE_ERROR, "mcp_malformed", "the message is not UTF-8") from None
    except DocumentError as error:
        says = f"the message is no JSON that is read in one way only: {error}"
        raise RpcError(PARSE_ERROR, "mcp_malformed", says) from None
    if isinstance(value, list):
        raise RpcError(INVALID_REQUEST, "mcp_batch", "messages come one by one, not in a batch")
    if not isinstance(value, dict):
        raise RpcError(INVALID_REQUEST, "mcp_malformed", "a message is a map")
    id_ = _id(value)
    for each in _leaves(value):
        if isinstance(each, str) and _HALF.search(each):
            raise RpcError(PARSE_ERROR, "mcp_malformed", "a text in it holds half a surrogate pair", id_)
        if isinstance(each, int | float) and abs(each) > LARGEST_NUMBER:
            raise RpcError(PARSE_ERROR, "mcp_malformed", "a number in it is larger than all readers can tell", id_)
    return _typed(value, id_)


def _typed(value: dict[str, JsonValue], id_: Id | None) -> Asked | Answered:
    if value.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "mcp_malformed", 'a message says `"jsonrpc": "2.0"`', id_)
    keys = set(value) - {"jsonrpc", "id"}
    if "method" in keys:
        method, params = value["method"], value.get("params", {})
        if keys - {"method", "params"} or not isinstance(method, str) or not _METHOD.fullmatch(method):
            raise RpcError(INVALID_REQUEST, "mcp_malformed", "a request has `method`, `params` and `id`, no more", id_)
        if not isinstance(params, dict):
            raise RpcError(INVALID_PARAMS, "mcp_malformed", "`params` is a map", id_)
        return Asked(method, params, id_)
    if keys not in ({"result"}, {"error"}) or id_ is None:
        raise RpcError(INVALID_REQUEST, "mcp_malformed", "this is neither a request nor an answer", id_)
    return Answered(id_, value.get("result"), value.get("error"))


def _id(value: dict[str, JsonValue]) -> Id | None:
    """Return the `id`. None that is written out is no id of a request, and a float is read in two ways."""
    if "id" not in value:
        return None
    found = value["id"]
    if isinstance(found, str) and len(found) <= 256 and not _HALF.search(found):
        return found
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) <= LARGEST_NUMBER:
        return found
    raise RpcError(INVALID_REQUEST, "mcp_malformed", "an `id` is a whole number or a short text")


def _leaves(value: Any) -> Iterator[str | int | float]:
    """Yield every text and number, keys too. The depth was bounded when it was read."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str | int | float):
            yield each
