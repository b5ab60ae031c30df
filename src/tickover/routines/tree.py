"""Trees of files: a folder on disk, a part of another tree, and one in memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tickover.core.errors import UsageError, Where
from tickover.core.tree import Tree, TreeFile

MAX_FILE: Final = 64 << 20
MAX_FILES: Final = 20_000
_PLAIN, _EXECUTABLE, _LINK = 0o100644, 0o100755, 0o120000


class TreeError(UsageError):
    """A file of a definition cannot be read, or there is too much of it."""


class MemoryTree:
    """Files given as a mapping of path to bytes, plain where `modes` does not say otherwise."""

    def __init__(self, files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> None:
        self._files = dict(files)
        self._modes = dict(modes or {})

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def list(self, prefix: str = "") -> Sequence[TreeFile]:
        return [TreeFile(path, self._modes.get(path, _PLAIN)) for path in sorted(self._files) if _under(path, prefix)]


class SubTree:
    """The part of a tree under one folder, as a tree of its own."""

    def __init__(self, tree: Tree, prefix: str) -> None:
        self._tree = tree
        self._prefix = prefix.rstrip("/")

    def read(self, path: str) -> bytes | None:
        return self._tree.read(f"{self._prefix}/{path}")

    def list(self, prefix: str = "") -> Sequence[TreeFile]:
        below = f"{self._prefix}/{prefix}".rstrip("/")
        cut = len(self._prefix) + 1
        return [TreeFile(found.path[cut:], found.mode) for found in self._tree.list(below)]


class FolderTree:
    """A folder on disk. No symbolic link below it is followed, and nothing but files and links is there."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, path: str) -> bytes | None:
        """Raise TreeError for a file that is there and cannot be read, or is larger than 64 MiB."""
        if not _plain(path) or self._behind_link(path):
            return None
        full = os.path.join(self.root, path)
        try:
            if stat.S_ISLNK(os.lstat(full).st_mode):
                return os.fsencode(os.readlink(full))
            fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        with os.fdopen(fd, "rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise TreeError("tree.size", f"larger than {MAX_FILE >> 20} MiB", where=Where(full))
        return content

    def list(self, prefix: str = "") -> Sequence[TreeFile]:
        """Raise TreeError for a folder that cannot be read, or for more than 20,000 files."""
        if prefix and (not _plain(prefix) or self._behind_link(f"{prefix}/x")):
            return []
        found: list[TreeFile] = []
        for entry in self._walk(prefix):
            found.append(entry)
            if len(found) > MAX_FILES:
                raise TreeError("tree.files", f"more than {MAX_FILES} files", where=Where(self.root))
        return sorted(found)

    def _walk(self, prefix: str) -> Iterator[TreeFile]:
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()
            try:
                entries = list(os.scandir(os.path.join(self.root, folder)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._unreadable(folder, error) from None
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_symlink():
                    yield TreeFile(path, _LINK)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_file(follow_symlinks=False):
                    executable = entry.stat(follow_symlinks=False).st_mode & stat.S_IXUSR
                    yield TreeFile(path, _EXECUTABLE if executable else _PLAIN)

    def _behind_link(self, path: str) -> bool:
        parts = path.split("/")[:-1]
        folders = (os.path.join(self.root, *parts[: end + 1]) for end in range(len(parts)))
        return any(os.path.islink(folder) for folder in folders)

    def _unreadable(self, path: str, error: Exception) -> TreeError:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return TreeError("tree.unreadable", f"cannot be read: {reason}", where=Where(os.path.join(self.root, path)))


def _plain(path: str) -> bool:
    return "\0" not in path and not path.startswith("/") and not {"", ".", ".."} & set(path.split("/"))


def _under(path: str, prefix: str) -> bool:
    return not prefix or path.startswith(f"{prefix.rstrip('/')}/")
