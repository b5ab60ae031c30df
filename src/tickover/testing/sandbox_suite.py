"""Conformance suite for `tickover.sandbox.base.Backend`: subclass `SandboxSuite` and say how to open yours.

Everything is asked through the port alone; what a backend leaves on the host is looked for in /proc, by a variable that
the sandbox was given.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tickover.core.errors import TickoverError
from tickover.sandbox.base import (
    Backend,
    Bind,
    Overlay,
    ResourceLimits,
    SandboxBroken,
    SandboxRefused,
    SandboxSpec,
)
from tickover.testing.sandbox import (
    PYTHON,
    finish,
    first_words,
    living,
    marked,
    new_name,
    nobody,
    quiet,
    run,
    shell,
    until,
)
from tickover.testing.sandbox_listeners import ListenerSuite
from tickover.testing.sandbox_talk import TalkSuite

_DAEMONS = (
    "for i in 1 2 3; do setsid nohup sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' >/dev/null 2>&1 & done; "
)


_ORPHANS = """
import os
for _ in range(100):
    if not os.fork():
        os.fork()
        os._exit(0)
def zombies():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield open(f"/proc/{name}/stat").read().rpartition(") ")[2][0] == "Z"
        except OSError:
            pass
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
for _ in range(10000):
    if not any(zombies()):
        print("clean")
        break
"""
_TICKING = """
import os, threading, time
def tick():
    while True:
        print("tick", flush=True)
        time.sleep(0.01)
os.fork()
threading.Thread(target=tick).start()
tick()
"""
_MANY_FILL_MEMORY = """
import os, time
for number in range(12):
    if not os.fork():
        time.sleep(number / 20)
        filled = b"x" * (30 << 20)
        time.sleep(60)
        os._exit(0)
while os.wait()[1] == 0:
    pass
os._exit(9)
"""
_FORKS = """
import os, signal
first = os.getpid()
try:
    while True:
        os.fork()
except OSError:
    if os.getpid() == first:
        print("survived", flush=True)
signal.pause()
"""
_FILES = """
import os
for folder in range({folders}):
    os.mkdir(f"/tmp/{{folder}}")
    for file in range(1000):
        os.mknod(f"/tmp/{{folder}}/{{file}}")
"""
_DESCRIPTORS = """
import os
opened = 0
try:
    while True:
        os.dup(0)
        opened += 1
except OSError:
    print(opened)
