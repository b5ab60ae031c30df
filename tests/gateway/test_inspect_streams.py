"""Bodies of every kind pass as they come; upstreams that are dead, slow or wrong are told apart; peers may go away."""

from __future__ import annotations

import asyncio
import gzip
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.receipt import Delivery
from tickover.core.target import Target
from tickover.gateway.certificates import RunAuthority
from tickover.gateway.patience import Patience
from tickover.testing.inspected import DOUBLE, HOST, Site, egress_to, inspected
from tickover.testing.upstream import Handler, Seen, Talk, Upstream, upstream

TOKEN = b"xoxb-1234567890-abcDEF"
SOON = Patience(head_s=1.0, body_s=1.0, idle_s=1.0, answer_s=1.0, linger_s=0.2)


def open_to(double: Upstream, *, secret: bool = False) -> Egress:
    """Let it read, and POST to /up."""
    powers = Powers((Rule("may[0]", Target.parse(f"POST https://{HOST}:{double.port}/up")),))
    return egress_to(
        HOST, double.port, powers=powers, credentials={"key": CredentialForm()} if secret else {}
    )  # fmt: skip


VALUES = {"key": TOKEN}


@pytest.mark.parametrize("secret", [False, True])
async def test_events_of_a_stream_pass_one_by_one(secret: bool) -> None:
    seen_by_client = asyncio.Event()

    async def events(seen: Seen, talk: Talk) -> None:
        await talk.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(5):
            await talk.write(b"f\r\ndata: event %d\n\n\r\n" % number)
            await seen_by_client.wait()  # the next one is sent only once this one has arrived
            seen_by_client.clear()
        await talk.write(b"0\r\n\r\n")

    async with (
        upstream(HOST, events, authority=DOUBLE) as double,
        inspected(open_to(double, secret=secret), double.port, values=VALUES) as site,
        site.client() as client,
        client.stream("GET", "/events") as answer,
        asyncio.timeout(60),
    ):
        found = []
        async for piece in answer.aiter_raw():
            found.append(piece)
            seen_by_client.set()
    assert found == [b"data: event %d\n\n" % number for number in range(5)]


ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello"),
    "chunked": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n", 200, b"hello"),
    "trailers": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n",
        200,
        b"hello",
    ),
    "interim": (
        b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        200,
        b"hello",
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified": (b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\ncontent-length: 5\r\n\r\n', 304, b""),
    "redirect": (b"HTTP/1.1 302 Found\r\nlocation: https://evil.test/\r\ncontent-length: 0\r\n\r\n", 302, b""),
    "1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello"),
    "error": (b"HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\nhello", 500, b"hello"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_answers_of_each_framing(name: str) -> None:
    said, status, body = ANSWERS[name]

    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.write(said)
        if b"HTTP/1.0" in said:
            talk.writer.close()

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double), double.port) as site,
        site.client() as client,
    ):
        for count in (1, 2):
            answer = await client.get("/x")
            assert (answer.status_code, answer.content) == (status, body)
            receipts = await site.ledger.ended(count)
            assert receipts[-1].ended
            assert (receipts[-1].ended.status, receipts[-1].ended.delivery) == (status, Delivery.ANSWERED)
    assert len(double.seen) == 2
    assert double.connections == (2 if name == "1.0" else 1)


async def test_head_keeps_the_length_that_get_would_have() -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4711\r\n\r\n")

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double), double.port) as site,
        site.client() as client,
    ):
        answer = await client.head("/x")
        assert (answer.headers["content-length"], answer.content) == ("4711", b"")


async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.write(ANSWERS["chunked"][0])

    async with upstream(HOST, handler, authority=DOUBLE) as double, inspected(open_to(double), double.port) as site:
        said = await site.say(f"GET /x HTTP/1.0\r\nhost: {HOST}:{double.port}\r\n\r\n".encode())
    assert said == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"


