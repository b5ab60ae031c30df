"""Where a case runs: an instance of Tickover, the scripted model and a message board; and who looks afterwards."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cases import Case, Work, script

from tickover.app import RunRequest, Tickover
from tickover.core.event import JournalEvent
from tickover.gateway.certificates import RunAuthority
from tickover.testing.model import ScriptedModel

GREEN, AMBER, RED = "green", "amber", "red"
SUCCESS = {"success", "turn.completed"}
"""What a script that reads the CLI's JSON takes for success."""


@dataclass(frozen=True)
class Result:
    """What became of a case. `done` is what was found afterwards, without looking at the case or the verdict."""

    case: Case
    run: str
    done: bool
    execution: str
    outcome: str
    exit: int | None
    said: str
    findings: tuple[str, ...]
    why: str

    @property
    def colours(self) -> dict[str, str]:
        ours = {"verified": GREEN, "noop": GREEN, "unverified": AMBER, "pending": AMBER}.get(self.outcome, RED)
        return {
            "exit code": GREEN if self.exit == 0 else RED,
            "own JSON": GREEN if self.said in SUCCESS else RED,
            "tickover": ours,
        }

    @property
    def false_green(self) -> bool:
        return self.colours["tickover"] == GREEN and not self.done

    @property
    def right(self) -> bool:
        return self.colours["tickover"] == (GREEN if self.done else RED)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "colours": self.colours}


class Board(ThreadingHTTPServer):
    """A message board: POST adds a message to its path, GET lists them. Without TLS it is the same, to be read.

    A POST with a query is answered by 200 and `{"ok": false}`, and is lost: services that do so are many.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, tls: ssl.SSLContext | None, messages: dict[str, list[str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Board)
        self.tls = tls
        self.messages = messages
        self.lock = threading.Lock()
        self.port = int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""


class _Board(BaseHTTPRequestHandler):
    server: Board

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            if self.server.tls is not None:  # the server closes only what it accepted
                self.request.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode("utf-8", "replace")
        taken = "?" not in self.path
        if taken:
            with self.server.lock:
                self.server.messages.setdefault(self.path, []).append(body)
        self._answer({"ok": taken})

    def do_GET(self) -> None:
        with self.server.lock:
            self._answer(self.server.messages.get(self.path, []))

    def do_DELETE(self) -> None:
        with self.server.lock:
            self.server.messages.pop(self.path, None)
        self._answer({"ok": True})

    def _answer(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Place:
    def __init__(self, tickover: Tickover, scratch: Path) -> None:
        self._tickover = tickover
        self._scratch = scratch
        self._authority = RunAuthority("doubles", now=datetime.now(UTC))
        self._tls = self._authority.context("localhost")
        self._messages: dict[str, list[str]] = {}
        self._boards = (Board(self._tls, self._messages), Board(None, self._messages))
        self._random = random.Random(1)
        self._count = 0

    def __enter__(self) -> Self:
        roots = self._scratch / "roots.pem"
        roots.write_bytes(self._authority.pem)
        network = {"private": ["localhost"], "roots": [str(roots)]}
        (self._tickover.home / "tickover.yaml").write_text(json.dumps({"network": network}))
        for board in self._boards:
            threading.Thread(target=board.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for board in self._boards:
            board.shutdown()
            board.server_close()

    async def run(self, case: Case) -> Result:
        self._count += 1
        number = self._random.randrange(10**6, 10**7)
        folder = self._scratch / str(self._count) / "work"
        channel = f"/{self._random.randrange(10**9):x}"
        board, read = (each.port for each in self._boards)
        work = _work(case.task, number, f"https://localhost:{board}{channel}")
        events: list[JournalEvent] = []
        with ScriptedModel(script(case, work), tls=self._tls) as model:
            _write(folder, case, number, (f"localhost:{board}", f"http://127.0.0.1:{read}{channel}"), model.port)
            self._tickover.grant(folder, by="the benchmark")
            request = RunRequest(folder=str(folder), keep=True)
            row = await self._tickover.run(request, events.append)
        if not any(event.type == "agent_started" for event in events):
            raise RuntimeError(f"{case}: the agent was never started, so this tells nothing: {row.reason or row.id}")
        ended = [event.data for event in events if event.type == "agent_finished"]
        last = ended[-1] if ended else {}
        return Result(
            case=case,
            run=row.id,
            done=await asyncio.to_thread(self._look, case.task, row.id, number, channel),
            execution=str(row.execution),
            outcome=str(row.outcome),
            exit=last.get("exit"),
            said=last.get("said", ""),
            findings=tuple(event.data["code"] for event in events if event.type == "finding"),
            why=last.get("reason", "") or row.reason or "",
        )

    def _look(self, task: str, run: str, number: int, channel: str) -> bool:
        """Say whether the work is there, from the state of the world alone."""
        if task == "post":
            return any(str(number) in message for message in self._messages.get(channel, []))
        for kept in self._tickover.kept(run):
            file = kept / "sum.txt"
            if file.is_file() and not file.is_symlink() and file.read_text(errors="replace").strip() == str(number):
                return True
        return False


def _work(task: str, number: int, url: str) -> Work:
    if task == "sum":
        return Work(
            do=f"echo {number} > sum.txt",
            wrong=f"echo {number + 1} > sum.txt",
            elsewhere=f"mkdir -p /tmp/out && echo {number} > /tmp/out/sum.txt",
            lost=f"echo {number} > /dev/null",
            undo="rm -f sum.txt",
        )
    return Work(
        do=f"curl -sS -d 'The sum is {number}' {url}",
        wrong=f"curl -sS -d 'The sum is {number + 1}' {url}",
        elsewhere=f"curl -sS -d 'The sum is {number}' {url}-other",
        lost=f"curl -sS -d 'The sum is {number}' '{url}?when=later'",
        undo=f"curl -sS -X DELETE {url}",
    )


def _write(folder: Path, case: Case, number: int, board: tuple[str, str], model: int) -> None:
    """Write the routine: nothing in it tells one case of a task and agent from another."""
    (folder / "checks").mkdir(parents=True)
    host, read = board
    url = f"https://localhost:{model}"
    variable = {"claude-code": {"ANTHROPIC_BASE_URL": url}, "codex": {"OPENAI_BASE_URL": f"{url}/v1"}}
    environment = {"env": variable[case.agent], "network": [host]}
    expect: list[Any] = [{"command": {"run": "python3 judge.py"}}]
    may: list[Any] = []
    if case.task == "post":
        expect = [{"http": {"url": read, "status": 200, "contains": f"The sum is {number}"}}]
        may = [{"request": {"to": f"{method} https://{host}/*"}} for method in ("POST", "DELETE")]
    judge = f"import sys\nsys.exit(open('/subject/sum.txt').read().strip() != '{number}')\n"
    (folder / "checks" / "judge.py").write_text(judge)
    watch = {"init": "60s", "first_answer": "20s", "progress": "20s"}
    keys = {"name": "work", "agent": case.agent, "environment": environment, "may": may, "expect": expect}
    keys |= {"watch": watch, "limits": {"timeout": "3m"}}
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())
    what = "Write the sum to sum.txt." if case.task == "sum" else "Post the sum to the board."
    (folder / "ROUTINE.md").write_text(f"---\n{front}---\n{what}\n")
