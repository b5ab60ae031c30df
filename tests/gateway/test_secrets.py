"""Values under a key: they open for their name and kind only, and the key's file is the owner's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.gateway.secrets import (
    SecretError,
    create_key_file,
    key_for,
    key_path,
    read_key_file,
    seal,
    unseal,
)

KEY = bytes(range(32))


@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_a_value_comes_back(value: bytes, name: str, kind: str) -> None:
    sealed = seal(KEY, name=name, kind=kind, value=value)
    assert unseal(KEY, name=name, kind=kind, sealed=sealed) == value
    assert sealed != seal(KEY, name=name, kind=kind, value=value)
    assert len(value) < 4 or value not in sealed


@pytest.mark.parametrize(
    ("name", "kind"), [("b", "header"), ("a", "query"), ("aheader", ""), ("", "aheader"), ("a\0header", "")]
)
def test_a_value_moved_to_another_name_or_kind_does_not_open(name: str, kind: str) -> None:
    sealed = seal(KEY, name="a", kind="header", value=b"value")
    with pytest.raises(SecretError) as caught:
        unseal(KEY, name=name, kind=kind, sealed=sealed)
    assert caught.value.code == "secrets.damaged"


@given(st.integers(0, 37), st.integers(1, 255))
def test_a_changed_byte_is_found(at: int, flip: int) -> None:
    sealed = bytearray(seal(KEY, name="a", kind="header", value=b"value"))
    sealed[at] ^= flip
    with pytest.raises(SecretError):
        unseal(KEY, name="a", kind="header", sealed=bytes(sealed))


def test_the_reasons_are_told_apart() -> None:
    sealed = seal(KEY, name="a", kind="header", value=b"value")
    for given_key, stored, code in (
        (bytes(32), sealed, "secrets.other_key"),
        (KEY, b"\x02" + sealed[1:], "secrets.version"),
        (KEY, sealed[:20], "secrets.version"),
        (KEY, b"", "secrets.version"),
        (KEY, sealed[:-1], "secrets.damaged"),
    ):
        with pytest.raises(SecretError) as caught:
            unseal(given_key, name="a", kind="header", sealed=stored)
        assert caught.value.code == code
        assert "value" not in str(caught.value)


def test_a_key_file_is_the_owners_and_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    key = create_key_file(str(path))
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    assert read_key_file(str(path)) == key
    with pytest.raises(SecretError, match="key_exists"):
        create_key_file(str(path))
    assert read_key_file(str(path)) == key
    assert [each.name for each in tmp_path.iterdir()] == ["secrets.key"]


def test_a_key_file_that_others_can_reach_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    create_key_file(str(path))
    path.chmod(0o640)
    with pytest.raises(SecretError, match="key_exposed"):
        read_key_file(str(path))
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, code in (("link", "key_missing"), ("absent", "key_missing"), ("fifo", "key_exposed")):
        with pytest.raises(SecretError, match=code):
            read_key_file(str(tmp_path / name))


@pytest.mark.parametrize("content", [b"", b"not base64!", b"c2hvcnQ=", b"A" * 2000])
def test_a_key_file_holds_a_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secrets.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretError, match="key_malformed"):
        read_key_file(str(path))


def test_the_key_is_made_on_first_use_and_signing_has_its_own(tmp_path: Path) -> None:
    folder = str(tmp_path)
    keys = {kind: key_for(folder, kind) for kind in ("header", "git", "signing")}
    assert keys["header"] == keys["git"] != keys["signing"]
    assert {kind: key_for(folder, kind) for kind in keys} == keys
    for path in {key_path(folder, kind) for kind in keys}:
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_key_that_others_can_read_is_not_used_and_not_replaced(tmp_path: Path) -> None:
    before = key_for(str(tmp_path), "header")
    os.chmod(key_path(str(tmp_path), "header"), 0o640)
    with pytest.raises(SecretError, match="nobody else"):
        key_for(str(tmp_path), "header")
    os.chmod(key_path(str(tmp_path), "header"), 0o600)
    assert key_for(str(tmp_path), "header") == before
