"""A run's journal as a trace: pure. Its root is the run; below are attempts, phases, agent, tools, requests, checks.

Names and attributes of model calls, agents and tools are those of OpenTelemetry's semantic conventions for generative
AI (opentelemetry.io/docs/specs/semconv/gen-ai), of requests those for HTTP. There is no content in a span: no prompt,
no argument, no output, no path, no query, no summary. Ids come of the run and the journal's numbers, so the same
journal always gives the same trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tickover.core.event import (
    AgentFinished,
    AgentStarted,
    AgentStep,
    AgentToolCall,
    AgentToolResult,
    AttemptFinished,
    AttemptStarted,
    CheckEvaluated,
    JournalEvent,
    ModelCalled,
    PhaseFinished,
    PhaseStarted,
    ReceiptBegun,
    ReceiptEnded,
    RunCreated,
    RunFinished,
    VersionResolved,
    decode,
)
from tickover.core.evidence import CheckResult
from tickover.core.status import AgentStatus, Execution, Outcome
from tickover.core.text import one_line

Value = str | bool | int | float
Kind = Literal["internal", "client"]

_PROVIDERS: Final = {"anthropic": "anthropic", "gemini": "gcp.gemini"}
"""Dialects of the gateway -> `gen_ai.provider.name`; all others speak OpenAI's."""
_RED: Final = frozenset({Outcome.FAILED})


@dataclass(slots=True)
class Span:
    """A stretch of a run. Times are UTC epoch seconds; `ok` None: nothing is said about it."""

    id: bytes
    parent: bytes | None
    name: str
    start: float
    end: float
    kind: Kind = "internal"
    ok: bool | None = None
    says: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trace:
    """All spans of a run, the root first."""

    id: bytes
    spans: tuple[Span, ...]


def trace_of(events: Iterable[JournalEvent]) -> Trace:
    """Make the trace of a whole journal. What was cut off by a crash ends with the journal."""
    weaver: _Weaver | None = None
    for event in events:
        weaver = weaver or _Weaver(event)
        weaver.take(event)
    if weaver is None:
        raise ValueError("a journal begins with an event")
    return weaver.trace()


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


