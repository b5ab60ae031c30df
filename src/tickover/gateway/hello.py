"""A TLS client's first message, read without answering it: which name it asks for (RFC 8446 section 4.1.2, RFC 6066).

A tunnel passes bytes on unread, so the name in the hello is all that can be held against the name that was allowed.
A server may ask for a second hello (HelloRetryRequest), and some take the name from that one: `AnswerReader` tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST_HELLO = 16_384
_LARGEST_RECORD = 16_384
_HANDSHAKE, _CHANGE_CIPHER, _ALERT = 22, 20, 21
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_SERVER_NAME, _ALPN, _ECH = 0, 16, 0xFE0D
_NAME = re.compile(rb"[A-Za-z0-9_.-]{1,254}")
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

ACCESS_DENIED, INTERNAL_ERROR, UNRECOGNIZED_NAME = 49, 80, 112


def alert(description: int) -> bytes:
    """Return a fatal alert in the clear: what a client that is refused before its handshake is told."""
    return b"\x15\x03\x03\x00\x02\x02" + bytes([description])


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client asks for. `name` is lower case without a trailing dot; `ech` says that another may be hidden."""

    name: str | None
    alpn: tuple[bytes, ...]
    ech: bool


@dataclass(frozen=True, slots=True)
class NotTls:
    """No hello, or none that is passed on; the reason is stable."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers first; `retry` asks the client for another hello."""

    retry: bool


class _BadError(ValueError):
    """Carries the reason of a NotTls."""


class _Cursor:
    """Reads the vectors of the TLS presentation language."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise _BadError("malformed")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def vector(self, octets: int) -> _Cursor:
        return _Cursor(self.take(self.number(octets)))

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


class _FirstMessage:
    """The first handshake message of a stream, put together from its records."""

    def __init__(self, kind: int, *, skip_change_cipher: bool, ends_record: bool) -> None:
        self._kind = kind
        self._skip = skip_change_cipher
        self._ends_record = ends_record
        self._records = bytearray()
        self._message = bytearray()

    @property
    def rest(self) -> bytes:
        """What came after the message's last record."""
        return bytes(self._records)

    def feed(self, data: bytes) -> bytes | None:
        """Return the message's body, None while it is incomplete."""
        self._records += data
        while True:
            self._check_header()
            if len(self._records) < 5:
                return None
            end = 5 + int.from_bytes(self._records[3:5], "big")
            if len(self._records) < end:
                return None
            content = bytes(self._records[5:end])
            skipped = self._records[0] == _CHANGE_CIPHER
            del self._records[:end]
            if skipped:
                if content != b"\x01" or self._message:
                    raise _BadError("not_tls")
                self._skip = False
                continue
            self._message += content
            if (body := self._whole()) is not None:
                return body

    def _check_header(self) -> None:
        """Judge as much of a record's header as is there, so that what is no TLS never waits for more."""
        head = bytes(self._records[:5])
        if head and head[0] != _HANDSHAKE and not (self._skip and head[0] == _CHANGE_CIPHER):
            raise _BadError("alert" if head[0] == _ALERT else "not_tls")
        if len(head) > 1 and (head[1] != 3 or (len(head) > 2 and head[2] > 4)):
            raise _BadError("not_tls")
        if len(head) == 5 and not 0 < int.from_bytes(head[3:5], "big") <= _LARGEST_RECORD:
            raise _BadError("not_tls")

    def _whole(self) -> bytes | None:
        if self._message[0] != self._kind:
            raise _BadError("not_tls")
        if len(self._message) < 4:
            return None
        length = int.from_bytes(self._message[1:4], "big")
        if length > LARGEST_HELLO:
            raise _BadError("too_large")
        if len(self._message) < 4 + length:
            return None
        if self._ends_record and len(self._message) != 4 + length:
            raise _BadError("malformed")
        return bytes(self._message[4 : 4 + length])


class HelloReader:
    """Reads a client's hello from pieces. `again` reads the one after a server's HelloRetryRequest."""

    def __init__(self, *, again: bool = False) -> None:
        self._first = _FirstMessage(_CLIENT_HELLO, skip_change_cipher=again, ends_record=True)
        self.seen = bytearray()
        """All that was fed, for the TLS engine."""

    def split(self) -> tuple[bytes, bytes]:
        """Return the records of the hello, and what was fed after them: that may be a second hello."""
        rest = self._first.rest
        return bytes(self.seen[: len(self.seen) - len(rest)]), rest

    def feed(self, data: bytes) -> Hello | NotTls | None:
        """Return None while more is needed. What is refused stays refused: feed no more."""
        self.seen += data
        try:
            message = self._first.feed(data)
            return None if message is None else _read_hello(message)
        except _BadError as error:
            return NotTls(str(error))


class AnswerReader:
    """Reads whether a server asks for a second hello. An alert is an answer too."""

    def __init__(self) -> None:
        self._first = _FirstMessage(_SERVER_HELLO, skip_change_cipher=False, ends_record=False)

    def feed(self, data: bytes) -> Answer | NotTls | None:
        try:
            message = self._first.feed(data)
            if message is None:
                return None
            return Answer(retry=message[2:34] == _RETRY)
        except _BadError as error:
            return Answer(retry=False) if str(error) == "alert" else NotTls(str(error))


def _read_hello(message: bytes) -> Hello:
    hello = _Cursor(message)
    if hello.number(2) >> 8 != 3:
        raise _BadError("malformed")
    hello.take(32)
    session, ciphers, compressions = hello.vector(1).rest(), hello.vector(2).rest(), hello.vector(1).rest()
    if len(session) > 32 or not ciphers or len(ciphers) % 2 or not compressions:
        raise _BadError("malformed")
    extensions: dict[int, _Cursor] = {}
    if hello:
        listed = hello.vector(2)
        while listed:
            kind = listed.number(2)
            if kind in extensions:
                raise _BadError("malformed")
            extensions[kind] = listed.vector(2)
    if hello:
        raise _BadError("malformed")
    name = _read_name(extensions[_SERVER_NAME]) if _SERVER_NAME in extensions else None
    alpn = _read_alpn(extensions[_ALPN]) if _ALPN in extensions else ()
    return Hello(name, alpn, _ECH in extensions)


def _read_name(extension: _Cursor) -> str:
    names = extension.vector(2)
    if extension or not names or names.number(1) != 0:
        raise _BadError("bad_name")
    name = names.vector(2).rest()
    if names:
        raise _BadError("two_names")
    if not _NAME.fullmatch(name):
        raise _BadError("bad_name")
    return name.decode("ascii").lower().removesuffix(".")


def _read_alpn(extension: _Cursor) -> tuple[bytes, ...]:
    protocols = extension.vector(2)
    found = []
    while protocols:
        found.append(protocols.vector(1).rest())
    if extension or not found or not all(found):
        raise _BadError("malformed")
    return tuple(found)
