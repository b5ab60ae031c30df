"""The loop itself, started as it is inside a sandbox, against the scripted model, in both wires."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tickover.agents.base import OURS, OUTPUT, AgentExit, AgentFact, AgentTask, ModelAt
from tickover.agents.loop import PLACEHOLDER, Agent
from tickover.core.cause import CauseCode
from tickover.core.event import (
    AgentFinished,
    AgentReady,
    AgentText,
    AgentToolCall,
    AgentToolResult,
    AgentUsage,
    FindingReported,
)
from tickover.core.status import AgentStatus
from tickover.testing.model import ScriptedModel

WIRES = ("anthropic", "openai")


@pytest.fixture(params=WIRES)
def loop(request: pytest.FixtureRequest, tmp_path: Path) -> Loop:
    return Loop(request.param, tmp_path)


class Loop:
    """Lays a plan out below a folder and runs it."""

    def __init__(self, wire: str, folder: Path) -> None:
        self.wire: Any = wire
        self.workspace = folder / "workspace"
        self.ours = folder / "ours"
        self.workspace.mkdir()

    def run(self, url: str, **more: Any) -> list[AgentFact]:
        at = ModelAt("scripted", f"{url}/v1" if self.wire == "openai" else url, self.wire)
        task = AgentTask("b", prompt="You count.", model_at=at, workspace=str(self.workspace), **more)
        plan = Agent().plan(task)
        for target, data in plan.files.items():
            path = self.ours / Path(target).relative_to(OURS)
            path.parent.mkdir(parents=True, exist_ok=True)
            here = data.replace(f"{OURS}/".encode(), f"{self.ours}/".encode())
            path.write_bytes(here.replace(OUTPUT.encode(), f"{self.workspace}/.tickover/output.json".encode()))
        done = subprocess.run(
            [sys.executable, "-I", str(self.ours / "loop.py"), str(self.ours / "loop.json")],
            env={"PATH": os.environ["PATH"], "HOME": str(self.workspace), **plan.env},
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=100,
        )  # fmt: skip
        parser = Agent().parser(task)
        code = done.returncode
        facts = [*parser.feed("stdout", done.stdout), *parser.feed("stderr", done.stderr)]
        return [*facts, *parser.finish(AgentExit(code))]

    def script(self, *turns: dict[str, Any], **more: Any) -> list[AgentFact]:
        with ScriptedModel({"turns": turns}) as model:
            facts = self.run(model.url, **more)
            self.requests = model.requests
        return facts

    def results(self, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
        """Let the model call tools; return what came of them."""
        turns: list[dict[str, Any]] = [
            {"tools": [{"name": name, "input": given} for name, given in calls]},
            {"text": "Done."},
        ]
        facts = self.script(*turns)
        assert last(facts).status is AgentStatus.COMPLETED, facts
        return [(fact.ok, fact.text) for fact in facts if isinstance(fact, AgentToolResult)]


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """Serve one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def last(facts: list[AgentFact]) -> AgentFinished:
    assert isinstance(facts[-1], AgentFinished)
    return facts[-1]


def test_it_works_until_no_tool_is_called(loop: Loop) -> None:
    facts = loop.script(
        {"text": "Counting.", "tools": [{"name": "bash", "input": {"command": "echo 3 | tee count.txt"}}]},
        {"expect": "3", "text": "There are {{tool_result}}"},
    )
    assert [type(fact) for fact in facts] == [
        AgentReady, AgentUsage, AgentText, AgentToolCall, AgentToolResult, AgentUsage, AgentText, AgentFinished,
    ]  # fmt: skip
    assert (last(facts).status, last(facts).said) == (AgentStatus.COMPLETED, "done")
    assert sum(fact.input_tokens for fact in facts if isinstance(fact, AgentUsage)) == 200
    assert (loop.workspace / "count.txt").read_text() == "3\n"
    key = "X-Api-Key" if loop.wire == "anthropic" else "Authorization"
    assert {request.headers[key].removeprefix("Bearer ") for request in loop.requests} == {PLACEHOLDER}


