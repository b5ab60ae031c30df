"""A stand-in for a chat server, on loopback: it keeps the messages it is sent, and lists them.

    python3 slack_double.py [--port 8077] [--message TEXT ...]

Prints its address on one line and serves until it is ended, or until its standard input closes if --with-stdin is given.
GET /messages lists them as JSON; POST /messages {"channel": "#eng", "text": "..."} adds one.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGEST = 64 * 1024  # bytes of a message
MOST = 1000  # messages kept


class Double(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, messages: list[str]) -> None:
        self.messages: list[dict[str, str]] = [{"channel": "#eng", "text": text} for text in messages]
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Double
    timeout = 10

    def do_GET(self) -> None:
        if self.path != "/messages":
            self.answer(404, {"ok": False, "error": "not_found"})
        else:
            self.answer(200, {"ok": True, "messages": self.server.messages})

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if self.path != "/messages":
            self.answer(404, {"ok": False, "error": "not_found"})
        elif not length.isdecimal() or int(length) > LARGEST or len(self.server.messages) >= MOST:
            self.answer(413, {"ok": False, "error": "too_large"})
        else:
            self.keep(self.rfile.read(int(length)))

    def keep(self, body: bytes) -> None:
        try:
            said = json.loads(body)
            message = {"channel": str(said["channel"]), "text": str(said["text"])}
        except (ValueError, TypeError, KeyError):
            self.answer(400, {"ok": False, "error": "invalid_message"})
            return
        self.server.messages.append(message)
        self.answer(200, {"ok": True})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the double's output is its address."""


def main() -> None:
    options = argparse.ArgumentParser(description="A chat server that keeps what it is sent, on 127.0.0.1.")
    options.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    options.add_argument("--message", action="append", default=[], help="already there at the start")
    options.add_argument("--with-stdin", action="store_true", help="end when standard input closes")
    chosen = options.parse_args()
    with Double(chosen.port, chosen.message) as server:
        print(server.address, flush=True)
        if chosen.with_stdin:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            sys.stdin.read()
        else:
            server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
