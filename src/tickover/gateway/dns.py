"""The sandbox's name server: allowed names get a fake address, nothing is ever asked of anyone (RFC 1035, RFC 6891).

A client that dials the fake address reaches the gateway's listener, which turns the address back into the name. So
names cannot carry data out, and an answer cannot be spoofed or rebound.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

TTL_S = 60
LARGEST_QUERY = 4096
LARGEST_ANSWER = 512

_HEADER = struct.Struct(">HHHHHH")
_A, _OPT, _ANY = 1, 41, 255
_IN = 1
_NO_ERROR, _FORMAT_ERROR, _SERVER_FAILURE, _NO_NAME, _NOT_IMPLEMENTED, _REFUSED = 0, 1, 2, 3, 4, 5
_BAD_VERSION = 16
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")

LookUp = Callable[[str], IPv4Address | None]


class Outcome(StrEnum):
    """What became of a query; `IGNORED` gets no answer at all."""

    ADDRESS = "address"
    EMPTY = "empty"
    NO_NAME = "no_name"
    FULL = "full"
    REFUSED = "refused"
    MALFORMED = "malformed"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Query:
    r"""A query with one question. `name` is lower case without the trailing dot; odd octets are escaped as `\ddd`."""

    id: int
    opcode: int
    recursion: bool
    name: str
    type: int
    klass: int
    question: bytes
    edns: int | None
    """The version of EDNS that the client speaks, if it does."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send back (`wire`, None for nothing) and what to write down."""

    wire: bytes | None
    outcome: Outcome
    name: str = ""
    type: int = 0


class MalformedError(ValueError):
    """The bytes are no query that a resolver would send."""


class FullError(LookupError):
    """A run has asked for more names than it may have."""


class FakeAddresses:
    """Name -> address from a range, and back. An address depends on the name alone, but for rare collisions."""

    def __init__(self, network: IPv4Network, *, most: int = 4096) -> None:
        if network.num_addresses < 2 * most + 2:
            raise ValueError(f"{network} is too small for {most} names")
        self._first = int(network.network_address) + 1
        self._size = network.num_addresses - 2
        self._most = most
        self._addresses: dict[str, IPv4Address] = {}
        self._names: dict[IPv4Address, str] = {}

    def address_of(self, name: str) -> IPv4Address:
        """Return the name's address, the same each time; raise FullError beyond `most` names."""
        if (known := self._addresses.get(name)) is not None:
            return known
        if len(self._addresses) >= self._most:
            raise FullError(name)
        place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % self._size
        while (address := IPv4Address(self._first + place)) in self._names or address.packed[3] in {0, 255}:
            place = (place + 1) % self._size
        self._addresses[name] = address
        self._names[address] = name
        return address

    def name_of(self, address: IPv4Address | str) -> str | None:
        return self._names.get(IPv4Address(address))


def parse_query(data: bytes) -> Query:
    """Read a query: one question in plain labels, at most an EDNS record, nothing else."""
    if not _HEADER.size <= len(data) <= LARGEST_QUERY:
        raise MalformedError("length")
    ident, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if (questions, answers, authorities) != (1, 0, 0) or additional > 1:
        raise MalformedError("counts")
    name, end = _read_name(data, _HEADER.size)
    if len(data) < end + 4:
        raise MalformedError("question")
    kind, klass = struct.unpack_from(">HH", data, end)
    end += 4
    question = data[_HEADER.size : end]
    edns = None
    if additional:
        edns, end = _read_edns(data, end)
    if end != len(data):
        raise MalformedError("trailing bytes")
    return Query(ident, flags >> 11 & 15, bool(flags & 0x0100), name, kind, klass, question, edns)


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    start = at
    while True:
        if at >= len(data):
            raise MalformedError("name")
        length = data[at]
        at += 1
        if length == 0:
            return ".".join(labels), at
        if length > 63 or at + length > len(data) or at + length - start > 254:  # a pointer has nowhere to point yet
            raise MalformedError("label")
        labels.append(_label(data[at : at + length]))
        at += length


def _label(octets: bytes) -> str:
    """Return a label such that no octet can pass for a dot between labels."""
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in octets.lower())


def _read_edns(data: bytes, at: int) -> tuple[int, int]:
    if len(data) < at + 11 or data[at] != 0:
        raise MalformedError("additional record")
    kind, _size, _code, version, _flags, length = struct.unpack_from(">HHBBHH", data, at + 1)
    if kind != _OPT:
        raise MalformedError("additional record")
    return version, at + 11 + length


def answer(data: bytes, look_up: LookUp) -> Reply:
    """Answer a query. `look_up` gives an allowed name's fake address, None for every other name."""
    if len(data) < _HEADER.size or data[2] & 0x80:  # no header, or itself an answer: answering could loop
        return Reply(None, Outcome.IGNORED)
    try:
        query = parse_query(data)
    except MalformedError:
        return Reply(_bare(data, _FORMAT_ERROR), Outcome.MALFORMED)
    if query.opcode:
        return Reply(_bare(data, _NOT_IMPLEMENTED), Outcome.REFUSED, query.name, query.type)
    if query.edns:
        return Reply(_write(query, _BAD_VERSION), Outcome.REFUSED, query.name, query.type)
    if query.klass != _IN:
        return Reply(_write(query, _REFUSED), Outcome.REFUSED, query.name, query.type)
    try:
        address = look_up(query.name)
    except FullError:
        return Reply(_write(query, _SERVER_FAILURE), Outcome.FULL, query.name, query.type)
    if address is None:
        return Reply(_write(query, _NO_NAME), Outcome.NO_NAME, query.name, query.type)
    if query.type not in {_A, _ANY}:
        return Reply(_write(query, _NO_ERROR), Outcome.EMPTY, query.name, query.type)
    return Reply(_write(query, _NO_ERROR, address), Outcome.ADDRESS, query.name, query.type)


def _bare(data: bytes, code: int) -> bytes:
    """Write an answer to what could not be read: its id, its opcode, an error."""
    ident, flags = struct.unpack_from(">HH", data)
    return _HEADER.pack(ident, 0x8000 | flags & 0x7900 | code, 0, 0, 0, 0)


def _write(query: Query, code: int, address: IPv4Address | None = None) -> bytes:
    flags = 0x8480 | (0x0100 if query.recursion else 0) | code & 15  # an answer, authoritative, recursion available
    edns = query.edns is not None
    wire = _HEADER.pack(query.id, flags, 1, 1 if address else 0, 0, 1 if edns else 0) + query.question
    if address:
        wire += struct.pack(">HHHIH", 0xC000 | _HEADER.size, _A, _IN, TTL_S, 4) + address.packed
    if edns:
        wire += struct.pack(">BHHBBHH", 0, _OPT, LARGEST_ANSWER, code >> 4, 0, 0, 0)
    return wire


def frame(message: bytes) -> bytes:
    """Put a message into the form it has on TCP: two octets of length first."""
    return struct.pack(">H", len(message)) + message


class Frames:
    """Messages out of a TCP stream that arrives in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each message as it is whole; raise MalformedError at one that no resolver would send."""
        self._held += data
        while len(self._held) >= 2:
            length = int.from_bytes(self._held[:2], "big")
            if not _HEADER.size <= length <= LARGEST_QUERY:
                raise MalformedError("length")
            if len(self._held) < 2 + length:
                return
            message = bytes(self._held[2 : 2 + length])
            del self._held[: 2 + length]
            yield message
