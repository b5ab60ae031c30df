"""The agent `loop`: a small loop of our own around any model that speaks Anthropic's or OpenAI's API.

The runner (`inside/loop.py`, standard library only) has the tools bash, read, write, output where a check asks for a
result, the run's own, and those of the MCP servers it is offered (`inside/mcp_client.py`). The routine's body is the
system prompt, with AGENTS.md of the *trusted* commit after it; then comes the skill's text or the task, then the input
block. It forgets nothing and shortens nothing: it is for short work. The key inside is a placeholder. The gateway puts
the real one in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import ClassVar, Final

from pydantic import JsonValue

from tickover.agents.base import AGENTS_OWN, OURS, OUTPUT, AgentPlan, AgentTask, ModelAt, Package, Parser
from tickover.agents.bell import ring, ringer
from tickover.agents.briefing import environment, first_turn, input_files, instructions
from tickover.agents.loop_stream import LoopParser
from tickover.agents.model_access import model_reach
from tickover.agents.report import REPORT_FILE
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import UsageError
from tickover.core.network import Reach
from tickover.core.own_tools import SERVER

PLACEHOLDER: Final = "placeholder-of-tickover"
RUNNER: Final = f"{OURS}/loop.py"
TASK: Final = f"{OURS}/loop.json"
_CLIENT: Final = f"{OURS}/mcp_client.py"
_PROMPT: Final = f"{OURS}/prompt.md"
_SKILL: Final = f"{OURS}/skill"
_CALLS: Final = {"anthropic": "/v1/messages", "openai": "/chat/completions"}
_NO_MODEL: Final = "agent `loop` needs a `model`"
_HINT: Final = "model: {name: NAME, url: URL, wire: anthropic}; or openai"


@cache
def _inside(name: str) -> bytes:
    return resources.files("tickover.agents.inside").joinpath(name).read_bytes()


class Agent:
    """Runs the loop."""

    name: ClassVar[str] = "loop"
    package: ClassVar[Package | None] = None
    speaks: ClassVar[bool] = True

    @property
    def build(self) -> str:
        return f"loop@{hashlib.sha256(_inside('loop.py') + _inside('mcp_client.py')).hexdigest()[:12]}"

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        del env
        if not model.url:
            raise UsageError("agent.no_model", _NO_MODEL, hint=_HINT)
        return model_reach(self.name, "", model.url, "", (_CALLS[model.wire],))

    def plan(self, task: AgentTask) -> AgentPlan:
        if not task.model_at.url:
            raise UsageError("agent.no_model", _NO_MODEL, hint=_HINT)
        return AgentPlan(
            argv=("/usr/bin/python3", "-I", RUNNER, TASK),
            env=environment(task),
            files=_files(task),
            cwd=task.workspace,
        )

    def parser(self, task: AgentTask) -> Parser:
        return LoopParser(task.output_limit, task.model_at.name, task.offers)


def _files(task: AgentTask) -> dict[str, bytes]:
    told: dict[str, JsonValue] = {
        "wire": task.model_at.wire,
        "url": task.model_at.url,
        "model": task.model_at.name,
        "key": PLACEHOLDER,
        "system": _system(task),
        "prompt": _PROMPT,
        "cwd": task.workspace,
        "report": f"{task.workspace}/{REPORT_FILE}",
        "output": OUTPUT,
        "schema": _schema(task.schema),
        **({"servers": {offer.name: offer.url for offer in task.offers}} if task.offers else {}),
        **({"own": {SERVER: task.own_tools}} if task.own_tools else {}),
    }
    if task.bell:
        told["bell"] = [*ring(task)]
    files = {
        RUNNER: _inside("loop.py"),
        TASK: json.dumps(told, indent=2).encode() + b"\n",
        _PROMPT: first_turn(task).encode("utf-8", "replace"),
        **input_files(task),
        **ringer(task),
    }
    if task.servers():
        files[_CLIENT] = _inside("mcp_client.py")
    if task.skill is not None:
        files |= {f"{_SKILL}/{path}": content for path, content in task.skill.files.items()}
    return files


def _system(task: AgentTask) -> str:
    parts = [instructions(task)]
    if task.skill is not None:
        parts.append(f"The files of the skill `{task.skill.name}` are in {_SKILL}.\n")
    if (words := task.trusted.get("AGENTS.md")) is not None:
        parts.append(f"What the repository tells agents (its AGENTS.md):\n\n{words.decode('utf-8', 'replace')}")
    return "\n".join(part for part in parts if part)


def _schema(text: str) -> JsonValue:
    if not text:
        return None
    try:
        return read_json(text)
    except DocumentError as error:
        raise UsageError("agent.schema", f"the schema of the result is no JSON: {error}") from None
