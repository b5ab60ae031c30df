"""The tape of one session: each exchange that the gateway could read, as one line of a cassette (core/cassette.py).

What is kept is the request before a credential was put in, and the answer as the run was shown it, each secret of the
run blotted out once more. Cookies that were handed out are not kept: they stand for a credential.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from tickover.core.cassette import MOST_BODY, MOST_BYTES, MOST_TAKES, Take, write_line
from tickover.gateway.asked import Asked
from tickover.gateway.calls import Tally
from tickover.gateway.fields import Fields

_NOT_KEPT = ("set-cookie", "set-cookie2")
"""Fields of an answer that hand out what stands for a credential."""


class Keeping(Tally):
    """A tally that keeps what it counts, up to `most` bytes; of more it keeps nothing."""

    __slots__ = ("_most", "kept")

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self.kept = bytearray()

    def add(self, data: bytes) -> None:
        super().add(data)
        if self.size <= self._most:
            self.kept += data
        else:
            self.kept.clear()

    @property
    def whole(self) -> bool:
        return self.size <= self._most


@dataclass(slots=True)
class Recording:
    """One exchange while it is under way. `said` is the body as the run sent it, where another one leaves."""

    asked: Asked
    said: bytes | None
    request: Keeping = field(default_factory=lambda: Keeping(MOST_BODY))
    response: Keeping = field(default_factory=lambda: Keeping(MOST_BODY))
    fields: Fields = field(default_factory=Fields)


class Tape:
    """Writes takes to a file. `blot` takes every secret of the run out of bytes.

    What is full stays small: a take that does not fit is written without its bodies and fields, and of those past the
    last one nothing is; the last line says so.
    """

    def __init__(self, descriptor: int, *, most: int = MOST_BYTES, takes: int = MOST_TAKES) -> None:
        self._descriptor = descriptor
        self._left = most
        self._bare_left = most // 4
        self._takes = takes
        self._over = False

    def end(
        self, recording: Recording, blot: Callable[[bytes], bytes], *, status: int | None, whole: bool, why: str
    ) -> None:
        """Write one down. Raises OSError."""
        if self._over:
            return
        asked, request, response = recording.asked, recording.request, recording.response
        sent = bytes(request.kept) if recording.said is None else recording.said
        left_out = ""
        if asked.upgrade:
            left_out = "what passes on an upgraded connection is not recorded"
        elif not (request.whole and response.whole and len(sent) <= MOST_BODY):
            left_out = f"it was longer than the {MOST_BODY >> 20} MiB that are recorded"
        if left_out:
            sent = answer = b""
        else:
            answer = bytes(response.kept)
        sent = blot(sent)
        take = Take(
            method=asked.method, scheme=asked.scheme, host=asked.host, port=asked.port, path=asked.path,
            query=asked.query, body=sent, body_sha256=_digest(sent, request, left_out), status=status,
            fields=tuple(
                (name, blot(value.encode("latin-1")).decode("latin-1"))
                for name, value in recording.fields.without(*_NOT_KEPT)
            ),
            answer=blot(answer), whole=whole, why=blot(why.encode()).decode("utf-8", "replace"), left_out=left_out,
        )  # fmt: skip
        self._write(take)

    def _write(self, take: Take) -> None:
        line = write_line(take)
        if len(line) <= self._left:
            self._left -= len(line)
        else:
            bare = take.model_copy(
                update={"body": b"", "answer": b"", "fields": (), "left_out": "the recording was full"}
            )
            line = write_line(bare)
            self._bare_left -= len(line)
        self._takes -= 1
        if self._takes <= 0 or self._bare_left <= 0:
            self._over = True
            end = "the recording was full: this, and what came after it, is not in it"
            line = write_line(Take(method="", scheme="", host="", port=0, path="", left_out=end))
        _write(self._descriptor, line)

    def close(self) -> None:
        os.close(self._descriptor)


def _digest(sent: bytes, request: Tally, left_out: str) -> str:
    tally = Tally()
    tally.add(sent)
    return (request.sha256 if left_out else None) or tally.sha256 or ""


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
