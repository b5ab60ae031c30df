"""A setup script becomes a sealed root layer, or it becomes an error that shows the failing line.

It runs before the clone, in /workspace with nothing but the declared files of the trusted commit, which is thrown
away afterwards; what it leaves anywhere else (mostly below /home/agent) is the layer.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tickover.core.errors import TickoverError, Where
from tickover.core.text import one_line, printable
from tickover.sandbox.base import Backend, Exit, Overlay, ResourceLimits, Sandbox, SandboxBroken, SandboxSpec
from tickover.workspace.base import WORKSPACE, SetupResult, TrustedFile
from tickover.workspace.folders import Folders
from tickover.workspace.program import ENVIRONMENT, new_name
from tickover.workspace.shelf import Held, Shelf
from tickover.workspace.tree import Tree

_FORMAT: Final = 1
_SCRIPT: Final = "/tickover/setup.sh"
_OUR_LINE: Final = re.compile(rb"\A\+ \d+: source /tickover/setup\.sh\n")
_SAID: Final = re.compile(r"^/tickover/setup\.sh: line (\d{1,6}):", re.MULTILINE)
_TRACED: Final = re.compile(r"(?<!\+)\+\+ (\d{1,6}): ")  # also after a line that has no end
_MISSING: Final = re.compile(
    r"no such file|not found|cannot find|can't open|could not open|does not exist|enoent|neither|existing|cannot stat",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a layer depends on. `base` names the base's build, `owner` whose uids its files have."""

    script: str
    files: tuple[TrustedFile, ...] = ()
    base: str = "host"
    network: Sequence[str] | str = "none"
    env: Mapping[str, str] = field(default_factory=dict)
    credentials: tuple[str, ...] = ()
    refresh_s: float = 7 * 86400
    """A layer older than this (seconds) is built anew."""

    def key(self) -> str:
        """Return the name of the layer that this makes."""
        parts = {
            "format": _FORMAT,
            "script": self.script,
            "files": [(f.path, f.executable, hashlib.sha256(f.data).hexdigest()) for f in self.files],
            "base": self.base,
            "network": self.network if isinstance(self.network, str) else sorted(self.network),
            "env": dict(self.env),
            "credentials": sorted(self.credentials),
            "machine": platform.machine(),
            "owner": "range" if os.geteuid() == 0 else f"uid {os.geteuid()}",
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class SetupFailed(TickoverError):  # noqa: N818 - the word users see
    """A setup script that did not end well. `output` is what it wrote, `line` (1-based) where it stopped, if known."""

    def __init__(self, code: str, message: str, *, output: bytes, line: int | None = None, hint: str = "") -> None:
        super().__init__(code, message, hint=hint, where=Where(key="setup.run", line=line) if line else None)
        self.output = output
        self.line = line


class Layers:
    """Sealed root layers below `data`/layers/`kind`. `data` is the backend's data folder."""

    def __init__(
        self,
        data: Path,
        backend: Backend,
        folders: Folders,
        clock: Callable[[], float] = time.time,
        *,
        kind: str = "setup",
    ) -> None:
        self.shelf = Shelf(Path(os.path.realpath(data)) / "layers" / kind, clock)
        self._backend = backend
        self._folders = folders

    async def get(
        self,
        setup: Setup,
        *,
        limits: ResourceLimits | None = None,
        timeout_s: float = 900,
        known_paths: Callable[[], Awaitable[Iterable[str]]] | None = None,
    ) -> tuple[Held, SetupResult]:
        """Return the layer of `setup`, built now unless a young enough one is there; the same for all who wait.

        `known_paths` gives the paths of the trusted commit, for the hint about an undeclared file. Raises SetupFailed
        (`setup.failed`, `setup.timed_out`), `layer.unsafe`, SandboxRefused and SandboxBroken; then nothing is kept.
        """
        key = setup.key()

        async def build(destination: Path) -> Mapping[str, Any]:
            begun = time.monotonic()
            try:
                output, size = await self._run(setup, destination, limits or ResourceLimits(), timeout_s)
            except _Stopped as stopped:
                paths = await known_paths() if known_paths is not None else ()
                raise stopped.error(setup, paths) from None
            destination.with_name(f"{destination.name}.log").write_bytes(output)
            return {"bytes": size, "duration_s": time.monotonic() - begun}

        held = await self.shelf.get_or_build(key, build, max_age=setup.refresh_s, timeout_s=timeout_s + 60)
        log = held.path.with_name(f"{held.path.name}.log")
        note = held.note
        result = SetupResult(
            path=held.path,
            key=key,
            built=held.built,
            built_at=note["built_at"],
            duration_s=note["duration_s"],
            size=note["bytes"],
            output=log.read_bytes() if log.exists() else b"",
        )
        return held, result

    async def _run(
        self, setup: Setup, destination: Path, limits: ResourceLimits, timeout_s: float
    ) -> tuple[bytes, int]:
        wrapper = resources.files("tickover.workspace.inside").joinpath("setup.bash").read_bytes()
        with await self._folders.holding(setup.files) as files:
            spec = SandboxSpec(
                name=new_name("setup"),
                argv=["/bin/bash", "--noprofile", "--norc", "/tickover/wrapper.bash"],
                env={**ENVIRONMENT, **setup.env},
                cwd=WORKSPACE,
                overlays=(Overlay(WORKSPACE, (files.path,), "workspace"),),
                files={"/tickover/wrapper.bash": wrapper, _SCRIPT: setup.script.encode()},
                limits=limits,
                sealable=True,
            )
            sandbox = await self._backend.start(spec)
            try:
                kept = _Output()
                try:
                    async with asyncio.timeout(timeout_s):
                        exit_ = await kept.drain(sandbox)
                except TimeoutError:
                    await sandbox.kill()
                    raise _Stopped(None, timeout_s, kept.bytes()) from None
                if exit_.reason == "broken":
                    raise SandboxBroken("setup.sandbox", f"the sandbox of the setup broke: {exit_.message}")
                if exit_.reason != "exited" or exit_.code != 0:
                    raise _Stopped(exit_, timeout_s, kept.bytes())
                return kept.bytes(), await sandbox.seal("root", destination)
            finally:
                await sandbox.destroy()


class _Output:
    """The beginning and the end of what a script writes, both streams as they came."""

    def __init__(self, head: int = 128 << 10, tail: int = 384 << 10) -> None:
        self._head_size = head
        self._tail_size = tail
        self._head = bytearray()
        self._tail = bytearray()
        self._cut = 0

    async def drain(self, sandbox: Sandbox) -> Exit:
        async for _, piece in sandbox.stream():
            room = self._head_size - len(self._head)
            self._head += piece[:room]
            self._tail += piece[room:]
            if len(self._tail) > 2 * self._tail_size:
                self._cut += len(self._tail) - self._tail_size
                del self._tail[: -self._tail_size]
        return await sandbox.wait()

    def bytes(self) -> bytes:
        over = max(0, len(self._tail) - self._tail_size)
        cut = self._cut + over
        middle = f"\n[... {cut} bytes left out ...]\n".encode() if cut else b""
        head = _OUR_LINE.sub(b"", bytes(self._head))
        return head + middle + bytes(self._tail[over:])


class _Stopped(Exception):  # noqa: N818 - carries what happened to where the error is worded
    def __init__(self, exit_: Exit | None, timeout_s: float, output: bytes) -> None:
        super().__init__()
        self._exit = exit_
        self._timeout_s = timeout_s
        self._output = output
        self._text = output.decode(errors="replace")
        said = _SAID.findall(self._text[-4000:]) or _TRACED.findall(self._text)
        self.line = int(said[-1]) if said else None

    def error(self, setup: Setup, paths: Iterable[str]) -> SetupFailed:
        lines = setup.script.split("\n")
        place = ""
        if self.line is not None and self.line <= len(lines):
            place = f" at line {self.line}: `{one_line(lines[self.line - 1], 160)}`"
        last = "\n".join(printable(self._text).strip().splitlines()[-12:])
        after = f"\n{last}" if last else ""
        if self._exit is None:
            message = f"the setup script was ended after {self._timeout_s:g} s{place}{after}"
            return SetupFailed("setup.timed_out", message, output=self._output, line=self.line)
        why = (
            f"exit {self._exit.code}" if self._exit.reason == "exited" else f"{self._exit.reason}: {self._exit.message}"
        )
        if self._exit.reason in {"memory", "disk"}:
            why = f"its {self._exit.reason} limit"
        missing = undeclared(self._text, [file.path for file in setup.files], paths)
        hint = f"add files: [{', '.join(missing)}]" if missing else ""
        return SetupFailed(
            "setup.failed",
            f"the setup script failed ({why}){place}{after}",
            output=self._output,
            line=self.line,
            hint=hint,
        )


def undeclared(output: str, declared: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return files of the trusted commit that the output misses and that are not declared, three at most."""
    known = set(known)
    folders = {path[:place] for path in known for place in range(len(path)) if path[place] == "/"}
    by_name: dict[str, list[str]] = {}
    for path in known:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    there = set(declared)
    found: list[str] = []
    for line in output.splitlines()[-200:]:
        if not _MISSING.search(line):
            continue
        for word in re.split(r"[\s'\"`‘’:,;()\[\]{}<>=]+", line):
            path = word.removeprefix(f"{WORKSPACE}/").removeprefix("./").rstrip("/.")
            same_name = by_name.get(path.rpartition("/")[2], [])
            if path in known or path in folders:
                candidate = path
            elif len(same_name) == 1 and same_name[0].endswith(f"/{path}"):
                candidate = same_name[0]
            else:
                continue
            if candidate not in there and candidate not in found:
                found.append(candidate)
    return found[-3:]


async def declared_files(trees: Mapping[str, Tree], paths: Iterable[str]) -> tuple[TrustedFile, ...]:
    """Return what `setup.files` names: files and folders of trusted commits, `REPO:PATH` if there are several.

    Each lies where the clone will have it. Raises TickoverError `setup.no_file`.
    """
    files: list[TrustedFile] = []
    for declared in paths:
        name, colon, path = declared.partition(":")
        if len(trees) == 1 and not (colon and name in trees):
            name, path = next(iter(trees)), declared
        if name not in trees:
            names = ", ".join(sorted(trees)) or "none"
            hint = f"write REPO:PATH, repositories are: {names}"
            raise TickoverError("setup.no_file", f"setup.files: {one_line(declared)} is in no repository", hint=hint)
        found = await trees[name].files(path.rstrip("/"))
        if not found:
            commit = trees[name].commit[:12]
            near = difflib.get_close_matches(path, [e.path for e in await trees[name].entries()], n=3)
            hint = f"did you mean {' or '.join(one_line(p) for p in near)}?" if near else ""
            message = f"setup.files: {one_line(path)} is no file of the trusted commit {commit}"
            raise TickoverError("setup.no_file", message, hint=hint)
        prefix = f"{name}/" if len(trees) > 1 else ""
        files += [TrustedFile(prefix + file.path, file.data, file.executable) for file in found]
    return tuple({file.path: file for file in files}.values())


def host_base() -> str:
    """Return what `base: host` is on this machine: a layer made on another one may not fit."""
    system = platform.freedesktop_os_release()
    python = os.path.realpath("/usr/bin/python3")
    return f"host {system.get('ID', '')} {system.get('VERSION_ID', '')} {os.path.basename(python)}"
