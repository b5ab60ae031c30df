"""The bytes of real clients: recorded from a socket while they run, read by our reader, one message at a time."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from tickover.gateway.fields import Fields
from tickover.gateway.framing import EMPTY, Framing, Kind
from tickover.gateway.http1 import Data, End, Request, RequestReader, response_head
from tickover.gateway.target import Authority

BODY = json.dumps({"text": "grün " * 50}).encode()


@dataclass
class Seen:
    """One recorded request."""

    request: Request
    body: bytes = b""


@dataclass
class Recorder:
    """A server on loopback that reads with our reader and answers each request with 200."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    failure: list[BaseException] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(60)
                    self._connection(connection)
        except OSError:
            return  # the listener was closed: the test is over
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self.failure.append(error)

    def _connection(self, connection: socket.socket) -> None:
        reader = RequestReader(frozenset({"origin", "asterisk", "absolute", "authority"}))
        while True:
            event = reader.next_event()
            if isinstance(event, Request):
                self.seen.append(Seen(event))
                if event.expects_continue:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif isinstance(event, Data):
                self.seen[-1].body += event.data
            elif isinstance(event, End):
                request = self.seen[-1].request
                head_only = request.method in {"HEAD", "CONNECT"}
                framing = EMPTY if head_only else Framing(Kind.LENGTH, 2)
                fields = Fields([("content-type", "text/plain")])
                head = response_head(200, fields, framing, keep_alive=request.keep_alive)
                connection.sendall(head if head_only else head + b"ok")
                if not request.keep_alive or request.method == "CONNECT":
                    return
                reader.next_message()
            else:
                data = connection.recv(7)  # small pieces: heads and chunks arrive cut
                if not data:
                    return
                reader.receive(data)


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recorder.port = listener.getsockname()[1]
        thread = threading.Thread(target=recorder.serve, args=(listener,), daemon=True)
        thread.start()
        yield recorder
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not recorder.failure


def curl(*arguments: str, data: bytes = b"") -> None:
    subprocess.run(
        ["curl", "-q", "-sS", "--max-time", "60", "--noproxy", "", *arguments],
        input=data,
        check=True,
        capture_output=True,
    )


def by_curl(port: int) -> None:
    to = f"http://api.example.com:{port}/v1/messages?beta=true"
    near = ("--resolve", f"api.example.com:{port}:127.0.0.1")
    curl(*near, to, to, "-X", "POST", "-H", "content-type: application/json", "--data-binary", "@-", data=BODY)


def by_curl_in_chunks(port: int) -> None:
    to = f"http://api.example.com:{port}/v1/messages?beta=true"
    near = ("--resolve", f"api.example.com:{port}:127.0.0.1")
    curl(*near, to, "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue", "--data-binary", "@-", data=BODY)


def by_http_client(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/messages?beta=true", BODY, {"Host": f"api.example.com:{port}"})
    assert connection.getresponse().read() == b"ok"
    pieces = iter([BODY[:10], BODY[10:]])
    connection.request(
        "POST", "/v1/messages?beta=true", pieces, {"Host": f"api.example.com:{port}"}, encode_chunked=True
    )
    assert connection.getresponse().read() == b"ok"
    connection.close()


def by_httpx(port: int) -> None:
    to = f"http://127.0.0.1:{port}/v1/messages?beta=true"
    with httpx.Client(trust_env=False, headers={"Host": f"api.example.com:{port}"}) as client:
        assert client.post(to, content=BODY).text == "ok"
        assert client.post(to, content=iter([BODY[:10], BODY[10:]])).text == "ok"


@pytest.mark.parametrize("drive", [by_curl, by_curl_in_chunks, by_http_client, by_httpx])
def test_posts_arrive_with_their_parts(drive: Callable[[int], None]) -> None:
    with recording() as recorder:
        drive(recorder.port)
    assert recorder.seen
    for seen in recorder.seen:
        assert seen.request.method == "POST"
        assert seen.request.target.path == "/v1/messages?beta=true"
        assert seen.request.host == Authority("api.example.com", recorder.port)
        assert seen.body == BODY
        assert not {"host", "content-length", "transfer-encoding", "expect", "connection"} & {
            name.lower() for name, _ in seen.request.fields
        }


def test_heads_and_downloads_share_a_connection() -> None:
    with recording() as recorder:
        to = f"http://api.example.com:{recorder.port}/"
        curl("--resolve", f"api.example.com:{recorder.port}:127.0.0.1", to, to)
        curl("--resolve", f"api.example.com:{recorder.port}:127.0.0.1", "-I", to)
    assert [seen.request.method for seen in recorder.seen] == ["GET", "GET", "HEAD"]


def test_a_websockets_first_words() -> None:
    with recording() as recorder:
        curl(
            "--resolve", f"api.example.com:{recorder.port}:127.0.0.1", "-H", "Connection: Upgrade", "-H",
            "Upgrade: websocket", "-H", "Sec-WebSocket-Key: x", "-H", "Sec-WebSocket-Version: 13",
            f"http://api.example.com:{recorder.port}/",
        )  # fmt: skip
    assert recorder.seen[0].request.upgrade == "websocket"


def test_clients_of_a_proxy_ask_in_the_forms_of_a_proxy() -> None:
    with recording() as recorder:
        proxy = f"http://127.0.0.1:{recorder.port}"
        curl("-x", proxy, "http://plain.example.com/x")
        with httpx.Client(trust_env=False, proxy=proxy) as client:
            assert client.get("http://plain.example.com/x").text == "ok"
        tunnel = http.client.HTTPConnection("127.0.0.1", recorder.port, timeout=60)
        tunnel.set_tunnel("api.example.com", 443)
        tunnel.connect()
        tunnel.close()
        subprocess.run(["curl", "-q", "-s", "-x", proxy, "--max-time", "60", "https://api.example.com/"], check=False)
    forms = [(seen.request.target.form, seen.request.host) for seen in recorder.seen]
    absolute = ("absolute", Authority("plain.example.com"))
    connect = ("authority", Authority("api.example.com", 443))
    assert forms == [absolute, absolute, connect, connect]
