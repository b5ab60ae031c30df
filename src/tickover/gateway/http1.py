"""HTTP/1.1 for a gateway that must not be smuggled through: read strictly, write anew from the parts (RFC 9110, 9112).

    reader.receive(bytes)            whatever arrived, in any pieces; b"" is the end of the stream
    reader.next_event()              Request | Interim | Response, then Data..., then End; None: more is needed
    reader.next_message()            after End, once the exchange is over: on to the next message

Nothing is read ahead of `End`: a pipelined request waits until the one before it is answered. A broken message
raises one Refusal, and the same again on each further call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus

from tickover.gateway import fields as _fields
from tickover.gateway.fields import Fields, parse_line
from tickover.gateway.framing import (
    LARGEST_CHUNK_LINE,
    NO_BODY,
    UNTIL_EOF,
    BodyWriter,
    Framing,
    Kind,
    chunk_size,
    declared,
)
from tickover.gateway.refusal import Refusal
from tickover.gateway.target import Authority, Form, RequestTarget, parse_authority, parse_target

LARGEST_HEAD = 65_536
LARGEST_TRAILERS = 8_192
MOST_INTERIM = 16
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_PATH = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?")
_WEBSOCKET = "websocket"

__all__ = [
    "BodyWriter", "Data", "End", "Event", "Framing", "Interim", "Kind", "Request", "RequestReader", "Response",
    "ResponseReader", "refusal_answer", "request_head", "response_head",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head. `fields` are only those that are forwarded; what the others said stands in the other parts."""

    method: str
    target: RequestTarget
    host: Authority
    fields: Fields
    framing: Framing
    version: tuple[int, int]
    keep_alive: bool
    upgrade: str | None = None
    expects_continue: bool = False
    proxy_authorization: str = field(default="", repr=False)
    """What it says to a proxy of its right to ask; never forwarded."""


@dataclass(frozen=True, slots=True)
class Interim:
    """A 1xx answer before the real one: a proxy may drop it."""

    status: int


@dataclass(frozen=True, slots=True)
class Response:
    """An answer's head. `upgrade` is set for a 101 that answers the upgrade that was asked for."""

    status: int
    fields: Fields
    framing: Framing
    version: tuple[int, int]
    keep_alive: bool
    upgrade: str | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """Some bytes of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The message is whole."""


Event = Request | Interim | Response | Data | End


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    CHUNK_LINE = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    END = auto()
    DONE = auto()


_BETWEEN_CHUNKS = (_State.CHUNK_END, _State.CHUNK_LINE, _State.TRAILERS)


