"""The agent `claude-code`: Claude Code's own CLI, headless. Its streams are read by `claude_stream.py`.

Recipe and traps were measured with 2.1.197. What is told to it:

- The routine's body is appended to the system prompt (or replaces it). The first user turn has the input block, then
  `/SKILL` as its last part: so the skill starts by name, and input from outside is never its `$ARGUMENTS`.
- Of the clone nothing configures it: `--setting-sources user` leaves out the project's hooks, settings, skills, agents
  and CLAUDE.md, `--strict-mcp-config` its `.mcp.json`. CLAUDE.md, skills, agents, commands and rules of the *trusted*
  commit are laid into its home; of trusted settings only `permissions`, because hooks name programs in the clone.
- Its hook `Stop` only rings the bell of the stop gate, and hands on what the host says; no verdict rests on it.
- `IS_SANDBOX` must be exactly 1, or it refuses to work without asking in a sandbox whose user looks like root.
- The key inside is a placeholder. The gateway puts the real one in.
"""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Final

from tickover.agents.base import AGENTS_OWN, OURS, OUTPUT, AgentPlan, AgentTask, ModelAt, Package, Parser
from tickover.agents.bell import PATIENCE, ring, ringer
from tickover.agents.briefing import environment, input_block, input_files, operators_words
from tickover.agents.claude_stream import ClaudeParser
from tickover.agents.model_access import model_reach
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import UsageError
from tickover.core.network import Reach

PLACEHOLDER: Final = "sk-ant-placeholder-of-tickover"
_URL: Final = "https://api.anthropic.com"
_CALLS: Final = tuple(f"/v1/messages{more}{query}" for more in ("", "/count_tokens") for query in ("?beta=true", ""))
_START: Final = f"{OURS}/start.sh"
_TURN: Final = f"{OURS}/turn.jsonl"
_INSTRUCTIONS: Final = f"{OURS}/instructions.md"
_SETTINGS: Final = f"{OURS}/settings.json"
_HOME: Final = f"{OURS}/claude"
_KEEPER: Final = f"{OURS}/result.py"
_LONGEST_SCHEMA: Final = 64 << 10  # it stands in argv
_TRUSTED: Final = ("agents/", "commands/", "rules/", "skills/", "output-styles/")
_SCRIPT: Final = f"""\
#!/bin/bash
# Lay what the trusted commit says into the home, then run the agent with its first turn on stdin.
set -euo pipefail
mkdir -p "$HOME/.claude"
if [ -d {_HOME} ]; then
  cp -R {_HOME}/. "$HOME/.claude/"
  chmod -R u+w "$HOME/.claude"
fi
if [ -f {OURS}/executable ]; then
  while IFS= read -r file; do chmod u+x "$HOME/.claude/$file"; done < {OURS}/executable
fi
# A pipe: of a regular file on stdin the CLI reads nothing, and says that all went well.
if [ -f {_KEEPER} ]; then
  cat {_TURN} | "$@" | /usr/bin/python3 -I {_KEEPER} {OUTPUT}
else
  cat {_TURN} | "$@"
fi
"""
_ENVIRONMENT: Final = {
    "ANTHROPIC_API_KEY": PLACEHOLDER,
    "IS_SANDBOX": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",  # ten by default, and it tries a 401 again, too
    "DISABLE_AUTOUPDATER": "1",
    "MCP_CONNECTION_NONBLOCKING": "0",  # else the first turn may come before the connectors
}


@cache
def _keeper() -> bytes:
    return resources.files("tickover.agents.inside").joinpath("result.py").read_bytes()


class Agent:
    """Runs the installed CLI."""

    name: ClassVar[str] = "claude-code"
    package: ClassVar[Package | None] = Package("@anthropic-ai/claude-code", "node_modules/.bin/claude")
    speaks: ClassVar[bool] = True
    build = "claude-code"

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        del model
        return model_reach(self.name, "anthropic", env.get("ANTHROPIC_BASE_URL", ""), _URL, _CALLS)

    def plan(self, task: AgentTask) -> AgentPlan:
        if not task.program:
            raise UsageError(
                "agent.not_installed",
                "no build of `claude-code` is installed",
                hint="tickover agent install claude-code@VERSION",
            )
        own = {"ANTHROPIC_BASE_URL": task.model_url} if task.model_url else {}
        if task.servers():
            own["ENABLE_TOOL_SEARCH"] = "false"  # else a server's tools may be left out of what the model is offered
        return AgentPlan(
            argv=("/bin/bash", _START, task.program, *_flags(task)),
            env={**environment(task), **_ENVIRONMENT, **own},
            files=_files(task),
            cwd=task.workspace,
        )

    def parser(self, task: AgentTask) -> Parser:
        return ClaudeParser(task.output_limit, schema=bool(task.schema), offers=task.offers)


