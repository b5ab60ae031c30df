"""The tools that a routine requires of its MCP servers: whether the model was offered them, and whether they passed.

Both are what the gateway saw, whatever the agent says of it: the tools stand in each request to the model, and a call
of one that is refused is a denial. A tool that is called once and then over its `max` was there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from tickover.core.event import AttemptStarted, ConnectionDenied, Fact, ModelCalled, ReceiptBegun, ReceiptEnded, decode
from tickover.core.finding import Finding, FindingCode, found
from tickover.core.mcp import LIST, PATH, SCHEME
from tickover.core.own_tools import SERVER
from tickover.core.receipt import Identity
from tickover.core.required import required_missing
from tickover.core.row import RunRow
from tickover.store.base import Journal

_DEFERRING: Final = frozenset({"exec", "tool_search", "ToolSearch"})
"""Tools by which a model looks for others that its request does not name (Codex 0.169, Claude Code 2.1)."""
_OURS: Final = re.compile(rf"(?:^|[^A-Za-z0-9]){SERVER}[^A-Za-z0-9]")
"""In the name of a tool of the run's own, as a model is told it."""


def missing(journal: Journal, row: RunRow) -> list[Finding]:
    """Find the tools that the routine requires and the last attempt's agent did not have, save what was found already.

    Of an MCP server's tools the agent's own adapter may have found it before; then nothing is found twice.
    """
    there = {each.message for each in row.findings_of_attempt() if each.code is FindingCode.REQUIRED_MISSING}
    services = [each for each in required_missing(row) if each.message not in there]
    wanted = [(each.connector, each.tool) for each in row.required if each.of_server]
    return services if there else [*services, *tools_missing(journal, row.id, row.attempt, wanted)]


def tools_missing(journal: Journal, run: str, attempt: int, wanted: Sequence[tuple[str, str]]) -> list[Finding]:
    """Find the tools (server, tool) that were not offered to the model, or only ever refused, in an attempt."""
    if not wanted:
        return []
    offered: set[str] | None = None
    told: set[tuple[str, str]] = set()
    lists: dict[int, str] = {}
    called: set[tuple[str, str]] = set()
    denied: set[str] = set()
    for fact in _of_attempt(journal, run, attempt):
        if isinstance(fact, ModelCalled) and fact.identity is Identity.AGENT:
            offered = (offered or set()) | set(fact.tools or ())
        elif isinstance(fact, ReceiptBegun) and fact.record.scheme == SCHEME:
            if fact.record.method == LIST:
                lists[fact.record.call] = fact.record.host
            else:
                called.add((fact.record.host, fact.record.path[1:]))
        elif isinstance(fact, ReceiptEnded) and fact.record.call in lists:
            told |= {(lists[fact.record.call], tool) for tool in _tools(fact)}
        elif isinstance(fact, ConnectionDenied) and fact.path.startswith(PATH):
            denied.add(fact.path.removeprefix(PATH))
    findings = []
    for name, tool in wanted:
        detail = {"connector": name, "tool": tool}
        if offered is not None and not _offered(offered, tool, told=(name, tool) in told):
            text = f"the model was never offered the required tool `{tool}` of `{name}`"
            findings.append(found(FindingCode.REQUIRED_MISSING, text, detail={**detail}))
        elif f"{name}/{tool}" in denied and (name, tool) not in called:
            text = f"the required tool `{tool}` of `{name}` was denied"
            findings.append(found(FindingCode.REQUIRED_MISSING, text, detail={**detail}))
    return findings


def _offered(offered: Collection[str], tool: str, *, told: bool) -> bool:
    """Say whether a model could have called a tool. Where it has to look for some, what the agent was told counts."""
    return any(_is(each, tool) and not _OURS.search(each) for each in offered) or (
        told and not _DEFERRING.isdisjoint(offered)
    )


def _tools(fact: ReceiptEnded) -> list[str]:
    value = fact.record.response_json.value if fact.record.response_json else None
    tools = value.get("tools") if isinstance(value, dict) else None
    return [each for each in tools if isinstance(each, str)] if isinstance(tools, list) else []


def _is(offered: str, tool: str) -> bool:
    """Say whether a name that a model was told is a tool's: agents put the server's before it, each in its own way."""
    plain = re.sub("[^A-Za-z0-9_-]", "_", tool)
    return offered in {tool, plain} or re.search(rf"[^A-Za-z0-9]{re.escape(plain)}$", offered) is not None


def _of_attempt(journal: Journal, run: str, attempt: int) -> Iterator[Fact]:
    after, inside = 0, False
    while page := journal.read(run, after):
        after = page[-1].seq
        for event in page:
            if event.type in {"attempt_started", "model_called", "receipt_begun", "receipt_ended", "connection_denied"}:
                fact = decode(event)
                if isinstance(fact, AttemptStarted):
                    inside = fact.attempt == attempt
                elif inside:
                    yield fact
