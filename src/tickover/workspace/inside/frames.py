"""The one format in which files come out of a sandbox and go into one.

    MAGIC, then frames: length of a header (4 bytes, big endian), the header (JSON), `size` bytes of content.
    {"type": "file", "path", "size", "executable", ...}   {"type": "refused", "path", "reason"}
    {"type": "end", ...}   always the last; a stream without it is no stream

Paths are text; bytes that are no UTF-8 are written as lone surrogates (PEP 383), escaped in the JSON.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO, Dict, Iterator, Tuple  # noqa: UP035 - Python 3.8 runs this too

MAGIC = b"tickover frames 1\n"
MAX_HEADER = 64 << 10
PIECE = 1 << 20


class FrameError(ValueError):
    """The stream is not in the format."""


def encode_header(header: Dict[str, Any]) -> bytes:  # noqa: UP006
    """Return a frame without its content."""
    text = json.dumps(header, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii")
    return struct.pack(">I", len(text)) + text


def check_path(path: Any) -> str:
    """Return a path that stays below the folder it is meant for. Raises FrameError."""
    if not isinstance(path, str) or not path:
        raise FrameError("a path is no text")
    try:
        size = len(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as error:
        raise FrameError("a path cannot be a file name") from error
    parts = path.split("/")
    if size > 4096 or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise FrameError("a path is absolute, too long, or leads elsewhere")
    return path


def read_frames(source: BinaryIO) -> Iterator[Tuple[Dict[str, Any], Iterator[bytes]]]:  # noqa: UP006
    """Yield headers, each with an iterator over its content, which must be used up first. Raises FrameError."""
    if source.read(len(MAGIC)) != MAGIC:
        raise FrameError("not a stream of frames")
    while True:
        (length,) = struct.unpack(">I", _exactly(source, 4))
        if length > MAX_HEADER:
            raise FrameError("a header is too long")
        header = json.loads(_exactly(source, length))
        if header["type"] == "end":
            return
        yield header, _content(source, header["size"])


def _content(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = _exactly(source, min(size, PIECE))
        size -= len(piece)
        yield piece


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise FrameError("the stream ends too early")
    return data
