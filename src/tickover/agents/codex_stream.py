"""The stream of `codex exec --json` as facts. Pure. Shapes were recorded with 0.169.0 (tests/agents/data/codex).

It has completed when it exited with 0, its turn was completed, nothing was declined, and its last word is JSON where a
schema was wanted. Items that began and never ended are work that was cut off.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tickover.agents.base import AgentExit, AgentFact, Stream
from tickover.agents.ending import ended
from tickover.agents.lines import JsonLines, answered, called, count, maps, said, short
from tickover.agents.toolbook import ToolBook
from tickover.core.cause import CauseCode
from tickover.core.document import DocumentError, read_json
from tickover.core.event import AgentReady, AgentToolCall, AgentUsage, FindingReported
from tickover.core.finding import FindingCode, found

_OVERLOADED: Final = re.compile(r"status:? (?:429|500|502|503|504|529)\b|high demand|overloaded", re.IGNORECASE)
_MOST_OPEN: Final = 1000
_LONGEST_WORD: Final = 1 << 20


class CodexParser:
    """Reads one run of the CLI."""

    def __init__(self, output_limit: int, *, schema: bool = False) -> None:
        self._lines = JsonLines(b"{", self._take, output_limit)
        self._schema = schema
        self._tools = ToolBook()
        self._ready = False
        self._open: dict[str, str] = {}
        self._declined: list[tuple[str, str]] = []
        self._end = ""
        self._error = ""
        self._word = ""

    def feed(self, stream: Stream, data: bytes) -> list[AgentFact]:
        return self._lines.feed(stream, data)

    def flush(self) -> list[AgentFact]:
        return self._lines.log.flush()

    def finish(self, exit_: AgentExit) -> list[AgentFact]:
        facts = [*self._lines.finish(), *self._tools.findings(self._declined)]
        by_itself = exit_.reason in {"exited", "signalled"}
        if self._open and self._end:
            tasks = sorted(self._open.values())[:20]
            finding = found(FindingCode.BACKGROUND_WORK_CUT_OFF, detail={"tasks": [*tasks]})
            facts.append(FindingReported.of(finding))
        if not self._end and by_itself:
            facts.append(FindingReported.of(found(FindingCode.NO_RESULT_EVENT)))
        failure, cause = self._failure()
        finished = ended(exit_, failure=failure, cause=cause)
        return [*facts, finished.model_copy(update={"said": self._end})]

    def _failure(self) -> tuple[str, CauseCode | None]:
        if not self._end:
            if not self._ready:
                return "it ended before it was ready", None
            return "it ended without a result event", CauseCode.LOST
        if self._end != "turn.completed":
            overloaded = _OVERLOADED.search(self._error)
            return self._error or self._end, CauseCode.MODEL_OVERLOADED if overloaded else None
        if self._declined:
            return f"it was denied {', '.join(sorted({tool for _, tool in self._declined})[:5])}", None
        if self._schema and not _is_json(self._word):
            return "it gave no result of the wanted schema", None
        return "", None

    # -- lines -------------------------------------------------------------------------------------------------------

    def _take(self, message: dict[str, Any]) -> list[AgentFact] | None:
        match message:
            case {"type": "thread.started"}:
                first, self._ready = not self._ready, True
                return [AgentReady(session=short(message.get("thread_id"), 64))] if first else []
            case {"type": "turn.started"}:
                self._end = self._error = ""
                return []
            case {"type": "turn.completed", "usage": dict() as usage}:
                self._end = "turn.completed"
                return [_usage(usage)]
            case {"type": "turn.failed"}:
                self._end = "turn.failed"
                error = message.get("error")
                self._error = short(error.get("message")) if isinstance(error, dict) else ""
                return []
            case {"type": "error"}:
                self._error = short(message.get("message"))
                return []
            case {"type": "item.started", "item": dict() as item}:
                return self._began(item)
            case {"type": "item.updated"}:
                return []
            case {"type": "item.completed", "item": dict() as item}:
                return self._ended(item)
        return None

    def _began(self, item: dict[str, Any]) -> list[AgentFact]:
        call = _call(item)
        if call is None:
            return []
        if len(self._open) < _MOST_OPEN:
            self._open[call.id] = short(item.get("command")) or call.tool
        return [self._tools.call(call)]

    def _ended(self, item: dict[str, Any]) -> list[AgentFact]:
        if item.get("type") == "agent_message":
            text = item.get("text")
            self._word = text if isinstance(text, str) and len(text) < _LONGEST_WORD else ""
            return said(text)
        call = _call(item)
        if call is None:
            return []
        facts: list[AgentFact] = [] if self._open.pop(call.id, None) is not None else [self._tools.call(call)]
        if item.get("status") == "declined":
            self._declined = [*self._declined[:999], (call.id, call.tool)]
        return [*facts, self._tools.result(answered(call.id, _text(item), ok=item.get("status") == "completed"))]


def _call(item: dict[str, Any]) -> AgentToolCall | None:
    name = item.get("id")
    match item:
        case {"type": "command_execution"}:
            return called(name, "shell", {"command": item.get("command")})
        case {"type": "mcp_tool_call", "server": str(server), "tool": str(tool)}:
            return called(name, f"mcp__{server}__{tool}", item.get("arguments"))
        case {"type": "file_change"}:
            return called(name, "file_change", item.get("changes"))
        case {"type": "web_search"}:
            return called(name, "web_search", item.get("query"))
    return None


def _text(item: dict[str, Any]) -> str:
    match item:
        case {"aggregated_output": str(text)}:
            code = item.get("exit_code")
            return text if not code else f"exit code {code}\n{text}"
        case {"error": {"message": str(text)}}:
            return text
        case {"result": {"content": list() as parts}}:
            return "\n".join(part["text"] for part in maps(parts) if isinstance(part.get("text"), str))
    return ""


def _usage(usage: dict[str, Any]) -> AgentUsage:
    return AgentUsage(input_tokens=count(usage.get("input_tokens")), output_tokens=count(usage.get("output_tokens")))


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except DocumentError:
        return False
    return True
