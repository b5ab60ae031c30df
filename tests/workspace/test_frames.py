from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickover.workspace.base import TrustedFile
from tickover.workspace.folders import write_frames
from tickover.workspace.frames import (
    MAGIC,
    Begin,
    Content,
    End,
    Frame,
    FrameLimits,
    FrameParser,
    FramesBroken,
    encode_header,
)

LIMITS = FrameLimits(file_bytes=1000, total_bytes=2000, files=5, refusals=3)


def stream_of(files: Sequence[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    write_frames(stream, [TrustedFile(path, data) for path, data in files])
    return stream.getvalue()


def parsed(data: bytes, pieces: int = 1 << 20) -> tuple[FrameParser, list[Frame]]:
    parser = FrameParser(LIMITS)
    frames = [f for start in range(0, len(data), pieces) for f in parser.feed(data[start : start + pieces])]
    return parser, frames


def files_in(frames: list[Frame]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for frame in frames:
        if isinstance(frame, Begin):
            found.append((frame.path, b""))
        elif isinstance(frame, Content):
            found[-1] = (found[-1][0], found[-1][1] + frame.data)
    return found


paths = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)
safe_paths = paths.filter(lambda path: path not in {".", ".."})


@given(st.dictionaries(safe_paths, st.binary(max_size=200), max_size=5), st.integers(1, 50))
def test_a_stream_may_be_cut_anywhere(files: dict[str, bytes], pieces: int) -> None:
    parser, frames = parsed(stream_of(list(files.items())), pieces)
    assert parser.finished
    assert isinstance(frames[-1], End)
    assert files_in(frames) == list(files.items())


@given(st.binary(max_size=300), st.booleans())
@example(b"\xff\xff\xff\xff", True)
@example(struct.pack(">I", 60_000) + b"[" * 60_000, True)
@example(struct.pack(">I", 5010) + b'{"a": ' + b"9" * 5003 + b"}", True)
def test_noise_is_refused_or_unfinished(noise: bytes, magic: bool) -> None:
    parser = FrameParser(LIMITS)
    with contextlib.suppress(FramesBroken):
        list(parser.feed((MAGIC if magic else b"") + noise))
    assert not parser.finished


@given(st.data())
def test_a_damaged_stream_never_yields_more_than_asked(data: st.DataObject) -> None:
    whole = bytearray(stream_of([("a", b"x" * 900), ("b/c", b"y" * 900), ("d", b"")]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    parser = FrameParser(LIMITS)
    frames: list[Frame] = []
    with contextlib.suppress(FramesBroken):
        for frame in parser.feed(bytes(whole)):
            frames.append(frame)  # noqa: PERF402 - what came before the error counts, too
    found = files_in(frames)
    assert len(found) <= LIMITS.files
    assert sum(len(content) for _, content in found) <= LIMITS.total_bytes
    assert all(".." not in path.split("/") and not path.startswith("/") for path, _ in found)


GOOD = {"type": "file", "path": "a", "size": 0, "executable": False}
END = {"type": "end", "files": 0, "bytes": 0, "complete": True, "refused_more": 0}


@pytest.mark.parametrize(
    "headers",
    [
        [{}], [[]], [None], [7], [{"type": "verdict"}], [{"type": []}],
        [{**GOOD, "path": "../x"}], [{**GOOD, "path": "/etc/passwd"}], [{**GOOD, "path": None}], [{**GOOD, "path": "\ud800"}],
        [{**GOOD, "size": -1}], [{**GOOD, "size": 1001}], [{**GOOD, "size": True}], [{**GOOD, "size": 1e3}],
        [{**GOOD, "executable": 1}], [{**GOOD, "mtime_ns": "x"}], [{**GOOD, "written": None}], [GOOD, GOOD],
        [{**GOOD, "path": str(n)} for n in range(6)],
        [{"type": "refused", "path": "a", "reason": 7, "size": 0}], [{"type": "refused", "path": "x" * 20_000, "reason": "", "size": 0}],
        [{"type": "refused", "path": "a", "reason": "b", "size": 0}] * 4,
        [{**END, "files": 1}], [{**END, "bytes": 1}], [{**END, "complete": "yes"}], [{"type": "end"}], [END, GOOD],
    ],
)  # fmt: skip
def test_headers_that_lie(headers: list[object]) -> None:
    def frame(header: object) -> bytes:
        text = json.dumps(header).encode()
        return struct.pack(">I", len(text)) + text

    with pytest.raises(FramesBroken):
        parsed(MAGIC + b"".join(frame(header) for header in headers))


def test_the_sum_of_files_is_bounded() -> None:
    with pytest.raises(FramesBroken):
        parsed(stream_of([(str(number), b"x" * 900) for number in range(3)]))


def test_what_follows_the_end_is_refused() -> None:
    parser, _ = parsed(stream_of([]))
    with pytest.raises(FramesBroken):
        list(parser.feed(b"x"))


def test_a_header_is_bounded_before_it_is_read() -> None:
    with pytest.raises(FramesBroken):
        parsed(MAGIC + struct.pack(">I", (64 << 10) + 1))
    assert len(encode_header(GOOD)) < 100