class _Reader:
    """What requests and responses share: lines, fields, bodies."""

    _status: int
    """What a refusal answers: 400 for what the client sent, 502 for what the upstream did."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._searched = 0
        self._eof = False
        self._refusal: Refusal | None = None
        self._start()

    def _start(self) -> None:
        self._state = _State.HEAD
        self._first: str | None = None
        self._lines: list[tuple[str, str]] = []
        self._size = 0
        self._chunked = self._until_eof = False
        self._left = 0

    def receive(self, data: bytes) -> None:
        """Take in bytes; none at all says that the peer has closed its side."""
        self._eof = self._eof or not data
        self._held += data

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two messages with nothing of the next: only then it can be used again."""
        between = self._state is _State.DONE or (self._state is _State.HEAD and self._first is None)
        return between and not self._held and not self._eof and self._refusal is None

    @property
    def done(self) -> bool:
        return self._state is _State.DONE

    def next_message(self) -> None:
        """Go on to the next message. Only after `End`."""
        if self._state is not _State.DONE:
            raise ValueError("the message is not over")
        self._start()

    def take_rest(self) -> bytes:
        """Give up what arrived after the message: the first bytes of the protocol that was switched to."""
        rest = bytes(self._held)
        self._held.clear()
        self._searched = 0
        return rest

    def next_event(self) -> Event | None:
        """Return what comes next, None while more bytes are needed."""
        if self._refusal:
            raise self._refusal
        try:
            return self._next()
        except Refusal as refusal:
            self._refusal = refusal
            self._held.clear()
            raise

    def _next(self) -> Event | None:
        if self._state is _State.HEAD:
            return self._read_head()
        if self._state is _State.BODY and not self._until_eof and not self._left:
            self._state = _State.END
        while self._state in _BETWEEN_CHUNKS:
            if not self._between_chunks():
                self._check_eof()
                return None
        if self._state is _State.BODY:
            return self._read_body()
        if self._state is _State.END:
            self._state = _State.DONE
            return End()
        return None

    def _read_head(self) -> Event | None:
        while (line := self._line(LARGEST_HEAD, 431 if self._status == 400 else 502, "large_head")) is not None:
            if self._first is None:
                self._first = line
                self._read_first(line)
            elif line:
                self._lines.append(parse_line(line, self._status))
                if len(self._lines) > _fields.MOST_FIELDS:
                    raise Refusal(431 if self._status == 400 else 502, "many_headers", f"over {_fields.MOST_FIELDS}")
            else:
                return self._head(Fields(self._lines))
        if self._eof and (self._held or self._first is not None):
            raise Refusal(self._status, "truncated", "the head ends early")
        return None

    def _read_first(self, line: str) -> None:
        raise NotImplementedError

    def _head(self, fields: Fields) -> Event:
        raise NotImplementedError

    def _expect_body(self, framing: Framing) -> None:
        self._size = 0
        self._lines = []
        self._chunked = framing.kind is Kind.CHUNKED
        self._until_eof = framing.kind is Kind.UNTIL_EOF
        self._left = framing.length
        self._state = {Kind.NONE: _State.END, Kind.CHUNKED: _State.CHUNK_LINE}.get(framing.kind, _State.BODY)

    def _read_body(self) -> Event | None:
        if not self._held:
            if self._until_eof and self._eof:
                self._state = _State.END
                return self._next()
            self._check_eof()
            return None
        count = len(self._held) if self._until_eof else min(self._left, len(self._held))
        data = bytes(self._held) if count == len(self._held) else bytes(self._held[:count])
        del self._held[:count]
        if not self._until_eof:
            self._left -= count
            if not self._left and self._chunked:
                self._state = _State.CHUNK_END
        return Data(data)

    def _between_chunks(self) -> bool:
        """Read what stands between two chunks; False when more bytes are needed."""
        if self._state is _State.CHUNK_END:
            if self._held[:2] != b"\r\n"[: len(self._held)]:
                raise Refusal(self._status, "bad_chunk", "a chunk is longer than its size")
            if len(self._held) < 2:
                return False
            del self._held[:2]
            self._state = _State.CHUNK_LINE
        limit = LARGEST_TRAILERS if self._state is _State.TRAILERS else LARGEST_CHUNK_LINE
        line = self._line(limit, self._status, "bad_chunk")
        if line is None:
            return False
        if self._state is _State.CHUNK_LINE:
            self._size = 0
            self._left = chunk_size(line.encode("latin-1"), self._status)
            self._state = _State.BODY if self._left else _State.TRAILERS
        elif line:
            parse_line(line, self._status)  # and drop it: a trailer must not become a header
        else:
            self._state = _State.END
        return True

    def _check_eof(self) -> None:
        if self._eof:
            raise Refusal(self._status, "truncated", "the body ends early")

    def _line(self, limit: int, status: int, reason: str) -> str | None:
        """Take a line without its CRLF. `limit` bounds all lines since `_size` was zero."""
        end = self._held.find(b"\n", self._searched)
        whole = len(self._held) if end < 0 else end + 1
        if self._size + whole > limit:
            raise Refusal(status, reason, f"over {limit} bytes")
        if end < 0:
            self._searched = whole
            return None
        line = bytes(self._held[: end - 1]) if end else b""
        if not end or self._held[end - 1] != 0x0D or b"\r" in line:
            raise Refusal(self._status, "bare_line_end", "a line ends with CRLF, and nothing else does")
        if b"\0" in line:
            raise Refusal(self._status, "nul", "a NUL in the head")
        del self._held[: end + 1]
        self._searched = 0
        self._size += whole
        return line.decode("latin-1")


