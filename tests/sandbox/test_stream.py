from __future__ import annotations

import asyncio
from pathlib import Path

from tickover.sandbox.base import SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend

WRITES = "import os, select\nfor _ in range(60):\n    os.write(1, b'x')\n    select.select([], [], [], 0.005)"


async def test_a_stream_goes_on_after_the_other_one_ended_while_the_reader_was_slow(tmp_path: Path) -> None:
    backend = await BwrapBackend.open(tmp_path / "data")
    try:
        sandbox = await backend.start(SandboxSpec(name="slow", argv=["/usr/bin/python3", "-I", "-c", WRITES]))
        read = b""
        async with asyncio.timeout(60):
            async for _, piece in sandbox.stream():
                if not read:  # the queue fills up, stdout is paused, and both streams end meanwhile
                    await sandbox.wait()
                    await asyncio.gather(*(asyncio.to_thread(int) for _turn in range(20)))
                read += piece
        assert read == b"x" * 60
        await sandbox.destroy()
    finally:
        await backend.close()
