"""The lines of our own runners (`inside/loop.py`, `inside/acp.py`) as facts. Pure.

An agent can write to that stream itself: all is a claim.
It has completed when it exited with 0 and its last word is that the model called no further tool.
"""

from __future__ import annotations

from typing import Any

from tickover.agents.base import AgentExit, AgentFact, Offer, Stream
from tickover.agents.connectors import connection_findings, connector_findings
from tickover.agents.ending import ended
from tickover.agents.lines import JsonLines, answered, called, count, names, said, short
from tickover.agents.toolbook import ToolBook
from tickover.core.cause import CauseCode
from tickover.core.event import AgentReady, AgentUsage, FindingReported
from tickover.core.finding import FindingCode, found

_OVERLOADED = {429, 500, 502, 503, 504, 529}


class LoopParser:
    """Reads one run of the loop, or with `acp` of one that never says which tools its servers have."""

    def __init__(self, output_limit: int, model: str, offers: tuple[Offer, ...] = (), *, acp: bool = False) -> None:
        self._lines = JsonLines(b'{"tickover"', self._take, output_limit)
        self._model = model
        self._tools = ToolBook()
        self._offers = offers
        self._acp = acp
        self._states: dict[str, str] = {}
        self._offered: tuple[str, ...] = ()
        self._ready = False
        self._end: dict[str, Any] | None = None

    def feed(self, stream: Stream, data: bytes) -> list[AgentFact]:
        return self._lines.feed(stream, data)

    def flush(self) -> list[AgentFact]:
        return self._lines.log.flush()

    def finish(self, exit_: AgentExit) -> list[AgentFact]:
        facts = [*self._lines.finish(), *self._connectors(), *self._tools.findings()]
        if self._end is None and exit_.reason in {"exited", "signalled"}:
            facts.append(FindingReported.of(found(FindingCode.NO_RESULT_EVENT)))
        failure, cause = self._failure()
        finished = ended(exit_, failure=failure, cause=cause)
        return [*facts, finished.model_copy(update={"said": short((self._end or {}).get("why"), 64)})]

    def _connectors(self) -> list[FindingReported]:
        if not self._offers or not self._ready:
            return []
        if self._acp:
            return connection_findings(self._offers, self._states)
        return connector_findings(self._offers, self._states, self._offered)

    def _failure(self) -> tuple[str, CauseCode | None]:
        if self._end is None:
            if not self._ready:
                return "it ended before it was ready", None
            return "it ended without its last word", CauseCode.LOST
        if self._end.get("why") == "done":
            return "", None
        overloaded = count(self._end.get("status")) in _OVERLOADED
        why = short(self._end.get("message")) or short(self._end.get("why"), 64)
        return why, CauseCode.MODEL_OVERLOADED if overloaded else None

    def _take(self, message: dict[str, Any]) -> list[AgentFact] | None:
        match message:
            case {"tickover": "ready", "model": str(model)}:
                first, self._ready = not self._ready, True
                version, session = short(message.get("version"), 64), short(message.get("session"), 64)
                tools = names(message.get("tools"))
                self._offered = self._offered or tools
                ready = AgentReady(version_said=version, model=short(model, 128), session=session, tools=tools)
                return [ready] if first else []
            case {"tickover": "text", "text": str(text)}:
                return said(text)
            case {"tickover": "servers", "states": dict(states)}:
                self._states = self._states or {str(name): short(state) for name, state in states.items()}
                return []
            case {"tickover": "call", "id": str(name), "tool": str(tool)}:
                return [self._tools.call(called(name, tool, message.get("arguments")))]
            case {"tickover": "result", "id": str(name), "ok": bool(ok), "text": str(text)}:
                return [self._tools.result(answered(name, text, ok=ok))]
            case {"tickover": "usage"}:
                read, wrote = count(message.get("input")), count(message.get("output"))
                return [AgentUsage(model=short(self._model, 128), input_tokens=read, output_tokens=wrote)]
            case {"tickover": "retry", "status": int()} | {"tickover": "returned"}:
                return []
            case {"tickover": "end", "why": str()}:
                self._end = message
                return []
        return None