async def test_uploads_stream_and_expect_is_answered(tmp_path: Path) -> None:
    body = os.urandom(3_000_000)
    (tmp_path / "body").write_bytes(body)
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(open_to(double), double.port) as site,
    ):
        (tmp_path / "ca.pem").write_bytes(site.authority.pem)
        for extra in ([], ["-H", "Transfer-Encoding: chunked"]):
            process = await asyncio.create_subprocess_exec(
                "curl", "-q", "-sS", "--max-time", "60", "--cacert", str(tmp_path / "ca.pem"), "--noproxy", "",
                "-x", f"http://127.0.0.1:{site.proxy}", "-H", "Expect: 100-continue", *extra,
                "--data-binary", f"@{tmp_path / 'body'}", f"{site.url}/up", stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert (process.returncode, out) == (0, b'{"ok":true}')
        receipts = await site.ledger.ended(2)
    assert double.bodies() == [body, body]
    assert [each.ended.request_bytes for each in receipts if each.ended] == [len(body)] * 2


async def test_an_answer_before_the_body_was_sent_is_passed_on() -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(b"too large", status="413 Content Too Large")
        talk.writer.close()

    async with (
        upstream(HOST, handler, authority=DOUBLE, read_bodies=False) as double,
        inspected(open_to(double), double.port) as site,
    ):
        reader, writer = await site.raw()
        writer.write(f"POST /up HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1000000\r\n\r\n".encode() + bytes(5000))
        async with asyncio.timeout(30):
            said = await reader.read()
        writer.close()
        (receipt,) = await site.ledger.ended()
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b"too large")
    assert receipt.ended
    assert receipt.ended.status == 413


async def test_connections_and_tls_sessions_are_used_again_and_a_stale_one_costs_a_read_nothing() -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(b"ok")
        if seen.target == "/last":
            await talk.reader.read(1)  # so that the end comes while the next request is on its way
            talk.writer.transport.abort()

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double), double.port) as site,
        site.client() as client,
    ):
        for path in ("/1", "/2", "/last", "/3"):
            assert (await client.get(path)).text == "ok"
    assert [each.connection for each in double.seen] == [1, 1, 1, 2]
    assert [each.resumed for each in double.seen] == [False, False, False, True]


async def test_a_write_is_never_sent_twice() -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        if seen.method == "GET":
            await talk.answer(b"ok")
        else:
            talk.writer.transport.abort()

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double), double.port) as site,
        site.client() as client,
    ):
        await client.get("/1")
        answer = await client.post("/up", content=b"once")
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (502, "upstream_closed")
        receipts = await site.ledger.ended(2)
    assert [each.method for each in double.seen] == ["GET", "POST"]
    assert receipts[1].unknown
    assert site.counts["may[0]"] == 1


async def _never(seen: Seen, talk: Talk) -> None:
    await talk.reader.read()


async def _half(seen: Seen, talk: Talk) -> None:
    await talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    talk.writer.close()


async def _half_chunked(seen: Seen, talk: Talk) -> None:
    await talk.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    talk.writer.transport.abort()


async def _half_until_eof(seen: Seen, talk: Talk) -> None:
    await talk.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    talk.writer.transport.abort()


async def _stops(seen: Seen, talk: Talk) -> None:
    await talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    await talk.reader.read()


async def _rubbish(seen: Seen, talk: Talk) -> None:
    await talk.write(b"220 mail.example.com ESMTP\r\n")


async def _two_lengths(seen: Seen, talk: Talk) -> None:
    await talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")


async def _closes(seen: Seen, talk: Talk) -> None:
    talk.writer.close()


@pytest.mark.parametrize(
    ("handler", "status", "code"),
    [
        (_never, 504, "upstream_silent"),
        (_closes, 502, "upstream_closed"),
        (_rubbish, 502, "bad_status_line"),
        (_two_lengths, 502, "two_lengths"),
    ],
)
async def test_an_upstream_without_an_answer_is_told(handler: Handler, status: int, code: str) -> None:
    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double), double.port, patience=SOON) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (status, code)
        assert answer.json()["by"] == "tickover"
        (receipt,) = await site.ledger.ended()
    assert site.codes() == [code]
    assert receipt.unknown


@pytest.mark.parametrize("handler", [_half, _half_chunked, _half_until_eof, _stops])
async def test_half_an_answer_is_never_taken_for_a_whole_one(handler: Handler) -> None:
    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double), double.port, patience=SOON) as site,
    ):
        said = await site.say(f"GET /x HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
        (receipt,) = await site.ledger.ended()
    assert not said.endswith(b"0\r\n\r\n")
    assert receipt.ended
    assert (receipt.ended.delivery, receipt.ended.status) == (Delivery.CUT, 200)
    assert receipt.ended.why


@pytest.mark.parametrize(("authority", "name"), [(RunAuthority("x", now=DOUBLE._from), HOST), (DOUBLE, "evil.test")])
async def test_an_upstream_with_a_wrong_certificate_gets_nothing(authority: RunAuthority, name: str) -> None:
    async with (
        upstream(name, authority=authority) as double,
        inspected(open_to(double, secret=True), double.port, values=VALUES) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (502, "tls_certificate")
    assert not double.raw


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"GET /x HTTP/1.1\r\nhost: api.exam", "slow_head"),
        (b"POST /up HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 10\r\n\r\nhalf", "slow_body"),
        (
            b"POST /up HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n",
            "slow_body",
        ),
    ],
)
async def test_slow_clients_are_told_and_let_go(said: bytes, code: str) -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(open_to(double), double.port, patience=SOON) as site,
    ):
        answer = await site.say(said)
        assert f"x-tickover-deny: {code}".encode() in answer
    assert not double.seen
    assert site.codes() == [code]


