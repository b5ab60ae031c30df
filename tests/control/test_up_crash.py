"""kill -9 of a real server, again and again, with runs queued and under way: each ends typed, none works twice."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tickover.app import Tickover
from tickover.core.row import RunRow
from tickover.core.run import fold
from tickover.core.status import ENDED, Execution, Outcome
from tickover.core.wish import Wish

CHILD = Path(__file__).with_name("up_child.py")
ROUTINE = """\
---
name: {name}
agent: steps
overlap: queue
limits: {{concurrent: 2}}
{more}
expect: [{{file: {{path: out/a.txt, equals: "hello\\n"}}}}]
---
```bash
mkdir -p out && echo hello > out/a.txt
```
"""


def push(home: Path, name: str, more: str = "") -> None:
    folder = home.parent / "routines" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ROUTINE.md").write_text(ROUTINE.format(name=name, more=more))

    async def pushing() -> None:
        async with await Tickover.open(home, sandbox=False) as tickover:
            tickover.push(folder)

    asyncio.run(pushing())


async def enqueue(home: Path, name: str, keys: list[str]) -> list[str]:
    async with await Tickover.open(home, sandbox=False) as tickover:
        return [tickover.enqueue(Wish(name, key=key)).run for key in keys]


def rows(home: Path, *, quiet: bool = False) -> dict[str, RunRow]:
    async def read() -> dict[str, RunRow]:
        async with await Tickover.open(home, sandbox=False) as tickover:
            found = {row.id: row for row in tickover.run_rows(limit=1000)}
            for row in found.values() if quiet else ():
                assert fold(tickover.journal(row.id)) == row
            return found

    return asyncio.run(read())


@contextmanager
def up(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        said = child.stdout.readline()
        if said != b"up\n":
            child.kill()
            assert child.stderr is not None
            pytest.fail(child.stderr.read().decode())
        try:
            yield child
        finally:
            child.kill()


def finished(home: Path) -> bool:
    return all(row.finished is not None for row in rows(home).values())


@pytest.mark.timeout(600)
def test_killed_again_and_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    push(home, "once")
    push(home, "again", "retry: {attempts: 50, backoff: 0s, when: [infrastructure, clone_failed]}")
    once = asyncio.run(enqueue(home, "once", [f"k{number}" for number in range(6)]))
    again = asyncio.run(enqueue(home, "again", [f"k{number}" for number in range(4)]))
    dice = random.Random(7)
    for number in range(6):
        with up(home) as child:
            assert child.stdout is not None
            for _ in range(600):
                if any(row.started and row.finished is None for row in rows(home).values()):
                    break
                select.select([child.stdout], [], [], 0.1)  # it says nothing more: this is a pause
            select.select([child.stdout], [], [], dice.uniform(0.0, 2.0) if number else 0)
            os.kill(child.pid, signal.SIGKILL)
    assert asyncio.run(enqueue(home, "once", ["k0", "k5"])) == [once[0], once[5]]
    with up(home) as child:
        assert child.stdout is not None
        for _ in range(300):
            if finished(home):
                break
            select.select([child.stdout], [], [], 1.0)
    found = rows(home, quiet=True)
    assert set(found) == {*once, *again}
    assert any(row.recovered for row in found.values())
    for row in found.values():
        assert row.execution in ENDED
        assert row.exit_code is not None
    for run in once:
        assert sum(attempt.agent_started for attempt in found[run].attempts) <= 1
        assert found[run].execution is Execution.LOST or found[run].outcome is Outcome.VERIFIED
    for run in again:
        row = found[run]
        assert row.outcome is Outcome.VERIFIED
        worked = [attempt for attempt in row.attempts if attempt.outcome is Outcome.VERIFIED]
        assert len(worked) == 1


def test_drained_by_a_signal(tmp_path: Path) -> None:
    home = tmp_path / "home"
    push(home, "slow")
    text = (tmp_path / "routines/slow/ROUTINE.md").read_text()
    (tmp_path / "routines/slow/ROUTINE.md").write_text(text.replace("mkdir", "sleep 2; mkdir"))

    async def pushing() -> None:
        async with await Tickover.open(home, sandbox=False) as tickover:
            tickover.push(tmp_path / "routines/slow")

    asyncio.run(pushing())
    [run] = asyncio.run(enqueue(home, "slow", ["k"]))
    command = [
        sys.executable,
        "-c",
        "from tickover.cli import main; main()",
        "up",
        "--home",
        str(home),
        "--port",
        "0",
        "--drain",
        "100",
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        assert any(line.startswith("up: 1 routine") for line in child.stderr)  # another line says where it listens
        for _ in range(600):
            if rows(home)[run].agent_started:
                break
            select.select([child.stderr], [], [], 0.1)
        else:
            pytest.fail("nobody outside sees what the server writes")
        later = asyncio.run(enqueue(home, "slow", ["later"]))[0] if rows(home)[run].finished is None else run
        child.terminate()
        assert "draining" in child.stderr.read()
        assert child.wait(120) == 0
    assert rows(home)[run].outcome is Outcome.VERIFIED
    assert rows(home)[later].execution in {Execution.QUEUED, Execution.COMPLETED}
