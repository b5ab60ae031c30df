"""Stand-ins on loopback for the two servers that a review needs: a git host (HTTPS) and a chat with an incoming webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tickover.gateway.certificates import RunAuthority

LARGEST = 1 << 20  # bytes of a body


class Double(ThreadingHTTPServer):
    """Keeps each request: path, the authorization it came with, and the JSON in it."""

    daemon_threads = True

    def __init__(self, status: int, answer: bytes) -> None:
        self.status, self.answer = status, answer
        self.seen: list[tuple[str, str, object]] = []
        self.heard = threading.Event()
        self.authority: RunAuthority | None = None
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    server: Double
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", "0")), LARGEST))
        self.server.seen.append((self.path, self.headers.get("authorization", ""), json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)
        self.server.heard.set()

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving(double: Double) -> Iterator[Double]:
    thread = threading.Thread(target=double.serve_forever, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        double.shutdown()
        double.server_close()


@contextmanager
def git_host(status: int) -> Iterator[Double]:
    """Take reviews, or refuse them. `authority` signed its certificate."""
    told = {"id": 1, "state": "COMMENTED"} if status == 200 else {"message": "Unprocessable Entity"}
    double = Double(status, json.dumps(told).encode())
    double.authority = RunAuthority("the double's own", now=datetime.now(UTC))
    context = double.authority.context("localhost")
    double.socket = context.wrap_socket(double.socket, server_side=True, do_handshake_on_connect=False)
    with serving(double):
        yield double


@contextmanager
def chat() -> Iterator[Double]:
    """Take messages as Slack's incoming webhooks do."""
    with serving(Double(200, b"ok")) as double:
        yield double
