"""A few kilobytes of a git pack may ask for gigabytes: git on the host is held to its memory."""

from __future__ import annotations

import hashlib
import resource
import struct
import zlib
from pathlib import Path

import pytest

from tickover.workspace.git import MEMORY
from tickover.workspace.mirror import Mirrors

BLOB, TREE, COMMIT, DELTA = 3, 2, 1, 7
LARGEST_COPY = 0xFFFFFF  # bytes that one seven-byte instruction of a delta repeats


def pack(expanded: int) -> tuple[str, bytes]:
    """Return a commit and a pack in which the delta of an object that nothing needs expands to `expanded` bytes."""
    base = bytes(LARGEST_COPY)
    base_id = object_id("blob", base)
    tree = b"100644 base\0" + base_id
    who = b"A <a@example.com> 1 +0000"
    text = b"tree %s\nauthor %s\ncommitter %s\n\nbomb\n" % (object_id("tree", tree).hex().encode(), who, who)
    copies = expanded // LARGEST_COPY
    delta = varint(len(base)) + varint(copies * LARGEST_COPY) + b"\xf0\xff\xff\xff" * copies
    entries = [(BLOB, base, b""), (TREE, tree, b""), (COMMIT, text, b""), (DELTA, delta, base_id)]
    made = b"PACK" + struct.pack(">II", 2, len(entries))
    for kind, data, before in entries:
        made += entry_head(kind, len(data)) + before + zlib.compress(data, 9)
    return object_id("commit", text).hex(), made + hashlib.sha1(made).digest()


def object_id(kind: str, data: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).digest()


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def entry_head(kind: int, size: int) -> bytes:
    first, size = kind << 4 | size & 15, size >> 4
    return bytes([first | 0x80]) + varint(size) if size else bytes([first])


@pytest.fixture
def bomb(tmp_path: Path) -> tuple[str, Path]:
    commit, data = pack(2 * MEMORY)
    path = tmp_path / "bomb.pack"
    path.write_bytes(data)
    assert len(data) < 20_000
    return commit, path


def most_held_by_children() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


async def test_a_bundle_is_no_bomb(bomb: tuple[str, Path], tmp_path: Path) -> None:
    """Whatever comes out of the sandbox, the host's git reads it within its memory."""
    commit, data = bomb
    bundle = tmp_path / "bundle"
    bundle.write_bytes(f"# v2 git bundle\n{commit} refs/heads/main\n\n".encode() + data.read_bytes())
    mirrors = Mirrors(tmp_path / "data", environ={})
    copy = tmp_path / "copy.git"
    await mirrors.git.run("init", "-q", "--bare", str(copy))
    said = await mirrors.git.run(f"--git-dir={copy}", "fetch", str(bundle), "+refs/heads/*:refs/heads/*")
    assert said.code != 0
    assert "memory" in said.err.lower()
    assert most_held_by_children() < MEMORY
