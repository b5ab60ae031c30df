"""Tools of the connectors `slack` and `github` that a routine requires: missing if the agent was refused every call.

An MCP server lists its tools, and its agent is asked what it found; here a tool is a request, and the gateway saw it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tickover.core.connector import KINDS, ConnectorSettings, Tool, connected
from tickover.core.definition import Routine
from tickover.core.finding import Finding, FindingCode, found
from tickover.core.permission import ConnectorPermission
from tickover.core.receipt import Identity
from tickover.core.row import DenialRow, RunRow
from tickover.core.target import read_origin

_REPLAY: Final = "replay_"
"""How the codes begin with which a replay refuses (gateway/playing.py)."""


def required_missing(row: RunRow, routine: Routine, connectors: Mapping[str, ConnectorSettings]) -> Iterator[Finding]:
    """Yield a finding for each required tool that was denied in the last attempt and let through in none."""
    for name, offered in routine.connectors.items():
        if name not in KINDS or name not in connectors:
            continue
        address = connected(name, connectors, name).url
        for wanted in offered.required:
            tool = KINDS[name].tools.get(wanted)
            if tool is None or _let_through(row, routine, name, wanted):
                continue
            denied = next((each for each in _denied(row) if _is(each, tool, address)), None)
            if denied is not None:
                text = f"the required tool `{wanted}` of {name} was denied: {denied.says or denied.code}"
                yield found(FindingCode.REQUIRED_MISSING, text, detail={"connector": name, "tool": wanted})


def _let_through(row: RunRow, routine: Routine, name: str, tool: str) -> bool:
    entries = (
        f"may[{index}]" for index, each in enumerate(routine.may)
        if isinstance(each, ConnectorPermission) and (each.kind, each.tool) == (name, tool)
    )  # fmt: skip
    return any(row.network.rules.get(entry, 0) > 0 for entry in entries)


def _denied(row: RunRow) -> Iterator[DenialRow]:
    """Yield what the agent was denied. What a recording has no answer to was denied by nobody: that is drift."""
    for each in row.network.denials:
        if each.attempt == row.attempt and each.identity is Identity.AGENT and not each.code.startswith(_REPLAY):
            yield each


def _is(denied: DenialRow, tool: Tool, address: str) -> bool:
    """Say whether a denial is of this tool, or of its whole host."""
    _, host, port = read_origin(address)
    if (denied.host, denied.port) != (host, port):
        return False
    if not denied.method:
        return True
    below = "/" + address.partition("://")[2].partition("/")[2] if address.count("/") > 2 else ""
    path = re.escape(below + tool.path).replace(re.escape("{repo}"), "[^/]+/[^/]+").replace(re.escape("*"), "[^/]+")
    return denied.method == tool.method and re.fullmatch(path, denied.path) is not None
