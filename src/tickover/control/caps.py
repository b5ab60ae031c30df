"""The caps in force: those of tickover.yaml, read again when the file has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tickover.core.admission import Caps
from tickover.core.errors import DefinitionErrors
from tickover.core.instance import Instance

_Seen = tuple[str, int, int, int] | None


class CapsBook:
    """`path` is where the file is, or would be; `read` reads it.

    A file that is broken while a server works leaves the caps that were in force: each run that starts then fails,
    and its journal says what is wrong with the file.
    """

    def __init__(self, path: Callable[[], Path], read: Callable[[], Instance]) -> None:
        self._path = path
        self._read = read
        self._known: tuple[_Seen, Caps] | None = None

    def current(self) -> Caps:
        """Return the caps. Raises DefinitionErrors where the file never could be read."""
        seen, known = self._seen(), self._known
        if known is not None and known[0] == seen:
            return known[1]
        try:
            caps = self._read().caps.caps()
        except DefinitionErrors:
            if known is None:
                raise
            caps = known[1]
        self._known = (seen, caps)
        return caps

    def _seen(self) -> _Seen:
        path = self._path()
        try:
            found = os.stat(path)
        except OSError:
            return None
        return (str(path), found.st_ino, found.st_mtime_ns, found.st_size)
