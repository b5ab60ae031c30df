"""Make a working tree of one commit that borrows its objects from a mirror. Runs git on hostile content, inside.

Everything about the outside of the tree (branches, tags, origin) comes from the request, /tickover/request.json, so
that equal requests give equal checkouts. No hook, filter or submodule of the content is run: none is configured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict  # noqa: UP035 - Python 3.8 runs this too

_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0")


def git(place: str, *arguments: str) -> bytes:
    """Run git in the new repository and return its output; it must succeed."""
    return subprocess.run([*_GIT, "-C", place, *arguments], check=True, stdout=subprocess.PIPE).stdout


def make(request: Dict[str, Any]) -> None:  # noqa: UP006
    """Make the repository and its working tree at request["place"]."""
    place, mirror, branch = request["place"], request["mirror"], request["branch"]
    dot = f"{place}/.git"
    os.makedirs(place, exist_ok=True)
    kind = "--object-format=sha256" if len(request["commit"]) == 64 else "--object-format=sha1"
    git(place, "init", "-q", "--template=", kind)
    for folder in ("info", "objects/info", "refs/remotes/origin"):
        os.makedirs(f"{dot}/{folder}", exist_ok=True)
    write(f"{dot}/objects/info/alternates", f"{mirror}/objects\n")
    write(f"{dot}/info/exclude", "/.tickover/\n")
    if os.path.exists(f"{mirror}/shallow"):
        shutil.copyfile(f"{mirror}/shallow", f"{dot}/shallow")
    refs(request, dot)
    if branch is None:
        write(f"{dot}/HEAD", f"{request['commit']}\n")
    else:
        git(place, "update-ref", f"refs/heads/{branch}", request["commit"])
        git(place, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    settings = {
        "remote.origin.url": request["origin"],
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        # Whole seconds and sizes: device, inode and change time differ in every sandbox that shows this tree.
        "core.checkStat": "minimal",
        "core.trustctime": "false",
    }
    if branch is not None:
        settings[f"branch.{branch}.remote"] = "origin"
        settings[f"branch.{branch}.merge"] = f"refs/heads/{branch}"
    for name, value in settings.items():
        git(place, "config", "--local", name, value)
    git(place, "read-tree", "--reset", "-u", "--no-recurse-submodules", "HEAD")
    settle(place)


def refs(request: Dict[str, Any], dot: str) -> None:  # noqa: UP006
    """Write origin's branches and all tags as they were when the commit was resolved."""
    lines = []
    with open(request["refs"], encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            sha, _, name = line.rstrip("\n").partition(" ")
            if name.startswith("refs/heads/"):
                name = "refs/remotes/origin/" + name[len("refs/heads/") :]
            lines.append((name, sha))
    text = "".join(f"{sha} {name}\n" for name, sha in sorted(lines))
    write(f"{dot}/packed-refs", text)
    if request["default"] is not None:
        write(f"{dot}/refs/remotes/origin/HEAD", f"ref: refs/remotes/origin/{request['default']}\n")


def settle(place: str) -> None:
    """Date the files back and note that, so that git sees at once whether a file was changed since."""
    committed = int(git(place, "log", "-1", "--format=%ct", "HEAD"))
    date = max(0, min(committed, int(time.time()) - 10))
    for name in git(place, "ls-files", "-z").split(b"\0")[:-1]:
        try:
            os.utime(os.path.join(os.fsencode(place), name), (date, date), follow_symlinks=False)
        except FileNotFoundError:  # a submodule's empty folder may be missing
            continue
    git(place, "update-index", "-q", "--refresh")


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def main() -> None:
    """Do what /tickover/request.json says; git's own words go to stderr."""
    with open("/tickover/request.json", encoding="ascii") as file:
        request = json.load(file)
    try:
        make(request)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"git {error.cmd[-2]} failed ({error.returncode})\n")
        sys.exit(3)
