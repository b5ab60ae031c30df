"""How much a sandbox may write: as root a file system image of that size, full at once for bytes and for files."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

from tickover.sandbox.launcher import kernel
from tickover.sandbox.launcher.locks import locked

BYTES_PER_FILE: Final = 16384
"""One file (inode) is allowed for so many bytes of the limit: what mkfs.ext4 gives by default."""

_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_BLOCK: Final = 4096


def can_make_images() -> bool:
    """Whether this machine has mkfs.ext4 and loop devices that we may use."""
    return _mkfs() is not None and os.access("/dev/loop-control", os.R_OK | os.W_OK)


def _mkfs() -> str | None:
    return shutil.which("mkfs.ext4", path=_PATH)


def template(folder: str, size: int) -> str:
    """Make (or find) an empty file system image of `size` bytes below `folder`."""
    size = max(size, 4 << 20) // _BLOCK * _BLOCK
    path = f"{folder}/ext4-{size}"
    with locked(folder):  # one launcher makes it, the others wait
        if not os.path.exists(path):
            making = f"{path}.making"
            try:
                _format(making, size)
                os.rename(making, path)
            finally:
                if os.path.exists(making):
                    os.unlink(making)
    return path


def _format(path: str, size: int) -> None:
    program = _mkfs()
    if program is None:
        raise OSError("mkfs.ext4 is not installed")
    with open(path, "wb") as image:
        image.truncate(size)
    features = ("-b", str(_BLOCK), "-i", str(BYTES_PER_FILE), "-m", "0", "-O", "^has_journal,^resize_inode")
    command = [program, "-q", "-F", *features, "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", path]
    made = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, env={"PATH": _PATH})
    if made.returncode != 0:
        raise OSError(f"mkfs.ext4 makes no file system of {size} bytes: {made.stderr.decode(errors='replace').strip()}")


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
        path, device = kernel.attach_loop(descriptor)
    finally:
        os.close(descriptor)
    try:
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOATIME
        kernel.mount(path, target, "ext4", flags, "noinit_itable,errors=continue")
    finally:
        os.close(device)


def is_full(path: str) -> bool:
    """Whether the file system at `path` has next to nothing left to give: what failed there failed for that."""
    status = os.statvfs(path)
    least = max(1 << 20, status.f_blocks * status.f_frsize // 64)
    return status.f_bavail * status.f_frsize < least or status.f_favail < 16
