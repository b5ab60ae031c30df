"""A server of somebody else's that listens on every interface: in a network namespace of its own, behind a TLS port.

What leads out of the namespace is a Unix socket, which belongs to a folder and to no interface. In front of it listens
a port of loopback on this side, with a certificate of the test's own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tickover.gateway.certificates import RunAuthority
from tickover.sandbox.bwrap import find_bwrap
from tickover.testing.localhost import HOST
from tickover.testing.sandbox import until

_INSIDE: Final = """\
import asyncio, os, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
async def main(path, port, *command):
    program = await asyncio.create_subprocess_exec(*command)
    program_over = asyncio.ensure_future(program.wait())
    async def arrived(reader, writer):
        while True:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", int(port))
                break
            except ConnectionRefusedError:  # it has not begun to listen, and tells nobody when it does
                await asyncio.wait([program_over], timeout=0.05)
        await asyncio.gather(pump(reader, back), pump(there, writer))
    await asyncio.start_unix_server(arrived, path + ".new")
    os.rename(path + ".new", path)
    sys.exit(await program_over)
asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def secluded(
    command: Sequence[str], port: int, authority: RunAuthority, folder: Path, *, env: Mapping[str, str]
) -> AsyncIterator[int]:
    """Run a program that listens at `port` of its own loopback interface; yield the port of ours that leads there.

    `folder` gets its socket and what it says (`program.log`). Raises AssertionError where it does not begin.
    """
    path = folder / "door"
    inside = [sys.executable, "-I", "-c", _INSIDE, str(path), str(port), *command]
    alone = [find_bwrap(), "--unshare-net", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--dev-bind", "/", "/"]
    with (folder / "program.log").open("wb") as log:
        program = await asyncio.create_subprocess_exec(
            *alone, "--proc", "/proc", "--", *inside,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], **env},
        )  # fmt: skip
    tasks: set[asyncio.Task[None]] = set()

    async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(path))
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(arrived(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server: asyncio.Server | None = None
    try:
        await until(lambda: path.exists() or program.returncode is not None, lambda: "the program did not begin")
        if program.returncode is not None:
            raise AssertionError((folder / "program.log").read_text())
        server = await asyncio.start_server(begun, "127.0.0.1", 0, ssl=authority.context(HOST))
        yield server.sockets[0].getsockname()[1]
    finally:
        if server is not None:
            server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ProcessLookupError):
            program.kill()
        await program.wait()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
