from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tickover.agents.base import Agent, AgentTask, Forward
from tickover.agents.remote import LONGEST_TEXT, REQUEST
from tickover.agents.remote import Agent as RemoteAgent
from tickover.core.errors import UsageError
from tickover.testing.agent_suite import AgentSuite, Output

FIRE = Forward("claude-routine", "https://claude.test/v1/claude_code/routines/trig_1/fire")
TASK = AgentTask(boundary="0f1e2d3c", inputs={"ref": "next", "count": 2}, event=b'{"id": 7}', forward=FIRE)


class TestConformance(AgentSuite):
    needs_last_word = False

    def agent(self) -> Agent:
        return RemoteAgent()

    def task(self) -> AgentTask:
        return replace(TASK, inputs={"text": "last"}, forward=Forward("http", "https://api.test/x"))

    def success(self) -> Output:
        return [("stdout", b"answered 200: {}\n")]


def request(task: AgentTask) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(RemoteAgent().plan(task).files[REQUEST])
    return told


def test_a_claude_routine_gets_the_event_as_its_text() -> None:
    told = request(TASK)
    assert told["url"] == FIRE.url
    assert told["headers"]["anthropic-beta"] == "experimental-cc-routine-2026-04-01"
    assert json.loads(told["body"]) == {"text": '{"id": 7}'}
    assert json.loads(request(replace(TASK, event=None))["body"]) == {"text": '{"ref": "next", "count": 2}'}
    assert json.loads(request(replace(TASK, event=None, inputs={}))["body"]) == {}


def test_what_fire_would_refuse_is_not_sent() -> None:
    long = b"x" * (LONGEST_TEXT + 1)
    assert len(json.loads(request(replace(TASK, event=long[1:]))["body"])["text"]) == LONGEST_TEXT
    assert json.loads(request(replace(TASK, event=long))["body"]) == {"text": '{"ref": "next", "count": 2}'}
    with pytest.raises(UsageError) as error:
        RemoteAgent().plan(replace(TASK, event=long, inputs={}))
    assert error.value.code == "remote.too_long"


def test_a_workflow_gets_inputs_as_text_and_its_ref() -> None:
    told = request(replace(TASK, forward=Forward("github-workflow", "https://api.test/dispatches")))
    assert json.loads(told["body"]) == {"ref": "next", "inputs": {"count": "2"}}


def test_an_endpoint_gets_inputs_and_event_as_they_are() -> None:
    told = request(replace(TASK, forward=Forward("http", "https://api.test/x")))
    assert json.loads(told["body"]) == {"inputs": {"ref": "next", "count": 2}, "event": {"id": 7}}


def test_none_sends_nothing() -> None:
    plan = RemoteAgent().plan(replace(TASK, forward=Forward("none")))
    assert plan.argv == ("true",)
    assert REQUEST not in plan.files
