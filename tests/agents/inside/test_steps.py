"""The runner itself, started as it is inside a sandbox, but on files of a temporary folder."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tickover.agents.base import OURS, AgentExit, AgentFact, AgentTask, Block
from tickover.agents.steps import Agent
from tickover.core.event import AgentFinished, AgentOutput, AgentStep
from tickover.core.status import AgentStatus

LATE = """
import os, runpy, subprocess, sys
class Late(subprocess.Popen):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
subprocess.Popen = Late
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A busy machine: the runner comes to look at a block only after the block has ended."""


class Runner:
    """Lays a plan out below a folder and runs it."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.ours = folder / "ours"
        self.workspace.mkdir()
        self.before: tuple[str, ...] = ()
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, task: AgentTask) -> subprocess.Popen[bytes]:
        plan = Agent().plan(task)
        for target, data in plan.files.items():
            path = self.ours / Path(target).relative_to(OURS)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.replace(f"{OURS}/blocks".encode(), f"{self.ours}/blocks".encode()))
        argv = [sys.executable, "-I", *self.before, str(self.ours / "steps.py"), str(self.ours / "steps.json")]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.workspace), **plan.env}
        child = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.children.append(child)
        return child

    def run(self, *blocks: Block, **inputs: str) -> list[AgentFact]:
        task = AgentTask(boundary="b", blocks=blocks, inputs=inputs, workspace=str(self.workspace))
        child = self.start(task)
        stdout, stderr = child.communicate(timeout=60)
        assert stderr == b"", "the runner says nothing of its own"
        parser = Agent().parser(task)
        return parser.feed("stdout", stdout) + parser.finish(AgentExit(child.returncode))


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path)
    yield runner
    for child in runner.children:
        child.kill()
        for pipe in (child.stdout, child.stderr):
            assert pipe
            pipe.close()
        child.wait()


def output(facts: list[AgentFact], stream: str = "stdout") -> str:
    return "".join(fact.text or "" for fact in facts if isinstance(fact, AgentOutput) and fact.stream == stream)


def exits(facts: list[AgentFact]) -> dict[str, int | None]:
    return {fact.id: fact.exit for fact in facts if isinstance(fact, AgentStep)}


def finished(facts: list[AgentFact]) -> AgentFinished:
    assert isinstance(facts[-1], AgentFinished)
    return facts[-1]


def test_blocks_run_in_order_in_the_workspace(runner: Runner) -> None:
    facts = runner.run(
        Block("a", "bash", "set -o | grep -E '^(errexit|nounset|pipefail).*on' | wc -l; echo one > note"),
        Block("b", "sh", "cat note; pwd"),
        Block("c", "python", "import os, sys\nprint(os.environ['TICKOVER_INPUT_WEEK'], sys.stdin.read())"),
        Block("d", "bash", "echo to stderr >&2"),
        week="last",
    )
    assert output(facts) == f"3\none\n{runner.workspace}\nlast \n"
    assert output(facts, "stderr") == "to stderr\n"
    assert exits(facts) == {"a": 0, "b": 0, "c": 0, "d": 0}
    assert finished(facts).status is AgentStatus.COMPLETED


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (Block("x", "bash", "false; echo not reached"), 1),
        (Block("x", "bash", "exit 9 | cat; echo not reached"), 9),
        (Block("x", "bash", "echo $NO_SUCH_VARIABLE; echo not reached"), 1),
        (Block("x", "sh", "false; echo not reached"), 1),
        (Block("x", "python", "raise SystemExit(3)"), 3),
    ],
)
def test_the_first_failing_step_is_the_last(runner: Runner, block: Block, code: int) -> None:
    facts = runner.run(block, Block("after", "bash", "echo not reached"))
    assert exits(facts) == {"x": code}
    assert finished(facts).exit == code
    assert "not reached" not in output(facts)


def test_a_step_that_signals_itself_is_killed(runner: Runner) -> None:
    facts = runner.run(Block("x", "bash", "kill -SEGV $$"))
    assert exits(facts) == {"x": None}
    assert finished(facts).exit == 128 + signal.SIGSEGV


def test_a_missing_interpreter_says_so(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(runner.workspace))
    facts = runner.run(Block("x", "js", "console.log(1)"))
    assert exits(facts) == {"x": 127}
    assert "cannot start `node`" in output(facts, "stderr")


def test_javascript_runs_where_node_is(runner: Runner) -> None:
    (runner.workspace / "node").write_text('#!/bin/sh\necho "node $1" | sed "s#/.*/##"\n')
    (runner.workspace / "node").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{runner.workspace}:{os.environ['PATH']}")
        facts = runner.run(Block("x", "js", "console.log(1)"))
    assert output(facts) == "node 01-x.js\n"


def test_a_step_out_of_time_dies_with_its_process_group(runner: Runner) -> None:
    code = "trap '' TERM; (trap '' TERM; echo $BASHPID; exec tail -f /dev/null) & wait"
    facts = runner.run(Block("x", "bash", code, timeout_s=1), Block("after", "bash", "echo not reached"))
    assert exits(facts) == {"x": None}
    assert finished(facts).exit == 124
    assert "stopped after 1 s" in output(facts, "stderr")
    assert not _runs(int(output(facts)))


def test_a_background_process_holds_up_nothing_and_is_still_heard(runner: Runner) -> None:
    facts = runner.run(
        Block("a", "bash", "mkfifo go done; (read -r _ < go; echo heard; echo > done) & echo started"),
        Block("b", "bash", "echo now > go; read -r _ < done"),
    )
    assert exits(facts) == {"a": 0, "b": 0}
    assert "heard" in output(facts)


def test_what_a_background_process_wrote_before_the_end_is_told_however_late_we_look(runner: Runner) -> None:
    runner.before = ("-c", LATE)
    facts = runner.run(
        Block("a", "bash", "mkfifo go done; (read -r _ < go; echo heard; echo > done) & echo started"),
        Block("b", "bash", "echo now > go; read -r _ < done"),
    )
    assert exits(facts) == {"a": 0, "b": 0}
    assert output(facts) == "started\nheard\n"


def test_output_comes_while_a_step_runs_and_cut_characters_are_whole(runner: Runner) -> None:
    code = "printf '\\303'; read -r _ < go || true; printf '\\244\\377\\n'"
    os.mkfifo(runner.workspace / "go")
    task = AgentTask(boundary="b", blocks=(Block("x", "bash", "echo first; " + code),), workspace=str(runner.workspace))
    child = runner.start(task)
    assert child.stdout
    assert b"first" in _line(child.stdout)
    (runner.workspace / "go").write_text("\n")
    rest, _ = child.communicate(timeout=30)
    parser = Agent().parser(task)
    assert output(parser.feed("stdout", rest) + parser.finish(AgentExit(child.returncode))) == "ä\ufffd\n"


def test_a_flood_from_a_daemon_does_not_hold_up_the_next_step(runner: Runner) -> None:
    facts = runner.run(Block("a", "bash", "yes & true"), Block("b", "bash", "echo next"))
    assert exits(facts) == {"a": 0, "b": 0}
    assert "next\n" in output(facts)


def test_a_big_block_needs_no_room_in_an_argument_list(runner: Runner) -> None:
    facts = runner.run(Block("x", "bash", f": {'x' * 200_000}\necho done"))
    assert output(facts) == "done\n"


def _runs(pid: int) -> bool:
    """Say whether a process runs; a zombie that waits for its reaper does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _line(pipe: IO[bytes]) -> bytes:
    end = time.monotonic() + 30
    while not select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
        assert time.monotonic() < end, "no line within 30 s"
    return pipe.readline()
