"""What killed processes left in a data folder, and what nobody has used for long. Call `sweep` at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tickover.workspace.folders import STAGED
from tickover.workspace.lock import FileLock
from tickover.workspace.mirror import Mirrors
from tickover.workspace.shelf import Shelf, remove_tree

_SHELVES: Final = ("checkouts", "layers/setup", "layers/folders")


COPIES: Final = "subject-"
"""How copies of an agent's repository in DATA/stage begin; `NAME.use` beside each is locked by whoever reads it."""


def sweep(data: Path) -> list[str]:
    """Remove folders that were sealed and never noted, and staged files, of processes that are gone.

    Return what was removed, relative to `data`. What a living process works on is locked and stays.
    """
    removed: list[str] = []
    for name in _SHELVES:
        removed += [f"{name}/{folder}" for folder in Shelf(data / name).sweep()]
    for path in (data / "stage").glob(STAGED):
        lock = FileLock.try_take(path)
        if lock is not None:
            with lock:
                lock.remove()
                removed.append(f"stage/{path.name}")
    for path in (data / "stage").glob(f"{COPIES}*.use"):
        lock = FileLock.try_take(path)
        if lock is not None:
            with lock:
                remove_tree(path.with_suffix(""))
                lock.remove()
                removed.append(f"stage/{path.stem}")
    return removed


def prune(data: Path, *, idle_s: float, max_bytes: int | None = None) -> int:
    """Remove layers and checkouts unused for `idle_s` seconds, then the longest idle ones down to `max_bytes` each.

    Mirrors go after ten times as long, because a sandbox that runs on one does not hold it. Return the bytes freed,
    without those of mirrors.
    """
    Mirrors(data, environ={}).prune(10 * idle_s)
    return sum(Shelf(data / name).prune(idle_s=idle_s, max_bytes=max_bytes) for name in _SHELVES)
