"""What a pushed pack says about its commits: whether the new end of a branch grows out of the old one.

gitformat-pack(5). An object is named by its content's hash, so what is found here is what the server will find. A
commit that is stored as a difference, or not in the pack, is not followed: then nobody can tell, and it does not count.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tickover.core.push import RefUpdate

MOST_BYTES = 8 << 20
"""Bytes of a pack that is read; a larger one is not."""
_MOST_INFLATED = 256 << 20
_MOST_OBJECTS = 100_000
_SLICE = 1 << 16
_LONGEST_SIZE = 40
"""Bits of an object's size."""
_COMMIT, _OFFSET_DELTA, _BASE_DELTA = 1, 6, 7
_PARENT = re.compile(rb"parent ([0-9a-f]{40}|[0-9a-f]{64})\n")
_TREE = re.compile(rb"tree (?:[0-9a-f]{40}|[0-9a-f]{64})\n")


class _UnreadableError(Exception):
    pass


def told(updates: Sequence[RefUpdate], pack: bytes) -> tuple[RefUpdate, ...]:
    """Return the updates, with those marked as fast forwards that the pack proves to be."""
    try:
        parents = dict(_commits(pack, 20 if all(len(each.new) == 40 for each in updates) else 32))
    except (_UnreadableError, zlib.error, IndexError):
        return tuple(updates)
    return tuple(
        replace(each, fast_forward=True) if _leads_to(each.new, each.old, parents) else each for each in updates
    )


def _leads_to(new: str, old: str, parents: dict[str, list[str]]) -> bool:
    seen: set[str] = set()
    open_ends = [new]
    while open_ends:
        commit = open_ends.pop()
        if commit == old:
            return True
        if commit not in seen:
            seen.add(commit)
            open_ends += parents.get(commit, [])
    return False


def _commits(pack: bytes, name_bytes: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the parents of every commit that is stored whole."""
    if pack[:4] != b"PACK" or pack[4:8] not in {b"\0\0\0\2", b"\0\0\0\3"}:
        raise _UnreadableError
    count = int.from_bytes(pack[8:12], "big")
    if count > _MOST_OBJECTS:
        raise _UnreadableError
    hashed = hashlib.sha1 if name_bytes == 20 else hashlib.sha256
    view, at, budget = memoryview(pack), 12, _MOST_INFLATED
    for _ in range(count):
        byte = view[at]
        at += 1
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 0x80:
            byte = view[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > _LONGEST_SIZE:
                raise _UnreadableError
        if kind == _BASE_DELTA:
            at += name_bytes
        elif kind == _OFFSET_DELTA:
            while view[at] & 0x80:
                at += 1
            at += 1
        budget -= size
        if budget < 0:
            raise _UnreadableError
        content, at = _inflated(view, at, size, kept=kind == _COMMIT)
        if kind == _COMMIT:
            name = hashed(b"commit %d\0" % size + content).hexdigest()
            yield name, _parents(content)


def _inflated(view: memoryview, at: int, size: int, *, kept: bool) -> tuple[bytes, int]:
    """Return an object's content (if it is to be kept) and where the next one begins."""
    stream, pieces, found = zlib.decompressobj(), [], 0
    fed: bytes | memoryview = b""
    while not stream.eof:
        if not fed:
            fed = view[at : at + min(_SLICE, size + (size >> 8) + 64)]
            at += len(fed)
            if not fed:
                raise _UnreadableError
        piece = stream.decompress(fed, _SLICE)
        fed = stream.unconsumed_tail
        found += len(piece)
        if found > size:
            raise _UnreadableError
        if kept:
            pieces.append(piece)
    if found != size:
        raise _UnreadableError
    return b"".join(pieces), at - len(stream.unused_data)


def _parents(commit: bytes) -> list[str]:
    """Read the parents from a commit's head: they stand right after its tree."""
    tree = _TREE.match(commit)
    at = tree.end() if tree else 0
    found = []
    while tree and (parent := _PARENT.match(commit, at)):
        found.append(parent[1].decode())
        at = parent.end()
    return found
