"""Where a sandbox lies: its folder, control groups, and as root its uid range and disk image.

Nothing here depends on what will run, so the launcher can make the next one while it is idle. Everything that outlives
a kill -9 (the folder, the groups) can be found again: the folder is locked while we live, and `host.json` is written
into it before anything else is made. The token names this sandbox and no other, on the whole machine.

    DATA/spare/TOKEN                    the next sandbox, until it has a name
    DATA/sandboxes/NAME/host.json
    DATA/sandboxes/NAME/disk.img        as root, unless sealable
    DATA/sandboxes/NAME/TOKEN/UPPER/up
    DATA/sandboxes/NAME/files/          what the spec's `files` say
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from typing import Final

from tickover.sandbox.launcher import cgroups, disk, kernel
from tickover.sandbox.launcher.identity import AGENT, CANONICAL, Slot, Slots
from tickover.sandbox.launcher.locks import lock, locked

HOST: Final = "host.json"


@dataclass(slots=True)
class Machine:
    """What this launcher found here, once."""

    data: str
    bwrap: str
    staging: str
    skeleton: str
    as_root: bool
    hierarchy: cgroups.Hierarchy | None
    images: bool
    seccomp: bytes
    slots: Slots = field(default_factory=Slots)

    def own(self, path: str) -> None:
        """Give a path of ours to the sandboxes, in the canonical range."""
        if self.as_root:
            os.lchown(path, CANONICAL + AGENT, CANONICAL + AGENT)

    def as_owner(self) -> list[str]:
        """Return the start of an argv that may read and remove what a sandbox locked away from its own uid."""
        if self.as_root:
            return []
        rights = ["--cap-add", "CAP_DAC_OVERRIDE", "--cap-add", "CAP_FOWNER"]
        rest = ["--die-with-parent", "--dev-bind", "/", "/", "--"]
        return [self.bwrap, "--unshare-user", "--uid", "0", "--gid", "0", *rights, *rest]


class Berth:
    """A place for one sandbox. `size` is that of its disk image; None = plain folders."""

    def __init__(self, machine: Machine, size: int | None) -> None:
        self.machine = machine
        self.size = size
        self.token = secrets.token_hex(8)
        self.slot: Slot | None = None
        self.group: cgroups.Group | None = None
        self.folder = f"{machine.data}/spare/{self.token}"
        self.mounts: list[str] = []
        self._image_mounted = False
        with locked(f"{machine.data}/spare"):  # so that a sweep never sees a folder of the living unlocked
            os.mkdir(self.folder, 0o711)
            self._lock = lock(self.folder)
        try:
            self._make()
        except OSError:
            self.leave()
            remove_tree_now(self.folder, [])
            self.end()
            raise

    def _make(self) -> None:
        groups = [] if self.machine.hierarchy is None else cgroups.Group.paths_of(self.machine.hierarchy, self.token)
        with open(f"{self.folder}/{HOST}", "w", encoding="ascii") as file:
            json.dump({"token": self.token, "groups": groups}, file)
        os.mkdir(self.top, 0o711)
        if self.machine.as_root:
            self.slot = self.machine.slots.take()
            os.mkdir(self._stage, 0o755)
        if self.size is not None:
            image = f"{self.folder}/disk.img"
            disk.copy_sparse(disk.template(f"{self.machine.data}/base", self.size), image)
            disk.mount_image(image, self.top)
            self._image_mounted = True
            os.chmod(self.top, 0o711)  # noqa: S103 - entered by other uids, listed by none

    @property
    def top(self) -> str:
        """The folder of the uppers."""
        return f"{self.folder}/{self.token}"

    @property
    def _stage(self) -> str:
        return f"{self.machine.staging}/{self.token}"

    def take(self, name: str) -> None:
        """Give the place its name, and control groups. Raises OSError when another has the name.

        A folder is never renamed over a full one; groups are not made in advance, for an empty one looks abandoned.
        """
        folder = f"{self.machine.data}/sandboxes/{name}"
        os.rename(self.folder, folder)
        self.folder = folder
        if self.machine.hierarchy is not None:
            self.group = cgroups.Group.make(self.machine.hierarchy, self.token)

    def show(self, source: str, *, writable: bool) -> str:
        """Return the path under which bwrap sees one of our folders or files: as root, a mount in the uid range.

        A symlink on the way is refused: no path of ours has one, and a sandbox may have written this one.
        """
        folder = os.open(self.machine.data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tree = kernel.open_beneath(folder, source)
        finally:
            os.close(folder)
        try:
            if self.slot is None:
                return f"{self.machine.data}/{source}"
            target = f"{self._stage}/{len(self.mounts)}"
            if os.path.isdir(f"/proc/self/fd/{tree}"):
                os.mkdir(target, 0o755)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC, 0o644))
            self.mounts.append(target)
            kernel.attach_copy(tree, target, idmap=self.slot.idmap, writable=writable)
            return target
        finally:
            os.close(tree)

    def is_full(self) -> bool:
        """Whether the image has nothing left to give."""
        return self._image_mounted and disk.is_full(self.top)

    def leave(self) -> None:
        """End what is left in the groups and unmount. No process of the sandbox may live."""
        if self.group is not None:
            self.group.remove()
            self.group = None
        while self.mounts:
            target = self.mounts.pop()
            if os.path.ismount(target):
                kernel.unmount(target)
            if os.path.isdir(target):  # never more than the empty place of a mount
                os.rmdir(target)
            elif os.path.exists(target):
                os.unlink(target)
        if self._image_mounted:
            kernel.unmount(self.top)
            self._image_mounted = False
        if self.machine.as_root and os.path.isdir(self._stage):
            os.rmdir(self._stage)

    def end(self) -> None:
        """Give back the uid range and the lock, after the folder is removed."""
        if self.slot is not None:
            self.machine.slots.give_back(self.slot)
            self.slot = None
        os.close(self._lock)


def start_removal(path: str, as_owner: list[str]) -> int:
    """Start deleting a hostile tree of any depth and any modes, by rm(1); return its pid."""
    command = [*as_owner, "/bin/rm", "-rf", "--one-file-system", "--", path]
    return os.posix_spawn(command[0], command, {"PATH": "/usr/bin:/bin"})


def remove_tree_now(path: str, as_owner: list[str]) -> None:
    """Delete a hostile tree and wait."""
    os.waitpid(start_removal(path, as_owner), 0)
