"""The scenarios of @modelcontextprotocol/conformance against MCP servers, asked directly and through the gateway.

    .venv/bin/python bench/mcp_conformance.py [--json FILE]

Directly: the server listens on the loopback interface of a sandbox, and the scenarios run beside it. Through the
gateway: the server is a program in its own sandbox (stdio), and the scenarios run in the agent's, against
http://tickover.internal/mcp/NAME. Everything is installed by npm, in sandboxes. Two servers: `fixtures`, which has what
the scenarios ask for, and @modelcontextprotocol/server-everything, which lacks most of it. Ends with 1 where a scenario
passes in one column only.

What needs the server to ask its client for something (sampling, elicitation) fails in both: no server here has those
tools, and the gateway would refuse what they ask.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tickover.app import RunRequest, Tickover
from tickover.core.event import JournalEvent

CONFORMANCE: Final = "@modelcontextprotocol/conformance@0.1.13"
EVERYTHING: Final = "@modelcontextprotocol/server-everything@2026.1.26"
KIT: Final = "/home/agent/kit"
_LINE: Final = re.compile(r"^[✓✗] ([a-z0-9-]+): (\d+) passed, (\d+) failed", re.MULTILINE)
_FIXTURES: Final = Path(__file__).with_name("mcp_fixtures.mjs")
ALLOW: Final = ["resources", "prompts", "completions", "logging"]
TOOLS: Final = (
    "test_simple_text", "test_image_content", "test_audio_content", "test_embedded_resource",
    "test_multiple_content_types", "test_tool_with_logging", "test_tool_with_progress", "test_error_handling",
    "test_sampling", "test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums",
    "test_reconnection", "json_schema_2020_12_tool", "echo", "get-sum",
)  # fmt: skip
"""What the scenarios call: granted by name, whether the server has it or not."""


@dataclass(frozen=True)
class Server:
    """A server in both forms: `http` listens on port 3001 of its loopback interface."""

    stdio: tuple[str, ...]
    http: str


SERVERS: Final[Mapping[str, Server]] = {
    "fixtures": Server(
        ("/usr/bin/node", f"{KIT}/mcp_fixtures.mjs", "stdio"),
        f"node {KIT}/mcp_fixtures.mjs http 3001",
    ),
    "everything": Server(
        ("/usr/bin/node", f"{KIT}/node_modules/@modelcontextprotocol/server-everything/dist/index.js", "stdio"),
        f"PORT=3001 node {KIT}/node_modules/@modelcontextprotocol/server-everything/dist/index.js streamableHttp",
    ),
}  # fmt: skip


def differences(columns: Mapping[str, Mapping[str, bool]]) -> list[str]:
    """Name the scenarios that pass in one column only."""
    direct, gateway = columns["direct"], columns["gateway"]
    return [name for name in direct.keys() | gateway.keys() if direct.get(name) is not gateway.get(name)]


def setup(*packages: str) -> str:
    """Return the script that installs packages and the fixtures below KIT."""
    words = shlex.join(packages)
    return (
        "export npm_config_cache=/workspace/.npm npm_config_audit=false npm_config_fund=false\n"
        f"mkdir -p {KIT}\nnpm install --prefix {KIT} {words}\n"
        f"cat > {KIT}/mcp_fixtures.mjs <<'FIXTURES'\n{_FIXTURES.read_text()}FIXTURES\n"
    )


def scenarios(url: str) -> str:
    return f"node {KIT}/node_modules/.bin/conformance server --url {url} || true"


def routine(folder: Path, body: str, **front: Any) -> Path:
    """Write a routine."""
    folder.mkdir(parents=True)
    environment = {"setup": {"run": setup(CONFORMANCE, EVERYTHING)}, "network": ["packages"]}
    keys = {"name": folder.name, "agent": "steps", "environment": environment, **front}
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())
    (folder / "ROUTINE.md").write_text(f"---\n{lines}---\n```bash id=work timeout=15m\n{body}\n```\n")
    return folder


async def ran(tickover: Tickover, folder: Path) -> tuple[dict[str, bool], str]:
    """Run a routine; return what passed, and all that was said."""
    said: list[str] = []

    def hear(event: JournalEvent) -> None:
        if event.type == "agent_output":
            said.append(event.data["text"] or "")

    tickover.grant(folder, by="bench")
    row = await tickover.run(RunRequest(folder=str(folder)), hear)
    text = "".join(said)
    found = {name: failed == "0" for name, _, failed in _LINE.findall(text)}
    return found, text if found else f"{row.reason}\n{text}"


async def compare(home: Path, name: str) -> dict[str, dict[str, bool]]:
    """Return the columns of one server. Raises RuntimeError where no scenario ran."""
    server = SERVERS[name]
    program = {"command": list(server.stdio), "setup": setup(EVERYTHING), "env": {"HOME": "/home/agent"}}
    known = {"connectors": {name: {"mcp": {"program": program, "allow": ALLOW}}}}
    (home / "tickover.yaml").write_text(json.dumps(known))
    there, inside = "http://localhost:3001/mcp", f"http://tickover.internal/mcp/{name}"
    wait = f"for _ in $(seq 150); do curl -s -o /dev/null {there} && break; read -rt 0.2 <> <(:) || :; done"
    beside = f"{server.http} >/dev/null 2>&1 &\n{wait}\n{scenarios(there)}\nkill %1"
    offered = {
        "connectors": {name: {"tools": list(TOOLS)}},
        "may": [{name: {"tool": tool}} for tool in TOOLS],
    }
    columns = {}
    async with await Tickover.open(home) as tickover:
        for column, folder in (
            ("direct", routine(home / "routines" / f"{name}-direct", beside)),
            ("gateway", routine(home / "routines" / f"{name}-gateway", scenarios(inside), **offered)),
        ):
            columns[column], text = await ran(tickover, folder)
            if not columns[column]:
                raise RuntimeError(f"{name}, {column}: no scenario ran\n{text[-4000:]}")
    return columns


def table(name: str, columns: Mapping[str, Mapping[str, bool]]) -> str:
    """Write the columns beside one another."""
    lines = [f"{name:32}  direct  gateway"]
    for scenario, direct in columns["direct"].items():
        through = columns["gateway"].get(scenario)
        marks = ["pass" if each else "not run" if each is None else "fail" for each in (direct, through)]
        why = "" if direct is through else "  <-- differs"
        lines.append(f"{scenario:32}  {marks[0]:6}  {marks[1]:7}{why}".rstrip())
    return "\n".join(lines)


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the columns there")
    parser.add_argument("--server", choices=SERVERS, action="append", help="only this one")
    chosen = parser.parse_args(arguments)
    found = {}
    with tempfile.TemporaryDirectory(prefix="tickover-mcp-") as folder:
        for name in chosen.server or SERVERS:
            found[name] = await compare(Path(folder), name)
            sys.stdout.write(table(name, found[name]) + "\n\n")
            sys.stdout.flush()
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if any(map(differences, found.values())) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
