"""What a killed launcher left on the host: found by unlocked folders, removed before anything new starts.

Processes are found by the groups written down in the folder, and by its token in their mount tables: never by a pid
written down, which may be somebody else's by now.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import time
from typing import Final

from tickover.sandbox.launcher import berth, cgroups, procfs

_YOUNG: Final = 60.0  # seconds: a folder without a note may be being made by a living launcher
_TOKEN: Final = re.compile(r"[0-9a-f]{16}")


def sweep(machine: berth.Machine) -> list[str]:
    """Remove every sandbox of this data folder whose launcher is gone; return their names."""
    removed = []
    homes = (f"{machine.data}/sandboxes", f"{machine.data}/spare")
    for folder in [f"{home}/{name}" for home in homes for name in sorted(os.listdir(home))]:
        lock = _abandoned(folder)
        if lock is None:
            continue
        token, groups = _note(folder)
        for group in groups:
            cgroups.remove_folder(group)
        if token:
            mark = f"/{token}/"
            procfs.signal_all(lambda pid, mark=mark: procfs.mounts(pid, mark), signal.SIGKILL)  # type: ignore[misc]
        berth.remove_tree_now(folder, machine.as_owner())
        os.close(lock)
        removed.append(os.path.basename(folder))
    return removed


def _abandoned(folder: str) -> int | None:
    """Return the locked descriptor of a folder that nobody else holds."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # gone meanwhile, or no folder: none of ours
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        young = time.time() - os.fstat(lock).st_mtime < _YOUNG
        if os.path.exists(f"{folder}/{berth.HOST}") or not young:
            return lock
    except BlockingIOError:
        pass
    os.close(lock)
    return None


def _note(folder: str) -> tuple[str, list[str]]:
    """Read the token and the control groups, believing nothing that we would not have written."""
    try:
        with open(f"{folder}/{berth.HOST}", encoding="ascii") as file:
            note = json.load(file)
        token = str(note["token"])
        groups = [str(group) for group in note["groups"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []
    if not _TOKEN.fullmatch(token):
        return "", []
    base = cgroups.PREFIX + token
    return token, [
        group
        for group in groups
        if group.startswith("/sys/fs/cgroup/") and os.path.normpath(group) == group and group.endswith(f"/{base}")
    ]
