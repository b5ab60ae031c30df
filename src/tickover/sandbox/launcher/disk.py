"""How much a sandbox may write: a file system of that size as root, a watcher otherwise.

As root every sandbox gets a sparse ext4 image: full is ENOSPC at once, for bytes and for files. An ordinary user
cannot mount one, so a watcher walks the writable folders and sums resident memory where no control group counts it;
between two looks more can be written (RLIMIT_FSIZE bounds one file), and SECURITY.md says so.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

from tickover.sandbox.launcher import kernel

_STEP: Final = 0.25  # seconds between two looks, at least
_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"


def can_make_images() -> bool:
    """Whether this machine has mkfs.ext4 and loop devices that we may use."""
    return _mkfs() is not None and os.access("/dev/loop-control", os.R_OK | os.W_OK)


def _mkfs() -> str | None:
    return shutil.which("mkfs.ext4", path=_PATH)


def template(folder: str, size: int) -> str:
    """Make (or find) an empty file system image of `size` bytes below `folder`."""
    path = f"{folder}/ext4-{size}"
    if os.path.exists(path):
        return path
    making = f"{path}.{os.getpid()}"
    with open(making, "wb") as image:
        image.truncate(size)
    program = _mkfs()
    if program is None:
        raise OSError("mkfs.ext4 is not installed")
    options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    command = [program, "-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", options, making]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, env={"PATH": _PATH})
    os.rename(making, path)
    return path


def copy_sparse(source: str, destination: str) -> None:
    """Copy a file's data and keep its holes."""
    with open(source, "rb") as old, open(destination, "wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        position = 0
        while position < size:
            try:
                start = os.lseek(old.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            position = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            while start < position:
                start += os.copy_file_range(old.fileno(), new.fileno(), position - start, start, start)


def mount_image(image: str, target: str) -> None:
    """Mount an image; the loop device goes away with the mount."""
    descriptor = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        device = kernel.attach_loop(descriptor)
    finally:
        os.close(descriptor)
    try:
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOATIME
        kernel.mount(device, target, "ext4", flags, "noinit_itable,errors=continue")
    finally:
        kernel.release_loop(device)


def is_full(path: str) -> bool:
    """Whether the file system at `path` has no block or no inode left to give."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize < 64 << 10 or status.f_favail < 16


def folder_bytes(path: str, as_owner: list[str]) -> int:
    """Sum the blocks of a tree that may be hostile and changing, by du(1), with the rights of its owner."""
    command = [*as_owner, "du", "-sx", "--block-size=1", "--", path]
    found = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, env={"PATH": _PATH})
    number, _, _ = found.stdout.partition(b"\t")
    return int(number) if number.isdigit() else 0


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below `pid` (and itself), as /proc tells them."""
    stack = [pid]
    while stack:
        current = stack.pop()
        yield current
        try:
            with open(f"/proc/{current}/task/{current}/children", encoding="ascii") as children:
                stack += [int(child) for child in children.read().split()]
        except OSError:
            continue


def resident(pid: int) -> int:
    """Sum the resident memory below `pid`, in bytes; shared pages count once per process."""
    total = 0
    for process in descendants(pid):
        try:
            with open(f"/proc/{process}/statm", encoding="ascii") as numbers:
                total += int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            continue
    return total


def watch(init: int, folder: str, as_owner: list[str], *, disk: int | None, memory: int | None, out: int) -> None:
    """Run in a child of the launcher: write one byte, `d` or `m`, when a limit is passed; never return before."""
    pause = _STEP
    rounds = 0
    while True:
        readable, _, _ = select.select([], [], [out], pause)
        if readable or not os.path.exists(f"/proc/{init}"):
            return
        if memory is not None and resident(init) > memory:
            os.write(out, b"m")
            return
        if disk is not None and rounds % 2 == 0:
            before = os.times().elapsed
            if folder_bytes(folder, as_owner) > disk:
                os.write(out, b"d")
                return
            pause = max(_STEP, 4 * (os.times().elapsed - before))
        rounds += 1
