"""The scripted model answers every dialect, whole and in events, the same for the same request."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import ValidationError

from tickover.testing.model import ScriptedModel

TURN = {
    "text": "Looking at the notes, all of them, one after the other.",
    "tools": [{"name": "Bash", "input": {"command": "ls"}}],
}
SCRIPT: list[dict[str, Any]] = [TURN, {"expect": "notes.txt", "text": "Found: {{tool_result}}"}]

REQUESTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "anthropic": (
        "/v1/messages",
        {"model": "m", "messages": [{"role": "user", "content": "go"}]},
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "notes.txt"}]},
            ],
        },
    ),
    "chat": (
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": "go"}]},
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "tool", "tool_call_id": "t", "content": "notes.txt"},
            ],
        },
    ),
    "responses": (
        "/v1/responses",
        {"model": "m", "input": "go"},
        {
            "model": "m",
            "input": [
                {"role": "user", "content": "go"},
                {"type": "function_call", "call_id": "t", "name": "Bash", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "t", "output": "notes.txt"},
            ],
        },
    ),
    "gemini": (
        "/v1beta/models/m:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "go"}]}]},
        {
            "contents": [
                {"role": "user", "parts": [{"text": "go"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "Bash", "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"response": {"output": "notes.txt"}}}]},
            ]
        },
    ),
}
DIALECTS = pytest.mark.parametrize("dialect", REQUESTS)


def post(model: ScriptedModel, path: str, body: Any) -> httpx.Response:
    return httpx.post(model.url + path, json=body, timeout=60)


def events(text: str) -> list[Any]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@DIALECTS
def test_a_tool_call_then_the_answer(dialect: str) -> None:
    path, first, second = REQUESTS[dialect]
    with ScriptedModel(SCRIPT) as model:
        called = post(model, path, first).text
        assert '"Bash"' in called
        assert "command" in called
        assert "Found: notes.txt" in post(model, path, second).text
        assert [(each.conversation.turn, each.answer) for each in model.turns if each.conversation] == [
            (0, "json"),
            (1, "json"),
        ]
        assert model.turns[0].conversation
        assert model.turns[0].conversation.prompt == "go"


@DIALECTS
def test_events_carry_the_same_as_the_whole(dialect: str) -> None:
    path, first, _ = REQUESTS[dialect]
    with ScriptedModel(SCRIPT) as model:
        whole = post(model, path, first).json()
        streamed = events(post(model, path.replace(":generate", ":streamGenerate"), {**first, "stream": True}).text)
    if dialect == "anthropic":
        text = "".join(e["delta"]["text"] for e in streamed if e.get("delta", {}).get("type") == "text_delta")
        call = "".join(
            e["delta"]["partial_json"] for e in streamed if e.get("delta", {}).get("type") == "input_json_delta"
        )
        assert [text, json.loads(call)] == [whole["content"][0]["text"], whole["content"][1]["input"]]
        assert streamed[0]["message"]["id"] == whole["id"]
        assert streamed[-1] == {"type": "message_stop"}
    elif dialect == "chat":
        assert streamed[-1] == "[DONE]"
        deltas = [e["choices"][0]["delta"] for e in streamed[:-1] if e["choices"]]
        assert "".join(d.get("content") or "" for d in deltas) == whole["choices"][0]["message"]["content"]
        [call] = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
        assert {k: v for k, v in call.items() if k != "index"} == whole["choices"][0]["message"]["tool_calls"][0]
    elif dialect == "responses":
        assert streamed[-1]["response"] == whole
        assert "".join(e["delta"] for e in streamed if e["type"] == "response.output_text.delta") == TURN["text"]
    else:
        assert streamed == [whole]


@DIALECTS
def test_the_same_request_gets_the_same_bytes(dialect: str) -> None:
    path, first, _ = REQUESTS[dialect]
    with ScriptedModel(SCRIPT) as one, ScriptedModel(SCRIPT) as other:
        assert post(one, path, first).content == post(other, path, first).content
        assert post(one, path, first).content == post(one, path, first).content


@DIALECTS
def test_faults_are_spent_one_by_one(dialect: str) -> None:
    path, first, _ = REQUESTS[dialect]
    fault = {"status": 529, "type": "overloaded_error", "message": "later", "headers": {"retry-after": "7"}}
    with ScriptedModel([{"text": "fine", "faults": [fault, {"status": 401}]}]) as model:
        refused = post(model, path, first)
        assert (refused.status_code, refused.headers["retry-after"], "later" in refused.text) == (529, "7", True)
        assert post(model, path, first).status_code == 401
        assert "fine" in post(model, path, first).text


def test_a_fault_that_is_always_there() -> None:
    path, first, _ = REQUESTS["anthropic"]
    with ScriptedModel([{"text": "fine", "faults": [{"status": 500, "always": True}]}]) as model:
        assert [post(model, path, first).status_code for _ in range(3)] == [500, 500, 500]


def test_a_stream_that_is_cut_and_one_that_errs() -> None:
    path, first, _ = REQUESTS["anthropic"]
    with ScriptedModel(
        [{"text": "fine", "faults": [{"cut": 2}, {"sse_error": "overloaded_error", "after": 1}]}]
    ) as model:
        with pytest.raises(httpx.RemoteProtocolError):
            post(model, path, {**first, "stream": True})
        erred = events(post(model, path, {**first, "stream": True}).text)
        assert [each["type"] for each in erred] == ["message_start", "error"]
        assert [each.answer for each in model.turns] == ["cut after 2 events", "error event after 1 events"]


def test_a_script_that_does_not_fit_says_so() -> None:
    path, first, second = REQUESTS["anthropic"]
    script = {
        "scenarios": [{"name": "only", "when": {"prompt": "^go"}, "turns": [TURN, {"expect": "^absent", "text": "x"}]}]
    }
    beyond = {**second, "messages": [*second["messages"], *second["messages"][1:]]}
    with ScriptedModel(script) as model:
        other = post(model, path, {**first, "messages": [{"role": "user", "content": "stay"}]})
        assert (other.status_code, "no scenario" in other.text) == (400, True)
        assert "expected /^absent/ in the tool result, got: notes.txt" in post(model, path, second).text
        assert "has 2 turns, the agent asked for turn 3" in post(model, path, beyond).text


def test_templates_reach_tool_inputs() -> None:
    path, first, _ = REQUESTS["anthropic"]
    script = [{"tools": [{"name": "Write", "input": {"path": ["{{find:id=(\\w+)}}", "{{prompt}}"]}}]}]
    with ScriptedModel(script) as model:
        asked = {**first, "system": "id=abc7", "messages": [{"role": "user", "content": "go"}]}
        assert post(model, path, asked).json()["content"][0]["input"] == {"path": ["abc7", "go"]}


def test_what_clients_ask_besides() -> None:
    with ScriptedModel(SCRIPT) as model:
        assert httpx.head(model.url).status_code == 200
        assert httpx.get(model.url + "/v1/models").json()["data"] == []
        assert post(model, "/v1/messages/count_tokens", {"messages": []}).json()["input_tokens"] > 0
        assert post(model, "/v1/other", {}).status_code == 404
        assert httpx.post(model.url + "/v1/messages", content=b"{no json").status_code == 404
        assert not model.turns
        assert len(model.requests) == 5


@pytest.mark.parametrize(
    "body", [{"messages": 7}, {"messages": [7, {"role": "user"}]}, {"messages": [{"content": [3]}], "tools": "x"}]
)
@DIALECTS
def test_no_body_breaks_it(dialect: str, body: dict[str, Any]) -> None:
    path, *_ = REQUESTS[dialect]
    with ScriptedModel(SCRIPT) as model:
        assert post(model, path, {**body, "input": [body], "contents": [{"parts": [7]}]}).status_code == 200


@pytest.mark.parametrize(
    "script", [{"turns": [{"txt": "typo"}]}, {"turns": [{"faults": [{"status": 7}]}]}, {"scenarios": 3}]
)
def test_what_is_no_script_is_refused(script: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScriptedModel(script)


def test_as_a_program_with_a_log(tmp_path: Any) -> None:
    path, first, _ = REQUESTS["anthropic"]
    script, log = tmp_path / "script.json", tmp_path / "log.jsonl"
    script.write_text(json.dumps(SCRIPT))
    command = [sys.executable, "-m", "tickover.testing.model", str(script), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as served:
        assert served.stdout
        host = urlsplit(served.stdout.readline().strip()).netloc
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("POST", path, json.dumps(first), {"content-type": "application/json"})
        assert connection.getresponse().read().startswith(b'{"id": "msg_')
        connection.close()
        served.terminate()
        assert served.wait(60) == 0
    assert json.loads(log.read_text().splitlines()[0])["conversation"]["prompt"] == "go"
