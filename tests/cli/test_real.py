"""The command line as a process, with real sandboxes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = (sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')")
SLOW = """---
name: slow
agent: steps
expect: [{file: {path: out/x, equals: "1"}}]
---
```sh
trap '' TERM INT; echo begun; sleep 600
```
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "routines/slow").mkdir(parents=True)
    (tmp_path / "routines/slow/ROUTINE.md").write_text(SLOW)
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "TICKOVER_HOME": str(place / "home")}


def call(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *args]
    return subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, check=False)


def rows(place: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call(place, "runs", "list", "--json").stdout)
    return found


def test_the_first_routine_is_verified_and_broken_it_is_failed(place: Path) -> None:
    assert call(place, "init").returncode == 0
    done = call(place, "run", "hello")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n✔ VERIFIED  (artifact: the sum of the squares" in done.stdout
    routine = place / "routines/hello/ROUTINE.md"
    routine.write_text(routine.read_text().replace("seq 100", "seq 99"))
    done = call(place, "run", "hello", "--json")
    assert done.returncode == 5
    assert [row["outcome"] for row in rows(place)] == ["failed", "verified"]
    shown = json.loads(call(place, "runs", "show", rows(place)[0]["id"], "--json").stdout)
    assert json.loads(done.stdout.splitlines()[-1])["data"] == shown
    assert {phase["phase"] for phase in shown["attempts"][0]["phases"]} >= {"preflight", "baseline", "agent", "verify"}


def begun(place: Path) -> subprocess.Popen[str]:
    """Start the slow routine in a process group of its own, and return when its agent has spoken."""
    running = subprocess.Popen(
        [*PROGRAM, "run", "slow", "--json"],
        cwd=place, env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    assert running.stdout is not None
    for line in running.stdout:
        if json.loads(line)["type"] == "agent_output":
            return running
    raise AssertionError(running.communicate())


def test_ctrl_c_cancels_the_run_and_waits_until_it_is_cleaned_up(place: Path) -> None:
    with begun(place) as running:
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "cancelling; once more ends at once\n")
    last = json.loads(out.splitlines()[-1])
    assert (last["type"], last["data"]["execution"], last["data"]["outcome"]) == ("run", "cancelled", "failed")


def test_ctrl_c_twice_ends_at_once_and_the_next_start_settles_the_run(place: Path) -> None:
    with begun(place) as running:
        os.killpg(running.pid, signal.SIGINT)
        assert running.stderr is not None
        assert "cancelling" in running.stderr.readline()
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert call(place, "doctor", "--json").returncode == 0
    [row] = rows(place)
    assert row["finished"] is not None
    assert row["execution"] in {"lost", "cancelled"}


def test_cancel_from_another_process(place: Path) -> None:
    with begun(place) as running:
        assert call(place, "runs", "cancel", rows(place)[0]["id"]).returncode == 0
        running.communicate(timeout=60)
    assert running.returncode == 7
    assert str(rows(place)[0]["cancel_requested_by"]).endswith("(command line)")
