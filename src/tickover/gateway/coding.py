"""An answer that comes compressed although it was asked to be plain: read, so that what is in it can be seen."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from tickover.gateway.fields import Fields
from tickover.gateway.refusal import Refusal

_PIECE = 65_536
CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

"""Codings that can be read, with zlib's number for each."""


def coding(fields: Fields) -> str:
    """Return the coding of a body, empty for none; more than one is joined by commas."""
    return ",".join(each for each in fields.tokens("content-encoding") if each != "identity")


class Decoder:
    """Decodes one stream, a bounded piece at a time. Raises Refusal (502) for a coding or a body it cannot read."""

    def __init__(self, name: str) -> None:
        if name not in CODINGS:
            raise Refusal(502, "content_coding", f"the answer is coded as {name[:40]}, so nobody can see what is in it")
        self._window = CODINGS[name]
        self._zlib = zlib.decompressobj(self._window)
        self._inside = True
        """Whether more must come for the body to be whole."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes decode to, at most 64 KiB at once."""
        while data:
            try:
                out = self._zlib.decompress(data, _PIECE)
            except zlib.error as error:
                raise Refusal(502, "content_coding", "the answer is not coded as it says") from error
            if out:
                yield out
            self._inside = True
            if self._zlib.eof:
                self._inside = False
                data = self._zlib.unused_data  # another member may follow (RFC 1952 section 2.2)
                self._zlib = zlib.decompressobj(self._window)
            else:
                data = self._zlib.unconsumed_tail

    def finish(self) -> Iterator[bytes]:
        """Yield the rest. Raises Refusal if the end is missing."""
        if self._inside:
            if rest := self._zlib.flush():
                yield rest
            raise Refusal(502, "truncated", "the end of the coded answer is missing")