class RequestReader(_Reader):
    """Reads a client's requests. `forms` are those targets that make sense where the client is."""

    _status = 400

    def __init__(self, forms: frozenset[Form]) -> None:
        super().__init__()
        self._forms = forms

    def _read_first(self, line: str) -> None:
        parts = line.split(" ")
        if len(parts) != 3:
            raise Refusal(400, "bad_request_line", "a request line has method, target and version")
        method, target, version = parts
        if not _METHOD.fullmatch(method):
            raise Refusal(400, "bad_method", f"{method[:40]!r} is no method")
        if version not in {"HTTP/1.1", "HTTP/1.0"}:
            raise Refusal(505, "http_version", "HTTP/1.1 is spoken here")
        if method in {"TRACE", "TRACK"}:
            raise Refusal(405, "bad_method", f"{method} would echo what the gateway adds")
        self._method, self._target, self._version = method, parse_target(method, target), (1, int(version[-1]))
        if self._target.form not in self._forms:
            form = "connect" if method == "CONNECT" else self._target.form
            raise Refusal(400, f"{form}_here", "not a target for this place")

    def _head(self, fields: Fields) -> Event:
        method, target, version = self._method, self._target, self._version
        listed = fields.tokens("connection")
        if set(listed) & {"host", "content-length", "transfer-encoding"}:
            raise Refusal(400, "bad_connection", "Connection lists a field that frames the message")
        host = _host(target, fields, version)
        framing = declared(fields, version, 400) or NO_BODY
        if method == "CONNECT" and framing != NO_BODY:
            raise Refusal(400, "connect_body", "CONNECT has no body")
        upgrade = _upgrade(method, fields, version, framing)
        expects = _expects_continue(fields, version)
        keep_alive = version == (1, 1) and not {"close"} & {*listed, *fields.tokens("proxy-connection")}
        self._expect_body(framing)
        return Request(
            method, target, host, fields.end_to_end(), framing, version, keep_alive, upgrade,
            expects and framing != NO_BODY, ", ".join(fields.all("proxy-authorization")),
        )  # fmt: skip


def _host(target: RequestTarget, fields: Fields, version: tuple[int, int]) -> Authority:
    """Return whom the request is for; a Host header that says otherwise than the target is refused."""
    hosts = fields.all("host")
    if len(hosts) > 1:
        raise Refusal(400, "two_hosts", "more than one Host header")
    if not hosts:
        if version == (1, 0) and target.authority:
            return target.authority
        raise Refusal(400, "no_host", "there is no Host header")
    host = parse_authority(hosts[0])
    if target.authority is None:
        return host
    # Some clients leave the port out of CONNECT's Host header.
    default = target.default_port or target.authority.port or 0
    if host.at(default) != target.authority.at(default):
        raise Refusal(421, "host_mismatch", f"{host.host} is not {target.authority.host}")
    return target.authority


def _upgrade(method: str, fields: Fields, version: tuple[int, int], framing: Framing) -> str | None:
    """Return `websocket` if that is asked for; other upgrades may be ignored, and are (RFC 9110 section 7.8)."""
    asked = fields.tokens("upgrade")
    if _WEBSOCKET not in asked or "upgrade" not in fields.tokens("connection"):
        return None
    if asked != (_WEBSOCKET,) or method != "GET" or version != (1, 1) or framing != NO_BODY:
        raise Refusal(400, "bad_upgrade", "a websocket begins with a GET without a body")
    return _WEBSOCKET


