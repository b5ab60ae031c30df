"""Hands for tests of real sandboxes: start one and read it to its end, find what it left in /proc, wait."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tickover.sandbox.base import Backend, Exit, Sandbox, SandboxSpec, Stream

PYTHON: Final = ("/usr/bin/python3", "-I", "-S", "-c")
_MARK: Final = "TICKOVER_TEST_MARK"


@dataclass(frozen=True)
class Ran:
    """How a sandbox ended and what it wrote."""

    exit: Exit
    stdout: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        return self.stdout.decode()


def new_name(kind: str = "test") -> str:
    """Return a name that no other sandbox of this machine has."""
    return f"{kind}-{secrets.token_hex(5)}"


async def finish(sandbox: Sandbox) -> Ran:
    """Read a sandbox to its end."""
    kept: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    async for stream, piece in sandbox.stream():
        kept[stream] += piece
    return Ran(await sandbox.wait(), bytes(kept["stdout"]), bytes(kept["stderr"]))


async def run(backend: Backend, argv: Sequence[str], **parts: Any) -> Ran:
    """Start, read to the end, destroy."""
    sandbox = await backend.start(SandboxSpec(name=parts.pop("name", new_name()), argv=argv, **parts))
    try:
        return await finish(sandbox)
    finally:
        await sandbox.destroy()


def shell(script: str) -> list[str]:
    """Return the argv of a shell script."""
    return ["/bin/sh", "-c", script]


def living(mark: str) -> list[int]:
    """Return the processes of this machine that were given the mark in their environment, zombies left out."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and mark.encode() in Path(f"/proc/{name}/environ").read_bytes():
                found.append(int(name))
        except OSError:
            continue
    return found


def marked(mark: str) -> Mapping[str, str]:
    """Return the environment by which `living` finds a sandbox's processes."""
    return {_MARK: mark, "PATH": "/usr/bin:/bin"}


async def first_words(pieces: AsyncIterator[tuple[Stream, bytes]], words: bytes) -> bytes:
    """Read until these words were written; return all that was read."""
    said = b""
    async for _, piece in pieces:
        said += piece
        if words in said:
            return said
    raise AssertionError(f"it ended without saying {words!r}: {said[-300:]!r}")


async def nobody(mark: str, *, seconds: float = 60.0) -> None:
    """Wait until no process with this mark lives. Raises AssertionError."""
    await until(lambda: not living(mark), lambda: f"these outlived their sandbox: {living(mark)}", seconds=seconds)


async def until(condition: Callable[[], object], why: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait for something that tells nobody. Raises AssertionError with `why()`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, why()
        await quiet(0.02)


async def quiet(seconds: float) -> None:
    """Let time pass: only where the claim itself is that nothing happens in it, or nobody tells us."""
    waiting = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, waiting.cancel)
    await asyncio.wait([waiting])
