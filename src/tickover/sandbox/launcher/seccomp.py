"""The system call filter of every sandbox, as classic BPF, from tables per architecture. Pure.

Allow by default, deny what widens the kernel's surface or leaves the sandbox: agents run compilers, browsers and
databases, so an allowlist of calls would be wrong every week. Denied calls answer EPERM; clone3 answers ENOSYS so
that libc falls back to clone, whose flags can be looked at. Instruction format: linux/filter.h; the data is
struct seccomp_data (nr at 0, arch at 4, low halves of arguments from 16 in steps of 8, little endian).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_LOAD, _JUMP_EQ, _JUMP_GT, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF_0000
_KILL: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
_EPERM, _ENOMEM, _ENOSYS, _EAFNOSUPPORT = 1, 12, 38, 97
_ARGUMENT_0, _ARGUMENT_1, _HIGH = 16, 24, 4
_NEW_NAMESPACE: Final = 0x7E02_0000  # CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET
_SOCKET_FAMILIES: Final = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_TERMINAL_INJECTION: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

SAME_EVERYWHERE: Final = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442,
    "quotactl_fd": 443, "open_tree_attr": 467,
}  # fmt: skip
_CLONE3: Final = 435
_MEMFD_SECRET: Final = 447
_SEGMENT: Final = 64 << 10
"""Bytes of a System V segment where nothing counts memory: enough for PostgreSQL's lock, 256 MiB all together."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One machine's numbers (linux: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h)."""

    audit: int
    clone: int
    unshare: int
    socket: int
    socketpair: int
    ioctl: int
    memfd_create: int
    shmget: int
    denied: dict[str, int]
    foreign_from: int | None = None
    """Numbers from here on belong to another ABI of the same machine (x32)."""


X86_64: Final = Architecture(
    audit=0xC000_003E, clone=56, unshare=272, socket=41, socketpair=53, ioctl=16, memfd_create=319, shmget=29,
    foreign_from=0x4000_0000,
    denied={
        "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "setns": 308, "kexec_load": 246,
        "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176, "reboot": 169,
        "swapon": 167, "swapoff": 168, "open_by_handle_at": 304, "name_to_handle_at": 303, "process_vm_readv": 310,
        "process_vm_writev": 311, "quotactl": 179, "acct": 163, "settimeofday": 164, "clock_settime": 227,
        "adjtimex": 159, "clock_adjtime": 305, "syslog": 103, "vhangup": 153, "lookup_dcookie": 212,
        "fanotify_init": 300, "kcmp": 312, "iopl": 172, "ioperm": 173, "modify_ldt": 154, "uselib": 134,
        "ustat": 136, "sysfs": 139, "sethostname": 170, "setdomainname": 171,
    },
)  # fmt: skip

AARCH64: Final = Architecture(
    audit=0xC000_00B7, clone=220, unshare=97, socket=198, socketpair=199, ioctl=29, memfd_create=279, shmget=194,
    denied={
        "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "setns": 268, "kexec_load": 104,
        "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106, "reboot": 142,
        "swapon": 224, "swapoff": 225, "open_by_handle_at": 265, "name_to_handle_at": 264, "process_vm_readv": 270,
        "process_vm_writev": 271, "quotactl": 60, "acct": 89, "settimeofday": 170, "clock_settime": 112,
        "adjtimex": 171, "clock_adjtime": 266, "syslog": 116, "vhangup": 58, "lookup_dcookie": 18,
        "fanotify_init": 262, "kcmp": 272, "sethostname": 161, "setdomainname": 162,
    },
)  # fmt: skip

ARCHITECTURES: Final = {"x86_64": X86_64, "aarch64": AARCH64}


def _op(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, when_true, when_false, value)


def _errno(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


def program(machine: str, *, memory_is_counted: bool = True) -> bytes:
    """Return the filter for `platform.machine()`. Raises KeyError for a machine without a table.

    Where no control group counts memory, what a process could fill without having it mapped is refused, too.
    """
    arch = ARCHITECTURES[machine]
    load_number = _op(_LOAD, 0)
    code = [_op(_LOAD, 4), _op(_JUMP_EQ, arch.audit, 1, 0), _op(_RETURN, _KILL), load_number]
    if arch.foreign_from is not None:
        code += [_op(_JUMP_GE, arch.foreign_from, 0, 1), _errno(_EPERM)]
    answers = {**dict.fromkeys([*arch.denied.values(), *SAME_EVERYWHERE.values()], _EPERM), _CLONE3: _ENOSYS}
    if not memory_is_counted:
        answers |= {arch.memfd_create: _ENOSYS, _MEMFD_SECRET: _ENOSYS}
    for number, answer in sorted(answers.items()):
        code += [_op(_JUMP_EQ, number, 0, 1), _errno(answer)]
    for number in (arch.clone, arch.unshare):
        look = [_op(_LOAD, _ARGUMENT_0), _op(_JUMP_SET, _NEW_NAMESPACE, 0, 1), _errno(_EPERM)]
        code += _only(number, look)
    for number in (arch.socket, arch.socketpair):
        look = [_op(_LOAD, _ARGUMENT_0)]
        look += [_op(_JUMP_EQ, family, len(_SOCKET_FAMILIES) - i, 0) for i, family in enumerate(_SOCKET_FAMILIES)]
        code += _only(number, [*look, _errno(_EAFNOSUPPORT)])
    first, second = _TERMINAL_INJECTION
    look = [_op(_LOAD, _ARGUMENT_1), _op(_JUMP_EQ, first, 1, 0), _op(_JUMP_EQ, second, 0, 1), _errno(_EPERM)]
    code += _only(arch.ioctl, look)
    if not memory_is_counted:
        look = [_op(_LOAD, _ARGUMENT_1 + _HIGH), _op(_JUMP_EQ, 0, 0, 2)]
        look += [_op(_LOAD, _ARGUMENT_1), _op(_JUMP_GT, _SEGMENT, 0, 1), _errno(_ENOMEM)]
        code += _only(arch.shmget, look)
    return b"".join([*code, _op(_RETURN, _ALLOW)])


def _only(number: int, look: list[bytes]) -> list[bytes]:
    """Return the instructions that look closer at one call, whose last is reached to refuse and passed to allow."""
    again = [*look, _op(_LOAD, 0)]  # what follows compares the call's number
    return [_op(_JUMP_EQ, number, 0, len(again)), *again]
