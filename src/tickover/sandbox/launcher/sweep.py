"""What a killed launcher left on the host: found by unlocked folders, removed before anything new starts.

Its processes are gone: they lived in its pid namespace, which the kernel ends with it. Left are folders and control
groups; no pid is ever written down, which may be somebody else's by now.
"""

from __future__ import annotations

import json
import os
import re
from typing import Final

from tickover.sandbox.launcher import berth, cgroups
from tickover.sandbox.launcher.locks import lock, locked

_TOKEN: Final = re.compile(r"[0-9a-f]{16}")


def sweep(machine: berth.Machine) -> list[str]:
    """Remove every sandbox of this data folder whose launcher is gone; return their names."""
    left = {}
    with locked(f"{machine.data}/spare"):
        for home in (f"{machine.data}/sandboxes", f"{machine.data}/spare"):
            for name in sorted(os.listdir(home)):
                try:
                    left[f"{home}/{name}"] = lock(f"{home}/{name}")
                except OSError:  # somebody lives there, or it went meanwhile
                    continue
    for folder, held in left.items():
        for group in _groups(folder):
            cgroups.remove_folder(group)
        berth.remove_tree_now(folder, machine.as_owner())
        os.close(held)
    return [os.path.basename(folder) for folder in left]


def _groups(folder: str) -> list[str]:
    """Read the control groups written down in a folder, believing nothing that we would not have written."""
    try:
        with open(f"{folder}/{berth.HOST}", encoding="ascii") as file:
            note = json.load(file)
        token = str(note["token"])
        groups = [str(group) for group in note["groups"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    name = f"/{cgroups.PREFIX}{token}"
    ours = [g for g in groups if g.startswith("/sys/fs/cgroup/") and os.path.normpath(g) == g and g.endswith(name)]
    return ours if _TOKEN.fullmatch(token) else []