def test_what_tools_answer(loop: Loop) -> None:
    results = loop.results(
        ("write", {"path": "a/b.txt", "content": "one\ntwo\nthree\n"}),
        ("read", {"path": "a/b.txt", "offset": 2, "limit": 1}),
        ("read", {"path": "none.txt"}),
        ("bash", {"command": "echo out; echo err >&2; exit 7"}),
        ("bash", {"command": "kill -9 $$"}),
        ("bash", {"command": "echo begun; exec sleep 100", "timeout_seconds": 0.3}),
        ("bash", {"command": 7}),
        ("fly", {}),
    )
    assert results == [
        (True, f"14 bytes are in {loop.workspace}/a/b.txt"),
        (True, "two\n[the file goes on at line 3]\n"),
        (False, f"{loop.workspace}/none.txt: No such file or directory"),
        (False, "exit code 7\nout\nerr\n"),
        (False, "exit code 137\n"),
        (False, "stopped after 0.3 seconds\nbegun\n"),
        (False, "`command` must be text"),
        (False, "there is no tool `fly`"),
    ]


def test_of_much_output_both_ends_are_shown(loop: Loop) -> None:
    [(ok, text)] = loop.results(("bash", {"command": "echo first; yes | head -c 5000000; echo last"}))
    assert ok
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert "bytes are left out" in text
    assert len(text) < 30_000


def test_work_in_the_background_holds_nothing_up(loop: Loop) -> None:
    script = "sleep 60 & echo $! > pid; echo started"
    assert loop.results(("bash", {"command": script})) == [(True, "started\n")]
    os.kill(int((loop.workspace / "pid").read_text()), 9)


def test_a_report_is_written_where_it_is_looked_for(loop: Loop) -> None:
    words = {"status": "noop", "summary": "Nothing new."}
    assert loop.results(("report", words), ("report", {"status": "green", "summary": ""})) == [
        (True, "noted"),
        (False, "`status` is one of done, noop, failed"),
    ]
    assert json.loads((loop.workspace / ".tickover/report.json").read_text()) == words


def test_a_result_is_handed_in(loop: Loop) -> None:
    schema = json.dumps({"type": "object", "required": ["n"]})
    call = {"tools": [{"name": "output", "input": {"result": {"n": 3}}}]}
    assert last(loop.script(call, {"text": "Done."}, schema=schema)).status is AgentStatus.COMPLETED
    assert json.loads((loop.workspace / ".tickover/output.json").read_text()) == {"n": 3}
    facts = loop.script({"text": "Done."}, schema=schema)
    assert (last(facts).status, last(facts).reason) == (AgentStatus.FAILED, "it gave no result of the wanted schema")


@pytest.mark.parametrize(
    ("fault", "cause", "asked"),
    [
        ({"status": 401, "type": "authentication_error"}, None, 1),
        ({"status": 400, "type": "invalid_request_error"}, None, 1),
        ({"status": 529, "type": "overloaded_error", "headers": {"retry-after": "0"}}, CauseCode.MODEL_OVERLOADED, 3),
    ],
)
def test_a_model_that_refuses(loop: Loop, fault: dict[str, Any], cause: CauseCode | None, asked: int) -> None:
    facts = loop.script({"text": "x", "faults": [{**fault, "always": True}]})
    assert (last(facts).status, last(facts).cause) == (AgentStatus.FAILED, cause)
    assert str(fault["status"]) in last(facts).reason
    assert len(loop.requests) == asked


def test_a_fault_that_goes_away_is_asked_again(loop: Loop) -> None:
    faults = [{"status": 503, "headers": {"retry-after": "0"}}]
    assert last(loop.script({"text": "Done.", "faults": faults})).status is AgentStatus.COMPLETED


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"not json", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b"[" * 200_000, "no JSON object"),
        (b'{"content": 7, "choices": 7}', "malformed"),
        (b'{"content": [{"type": "tool_use"}], "choices": [{"message": {"tool_calls": [7]}}]}', "malformed"),
        (
            b'{"content": [], "choices": [{"message": {}}], "usage": {"input_tokens": "x", "prompt_tokens": "x"}}',
            "malformed",
        ),
    ],
)
def test_a_model_that_answers_nonsense(loop: Loop, body: bytes, says: str) -> None:
    with answering(body) as url:
        facts = loop.run(url)
    assert last(facts).status is AgentStatus.FAILED
    assert says in last(facts).reason
    assert not [fact for fact in facts if isinstance(fact, FindingReported)]


def test_an_answer_that_leads_elsewhere_is_not_followed(loop: Loop) -> None:
    with answering(b"{}", status=302) as url:
        facts = loop.run(url)
    assert (last(facts).status, last(facts).reason) == (AgentStatus.FAILED, "302 {}")
