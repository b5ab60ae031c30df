"""Conformance suite for `tickover.store.base.Blobs`: subclass `BlobSuite` and say how to open yours."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from tickover.store.base import BlobDigestError, BlobNotFoundError, Blobs, BlobTooLargeError


class BlobSuite:
    """What every blob store does."""

    def open_blobs(self, location: str) -> Blobs:
        """Open an empty blob store in `location`, a folder of the test's own."""
        raise NotImplementedError

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return self.open_blobs(str(tmp_path / "blobs"))

    @pytest.mark.parametrize("content", [b"", b"hello\x00\xff", b"x" * 3_000_000], ids=["empty", "few", "many"])
    def test_a_body_is_found_by_its_sha256(self, blobs: Blobs, content: bytes) -> None:
        digest = blobs.put(content)
        assert digest == hashlib.sha256(content).hexdigest()
        assert blobs.put(io.BytesIO(content)) == digest
        assert blobs.get(digest) == content
        with blobs.open(digest) as file:
            assert file.read() == content

    def test_a_body_beyond_the_cap_is_refused(self, blobs: Blobs) -> None:
        for content in (b"12345", io.BytesIO(b"12345")):
            with pytest.raises(BlobTooLargeError):
                blobs.put(content, max_bytes=4)
        with pytest.raises(BlobNotFoundError):
            blobs.get(hashlib.sha256(b"12345").hexdigest())
        blobs.put(b"1234", max_bytes=4)

    def test_a_missing_body_is_not_found(self, blobs: Blobs) -> None:
        for ask in (blobs.get, blobs.open):
            with pytest.raises(BlobNotFoundError):
                ask("0" * 64)

    @pytest.mark.parametrize(
        "digest", ["", "../../etc/passwd", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", "/" * 64, "\x00" * 64]
    )
    def test_a_hostile_digest_is_refused(self, blobs: Blobs, digest: str) -> None:
        for ask in (blobs.get, blobs.open):
            with pytest.raises(BlobDigestError):
                ask(digest)
