"""System calls that the standard library does not offer, each raising OSError with its own name.

Numbers 425 and up are the same on every architecture; the few below differ and are tabled per machine.
Sources: linux/include/uapi/linux/{mount,sched,loop,openat2,nsfs}.h and the man pages of section 2.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import select
import struct
from collections.abc import Collection
from typing import Final

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWNET: Final = 0x4000_0000
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOATIME: Final = 1024
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_AT_RECURSIVE: Final = 0x8000
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_RDONLY: Final = 1
_MOUNT_ATTR_NOSUID: Final = 2
_MOUNT_ATTR_NODEV: Final = 4
_MOUNT_ATTR_IDMAP: Final = 0x0010_0000
_RESOLVE_NO_MAGICLINKS: Final = 2
_RESOLVE_NO_SYMLINKS: Final = 4
_RESOLVE_BENEATH: Final = 8
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_OPENAT2: Final = 437
_SYS_MOUNT_SETATTR: Final = 442
_PR_SET_CHILD_SUBREAPER: Final = 36
_NS_GET_USERNS: Final = 0xB701
_LOOP_CTL_GET_FREE: Final = 0x4C82
_LOOP_CONFIGURE: Final = 0x4C0A
_LO_FLAGS_AUTOCLEAR: Final = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(number: int, what: str, *arguments: object) -> int:
    return _checked(int(_libc.syscall(ctypes.c_long(number), *arguments)), what)


def unshare(flags: int) -> None:
    """Leave the namespaces that we share with our parent; flags as in clone(2)."""
    _checked(_libc.unshare(flags), "unshare")


def enter_user_namespace(descriptor: int) -> None:
    """Become part of a user namespace, with every capability in it: setns(2)."""
    _checked(_libc.setns(descriptor, CLONE_NEWUSER), "setns")


def enter_network(network: int) -> None:
    """Become part of a network namespace, with every capability over it: ioctl_ns(2), setns(2).

    The user namespace that owns it is asked of it: bwrap may have made a second one within.
    """
    owner = fcntl.ioctl(network, _NS_GET_USERNS)
    try:
        enter_user_namespace(owner)
    finally:
        os.close(owner)
    _checked(_libc.setns(network, CLONE_NEWNET), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount a file system; arguments as in the man page of the same name, section 2."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    options = None if data is None else data.encode()
    _checked(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), options), f"mount {target}")


def unmount(target: str) -> None:
    """Detach a mount now, whoever still uses it (umount2 with MNT_DETACH)."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def become_subreaper() -> None:
    """Orphans of our children become our children (prctl PR_SET_CHILD_SUBREAPER)."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def open_beneath(folder: int, path: str) -> int:
    """Open `path` below the folder's descriptor as O_PATH, refusing symlinks and `..` escapes (openat2)."""
    how = struct.pack(
        "QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    )
    arguments = (folder, ctypes.c_char_p(os.fsencode(path)), ctypes.c_char_p(how), ctypes.c_size_t(len(how)))
    return _syscall(_SYS_OPENAT2, f"openat2 {path}", *arguments)


def attach_copy(source: int, target: str, *, idmap: int | None, writable: bool) -> None:
    """Mount a copy of the tree behind the O_PATH descriptor `source` on `target`, id-mapped by a user namespace."""
    tree = _syscall(
        _SYS_OPEN_TREE, "open_tree", source, ctypes.c_char_p(b""), _AT_EMPTY_PATH | _OPEN_TREE_CLONE | os.O_CLOEXEC
    )
    try:
        flags = _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV | (0 if writable else _MOUNT_ATTR_RDONLY)
        flags |= 0 if idmap is None else _MOUNT_ATTR_IDMAP
        attributes = struct.pack("QQQQ", flags, 0, 0, idmap or 0)
        _syscall(
            _SYS_MOUNT_SETATTR,
            "mount_setattr (id-mapped mounts need kernel 5.19 and a file system that supports them)",
            tree,
            ctypes.c_char_p(b""),
            _AT_EMPTY_PATH,
            ctypes.c_char_p(attributes),
            ctypes.c_size_t(len(attributes)),
        )
        place = (ctypes.c_char_p(b""), -100, ctypes.c_char_p(os.fsencode(target)), _MOVE_MOUNT_F_EMPTY_PATH)
        _syscall(_SYS_MOVE_MOUNT, f"move_mount {target}", tree, *place)
    finally:
        os.close(tree)


def attach_loop(image: int) -> tuple[str, int]:
    """Give the image file a loop device; return its path and descriptor.

    It frees itself when its last opener is gone, so mount it before the descriptor is closed.
    """
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    flags = _LO_FLAGS_AUTOCLEAR
    info = struct.pack("5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, flags, b"", b"", b"", 0, 0)
    configuration = struct.pack("2I", image, 4096) + info + bytes(64)
    try:
        for _ in range(64):  # another process may take the free one first
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, configuration)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
                continue
            return path, device
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no free loop device")


def allow_many_files() -> None:
    """Raise our own limit of open files to what the machine allows: a sandbox holds half a dozen."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reap_strangers(known: Collection[int]) -> None:
    """Collect ended processes that became our children when their parent ended."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
        strangers = set(map(int, children.read().split())) - set(known)
    for pid in strangers:
        os.waitpid(pid, os.WNOHANG)


def ready(descriptor: int, events: int, seconds: float) -> int:
    """Wait for poll(2) events on one descriptor; return those that came (0 = none in time)."""
    poll = select.poll()
    poll.register(descriptor, events)
    found = poll.poll(seconds * 1000)
    return found[0][1] if found else 0


def pause(seconds: float) -> None:
    """Wait for something that tells nobody when it is done (a control group that empties)."""
    select.select([], [], [], seconds)
