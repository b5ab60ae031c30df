"""What /proc tells about the processes of a sandbox, found by their pid namespace: no tree to lose a daemon in."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterator
from typing import Final

from tickover.sandbox.launcher import kernel

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def namespace_of(pid: int | str) -> int:
    """Return the number of a process's pid namespace, 0 when it is gone or not ours to know."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0


def members(namespaces: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield (pid namespace, pid) of every living process in one of these namespaces."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (namespace := namespace_of(name)) in namespaces:
            yield namespace, int(name)


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes, pages of others and files included; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def proportional(pid: int) -> tuple[int, int]:
    """Return a process's share of (anonymous, shared) memory in bytes: what several map counts once in their sum."""
    sizes = {"Pss_Anon:": 0, "Pss_Shmem:": 0}
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as lines:
            for line in lines:
                word, _, rest = line.partition(" ")
                if word in sizes:
                    sizes[word] = int(rest.split()[0]) << 10
    except (OSError, ValueError):
        return 0, 0
    return sizes["Pss_Anon:"], sizes["Pss_Shmem:"]


def shared_memory(pid: int) -> tuple[int, int]:
    """Return (bytes, files) on the /dev/shm that this process sees."""
    try:
        status = os.statvfs(f"/proc/{pid}/root/dev/shm")
    except OSError:
        return 0, 0
    return (status.f_blocks - status.f_bfree) * status.f_frsize, status.f_files - status.f_ffree


def state(pid: int) -> str:
    """Return the letter of a process's state (`T` = stopped), empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as line:
            return line.read().rpartition(b") ")[2][:1].decode()
    except OSError:
        return ""


def signal_all(belongs: Callable[[int], bool], number: int, *, done: str = "") -> None:
    """Signal every process that `belongs`, until a whole pass finds each gone or in a state of `done`.

    A pid is looked at again after its descriptor is open: one that was used anew meanwhile is not touched.
    """
    for _ in range(1000):
        clean = True
        for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
            if not belongs(pid) or state(pid) in {"", "Z", "X", *done}:
                continue
            clean = False
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                try:
                    if belongs(pid):
                        signal.pidfd_send_signal(descriptor, number)
                finally:
                    os.close(descriptor)
        if clean:
            return
        kernel.pause(0.005)
    raise OSError("processes of the sandbox do not obey")
