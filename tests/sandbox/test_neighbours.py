"""What a sandbox can learn of the host's secrets and of other runs, and what it can make the host do for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tickover.core.errors import TickoverError
from tickover.sandbox.base import Bind, Overlay, SandboxBroken, SandboxRefused, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend
from tickover.testing.sandbox import PYTHON, finish, first_words, living, marked, new_name, nobody, quiet, run, shell

ROOT = os.geteuid() == 0

# Every file below the folder that can be read although it is neither everybody's to read nor ours.
WALK = """
import json, os, stat, sys
seen, wrong = 0, []
for top, folders, names in os.walk(sys.argv[1]):
    if top == "/":
        folders.remove("proc")
    for name in names:
        path = os.path.join(top, name)
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                continue
            seen += 1
            if status.st_mode & 0o004 and not seen % 50 == 0:
                continue
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            continue
        if not status.st_mode & 0o004 and (status.st_uid != os.getuid() or sys.argv[2] == "host"):
            wrong.append(path)
print(json.dumps([seen, wrong[:20]]))
"""

SECRETS = """
import glob, os, sys
canary = b"canary-" + b"of-the-client"
for path in ["/proc/self/environ", *glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]:
    try:
        if canary in open(path, "rb").read():
            print(path)
    except OSError:
        pass
print("looked")
"""


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[BwrapBackend]:
    backend = await BwrapBackend.open(tmp_path / "data")
    yield backend
    await backend.close()


@pytest.fixture
async def weak(tmp_path: Path) -> AsyncIterator[BwrapBackend]:
    backend = await BwrapBackend.open(tmp_path / "weak", weaken=True)
    yield backend
    await backend.close()


async def test_uid_0_inside_reads_only_what_everybody_may_or_what_is_ours(backend: BwrapBackend) -> None:
    ran = await run(backend, [*PYTHON, WALK, "/", "sandbox"], uid=0)
    seen, wrong = json.loads(ran.stdout)
    assert seen > 1000
    assert wrong == []


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="an ordinary user has no host root to be")
async def test_the_walk_bites(weak: BwrapBackend) -> None:
    """Host uid 0 on the host's own folders: what the allowlist and the private range keep out."""
    spec = SandboxSpec(name=new_name(), argv=[*PYTHON, WALK, "/etc", "host"])
    sandbox = await weak.start(spec, weaken=["private_uids", "base_allowlist"])
    ran = await finish(sandbox)
    await sandbox.destroy()
    assert "/etc/shadow" in json.loads(ran.stdout)[1]


async def test_secrets_of_the_client_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANY_TOKEN", "canary-of-the-client")
    backend = await BwrapBackend.open(tmp_path / "data")
    try:
        assert (await run(backend, [*PYTHON, SECRETS])).said == "looked\n"
        assert backend.facts["pid"] not in living("canary-of-the-client")
    finally:
        await backend.close()


async def test_two_runs_know_nothing_of_each_other(backend: BwrapBackend) -> None:
    mark = new_name("mark")
    write = "echo secret > /workspace/s; echo secret > /tmp/s; echo secret > /dev/shm/s; echo ready; sleep 1000"
    one = await backend.start(SandboxSpec(name="one", argv=shell(write), env=marked(mark)))
    await first_words(one.stream(), b"ready")
    look = "cat /workspace/s /tmp/s /dev/shm/s; grep -rls ^secret /tmp /workspace /dev/shm /home /srv /var /run; "
    look += "for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ | grep -c MARK; done; kill -9 -1; echo looked"
    ran = await run(backend, ["/bin/bash", "-c", look], name="two")
    assert ran.said.split() == ["0", "looked"] or set(ran.said.split()) == {"0", "looked"}
    assert living(mark)
    await one.destroy()


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="an ordinary user gives every sandbox the one uid it has")
async def test_two_runs_are_two_uids_of_the_host(backend: BwrapBackend) -> None:
    sandboxes = [await backend.start(SandboxSpec(name=name, argv=["/bin/sleep", "1000"])) for name in ("one", "two")]
    uids = {sandbox.host_uid for sandbox in sandboxes}
    assert len(uids) == 2
    assert min(uids) > 0x7000_0000
    for sandbox in sandboxes:
        await sandbox.destroy()


