"""A signed request becomes a run: `push`, `secret set`, `up`, and a sender; nothing is told instead of done."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from tickover.app import Tickover
from tickover.core.row import RunRow

pytestmark = pytest.mark.timeout(400)
T = TypeVar("T")
TICKOVER = Path(sys.executable).with_name("tickover")
SECRET = "a-signing-secret"
ROUTINE = """---
name: greet
agent: steps
inputs: {number: {type: integer, default: 0}, title: {type: string, default: ""}}
on:
  - github:
      repo: acme/app
      secret: github-webhook
      events: [pull_request.opened]
      input: {number: $.number, title: "{{ event.pull_request.title | upcase }}"}
---
```bash
mkdir -p out && cp /tickover/input.json out/input.json
```
"""
PULL = {"action": "opened", "number": 7, "pull_request": {"title": "mend it"}, "repository": {"full_name": "acme/app"}}


class Server:
    """`tickover up` on a data folder, and a command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "TICKOVER_HOME": str(folder / "home"), "NO_COLOR": "1"}
        routine = folder / "routines" / "greet"
        routine.mkdir(parents=True)
        (routine / "ROUTINE.md").write_text(ROUTINE, encoding="utf-8")

    def cli(self, *args: str, typed: str | None = None) -> Any:
        argv = [str(TICKOVER), *args]
        done = subprocess.run(
            argv, env=self.environment, cwd=self.folder, input=typed, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in args else done.stdout

    @contextmanager
    def up(self) -> Iterator[tuple[str, int]]:
        argv = [str(TICKOVER), "up", "--port", "0"]
        with subprocess.Popen(
            argv, env=self.environment, cwd=self.folder, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stderr is not None
                found = None
                while found is None:
                    line = process.stderr.readline()
                    assert line, "the server ended"
                    found = re.search(r"listening on (http\S+)", line)
                address = urlsplit(found[1])
                yield str(address.hostname), int(address.port or 0)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=90)

    def until(self, holds: Callable[[Tickover], T]) -> T:
        """Read the data folder beside the server until something is there."""
        tickover, never, deadline = Tickover(self.folder / "home", None), threading.Event(), time.monotonic() + 120
        try:
            while not (found := holds(tickover)):
                assert time.monotonic() < deadline
                never.wait(0.1)
            return found
        finally:
            asyncio.run(tickover.close())


def ended(count: int) -> Callable[[Tickover], list[RunRow]]:
    def holds(tickover: Tickover) -> list[RunRow]:
        rows = tickover.run_rows()
        return rows if len(rows) == count and all(row.finished for row in rows) else []

    return holds


def routed(tickover: Tickover) -> bool:
    return not tickover.events.pending()


def post(address: tuple[str, int], event: str, delivery: str, payload: Any, secret: str = SECRET) -> tuple[int, Any]:
    body = json.dumps(payload).encode()
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": delivery, "X-Hub-Signature-256": signature}
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request("POST", "/hooks/greet/github", body, headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_signed_request_becomes_a_run(server: Server) -> None:
    server.cli("secret", "set", "github-webhook", "--kind", "signing", typed=SECRET)
    server.cli("push", "routines/greet")
    with server.up() as address:
        assert post(address, "pull_request", "d1", PULL, "wrong-secret") == (
            401,
            {"error": {"code": "signature_mismatch"}},
        )
        assert post(address, "pull_request", "d1", PULL) == (200, {"event": "e1"})
        assert post(address, "pull_request", "d1", PULL) == (200, {"event": "e1", "duplicate": True})
        assert post(address, "push", "d2", PULL)[0] == 200
        [run] = server.until(ended(1))
        assert (run.routine, run.execution, run.trigger) == ("greet", "completed", "github")
        server.until(routed)
        events = server.cli("events", "list", "--json")
        assert [(each["name"], each["routings"][0]["verdict"], each["routings"][0]["run"]) for each in events] == [
            ("push.opened", "filtered", None),
            ("pull_request.opened", "fired", run.id),
        ]
        given = json.loads(server.cli("runs", "artifact", run.id, "out/input.json"))
        assert given["inputs"] == {"number": 7, "title": "MEND IT"}
        again = server.cli("events", "replay", "e1", "--json")["event"]
        newest, _ = server.until(ended(2))
        [shown] = server.cli("events", "show", again, "--json")["routings"]
        assert (shown["verdict"], shown["run"]) == ("fired", newest.id)
        server.cli("routine", "pause", "greet", "--reason", "rest")
        deadline = time.monotonic() + 60
        while (status := post(address, "pull_request", "d9", PULL)[0]) != 410:
            assert status == 200
            assert time.monotonic() < deadline
    [refused] = [
        each for each in server.cli("events", "list", "--rejected", "--json") if each["reason"] == "signature_mismatch"
    ]
    assert refused["count"] == 1


def test_without_its_secret_a_sender_is_asked_to_come_back(server: Server) -> None:
    server.cli("push", "routines/greet")
    with server.up() as address:
        assert post(address, "pull_request", "d1", PULL) == (503, {"error": {"code": "secret_missing"}})
        server.cli("secret", "set", "github-webhook", "--kind", "signing", typed=SECRET)
        deadline = time.monotonic() + 60
        while (status := post(address, "pull_request", "d1", PULL)[0]) != 200:
            assert status == 503
            assert time.monotonic() < deadline
