"""The filter, run by an interpreter of its own over every call number of both machines."""

from __future__ import annotations

import struct

import pytest

from tickover.sandbox.launcher.seccomp import AARCH64, ARCHITECTURES, SAME_EVERYWHERE, Architecture, program

ALLOW, KILL, ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
EPERM, ENOMEM, ENOSYS, EAFNOSUPPORT = 1, 12, 38, 97
MACHINES = sorted(ARCHITECTURES)
Instruction = tuple[int, int, int, int]


def decoded(text: bytes) -> list[Instruction]:
    return list(struct.iter_unpack("<HBBI", text))


def answer(code: list[Instruction], audit: int, number: int, *arguments: int) -> int:
    """Run classic BPF (linux/filter.h) over a struct seccomp_data."""
    padded = [*arguments, *[0] * 6][:6]
    data = struct.pack("<IIQ6Q", number, audit, 0, *(word & (1 << 64) - 1 for word in padded))
    accumulator = at = 0
    while True:
        operation, when_true, when_false, value = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == 0x06:
            return value
        else:
            tests = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}
            holds = tests[operation] if operation in tests else bool(accumulator & value) and operation == 0x45
            at += when_true if holds else when_false


def refused(error: int) -> int:
    return ERRNO | error


@pytest.fixture(params=[(machine, counted) for machine in MACHINES for counted in (True, False)], ids=str)
def filtered(request: pytest.FixtureRequest) -> tuple[Architecture, list[Instruction], bool]:
    machine, counted = request.param
    return ARCHITECTURES[machine], decoded(program(machine, memory_is_counted=counted)), counted


Filtered = tuple[Architecture, list[Instruction], bool]


def test_every_jump_lands_inside_and_every_path_answers(filtered: Filtered) -> None:
    _, code, _ = filtered
    assert len(code) < 4096
    for at, (operation, when_true, when_false, value) in enumerate(code):
        if operation not in {0x20, 0x06}:
            assert max(when_true, when_false) + at + 1 < len(code)
        if operation == 0x20:
            assert value % 4 == 0
            assert value < 64
    assert code[-1][0] == 0x06


def test_every_number_has_the_answer_of_the_table(filtered: Filtered) -> None:
    arch, code, counted = filtered
    denied = {*arch.denied.values(), *SAME_EVERYWHERE.values()}
    looked_at = {arch.clone, arch.unshare, arch.socket, arch.socketpair, arch.ioctl, arch.shmget}
    for number in range(1024):
        found = answer(code, arch.audit, number, 1 if number in {arch.socket, arch.socketpair} else 0)
        if number in denied:
            assert found == refused(EPERM), number
        elif number == 435 or (number in {arch.memfd_create, 447} and not counted):
            assert found == refused(ENOSYS)
        else:
            assert found == ALLOW, number
            assert number in looked_at or answer(code, arch.audit, number, *[(1 << 64) - 1] * 6) == ALLOW


def test_another_machine_s_calls_kill(filtered: Filtered) -> None:
    arch, code, _ = filtered
    for audit in (0x4000_0003, 0, *(other.audit for other in ARCHITECTURES.values() if other is not arch)):
        assert answer(code, audit, 1) == KILL


def test_the_second_abi_of_a_machine_is_refused(filtered: Filtered) -> None:
    arch, code, _ = filtered
    for number in (0x4000_0000, 0x4000_0001, 0x4000_0027, 0x7FFF_FFFF, 0xFFFF_FFFF):
        assert answer(code, arch.audit, number) == (refused(EPERM) if arch is not AARCH64 else ALLOW)


@pytest.mark.parametrize(
    "flag", [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
)
def test_no_namespace_is_made(filtered: Filtered, flag: int) -> None:
    arch, code, _ = filtered
    for number in (arch.clone, arch.unshare):
        for extra in (0, 17, 0x0001_0F00):
            assert answer(code, arch.audit, number, flag | extra) == refused(EPERM)
            assert answer(code, arch.audit, number, 1 << 32 | flag | extra) == refused(EPERM)
    threads = 0x003D_0F00  # what pthread_create and posix_spawn ask for
    assert answer(code, arch.audit, arch.clone, threads) == ALLOW
    assert answer(code, arch.audit, arch.clone, 0x4111) == ALLOW


def test_four_families_of_sockets(filtered: Filtered) -> None:
    arch, code, _ = filtered
    for number in (arch.socket, arch.socketpair):
        for family in range(256):
            expected = ALLOW if family in {1, 2, 10, 16} else refused(EAFNOSUPPORT)
            assert answer(code, arch.audit, number, family, 1, 0) == expected
        assert answer(code, arch.audit, number, 1 << 32 | 38) == refused(EAFNOSUPPORT)


def test_no_keystrokes_for_others(filtered: Filtered) -> None:
    arch, code, _ = filtered
    for command in (0x5412, 0x541C, 1 << 32 | 0x5412):
        assert answer(code, arch.audit, arch.ioctl, 0, command) == refused(EPERM)
    for command in (0x5401, 0x5413, 0x540E):
        assert answer(code, arch.audit, arch.ioctl, 0x5412, command) == ALLOW


def test_only_small_segments_where_nobody_counts(filtered: Filtered) -> None:
    arch, code, counted = filtered
    assert answer(code, arch.audit, arch.shmget, 0, 65536) == ALLOW
    for size in (65537, 1 << 30, 1 << 32, 1 << 40):
        assert answer(code, arch.audit, arch.shmget, 0, size) == (ALLOW if counted else refused(ENOMEM))


def test_a_machine_without_a_table_has_no_filter() -> None:
    with pytest.raises(KeyError):
        program("riscv64")


def test_both_machines_refuse_the_same_calls() -> None:
    intel_only = {"iopl", "ioperm", "modify_ldt", "uselib", "ustat", "sysfs"}
    names = [set(architecture.denied) for architecture in ARCHITECTURES.values()]
    assert names[0] ^ names[1] == intel_only
    for architecture in ARCHITECTURES.values():
        assert len(set(architecture.denied.values())) == len(architecture.denied)
