"""HTTP/1.1: what can be read in two ways is refused; what is read is the same however it was cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.gateway.fields import Fields
from tickover.gateway.framing import CHUNKED, EMPTY, NO_BODY, UNTIL_EOF, BodyWriter, Framing, Kind
from tickover.gateway.http1 import (
    Data,
    End,
    Event,
    Interim,
    Request,
    RequestReader,
    Response,
    ResponseReader,
    refusal_answer,
    request_head,
    response_head,
)
from tickover.gateway.refusal import Refusal
from tickover.gateway.target import Authority, Form

INSIDE: frozenset[Form] = frozenset({"origin", "asterisk"})
PROXY: frozenset[Form] = frozenset({"absolute", "authority"})
Reader = RequestReader | ResponseReader


def drain(reader: Reader) -> list[Event]:
    found = []
    while (event := reader.next_event()) is not None:
        found.append(event)
    return found


def read(stream: bytes, cuts: list[int] | None = None, *, reader: Reader | None = None) -> list[Event | str]:
    """Read one message in pieces; the events with the data joined, a refusal last as its reason."""
    reader = reader or RequestReader(INSIDE)
    found: list[Event | str] = []
    edges = [0, *sorted(cuts or []), len(stream)]
    try:
        for start, stop in pairwise(edges):
            if start < stop:
                reader.receive(stream[start:stop])
                found += drain(reader)
    except Refusal as refusal:
        found.append(refusal.reason)
    joined: list[Event | str] = []
    for event in found:
        if isinstance(event, Data) and joined and isinstance(joined[-1], Data):
            joined[-1] = Data(joined[-1].data + event.data)
        else:
            joined.append(event)
    return joined


def head(*lines: str, first: str = "GET / HTTP/1.1", host: str | None = "a.test") -> bytes:
    return "\r\n".join([first, *([f"Host: {host}"] if host is not None else []), *lines, "", ""]).encode("latin-1")


def request(*lines: str, first: str = "GET / HTTP/1.1", host: str | None = "a.test") -> Request:
    event = read(head(*lines, first=first, host=host))[0]
    assert isinstance(event, Request), event
    return event


SMUGGLED = {
    "CL and TE": (head("Content-Length: 4", "Transfer-Encoding: chunked"), "two_lengths"),
    "TE and CL": (head("Transfer-Encoding: chunked", "Content-Length: 4"), "two_lengths"),
    "two CLs": (head("Content-Length: 4", "Content-Length: 5"), "two_lengths"),
    "two equal CLs": (head("Content-Length: 4", "Content-Length: 4"), "two_lengths"),
    "CL list": (head("Content-Length: 4, 4"), "content_length"),
    "CL +4": (head("Content-Length: +4"), "content_length"),
    "CL -1": (head("Content-Length: -1"), "content_length"),
    "CL 0x4": (head("Content-Length: 0x4"), "content_length"),
    "CL 4_0": (head("Content-Length: 4_0"), "content_length"),
    "CL superscript": (head("Content-Length: \xb2"), "content_length"),
    "CL empty": (head("Content-Length:"), "content_length"),
    "CL endless": (head("Content-Length: " + "9" * 19), "content_length"),
    "TE gzip": (head("Transfer-Encoding: gzip, chunked"), "transfer_encoding"),
    "TE twice": (head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "transfer_encoding"),
    "TE chunked, identity": (head("Transfer-Encoding: chunked, identity"), "transfer_encoding"),
    "TE xchunked": (head("Transfer-Encoding: xchunked"), "transfer_encoding"),
    "TE quoted": (head('Transfer-Encoding: "chunked"'), "transfer_encoding"),
    "TE with a vertical tab": (head("Transfer-Encoding: \x0bchunked"), "bad_header"),
    "TE in HTTP/1.0": (head("Transfer-Encoding: chunked", first="POST / HTTP/1.0"), "transfer_encoding"),
    "TE_": (head("Transfer_Encoding: chunked"), "look_alike_header"),
    "CL_": (head("Content_Length: 4"), "look_alike_header"),
    "bare LF in the request line": (b"GET / HTTP/1.1\nHost: a.test\r\n\r\n", "bare_line_end"),
    "bare LF in a header": (head("X: a\nContent-Length: 4"), "bare_line_end"),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", "bare_line_end"),
    "bare CR": (head("X: a\rContent-Length: 4"), "bare_line_end"),
    "obs-fold": (head("X: a", " Content-Length: 4"), "folded_header"),
    "fold first": (b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", "folded_header"),
    "Host :": (head("Host : b.test", host=None), "bad_header"),
    "empty name": (head(": x"), "bad_header"),
    "no colon": (head("nonsense"), "bad_header"),
    "NUL in a name": (head("X\0: a"), "nul"),
    "NUL in a value": (head("X: a\0b"), "nul"),
    "DEL in a value": (head("X: a\x7fb"), "bad_header"),
    "no Host": (head(host=None), "no_host"),
    "no Host in 1.0": (head(host=None, first="GET / HTTP/1.0"), "no_host"),
    "two Hosts": (head("Host: a.test"), "two_hosts"),
    "Host with a path": (head(host="a.test/x"), "bad_host"),
    "Host with userinfo": (head(host="a@b.test"), "bad_host"),
    "empty Host": (head(host=""), "bad_host"),
    "absolute form inside": (head(first="GET http://b.test/ HTTP/1.1"), "absolute_here"),
    "absolute form to metadata": (head(first="GET http://169.254.169.254/ HTTP/1.1"), "bad_host"),
    "CONNECT inside": (head(first="CONNECT b.test:443 HTTP/1.1"), "connect_here"),
    "ftp": (head(first="GET ftp://b.test/ HTTP/1.1"), "bad_target"),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http_version"),
    "HTTP/0.9": (b"GET /\r\n", "bad_request_line"),
    "HTTP/1.2": (head(first="GET / HTTP/1.2"), "http_version"),
    "http/1.1": (head(first="GET / http/1.1"), "http_version"),
    "two spaces": (head(first="GET  / HTTP/1.1"), "bad_request_line"),
    "tab for a space": (head(first="GET\t/\tHTTP/1.1"), "bad_request_line"),
    "trailing space": (head(first="GET / HTTP/1.1 "), "bad_request_line"),
    "empty line first": (b"\r\nGET / HTTP/1.1\r\n", "bad_request_line"),
    "lower-case method": (head(first="get / HTTP/1.1"), "bad_method"),
    "TRACE": (head(first="TRACE / HTTP/1.1"), "bad_method"),
    "Connection lists a length": (head("Connection: content-length", "Content-Length: 4"), "bad_connection"),
    "Connection lists Host": (head("Connection: close, Host"), "bad_connection"),
    "websocket by POST": (
        head("Upgrade: websocket", "Connection: upgrade", first="POST / HTTP/1.1"),
        "bad_upgrade",
    ),
    "websocket with a body": (head("Upgrade: websocket", "Connection: upgrade", "Content-Length: 1"), "bad_upgrade"),
    "odd expectation": (head("Expect: 200-ok", "Content-Length: 1"), "expectation"),
    "long line": (b"GET /" + b"a" * 70_000, "large_head"),
    "300 KB of head": (head(*[f"X{n}: {'a' * 3000}" for n in range(100)]), "large_head"),
    "201 headers": (head(*[f"X{n}: a" for n in range(200)]), "many_headers"),
    "chunk size +4": (head("Transfer-Encoding: chunked") + b"+4\r\n", "bad_chunk"),
    "chunk size 0x4": (head("Transfer-Encoding: chunked") + b"0x4\r\n", "bad_chunk"),
    "chunk size empty": (head("Transfer-Encoding: chunked") + b"\r\n", "bad_chunk"),
    "chunk size with a space": (head("Transfer-Encoding: chunked") + b"4 \r\nabcd\r\n", "bad_chunk"),
    "chunk size endless": (head("Transfer-Encoding: chunked") + b"0" * 16 + b"\r\n", "bad_chunk"),
    "chunk extension with LF": (head("Transfer-Encoding: chunked") + b"4;a\nabcd\r\n", "bare_line_end"),
    "chunk extension endless": (head("Transfer-Encoding: chunked") + b"4;" + b"a" * 600, "bad_chunk"),
    "chunk with a bare LF": (head("Transfer-Encoding: chunked") + b"4\nabcd\r\n", "bare_line_end"),
}


@pytest.mark.parametrize(("stream", "reason"), SMUGGLED.values(), ids=SMUGGLED)
def test_smuggling_is_refused(stream: bytes, reason: str) -> None:
    for cuts in ([], list(range(1, min(len(stream), 3000)))):
        assert read(stream, cuts)[-1] == reason


@pytest.mark.parametrize(
    ("tail", "reason"),
    [(b"4\r\nabcde\r\n", "bad_chunk"), (b"4\r\nabcd\n", "bad_chunk"), (b"0\r\nX y\r\n\r\n", "bad_header")],
)
def test_a_broken_body_is_refused_after_its_good_part(tail: bytes, reason: str) -> None:
    found = read(head("Transfer-Encoding: chunked") + tail, [60])
    assert isinstance(found[0], Request)
    assert found[-1] == reason


def test_a_refusal_is_final() -> None:
    reader = RequestReader(INSIDE)
    reader.receive(b"PRI * HTTP/2.0\r\n\r\n")
    for _ in range(2):
        with pytest.raises(Refusal, match="http_version"):
            reader.next_event()
        reader.receive(head())
    assert not reader.idle


def test_bodies_with_a_length() -> None:
    found = read(head("Content-Length: 4") + b"abcd")
    assert found[1:] == [Data(b"abcd"), End()]
    assert read(head("Content-Length: 0"))[1:] == [End()]
    assert read(head())[1:] == [End()]


def test_chunks_lose_their_extensions_and_trailers() -> None:
    stream = head("Transfer-Encoding: Chunked") + b'3;a="b"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nHost: evil.test\r\n\r\n'
    found = read(stream)
    assert isinstance(found[0], Request)
    assert found[0].framing == CHUNKED
    assert found[1:] == [Data(b"abc0123456789"), End()]


def test_a_pipelined_request_waits_until_the_one_before_it_is_over() -> None:
    reader = RequestReader(INSIDE)
    reader.receive(head() + head(first="GET /2 HTTP/1.1"))
    assert [type(event) for event in drain(reader)] == [Request, End]
    assert reader.done
    assert not reader.idle
    reader.next_message()
    following = reader.next_event()
    assert isinstance(following, Request)
    assert following.target.path == "/2"


def test_only_between_messages_is_a_stream_idle() -> None:
    reader = RequestReader(INSIDE)
    assert reader.idle
    reader.receive(b"G")
    assert not reader.idle
    with pytest.raises(ValueError, match="not over"):
        reader.next_message()


@pytest.mark.parametrize(
    "stream", [b"GET", head()[:-2], head("Content-Length: 4") + b"abc", head("Transfer-Encoding: chunked") + b"4\r\nab"]
)
def test_an_early_end_is_an_error(stream: bytes) -> None:
    reader = RequestReader(INSIDE)
    reader.receive(stream)
    drain(reader)
    reader.receive(b"")
    with pytest.raises(Refusal, match="truncated"):
        drain(reader)


def test_an_end_between_messages_is_none() -> None:
    reader = RequestReader(INSIDE)
    reader.receive(b"")
    assert drain(reader) == []
    assert not reader.idle


def test_hop_by_hop_fields_do_not_pass() -> None:
    asked = request(
        "Connection: keep-alive, X-Private, Authorization", "X-Private: 1", "Authorization: Bearer mine",
        "Keep-Alive: 5", "Proxy-Authorization: x", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X",
        "Upgrade: h2c", "HTTP2-Settings: x", "Expect: 100-continue", "Accept: */*",
    )  # fmt: skip
    assert list(asked.fields) == [("Accept", "*/*")]
    assert asked.upgrade is None


@pytest.mark.parametrize(
    ("first", "lines", "kept"),
    [
        ("GET / HTTP/1.1", (), True),
        ("GET / HTTP/1.1", ("Connection: Close",), False),
        ("GET / HTTP/1.0", (), False),
        ("GET / HTTP/1.0", ("Connection: keep-alive",), False),
    ],
)
def test_keep_alive(first: str, lines: tuple[str, ...], kept: bool) -> None:
    assert request(*lines, first=first).keep_alive is kept


def test_a_websocket_and_an_expectation_are_seen() -> None:
    assert request("Connection: keep-alive, Upgrade", "Upgrade: WebSocket").upgrade == "websocket"
    assert request("Upgrade: websocket").upgrade is None
    assert request("Expect: 100-Continue", "Content-Length: 3").expects_continue
    assert not request("Expect: 100-continue").expects_continue


def test_a_proxy_reads_the_host_from_the_target() -> None:
    def proxied(*lines: str) -> Event | str:
        return read("\r\n".join([*lines, "", ""]).encode(), reader=RequestReader(PROXY))[-2 if "GET" in lines[0] else 0]

    asked = proxied("GET http://A.test/x HTTP/1.1", "Host: a.test:80")
    assert isinstance(asked, Request)
    assert (asked.host, asked.target.path) == (Authority("a.test"), "/x")
    for lines in (
        ("CONNECT a.test:443 HTTP/1.1", "Host: a.test:443"),
        ("CONNECT a.test:443 HTTP/1.1", "Host: a.test"),
        ("CONNECT a.test:443 HTTP/1.0",),
    ):
        asked = proxied(*lines)
        assert isinstance(asked, Request)
        assert asked.host == Authority("a.test", 443)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("CONNECT a.test:443 HTTP/1.1", "Host: b.test:443"), "host_mismatch"),
        (("GET http://a.test/ HTTP/1.1", "Host: b.test"), "host_mismatch"),
        (("GET http://a.test/ HTTP/1.1", "Host: a.test:8080"), "host_mismatch"),
        (("GET http://a.test/ HTTP/1.1",), "no_host"),
        (("CONNECT a.test:443 HTTP/1.1", "Host: a.test", "Content-Length: 4"), "connect_body"),
        (("CONNECT a.test:443 HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked"), "connect_body"),
        (("GET /x HTTP/1.1", "Host: a.test"), "origin_here"),
    ],
)
def test_a_proxy_refuses_contradictions(lines: tuple[str, ...], reason: str) -> None:
    assert read("\r\n".join([*lines, "", ""]).encode(), reader=RequestReader(PROXY))[-1] == reason


def answers(stream: bytes, method: str = "GET", upgrade: str | None = None) -> list[Event | str]:
    reader = ResponseReader()
    reader.expect(method, upgrade)
    return read(stream, reader=reader)


def response(*lines: str, first: str = "HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("method", "stream"),
    [
        ("HEAD", response("Content-Length: 5")),
        ("GET", response("Content-Length: 5", first="HTTP/1.1 304 Not Modified")),
        ("GET", response(first="HTTP/1.1 204 No Content")),
    ],
)
def test_answers_without_a_body(method: str, stream: bytes) -> None:
    found = answers(stream, method)
    assert isinstance(found[0], Response)
    assert found[0].keep_alive
    assert found[1:] == [End()]
    assert found[0].fields.all("content-length") == (("5",) if method == "HEAD" else ())


def test_interim_answers_come_before_the_real_one() -> None:
    found = answers(
        response(first="HTTP/1.1 100 Continue")
        + response(first="HTTP/1.1 103")
        + response("Content-Length: 1", body=b"x")
    )
    assert found[:2] == [Interim(100), Interim(103)]
    assert found[3:] == [Data(b"x"), End()]


def test_a_body_until_the_end_of_the_stream() -> None:
    reader = ResponseReader()
    reader.expect("GET")
    reader.receive(response(body=b"some"))
    asked, some = drain(reader)
    assert isinstance(asked, Response)
    assert (asked.framing, asked.keep_alive, some) == (UNTIL_EOF, False, Data(b"some"))
    reader.receive(b"")
    assert drain(reader) == [End()]


def test_a_switch_of_protocols_only_when_asked() -> None:
    stream = response("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: x", first="HTTP/1.1 101 Go")
    assert answers(stream)[-1] == "unasked_upgrade"
    reader = ResponseReader()
    reader.expect("GET", "websocket")
    reader.receive(stream + b"\x81\x01a")
    switched = reader.next_event()
    assert isinstance(switched, Response)
    assert switched.upgrade == "websocket"
    assert list(switched.fields) == [("Sec-WebSocket-Accept", "x")]
    assert reader.take_rest() == b"\x81\x01a"


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (response("Content-Length: 1", "Transfer-Encoding: chunked"), "two_lengths"),
        (response("Content-Length: 1", "Content-Length: 2"), "two_lengths"),
        (response("Transfer-Encoding: gzip"), "transfer_encoding"),
        (response("Transfer-Encoding: chunked", first="HTTP/1.0 200 OK"), "transfer_encoding"),
        (response(first="HTTP/2 200"), "bad_status_line"),
        (response(first="HTTP/1.1 2000 OK"), "bad_status_line"),
        (response(first="HTTP/1.1 999 OK"), "bad_status_line"),
        (b"<html>\r\n", "bad_status_line"),
        (b"HTTP/1.1 200 OK\nX: y\n\n", "bare_line_end"),
        (response("X: a", " folded"), "folded_header"),
        (response(first="HTTP/1.1 100 Go") * 17, "many_interim"),
    ],
)
def test_an_upstream_that_breaks_the_rules_is_a_bad_gateway(stream: bytes, reason: str) -> None:
    assert answers(stream)[-1] == reason
    reader = ResponseReader()
    reader.expect("GET")
    reader.receive(stream)
    with pytest.raises(Refusal) as caught:
        drain(reader)
    assert caught.value.status == 502


def test_an_answer_that_nobody_asked_for_is_not_given_to_the_next_request() -> None:
    reader = ResponseReader()
    reader.expect("GET")
    reader.receive(response("Content-Length: 0") + response("Content-Length: 0"))
    drain(reader)
    assert not reader.idle
    reader.next_message()
    with pytest.raises(Refusal, match="unasked_answer"):
        reader.next_event()


names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).map(lambda name: f"X-{name}")
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=20).map(
    lambda value: value.strip(" \t")
)
some_fields = st.lists(st.tuples(names, values), max_size=6).map(Fields)
pieces = st.lists(st.binary(min_size=1, max_size=50), max_size=5)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, Framing, Fields, bytes]:
    parts, fields = draw(pieces), draw(some_fields)
    body = b"".join(parts)
    framing = draw(st.sampled_from([CHUNKED, Framing(Kind.LENGTH, len(body))])) if body else EMPTY
    writer = BodyWriter(framing)
    written = b"".join(map(writer.data, parts)) + writer.end()
    return written, framing, fields, body


@given(messages(), st.sampled_from(["POST", "PUT", "GET"]), st.data())
def test_what_is_written_is_read_back_however_cut(
    message: tuple[bytes, Framing, Fields, bytes], method: str, data: st.DataObject
) -> None:
    written, framing, fields, body = message
    stream = request_head(method, "/p?q", "a.test:8443", fields, framing) + written
    found = read(stream, data.draw(st.lists(st.integers(1, len(stream)), max_size=12)))
    asked = found[0]
    assert isinstance(asked, Request)
    assert (asked.method, asked.target.path, asked.host) == (method, "/p?q", Authority("a.test", 8443))
    assert (asked.fields, asked.framing) == (fields, framing)
    assert found[1:] == ([Data(body), End()] if body else [End()])
    stream = response_head(200, fields, framing, keep_alive=True) + written
    reader = ResponseReader()
    reader.expect("GET")
    found = read(stream, data.draw(st.lists(st.integers(1, len(stream)), max_size=12)), reader=reader)
    answered = found[0]
    assert isinstance(answered, Response)
    assert (answered.fields, answered.framing, answered.keep_alive) == (fields, framing, True)
    assert reader.done


noise = st.lists(
    st.sampled_from([
        b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"Host: a.test\r\n", b"\r\n", b"\n", b"\r",
        b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\n", b"abc", b"0\r\n", b" ", b"\0", b"X: y\r\n",
        b"Connection: close\r\n",
    ]) | st.binary(max_size=6),
    max_size=14,
).map(b"".join)  # fmt: skip


@given(st.binary(max_size=200) | noise, st.data())
def test_any_bytes_are_read_alike_however_cut_and_raise_refusals_only(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    assert read(stream, cuts) == read(stream)
    reader = ResponseReader()
    reader.expect("GET")
    assert answers(stream) == read(stream, cuts, reader=reader)


@given(noise)
def test_what_was_accepted_is_accepted_again_when_written_anew(stream: bytes) -> None:
    found = read(stream)
    if found and isinstance(found[-1], End):
        asked = found[0]
        assert isinstance(asked, Request)
        writer = BodyWriter(asked.framing)
        again = request_head(asked.method, asked.target.path, asked.host.host, asked.fields, asked.framing)
        again += b"".join(writer.data(event.data) for event in found if isinstance(event, Data)) + writer.end()
        second = read(again)
        assert second[1:] == found[1:]


def test_bodies_pass_in_constant_memory() -> None:
    reader = RequestReader(INSIDE)
    reader.receive(head("Content-Length: 1000000000"))
    assert isinstance(reader.next_event(), Request)
    piece = bytes(65_536)
    for _ in range(200):
        reader.receive(piece)
        assert reader.next_event() == Data(piece)
        assert reader.next_event() is None
    assert reader.take_rest() == b""


@pytest.mark.parametrize("bad", [("X", "a\r\nY: b"), ("X", "a\0"), ("X ", "a"), ("", "a"), ("X", " a"), ("X", "a\n")])
def test_what_would_change_the_message_is_never_written(bad: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        request_head("GET", "/", "a.test", Fields([bad]))


@pytest.mark.parametrize(
    ("method", "path", "host"),
    [("GET", "/ x", "a.test"), ("GET", "/\r\n", "a.test"), ("G T", "/", "a.test"), ("GET", "/", "a b")],
)
def test_a_request_line_that_would_change_the_message_is_never_written(method: str, path: str, host: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        request_head(method, path, host, Fields())


def test_a_body_is_as_long_as_declared() -> None:
    with pytest.raises(ValueError, match="longer"):
        BodyWriter(Framing(Kind.LENGTH, 1)).data(b"ab")
    with pytest.raises(ValueError, match="longer"):
        BodyWriter(NO_BODY).data(b"a")
    with pytest.raises(ValueError, match="shorter"):
        BodyWriter(Framing(Kind.LENGTH, 1)).end()
    assert BodyWriter(CHUNKED).data(b"") == b""


def test_a_refusal_is_an_answer_that_can_be_read() -> None:
    wire = refusal_answer(Refusal(403, "not_listed", "x.test\r\nnot on the list \u2603"))
    found = answers(wire)
    assert isinstance(found[0], Response)
    assert (found[0].status, found[0].keep_alive) == (403, False)
    assert found[0].fields.all("x-tickover-deny") == ("not_listed",)
    assert isinstance(found[1], Data)
    assert b"not_listed" in found[1].data
    assert refusal_answer(Refusal(403, "x"), head_only=True).endswith(b"\r\n\r\n")
