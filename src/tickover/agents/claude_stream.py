"""The stream of Claude Code (`--output-format stream-json --verbose`) as facts. Pure.

Shapes were recorded with 2.1.197 (tests/agents/data/claude_code) and are typed in the Agent SDK's documentation.
Its own word for success is not believed: `subtype` says `success` for a refused key and an overloaded model, and the
exit code is 0 after denied tools, dead connectors, an unknown skill. It has completed when it exited with 0, wrote a
result, the result is no error and was asked of a model, nothing was denied, every connector answered, and a result of
the wanted schema is there.
"""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from tickover.agents.base import AgentExit, AgentFact, Offer, Stream
from tickover.agents.connectors import connector_findings
from tickover.agents.ending import ended
from tickover.agents.lines import JsonLines, answered, called, count, maps, names, said, short
from tickover.agents.toolbook import ToolBook
from tickover.core.cause import CauseCode
from tickover.core.event import AgentReady, AgentUsage, FindingReported
from tickover.core.finding import FindingCode, found

_OVERLOADED = {429, 500, 502, 503, 504, 529}
"""Answers of a provider that another attempt may not meet again."""
_MOST_TASKS = 1000


class ClaudeParser:
    """Reads one run of the CLI."""

    def __init__(self, output_limit: int, *, schema: bool = False, offers: tuple[Offer, ...] = ()) -> None:
        self._lines = JsonLines(b"{", self._take, output_limit)
        self._schema = schema
        self._offers = offers
        self._tools = ToolBook(offers)
        self._ready = False
        self._result: dict[str, Any] | None = None
        self._turns = 0
        self._background: dict[str, str] = {}
        self._troubled: list[str] = []
        self._last_retry = ""

    def feed(self, stream: Stream, data: bytes) -> list[AgentFact]:
        return self._lines.feed(stream, data)

    def flush(self) -> list[AgentFact]:
        return self._lines.log.flush()

    def finish(self, exit_: AgentExit) -> list[AgentFact]:
        facts = self._lines.finish()
        result = self._result or {}
        denied = [(short(each.get("tool_use_id"), 128), short(each.get("tool_name"), 128)) for each in _denials(result)]
        facts += _usage(result)
        facts += self._tools.findings(denied)
        if self._background:
            names_ = sorted(self._background.values())
            facts.append(_finding(FindingCode.BACKGROUND_WORK_CUT_OFF, tasks=[*names_[:20]]))
        silent = self._result is None and exit_.reason in {"exited", "signalled"}
        if silent:
            facts.append(_finding(FindingCode.NO_RESULT_EVENT))
        failure, cause = self._failure(result, [tool for _, tool in denied])
        if cause is CauseCode.BUDGET:
            facts.append(_finding(FindingCode.BUDGET_STOP))
        if not self._ready and self._offers and self._result is not None:
            facts += connector_findings(self._offers, {}, ())
        finished = ended(exit_, failure=failure, cause=cause)
        return [*facts, finished.model_copy(update={"said": _word(self._result)})]

    # -- lines -------------------------------------------------------------------------------------------------------

    def _take(self, message: dict[str, Any]) -> list[AgentFact] | None:
        match message:
            case {"type": "system", "subtype": "init"}:
                return self._init(message)
            case {"type": "system", "subtype": str(subtype)}:
                return self._system(subtype, message)
            case {"type": "assistant", "message": {"content": list() as blocks}}:
                return [fact for block in maps(blocks) for fact in self._spoke(block)]
            case {"type": "user", "message": {"content": list() as blocks}}:
                return [fact for block in maps(blocks) for fact in self._heard(block)]
            case {"type": "user", "message": {"content": str()}} | {"type": "rate_limit_event"}:
                return []
            case {"type": "result"}:
                self._result = message
                self._turns += count(message.get("num_turns"))
                return []
        return None

    def _init(self, message: dict[str, Any]) -> list[AgentFact]:
        if self._ready:
            return []
        self._ready = True
        tools = names(message.get("tools"))
        states = {short(each.get("name")): short(each.get("status")) for each in maps(message.get("mcp_servers"))[:100]}
        ready = AgentReady(
            version_said=short(message.get("claude_code_version"), 64),
            model=short(message.get("model"), 128),
            session=short(message.get("session_id"), 64),
            tools=tools,
            connectors=states,
        )
        findings = connector_findings(self._offers, states, tools)
        self._troubled = list(dict.fromkeys(str(each.detail.get("connector")) for each in findings))
        return [ready, *findings]

    def _system(self, subtype: str, message: dict[str, Any]) -> list[AgentFact]:
        task = short(message.get("task_id"), 64)
        if subtype == "task_started" and len(self._background) < _MOST_TASKS:
            self._background[task] = short(message.get("description"))
        elif subtype == "task_notification":
            stopped_late = self._result is not None and message.get("status") != "completed"
            if not stopped_late:  # it ended by itself, or the agent stopped it
                self._background.pop(task, None)
        elif subtype == "api_retry":
            self._last_retry = f"{short(message.get('error'), 64)} ({count(message.get('error_status'))})"
        return []

    def _spoke(self, block: dict[str, Any]) -> list[AgentFact]:
        match block:
            case {"type": "text", "text": str(text)}:
                return said(text)
            case {"type": "tool_use", "name": str(tool)}:
                return [self._tools.call(called(block.get("id"), tool, block.get("input")))]
        return []

    def _heard(self, block: dict[str, Any]) -> list[AgentFact]:
        if block.get("type") != "tool_result":
            return []
        text = _text(block.get("content"))
        return [self._tools.result(answered(block.get("tool_use_id"), text, ok=block.get("is_error") is not True))]

    # -- the end -----------------------------------------------------------------------------------------------------

    def _failure(self, result: dict[str, Any], denied: list[str]) -> tuple[str, CauseCode | None]:
        """Say why it has not completed, "" if it has as far as it can be known."""
        if self._result is None:
            if not self._ready:
                return "it ended before it was ready", None
            retried = f"; the model last answered {self._last_retry}" if self._last_retry else ""
            return f"it ended without a result event{retried}", CauseCode.LOST
        if result.get("is_error") is not False:
            return _error(result)
        if not self._turns:
            return f"no model was asked: {short(result.get('result'))}", None
        if denied:
            return f"it was denied {', '.join(sorted(set(denied))[:5])}", None
        if self._troubled:
            return f"not connected: {', '.join(self._troubled[:5])}", None
        if self._schema and result.get("structured_output") is None:
            return "it gave no result of the wanted schema", None
        return "", None


