"""A program of the machine's owner, with the message as JSON on stdin. It is no part of any run, and in no sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Final

from tickover.core.notice import CommandTarget, Message, json_of
from tickover.core.text import one_line
from tickover.notify.base import Envelope, NotifyError, Secret

_TAIL: Final = 4096  # bytes of its output that are kept
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Notifier:
    """Starts it, and takes exit code 0 as delivered."""

    async def send(self, message: Message, target: CommandTarget, envelope: Envelope, secret: Secret) -> str:
        del envelope, secret
        return await run(list(target.argv), json_of(message), float(target.timeout))


async def run(argv: list[str], stdin: bytes, seconds: float) -> str:
    """Run a program with an empty environment but PATH; return its last line. Raises NotifyError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", _PATH)},
            start_new_session=True,
        )
    except OSError as error:
        raise NotifyError("command", f"the command cannot be started: {error.strerror}", again=False) from None
    try:
        async with asyncio.timeout(seconds):
            said = await _talk(process, stdin)
            code = await process.wait()
    except TimeoutError:
        raise NotifyError("command", f"the command took longer than {seconds:g} s", again=True) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    line = one_line(said.decode("utf-8", "replace").strip().rpartition("\n")[2])
    if code != 0:
        raise NotifyError("command", f"the command ended with {code}: {line}", again=True)
    return line or "done"


async def _talk(process: asyncio.subprocess.Process, stdin: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()
    tail = b""
    while piece := await process.stdout.read(_TAIL):
        tail = (tail + piece)[-_TAIL:]
    return tail
