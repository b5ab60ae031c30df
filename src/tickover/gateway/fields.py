"""Header fields: strict on the way in, hop-by-hop ones out, checked again on the way out (RFC 9110 section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tickover.gateway.refusal import Refusal

Field = tuple[str, str]

MOST_FIELDS = 200
HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
})  # fmt: skip
REMADE = frozenset({"host", "content-length", "expect"})
"""Fields that say again what the parsed message says: they are written from its parts."""
_NOT_FORWARDED = HOP_BY_HOP | REMADE
_GUARDED = _NOT_FORWARDED | {"authorization", "cookie", "x-api-key"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


class Fields:
    """Header fields in their order. Names keep their spelling and are compared without case."""

    __slots__ = ("_by_name", "_items")

    def __init__(self, items: Iterable[Field] = ()) -> None:
        self._items = tuple(items)
        self._by_name: dict[str, tuple[str, ...]] | None = None

    def __iter__(self) -> Iterator[Field]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: str) -> bool:
        return name in self._index()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Fields({[name for name, _ in self._items]})"  # values may be secrets

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of a lower-case name."""
        return self._index().get(name, ())

    def tokens(self, name: str) -> tuple[str, ...]:
        """Return the comma-separated parts of a field, in lower case."""
        if not (values := self.all(name)):
            return ()
        parts = (part.strip(" \t").lower() for value in values for part in value.split(","))
        return tuple(part for part in parts if part)

    def without(self, *names: str) -> Fields:
        """Return the fields but those of these lower-case names."""
        return self._but(frozenset(names))

    def having(self, name: str, value: str) -> Fields:
        """Return the fields with this one in the place of all of its name."""
        return Fields((*self.without(name.lower()), (name, value)))

    def end_to_end(self) -> Fields:
        """Return what is forwarded: no hop-by-hop field, none that `Connection` lists, none that is written anew."""
        return self._but(_NOT_FORWARDED.union(self.tokens("connection")))

    def _but(self, names: frozenset[str]) -> Fields:
        if names.isdisjoint(self._index()):
            return self
        return Fields([field for field in self._items if field[0].lower() not in names])

    def _index(self) -> dict[str, tuple[str, ...]]:
        """Return every value by lower-case name, made on first use: one head is asked for a dozen names."""
        if self._by_name is None:
            found: dict[str, tuple[str, ...]] = {}
            for name, value in self._items:
                lower = name.lower()
                found[lower] = (*found.get(lower, ()), value)
            self._by_name = found
        return self._by_name


def parse_line(line: str, status: int) -> Field:
    """Read one field line without its CRLF. Folded lines, a space before the colon and controls are refused."""
    name, colon, value = line.partition(":")
    if line[:1] in {" ", "\t"}:
        raise Refusal(status, "folded_header", "a header line begins with a space")
    if not colon or not is_token(name):
        raise Refusal(status, "bad_header", f"{line[:60]!r} is no header line")
    value = value.strip(" \t")
    if not _VALUE.fullmatch(value):
        raise Refusal(status, "bad_header", f"{name[:60]!r} has a control character in its value")
    if "_" in name and name.lower().replace("_", "-") in _GUARDED:
        raise Refusal(status, "look_alike_header", f"{name[:60]!r} is read as another header by some")
    return name, value


def write(first: str, fields: Iterable[Field]) -> bytes:
    """Write a head. Raises ValueError for a field that nobody could have parsed: it would change the message."""
    lines = [first]
    for name, value in fields:
        if not is_token(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name[:60]!r} cannot be written")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