def _expects_continue(fields: Fields, version: tuple[int, int]) -> bool:
    expected = fields.tokens("expect")
    if not expected or version != (1, 1):
        return False
    if expected != ("100-continue",):
        raise Refusal(417, "expectation", "100-continue is the only expectation")
    return True


class ResponseReader(_Reader):
    """Reads an upstream's answers. Say what was asked (`expect`) before each one."""

    _status = 502

    def __init__(self) -> None:
        super().__init__()
        self._method: str | None = None
        self._upgrade: str | None = None
        self._interim = 0

    def expect(self, method: str, upgrade: str | None = None) -> None:
        """Say which request the next answer answers."""
        self._method, self._upgrade = method, upgrade
        self._interim = 0

    def _read_first(self, line: str) -> None:
        if self._method is None:
            raise Refusal(502, "unasked_answer", "the upstream answers what nobody asked")
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise Refusal(502, "bad_status_line", f"{line[:40]!r} is no status line")
        self._version, self._code = (1, int(match[1])), int(match[2])

    def _head(self, fields: Fields) -> Event:
        version, status = self._version, self._code
        framing = declared(fields, version, 502)
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            return self._switch(fields, version)
        if status < 200:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise Refusal(502, "many_interim", f"over {MOST_INTERIM} interim answers")
            self._start()
            return Interim(status)
        if self._method == "HEAD" or status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            framing = NO_BODY
        framing = framing or UNTIL_EOF
        closes = version == (1, 0) or "close" in fields.tokens("connection") or framing.kind is Kind.UNTIL_EOF
        forwarded = fields.end_to_end().without("alt-svc")
        if self._method == "HEAD" and (length := fields.all("content-length")):
            forwarded = Fields((*forwarded, ("content-length", length[0])))
        self._method = None
        self._expect_body(framing)
        return Response(status, forwarded, framing, version, not closes)

    def _switch(self, fields: Fields, version: tuple[int, int]) -> Event:
        if self._upgrade is None or fields.tokens("upgrade") != (self._upgrade,):
            raise Refusal(502, "unasked_upgrade", "the upstream switches to what nobody asked for")
        self._method = None
        self._expect_body(NO_BODY)
        return Response(101, fields.end_to_end(), NO_BODY, version, keep_alive=False, upgrade=self._upgrade)


def request_head(
    method: str, path: str, host: str, fields: Fields, framing: Framing = NO_BODY, *, upgrade: str | None = None,
) -> bytes:  # fmt: skip
    """Write a request's head: `path` in origin form (`*` for OPTIONS), `host` with its port unless that is usual."""
    if not _METHOD.fullmatch(method) or not _PATH.fullmatch(path) or not _HOST.fullmatch(host):
        raise ValueError("the request line cannot be written")
    connection = [("connection", "upgrade"), ("upgrade", upgrade)] if upgrade else []
    lines = [("host", host), *fields, *framing.lines(), *connection]
    return _fields.write(f"{method} {path} HTTP/1.1", lines)


def response_head(
    status: int, fields: Fields, framing: Framing, *, keep_alive: bool, upgrade: str | None = None
) -> bytes:
    """Write an answer's head, with the standard's own phrase."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    connection = [("connection", "upgrade"), ("upgrade", upgrade)] if upgrade else []
    if not keep_alive and not upgrade:
        connection = [("connection", "close")]
    return _fields.write(f"HTTP/1.1 {status} {phrase}", [*fields, *framing.lines(), *connection])


def refusal_answer(refusal: Refusal, *, head_only: bool = False) -> bytes:
    """Write what a refused client reads: status, `x-tickover-deny: REASON`, a JSON body. The connection closes."""
    body = refusal.body()
    fields = Fields([("x-tickover-deny", refusal.reason), ("content-type", "application/json")])
    head = response_head(refusal.status, fields, Framing(Kind.LENGTH, len(body)), keep_alive=False)
    return head if head_only else head + body
