"""The sandbox port: one sandbox is one process tree started from one argv, in folders of ours, with nothing else.

A backend never weakens what was asked: a protection it cannot give is a `SandboxRefused`, not a fallback.
Paths named `Path` lie on the host below the backend's data folder; targets are absolute paths inside.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tickover.core.errors import TickoverError

AGENT_UID = 1000
"""The uid that the command has inside; never host uid 0 outside."""

Stream = Literal["stdout", "stderr"]


class SandboxRefused(TickoverError):  # noqa: N818 - it is a refusal, the word users see
    """The sandbox asked for cannot be had here; nothing was started."""


class SandboxBroken(TickoverError):  # noqa: N818
    """The isolation machinery itself failed (an `infrastructure` cause), not the command inside."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of ours shown at `target`; read-only unless `writable`."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """Folders laid over one another at `target`, the first at the bottom.

    `upper` names a fresh writable top of this sandbox, kept on disk until `destroy` and readable later as
    `Sandbox.upper(name)`; None makes the whole overlay read-only.
    """

    target: str
    lowers: tuple[Path, ...]
    upper: str | None


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What one sandbox may use. Bytes, CPUs and counts; None = no limit asked."""

    memory: int | None = 2 << 30
    cpus: float | None = 2.0
    pids: int | None = 512
    disk: int | None = 5 << 30
    files: int = 4096
    """Open files per process (RLIMIT_NOFILE)."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Ask for sockets that listen inside the sandbox's own network before its command starts, and belong to us.

    Names (127.0.0.1:53, UDP and TCP) and a proxy (127.0.0.1:3128) are always among them; `ports` are those that a
    client may dial at any address. There is still no interface but the loopback one: they are the only way out.
    """

    ports: tuple[int, ...] = ()


NAMES_PORT = 53
PROXY_PORT = 3128


@dataclass(frozen=True, slots=True)
class Listening:
    """The sockets of a `Listen`, all listening; `dialled` in the order of its ports. Whoever has them closes them."""

    udp_names: socket.socket
    tcp_names: socket.socket
    proxy: socket.socket
    dialled: tuple[socket.socket, ...] = ()

    def every(self) -> tuple[socket.socket, ...]:
        return (self.udp_names, self.tcp_names, self.proxy, *self.dialled)

    def close(self) -> None:
        for each in self.every():
            each.close()


@dataclass(frozen=True, slots=True)
class Talking:
    """Our ends of the pipes of a command that is talked to, as descriptors. Whoever has them closes them."""

    stdin: int
    stdout: int

    def close(self) -> None:
        for each in (self.stdin, self.stdout):
            os.close(each)


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """Everything about one sandbox. `/` is the base, then `layers` (bottom first), then a fresh upper "root".

    `files` are small read-only files of ours (target -> bytes). `sealable` keeps the uppers in plain folders, so
    that `seal` can rename one into place; otherwise a backend may put them on a size-limited disk image.
    Files in /tickover, /check, /subject and /repo stand alone there, unless an overlay or bind lies there, too.
    Without `listen` the network is empty: nothing in it answers. Without `talks` the command's input is empty, too;
    with it, input and output are pipes for `Sandbox.talking`, and only `stderr` is streamed.
    `uid` is what the command sees; who it is on the host is the backend's matter, never host uid 0.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    layers: tuple[Path, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    binds: tuple[Bind, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    uid: int = AGENT_UID
    sealable: bool = False
    listen: Listen | None = None
    talks: bool = False


ExitReason = Literal["exited", "signalled", "memory", "disk", "killed", "broken"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How the process tree ended. `code` is the command's exit code, 128 + signal, or 127 for one that is not there.

    `reason`: `memory` and `disk` mean that it reached that limit, and was killed for it or failed, `killed` that we
    ended it, `broken` that the isolation machinery failed (`message` says how). Times in seconds, memory in bytes,
    where the backend can measure it.
    """

    code: int
    reason: ExitReason
    message: str = ""
    cpu_seconds: float | None = None
    peak_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """What one protection amounts to on this machine: shown by `doctor` and on every run."""

    name: str
    in_force: bool
    detail: str


@dataclass(frozen=True, slots=True)
class BackendReport:
    """What a backend gives here, found by really starting one."""

    backend: str
    tier: str
    usable: bool
    capabilities: tuple[Capability, ...]
    not_protected: tuple[str, ...]
    hint: str = ""


class Sandbox(Protocol):
    """A started sandbox."""

    name: str

    def listening(self) -> Listening:
        """Hand over the sockets that the spec's `listen` asked for, once; left alone, they close with `destroy`."""

    def talking(self) -> Talking:
        """Hand over the command's input and output, once, where the spec `talks`; left alone, `destroy` closes them."""

    def stream(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Yield what the tree writes, as it comes, until both streams are closed. Call once."""

    async def wait(self) -> Exit:
        """Return when every process of the tree is gone."""

    async def freeze(self) -> None:
        """Stop every process of the tree, undetectably late: no instruction runs until `thaw`."""

    async def thaw(self) -> None: ...

    async def kill(self) -> None:
        """End every process of the tree, including daemons that ignore signals. Idempotent."""

    def upper(self, name: str) -> Path:
        """Return the folder of a writable overlay (`root` or an `Overlay.upper`), usable as a lower or bind of others.

        Only a sandbox looks into it: it is hostile, and may lie where this process sees nothing.
        """

    async def seal(self, name: str, destination: Path) -> int:
        """Move an upper of an ended sandbox to `destination` (must not exist) after checking every entry.

        Return its bytes. Raises TickoverError `layer.unsafe` naming the entry: device nodes other than
        whiteouts, set-id bits, overlay xattrs that redirect.
        """

    async def destroy(self) -> None:
        """Kill, unmount and delete everything of this sandbox. Idempotent."""


class Backend(Protocol):
    """A family of sandboxes (`isolation: sandbox` is the backend `bwrap`)."""

    name: str

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox. Raises SandboxRefused or SandboxBroken; then nothing is left."""

    async def report(self) -> BackendReport:
        """Start one really, and say what is in force."""

    async def close(self) -> None:
        """End every sandbox of this backend and its helper processes."""
