"""kill -9 of a real ingest process under load: every delivery that was answered with 200 is there."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tickover.store.sqlite_events import SqliteEvents
from tickover.testing.ingest_server import SECRET

BODY = b'{"action":"opened","filler":"' + b"x" * 5000 + b'"}'
SIGNATURE = "sha256=" + hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()


@contextmanager
def ingest(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    argv = [sys.executable, "-m", "tickover.testing.ingest_server", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


class Senders:
    """Threads that send as fast as they can and remember each 200."""

    def __init__(self, port: int, count: int) -> None:
        self.answered: list[str] = []
        self._some = threading.Condition()
        self._threads = [threading.Thread(target=self._send, args=(port, name)) for name in range(count)]
        for thread in self._threads:
            thread.start()

    def _send(self, port: int, name: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        number = 0
        try:
            while True:
                delivery = f"{name}-{number}"
                headers = {"X-Hub-Signature-256": SIGNATURE, "X-GitHub-Event": "issues", "X-GitHub-Delivery": delivery}
                connection.request("POST", "/hooks/r/github", BODY, headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200
                with self._some:
                    self.answered.append(delivery)
                    self._some.notify()
                number += 1
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def wait_for(self, count: int) -> None:
        with self._some:
            assert self._some.wait_for(lambda: len(self.answered) >= count, 60)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)


@pytest.mark.parametrize("after", [1, 50, 400])
def test_every_200_is_there(tmp_path: Path, after: int) -> None:
    with ingest(tmp_path) as (process, port):
        senders = Senders(port, 8)
        senders.wait_for(after)
        process.send_signal(signal.SIGKILL)
        senders.join()
    events = SqliteEvents(str(tmp_path))
    stored = {record.delivery for record in events.list(limit=100_000)}
    events.close()
    assert len(senders.answered) >= after
    assert set(senders.answered) <= stored


def test_slow_senders_block_nobody(tmp_path: Path) -> None:
    import socket

    with ingest(tmp_path) as (_, port):
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        head = f"POST /hooks/r/github HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nX-Hub-Signature-256: {SIGNATURE}\r\n\r\n{{"
        for each in slow:
            each.sendall(head.encode())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"X-Hub-Signature-256": SIGNATURE, "X-GitHub-Event": "issues", "X-GitHub-Delivery": "d"}
        connection.request("POST", "/hooks/r/github", BODY, headers)
        assert connection.getresponse().status == 200
        connection.close()
        for each in slow:
            each.settimeout(60)
            assert b" 408 " in each.recv(1000)
            each.close()