async def test_a_symlink_that_a_sandbox_left_is_never_followed_by_the_launcher(backend: BwrapBackend) -> None:
    sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell("ln -s /etc /srv/link"), sealable=True))
    assert (await finish(sandbox)).exit.code == 0
    layer = backend.data / "layers" / "trap"
    await sandbox.seal("root", layer)
    await sandbox.destroy()
    for parts in (
        {"binds": (Bind(layer / "srv" / "link", "/opt/x"),)},
        {"binds": (Bind(layer / "srv" / "link" / "passwd", "/opt/x"),)},
        {"overlays": (Overlay("/opt/x", (layer / "srv" / "link",), None),)},
        {"layers": (layer / "srv" / "link",)},
    ):
        with pytest.raises((SandboxBroken, SandboxRefused)):
            await run(backend, shell("ls /opt/x"), **parts)


async def test_a_layer_cannot_make_the_next_start_write_to_the_host(backend: BwrapBackend, tmp_path: Path) -> None:
    """bwrap makes missing folders under what it mounts on: through a symlink of a layer, that would be on the host."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    sealable = 0
    for target in ("/workspace", "/etc/ssl", "/home", "/var/tmp", "/check"):
        script = f"mv {target} /tmp/gone && ln -s /oldroot{outside} {target}"
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(script), sealable=True))
        try:
            ran = await finish(sandbox)
            if ran.exit.code == 0:
                sealable += 1
                with pytest.raises(TickoverError, match="replaces a folder of the base"):
                    await sandbox.seal("root", backend.data / "layers" / new_name())
        finally:
            await sandbox.destroy()
    assert sealable >= 3
    assert os.listdir(outside) == []


async def test_nothing_is_shown_behind_a_symlink_of_a_layer(backend: BwrapBackend, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    script = f"mkdir -p /srv/a/b; ln -s /oldroot{outside} /srv/a/b/link; ln -s /oldroot{outside} /home/agent/.config"
    sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell(script), sealable=True))
    layer = backend.data / "layers" / "linked"
    await finish(sandbox)
    await sandbox.seal("root", layer)
    await sandbox.destroy()
    ground = layer / "srv" / "a"
    for parts in (
        {"layers": (layer,), "files": {"/home/agent/.config/tool": b"x"}},
        {"layers": (layer,), "binds": (Bind(layer, "/srv/a/b/link/made"),)},
        {"layers": (layer,), "overlays": (Overlay("/srv/a/b/link", (layer,), None),)},
        {"overlays": (Overlay("/workspace", (ground,), "w"),), "binds": (Bind(layer, "/workspace/b/link/made"),)},
    ):
        with pytest.raises(SandboxRefused, match="symlink"):
            await run(backend, ["/bin/true"], **parts)
    assert os.listdir(outside) == []
    ran = await run(backend, shell("cat /home/agent/tool"), layers=(layer,), files={"/home/agent/tool": b"x"})
    assert ran.said == "x"


async def test_only_the_bond_to_the_launcher_ends_a_sandbox_with_it(tmp_path: Path) -> None:
    """A launcher for tests has no pid namespace of its own: there the bond can be left out, and then it outlives him."""
    for bond, lives in ((True, False), (False, True)):
        backend = await BwrapBackend.open(tmp_path / f"data-{bond}", weaken=True)
        mark = new_name("mark")
        spec = SandboxSpec(name=new_name(), argv=shell("echo up; sleep 1000"), env=marked(mark))
        sandbox = await backend.start(spec, weaken=[] if bond else ["dies_with_launcher"])
        await first_words(sandbox.stream(), b"up")
        await quiet(0.2)  # until bwrap's own pid 1 has bound itself
        os.kill(backend.facts["pid"], signal.SIGKILL)
        if not lives:
            await nobody(mark)
        await quiet(0.3)
        left = living(mark)
        assert bool(left) == lives
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(backend.close(), 10)
