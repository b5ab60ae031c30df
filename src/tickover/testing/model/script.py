"""A script: scenarios of turns. The first scenario whose `when` matches a request answers it.

    {"scenarios": [{
        "name": "demo",
        "when": {"prompt": "REGEX over the user's texts", "system": "REGEX", "model": "REGEX", "tools": true},
        "turns": [
          {"text": "Looking.", "tools": [{"name": "Bash", "input": {"command": "ls"}}]},
          {"expect": "notes", "text": "Found: {{tool_result}}", "faults": [{"status": 529, "type": "overloaded_error"}]}
        ]}]}

A list of turns is a script of one scenario. Which turn answers depends on the request alone: the number of the
assistant's turns in its history. So retries, restarts and parallel sessions get the same answer. `faults` are spent
one per request before their turn is answered; one with `always` never is. A request that no turn answers, or whose
newest tool result does not match `expect`, gets a 400 that says so: a script that does not fit fails loudly.

In texts and tool inputs: {{tool_result}}, {{prompt}}, and {{find:REGEX}}, the first match (its group 1 if it has
one) in the system text, the user's texts and the newest tool result.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tickover.testing.model.answer import Answer, Tokens
from tickover.testing.model.conversation import Conversation, Json


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fault(_Strict):
    """One of: an HTTP error (`status`), a socket closed after `cut` events, an error event after `after` events.

    `stall` (seconds) is waited first, and alone is a fault, too.
    """

    status: int | None = Field(default=None, ge=100, le=599)
    type: str = "api_error"
    message: str = "scripted fault"
    headers: dict[str, str] = {}
    cut: int | None = Field(default=None, ge=0)
    sse_error: str | None = None
    after: int = Field(default=1, ge=0)
    stall: float = Field(default=0, ge=0)
    always: bool = False


class Tool(_Strict):
    name: str
    input: Any = {}


class Usage(_Strict):
    input: int = 100
    output: int = 20
    cache_read: int = 0
    cache_write: int = 0


class Turn(_Strict):
    """One answer. `delay` is waited before it, `pace` between its events (seconds)."""

    text: str = ""
    tools: tuple[Tool, ...] = ()
    stop: str | None = None
    usage: Usage = Usage()
    expect: str | None = None
    delay: float = Field(default=0, ge=0)
    pace: float = Field(default=0, ge=0)
    faults: tuple[Fault, ...] = ()


class When(_Strict):
    prompt: str | None = None
    system: str | None = None
    model: str | None = None
    tools: bool | None = None

    def fits(self, said: Conversation) -> bool:
        if self.tools is not None and self.tools != bool(said.tools):
            return False
        texts = ((self.prompt, said.users), (self.system, said.system), (self.model, said.model))
        return all(pattern is None or re.search(pattern, text) for pattern, text in texts)


class Scenario(_Strict):
    """`after_last`: what a request beyond the last turn gets: an error, or the last turn again."""

    turns: tuple[Turn, ...]
    name: str = ""
    when: When = When()
    after_last: Literal["error", "repeat"] = "error"


class _Scenarios(_Strict):
    scenarios: tuple[Scenario, ...]


class Choice(_Strict):
    """What answers a request."""

    scenario: str
    turn: Turn = Turn()
    fault: Fault | None = None


class Script:
    """A script and the faults of it that have been spent: its only state."""

    def __init__(self, script: Json | list[Json]) -> None:
        """Read a script. Raises pydantic's ValidationError for what is no script."""
        if isinstance(script, list):
            script = {"turns": script}
        if "scenarios" not in script:
            script = {"scenarios": [script]}
        self.scenarios = _Scenarios.model_validate(script).scenarios
        self._spent: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()

    def choose(self, said: Conversation) -> Choice:
        for number, scenario in enumerate(self.scenarios):
            if scenario.when.fits(said):
                return self._choose(number, scenario, said)
        return Choice(scenario="", fault=_misfit("no scenario of the script fits this request"))

    def _choose(self, number: int, scenario: Scenario, said: Conversation) -> Choice:
        name = scenario.name or f"scenario {number}"
        at = said.turn
        if at >= len(scenario.turns) and scenario.after_last == "repeat":
            at = len(scenario.turns) - 1
        if at >= len(scenario.turns):
            text = f"script `{name}` has {len(scenario.turns)} turns, the agent asked for turn {at + 1}"
            return Choice(scenario=name, fault=_misfit(text))
        turn = scenario.turns[at]
        if turn.expect is not None and not re.search(turn.expect, said.tool_result):
            got = f"/{turn.expect}/ in the tool result, got: {said.tool_result[:400]}"
            return Choice(scenario=name, turn=turn, fault=_misfit(f"script `{name}` turn {at + 1} expected {got}"))
        return Choice(scenario=name, turn=turn, fault=self._next_fault(number, at, turn))

    def _next_fault(self, number: int, at: int, turn: Turn) -> Fault | None:
        with self._lock:
            spent = self._spent.get((number, at), 0)
            if spent >= len(turn.faults):
                return None
            if not turn.faults[spent].always:
                self._spent[number, at] = spent + 1
            return turn.faults[spent]


def answer_of(turn: Turn, said: Conversation) -> Answer:
    """Fill in a turn for a conversation."""
    tools = [{"name": tool.name, "input": _fill(tool.input, said)} for tool in turn.tools]
    key = f"{said.turn}|{said.system}|{said.users}|{said.tool_result}"
    tokens = Tokens(**turn.usage.model_dump())
    return Answer.make(key, said.model, _filled(turn.text, said), tools, turn.stop, tokens)


def _misfit(message: str) -> Fault:
    return Fault(status=400, type="invalid_request_error", message=message, always=True)


def _fill(value: Any, said: Conversation) -> Any:
    if isinstance(value, str):
        return _filled(value, said)
    if isinstance(value, list):
        return [_fill(each, said) for each in value]
    if isinstance(value, dict):
        return {key: _fill(each, said) for key, each in value.items()}
    return value


def _filled(text: str, said: Conversation) -> str:
    def found(match: re.Match[str]) -> str:
        hit = re.search(match[1], f"{said.system}\n{said.users}\n{said.tool_result}")
        return (hit[1] if hit.re.groups else hit[0]) if hit else ""

    text = re.sub(r"\{\{find:(.+?)\}\}", found, text)
    return text.replace("{{tool_result}}", said.tool_result).replace("{{prompt}}", said.prompt)
