"""Tools of the connectors `slack` and `github` that a routine requires: missing if the agent was refused every call.

An MCP server lists its tools, and its agent is asked what it found; here a tool is a request, and the gateway saw it.
What is required stands in the journal when the agent starts, so whoever ends the run finds the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import JsonValue

from tickover.core.connector import KINDS, ConnectorSettings, Tool, connected
from tickover.core.definition import Routine
from tickover.core.finding import Finding, FindingCode, found
from tickover.core.mcp import McpServer
from tickover.core.permission import ConnectorPermission
from tickover.core.receipt import Identity
from tickover.core.row import DenialRow, RunRow
from tickover.core.target import read_origin
from tickover.core.wanted import RequiredTool

_REPLAY: Final = "replay_"
"""How the codes begin with which a replay refuses (gateway/playing.py)."""


def required_of(
    routine: Routine, connectors: Mapping[str, ConnectorSettings], servers: Iterable[McpServer]
) -> tuple[RequiredTool, ...]:
    """Return the tools that a routine requires: of the services that it names, and of its agent's MCP servers."""
    wanted = [RequiredTool(connector=each.name, tool=tool) for each in servers for tool in each.required]
    for name, offered in routine.connectors.items():
        if name in KINDS and name in connectors:
            address = connected(name, connectors, name).url
            tools = KINDS[name].tools
            wanted += [
                _of_service(routine, name, tool, tools[tool], address) for tool in offered.required if tool in tools
            ]
    return tuple(wanted)


def required_missing(row: RunRow) -> Iterator[Finding]:
    """Yield a finding for each required tool of a service that the last attempt was denied, and none let through."""
    for wanted in row.required:
        if wanted.of_server or any(row.network.rules.get(rule, 0) > 0 for rule in wanted.rules):
            continue
        denied = next((each for each in _denied(row) if _is(each, wanted)), None)
        if denied is not None:
            text = f"the required tool `{wanted.tool}` of {wanted.connector} was denied: {denied.says or denied.code}"
            detail: dict[str, JsonValue] = {"connector": wanted.connector, "tool": wanted.tool}
            yield found(FindingCode.REQUIRED_MISSING, text, detail=detail)


def _of_service(routine: Routine, name: str, tool: str, known: Tool, address: str) -> RequiredTool:
    _, host, port = read_origin(address)
    below = "/" + address.partition("://")[2].partition("/")[2] if address.count("/") > 2 else ""
    path = re.escape(below + known.path).replace(re.escape("{repo}"), "[^/]+/[^/]+").replace(re.escape("*"), "[^/]+")
    rules = tuple(
        f"may[{index}]" for index, each in enumerate(routine.may)
        if isinstance(each, ConnectorPermission) and (each.kind, each.tool) == (name, tool)
    )  # fmt: skip
    return RequiredTool(connector=name, tool=tool, method=known.method, host=host, port=port, path=path, rules=rules)


def _denied(row: RunRow) -> Iterator[DenialRow]:
    """Yield what the agent was denied. What a recording has no answer to was denied by nobody: that is drift."""
    for each in row.network.denials:
        if each.attempt == row.attempt and each.identity is Identity.AGENT and not each.code.startswith(_REPLAY):
            yield each


def _is(denied: DenialRow, wanted: RequiredTool) -> bool:
    """Say whether a denial is of this tool, or of its whole host."""
    if (denied.host, denied.port) != (wanted.host, wanted.port):
        return False
    return not denied.method or (denied.method == wanted.method and re.fullmatch(wanted.path, denied.path) is not None)
