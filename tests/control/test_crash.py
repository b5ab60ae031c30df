"""kill -9 after every append of a run: the journal stays readable, the run ends typed, the host is clean."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tickover.app import RunRequest, Tickover
from tickover.core.run import fold, is_terminal
from tickover.core.status import Execution, Outcome

CHILD = Path(__file__).with_name("crash_child.py")
ROUTINE = """\
---
name: tiny
agent: steps
state: true
expect:
  - file: {path: out/a.txt, equals: "hello\\n"}
---
```bash
mkdir -p out
echo hello > out/a.txt
echo seen > state/last
```
"""
SETTLED = {Execution.COMPLETED, Execution.FAILED, Execution.LOST, Execution.CANCELLED}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "routines" / "tiny"
    folder.mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(ROUTINE)
    return folder


def start(home: Path, folder: Path, die_at: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(CHILD), str(home), str(folder), str(die_at)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def left_on_host(home: Path, groups_before: set[Path]) -> list[str]:
    """Everything that a killed run may have left: processes, mounts, control groups, sandboxes."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(str(home)) in command:
                found.append(f"process {process.name}: {command!r}")
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(home) in line]
    for name in os.listdir(home / "sandboxes"):
        found.append(f"sandbox {name}")
    return [*found, *(f"group {path}" for path in abandoned_groups(groups_before))]


def empty_groups() -> set[Path]:
    """Control groups of sandboxes that hold no process: abandoned, or of a living launcher that has begun or ended one."""
    seen = set()
    for folder, _, _ in os.walk("/sys/fs/cgroup"):  # one that goes while it is looked at is no error
        path = Path(folder)
        if not path.name.startswith("tickover-") or path.name == "tickover-launcher":
            continue
        with contextlib.suppress(OSError):
            if not (path / "cgroup.procs").read_text().strip():
                seen.add(path)
    return seen


def abandoned_groups(before: set[Path]) -> set[Path]:
    """Return the groups that stay empty for half a minute; those of a living launcher come and go."""
    found = empty_groups() - before
    for _ in range(30):
        if not found:
            break
        select.select([], [], [], 1)
        found &= empty_groups()
    return found


async def run_once(home: Path, folder: Path) -> int:
    async with await Tickover.open(home) as tickover:
        row = await tickover.run(RunRequest(folder=str(folder)))
        assert row.outcome is Outcome.VERIFIED, row.reason
        return row.last_seq


async def settle(home: Path) -> None:
    async with await Tickover.open(home) as tickover:
        rows = tickover.run_rows()
        for row in rows:
            events = tickover.journal(row.id)
            assert fold(events) == row
            assert is_terminal(row), f"{row.id} is {row.execution}, {row.outcome}"
            assert row.execution in SETTLED
            if row.execution is not Execution.COMPLETED:
                assert row.cause is not None
                assert row.exit_code == 7 or row.outcome is Outcome.VERIFIED
            if row.execution is Execution.LOST:
                assert row.recovered == 1


def kill_after(tmp_path: Path, folder: Path, step: int) -> None:
    home = tmp_path / "home"
    before = empty_groups()
    last = asyncio.run(run_once(home, folder))
    assert last > 20
    for die_at in range(1, last + 1, step):
        child = start(home, folder, die_at)
        assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    asyncio.run(settle(home))
    assert left_on_host(home, before) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_after_every_append(tmp_path: Path, folder: Path) -> None:
    kill_after(tmp_path, folder, 1)


@pytest.mark.timeout(300)
def test_killed_after_some_appends(tmp_path: Path, folder: Path) -> None:
    kill_after(tmp_path, folder, 7)


def test_a_sandbox_does_not_outlive_its_run(tmp_path: Path, folder: Path) -> None:
    """The agent's processes are gone as soon as the killed process is, without any later start."""
    text = (folder / "ROUTINE.md").read_text().replace("echo hello >", "(setsid nohup sleep 600 &) ; echo hello >")
    (folder / "ROUTINE.md").write_text(text)
    home = tmp_path / "home"
    before = empty_groups()
    asyncio.run(run_once(home, folder))
    with subprocess.Popen(
        [sys.executable, str(CHILD), str(home), str(folder), "17"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        child.wait(60)
    asyncio.run(settle(home))
    assert left_on_host(home, before) == []
