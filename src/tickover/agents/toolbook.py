"""What became of an agent's tool calls: counted as they come, told as findings at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import JsonValue

from tickover.agents.base import Offer
from tickover.agents.connectors import plain
from tickover.core.event import AgentToolCall, AgentToolResult, FindingReported
from tickover.core.finding import FindingCode, found
from tickover.core.text import one_line

_MOST = 10_000  # open calls that are remembered by name


class ToolBook:
    """The calls of one attempt. Bounded: an agent may call without end."""

    def __init__(self, offers: Iterable[Offer] = (), form: str = "mcp__{connector}__{tool}") -> None:
        self._required = {plain(form.format(connector=o.name, tool=tool)) for o in offers for tool in o.required}
        self._open: dict[str, str] = {}
        self._failed: dict[str, tuple[str, str]] = {}
        self._failures: Counter[str] = Counter()
        self.calls = 0

    def call(self, fact: AgentToolCall) -> AgentToolCall:
        self.calls += 1
        if len(self._open) < _MOST:
            self._open[fact.id] = fact.tool
        return fact

    def result(self, fact: AgentToolResult) -> AgentToolResult:
        tool = self._open.pop(fact.id, "")
        if not fact.ok:
            self._failures[tool if len(self._failures) < _MOST else ""] += 1
            if len(self._failed) < _MOST:
                self._failed[fact.id] = (tool, one_line(fact.text, 200))
        return fact

    def findings(self, denied: Iterable[tuple[str, str]] = ()) -> list[FindingReported]:
        """Say which calls failed, and which were denied: (id, tool) of each. A required one fails the run."""
        refused: Counter[str] = Counter()
        for id_, tool in denied:
            refused[tool] += 1
            if id_ in self._failed:
                was, _ = self._failed.pop(id_)
                self._failures[was] -= 1
        facts = [_finding(FindingCode.DENIED_TOOL, f"denied: {_listed(refused)}", refused)] if refused else []
        facts += [
            FindingReported.of(
                found(FindingCode.REQUIRED_MISSING, f"the required tool `{tool}` was denied", detail={"tool": tool})
            )
            for tool in sorted(self._required & set(refused))
        ]
        failures = +self._failures
        if failures:
            first = next((text for tool, text in self._failed.values() if tool in failures), "")
            message = f"{failures.total()} of {self.calls} tool calls failed: {_listed(failures)}"
            facts.append(_finding(FindingCode.TOOL_FAILED, message, failures, first=first))
        return facts


def _finding(code: FindingCode, message: str, tools: Counter[str], first: str = "") -> FindingReported:
    detail: dict[str, JsonValue] = {"tools": dict(tools.most_common(20))}
    if first:
        detail["first"] = first
    return FindingReported.of(found(code, message, detail=detail))


def _listed(tools: Counter[str]) -> str:
    shown = [f"{tool or 'unknown'} ({number})" if number > 1 else tool or "unknown" for tool, number in tools.items()]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
