"""kill -9 of the real Claude Code CLI, of the gateway and of Tickover, before, while and after it posts: one post.

That nothing of a run is left (processes, mounts, folders) is looked at by the fixture, when the last process has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.real.conftest import Real, says

from tickover.core.run import fold
from tickover.core.wish import Wish
from tickover.testing.sandbox import until
from tickover.testing.upstream import Seen, Talk, upstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORKER = """
import asyncio, sys
from pathlib import Path
from tickover.app import Tickover

async def main():
    async with await Tickover.open(Path(sys.argv[1])) as tickover:
        tickover.lease_s = 10.0
        async with tickover.server():
            await asyncio.Event().wait()

asyncio.run(main())
"""


class Board:
    """A board with posts; the first is taken and not answered while `holds`."""

    def __init__(self, *, holds: bool) -> None:
        self.posts: list[bytes] = []
        self.holds = holds
        self.over = asyncio.Event()

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        if seen.method == "POST":
            self.posts.append(seen.body)
            if self.holds and len(self.posts) == 1:
                await self.over.wait()
        await talk.answer(
            json.dumps({"posts": len(self.posts)}).encode(), headers=(("content-type", "application/json"),)
        )


@contextmanager
def worker(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server of the data folder in a process of its own; at the end it is asked to stop."""
    with subprocess.Popen([sys.executable, "-c", WORKER, str(home)], stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def below(ancestor: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield every process that descends from one, with its command line."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    for pid in parents:
        above = pid
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor:
            with suppress(OSError):
                yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def victim_of(server: int, name: str) -> int:
    """Find what is to be killed."""
    if name == "tickover":
        return server
    for pid, argv in below(server):
        if name == "gateway" and b"tickover.gateway" in argv:
            return pid
        if name == "cli" and b"claude" in argv[0] and b"-p" in argv:
            return pid
    pytest.fail(f"there is no {name}: {list(below(server))}")


@pytest.mark.parametrize("moment", ["thinking", "sent", "answered"])
@pytest.mark.parametrize("victim", ["cli", "gateway", "tickover"])
async def test_there_is_one_post_and_it_was_read_back(real: Real, victim: str, moment: str) -> None:
    board = Board(holds=moment == "sent")
    tickover = real.bench.tickover
    stall: dict[str, Any] = {"faults": [{"stall": 600}]}
    async with upstream("localhost", board, authority=real.authority) as double:
        at = f"https://localhost:{double.port}"
        post = f"curl -sS -m 300 -H 'content-type: application/json' -d '{{\"text\": \"hello\"}}' {at}/posts"
        turns = [
            says("claude-code", "I post.", post, **(stall if moment == "thinking" else {})),
            says("claude-code", "Posted.", **(stall if moment == "answered" else {})),
        ]
        with real.model({"turns": turns}, double.port) as model:
            folder = real.routine(
                "claude-code",
                model,
                name=f"post-{victim}-{moment}",
                may=[{"request": {"to": f"POST {at}/posts", "max": 2}}],
                expect=[{"http": {"url": f"{at}/count", "json": {"posts": 1}}}],
                retry={"attempts": 3, "backoff": "0s", "when": ["infrastructure"]},
            )
            name = tickover.push(folder).name
            tickover.grant(tickover.pushed_folder(name), by="owner")
            run = tickover.enqueue(Wish(name)).run

            def there() -> bool:
                if moment == "sent":
                    return bool(board.posts)
                return any(each.turn == (1 if moment == "answered" else 0) for each in model.asked)

            with worker(tickover.home) as server:
                await until(there, lambda: tickover.run_row(run), seconds=200)
                os.kill(victim_of(server.pid, victim), signal.SIGKILL)
                if victim != "tickover":
                    await until(lambda: tickover.run_row(run).finished, lambda: tickover.run_row(run), seconds=200)
            if victim == "tickover":
                with worker(tickover.home):
                    await until(lambda: tickover.run_row(run).finished, lambda: tickover.run_row(run), seconds=200)
            board.over.set()
    row = tickover.run_row(run)
    assert fold(tickover.journal(run)) == row
    assert board.posts == [b'{"text": "hello"}']
    assert row.outcome == "verified", (row.reason, row.attempts)
    causes = [str(each.cause.cause) if each.cause else "" for each in row.attempts]
    if moment == "thinking":
        assert (row.execution, len(causes), causes[1]) == ("completed", 2, "")
    else:
        assert (len(causes), row.execution) == (1, "lost" if victim != "gateway" else "failed"), row.attempts
    assert causes[0] == ("infrastructure" if victim == "gateway" else "lost")
