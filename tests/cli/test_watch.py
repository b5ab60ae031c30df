"""The watcher as a process, over a server that goes and comes back."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tickover.control.watch import watch
from tickover.core.notice import Message
from tickover.testing.http import double


async def lines(path: Path, wanted: int, watcher: asyncio.subprocess.Process) -> list[dict[str, Any]]:
    def read() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    async with asyncio.timeout(60):
        while True:
            found = await asyncio.to_thread(read)
            if len(found) >= wanted:
                return [json.loads(line) for line in found]
            assert watcher.returncode is None
            await asyncio.to_thread(signal.sigtimedwait, [], 0.05)


async def test_a_server_that_dies_is_reported_and_its_return_too(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    async with double() as there:
        url = there.url
        watcher = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')", "watch", url, "--silent", "1", "--every", "0.05",
            "--command", f"sh -c 'cat >> {heard}; echo >> {heard}'", stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            while not there.sent:
                await asyncio.to_thread(signal.sigtimedwait, [], 0.05)
    try:
        [alarm] = await lines(heard, 1, watcher)
        assert alarm["kinds"] == ["failed"]
        assert f"{url} has not answered for" in alarm["reason"]
        port = int(url.rpartition(":")[2])
        from tickover.api.serve import Listener

        async with Listener(there, host="127.0.0.1", port=port, finish=lambda: None):
            [_, back] = await lines(heard, 2, watcher)
        assert back["kinds"] == ["recovered"]
    finally:
        watcher.send_signal(signal.SIGTERM)
        assert await watcher.wait() == 0


async def test_an_alarm_that_nobody_took_is_raised_again() -> None:
    over, told = asyncio.Event(), []
    moments = iter(range(0, 10_000, 100))

    async def ask() -> bool:
        return False

    async def alarm(message: Message) -> bool:
        told.append(message.reason)
        if len(told) == 3:
            over.set()
        return len(told) == 3

    await watch(
        what="it", ask=ask, alarm=alarm, limit=120, every=0.01, clock=lambda: float(next(moments)), wall=lambda: 0.0, over=over
    )  # fmt: skip
    assert len(told) == 3
    assert len(set(told)) == 1


def test_an_alarm_needs_somebody_who_hears_it(cli: Any) -> None:
    shown = cli("watch", "http://server.test")
    assert shown.exit_code == 2
    assert "watch.target" in shown.stderr
    assert cli("watch", "server.test", "--command", "true").exit_code == 2


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_an_answer_that_is_no_health_is_silence(status: int) -> None:
    from tickover.cli.watch import _asking

    async with double(lambda _: (status, {"location": "/"}, b"")) as there:
        assert not await _asking(there.url)()
    async with double() as there:
        assert await _asking(there.url)()
