"""A tree of files as a definition reads it: a folder today, a commit tomorrow, alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class TreeFile(NamedTuple):
    """A file with git's mode: 0o100644, 0o100755 (executable) or 0o120000 (a symbolic link, not followed)."""

    path: str
    mode: int


class Tree(Protocol):
    """Paths are relative, with / between their parts. Links are never followed: their content is their target."""

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes, or None if there is no file at `path`."""
        ...

    def list(self, prefix: str = "") -> Sequence[TreeFile]:
        """List all files under the folder `prefix` ("" is the root), sorted by path."""
        ...
