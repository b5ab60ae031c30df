"""Empty globs, put files, hide links, in a writable tree that may be hostile. Says how much it did, as JSON.

The request is /tickover/request.json, the files come as frames. Links are removed, never followed.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any, Tuple  # noqa: UP035 - Python 3.8 runs this too

from .frames import check_path, read_frames
from .globs import Globs

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def empty(root: int, globs: Globs) -> int:
    """Remove what the globs name, and links that stand where a glob wants a folder; return how many."""
    removed = 0
    todo: list[Tuple[Tuple[str, ...], Any]] = [((), globs.start())]  # noqa: UP006
    while todo:
        parts, state = todo.pop()
        folder = _enter(root, parts)
        try:
            with os.scandir(folder) as entries:
                names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            for name, is_folder in names:
                below = globs.step(state, name)
                if not below:
                    continue
                if not is_folder and (globs.matches(below) or globs.named(below, len(parts) + 1)):
                    os.unlink(name, dir_fd=folder)
                    removed += 1
                elif is_folder and globs.leads_on(below):
                    todo.append(((*parts, name), below))
        finally:
            os.close(folder)
    return removed


def _enter(root: int, parts: Tuple[str, ...]) -> int:  # noqa: UP006
    folder = os.dup(root)
    for part in parts:
        folder = _open(folder, part)
    return folder


def _open(parent: int, name: str) -> int:
    """Open a folder in place of its parent. One that was closed to its owner hides nothing: it is opened to him."""
    try:
        if os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode & 0o700 != 0o700:
            os.chmod(name, 0o755, dir_fd=parent)  # noqa: S103 - a real folder; nobody changes the tree meanwhile
        return os.open(name, _FOLDER, dir_fd=parent)
    finally:
        os.close(parent)


def hide(root: str, written: str) -> int:
    """Remove the links of `written`, the top of the tree at `root`, that lead out of the tree; return how many.

    Whatever cannot be looked at is an error, because it could hold such a link.
    """
    removed = 0
    todo = [""]
    while todo:
        folder = todo.pop()
        for entry in _entries(root + folder, written + folder):
            path = f"{folder}/{entry.name}"
            if entry.is_symlink() and _leads_out(root, root + path):
                os.unlink(root + path)
                removed += 1
            elif entry.is_dir(follow_symlinks=False):
                todo.append(path)
    return removed


def _entries(folder: str, written: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(written))
    except PermissionError:  # closed to its owner; what is shown read-only cannot be opened, the tree can
        os.chmod(folder, 0o755)  # noqa: S103
        return list(os.scandir(folder))


def _leads_out(root: str, link: str) -> bool:
    # Near PATH_MAX realpath(3) gives up where the kernel need not: such a link goes.
    return len(os.fsencode(link)) > 2000 or not f"{os.path.realpath(link)}/".startswith(f"{root}/")


def put(root: int, frames: str) -> int:
    """Write the files of a stream of frames; return how many."""
    written = 0
    with open(frames, "rb") as source:
        for header, content in read_frames(source):
            parts = check_path(header["path"]).split("/")
            folder = _make_way(root, parts[:-1])
            try:
                _clear(folder, parts[-1])
                mode = 0o755 if header.get("executable") else 0o644
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(parts[-1], flags, mode, dir_fd=folder), "wb") as file:
                    file.writelines(content)
            finally:
                os.close(folder)
            written += 1
    return written


def _make_way(root: int, parts: Any) -> int:
    folder = os.dup(root)
    for part in parts:
        try:
            status = os.stat(part, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(part, dir_fd=folder)
                os.mkdir(part, 0o755, dir_fd=folder)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=folder)
        folder = _open(folder, part)
    return folder


def _clear(folder: int, name: str) -> None:
    """Remove what stands where a file goes; a folder there stays, and then the file cannot be made."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        os.rmdir(name, dir_fd=folder)


def main() -> None:
    """Do what /tickover/request.json says."""
    with open("/tickover/request.json", encoding="ascii") as file:
        request = json.load(file)
    root = _open(os.open("/", _FOLDER), request["root"])
    removed = empty(root, Globs(request["remove"]))
    if request["written"]:
        removed += hide(request["root"], request["written"])
    into = _make_way(root, check_path(request["into"]).split("/")) if request["into"] else root
    written = put(into, request["frames"]) if request["frames"] else 0
    json.dump({"removed": removed, "written": written}, sys.stdout)
