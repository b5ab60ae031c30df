"""What an agent may try to get out. Every probe runs twice: against a sandbox as it is, where it must meet a wall, and
against one whose launcher left that wall out, where it must get through: a probe that cannot get through proves nothing.

Probes look, they change nothing: what would harm the machine is opened, never written. `weaken` names all the walls that
a probe meets; where there are two, one alone would still hold it. A few walls stand in the kernel or in bwrap and cannot
be left out: WALLS_OF_OTHERS, blocked only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tickover.sandbox.base import Bind, ResourceLimits, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend
from tickover.sandbox.launcher.identity import AGENT, CANONICAL
from tickover.sandbox.launcher.seccomp import ARCHITECTURES, SAME_EVERYWHERE
from tickover.testing.sandbox import PYTHON, finish, new_name

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = os.geteuid() == 0
INTEL = platform.machine() == "x86_64"
MIB = 1 << 20

# What every probe can use: `call` by number or name, `host` = what the test tells of the host, `reached` and `blocked`.
PRELUDE = """
import ctypes, errno, fcntl, json, mmap, os, resource, signal, socket, struct, sys
host = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
class Refused(Exception): pass
def checked(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
def call(name, *words):
    number = host["calls"][name] if isinstance(name, str) else name
    return checked(libc.syscall(ctypes.c_long(number), *[ctypes.c_long(w) if isinstance(w, int) else w for w in words]))
def say(got, why):
    print(json.dumps({"reached": got, "why": str(why)[:300]}), flush=True); os._exit(0)
def reached(why=""): say(True, why)
def blocked(why=""): say(False, why)
def probe():
"""
EPILOGUE = """
try:
    reached(probe())
except (OSError, ValueError, MemoryError, Refused) as error:
    blocked(repr(error))
"""


@dataclass(frozen=True)
class Probe:
    name: str
    weaken: tuple[str, ...]
    code: str
    limits: dict[str, Any] = field(default_factory=dict)
    root: bool = False
    """Whether leaving its walls out takes a host root to leave out."""
    uid: int = 1000
    """As uid 0 there is one user namespace, else two, and capabilities in the inner one are nothing to a mount."""
    not_here: tuple[str, ...] = ()
    """Errors by which a kernel without the feature answers when the wall is gone."""


FILTER = ("system_call_filter",)
POWER = ("system_call_filter", "no_capabilities")
NETWORK = ("empty_network",)

PROBES = [
    # -- the network
    Probe("host_tcp_port", NETWORK, "socket.create_connection(('127.0.0.1', host['tcp']), 5)"),
    Probe("host_abstract_socket", NETWORK, "socket.socket(socket.AF_UNIX).connect('\\0' + host['abstract'])"),
    Probe(
        "a_way_out",
        NETWORK,
        "names = [l.split(':')[0].strip() for l in open('/proc/net/dev').readlines()[2:]]\n"
        "if names == ['lo']: raise Refused(names)\n"
        "return names",
    ),
    Probe("raw_socket", ("no_capabilities",), "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", uid=0),
    Probe("packet_socket", POWER, "socket.socket(17, socket.SOCK_RAW)", uid=0),
    *(
        Probe(
            f"family_{name}", FILTER, f"socket.socket({number}, socket.{kind})",
            not_here=("Address family not supported", "Protocol not supported", "Socket type not supported"),
        )
        for name, number, kind in (
            ("alg", 38, "SOCK_SEQPACKET"), ("vsock", 40, "SOCK_STREAM"), ("tipc", 30, "SOCK_STREAM"),
            ("rds", 21, "SOCK_SEQPACKET"), ("kcm", 41, "SOCK_DGRAM"), ("can", 29, "SOCK_RAW"),
        )
    ),
    # -- namespaces and mounts
    Probe("user_namespace_by_unshare", FILTER, "checked(libc.unshare(0x10000000))"),
    Probe(
        "user_namespace_by_clone",
        FILTER,
        "pid = call('clone', 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)\n"
        "if pid == 0: os._exit(0)\n"
        "os.waitpid(pid, 0)",
    ),
    Probe(
        "user_namespace_by_clone3",
        FILTER,
        "words = ctypes.create_string_buffer(struct.pack('11Q', 0x10000000, 0, 0, 0, signal.SIGCHLD, *[0] * 6))\n"
        "pid = call(435, words, 88)\n"
        "if pid == 0: os._exit(0)\n"
        "os.waitpid(pid, 0)",
    ),
    Probe("mount", POWER, "checked(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None))", uid=0),
    Probe("mount_by_the_new_calls", POWER, "call('fsopen', b'tmpfs', 0)", uid=0),
    Probe("unmount", POWER, "checked(libc.umount2(b'/dev/shm', 2))", uid=0),
    Probe("chroot", POWER, "os.chroot('/tmp')"),
    Probe("enter_a_namespace", POWER, "checked(libc.setns(os.open('/proc/self/ns/net', os.O_RDONLY), 0))", uid=0),
    Probe("host_name", POWER, "checked(libc.sethostname(b'evil', 4))", uid=0),
    # -- the kernel's wide doors
    Probe("io_uring", FILTER, "call('io_uring_setup', 4, ctypes.create_string_buffer(120))"),
    Probe(
        "bpf",  # as OBJ_GET, which a host that forbids programs to users still answers
        FILTER,
        "try: call('bpf', 7, ctypes.create_string_buffer(struct.pack('QII', 0, 0, 0)), 16)\n"
        "except OSError as error:\n"
        "  if error.errno == errno.EPERM: raise",
    ),
    Probe("keyring", FILTER, "call('keyctl', 0, -3, 1)"),
    Probe("add_key", FILTER, "call('add_key', b'user', b'a', b'b', 1, -2)"),
    Probe("userfaultfd", FILTER, "call('userfaultfd', 1)", not_here=("Function not implemented",)),
    Probe(
        "perf_events",
        FILTER,
        "words = struct.pack('IIQQQQQ', 1, 112, 1, 0, 0, 0, 0b1100001).ljust(112, b'\\0')\n"
        "call('perf_event_open', ctypes.create_string_buffer(words), 0, -1, -1, 0)",
        not_here=("Function not implemented", "No such file or directory"),
    ),
    Probe("file_handles", FILTER, "call('name_to_handle_at', -100, b'/usr', ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128)), ctypes.create_string_buffer(8), 0)"),
    Probe("memory_of_others", FILTER, "b = ctypes.create_string_buffer(8); v = ctypes.create_string_buffer(struct.pack('QQ', ctypes.addressof(b), 8))\ncall('process_vm_readv', os.getpid(), v, 1, v, 1, 0)"),
    Probe("kcmp", FILTER, "call('kcmp', os.getpid(), os.getpid(), 0, 0, 0)", not_here=("Function not implemented",)),
    Probe("the_clock", FILTER, "call('adjtimex', ctypes.create_string_buffer(256))"),
    Probe("quota", FILTER, "try: call('quotactl', 0x800001 << 8, 0, 0, 0)\nexcept OSError as error:\n  if error.errno == errno.EPERM: raise"),
    *([] if not INTEL else [
        Probe(
            "calls_of_i386",  # getpid by int 0x80
            FILTER,
            "page = mmap.mmap(-1, 4096, prot=7)\n"
            "page.write(bytes.fromhex('b814000000cd80c3'))\n"
            "return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()",
        ),
        Probe("calls_of_x32", FILTER, "call(0x40000000 + 39)", not_here=("Function not implemented",)),
        Probe("segments", FILTER, "call('modify_ldt', 0, ctypes.create_string_buffer(64), 64)", not_here=("Function not implemented",)),
    ]),
    Probe(
        "keystrokes_for_others",  # TIOCSTI, on a terminal of the probe's own
        FILTER,
        "os.setsid() if os.getpid() != os.getsid(0) else None\n"
        "main, side = os.openpty()\n"
        "fcntl.ioctl(side, 0x540E, 0)\n"
        "fcntl.ioctl(side, 0x5412, b'x')",
        not_here=("Input/output error",),
    ),
    # -- other processes, and what ours brought along
    Probe("processes_of_the_host", ("private_processes",), "try: os.kill(host['pid'], 0)\nexcept PermissionError: pass"),
    Probe("environment_of_the_launcher", ("empty_environment",), "text = open('/proc/1/environ', 'rb').read()\nif b'CANARY' not in text: raise Refused(text)"),
    Probe("descriptors_of_the_launcher", ("closed_descriptors",), "names = set(os.listdir('/proc/self/fd')) - {'0', '1', '2'}\nnames = [n for n in names if os.path.exists(f'/proc/self/fd/{n}')]\nif not names: raise Refused('only 0, 1, 2')\nreturn names"),
    Probe("core_dumps", ("core_dumps_off",), "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))"),
    Probe("shared_memory_of_the_host", ("private_ipc",), "checked(libc.shmget(host['segment'], 0, 0))"),
    # -- files
    Probe("files_of_the_host", ("base_allowlist",), "return open(host['file']).read()"),
    Probe("control_groups_and_sys", ("base_allowlist",), "return os.listdir('/sys/fs/cgroup')"),
    Probe("home_of_the_user", ("base_allowlist",), "names = os.listdir(host['home'])"),
    Probe("a_read_only_folder", ("read_only_binds",), "open('/opt/shown/file', 'w')", uid=1000),
    Probe("settings_of_the_kernel", ("private_uids",), "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)", root=True),
    Probe("memory_policy_of_the_kernel", ("private_uids",), "os.open('/proc/sys/vm/overcommit_memory', os.O_WRONLY)", root=True),
    Probe(
        "files_that_the_host_keeps_to_root", ("private_uids", "base_allowlist"), "return open('/etc/shadow').read(1)", root=True
    ),
    # -- bombs: bounded ones
    Probe("memory", ("memory_limit",), "x = b'x' * (300 << 20)", limits={"memory": 128 * MIB}),
    Probe(
        "memory_that_is_not_mapped",
        ("memory_limit", "system_call_filter"),
        "f = os.memfd_create('x')\n"
        "for _ in range(300): os.write(f, bytes(1 << 20))",
        limits={"memory": 128 * MIB},
    ),
    Probe(
        "segments_that_nobody_maps",
        ("memory_limit", "system_call_filter"),
        "libc.shmat.restype = ctypes.c_void_p\n"
        "for _ in range(10):\n"
        "  at = libc.shmat(checked(libc.shmget(0, 30 << 20, 0o1600)), None, 0)\n"
        "  ctypes.memset(at, 1, 30 << 20)\n"
        "  libc.shmdt(ctypes.c_void_p(at))",
        limits={"memory": 128 * MIB},
    ),
    Probe("memory_in_dev_shm", ("small_shared_memory",), "f = open('/dev/shm/x', 'wb')\nfor _ in range(300): f.write(bytes(1 << 20))", limits={"memory": 1024 * MIB}),
    Probe("memory_in_dev", ("small_shared_memory",), "open('/dev/x', 'wb')"),
    Probe(
        "processes",
        ("process_limit",),
        "for _ in range(120):\n"
        "  if not os.fork(): signal.pause()",
        limits={"pids": 60},
    ),
    # As an ordinary user the limit is watched, not built in: what is written stays until the watch has come round.
    Probe("disk", ("disk_limit",), "for k in range(40):\n  f = open(f'/tmp/{k}', 'wb')\n  for _ in range(8): f.write(bytes(1 << 20)); os.fsync(f.fileno())\nsignal.sigtimedwait([], 8)", limits={"disk": 64 * MIB}),
    Probe("one_large_file", ("disk_limit",), "open('/tmp/x', 'wb').truncate(1 << 40)", limits={"disk": 64 * MIB}),
]  # fmt: skip

WALLS_OF_OTHERS = {
    "device_nodes": "os.mknod('/tmp/disk', 0o60666, os.makedev(254, 0))",
    "set_id_programs": "os.setuid(1001)",
    "no_new_privileges": "if 'NoNewPrivs:\\t1' in open('/proc/self/status').read(): raise Refused('set')",
    "capabilities": "lines = open('/proc/self/status').read()\nif 'CapEff:\\t0000000000000000' in lines and 'CapBnd:\\t0000000000000000' in lines: raise Refused('none')",
    "devices": "names = [n for n in ('kvm', 'fuse', 'mem', 'kmsg', 'vda', 'sda', 'loop-control', 'net/tun', 'vsock') if os.path.exists('/dev/' + n)]\nif not names: raise Refused('none')",
    "kernel_memory": "os.open('/proc/kcore', os.O_RDONLY)",
    "magic_keys": "os.open('/proc/sysrq-trigger', os.O_WRONLY)",
    "hard_links_to_the_host": "os.link('/usr/bin/env', '/tmp/env')",
    "hard_links_to_our_files": "os.link('/tickover/file', '/tmp/file')",
    "root_of_pid_1": "os.stat('/proc/1/root' + host['file'])",
    "folder_of_the_data": "os.stat(host['data'])",
    "reading_1_through_a_descriptor": "os.stat('/proc/1/cwd' + host['file'])",
    "kernel_log": "call('syslog', 3, ctypes.create_string_buffer(64), 64)",
    "time_set": "libc.settimeofday.argtypes = (ctypes.c_char_p, ctypes.c_void_p)\nchecked(libc.settimeofday(struct.pack('qq', 0, 0), None))",
    "resource_limits_back": "resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))",
    "priority": "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    "real_time": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "less_likely_to_die": "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')",
    "network_settings": "os.open('/proc/sys/net/ipv4/ip_forward', os.O_WRONLY)",
    "programs_of_the_host": "open('/usr/bin/env', 'r+b')",
    "names_from_outside": "socket.getaddrinfo('example.com', 80)",
    "clouds_metadata": "socket.create_connection(('169.254.169.254', 80), 3)",
    "datagrams": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "ipv6": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('2001:db8::1', 53))",
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def strong(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BwrapBackend]:
    backend = await BwrapBackend.open(tmp_path_factory.mktemp("strong") / "data")
    yield backend
    await backend.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def weak(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BwrapBackend]:
    backend = await BwrapBackend.open(tmp_path_factory.mktemp("weak") / "data", weaken=True)
    yield backend
    await backend.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What is on the host for a probe to reach, all of it ours and open to everybody: only the sandbox is in the way."""
    architecture = ARCHITECTURES[platform.machine()]
    folder = Path(os.path.realpath(tmp_path_factory.getbasetemp()))
    with contextlib.ExitStack() as stack:
        for parent in (folder, *folder.parents):
            if parent.stat().st_uid == os.getuid() and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o055)
        (folder / "canary").write_text("the canary sings")
        (folder / "canary").chmod(0o644)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{new_name('tickover-test')}")
        abstract.listen()
        libc = ctypes.CDLL(None, use_errno=True)
        key = int.from_bytes(os.urandom(3), "big") | 1 << 24
        segment = libc.shmget(key, 4096, 0o1666)
        assert segment >= 0
        stack.callback(libc.shmctl, segment, 0, None)
        yield {
            "calls": {**architecture.denied, **SAME_EVERYWHERE, "clone": architecture.clone},
            "tcp": tcp.getsockname()[1],
            "abstract": abstract.getsockname()[1:].decode(),
            "segment": key,
            "file": str(folder / "canary"),
            "home": str(folder),
            "pid": os.getpid(),
        }