def _word(result: dict[str, Any] | None) -> str:
    """Return the CLI's own word for its end, as it would stand in a script that reads its JSON."""
    if result is None:
        return ""
    return short(result.get("subtype"), 64) + ("" if result.get("is_error") is False else ", is_error")


def _error(result: dict[str, Any]) -> tuple[str, CauseCode | None]:
    status = count(result.get("api_error_status"))
    errors = names(result.get("errors"), 3)
    why = "; ".join(errors) or short(result.get("result")) or short(result.get("subtype")) or "it says so itself"
    if result.get("subtype") == "error_max_budget_usd":
        return why, CauseCode.BUDGET
    return why, CauseCode.MODEL_OVERLOADED if status in _OVERLOADED else None


def _denials(result: dict[str, Any]) -> list[dict[str, Any]]:
    return maps(result.get("permission_denials"))[:1000]


def _usage(result: dict[str, Any]) -> list[AgentFact]:
    used = result.get("modelUsage")
    facts: list[AgentFact] = []
    for model, spent in list(used.items())[:20] if isinstance(used, dict) else ():
        if not isinstance(spent, dict):
            continue
        cost = spent.get("costUSD")
        cached = count(spent.get("cacheReadInputTokens")) + count(spent.get("cacheCreationInputTokens"))
        facts.append(
            AgentUsage(
                model=short(model, 128),
                input_tokens=count(spent.get("inputTokens")) + cached,
                output_tokens=count(spent.get("outputTokens")),
                cost_usd=cost if isinstance(cost, float | int) and 0 <= cost < 1e9 else None,
            )
        )
    return facts


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in maps(content) if isinstance(part.get("text"), str))


def _finding(code: FindingCode, **detail: JsonValue) -> FindingReported:
    return FindingReported.of(found(code, detail=detail))