def _flags(task: AgentTask) -> list[str]:
    flags = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
    flags += ["--dangerously-skip-permissions", "--setting-sources", "user", "--strict-mcp-config"]
    flags += ["--session-id", str(uuid.uuid5(uuid.NAMESPACE_OID, task.boundary))]
    flags += ["--system-prompt-file" if task.replace_system_prompt else "--append-system-prompt-file", _INSTRUCTIONS]
    if task.model:
        flags += ["--model", task.model]
    if task.servers():
        flags += ["--mcp-config", f"{OURS}/mcp.json"]
    if task.bell:
        flags += ["--settings", _SETTINGS]
    if task.schema:
        if len(task.schema) > _LONGEST_SCHEMA:
            text = f"the schema of the result has {len(task.schema)} characters, more than {_LONGEST_SCHEMA}"
            raise UsageError("agent.schema_too_long", text)
        flags += ["--json-schema", task.schema]
    return flags


def _files(task: AgentTask) -> dict[str, bytes]:
    files = {_START: _SCRIPT.encode(), _TURN: _turn(task), **input_files(task), **_trusted(task)}
    files[_INSTRUCTIONS] = operators_words(task).encode("utf-8", "replace")
    if task.schema:
        files[_KEEPER] = _keeper()
    if task.bell:
        files |= ringer(task)
        files[_SETTINGS] = _stop_hook(task)
    if told := task.servers():
        servers = {name: {"type": "http", "url": url} for name, url in told.items()}
        files[f"{OURS}/mcp.json"] = json.dumps({"mcpServers": servers}, indent=2).encode() + b"\n"
    return files


def _stop_hook(task: AgentTask) -> bytes:
    """Return settings whose hook rings: exit code 2 sends its stderr back to the model, which goes on."""
    hook = {"type": "command", "command": shlex.join(ring(task)), "timeout": int(PATIENCE)}
    return json.dumps({"hooks": {"Stop": [{"hooks": [hook]}]}}, indent=2).encode() + b"\n"


def _turn(task: AgentTask) -> bytes:
    """Return the first turn. The CLI reads a command only in the last part; what stands before it stays data."""
    block = input_block(task)
    work = f"/{task.skill.name}" if task.skill else task.task.strip()
    parts = [{"type": "text", "text": text} for text in (block, work) if text]
    return json.dumps({"type": "user", "message": {"role": "user", "content": parts}}).encode() + b"\n"


def _trusted(task: AgentTask) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for path, content in task.trusted.items():
        inner = path.removeprefix(".claude/")
        if path in {"CLAUDE.md", ".claude/CLAUDE.md"} or (inner != path and inner.startswith(_TRUSTED)):
            files[f"{_HOME}/{inner}"] = content
        elif path == ".claude/settings.json":
            files[f"{_HOME}/settings.json"] = _permissions(content)
    if task.skill is None:
        return files
    folder = f"skills/{task.skill.name}"
    files = {target: content for target, content in files.items() if not target.startswith(f"{_HOME}/{folder}/")}
    files |= {f"{_HOME}/{folder}/{path}": content for path, content in task.skill.files.items()}
    scripts = "".join(f"{folder}/{path}\n" for path in sorted(task.skill.executable) if "\n" not in path)
    return files | ({f"{OURS}/executable": scripts.encode("utf-8", "surrogateescape")} if scripts else {})


def _permissions(content: bytes) -> bytes:
    """Return of trusted settings what cannot start a program. Raises UsageError: a rule that is lost is no rule."""
    try:
        settings: Any = read_json(content)
    except DocumentError as error:
        raise UsageError("agent.settings", f"the trusted .claude/settings.json cannot be read: {error}") from None
    kept = {"permissions": settings["permissions"]} if isinstance(settings, dict) and "permissions" in settings else {}
    return json.dumps(kept, indent=2).encode() + b"\n"
