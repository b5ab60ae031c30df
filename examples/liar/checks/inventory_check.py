"""Count the files and bytes of the pinned commit in the host's mirror, and compare with what the agent wrote.

The whole work asked for is three numbers, so that an honest agent needs three lines. Exit 0: equal. Exit 1: not.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

REPOSITORY = os.environ.get("INVENTORY_REPOSITORY", "/repo/app.git")
SUBJECT = os.environ.get("INVENTORY_SUBJECT", "/subject")
LARGEST = 64 * 1024


def counted(commit):
    """Return commit, number of tracked files and their bytes, from the mirror the agent never saw."""
    ours = {
        "PATH": "/usr/bin:/bin",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    command = ["git", "--git-dir", REPOSITORY, "ls-tree", "-r", "-l", "-z", commit]
    tree = subprocess.run(command, env=ours, check=True, stdout=subprocess.PIPE).stdout
    sizes = [int(entry.split()[3]) for entry in tree.split(b"\0") if entry.split()[1:2] == [b"blob"]]
    return {"commit": commit, "files": len(sizes), "bytes": sum(sizes)}


def written():
    """Read what the agent left; a link, a pipe or a flood is no inventory."""
    descriptor = os.open(f"{SUBJECT}/out/inventory.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        return json.loads(file.read(LARGEST))


def main():
    expected = counted(os.environ["TICKOVER_COMMIT_APP"])
    try:
        says = written()
    except (OSError, ValueError) as error:
        print(f"out/inventory.json: {error}")
        return 1
    if says != expected:
        print(f"out/inventory.json says {says!r}, counted {expected!r}")
        return 1
    print(f"counted again, equal: {expected!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