class _Weaver:
    def __init__(self, first: JournalEvent) -> None:
        self._run = first.run
        self._spans: list[Span] = []
        self._open: dict[str, Span] = {}
        self._at = first.at
        self._agent = ""
        self._root = self._begin("run", "run", first.at, None, {"tickover.run.id": first.run})

    def trace(self) -> Trace:
        for left in self._open.values():
            left.end = max(left.start, self._at)
        return Trace(_digest("trace", self._run)[:16], tuple(self._spans))

    def take(self, event: JournalEvent) -> None:
        self._at = max(self._at, event.at)
        fact, attempt = decode(event), event.attempt
        match fact:
            case RunCreated():
                self._root.name = f"run {one_line(fact.routine, 80)}"
                self._root.attributes |= {"tickover.routine": fact.routine, "tickover.trigger": fact.trigger}
            case VersionResolved():
                self._agent = one_line(fact.agent_build.partition("@")[0], 80)
                self._root.attributes["tickover.routine.version"] = fact.routine_version
            case AttemptStarted():
                name = f"attempt {fact.attempt}"
                self._begin(f"attempt/{fact.attempt}", name, event.at, self._root, {"tickover.attempt": fact.attempt})
            case AttemptFinished():
                self._end_attempt(attempt, event, fact)
            case PhaseStarted():
                above = self._open.get(f"attempt/{attempt}", self._root)
                self._begin(f"phase/{attempt}/{fact.phase}", f"phase {fact.phase}", event.at, above)
            case PhaseFinished():
                self._end(f"phase/{attempt}/{fact.phase}", event.at)
            case RunFinished():
                self._finish(event, fact)
            case _:
                self._take_work(event, fact)

    def _take_work(self, event: JournalEvent, fact: object) -> None:
        attempt = event.attempt
        match fact:
            case AgentStarted():
                named = one_line(fact.build.partition("@")[0], 80) or self._agent
                told: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": named}
                self._begin(
                    f"agent/{attempt}", f"invoke_agent {named}".strip(), event.at, self._above(attempt, "agent"), told
                )
            case AgentFinished():
                self._end(f"agent/{attempt}", event.at, ok=fact.status is AgentStatus.COMPLETED, says=fact.status)
            case AgentToolCall():
                tool = one_line(fact.tool, 100)
                told = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
                key = f"tool/{attempt}/{fact.id}"
                self._begin(key, f"execute_tool {tool}", event.at, self._within(attempt), told, unique=event.seq)
            case AgentToolResult():
                self._end(f"tool/{attempt}/{fact.id}", event.at, ok=fact.ok, says="" if fact.ok else "the tool failed")
            case AgentStep():
                step = self._point(event, f"step {one_line(fact.id, 80)}", self._within(attempt), fact.duration_s)
                step.ok = fact.ok
                step.attributes |= {"tickover.step": one_line(fact.id, 80), "tickover.step.exit": fact.exit or 0}
            case ModelCalled():
                self._model(event, fact)
            case ReceiptBegun():
                self._request(event, fact)
            case ReceiptEnded():
                self._answer(fact)
            case CheckEvaluated():
                self._check(event, fact)
            case _:
                return

    # -- single facts ------------------------------------------------------------------------------------------------

    def _end_attempt(self, attempt: int, event: JournalEvent, fact: AttemptFinished) -> None:
        for key in [key for key in self._open if key.split("/")[1:2] == [str(attempt)] and key.startswith("tool/")]:
            self._end(key, event.at)
        says = "" if fact.cause is None else str(fact.cause.cause)
        span = self._end(f"attempt/{attempt}", event.at, ok=fact.execution is Execution.COMPLETED or None, says=says)
        if span is not None:
            span.attributes["tickover.execution"] = fact.execution
            if fact.cause is not None:
                span.ok = False
                span.attributes["error.type"] = says

    def _finish(self, event: JournalEvent, fact: RunFinished) -> None:
        self._root.attributes |= {"tickover.execution": fact.execution, "tickover.outcome": fact.outcome}
        self._root.end = max(self._root.start, event.at)
        self._open.pop("run", None)
        if fact.outcome in {Outcome.VERIFIED, Outcome.NOOP}:
            self._root.ok, self._root.says = True, ""
        elif fact.outcome in _RED or fact.execution is not Execution.COMPLETED:
            self._root.ok, self._root.says = False, f"{fact.execution}, {fact.outcome}"
            self._root.attributes["error.type"] = fact.outcome if fact.outcome in _RED else fact.execution

    def _model(self, event: JournalEvent, fact: ModelCalled) -> None:
        model = one_line(fact.model, 100)
        span = self._point(event, f"chat {model}".strip(), self._within(event.attempt))
        span.kind = "client"
        tokens = fact.tokens
        span.attributes |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDERS.get(fact.dialect, "openai"),
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": tokens.input + tokens.cache_read + tokens.cache_write,
            "gen_ai.usage.output_tokens": tokens.output,
            "gen_ai.usage.cache_read.input_tokens": tokens.cache_read,
            "gen_ai.usage.cache_creation.input_tokens": tokens.cache_write,
            "server.address": fact.host,
            "server.port": fact.port,
            "tickover.identity": fact.identity,
            "tickover.estimated": fact.estimated,
        }
        if fact.cost_usd is not None:
            span.attributes["tickover.cost_usd"] = fact.cost_usd
        self._status(span, fact.status)

    def _request(self, event: JournalEvent, fact: ReceiptBegun) -> None:
        begun = fact.record
        told: dict[str, Value] = {
            "http.request.method": one_line(begun.method, 20),
            "server.address": begun.host,
            "server.port": begun.port,
            "url.scheme": begun.scheme,
            "tickover.identity": begun.identity,
            "tickover.writes": begun.writes,
        }
        name = f"{one_line(begun.method, 20)} {begun.host}"
        span = self._begin(f"call/{begun.call}", name, begun.at, self._within(event.attempt), told)
        span.kind = "client"

    def _answer(self, fact: ReceiptEnded) -> None:
        ended = fact.record
        span = self._end(f"call/{ended.call}", ended.at)
        if span is not None:
            span.attributes |= {
                "http.request.body.size": ended.request_bytes,
                "http.response.body.size": ended.response_bytes,
            }
            self._status(span, ended.status)

    def _status(self, span: Span, status: int | None) -> None:
        if status is not None:
            span.attributes["http.response.status_code"] = status
        if status is None or status >= 400:
            span.ok = False
            span.attributes["error.type"] = "no_answer" if status is None else str(status)

    def _check(self, event: JournalEvent, fact: CheckEvaluated) -> None:
        name = f"check {fact.list}[{fact.index}] {fact.kind}"
        above = self._open.get(f"phase/{event.attempt}/verify") or self._open.get(f"attempt/{event.attempt}")
        span = self._point(event, name, above or self._root, fact.duration_s)
        span.ok = None if fact.result is CheckResult.PASS else False
        span.says = "" if fact.result is CheckResult.PASS else str(fact.result)
        span.attributes |= {
            "tickover.check.kind": fact.kind,
            "tickover.check.class": fact.evidence_class,
            "tickover.check.result": fact.result,
            "tickover.check.guard": fact.guard,
        }

    # -- spans -------------------------------------------------------------------------------------------------------

    def _above(self, attempt: int, phase: str) -> Span:
        return self._open.get(f"phase/{attempt}/{phase}") or self._open.get(f"attempt/{attempt}") or self._root

    def _within(self, attempt: int) -> Span:
        """Return what a request or a tool belongs to: the agent while it works, else the phase under way."""
        phases = [span for key, span in self._open.items() if key.startswith(f"phase/{attempt}/")]
        agent = self._open.get(f"agent/{attempt}")
        return agent or (phases[-1] if phases else self._above(attempt, "agent"))

    def _begin(
        self,
        key: str,
        name: str,
        at: float,
        above: Span | None,
        told: Mapping[str, Value] | None = None,
        *,
        unique: int = 0,
    ) -> Span:
        id_ = _digest("span", self._run, key, unique)[:8]
        span = Span(id_, None if above is None else above.id, name, at, at, attributes=dict(told or {}))
        self._spans.append(span)
        self._open[key] = span
        return span

    def _end(self, key: str, at: float, *, ok: bool | None = None, says: str = "") -> Span | None:
        span = self._open.pop(key, None)
        if span is not None:
            span.end = max(span.start, at)
            span.ok, span.says = ok, says if ok is False else ""
        return span

    def _point(self, event: JournalEvent, name: str, above: Span, seconds: float = 0.0) -> Span:
        """Add a span that is known when it is over."""
        span = self._begin(f"seq/{event.seq}", name, event.at - seconds, above)
        self._end(f"seq/{event.seq}", event.at)
        return span
