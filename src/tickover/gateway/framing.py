"""Where a message's body ends, and its bytes in and out (RFC 9112 sections 6 and 7).

Two ways to read a length are two messages: whatever leaves room for that is refused, on both sides of the gateway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from tickover.gateway.fields import Fields
from tickover.gateway.refusal import Refusal

_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
LARGEST_CHUNK_LINE = 512


class Kind(StrEnum):
    """How a body ends: there is none, after so many bytes, by a last chunk, or with the connection."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_EOF = "until_eof"


@dataclass(frozen=True, slots=True)
class Framing:
    """A body's kind, and its length in bytes where that is known beforehand."""

    kind: Kind
    length: int = 0

    def lines(self) -> list[tuple[str, str]]:
        """Return the one header field that says so."""
        if self.kind is Kind.LENGTH:
            return [("content-length", str(self.length))]
        return [("transfer-encoding", "chunked")] if self.kind is Kind.CHUNKED else []


NO_BODY = Framing(Kind.NONE)
EMPTY = Framing(Kind.LENGTH, 0)
CHUNKED = Framing(Kind.CHUNKED)
UNTIL_EOF = Framing(Kind.UNTIL_EOF)


def declared(fields: Fields, version: tuple[int, int], status: int) -> Framing | None:
    """Read what the fields declare, None for nothing; `status` is what a refusal answers."""
    codings, lengths = fields.all("transfer-encoding"), fields.all("content-length")
    if codings and lengths:
        raise Refusal(status, "two_lengths", "Content-Length beside Transfer-Encoding")
    if codings:
        if version != (1, 1) or [coding.lower() for coding in codings] != ["chunked"]:
            raise Refusal(status, "transfer_encoding", "the only coding is one `chunked`, in HTTP/1.1")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1:
        raise Refusal(status, "two_lengths", "more than one Content-Length")
    if not _LENGTH.fullmatch(lengths[0]):
        raise Refusal(status, "content_length", f"{lengths[0][:40]!r} is no length")
    return Framing(Kind.LENGTH, int(lengths[0]))


def chunk_size(line: bytes, status: int) -> int:
    """Read the line before a chunk; its extensions are dropped."""
    match = _CHUNK_LINE.fullmatch(line)
    if not match:
        raise Refusal(status, "bad_chunk", "no chunk size")
    return int(match[1], 16)


class BodyWriter:
    """Writes a body as its framing says. More or fewer bytes than declared is a ValueError, never a shifted message."""

    def __init__(self, framing: Framing) -> None:
        self._kind = framing.kind
        self._left = framing.length

    def data(self, data: bytes) -> bytes:
        if self._kind is Kind.CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self._kind is not Kind.UNTIL_EOF:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("the body is longer than declared")
        return data

    def end(self) -> bytes:
        if self._left > 0:
            raise ValueError(f"the body is {self._left} bytes shorter than declared")
        return b"0\r\n\r\n" if self._kind is Kind.CHUNKED else b""
