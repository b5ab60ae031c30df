"""Folders locked by whoever lives or works in them; the kernel lets go when we die."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator


def lock(folder: str) -> int:
    """Return the descriptor of a folder, locked. Raises BlockingIOError when somebody else holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Hold a folder, and wait for it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
