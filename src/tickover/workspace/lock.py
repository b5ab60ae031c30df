"""File locks that an event loop can wait for, and that the kernel gives back when we die."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final, Self

from tickover.core.errors import TickoverError

_LOOK: Final = 0.02  # seconds between two tries: flock(2) has no wake-up that an event loop can wait for


class FileLock:
    """A held flock on `path`; released by `close`, by the end of a `with`, or by our death."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def try_take(cls, path: Path, *, shared: bool = False) -> FileLock | None:
        """Take it at once, or return None."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if _still_there(path, descriptor):
                return cls(path, descriptor)
            os.close(descriptor)  # removed between our open and our lock: the next holder would not see ours

    @classmethod
    async def take(cls, path: Path, *, shared: bool = False, timeout_s: float = 900) -> FileLock:
        """Wait for it, `timeout_s` seconds at most. Raises TickoverError `workspace.busy`."""
        try:
            async with asyncio.timeout(timeout_s):
                while (lock := cls.try_take(path, shared=shared)) is None:  # noqa: ASYNC110 - another process holds it
                    await asyncio.sleep(_LOOK)
                return lock
        except TimeoutError as error:
            raise TickoverError(
                "workspace.busy",
                f"another run has been at work on {path.stem} for more than {timeout_s:g} s",
                hint="wait for it, or cancel that run",
            ) from error

    def remove(self) -> None:
        """Remove the file itself while it is held exclusively."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give it back. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (status.st_dev, status.st_ino) == (held.st_dev, held.st_ino)