"""


class SandboxSuite(ListenerSuite, TalkSuite):
    """What every sandbox backend does."""

    async def open_backend(self, data: Path) -> Backend:
        """Open a backend that keeps everything below `data`, a folder of the test's own."""
        raise NotImplementedError

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return tmp_path / "data"

    @pytest.fixture
    async def backend(self, data: Path) -> AsyncIterator[Backend]:
        backend = await self.open_backend(data)
        yield backend
        await backend.close()

    async def sealed(self, backend: Backend, data: Path, script: str, *layers: Path) -> Path:
        """Return a layer: what the script wrote over `layers`."""
        destination = data / "layers" / secrets.token_hex(4)
        spec = SandboxSpec(name=new_name(), argv=shell(f"set -e; {script}"), layers=layers, sealable=True)
        sandbox = await backend.start(spec)
        try:
            ran = await finish(sandbox)
            assert ran.exit.code == 0, ran.stderr
            await sandbox.seal("root", destination)
        finally:
            await sandbox.destroy()
        return destination

    # -- a command and its end -----------------------------------------------------------------------------------

    async def test_both_streams_arrive_whole(self, backend: Backend) -> None:
        ran = await run(backend, shell("echo out; echo err >&2; printf 'no newline'"))
        assert (ran.stdout, ran.stderr) == (b"out\nno newline", b"err\n")
        assert ran.exit.reason == "exited"

    async def test_output_arrives_while_the_command_runs(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell("echo first; sleep 1000; echo second")))
        assert await anext(sandbox.stream().__aiter__()) == ("stdout", b"first\n")
        await sandbox.kill()
        assert (await sandbox.wait()).reason == "killed"
        await sandbox.destroy()

    @pytest.mark.parametrize("code", [0, 1, 7, 128, 255])
    async def test_an_exit_code_arrives(self, backend: Backend, code: int) -> None:
        exit_ = (await run(backend, shell(f"exit {code}"))).exit
        assert (exit_.code, exit_.reason) == (code, "exited")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
    async def test_a_signal_arrives_as_128_and_its_number(self, backend: Backend, number: int) -> None:
        exit_ = (await run(backend, shell(f"kill -{int(number)} $$"))).exit
        assert (exit_.code, exit_.reason) == (128 + number, "signalled")

    async def test_a_missing_command_is_127_as_in_a_shell(self, backend: Backend) -> None:
        ran = await run(backend, ["/nowhere/program"])
        assert (ran.exit.code, ran.exit.reason) == (127, "exited")
        assert ran.stderr or ran.exit.message

    async def test_words_environment_and_folder_arrive_exactly(self, backend: Backend) -> None:
        words = ["", "a b", "new\nline", "ünïcode ✓", "'\"$(id)`", "--", "-c"]
        env = {"EMPTY": "", "LINES": "a\nb", "UTF": "✓", "SPACE D": "x", "DOLLAR": "$HOME"}
        show = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
        ran = await run(backend, ["/usr/bin/python3", "-S", "-X", "utf8", "-c", show, *words], env=env, cwd="/usr/bin")
        said, environment, folder = json.loads(ran.stdout)
        assert said == words
        assert {name: value for name, value in environment.items() if name not in {"PWD", "LC_CTYPE"}} == env
        assert folder == "/usr/bin"

    async def test_nothing_comes_in(self, backend: Backend) -> None:
        ran = await run(backend, shell("cat; echo end; tty; ls /proc/self/fd | wc -l"))
        assert ran.said.split() == ["end", "not", "a", "tty", "4"]

    @pytest.mark.parametrize("uid", [1000, 0, 1234])
    async def test_the_command_has_the_uid_asked_for(self, backend: Backend, uid: int) -> None:
        home = "id -u; id -g; echo x > /home/agent/file && stat -c %u /home/agent/file"
        assert (await run(backend, shell(home), uid=uid)).said.split() == [str(uid)] * 3

    async def test_every_sandbox_is_new(self, backend: Backend) -> None:
        for _ in range(2):
            ran = await run(
                backend, shell("cat /tmp/x /dev/shm/x /home/agent/x; echo x | tee /tmp/x /dev/shm/x /home/agent/x")
            )
            assert ran.stdout == b"x\n"

    # -- its end, by force -----------------------------------------------------------------------------------------

    async def test_kill_ends_daemons_that_ignore_signals(self, backend: Backend) -> None:
        mark = new_name("mark")
        script = _DAEMONS + "trap '' TERM; echo ready; while :; do sleep 1; done"
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(script), env=marked(mark)))
        await first_words(sandbox.stream(), b"ready")
        await until(lambda: len(living(mark)) >= 4, lambda: living(mark))
        await sandbox.kill()
        await sandbox.kill()
        assert (await sandbox.wait()).reason == "killed"
        await nobody(mark)
        await sandbox.kill()
        await sandbox.destroy()

    async def test_daemons_end_with_the_command(self, backend: Backend) -> None:
        mark = new_name("mark")
        ran = await run(backend, shell(_DAEMONS + "exit 3"), env=marked(mark))
        assert (ran.exit.code, ran.exit.reason) == (3, "exited")
        await nobody(mark)

    async def test_destroy_ends_and_removes_everything(self, backend: Backend, data: Path) -> None:
        mark = new_name("mark")
        spec = SandboxSpec(name=new_name(), argv=shell(_DAEMONS + "echo ready; sleep 1000"), env=marked(mark))
        sandbox = await backend.start(spec)
        await first_words(sandbox.stream(), b"ready")
        await asyncio.gather(sandbox.destroy(), sandbox.destroy())
        await sandbox.destroy()
        assert os.listdir(data / "sandboxes") == []
        await nobody(mark)
        assert (await sandbox.wait()).reason == "killed"
        assert (await run(backend, shell("echo again"), name=spec.name)).said == "again\n"

    async def test_orphans_leave_no_zombie(self, backend: Backend) -> None:
        assert (await run(backend, [*PYTHON, _ORPHANS])).said == "clean\n"

    async def test_frozen_nothing_moves(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=[*PYTHON, _TICKING]))
        pieces = sandbox.stream().__aiter__()
        await anext(pieces)
        await sandbox.freeze()
        moved = asyncio.ensure_future(anext(pieces))
        await asyncio.wait([moved], timeout=0.1)  # what was on its way
        for _ in range(100):
            if not moved.done():
                break
            moved = asyncio.ensure_future(anext(pieces))
            await asyncio.wait([moved], timeout=0.05)
        await asyncio.wait([moved], timeout=0.4)
        assert not moved.done()
        await sandbox.thaw()
        assert (await moved)[1]
        await sandbox.freeze()
        await sandbox.kill()
        assert (await sandbox.wait()).reason == "killed"
        await sandbox.destroy()

    # -- folders -----------------------------------------------------------------------------------------------------

    async def test_layers_lie_over_one_another(self, backend: Backend, data: Path) -> None:
        low = await self.sealed(
            backend, data, "mkdir /srv/d; echo low > /srv/one; echo low > /srv/two; echo x > /srv/d/x"
        )
        high = await self.sealed(backend, data, "echo high > /srv/two; rm /srv/d/x; echo y > /srv/d/y", low)
        for _ in range(2):
            ran = await run(
                backend, shell("cat /srv/one /srv/two; ls /srv/d; echo mine > /srv/one"), layers=(low, high)
            )
            assert ran.said.split() == ["low", "high", "y"]

    async def test_a_sealed_folder_keeps_what_was_removed(self, backend: Backend, data: Path) -> None:
        low = await self.sealed(backend, data, "mkdir -p /srv/d; echo 1 > /srv/d/1; echo 2 > /srv/f")
        gone = await self.sealed(backend, data, "rm -r /srv/d /srv/f; mkdir /srv/d; echo 3 > /srv/d/3", low)
        assert (await run(backend, shell("ls /srv /srv/d"), layers=(low, gone))).said.split() == [
            "/srv:",
            "d",
            "/srv/d:",
            "3",
        ]

    async def test_an_upper_can_be_shown_to_others(self, backend: Backend, data: Path) -> None:
        ground = await self.sealed(backend, data, "echo ground > /srv/f; mkdir /srv/sub; echo s > /srv/sub/s") / "srv"
        name = new_name()
        overlay = Overlay("/workspace", (ground,), "workspace")
        script = "echo changed > f; rm -r sub; echo new > out; chmod 600 out"
        sandbox = await backend.start(SandboxSpec(name=name, argv=shell(script), cwd="/workspace", overlays=(overlay,)))
        assert (await finish(sandbox)).exit.code == 0
        upper = sandbox.upper("workspace")
        kinds = (await run(backend, shell("stat -c '%n %F' *"), cwd="/up", binds=(Bind(upper, "/up"),))).said
        assert kinds == "f regular file\nout regular file\nsub character special file\n"
        subject = Overlay("/subject", (ground, upper), None)
        look = "cat f out; ls; echo no > f; rm out; mkdir x"
        ran = await run(backend, shell(look), cwd="/subject", overlays=(subject,))
        assert ran.said.split() == ["changed", "new", "f", "out"]
        assert ran.stderr.count(b"Read-only file system") == 3
        await sandbox.destroy()
        assert (await run(backend, shell("cat /g/f"), binds=(Bind(ground, "/g"),))).said == "ground\n"

    async def test_a_bind_is_read_only_unless_it_is_writable(self, backend: Backend, data: Path) -> None:
        folder = await self.sealed(backend, data, "echo one > /srv/f") / "srv"
        binds = (Bind(folder, "/srv/a"), Bind(folder, "/mnt/deep/b", writable=True), Bind(folder / "f", "/opt/single"))
        script = (
            "echo no > /srv/a/f; rm /srv/a/f; echo no > /opt/single; echo two > /mnt/deep/b/f; cat /srv/a/f /opt/single"
        )
        ran = await run(backend, shell(script), binds=binds)
        assert ran.said == "two\ntwo\n"
        assert ran.stderr.count(b"Read-only file system") == 3

    async def test_small_files_are_there_and_cannot_be_changed(self, backend: Backend) -> None:
        files = {
            "/tickover/inside/a.bin": bytes(range(256)), "/tickover/run": b"#!/bin/sh\necho ran\n",
            "/check/t.py": b"print(1)", "/home/agent/.config/tool": b"x", "/home/agent/empty": b"",
        }  # fmt: skip
        script = "sha256sum < /tickover/inside/a.bin; /tickover/run; cat /home/agent/.config/tool; echo; "
        script += "echo x > /home/agent/mine; "
        script += (
            "for f in /tickover/run /check/t.py /home/agent/empty; do echo evil > $f; rm -f $f; mv $f /tmp/x; done; "
        )
        script += "mv /tickover /tmp/t; mv /check/t.py /tmp/u; cat /check/t.py /home/agent/empty"
        ran = await run(backend, shell(script), files=files)
        digest = "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880"
        assert ran.said == f"{digest}  -\nran\nx\nprint(1)", ran.stderr

    async def test_what_is_no_layer_is_refused_by_name(self, backend: Backend, data: Path) -> None:
        for script, entry in (
            ("cp /bin/true /srv/tool; chmod u+s /srv/tool", "srv/tool"),
            ("mkdir -p /var/lib/x; cp /bin/true /var/lib/x/g; chmod g+s /var/lib/x/g", "var/lib/x/g"),
            ("mv /home /elsewhere; ln -s /proc/1/root/etc /home", "home"),
            ("rmdir /workspace; echo file > /workspace", "workspace"),
        ):
            with pytest.raises(TickoverError) as refused:
                await self.sealed(backend, data, script)
            assert refused.value.code == "layer.unsafe"
            assert entry in refused.value.message
        assert os.listdir(data / "layers") == []

    async def test_only_an_ended_sandbox_seals_and_only_once_and_only_among_layers(
        self, backend: Backend, data: Path
    ) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell("echo up; sleep 1000"), sealable=True))
        await first_words(sandbox.stream(), b"up")
        target = data / "layers" / "one"
        with pytest.raises(TickoverError):
            await sandbox.seal("root", target)
        await sandbox.kill()
        await sandbox.wait()
        for name, place in (
            ("root", data / "layers" / ".." / ".." / "x"),
            ("root", data / "base" / "x"),
            ("../..", target),
        ):
            with pytest.raises((TickoverError, ValueError)):
                await sandbox.seal(name, place)
        size = await sandbox.seal("root", target)
        assert size >= 0
        assert target.is_dir()
        with pytest.raises(TickoverError):
            await sandbox.seal("root", data / "layers" / "two")
        await sandbox.destroy()
        assert target.is_dir()

    # -- limits ----------------------------------------------------------------------------------------------------

    async def test_memory_of_one_process_is_limited(self, backend: Backend) -> None:
        limits = ResourceLimits(memory=128 << 20)
        assert (await run(backend, [*PYTHON, "x = bytearray(64 << 20); print('had')"], limits=limits)).said == "had\n"
        ran = await run(backend, [*PYTHON, "x = bytearray(256 << 20); print('had')"], limits=limits)
        assert ran.said == ""
        assert ran.exit.code != 0

    async def test_memory_of_all_processes_is_limited(self, backend: Backend) -> None:
        ran = await run(backend, [*PYTHON, _MANY_FILL_MEMORY], limits=ResourceLimits(memory=150 << 20))
        assert ran.exit.reason == "memory"

    async def test_shared_memory_is_limited(self, backend: Backend) -> None:
        script = "head -c 3G /dev/zero > /dev/shm/x; stat -c %s /dev/shm/x; echo x > /dev/y"
        ran = await run(backend, shell(script), limits=ResourceLimits(memory=1 << 30))
        assert ran.exit.reason == "memory" or int(ran.said.split()[0]) <= 1 << 30
        assert b"/dev/y" in ran.stderr or ran.exit.reason == "memory"

    async def test_processes_are_limited(self, backend: Backend) -> None:
        mark = new_name("mark")
        limits = ResourceLimits(pids=60)
        spec = SandboxSpec(name=new_name(), argv=[*PYTHON, _FORKS], env=marked(mark), limits=limits)
        sandbox = await backend.start(spec)
        await first_words(sandbox.stream(), b"survived")
        assert 1 < len(living(mark)) <= 60
        await sandbox.destroy()
        await nobody(mark)

    async def test_a_full_disk_is_the_reason(self, backend: Backend, data: Path) -> None:
        limit = 64 << 20
        fill = (
            "for i in $(seq 400); do dd if=/dev/zero of=/tmp/$i bs=1M count=3 2>/dev/null || exit 1; sleep 0.02; done"
        )
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(fill), limits=ResourceLimits(disk=limit)))
        assert (await finish(sandbox)).exit.reason == "disk"
        assert _used(data) < 6 * limit
        await sandbox.destroy()

    async def test_one_file_beyond_the_disk_limit_cannot_be_made(self, backend: Backend) -> None:
        script = "truncate -s 1T /tmp/sparse; stat -c %s /tmp/sparse; fallocate -l 1T /tmp/real; stat -c %s /tmp/real"
        ran = await run(backend, shell(script), limits=ResourceLimits(disk=1 << 30))
        assert all(int(size) <= 1 << 30 for size in ran.said.split())

    async def test_200_000_files_are_too_many_for_a_small_disk(self, backend: Backend) -> None:
        ran = await run(backend, [*PYTHON, _FILES.format(folders=200)], limits=ResourceLimits(disk=256 << 20))
        assert ran.exit.reason == "disk"

    @pytest.mark.slow
    async def test_a_million_files_end_in_bounded_time_and_memory(self, backend: Backend) -> None:
        before = _resident()
        assert (await run(backend, [*PYTHON, _FILES.format(folders=1000)])).exit.reason == "disk"
        assert _resident() - before < 64 << 20

    async def test_open_files_are_limited(self, backend: Backend) -> None:
        assert 90 <= int((await run(backend, [*PYTHON, _DESCRIPTORS], limits=ResourceLimits(files=100))).said) <= 100

    async def test_a_flood_of_output_waits_for_its_reader(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell("yes | tee /dev/stderr")))
        before, seen = _resident(), 0
        async for _, piece in sandbox.stream():
            seen += len(piece)
            if seen > 64 << 20:
                break
            if seen % (4 << 20) < len(piece):
                await quiet(0.02)
        await sandbox.kill()
        await sandbox.destroy()
        assert _resident() - before < 48 << 20

    async def test_nobody_has_to_read(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell("yes")))
        await sandbox.kill()
        assert (await sandbox.wait()).reason == "killed"
        await sandbox.destroy()

    # -- a backend's life ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("count", [24, pytest.param(300, marks=pytest.mark.slow)])
    async def test_many_at_once(self, backend: Backend, count: int) -> None:
        async def one(number: int) -> str:
            return (await run(backend, shell(f"echo {number} > /tmp/x; sleep 0.1; cat /tmp/x"))).said

        assert await asyncio.gather(*map(one, range(count))) == [f"{number}\n" for number in range(count)]

    @pytest.mark.parametrize(
        "parts",
        [
            {"name": "../x"}, {"name": ""}, {"name": "a/b"}, {"argv": []}, {"argv": ["a\0b"]}, {"env": {"A=B": "x"}},
            {"cwd": "relative"}, {"uid": 70000}, {"limits": ResourceLimits(pids=0)},
            {"limits": ResourceLimits(disk=-1)},
            {"files": {"relative": b""}}, {"files": {"/tickover/../etc/x": b""}}, {"files": {"/top": b""}},
            {"binds": (Bind(Path("/etc"), "/x"),)}, {"binds": (Bind(Path("missing"), "/x"),)},
            {"overlays": (Overlay("/workspace", (Path("layers/missing"),), "w"),)},
            {"overlays": (Overlay("/workspace", (Path("layers"),), "root"),)},
        ],
        ids=lambda parts: "-".join(f"{key}={value!r:.30}" for key, value in parts.items()),
    )  # fmt: skip
    async def test_a_wrong_spec_leaves_nothing(self, backend: Backend, data: Path, parts: dict[str, Any]) -> None:
        parts = {**parts}
        if "binds" in parts:
            parts["binds"] = tuple(Bind(data / bind.source, bind.target) for bind in parts["binds"])
        if "overlays" in parts:
            parts["overlays"] = tuple(
                Overlay(o.target, tuple(data / p for p in o.lowers), o.upper) for o in parts["overlays"]
            )
        with pytest.raises((SandboxRefused, SandboxBroken)):
            await backend.start(SandboxSpec(**{"name": "wrong", "argv": ["/bin/true"], **parts}))
        assert os.listdir(data / "sandboxes") == []
        assert (await run(backend, shell("echo fine"), name="wrong")).said == "fine\n"

    async def test_a_name_is_taken_once(self, backend: Backend) -> None:
        spec = SandboxSpec(name=new_name(), argv=shell("echo up; sleep 1000"))
        sandbox = await backend.start(spec)
        with pytest.raises(SandboxRefused):
            await backend.start(spec)
        assert await anext(sandbox.stream().__aiter__()) == ("stdout", b"up\n")
        await sandbox.destroy()

    async def test_a_cancelled_start_leaves_nothing(self, backend: Backend, data: Path) -> None:
        mark = new_name("mark")
        for turns in range(6):
            spec = SandboxSpec(name=new_name(), argv=shell("sleep 1000"), env=marked(mark))
            starting = asyncio.ensure_future(backend.start(spec))
            for _ in range(turns):
                await quiet(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
        await run(backend, shell("true"))  # answered after the six
        await nobody(mark)
        await until(lambda: not os.listdir(data / "sandboxes"), lambda: os.listdir(data / "sandboxes"))

    async def test_close_ends_everything_and_everybody_who_waits(self, data: Path) -> None:
        backend = await self.open_backend(data)
        mark = new_name("mark")
        spec = SandboxSpec(name=new_name(), argv=shell(_DAEMONS + "echo up; sleep 1000"), env=marked(mark))
        sandbox = await backend.start(spec)
        await first_words(sandbox.stream(), b"up")
        waiting = asyncio.ensure_future(sandbox.wait())
        await quiet(0)
        await backend.close()
        assert (await waiting).reason == "killed"
        assert (await sandbox.wait()).reason == "killed"
        await nobody(mark)
        assert os.listdir(data / "sandboxes") == []
        await sandbox.kill()
        await sandbox.destroy()
        await backend.close()
        with pytest.raises(SandboxBroken):
            await backend.start(SandboxSpec(name=new_name(), argv=["/bin/true"]))

    async def test_it_says_what_is_in_force(self, backend: Backend) -> None:
        report = await backend.report()
        assert report.usable, report
        assert report.backend == backend.name
        assert report.not_protected
        assert all(capability.detail for capability in report.capabilities)


def _used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
