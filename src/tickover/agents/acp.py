"""The agent `acp`: any program that speaks the Agent Client Protocol, version 1, on stdin and stdout.

The runner (`inside/acp.py`) starts `argv`, opens one session and gives it one prompt: the routine's body, the skill's
text or the task, the input block. What the program needs (an installation, a key's placeholder, its model's host) the
routine says, in `environment`: this adapter knows none of it. The protocol tells no cost, of tokens nothing, nor which
tools of an MCP server the agent found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import ClassVar, Final

from pydantic import JsonValue

from tickover.agents.base import AGENTS_OWN, OURS, AgentPlan, AgentTask, ModelAt, Package, Parser
from tickover.agents.bell import ring, ringer
from tickover.agents.briefing import environment, first_turn, input_files, operators_words
from tickover.agents.loop_stream import LoopParser
from tickover.core.errors import UsageError
from tickover.core.network import Reach
from tickover.core.own_tools import SERVER

RUNNER: Final = f"{OURS}/acp.py"
TASK: Final = f"{OURS}/acp.json"
PROMPT: Final = f"{OURS}/prompt.md"
_SKILL: Final = f"{OURS}/skill"


@cache
def _runner() -> bytes:
    return resources.files("tickover.agents.inside").joinpath("acp.py").read_bytes()


class Agent:
    """Runs `argv` as an agent."""

    name: ClassVar[str] = "acp"
    package: ClassVar[Package | None] = None
    speaks: ClassVar[bool] = True

    @property
    def build(self) -> str:
        return f"acp@{hashlib.sha256(_runner()).hexdigest()[:12]}"

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        del env, model
        return Reach()

    def plan(self, task: AgentTask) -> AgentPlan:
        if not task.argv or not task.argv[0]:
            raise UsageError("agent.no_argv", "`agent: acp` needs `argv`, the program and its arguments")
        told: dict[str, JsonValue] = {"argv": [*task.argv], "cwd": task.workspace, "prompt": PROMPT}
        if task.offers:
            told["servers"] = {offer.name: offer.url for offer in task.offers}
        if task.own_tools:
            told["own"] = {SERVER: task.own_tools}
        if task.bell:
            told["bell"] = [*ring(task)]
        parts = [operators_words(task), first_turn(task)]
        files = {
            RUNNER: _runner(),
            TASK: json.dumps(told, indent=2).encode() + b"\n",
            **input_files(task),
            **ringer(task),
        }
        if task.skill is not None:
            files |= {f"{_SKILL}/{path}": content for path, content in task.skill.files.items()}
            parts.insert(1, f"The files of the skill `{task.skill.name}` are in {_SKILL}. It says:\n")
        files[PROMPT] = "\n".join(parts).encode("utf-8", "replace")
        argv = ("/usr/bin/python3", "-I", RUNNER, TASK)
        return AgentPlan(argv=argv, env=environment(task), files=files, cwd=task.workspace)

    def parser(self, task: AgentTask) -> Parser:
        return LoopParser(task.output_limit, "", task.offers, acp=True)
