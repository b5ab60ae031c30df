"""The agent `remote`: the work is done elsewhere. The event is forwarded, and the contract is judged here as always.

That the other end answered 200 is a claim like any exit code. Forms: Claude Code Routines' `/fire` (Claude's docs,
api/claude-code/routines-fire), GitHub's workflow dispatch (docs.github.com/rest/actions/workflows), and any endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Final

from tickover.agents.base import AGENTS_OWN, OURS, AgentPlan, AgentTask, ModelAt, Package, Parser
from tickover.agents.briefing import environment, input_files
from tickover.agents.command import CommandParser
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import UsageError
from tickover.core.network import Reach

RUNNER: Final = f"{OURS}/forward.py"
REQUEST: Final = f"{OURS}/request.json"
LONGEST_TEXT: Final = 65_536
"""Characters that `/fire` takes."""

_JSON: Final = {"content-type": "application/json"}
_FIRE: Final = {
    **_JSON,
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "experimental-cc-routine-2026-04-01",
}
_GITHUB: Final = {**_JSON, "accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}


@cache
def _runner() -> bytes:
    return resources.files("tickover.agents.inside").joinpath("forward.py").read_bytes()


class Agent:
    """Forwards, or (`to: none`) only waits for its moment."""

    name: ClassVar[str] = "remote"
    package: ClassVar[Package | None] = None
    speaks: ClassVar[bool] = False
    build = "remote@1"

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        del env, model
        return Reach()  # the request is a permission of the routine's, as any other write

    def plan(self, task: AgentTask) -> AgentPlan:
        inside = environment(task)
        if task.forward is None or task.forward.to == "none":
            return AgentPlan(argv=("true",), env=inside, files=input_files(task), cwd=task.workspace)
        headers, body = _request(task.forward.to, task)
        told = {"url": task.forward.url, "headers": headers, "body": body}
        files = {**input_files(task), RUNNER: _runner(), REQUEST: json.dumps(told).encode()}
        return AgentPlan(argv=("python3", "-I", RUNNER, REQUEST), env=inside, files=files, cwd=task.workspace)

    def parser(self, task: AgentTask) -> Parser:
        return CommandParser(task.output_limit)


def _request(to: str, task: AgentTask) -> tuple[Mapping[str, str], str]:
    text = "" if task.event is None else task.event.decode("utf-8", "replace")
    if to == "claude-routine":
        if task.inputs and not 0 < len(text) <= LONGEST_TEXT:
            text = json.dumps(dict(task.inputs))
        if len(text) > LONGEST_TEXT:
            what = f"the event has {len(text)} characters, the other end takes {LONGEST_TEXT}"
            raise UsageError("remote.too_long", what, hint="with `input` only what it takes out is sent")
        return _FIRE, json.dumps({"text": text} if text else {})
    if to == "github-workflow":
        named = {name: value if isinstance(value, str) else json.dumps(value) for name, value in task.inputs.items()}
        ref = named.pop("ref", "main")
        return _GITHUB, json.dumps({"ref": ref, "inputs": named})
    body: dict[str, Any] = {"inputs": dict(task.inputs), "event": _event(text) if task.event is not None else None}
    return _JSON, json.dumps(body)


def _event(text: str) -> Any:
    try:
        return read_json(text)
    except DocumentError:
        return text
