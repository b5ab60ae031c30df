"""Ways out of the sandbox: each is blocked, and each is reached as soon as its protection is taken from the plan.

A probe prints REACHED, or why not. `without` names the protections that must all be missing for it to get there: where
there are two, either of them is enough to stop it.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tickover.sandbox.base import Bind, ResourceLimits, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend
from tickover.sandbox.launcher.identity import CANONICAL

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one launcher for all of them, as one has for all runs

HEAD = """
import ctypes, errno, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result, ctypes.get_errno()
def reached(yes, why=""):
    print("REACHED" if yes else f"blocked: {why}")
"""
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97


@dataclass(frozen=True)
class Probe:
    """One way out."""

    name: str
    code: str
    without: tuple[str, ...]
    uid: int = 1000


def filtered(name: str, number: int, arguments: str = "", *, refused: int = EPERM) -> Probe:
    """A system call that the filter answers. Without it the kernel answers something else, or does it."""
    code = f"r, e = call({number}{arguments}); reached(not (r < 0 and e == {refused}), os.strerror(e))"
    return Probe(name, code, ("system_call_filter", "no_capabilities"))


def kernel_has(family: int, kind: int) -> bool:
    """Whether this kernel knows a socket family at all; if not, there is nothing to reach."""
    try:
        socket.socket(family, kind).close()
    except OSError as error:
        return error.errno != EAFNOSUPPORT
    return True


PROBES = (
    filtered("clone3", 435, ", ctypes.c_char_p(bytes(64)), ctypes.c_size_t(1)", refused=ENOSYS),
    filtered("keyctl", 250, ", 0, -3, 0"),
    filtered("add_key", 248, ", None, None, None, 0, -3"),
    filtered("bpf", 321, ", 99, None, 0"),
    filtered("perf_event_open", 298, ", None, 0, -1, -1, 0"),
    filtered("userfaultfd", 323, ", 1"),
    filtered("io_uring_setup", 425, ", 0, None"),
    filtered("open_by_handle_at", 304, ", -1, None, 0"),
    filtered("process_vm_readv", 310, ", 1, None, 0, None, 0, 9"),
    filtered("mount_setattr", 442, ", -1, None, 0, None, 0"),
    filtered("setns", 308, ", -1, 0x10000000"),
    filtered("kcmp", 312, ", -1, -1, 99, 0, 0"),
    filtered("x32 getpid", 0x40000027),
    Probe(
        "a new user namespace by unshare",
        "r, e = call(272, 0x10000000); reached(r == 0, os.strerror(e))",
        ("system_call_filter",),
    ),
    Probe(
        "a new user namespace by clone",
        "r, e = call(56, 0x10000000 | 17, None, None, None, None)\n"
        "if r == 0: os._exit(0)\n"
        "reached(r > 0, os.strerror(e))",
        ("system_call_filter",),
    ),
    *(
        Probe(
            f"socket family {family}",
            f"try:\n s = socket.socket({number}, {kind}); reached(True)\n"
            f"except OSError as error: reached(error.errno != {EAFNOSUPPORT}, error)",
            ("system_call_filter",),
        )
        for family, number, kind in (("packet", 17, 3), ("alg", 38, 5), ("vsock", 40, 1))
        if kernel_has(number, kind)
    ),
    Probe(
        "typing into the terminal (TIOCLINUX, by the same rule as TIOCSTI)",
        "import fcntl, pty\nm, s = pty.openpty()\n"
        "try: fcntl.ioctl(s, 0x541C, b'x'); reached(True)\n"
        "except OSError as error: reached(error.errno != 1, error)",
        ("system_call_filter",),
    ),
    Probe(
        "a server on the host's loopback",
        "try: socket.create_connection(('127.0.0.1', int(os.environ['HOST_PORT'])), 2); reached(True)\n"
        "except OSError as error: reached(False, error)",
        ("empty_network",),
    ),
    Probe(
        "an abstract socket of the host",
        "s = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect('\\0' + os.environ['HOST_SOCKET']); reached(True)\n"
        "except OSError as error: reached(False, error)",
        ("empty_network",),
    ),
    Probe(
        "processes of the host",
        "reached(len([p for p in os.listdir('/proc') if p.isdigit()]) > 4)",
        ("private_processes",),
    ),
    Probe(
        "shared memory of the host",
        "shm = libc.shmget(int(os.environ['SHM_KEY']), 0, 0); reached(shm >= 0, os.strerror(ctypes.get_errno()))",
        ("private_ipc",),
    ),
    Probe(
        "capabilities",
        "reached(int(open('/proc/self/status').read().split('CapEff:')[1].split()[0], 16) != 0)",
        ("no_capabilities",),
    ),
    Probe(
        "the environment of process 1", "reached(b'=' in open('/proc/1/environ', 'rb').read())", ("empty_environment",)
    ),
    Probe(
        "inherited descriptors",
        "fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "reached(any(n > 2 and not os.readlink(f'/proc/self/fd/{n}').startswith('/proc/') for n in fds "
        "if os.path.islink(f'/proc/self/fd/{n}')), fds)",
        ("closed_descriptors",),
    ),
    Probe("the host's user database", "reached(open('/etc/passwd').read().count('\\n') > 3)", ("base_allowlist",)),
    Probe("the host's homes", "reached(os.path.exists(os.environ['HOST_FILE']))", ("base_allowlist", "private_uids")),
    Probe(
        "core dumps",
        "import resource; reached(resource.getrlimit(resource.RLIMIT_CORE) != (0, 0))",
        ("core_dumps_off",),
    ),
    Probe(
        "RAM through /dev/shm",
        "try:\n with open('/dev/shm/x', 'wb') as f:\n  for _ in range(300): f.write(bytes(1 << 20))\n reached(True)\n"
        "except OSError as error: reached(False, error)",
        ("small_shared_memory", "disk_limit"),
    ),
    Probe(
        "writing what is only shown",
        "try: open('/shown/note', 'w'); reached(True)\nexcept OSError as error: reached(False, error)",
        ("read_only_binds",),
    ),
)

ALWAYS = (
    ("metadata service", ("try: socket.create_connection(('169.254.169.254', 80), 1); reached(True)\n"
     "except OSError as error: reached(False, error)")),
    ("IPv6", ("try: socket.create_connection(('2001:db8::1', 80), 1); reached(True)\n"
     "except OSError as error: reached(False, error)")),
    ("names", ("try: socket.getaddrinfo('example.com', 80); reached(True)\n"
     "except OSError as error: reached(False, error)")),
    ("raw sockets", ("try: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); reached(True)\n"
     "except OSError as error: reached(False, error)")),
    *((f"opening {path} to write", (f"try: os.open({path!r}, os.O_WRONLY); reached(True)\n"
       "except OSError as error: reached(False, error)")) for path in (
        "/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/usr/bin/env",
        "/dev/kmsg", "/dev/mem", "/dev/kvm", "/dev/fuse", "/dev/vda", "/dev/loop-control", "/proc/kcore")),
    ("reading /proc/kcore", ("try: open('/proc/kcore', 'rb').read(1); reached(True)\n"
     "except OSError as error: reached(False, error)")),
    ("control groups", "reached(os.path.exists('/sys/fs/cgroup/cgroup.procs') or os.path.exists('/sys/fs/cgroup/pids'))"),
    ("device nodes", ("try: os.mknod('/tmp/sda', 0o60600, os.makedev(8, 0)); open('/tmp/sda', 'rb'); reached(True)\n"
     "except OSError as error: reached(False, error)")),
    ("a clock of the host", ("import time\ntry: time.clock_settime(time.CLOCK_REALTIME, 0); reached(True)\n"
     "except OSError as error: reached(False, error)")),
    ("becoming root", ("import subprocess\nreached(b'uid=0' in subprocess.run(['su', '-c', 'id'], capture_output=True,"
     " stdin=subprocess.DEVNULL).stdout)")),
    ("mounting", "r = libc.mount(b'none', b'/mnt', b'tmpfs', 0, None); reached(r == 0)"),
    ("TIOCSTI", ("import fcntl, pty\nm, s = pty.openpty()\n"
     "try: fcntl.ioctl(s, 0x5412, b'x'); reached(True)\nexcept OSError as error: reached(False, error)")),
    ("remounting /usr", "r = libc.mount(None, b'/usr', None, 32 | 4096, None); reached(r == 0)"),
    ("leaving by chroot", ("try: os.chroot('/proc/1/root'); reached(os.path.exists('/etc/shadow'))\n"
     "except OSError as error: reached(False, error)")),
    ("the root of process 1", "reached(os.path.exists('/proc/1/root' + os.environ['HOST_FILE']))"),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("escapes")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def backend(data: Path) -> AsyncIterator[BwrapBackend]:
    opened = await BwrapBackend.open(data / "sound")
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def weak(data: Path) -> AsyncIterator[BwrapBackend]:
    opened = await BwrapBackend.open(data / "weak", weaken=True)
    yield opened
    await opened.close()


def shown(backend: BwrapBackend) -> Path:
    """A folder of ours that the inside may write to, so that only the mount can be in the way."""
    folder = backend.data / "stage" / "shown"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    (folder / "note").write_text("ours")
    (folder / "note").chmod(0o666)
    if backend.as_root:
        os.chown(folder / "note", CANONICAL + 1000, CANONICAL + 1000)
    return folder


async def said(
    backend: BwrapBackend, code: str, *, without: tuple[str, ...] = (), env: dict[str, str], uid: int = 1000
) -> str:
    spec = SandboxSpec(
        name=f"probe-{secrets.token_hex(4)}",
        argv=["/usr/bin/python3", "-I", "-c", HEAD + code],
        env={"PATH": "/usr/bin:/bin", **env},
        binds=() if "base_allowlist" in without else (Bind(shown(backend), "/shown"),),
        limits=ResourceLimits(memory=1 << 30, disk=256 << 20),
        uid=uid,
    )
    sandbox = await backend.start(spec, weaken=without)
    try:
        pieces = [piece async for _, piece in sandbox.stream()]
        await sandbox.wait()
    finally:
        await sandbox.destroy()
    return b"".join(pieces).decode(errors="replace").strip()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What there is to reach: a server, an abstract socket, shared memory, a file."""
    libc = ctypes.CDLL(None)
    key = int.from_bytes(secrets.token_bytes(3), "big") + 1
    memory = libc.shmget(key, 4096, 0o1666)
    secret = tmp_path / "secret"
    secret.write_text("x")
    name = f"tickover-test-{secrets.token_hex(4)}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + name)
        unix.listen()
        yield {
            "HOST_PORT": str(server.getsockname()[1]),
            "HOST_SOCKET": name,
            "SHM_KEY": str(key),
            "HOST_FILE": str(secret),
        }
    libc.shmctl(memory, 0, None)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_is_blocked(backend: BwrapBackend, host: dict[str, str], probe: Probe) -> None:
    answer = await said(backend, probe.code, env=host)
    assert answer.startswith("blocked"), answer


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_is_reached_without_its_protection(weak: BwrapBackend, host: dict[str, str], probe: Probe) -> None:
    answer = await said(weak, probe.code, without=probe.without, env=host)
    assert answer == "REACHED"


@pytest.mark.parametrize("code", [code for _, code in ALWAYS], ids=[name for name, _ in ALWAYS])
async def test_is_blocked_by_what_no_plan_can_leave_out(backend: BwrapBackend, host: dict[str, str], code: str) -> None:
    answer = await said(backend, code, env=host)
    assert answer.startswith("blocked"), answer


READABLE = """
import stat
own = (os.getuid(), os.getgid())
bad = []
for top in ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/opt", "/srv", "/var", "/home", "/root", "/run", "/mnt"):
    for folder, folders, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
                if not stat.S_ISREG(status.st_mode) or not os.access(path, os.R_OK):
                    continue
            except OSError:
                continue
            ours = status.st_uid == own[0]
            if not ours and not status.st_mode & stat.S_IROTH:
                bad.append(path)
print("REACHED" if bad else "blocked", bad[:5])
"""


async def test_uid_0_inside_reads_what_everybody_may_or_what_is_ours(
    backend: BwrapBackend, host: dict[str, str]
) -> None:
    answer = await said(backend, READABLE, env=host, uid=0)
    assert answer.startswith("blocked"), answer
