"""The host's side of the frames that come out of a sandbox: an incremental parser that believes nothing."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from tickover.core.errors import TickoverError
from tickover.workspace.inside.frames import MAGIC, MAX_HEADER, FrameError, check_path, encode_header

__all__ = ["MAGIC", "MAX_HEADER", "Begin", "Content", "End", "FrameLimits", "FrameParser", "FramesBroken", "Refusal",
           "encode_header"]  # fmt: skip

_BIG: Final = 1 << 62


class FramesBroken(TickoverError):  # noqa: N818 - the word users see
    """A sandbox answered with what is no stream of frames, or with more than was asked."""

    def __init__(self, what: str) -> None:
        super().__init__("artifacts.broken", f"what came out of the sandbox cannot be read: {what}")


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What one stream may hold. Bytes and counts."""

    file_bytes: int
    total_bytes: int
    files: int
    refusals: int


@dataclass(frozen=True, slots=True)
class Begin:
    """A file begins; `size` bytes of Content follow."""

    path: str
    size: int
    executable: bool
    mtime_ns: int
    written: bool


@dataclass(frozen=True, slots=True)
class Content:
    """The next bytes of the file; `last` with the one that completes it (which is empty for an empty file)."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A path that is not copied."""

    path: str
    reason: str
    size: int


@dataclass(frozen=True, slots=True)
class End:
    """The stream is complete; nothing may follow."""

    complete: bool
    refused_more: int


Frame = Begin | Content | Refusal | End


class FrameParser:
    """Feed it bytes as they come, cut anywhere. Memory: what was fed, plus one header."""

    def __init__(self, limits: FrameLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._state: Literal["magic", "length", "header", "content", "end"] = "magic"
        self._wanted = len(MAGIC)
        self._left = 0
        self._files = self._bytes = self._refusals = 0
        self._paths: set[str] = set()

    @property
    def finished(self) -> bool:
        """Whether the end was seen."""
        return self._state == "end"

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield what `data` completes. Raises FramesBroken; then the parser is of no more use."""
        self._buffer += data
        while True:
            if self._state == "content":
                if not self._buffer:
                    return
                piece = bytes(self._buffer[: self._left])
                del self._buffer[: len(piece)]
                self._left -= len(piece)
                if not self._left:
                    self._expect("length", 4)
                yield Content(piece, last=not self._left)
                continue
            if self._state == "end":
                if self._buffer:
                    raise FramesBroken("something follows the end")
                return
            if len(self._buffer) < self._wanted:
                return
            piece = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            yield from self._take(piece)

    def _expect(self, state: Literal["length", "header"], size: int) -> None:
        self._state = state
        self._wanted = size

    def _take(self, piece: bytes) -> Iterator[Frame]:
        if self._state == "magic":
            if piece != MAGIC:
                raise FramesBroken("it does not begin as one")
            self._expect("length", 4)
        elif self._state == "length":
            (length,) = struct.unpack(">I", piece)
            if not 2 <= length <= MAX_HEADER:
                raise FramesBroken(f"a header of {length} bytes")
            self._expect("header", length)
        else:
            yield from self._header(piece)

    def _header(self, piece: bytes) -> Iterator[Frame]:
        try:
            header = json.loads(piece)
        except (ValueError, RecursionError) as error:
            raise FramesBroken("a header is no JSON") from error
        kind = header.get("type") if isinstance(header, dict) else None
        if kind == "file":
            begin = self._file(header)
            yield begin
            if begin.size:
                self._state = "content"
                self._left = begin.size
            else:
                self._expect("length", 4)
                yield Content(b"", last=True)
        elif kind == "refused":
            self._refusals += 1
            if self._refusals > self._limits.refusals:
                raise FramesBroken("more refusals than asked")
            self._expect("length", 4)
            yield Refusal(_text(header, "path"), _text(header, "reason"), _number(header, "size", _BIG))
        elif kind == "end":
            self._state = "end"
            if _number(header, "files", _BIG) != self._files or _number(header, "bytes", _BIG) != self._bytes:
                raise FramesBroken("its end tells of other files")
            yield End(_flag(header, "complete"), _number(header, "refused_more", _BIG))
        else:
            raise FramesBroken("a header of no known type")

    def _file(self, header: dict[str, Any]) -> Begin:
        try:
            path = check_path(header.get("path"))
        except FrameError as error:
            raise FramesBroken(str(error)) from error
        size = _number(header, "size", self._limits.file_bytes)
        self._files += 1
        self._bytes += size
        if self._files > self._limits.files or self._bytes > self._limits.total_bytes:
            raise FramesBroken("more than asked")
        if path in self._paths:
            raise FramesBroken("a path comes twice")
        self._paths.add(path)
        mtime = _number(header, "mtime_ns", _BIG, -_BIG) if "mtime_ns" in header else 0
        written = _flag(header, "written") if "written" in header else True
        return Begin(path, size, _flag(header, "executable"), mtime, written)


def _text(header: dict[str, Any], key: str) -> str:
    value = header.get(key)
    if not isinstance(value, str) or len(value) > 16 << 10:
        raise FramesBroken(f"{key} is no short text")
    return value


def _number(header: dict[str, Any], key: str, most: int, least: int = 0) -> int:
    value = header.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise FramesBroken(f"{key} is no number in its range")
    return value


def _flag(header: dict[str, Any], key: str) -> bool:
    value = header.get(key)
    if not isinstance(value, bool):
        raise FramesBroken(f"{key} is not true or false")
    return value
