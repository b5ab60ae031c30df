"""The server of the scripted model: HTTP/1.1 on loopback, with TLS where a context is given."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tickover.testing.model.answer import Answer
from tickover.testing.model.conversation import Conversation, Json
from tickover.testing.model.dialects import Dialect, dialect_of
from tickover.testing.model.script import Fault, Script, Turn, answer_of

_LONGEST_BODY = 64 << 20


@dataclass(slots=True)
class Exchange:
    """One request as it came, and in `answer` what became of it. `at` is UTC epoch seconds."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    conversation: Conversation | None = None
    scenario: str = ""
    answer: str = ""


@dataclass(slots=True)
class _Record:
    """What all the server's threads share."""

    script: Script
    log: str | None
    tls: ssl.SSLContext | None
    closing: threading.Event = field(default_factory=threading.Event)
    exchanges: list[Exchange] = field(default_factory=list)
    asked: list[Conversation] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, exchange: Exchange) -> None:
        with self.lock:
            self.exchanges.append(exchange)
            if self.log:
                with open(self.log, "a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(exchange)) + "\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], record: _Record) -> None:
        super().__init__(address, _Handler)
        self.record = record

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away is no error
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        if self.server.record.tls is not None:  # the handshake belongs to this thread, not to the one that accepts
            self.request = self.server.record.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:  # the client went away with what was not yet sent
            self.close_connection = True
        finally:
            if self.server.record.tls is not None:  # the server closes only what it accepted
                self.request.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""

    def do_POST(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = self.path.partition("?")[0]
        raw = self.rfile.read(min(int(self.headers.get("content-length") or 0), _LONGEST_BODY))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode("utf-8", "replace")
        exchange = Exchange(time.time(), self.command, self.path, dict(self.headers.items()), body)
        dialect = dialect_of(path) if self.command == "POST" else None
        try:
            if dialect is None or not isinstance(body, dict):
                self._other(path, body, exchange)
            else:
                exchange.conversation = dialect.read(body, path)
                self._converse(dialect, exchange.conversation, exchange)
        except OSError:
            self.close_connection = True
            self._note(exchange, f"{exchange.answer} (the client went away)".strip())

    def _note(self, exchange: Exchange, answer: str) -> None:
        """Record an exchange before its last bytes leave: who has the answer finds the record."""
        first, exchange.answer = not exchange.answer, answer
        if first:
            self.server.record.add(exchange)

    def _other(self, path: str, body: Any, exchange: Exchange) -> None:
        counts = path.endswith(("/count_tokens", ":countTokens"))
        known = counts or self.command == "HEAD" or (path.endswith("/models") and self.command == "GET")
        self._note(exchange, "200" if known else "404")
        if counts:
            count = len(json.dumps(body)) // 4
            self._json(200, {"input_tokens": count, "totalTokens": count})
        elif self.command == "HEAD":
            self._json(200, None)
        elif known:
            self._json(200, {"object": "list", "data": [], "has_more": False, "models": []})
        else:
            self._json(404, {"type": "error", "error": {"type": "not_found_error", "message": path}})

    def _converse(self, dialect: Dialect, said: Conversation, exchange: Exchange) -> None:
        choice = self.server.record.script.choose(said)
        self.server.record.asked.append(said)
        exchange.scenario = choice.scenario
        fault = choice.fault or Fault()
        self._pause(fault.stall + choice.turn.delay)
        if fault.status is not None:
            self._note(exchange, f"fault {fault.status} {fault.type}")
            self._json(fault.status, dialect.error(fault.type, fault.message, fault.status), fault.headers)
            return
        answer = answer_of(choice.turn, said)
        if said.stream or fault.cut is not None:
            self._stream(dialect, answer, choice.turn, fault, exchange)
        else:
            self._note(exchange, "json")
            self._json(200, dialect.whole(answer))

    def _stream(self, dialect: Dialect, answer: Answer, turn: Turn, fault: Fault, exchange: Exchange) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for sent, event in enumerate(dialect.events(answer)):
            if fault.cut == sent:
                self._note(exchange, f"cut after {sent} events")
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if fault.sse_error is not None and sent == fault.after:
                self._note(exchange, f"error event after {sent} events")
                self._event(dialect.error(fault.sse_error, fault.message, 200), "error")
                self._chunk(b"")
                return
            self._event(event, event["type"] if dialect.named else "")
            self._pause(turn.pace)
        self._note(exchange, "stream")
        if dialect.end:
            self._chunk(dialect.end)
        self._chunk(b"")

    def _pause(self, seconds: float) -> None:
        if seconds:
            self.server.record.closing.wait(seconds)

    def _json(self, status: int, body: Json | None, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def _event(self, event: Json, name: str) -> None:
        head = f"event: {name}\n" if name else ""
        self._chunk(f"{head}data: {json.dumps(event)}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class ScriptedModel:
    """The scripted model as a context manager. It listens on loopback only; `url` is where.

    `log` is a file that gets a JSON line per exchange. With `tls` (a server's context) `url` begins with https.
    """

    def __init__(
        self, script: Json | list[Json], *, port: int = 0, log: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._record = _Record(Script(script), log, tls)
        self._server = _Server(("127.0.0.1", port), self._record)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Exchange]:
        """Every exchange whose answer is on its way or has gone, in that order."""
        with self._record.lock:
            return list(self._record.exchanges)

    @property
    def asked(self) -> list[Conversation]:
        """Every request for something, as soon as it came, also while its answer stalls."""
        return list(self._record.asked)

    @property
    def turns(self) -> list[Exchange]:
        """The exchanges that asked the model for something."""
        return [exchange for exchange in self.requests if exchange.conversation]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
