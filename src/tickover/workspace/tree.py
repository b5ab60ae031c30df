"""Files of a commit, read from our mirror without a working tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tickover.core.errors import TickoverError
from tickover.core.text import one_line
from tickover.core.tree import TreeFile
from tickover.workspace.base import TrustedFile
from tickover.workspace.git import GitTooMuch, HostGit
from tickover.workspace.inside.globs import Globs

Kind = Literal["file", "executable", "symlink", "submodule", "folder"]
_KINDS: Final[dict[str, Kind]] = {
    "100644": "file", "100664": "file", "100755": "executable",
    "120000": "symlink", "160000": "submodule", "040000": "folder",
}  # fmt: skip
_MODES: Final[dict[str, int]] = {"file": 0o100644, "executable": 0o100755, "symlink": 0o120000}


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the commit. `path` is relative to its top; names that are no UTF-8 hold surrogates (PEP 383)."""

    path: str
    kind: Kind
    sha: str
    size: int
    """Bytes of a file or of a link's target; 0 for a submodule."""


class Tree:
    """A read-only view of one commit. `max_entries` and `max_bytes` bound every answer."""

    def __init__(
        self, git: HostGit, mirror: Path, commit: str, *, max_entries: int = 200_000, max_bytes: int = 64 << 20
    ) -> None:
        self.commit = commit
        self._git = git
        self._mirror = mirror
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    async def entry(self, path: str) -> Entry | None:
        """Return what is at `path`, or None. Symbolic links are not followed."""
        if not _plain(path):
            return None
        return next((entry for entry in await self._list("--", path) if entry.path == path), None)

    async def entries(self, prefix: str = "") -> Sequence[Entry]:
        """Return all that is no folder at or below `prefix`, in git's order. Raises `repository.too_large`."""
        if not prefix:
            return await self._list("-r")
        return await self._list("-r", "--", prefix) if _plain(prefix) else []

    async def read(self, path: str) -> bytes | None:
        """Return a regular file's content, or None if there is no such file. Raises `repository.too_large`."""
        entry = await self.entry(path)
        if entry is None or entry.kind not in {"file", "executable"}:
            return None
        return (await self._contents([entry]))[0]

    async def files(self, prefix: str) -> Sequence[TrustedFile]:
        """Return the regular files at or below `prefix` with their content, in order. Raises `repository.too_large`.

        Symbolic links and submodules are left out; `entries` tells them.
        """
        return await self._files(await self.entries(prefix))

    async def _files(self, found: Sequence[Entry]) -> Sequence[TrustedFile]:
        entries = [entry for entry in found if entry.kind in {"file", "executable"}]
        contents = await self._contents(entries)
        return [TrustedFile(e.path, data, e.kind == "executable") for e, data in zip(entries, contents, strict=True)]

    async def matching(self, globs: Sequence[str]) -> Sequence[TrustedFile]:
        """Return the regular files that `globs` name, with their content. Raises `repository.too_large`."""
        wanted = Globs(globs)
        return await self._files([entry for entry in await self.entries() if wanted.match(entry.path)])

    async def load(self, *prefixes: str) -> LoadedTree:
        """Return the files and links at or below `prefixes`, in memory. Raises `repository.too_large`."""
        found = {entry.path: entry for prefix in prefixes for entry in await self.entries(prefix)}
        kept = [entry for entry in found.values() if entry.kind in _MODES]
        contents = await self._contents(kept)
        return LoadedTree({e.path: (_MODES[e.kind], data) for e, data in zip(kept, contents, strict=True)})

    async def digest(self, path: str) -> str | None:
        """Return git's own name of the folder or file at `path` ("" is the whole commit), or None."""
        if path and not _plain(path):
            return None
        said = await self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self.commit}:{path}")
        return said.decode().strip() or None

    async def _list(self, *arguments: str) -> Sequence[Entry]:
        try:
            said = await self._run("ls-tree", "-z", "-l", "--full-tree", self.commit, *arguments, strict=True)
        except GitTooMuch as error:
            raise self._too_large() from error
        entries = []
        for line in said.split(b"\0")[:-1]:
            about, _, name = line.partition(b"\t")
            mode, _, sha, size = about.decode().split()
            kind = _KINDS.get(mode)
            if kind is None:
                raise TickoverError("repository.unsafe", f"commit {self.commit[:12]} has an entry of mode {mode}")
            entries.append(Entry(name.decode(errors="surrogateescape"), kind, sha, int(size) if size != "-" else 0))
        if len(entries) > self._max_entries:
            raise self._too_large()
        return entries

    async def _contents(self, entries: Sequence[Entry]) -> Sequence[bytes]:
        total = sum(entry.size for entry in entries)
        if total > self._max_bytes:
            names = f"{one_line(entries[0].path)} has" if len(entries) == 1 else f"{len(entries)} files have"
            raise TickoverError("repository.too_large", f"{names} {total} bytes, more than {self._max_bytes}")
        if not entries:
            return []
        asked = "".join(f"{entry.sha}\n" for entry in entries).encode()
        said = await self._run("cat-file", "--batch", stdin=asked, max_output=total + 100 * len(entries), strict=True)
        contents = []
        position = 0
        for entry in entries:
            end = said.index(b"\n", position)
            if said[position:end] != f"{entry.sha} blob {entry.size}".encode():
                raise TickoverError("repository.corrupt", f"our mirror has lost {one_line(entry.path)}")
            contents.append(said[end + 1 : end + 1 + entry.size])
            position = end + 2 + entry.size
        return contents

    async def _run(
        self, *arguments: str, stdin: bytes = b"", max_output: int | None = None, strict: bool = False
    ) -> bytes:
        # 300 bytes an entry: longer names count as several.
        limit = self._max_entries * 300 if max_output is None else max_output
        command = [f"--git-dir={self._mirror}", "--literal-pathspecs", *arguments]
        said = await self._git.run(*command, stdin=stdin, max_output=limit)
        if strict and said.code != 0:
            raise TickoverError("repository.corrupt", f"our mirror cannot be read: {one_line(said.err)}")
        return said.out

    def _too_large(self) -> TickoverError:
        return TickoverError(
            "repository.too_large", f"commit {self.commit[:12]} has more than {self._max_entries} files"
        )


class LoadedTree:
    """Part of a commit as a `core.tree.Tree`: paths to git's mode and content."""

    def __init__(self, files: Mapping[str, tuple[int, bytes]]) -> None:
        self._files = dict(files)

    def read(self, path: str) -> bytes | None:
        found = self._files.get(path)
        return None if found is None else found[1]

    def list(self, prefix: str = "") -> Sequence[TreeFile]:
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        return [TreeFile(path, self._files[path][0]) for path in sorted(self._files) if path.startswith(below)]


def _plain(path: str) -> bool:
    parts = path.split("/")
    return "\0" not in path and not any(part in {"", ".", ".."} for part in parts)
