"""Limits that neither a control group nor an image enforces: looked at from outside, a few times a second.

Between two looks more can be used: SECURITY.md says so. Memory is summed over every process of a pid namespace, shared
pages once. Folders are summed by du(1), with the rights of their owner, but only when the file system has lost what
could matter since the last look: three hundred idle sandboxes cost nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tickover.sandbox.launcher import procfs
from tickover.sandbox.launcher.disk import BYTES_PER_FILE

STEP: Final = 0.25
"""Seconds between two looks at memory and at the free space of the file system."""

_SELDOM: Final = 30.0  # seconds until a folder is summed although nothing seems to have been written
_AT_ONCE: Final = 2  # sums running at a time
_SHARED_FILES: Final = 100_000
_SUM: Final = 'du -sx --block-size=1 -- "$1" | cut -f1; du -sx --inodes -- "$1" | cut -f1'

Exceeded = Callable[[str, str], None]


@dataclass(slots=True)
class _Watched:
    init: int
    namespace: int
    folder: str
    memory: int | None
    disk: int | None
    used: int = 0
    looked: float = 0.0
    took: float = 0.0
    free: int = 0
    free_files: int = 0
    summing: subprocess.Popen[bytes] | None = None


class Watch:
    """Every sandbox of one launcher whose limits need looking at. `exceeded` is told (name, "memory" | "disk")."""

    def __init__(self, data: str, as_owner: list[str], exceeded: Exceeded) -> None:
        self._data = data
        self._as_owner = as_owner
        self._exceeded = exceeded
        self._watched: dict[str, _Watched] = {}
        self._next = 0.0

    def add(self, name: str, init: int, folder: str, *, memory: int | None, disk: int | None) -> None:
        """Begin to look after a sandbox: pid 1's pid out here, the folder of its uppers, bytes."""
        if memory is None and disk is None:
            return
        entry = _Watched(init, procfs.namespace_of(init), folder, memory, disk)
        entry.free, entry.free_files = self._free()
        entry.looked = time.monotonic()
        self._watched[name] = entry

    def remove(self, name: str) -> None:
        entry = self._watched.pop(name, None)
        if entry is not None and entry.summing is not None:
            os.killpg(entry.summing.pid, signal.SIGKILL)
            _close(entry.summing)

    def helpers(self) -> set[int]:
        """Return the pids of the sums that run."""
        return {entry.summing.pid for entry in self._watched.values() if entry.summing is not None}

    def seconds(self) -> float | None:
        """Return how long nothing has to be looked at; None = for ever."""
        return max(0.0, self._next - time.monotonic()) if self._watched else None

    def look(self) -> None:
        """Look, if it is time."""
        started = time.monotonic()
        if not self._watched or started < self._next:
            return
        for name, why in [*self._too_much_memory(), *self._too_much_disk()]:
            self._exceeded(name, why)
        self._next = time.monotonic() + max(STEP, 10 * (time.monotonic() - started))

    # -- memory --------------------------------------------------------------------------------------------------

    def _too_much_memory(self) -> list[tuple[str, str]]:
        watched = {e.namespace: (name, e) for name, e in self._watched.items() if e.memory is not None and e.namespace}
        if not watched:
            return []
        pids: dict[int, list[int]] = {namespace: [] for namespace in watched}
        for namespace, pid in procfs.members(watched):
            pids[namespace].append(pid)
        return [(name, "memory") for ns, (name, entry) in watched.items() if _memory(entry, pids[ns])]

    # -- disk ----------------------------------------------------------------------------------------------------

    def _free(self) -> tuple[int, int]:
        status = os.statvfs(self._data)
        return status.f_bfree * status.f_frsize, status.f_ffree

    def _too_much_disk(self) -> list[tuple[str, str]]:
        found = []
        free, files = self._free()
        running = sum(entry.summing is not None for entry in self._watched.values())
        for name, entry in sorted(self._watched.items(), key=lambda item: item[1].looked):
            if entry.disk is None:
                continue
            if entry.summing is not None:
                if entry.summing.poll() is not None and self._summed(entry, entry.disk):
                    found.append((name, "disk"))
            elif running < _AT_ONCE and _due(entry, entry.disk, free, files):
                running += 1
                entry.free, entry.free_files, entry.looked = free, files, time.monotonic()
                entry.summing = subprocess.Popen(
                    [*self._as_owner, "/bin/sh", "-c", _SUM, "sh", entry.folder],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    env={"PATH": "/usr/bin:/bin"}, start_new_session=True,
                )  # fmt: skip
        return found

    def _summed(self, entry: _Watched, limit: int) -> bool:
        assert entry.summing is not None
        said = _close(entry.summing).split()
        entry.summing = None
        entry.took = time.monotonic() - entry.looked
        entry.looked = time.monotonic()
        size, files = (int(word) if word.isdigit() else 0 for word in (*said, b"", b"")[:2])
        entry.used = size
        return size > limit or files > limit // BYTES_PER_FILE


def _due(entry: _Watched, limit: int, free: int, files: int) -> bool:
    quiet = time.monotonic() - entry.looked
    lost = entry.free - free
    if lost * 2 >= limit - entry.used:
        return quiet >= STEP
    lost_files = entry.free_files - files
    return quiet >= (4 * entry.took if lost * 16 > limit or lost_files * 16 > limit // BYTES_PER_FILE else _SELDOM)


def _memory(entry: _Watched, pids: list[int]) -> bool:
    assert entry.memory is not None
    shared, files = procfs.shared_memory(entry.init)
    if files > _SHARED_FILES:
        return True
    if sum(map(procfs.resident, pids)) + shared <= entry.memory:
        return False
    shares = [procfs.proportional(pid) for pid in pids]
    return sum(anonymous for anonymous, _ in shares) + max(shared, sum(mapped for _, mapped in shares)) > entry.memory


def _close(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    process.wait()
    return said
