"""Bodies as files named by their sha256: `FOLDER/ab/abcdef...`, 0600 in 0700, complete or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO, Final

from tickover.store.base import BlobCorruptError, BlobDigestError, BlobNotFoundError, BlobTooLargeError

DEFAULT_MAX_BYTES: Final = 1 << 30
ABANDONED: Final = 24 * 3600.0
"""Seconds after which an unfinished upload belongs to no living process."""

_CHUNK = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class FileBlobs:
    """`Blobs` in a folder. Processes may share it: a file appears by rename, under the name of its content."""

    def __init__(self, folder: str, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._folder = os.path.abspath(folder)
        self._max_bytes = max_bytes
        self._unfinished = os.path.join(self._folder, "unfinished")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        os.makedirs(self._unfinished, mode=0o700, exist_ok=True)
        self._sweep(time.time() - ABANDONED)

    def put(self, content: bytes | BinaryIO, *, max_bytes: int | None = None) -> str:
        cap = self._max_bytes if max_bytes is None else max_bytes
        unfinished = os.path.join(self._unfinished, secrets.token_hex(16))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(unfinished, flags, 0o600), "wb") as file:
                digest = _copy(content, file, cap)
                file.flush()
                os.fsync(file.fileno())
            path = self._path(digest)
            shelf = os.path.dirname(path)
            if not os.path.isdir(shelf):
                os.makedirs(shelf, mode=0o700, exist_ok=True)
                _sync_folder(self._folder)
            os.rename(unfinished, path)  # over an equal file, or over one that was damaged
            _sync_folder(shelf)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unfinished)
            raise
        return digest

    def get(self, digest: str) -> bytes:
        with self._open(digest) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != digest:
            raise BlobCorruptError(digest)
        return content

    def open(self, digest: str) -> BinaryIO:
        file = self._open(digest)
        try:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise BlobCorruptError(digest)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _open(self, digest: str) -> BufferedReader:
        try:
            return open(os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb")
        except FileNotFoundError:
            raise BlobNotFoundError(digest) from None

    def _path(self, digest: str) -> str:
        if not is_digest(digest):
            raise BlobDigestError(digest)
        return os.path.join(self._folder, digest[:2], digest)

    def _sweep(self, before: float) -> None:
        """Remove what a killed process left half written."""
        for entry in os.scandir(self._unfinished):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.path)


def is_digest(text: str) -> bool:
    """Say whether the text can name a blob: 64 lowercase hex digits, nothing else."""
    return _DIGEST.match(text) is not None


def chunks(content: bytes | BinaryIO, max_bytes: int) -> Iterator[bytes]:
    """Yield the content piece by piece; `BlobTooLargeError` as soon as it goes beyond `max_bytes`."""
    if isinstance(content, bytes | bytearray | memoryview):
        if len(content) > max_bytes:
            raise BlobTooLargeError(max_bytes)
        yield bytes(content)
        return
    size = 0
    while chunk := content.read(_CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise BlobTooLargeError(max_bytes)
        yield chunk


def _copy(content: bytes | BinaryIO, file: BinaryIO, max_bytes: int) -> str:
    digest = hashlib.sha256()
    for chunk in chunks(content, max_bytes):
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
