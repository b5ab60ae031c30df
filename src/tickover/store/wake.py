"""Waking whoever waits for a run's next event, in whatever process, without polling.

Each waiter binds a datagram socket `DATA/wake/RUN-HASH.PID.RANDOM`; whoever appends sends one empty datagram
to every socket of that run. It is only a hint: the waiter reads the journal before it sleeps and again at
least every `RECHECK` seconds, so a lost datagram costs time and never an event.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import select
import socket
import time
from collections.abc import Callable
from typing import Final

RECHECK: Final = 1.0
"""Seconds after which a waiter looks by itself."""


ENGINE: Final = "engine"
"""What the engine's own socket is called: whoever changes the queue of runs rings it."""


class Wakes:
    """The sockets of one data folder. Addressed through an open folder: a socket's path may have 107 bytes."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._path = f"/proc/self/fd/{self._folder}"

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def listen(self, name: str) -> tuple[socket.socket, Callable[[], None]]:
        """Return a socket that becomes readable when `name` is notified, and how to let go of it."""
        path = f"{self._path}/{_prefix(name)}{os.getpid()}.{secrets.token_hex(8)}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        listener.bind(path)

        def close() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listener.close()

        return listener, close

    def notify(self, run: str) -> None:
        """Wake the run's waiters. A socket that nobody reads any more (its process was killed) is removed."""
        prefix = _prefix(run)
        names = [name for name in os.listdir(self._path) if name.startswith(prefix)]
        if not names:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            for name in names:
                try:
                    sender.sendto(b"", f"{self._path}/{name}")
                except ConnectionRefusedError:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{self._path}/{name}")
                except (BlockingIOError, FileNotFoundError):
                    continue  # its queue is full, so it is awake already; or it has just left

    def wait(self, run: str, after: int, timeout: float, last_seq: Callable[[], int]) -> int:
        """`last_seq()` as soon as it is beyond `after`, or when `timeout` seconds are over."""
        deadline = time.monotonic() + timeout
        seq = last_seq()
        if seq > after or timeout <= 0:
            return seq
        path = f"{self._path}/{_prefix(run)}{os.getpid()}.{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as waiter:
            waiter.bind(path)
            try:
                while (seq := last_seq()) <= after and (left := deadline - time.monotonic()) > 0:
                    if select.select([waiter], [], [], min(left, RECHECK))[0]:
                        waiter.recv(1)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        return seq


def _prefix(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()[:24] + "."
