"""What a killed launcher left on the host: found by unlocked folders, removed before anything new starts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os

from tickover.sandbox.launcher.cgroups import remove_folder
from tickover.sandbox.launcher.process import Machine, start_removal


def sweep(machine: Machine) -> list[str]:
    """Remove every sandbox of this data folder whose launcher is gone; return their names."""
    home = f"{machine.data}/sandboxes"
    removed = []
    for name in sorted(os.listdir(home)):
        folder = f"{home}/{name}"
        try:
            lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # killed before it was locked, or being made right now
            if _age(folder) < 60:
                continue
            lock = -1
        except NotADirectoryError:
            continue
        try:
            if lock >= 0:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        for group in _groups(folder):
            remove_folder(group)
        os.waitpid(start_removal(folder, machine.as_owner()), 0)
        removed.append(name)
        if lock >= 0:
            os.close(lock)
    return removed


def _groups(folder: str) -> list[str]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        with open(f"{folder}/host.json", encoding="ascii") as file:
            groups = json.load(file)["groups"]
        return [g for g in groups if g.startswith("/sys/fs/cgroup/") and os.path.basename(g).startswith("tickover-")]
    return []


def _age(folder: str) -> float:
    """Seconds since the folder changed, by the file system's own clock."""
    probe = f"{folder}.now"
    try:
        with open(probe, "wb"):
            now = os.stat(probe).st_mtime
        os.unlink(probe)
        return now - os.stat(folder).st_mtime
    except OSError:
        return 0.0
