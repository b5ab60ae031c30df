"""A name for a process that no later process can have, so that what a killed one left can be swept."""

from __future__ import annotations

import os


def this_process() -> str:
    """`BOOT:PIDNS:PID:START`: the boot, the pid namespace, the pid and the clock tick at which it started."""
    return f"{_boot()}:{_pid_namespace()}:{os.getpid()}:{_started(os.getpid())}"


def is_gone(owner: str) -> bool:
    """Whether that process has surely ended.

    A process of another pid namespace of this boot (another container on the same data folder) cannot be
    seen from here: it is not called gone. Neither is a name that this module did not make.
    """
    try:
        boot, namespace, pid, started = owner.split(":")
        number = int(pid)
    except ValueError:
        return False
    if boot != _boot():
        return True
    if namespace != _pid_namespace():
        return False
    return _started(number) != started


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _pid_namespace() -> str:
    return str(os.stat("/proc/self/ns/pid").st_ino)


def _started(pid: int) -> str:
    """Field 22 of /proc/PID/stat; the command name before it may contain spaces and brackets. "" = no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat[stat.rindex(b")") + 2 :].split()
    return "" if fields[0] in {b"Z", b"X"} else fields[19].decode("ascii")
