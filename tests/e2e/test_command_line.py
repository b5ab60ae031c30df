"""The same runs as a person types them: exit codes, streams, Ctrl-C, and what is shown of a run afterwards."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

TICKOVER = Path(sys.executable).with_name("tickover")
PROOF = {"file": {"path": "out/a.txt", "equals": "done\n"}}
WORK = "mkdir -p out; echo done > out/a.txt"
HERE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def tickover(bench: Bench, *words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [TICKOVER, *words]
    env = {**HERE, "HOME": str(bench.folder), "TICKOVER_HOME": str(bench.folder / "cli-home")}
    return subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )


CASES = {
    "proved": (WORK, [PROOF], [], 0),
    "not done": ("true", [PROOF], [], 5),
    "nothing asked": (WORK, [], [], 6),
    "failed on the way": ("exit 3", [PROOF], [], 7),
    "not yet": (WORK, [{"http": {"url": "http://127.0.0.1:9/", "within": "1m"}}], ["--no-wait"], 8),
}


@pytest.mark.parametrize("what", CASES)
async def test_the_exit_code_is_what_was_proved(bench: Bench, what: str) -> None:
    body, expect, options, code = CASES[what]
    said = tickover(bench, "run", bench.routine(body, expect=expect), *options)
    assert said.returncode == code, said.stdout + said.stderr


async def test_bad_input_is_told_before_anything_runs(bench: Bench) -> None:
    folder = bench.routine("echo", name="typo")
    (folder / "ROUTINE.md").write_text("---\nname: typo\nagnet: steps\n---\n")
    said = tickover(bench, "run", folder)
    assert (said.returncode, said.stdout) == (2, "")
    assert "ROUTINE.md:3:1" in said.stderr
    assert "`agent`" in said.stderr
    said = tickover(bench, "run", bench.folder / "nowhere")
    assert (said.returncode, said.stdout) == (3, "")


async def test_what_an_agent_prints_moves_no_cursor(bench: Bench) -> None:
    body = r"printf '\033[2J\033]0;x\007\033[1;32m✔ verified\033[0m\rstill here\n'"
    said = tickover(bench, "run", bench.routine(body, expect=[PROOF]))
    assert said.returncode == 5
    assert "still here" in said.stdout
    assert "\x1b" not in said.stdout
    assert "\x07" not in said.stdout


async def test_a_run_is_shown_as_its_journal_has_it(bench: Bench) -> None:
    said = tickover(bench, "run", bench.routine(WORK, expect=[PROOF]), "--json")
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    run = lines[-1]["run"]
    assert json.loads(tickover(bench, "runs", "show", run, "--json").stdout) == lines[-1]["data"]
    logs = tickover(bench, "runs", "logs", run, "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in logs] == list(range(1, len(lines)))


def start(bench: Bench, folder: Path) -> subprocess.Popen[bytes]:
    env = {**HERE, "HOME": str(bench.folder), "TICKOVER_HOME": str(bench.folder / "cli-home")}
    return subprocess.Popen(
        [TICKOVER, "run", folder], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def read_until(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    assert process.stdout is not None
    said = b""
    while word not in said:
        ready, _, _ = select.select([process.stdout], [], [], 30)
        piece = os.read(process.stdout.fileno(), 4096) if ready else b""
        assert piece, said
        said += piece
    return said


async def test_a_reader_that_leaves_does_not_end_the_run(bench: Bench) -> None:
    body = f"for i in $(seq 2000); do echo going $i; done; {WORK}"
    with start(bench, bench.routine(body, expect=[PROOF])) as process:
        read_until(process, b"going")
        assert process.stdout is not None
        process.stdout.close()
        process.wait(60)
    assert process.returncode == 0
    [row] = json.loads(tickover(bench, "runs", "list", "--json").stdout)
    assert (row["execution"], row["outcome"]) == ("completed", "verified")


async def test_two_at_once_share_a_home(bench: Bench) -> None:
    folders = [bench.routine(WORK, name=f"work-{number}", expect=[PROOF]) for number in range(3)]
    running = [start(bench, folder) for folder in folders]
    for process in running:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    rows = json.loads(tickover(bench, "runs", "list", "--json").stdout)
    assert sorted(row["outcome"] for row in rows) == ["verified"] * 3