async def try_out(
    backend: BwrapBackend, host: dict[str, Any], code: str, probe: Probe | None = None, weaken: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run a probe; one that is killed was blocked."""
    program = PRELUDE + "".join(f"    {line}\n" for line in code.splitlines()) + EPILOGUE
    shown = backend.data / "layers" / "shown"
    if not shown.exists():
        shown.mkdir()
        (shown / "file").touch()
        if ROOT:
            for path in (shown, shown / "file"):
                os.chown(path, CANONICAL + AGENT, CANONICAL + AGENT)
    spec = SandboxSpec(
        name=new_name("probe"),
        argv=[*PYTHON, program, json.dumps({**host, "data": str(backend.data)})],
        binds=(Bind(shown, "/opt/shown"),) if "/opt/shown" in code else (),
        files={"/tickover/file": b"ours"} if "/tickover/" in code else {},
        uid=1000 if probe is None else probe.uid,
        limits=ResourceLimits(**(probe.limits if probe is not None else {})),
    )
    sandbox = await backend.start(spec, weaken=weaken)
    try:
        ran = await finish(sandbox)
    finally:
        await sandbox.destroy()
    if ran.stdout:
        said: dict[str, Any] = json.loads(ran.stdout)
        return said
    assert ran.exit.code != 0
    assert b"Traceback" not in ran.stderr, ran.stderr.decode()
    return {"reached": False, "why": f"{ran.exit} {ran.stderr.decode()[-300:]}"}


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_blocked(strong: BwrapBackend, host: dict[str, Any], probe: Probe) -> None:
    said = await try_out(strong, host, probe.code, probe)
    assert not said["reached"], said


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_it_bites(weak: BwrapBackend, host: dict[str, Any], probe: Probe) -> None:
    if probe.root and not ROOT:
        pytest.skip("an ordinary user has no host root to be")
    said = await try_out(weak, host, probe.code, probe, probe.weaken)
    if any(word in said["why"] for word in probe.not_here):
        pytest.skip(f"this kernel has no such thing: {said['why']}")
    assert said["reached"], said


@pytest.mark.parametrize("name", WALLS_OF_OTHERS)
async def test_blocked_by_what_cannot_be_left_out(strong: BwrapBackend, host: dict[str, Any], name: str) -> None:
    said = await try_out(strong, host, WALLS_OF_OTHERS[name])
    assert not said["reached"], said
