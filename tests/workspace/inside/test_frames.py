from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.workspace.base import TrustedFile
from tickover.workspace.folders import write_frames
from tickover.workspace.inside.frames import FrameError, check_path, read_frames


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", "x" * 4097, None, 7, "\ud800"]
)
def test_a_path_that_leads_elsewhere(path: object) -> None:
    with pytest.raises(FrameError):
        check_path(path)


@pytest.mark.parametrize("path", ["a", "a/b", "...", "a\nb", "\udcff", "ünïcode", "a b", "-x", "x" * 4096])
def test_a_path_that_stays(path: str) -> None:
    assert check_path(path) == path


@given(st.lists(st.tuples(st.text(min_size=1), st.binary(max_size=50), st.booleans()), max_size=5))
def test_what_is_written_is_read(files: list[tuple[str, bytes, bool]]) -> None:
    stream = io.BytesIO()
    write_frames(stream, [TrustedFile(*file) for file in files])
    stream.seek(0)
    read = [(header["path"], b"".join(content), header["executable"]) for header, content in read_frames(stream)]
    assert read == files


def test_a_stream_cut_anywhere_is_an_error() -> None:
    stream = io.BytesIO()
    write_frames(stream, [TrustedFile("a", b"123456")])
    whole = stream.getvalue()
    for size in range(len(whole)):
        with pytest.raises(FrameError):
            consume(whole[:size])


def consume(stream: bytes) -> None:
    for _, content in read_frames(io.BytesIO(stream)):
        b"".join(content)
