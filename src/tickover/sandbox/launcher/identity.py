"""Who a sandbox is on the host, when we run as root: a private range of 65,536 uids and gids, never host uid 0.

A sandbox is started as `AGENT` of a user namespace over that range, just as an ordinary user would start it: the
`uid` that it shows inside is a label for that one host uid. Everything of ours on disk that a sandbox may own is stored
in ONE canonical range; each sandbox sees it through id-mapped mounts as its own range, so that layers, checkouts and
workspaces need no chown and two runs share no uid.
The ranges lie in 0x70000000..0x7fffffff, which systemd's "Users, Groups, UIDs and GIDs" leaves unused.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from tickover.sandbox.launcher import kernel

RANGE: Final = 65536
CANONICAL: Final = 0x7000_0000
SLOTS: Final = 4000
AGENT: Final = 1000
"""The member of a range that every sandbox runs as."""


def may_give_ranges() -> bool:
    """Whether we are root with every uid of the host: root of a container's own user namespace is an ordinary user."""
    if os.geteuid() != 0:
        return False
    last = CANONICAL + SLOTS * RANGE
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        return any(int(first) <= CANONICAL and last <= int(first) + int(n) for first, _, n in map(str.split, lines))


class Slot:
    """One range, held machine-wide by an abstract socket that the kernel frees when we die."""

    def __init__(self, number: int, lock: socket.socket) -> None:
        self.number = number
        self.first = CANONICAL + number * RANGE
        self._lock = lock
        self.namespace = self.idmap = -1
        """User namespaces: 0..65535 -> this range, and the canonical range -> this one."""
        try:
            self.namespace = _user_namespace(0, self.first)
            self.idmap = _user_namespace(CANONICAL, self.first)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Give the range back to the machine."""
        for descriptor in (self.namespace, self.idmap):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock.close()


class Slots:
    """The ranges of this launcher; those it has are used again, their namespaces ready made."""

    def __init__(self) -> None:
        self._free: list[Slot] = []
        self._next = 1

    def take(self) -> Slot:
        """Return a range that no other launcher of this machine uses."""
        if self._free:
            return self._free.pop()
        for number in range(self._next, SLOTS):
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0tickover-uid-range-{number}")
            except OSError:
                lock.close()
                continue
            self._next = number + 1
            return Slot(number, lock)
        raise OSError(f"all {SLOTS} uid ranges are in use")

    def give_back(self, slot: Slot) -> None:
        """Make a range whose processes are all gone usable again."""
        self._free.append(slot)

    def close(self) -> None:
        for slot in self._free:
            slot.close()
        self._free.clear()


def _user_namespace(inside: int, outside: int) -> int:
    """Make a user namespace mapping `inside`.. to `outside`.. (RANGE ids) and return its descriptor.

    It belongs to the host's root, so that no process of the range has rights over it.
    """
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER)
            os.write(ready_write, b"x")
            os.close(done_write)
            os.read(done_read, 1)
        finally:
            os._exit(0)
    os.close(ready_write)
    os.close(done_read)
    try:
        if not os.read(ready_read, 1):
            raise OSError("unshare(CLONE_NEWUSER) failed: user namespaces are switched off on this machine")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as table:
                table.write(f"{inside} {outside} {RANGE}\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready_read)
        os.close(done_write)
        os.waitpid(child, 0)
