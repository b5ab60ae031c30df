"""The client against a server on loopback that says what each test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator

import pytest

from tickover.checks.http_client import MAX_BODY, HttpUnreachable, get


class Server:
    """Answers each path with the bytes set for it, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.base = ""
        self.hangs = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            path = head.split()[1]
            if path == "/hang":
                await self.hangs.wait()
            writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
            await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server
        server.hangs.set()


def answer(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_page_comes_as_it_is(server: Server) -> None:
    server.answers["/a?x=1"] = answer(b"\xffhello", "201 Created", "ETag: abc", "Set-Cookie: secret=1")
    got = await get(f"{server.base}/a?x=1", timeout_s=10)
    assert (got.status, got.body, got.truncated) == (201, b"\xffhello", False)
    assert got.headers == {"etag": "abc"}
    assert server.requests[0].startswith("GET /a?x=1 HTTP/1.1\r\n")


async def test_what_the_server_says_of_its_clock_and_of_waiting(server: Server) -> None:
    dated = answer(b"", "429 Too Many Requests", "Date: Tue, 01 Jan 2999 00:00:00 GMT", "Retry-After: 30")
    server.answers = {"/dated": dated, "/odd": answer(b"", "200 OK", "Date: tomorrow")}
    got = await get(f"{server.base}/dated", timeout_s=20)
    assert got.ahead_s > 900 * 365 * 86400
    assert got.headers["retry-after"] == "30"
    assert (await get(f"{server.base}/odd", timeout_s=20)).ahead_s == 0


async def test_a_redirect_on_the_same_host_is_followed(server: Server) -> None:
    server.answers |= {"/a": answer(b"", "302 Found", "Location: /b"), "/b": answer(b"here")}
    got = await get(f"{server.base}/a", timeout_s=10)
    assert (got.status, got.body, got.url) == (200, b"here", f"{server.base}/b")


@pytest.mark.parametrize(
    "target", ["https://evil.test/", "//evil.test/", "http://127.0.0.1:1/", "http://localhost/", "file:///etc/passwd", "http://["]
)  # fmt: skip
async def test_a_redirect_elsewhere_is_the_answer(server: Server, target: str) -> None:
    server.answers["/a"] = answer(b"moved", "302 Found", f"Location: {target}")
    got = await get(f"{server.base}/a", timeout_s=10)
    assert (got.status, got.body, got.headers["location"]) == (302, b"moved", target)
    assert len(server.requests) == 1


async def test_redirects_end(server: Server) -> None:
    server.answers["/a"] = answer(b"", "301 Moved", "Location: /a")
    with pytest.raises(HttpUnreachable) as error:
        await get(f"{server.base}/a", timeout_s=10)
    assert error.value.code == "http.redirects"
    assert len(server.requests) == 6


async def test_a_body_is_bounded(server: Server) -> None:
    server.answers["/a"] = answer(b"x" * (MAX_BODY + 1))
    server.answers["/b"] = answer(b"x" * MAX_BODY)
    got = [await get(f"{server.base}{path}", timeout_s=10) for path in ("/a", "/b")]
    assert [(len(each.body), each.truncated) for each in got] == [(MAX_BODY, True), (MAX_BODY, False)]


async def test_a_body_that_unpacks_to_more_is_not_unpacked(server: Server) -> None:
    server.answers["/a"] = answer(gzip.compress(b"x" * 50_000_000), "200 OK", "Content-Encoding: gzip")
    with pytest.raises(HttpUnreachable) as error:
        await get(f"{server.base}/a", timeout_s=10)
    assert error.value.code == "http.compressed"


async def test_silence_has_an_end(server: Server) -> None:
    with pytest.raises(HttpUnreachable) as error:
        await get(f"{server.base}/hang", timeout_s=0.3)
    assert error.value.code == "http.timeout"


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b"SSH-2.0-OpenSSH\r\n\r\n"]
)
async def test_half_an_answer_is_none(server: Server, said: bytes) -> None:
    server.answers["/a"] = said
    with pytest.raises(HttpUnreachable) as error:
        await get(f"{server.base}/a", timeout_s=10)
    assert error.value.code == "http.unreachable"


async def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(HttpUnreachable) as error:
        await get("http://127.0.0.1:1/", timeout_s=10)
    assert error.value.code == "http.unreachable"
    assert "http://127.0.0.1:1/" in error.value.message


async def test_proxy_variables_are_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.answers["/a"] = answer(b"direct")
    assert (await get(f"{server.base}/a", timeout_s=10)).body == b"direct"
