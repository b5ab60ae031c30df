"""`tickover up` as people start it: a process of its own, spoken to over HTTP and by the command line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

PROGRAM: Final = (sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')")


class Up:
    """A running `tickover up`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "TICKOVER_HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        self.url = ""
        self.token = ""
        self.process: asyncio.subprocess.Process | None = None
        self.log = b""
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        argv = (*PROGRAM, "up", "--dev", "--port", "0", "--drain", "60")
        self.process = await asyncio.create_subprocess_exec(
            *argv, env=self.environment, cwd=self.folder, stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stderr is not None
        async with asyncio.timeout(400):
            while b"token " not in self.log:
                line = await self.process.stderr.readline()
                assert line, self.log
                self.log += line
        self._reading = asyncio.create_task(self._read(self.process.stderr))
        text = self.log.decode()
        self.url = re.findall(r"listening on (\S+)", text)[0]
        self.token = re.findall(r"token +(tko_\S+)", text)[0]

    async def stop(self) -> int:
        self.terminate()
        return await self.ended()

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Return its exit code when it has ended."""
        assert self.process is not None
        assert self._reading is not None
        await self._reading
        return await self.process.wait()

    async def _read(self, stderr: asyncio.StreamReader) -> None:
        while line := await stderr.readline():
            self.log += line

    async def cli(self, *args: str, stdin: str = "") -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *args, env=self.environment, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=400, trust_env=False)

    async def kill(self) -> None:
        """End it if it still runs."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        if self._reading is not None:
            await self._reading

    def child(self, mark: bytes) -> int | None:
        """Find a process that the server started, by what its command line holds (`tickover.gateway`)."""
        assert self.process is not None
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and mark in status.with_name("cmdline").read_bytes():
                    return int(status.parent.name)
        return None
