"""From what a person types to a routine's folder, and what to type next."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tickover.core.errors import NotFoundError

FILE: Final = "ROUTINE.md"
NAME: Final = re.compile(r"[a-z0-9-]{1,64}")


def find_routine(word: str) -> Path:
    """Return the folder: `word` itself, its ROUTINE.md, or `routines/word` here or in a folder above."""
    path = Path(word)
    if path.name == FILE and path.is_file():
        return path.absolute().parent
    if (path / FILE).is_file():
        return Path(os.path.abspath(path))
    shelves = [folder / "routines" for folder in _upwards()] if NAME.fullmatch(word) else []
    for shelf in shelves:
        if (shelf / word / FILE).is_file():
            return shelf / word
    known = sorted({folder.name for shelf in shelves for folder in routines_in(shelf)})
    near = difflib.get_close_matches(word, known, 1)
    hint = f"did you mean `{near[0]}`?" if near else "`tickover routine list` shows them, `tickover init` makes one"
    what = f"{word} has no {FILE}" if path.is_dir() else f"there is no routine `{word}`"
    raise NotFoundError("cli.routine_not_found", what, hint=hint)


def own_name() -> str:
    """Return what to type for this program: its name, or the path it was called by if the shell would not find it."""
    called = sys.argv[0]
    return shlex.quote(called) if Path(called).name == "tickover" and not shutil.which("tickover") else "tickover"


def routines_in(folder: Path) -> Iterator[Path]:
    """Yield the routines' folders in `folder` and in its `routines/`, by name."""
    found = sorted(file.parent for shelf in (folder, folder / "routines") for file in shelf.glob(f"*/{FILE}"))
    yield from [folder, *found] if (folder / FILE).is_file() else found


def _upwards() -> Iterator[Path]:
    here = Path.cwd()
    yield from (here, *here.parents)
