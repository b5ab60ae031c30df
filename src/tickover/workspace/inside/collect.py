"""Write the files that some globs name to stdout, as frames. The tree may be hostile; nobody changes it meanwhile.

Every part of a path is opened from its parent without following a link. Only regular files are read; what else a
glob names is told with its reason. The request is /tickover/request.json.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any, BinaryIO, Dict, List, Optional, Tuple  # noqa: UP035 - Python 3.8 runs this too

from .frames import MAGIC, PIECE, encode_header
from .globs import Globs

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISLNK, "symbolic link"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


class Enough(Exception):  # noqa: N818 - no error: the end of the walk
    """A limit was reached."""


class Collector:
    """One walk over one tree."""

    def __init__(self, request: Dict[str, Any], out: BinaryIO) -> None:  # noqa: UP006
        self.request = request
        self.out = out
        self.globs = Globs(request["globs"], exact=request["exact"])
        self.before: Optional[str] = request["before"]  # noqa: UP045
        self.files = self.bytes = self.entries = self.refusals = 0

    def run(self) -> None:
        """Write the whole stream."""
        self.out.write(MAGIC)
        complete = True
        try:
            root = os.open(self.request["root"], _FOLDER)
        except OSError as error:
            self.refuse((), f"folder cannot be opened: {error.strerror}")
        else:
            complete = self.went_through(root)
        told = min(self.refusals, self.request["refusals"])
        end = {"files": self.files, "bytes": self.bytes, "complete": complete, "refused_more": self.refusals - told}
        self.out.write(encode_header({"type": "end", **end}))
        self.out.flush()

    def went_through(self, root: int) -> bool:
        """Walk; return False when a limit ended it early."""
        try:
            self.walk(root)
        except Enough:
            return False
        finally:
            os.close(root)
        return True

    def walk(self, root: int) -> None:
        """Go through the tree in the order of names, folders after files, without recursion."""
        stack: List[Tuple[int, Tuple[str, ...], Any, List[str]]] = []  # noqa: UP006
        stack.append((root, (), self.globs.start(), self.look(root, (), self.globs.start())))
        try:
            while stack:
                folder, parts, state, todo = stack[-1]
                if not todo:
                    stack.pop()
                    if folder != root:
                        os.close(folder)
                    continue
                name = todo.pop()
                here = (*parts, name)
                if len(here) >= self.request["depth"]:
                    self.refuse(here, "more than {} folders deep".format(self.request["depth"]))
                    continue
                try:
                    inner = os.open(name, _FOLDER, dir_fd=folder)
                except OSError as error:
                    self.refuse(here, f"folder cannot be opened: {error.strerror}")
                    continue
                below = self.globs.step(state, name)
                stack.append((inner, here, below, []))
                stack[-1][3].extend(self.look(inner, here, below))
        finally:
            for folder, _, _, _ in stack:
                if folder != root:
                    os.close(folder)

    def look(self, folder: int, parts: Tuple[str, ...], state: Any) -> List[str]:  # noqa: UP006
        """Take the files of one folder; return the folders worth entering, last first."""
        try:
            names = sorted(self.names(folder))
        except OSError as error:
            self.refuse(parts, f"folder cannot be listed: {error.strerror}")
            return []
        inner = []
        for name in names:
            below = self.globs.step(state, name)
            if not below:
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                self.refuse((*parts, name), f"cannot be looked at: {error.strerror}")
                continue
            if stat.S_ISDIR(status.st_mode):
                if self.request["exact"] and self.globs.matches(below):
                    self.refuse((*parts, name), "folder")
                if self.globs.leads_on(below):
                    inner.append(name)
            elif self.globs.matches(below):
                self.take(folder, (*parts, name), status)
            elif self.globs.named(below, len(parts) + 1):
                self.refuse((*parts, name), self.kind(status) + ", not a folder")
        inner.reverse()
        return inner

    def names(self, folder: int) -> List[str]:  # noqa: UP006
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self.entries += 1
                if self.entries > self.request["entries"]:
                    raise Enough
                names.append(entry.name)
        return names

    def kind(self, status: os.stat_result) -> str:
        return next((name for test, name in _KINDS if test(status.st_mode)), "file")

    def take(self, folder: int, parts: Tuple[str, ...], status: os.stat_result) -> None:  # noqa: UP006
        """Copy one file out, or say why not."""
        if not stat.S_ISREG(status.st_mode):
            self.refuse(parts, self.kind(status))
            return
        try:
            source = os.open(parts[-1], _FILE, dir_fd=folder)
        except OSError as error:
            self.refuse(parts, f"cannot be opened: {error.strerror}")
            return
        try:
            status = os.fstat(source)
            size = status.st_size
            if not stat.S_ISREG(status.st_mode):
                self.refuse(parts, self.kind(status))
            elif size > self.request["file_bytes"]:
                self.refuse(parts, "{} bytes, more than {}".format(size, self.request["file_bytes"]), size)
            elif self.files >= self.request["files"]:
                self.refuse(parts, "more than {} files".format(self.request["files"]))
            elif self.bytes + size > self.request["total_bytes"]:
                self.refuse(parts, "more than {} bytes in all".format(self.request["total_bytes"]), size)
            else:
                self.copy(source, parts, status)
        finally:
            os.close(source)

    def copy(self, source: int, parts: Tuple[str, ...], status: os.stat_result) -> None:  # noqa: UP006
        header = {
            "type": "file",
            "path": "/".join(parts),
            "size": status.st_size,
            "executable": bool(status.st_mode & 0o100),
            "mtime_ns": status.st_mtime_ns,
            "written": self.written(source, parts, status),
        }
        self.out.write(encode_header(header))
        left = status.st_size
        while left:
            piece = os.read(source, min(left, PIECE))
            if not piece:
                raise RuntimeError("a file became shorter while it was read")
            self.out.write(piece)
            left -= len(piece)
        self.files += 1
        self.bytes += status.st_size

    def written(self, source: int, parts: Tuple[str, ...], status: os.stat_result) -> bool:  # noqa: UP006
        """Whether the file differs from the one that was there before; without a `before`, True."""
        if self.before is None:
            return True
        folder = os.open(self.before, _FOLDER)
        old = -1
        try:
            for part in parts[:-1]:
                inner = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            old = os.open(parts[-1], _FILE, dir_fd=folder)
            was = os.fstat(old)
            if not stat.S_ISREG(was.st_mode):
                return True
            if (was.st_size, was.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
                return True
            return not self.same(source, old)
        except OSError:  # not there, or no file
            return True
        finally:
            if old >= 0:
                os.close(old)
            os.close(folder)

    def same(self, one: int, other: int) -> bool:
        position = 0
        while True:
            a = os.pread(one, PIECE, position)
            if a != os.pread(other, PIECE, position):
                return False
            if not a:
                return True
            position += len(a)

    def refuse(self, parts: Tuple[str, ...], reason: str, size: int = 0) -> None:  # noqa: UP006
        self.refusals += 1
        if self.refusals > self.request["refusals"]:
            return
        path = "/".join(parts)
        if len(os.fsencode(path)) > 4096:
            path = os.fsdecode(os.fsencode(path)[:4000]) + "..."
        self.out.write(encode_header({"type": "refused", "path": path or ".", "reason": reason, "size": size}))


def main() -> None:
    """Do what /tickover/request.json says."""
    with open("/tickover/request.json", encoding="ascii") as file:
        request = json.load(file)
    Collector(request, sys.stdout.buffer).run()
