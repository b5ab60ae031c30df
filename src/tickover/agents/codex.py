"""The agent `codex`: OpenAI's Codex CLI, headless (`codex exec --json`). Its stream is read by `codex_stream.py`.

Recipe and traps were measured with 0.169.0:

- The routine's body is its first instruction: body, then the skill's text or the task, then the input block, on stdin.
- Of the clone nothing configures it: `project_doc_max_bytes=0` leaves out its AGENTS.md, `include_instructions=false`
  its skills, and a project that nobody trusted has no configuration or MCP servers. AGENTS.md of the *trusted* commit
  is laid into its home.
- Its hook `Stop` only rings the bell of the stop gate, and hands on what the host says; no verdict rests on it. Hooks
  of the clone do not run: nobody trusted that project. Ours would not either, without a flag that says they are vetted.
- Its own sandbox cannot start inside another; ours is the one that holds.
- It says nothing of a connector that did not connect and of a tool that is not there: nothing can be told of them here.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from typing import ClassVar, Final

from tickover.agents.base import AGENTS_OWN, OURS, OUTPUT, AgentPlan, AgentTask, ModelAt, Package, Parser
from tickover.agents.bell import PATIENCE, ring, ringer
from tickover.agents.briefing import environment, first_turn, input_files, operators_words
from tickover.agents.codex_stream import CodexParser
from tickover.agents.model_access import model_reach
from tickover.core.errors import UsageError
from tickover.core.network import Reach

PLACEHOLDER: Final = "sk-placeholder-of-tickover"
_URL: Final = "https://api.openai.com/v1"
_START: Final = f"{OURS}/start.sh"
_PROMPT: Final = f"{OURS}/prompt.md"
_SKILL: Final = f"{OURS}/skill"
_AGENTS: Final = f"{OURS}/AGENTS.md"
_SCHEMA: Final = f"{OURS}/schema.json"
_HOME: Final = "/home/agent/.codex"
_SCRIPT: Final = f"""\
#!/bin/sh
# Lay what the trusted commit says into the home, then run the agent with its prompt on stdin.
set -eu
mkdir -p "$CODEX_HOME" {os.path.dirname(OUTPUT)}
if [ -f {_AGENTS} ]; then cp {_AGENTS} "$CODEX_HOME/AGENTS.md"; fi
cat {_PROMPT} | "$@"
"""


class Agent:
    """Runs the installed CLI."""

    name: ClassVar[str] = "codex"
    package: ClassVar[Package | None] = Package("@openai/codex", "node_modules/.bin/codex")
    speaks: ClassVar[bool] = True
    build = "codex"

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        del model
        return model_reach(self.name, "openai", env.get("OPENAI_BASE_URL", ""), _URL, ("/responses",))

    def plan(self, task: AgentTask) -> AgentPlan:
        if not task.program:
            text = "no build of `codex` is installed"
            raise UsageError("agent.not_installed", text, hint="tickover agent install codex@VERSION")
        return AgentPlan(
            argv=("/bin/sh", _START, task.program, *_flags(task)),
            env={**environment(task), "CODEX_HOME": _HOME, "OPENAI_API_KEY": PLACEHOLDER},
            files=_files(task),
            cwd=task.workspace,
        )

    def parser(self, task: AgentTask) -> Parser:
        return CodexParser(task.output_limit, schema=bool(task.schema))


def _flags(task: AgentTask) -> list[str]:
    url = task.model_url or task.env.get("OPENAI_BASE_URL", _URL)
    provider = _table(
        name="tickover", base_url=url, env_key="OPENAI_API_KEY", wire_api="responses",
        request_max_retries=2, stream_max_retries=2,
    )  # fmt: skip
    flags = ["exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check"]
    settings = {
        "project_doc_max_bytes": "0",
        "skills.include_instructions": "false",
        "model_provider": '"tickover"',
        "model_providers.tickover": provider,
        **{f"mcp_servers.{name}": _table(url=url) for name, url in task.servers().items()},
    }
    for key, value in settings.items():
        flags += ["-c", f"{key}={value}"]
    if task.bell:
        flags += ["--dangerously-bypass-hook-trust", "-c", f"hooks.Stop={_stop_hook(task)}"]
    if task.model:
        flags += ["--model", task.model]
    if task.schema:
        flags += ["--output-schema", _SCHEMA, "--output-last-message", OUTPUT]
    return [*flags, "-"]


def _stop_hook(task: AgentTask) -> str:
    """Return a hook that rings: exit code 2 sends its stderr back to the model, which goes on."""
    return f"[{{hooks = [{_table(type='command', command=shlex.join(ring(task)), timeout=int(PATIENCE))}]}}]"


def _table(**values: str | int) -> str:
    """Write a TOML inline table; a JSON string is a TOML string."""
    return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items()) + "}"


def _files(task: AgentTask) -> dict[str, bytes]:
    parts = [operators_words(task), first_turn(task)]
    files = {**input_files(task), **ringer(task)}
    if task.skill is not None:
        files |= {f"{_SKILL}/{path}": content for path, content in task.skill.files.items()}
        parts.insert(1, f"The files of the skill `{task.skill.name}` are in {_SKILL}. It says:\n")
    if (words := task.trusted.get("AGENTS.md")) is not None:
        files[_AGENTS] = words
    if task.schema:
        files[_SCHEMA] = task.schema.encode()
    prompt = "\n".join(part for part in parts if part)
    return {_START: _SCRIPT.encode(), _PROMPT: prompt.encode("utf-8", "replace"), **files}
