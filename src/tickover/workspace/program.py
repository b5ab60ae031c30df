"""Runs one of the programs of `inside/` in a fresh sandbox, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Final

from tickover.core.errors import TickoverError
from tickover.core.text import one_line
from tickover.sandbox.base import AGENT_UID, Backend, Bind, Exit, Overlay, ResourceLimits, Sandbox, SandboxSpec

ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/agent", "LANG": "C.UTF-8"}
LIMITS: Final = ResourceLimits(memory=1 << 30, cpus=2.0, pids=64, disk=5 << 30, files=1024)
Receive = Callable[[bytes], Awaitable[None]]
_MODULES: Final = ("__init__", "globs", "frames", "collect", "reshape", "checkout")
_TAIL: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended well; its sandbox is still there, so that an upper can be sealed."""

    sandbox: Sandbox
    stdout: bytes


def new_name(purpose: str) -> str:
    """Return a sandbox name that nobody has had."""
    return f"{purpose}-{secrets.token_hex(6)}"


@contextlib.asynccontextmanager
async def ran(
    backend: Backend,
    program: str,
    request: Mapping[str, Any],
    *,
    overlays: tuple[Overlay, ...] = (),
    binds: tuple[Bind, ...] = (),
    receive: Receive | None = None,
    sealable: bool = False,
    timeout_s: float = 300,
    disk: int | None = None,
) -> AsyncIterator[Ended]:
    """Run `inside/PROGRAM.py` to its end; `receive` takes its stdout, else 64 KiB of it are returned.

    Raises TickoverError `workspace.PROGRAM` when it fails, overruns `timeout_s` seconds or a limit, and whatever
    `receive` raises. The sandbox is destroyed at the end of the `with`.
    """
    files = {f"/tickover/inside/{name}.py": _source(name) for name in _MODULES}
    start = f"import sys; sys.path.insert(0, '/tickover'); from inside.{program} import main; main()"
    spec = SandboxSpec(
        name=new_name(program),
        argv=["/usr/bin/python3", "-I", "-S", "-B", "-c", start],
        env=ENVIRONMENT,
        overlays=overlays,
        binds=binds,
        files={**files, "/tickover/request.json": json.dumps(request, ensure_ascii=True).encode("ascii")},
        limits=LIMITS if disk is None else replace(LIMITS, disk=disk),
        uid=AGENT_UID,
        sealable=sealable,
    )
    sandbox = await backend.start(spec)
    try:
        kept = _Kept(receive)
        try:
            async with asyncio.timeout(timeout_s):
                exit_ = await kept.drain(sandbox)
        except TimeoutError as error:
            raise TickoverError(f"workspace.{program}", f"{program} took longer than {timeout_s:g} s") from error
        if exit_.reason != "exited" or exit_.code != 0:
            why = exit_.message or (f"exit {exit_.code}" if exit_.reason == "exited" else exit_.reason)
            said = one_line(kept.stderr.decode(errors="replace")[-600:], 600)
            raise TickoverError(f"workspace.{program}", f"{program} failed ({why}): {said}")
        yield Ended(sandbox, kept.stdout)
    finally:
        await sandbox.destroy()


class _Kept:
    def __init__(self, receive: Receive | None) -> None:
        self.stdout = b""
        self.stderr = b""
        self._receive = receive

    async def drain(self, sandbox: Sandbox) -> Exit:
        async for stream, piece in sandbox.stream():
            if stream == "stderr":
                self.stderr = (self.stderr + piece)[-_TAIL:]
            elif self._receive is not None:
                await self._receive(piece)
            elif len(self.stdout) < 64 << 10:
                self.stdout += piece
        return await sandbox.wait()


def _source(name: str) -> bytes:
    return resources.files("tickover.workspace.inside").joinpath(f"{name}.py").read_bytes()