async def test_a_client_that_goes_away_ends_the_call() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handler(seen: Seen, talk: Talk) -> None:
        asked.set()
        try:
            await talk.reader.read()
        finally:
            gone.set()

    async with upstream(HOST, handler, authority=DOUBLE) as double, inspected(open_to(double), double.port) as site:
        _, writer = await site.raw()
        writer.write(f"GET /x HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
        async with asyncio.timeout(30):
            await asked.wait()
            writer.transport.abort()
            await gone.wait()
            (receipt,) = await site.ledger.ended()
    assert receipt.ended
    assert receipt.ended.delivery is Delivery.CUT
    assert not site.denials


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_coded_answer_is_read_where_a_secret_may_be_in_it(coding: str) -> None:
    plain = b"you said Bearer " + TOKEN + b" " * 100_000

    async def handler(seen: Seen, talk: Talk) -> None:
        body = gzip.compress(plain)
        await talk.answer(body, headers=(("content-encoding", coding),))

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double, secret=True), double.port, values=VALUES) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
        if coding == "gzip":
            assert answer.content == plain.replace(TOKEN, b"*" * len(TOKEN))
            assert "content-encoding" not in answer.headers
        else:
            assert answer.headers["x-tickover-deny"] == "content_coding"
    assert double.seen[0].header("accept-encoding") == "identity"


@pytest.mark.parametrize("cut", [1, 8, 100])
async def test_a_coded_answer_whose_end_is_missing_is_broken_off(cut: int) -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(gzip.compress(os.urandom(1000))[:-cut], headers=(("content-encoding", "gzip"),))

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double, secret=True), double.port, values=VALUES) as site,
    ):
        said = await site.say(f"GET /x HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
        (receipt,) = await site.ledger.ended()
    assert not said.endswith(b"0\r\n\r\n")
    assert receipt.ended
    assert receipt.ended.delivery is Delivery.CUT


async def test_a_coded_answer_passes_as_it_is_where_no_secret_is() -> None:
    coded = gzip.compress(b"hello")

    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(coded, headers=(("content-encoding", "gzip"),))

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(open_to(double), double.port) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
        assert (answer.text, answer.headers["content-encoding"]) == ("hello", "gzip")
    assert double.seen[0].header("accept-encoding") != "identity"


# Plain HTTP, and the proxy's absolute form.


def in_the_clear(egress: Egress) -> Egress:
    rules = tuple(replace(each, target=replace(each.target, scheme="http")) for each in egress.powers.rules)
    return replace(egress, powers=replace(egress.powers, rules=rules))


async def absolute(site: Site, method: str = "GET", scheme: str = "http") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.proxy)
    host = f"{HOST}:{site.port}"
    writer.write(f"{method} {scheme}://{host}/x?y=1 HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n".encode())
    async with asyncio.timeout(30):
        said = await reader.read()
    writer.close()
    return said


async def test_plain_http_goes_the_same_way() -> None:
    async with (
        upstream(HOST, authority=None) as double,
        inspected(in_the_clear(open_to(double)), double.port) as site,
    ):
        head = f"HTTP/1.1\r\nhost: {HOST}:{double.port}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        assert (await site.say(f"GET /x {head}".encode(), tls=False)).endswith(b'{"ok":true}')
        assert (await site.say(f"POST /up {head}".encode(), tls=False)).endswith(b'{"ok":true}')
        assert b"x-tickover-deny: no_rule" in await site.say(f"POST /other {head}".encode(), tls=False)
        assert (await absolute(site)).endswith(b'{"ok":true}')
        assert b"x-tickover-deny: no_rule" in await absolute(site, "POST")
        assert b"x-tickover-deny: bad_target" in await absolute(site, scheme="https")
        receipts = await site.ledger.ended(3)
    assert [each.begun.scheme for each in receipts] == ["http"] * 3
    assert [each.target for each in double.seen] == ["/x", "/up", "/x?y=1"]


async def test_a_credential_never_goes_in_the_clear() -> None:
    async with (
        upstream(HOST, authority=None) as double,
        inspected(open_to(double, secret=True), double.port, values=VALUES) as site,
    ):
        said = await site.say(f"GET /x HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode(), tls=False)
        assert b"x-tickover-deny: cleartext" in said
        assert b"x-tickover-deny: cleartext" in await absolute(site)
    assert not double.raw
