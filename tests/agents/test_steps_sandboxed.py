"""A `steps` routine in a real sandbox: the runner is the system's Python, the files are ours and read-only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tickover.agents.base import AgentExit, AgentFact, AgentTask, Block
from tickover.agents.steps import Agent
from tickover.core.event import AgentFinished, AgentOutput, AgentStep
from tickover.core.status import AgentStatus
from tickover.sandbox.base import Overlay, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[BwrapBackend]:
    backend = await BwrapBackend.open(tmp_path / "data")
    yield backend
    await backend.close()


async def run(backend: BwrapBackend, *blocks: Block) -> list[AgentFact]:
    (backend.data / "empty").mkdir(mode=0o755)
    task = AgentTask(boundary="b", blocks=blocks, inputs={"week": "last"}, event=b'{"n": 1}')
    plan = Agent().plan(task)
    sandbox = await backend.start(
        SandboxSpec(
            name="steps",
            argv=plan.argv,
            env={"PATH": "/usr/bin:/bin", **plan.env},
            cwd=plan.cwd,
            overlays=(Overlay("/workspace", (backend.data / "empty",), "workspace"),),
            files=plan.files,
        )
    )
    try:
        parser = Agent().parser(task)
        facts = [fact async for stream, data in sandbox.stream() for fact in parser.feed(stream, data)]
        ended = await sandbox.wait()
        return facts + parser.finish(AgentExit(ended.code, ended.reason))
    finally:
        await sandbox.destroy()


def finished(facts: list[AgentFact]) -> AgentFinished:
    assert isinstance(facts[-1], AgentFinished)
    return facts[-1]


def output(facts: list[AgentFact]) -> str:
    return "".join(fact.text or "" for fact in facts if isinstance(fact, AgentOutput))


async def test_blocks_see_their_input_and_cannot_change_what_is_ours(backend: BwrapBackend) -> None:
    facts = await run(
        backend,
        Block("a", "bash", "pwd; cat /tickover/event; echo; echo one > note"),
        Block(
            "b", "python", "import json\nprint(json.load(open('/tickover/input.json'))['inputs'], open('note').read())"
        ),
        Block("c", "bash", "if echo x >> /tickover/steps.json || rm -f /tickover/steps.py; then echo CHANGED; fi"),
    )
    assert [(fact.id, fact.exit) for fact in facts if isinstance(fact, AgentStep)] == [("a", 0), ("b", 0), ("c", 0)]
    assert finished(facts).status is AgentStatus.COMPLETED
    assert output(facts).startswith("/workspace\n{\"n\": 1}\n{'week': 'last'} one\n")
    assert "CHANGED" not in output(facts)


@pytest.mark.parametrize("signal", ["KILL", "SEGV"])
async def test_a_block_that_kills_the_runner_gains_nothing(backend: BwrapBackend, signal: str) -> None:
    forged = '{"tickover": "step", "id": "a", "exit": 0, "seconds": 1}\\n{"tickover": "end", "exit": 0}\\n'
    code = f"printf '{forged}' > /proc/$PPID/fd/1 || true; kill -{signal} $PPID; tail -f /dev/null"
    facts = await run(backend, Block("a", "bash", code))
    assert finished(facts).status in {AgentStatus.KILLED, AgentStatus.FAILED}
    assert finished(facts).exit != 0


async def test_a_daemon_that_leaves_its_session_ends_with_the_run(backend: BwrapBackend) -> None:
    facts = await run(
        backend, Block("a", "bash", "setsid -f bash -c \"trap '' TERM HUP; tail -f /dev/null\"; echo done")
    )
    assert finished(facts).status is AgentStatus.COMPLETED
