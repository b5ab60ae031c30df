"""Whether a folder that a sandbox wrote may become a layer under other sandboxes."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from typing import Final

_SAFE_ATTRIBUTES: Final = ("opaque", "origin", "impure", "nlink", "uuid", "whiteout", "protattr", "upper")
_DEPTH: Final = 500


def check_tree(path: str, *, keep_folders: Collection[str] = ()) -> int:
    """Return the bytes of a tree that is to become a layer. Raises ValueError naming the first unsafe entry.

    Whiteouts (character device 0:0) are the overlay's own; other devices, set-id bits, file capabilities and overlay
    attributes that redirect are refused. `keep_folders` (relative) must not be replaced by anything but folders:
    something is mounted on them before the sandbox is closed.
    """
    total = 0

    def refuse(error: OSError) -> None:
        raise ValueError(f"cannot be read: {error.filename!r}: {error.strerror}")

    for parent, folders, names, folder in os.fwalk(path, onerror=refuse, follow_symlinks=False):
        inside = os.path.relpath(parent, path)
        if inside.count("/") > _DEPTH:
            raise ValueError(f"folders deeper than {_DEPTH}: {inside[:80]!r}")
        for name in (*folders, *names):
            shown = name if inside == "." else f"{inside}/{name}"
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            _check_entry(shown, f"/proc/self/fd/{folder}/{name}", status)
            if shown in keep_folders and not stat.S_ISDIR(status.st_mode):
                raise ValueError(f"replaces a folder of the base: {shown!r}")
            total += status.st_blocks * 512
    return total


def _check_entry(shown: str, path: str, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFBLK or (kind == stat.S_IFCHR and status.st_rdev != 0):
        raise ValueError(f"device: {shown!r}")
    if kind == stat.S_IFREG and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise ValueError(f"set-id bit: {shown!r}")
    if kind not in {stat.S_IFREG, stat.S_IFDIR}:
        return
    for attribute in os.listxattr(path, follow_symlinks=False):
        head, _, tail = attribute.rpartition(".")
        if head in {"user.overlay", "trusted.overlay"} and tail not in _SAFE_ATTRIBUTES:
            raise ValueError(f"overlay attribute {attribute!r}: {shown!r}")
        if attribute == "security.capability":
            raise ValueError(f"file capabilities: {shown!r}")
