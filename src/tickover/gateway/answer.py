"""An upstream's answer on its way to the client: its framing, secrets blotted out, fields kept for the receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tickover.core.document import DocumentError, read_json
from tickover.core.lookup import JsonPath
from tickover.core.receipt import Chosen, choose
from tickover.gateway.coding import CODINGS, Decoder, coding
from tickover.gateway.fields import Fields
from tickover.gateway.framing import CHUNKED, UNTIL_EOF, BodyWriter, Kind
from tickover.gateway.guard import Guard
from tickover.gateway.http1 import Response, response_head
from tickover.gateway.meter import MeteredCall
from tickover.gateway.refusal import Refusal
from tickover.gateway.scrub import Scrubber

MOST_KEPT = 1 << 20
"""Bytes of an answer that are read for its receipt."""


class Answer:
    """One answer, rewritten. `paths` are what its receipt keeps, if it is JSON; `metered` reads what a model took."""

    def __init__(
        self,
        response: Response,
        host: str,
        guard: Guard,
        paths: Sequence[JsonPath],
        metered: MeteredCall | None = None,
    ) -> None:
        self._response = response
        self._guard = guard
        self._scrubber = guard.scrubber(host)
        self._derives = bool(guard.secrets(host))
        self._paths = paths
        bare = response.framing.kind is Kind.NONE
        self._kept: bytearray | None = bytearray() if paths and not bare and _may_be_json(response.fields) else None
        self._readable = True
        name = "" if bare else coding(response.fields)
        self._decoder: Decoder | None = None
        self._metered = metered
        if name and (self._scrubber or ((self._kept is not None or metered) and name in CODINGS)):
            self._decoder = Decoder(name)
        elif name:
            self._readable = False

    def head(self, version: tuple[int, int], *, keep_alive: bool) -> tuple[bytes, BodyWriter, bool]:
        """Return the head for a client of this version, what writes the body, and whether the connection stays."""
        fields, framing = self.fields(), self._response.framing
        if self._decoder and framing.kind is Kind.LENGTH:
            framing = CHUNKED
        if framing.kind is Kind.UNTIL_EOF:
            framing = CHUNKED
        if framing.kind is Kind.CHUNKED and version == (1, 0):
            framing = UNTIL_EOF
        keep_alive = keep_alive and framing.kind is not Kind.UNTIL_EOF
        upgrade = self._response.upgrade
        try:
            head = response_head(self._response.status, fields, framing, keep_alive=keep_alive, upgrade=upgrade)
        except ValueError as error:  # what a secret was blotted out of is no name any more
            raise Refusal(502, "unwritable", "the answer cannot be written anew") from error
        return head, BodyWriter(framing), keep_alive

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what may pass of the next bytes of the body."""
        for piece in self._decoder.feed(data) if self._decoder else (data,):
            yield self._seen(self._scrubber.feed(piece) if self._scrubber else piece)

    def finish(self) -> Iterator[bytes]:
        """Yield what was held back."""
        if self._decoder:
            for piece in self._decoder.finish():
                yield self._seen(self._scrubber.feed(piece) if self._scrubber else piece)
        if self._scrubber:
            yield self._seen(self._scrubber.finish())

    def chosen(self, *, whole: bool) -> Chosen | None:
        """Return what a receipt keeps of the body."""
        if self._kept is None:
            return None
        if not whole or not self._readable or len(self._kept) > MOST_KEPT:
            return Chosen(complete=False)
        body = bytes(self._kept)
        try:
            return choose(read_json(body, unique=True), self._paths, self._guard.redact)
        except DocumentError:
            return Chosen(complete=False) if _is_json(body) else None

    def fields(self) -> Fields:
        """Return the fields that the client is shown."""
        fields = self._response.fields.without("x-tickover-deny")  # that one is ours
        if self._decoder:
            fields = fields.without("content-encoding", "content-md5", "digest", "content-digest", "repr-digest")
        if not self._scrubber:
            return fields
        if self._derives:
            fields = Fields((name, value) for name, value in fields if self._guard.keeps(name))
        every = "\n".join(part for field in fields for part in field).encode("latin-1")
        if self._scrubber.whole(every) == every:  # the usual case, at once
            return fields
        blot = _blotter(self._scrubber)
        return Fields((blot(name), blot(value)) for name, value in fields)

    def _seen(self, data: bytes) -> bytes:
        if self._metered and self._readable:
            self._metered.feed(data)
        elif self._metered:
            self._metered.skip(len(data))
        if self._kept is not None and len(self._kept) <= MOST_KEPT:
            self._kept += data[: MOST_KEPT + 1 - len(self._kept)]
        return data


def _blotter(scrubber: Scrubber) -> Callable[[str], str]:
    return lambda text: scrubber.whole(text.encode("latin-1")).decode("latin-1")


def _may_be_json(fields: Fields) -> bool:
    kind = ",".join(fields.all("content-type")).lower()
    return not kind or "json" in kind or kind.startswith(("text/plain", "text/javascript"))


def _is_json(body: bytes) -> bool:
    try:
        read_json(body)
    except DocumentError:
        return False
    return True
