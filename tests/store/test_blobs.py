"""Blobs as files: what the disk holds, and what happens when it was tampered with."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path

import pytest

from tickover.store.base import BlobCorruptError, BlobTooLargeError
from tickover.store.blobs import ABANDONED, FileBlobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_blob_is_one_private_file_named_by_its_content(folder: Path) -> None:
    blobs = FileBlobs(str(folder))
    digests = {blobs.put(b"hello"), blobs.put(io.BytesIO(b"hello"))}
    [path] = files(folder)
    assert digests == {path.name}
    assert path.parent.name == path.name[:2]
    assert {stat.S_IMODE(item.stat().st_mode) for item in [folder, *folder.iterdir()]} == {0o700}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"hellO", b"", b"hello and more"])
def test_damage_is_noticed_on_get_and_on_open_and_mended_by_put(folder: Path, damage: bytes) -> None:
    blobs = FileBlobs(str(folder))
    digest = blobs.put(b"hello")
    files(folder)[0].write_bytes(damage)
    for ask in (blobs.get, blobs.open):
        with pytest.raises(BlobCorruptError, match=digest):
            ask(digest)
    blobs.put(b"hello")
    assert blobs.get(digest) == b"hello"


def test_a_link_in_place_of_a_blob_is_not_followed(folder: Path, tmp_path: Path) -> None:
    blobs = FileBlobs(str(folder))
    digest = blobs.put(b"hello")
    (tmp_path / "secret").write_bytes(b"hello")
    files(folder)[0].unlink()
    (folder / digest[:2] / digest).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        blobs.get(digest)


def test_a_refused_or_broken_stream_leaves_no_file(folder: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the pipe broke")

    blobs = FileBlobs(str(folder), max_bytes=1 << 20)
    with pytest.raises(BlobTooLargeError):
        blobs.put(io.BytesIO(b"x" * (3 << 20)))
    with pytest.raises(OSError, match="the pipe broke"):
        blobs.put(Broken())
    assert files(folder) == []


def test_what_a_killed_upload_left_is_swept_later(folder: Path) -> None:
    FileBlobs(str(folder))
    old, fresh = folder / "unfinished" / "old", folder / "unfinished" / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    long_ago = fresh.stat().st_mtime - ABANDONED - 60
    os.utime(old, (long_ago, long_ago))
    FileBlobs(str(folder))
    assert files(folder) == [fresh]


def test_the_cap_of_a_call_comes_before_the_stores(folder: Path) -> None:
    blobs = FileBlobs(str(folder), max_bytes=4)
    with pytest.raises(BlobTooLargeError, match="4 bytes"):
        blobs.put(b"12345")
    assert blobs.put(b"12345", max_bytes=5) == hashlib.sha256(b"12345").hexdigest()
