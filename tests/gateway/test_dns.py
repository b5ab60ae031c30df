"""The name server: hostile queries get a short answer or none; names and addresses are a bijection."""

from __future__ import annotations

import socket
import struct
import threading
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.gateway.dns import FakeAddresses, Frames, FullError, MalformedError, Outcome, answer, frame, parse_query

RANGE = IPv4Network("127.64.0.0/10")
ADDRESS = IPv4Address("127.64.1.2")


def look_up(name: str) -> IPv4Address | None:
    return ADDRESS if name == "api.example.com" else None


def wire_name(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def query(
    name: str | bytes = "api.example.com",
    kind: int = 1,
    klass: int = 1,
    *,
    flags: int = 0x0100,
    questions: int = 1,
    additional: bytes = b"",
) -> bytes:
    encoded = name if isinstance(name, bytes) else wire_name(name)
    head = struct.pack(">HHHHHH", 0xBEEF, flags, questions, 0, 0, 1 if additional else 0)
    return head + encoded + struct.pack(">HH", kind, klass) + additional


def edns(version: int = 0, data: bytes = b"") -> bytes:
    return struct.pack(">BHHBBHH", 0, 41, 1232, 0, version, 0, len(data)) + data


def code(wire: bytes | None) -> int:
    assert wire is not None
    return wire[3] & 15


def test_an_allowed_name_has_its_fake_address() -> None:
    reply = answer(query(), look_up)
    assert reply.outcome is Outcome.ADDRESS
    assert reply.wire is not None
    assert reply.wire[:2] == b"\xbe\xef"
    assert reply.wire[-4:] == ADDRESS.packed
    assert struct.unpack_from(">HHHH", reply.wire, 4) == (1, 1, 0, 0)


def test_the_question_comes_back_as_spelled() -> None:
    """Resolvers that mix the case of a name (0x20) compare it with the answer's."""
    reply = answer(query("ApI.eXample.COM"), look_up)
    assert reply.name == "api.example.com"
    assert reply.wire is not None
    assert wire_name("ApI.eXample.COM") in reply.wire


@pytest.mark.parametrize("kind", [28, 65, 15, 16, 33])
def test_other_types_of_an_allowed_name_are_empty(kind: int) -> None:
    reply = answer(query(kind=kind), look_up)
    assert (reply.outcome, code(reply.wire)) == (Outcome.EMPTY, 0)
    assert reply.wire is not None
    assert struct.unpack_from(">H", reply.wire, 6) == (0,)


@pytest.mark.parametrize(
    "name", ["other.example.com", "example.com", "api.example.com.evil.test", "xapi.example.com", "", "4.3.2.1"]
)
def test_every_other_name_does_not_exist(name: str) -> None:
    reply = answer(query(name), look_up)
    assert (reply.outcome, code(reply.wire)) == (Outcome.NO_NAME, 3)


def test_a_dot_inside_a_label_is_no_border_of_labels() -> None:
    reply = answer(query(b"\x0fapi.example.com\0"), look_up)
    assert reply.outcome is Outcome.NO_NAME
    assert reply.name == "api\\046example\\046com"


def test_edns_is_answered_with_edns_and_its_future_versions_are_not_known() -> None:
    known = answer(query(additional=edns(data=b"\0\x0a\0\x02ab")), look_up)
    assert known.outcome is Outcome.ADDRESS
    assert known.wire is not None
    assert known.wire[-11:-8] == b"\0\0\x29"
    future = answer(query(additional=edns(1)), look_up)
    assert future.outcome is Outcome.REFUSED
    assert future.wire is not None
    assert future.wire[-6] == 1


MALFORMED = {
    "no question": query(questions=0),
    "two questions": query(questions=2),
    "pointer to itself": query(b"\xc0\x0c"),
    "pointer to the header": query(b"\x03api\xc0\x00"),
    "long label": query(b"\x40" + b"a" * 64 + b"\0"),
    "long name": query((b"\x3f" + b"a" * 63) * 4 + b"\0"),
    "name without an end": struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\x03api",
    "no type": struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\x03api\0\0",
    "trailing bytes": query() + b"x",
    "half an edns record": query(additional=edns()[:-1]),
    "edns with missing data": query(additional=edns(data=b"abcd")[:-1]),
    "another additional record": query(additional=b"\0" + struct.pack(">HHIH", 1, 1, 0, 4) + b"abcd"),
    "huge": query() + bytes(5000),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_query_is_told_so_with_its_id(data: bytes) -> None:
    reply = answer(data, look_up)
    assert (reply.outcome, code(reply.wire)) == (Outcome.MALFORMED, 1)
    assert reply.wire is not None
    assert reply.wire[:2] == data[:2]
    assert len(reply.wire) == 12


def test_a_name_of_255_octets_is_the_longest() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert parse_query(query(longest)).name == longest
    with pytest.raises(MalformedError):
        parse_query(query(longest + "b"))


@pytest.mark.parametrize("data", [b"", b"short", query(flags=0x8100)], ids=["nothing", "short", "an answer"])
def test_what_could_loop_gets_no_answer(data: bytes) -> None:
    assert answer(data, look_up).wire is None


def test_other_operations_and_classes_are_refused() -> None:
    assert code(answer(query(flags=0x2800), look_up).wire) == 4
    assert code(answer(query(klass=3), look_up).wire) == 5


@given(st.binary(max_size=600) | st.binary(max_size=80).map(lambda tail: query()[:14] + tail))
def test_no_bytes_break_the_server(data: bytes) -> None:
    reply = answer(data, look_up)
    if reply.wire is not None:
        assert len(reply.wire) <= 512
        assert reply.wire[:2] == data[:2]
        assert reply.wire[2] & 0x80


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="."), min_size=1, max_size=63), max_size=3))
def test_names_round_trip(labels: list[str]) -> None:
    asked = query(b"".join(bytes([len(each)]) + each.encode() for each in labels) + b"\0")
    assert parse_query(asked).name.count(".") == max(len(labels) - 1, 0)
    reply = answer(asked, lambda _: ADDRESS)
    assert reply.wire is not None
    assert asked[12:] in reply.wire


@given(st.sets(st.from_regex(r"[a-z]{1,12}\.test", fullmatch=True), max_size=60))
def test_addresses_are_one_to_one_and_stable(names: set[str]) -> None:
    addresses = FakeAddresses(IPv4Network("198.18.0.0/24"), most=100)
    given_out = {name: addresses.address_of(name) for name in sorted(names)}
    assert len(set(given_out.values())) == len(names)
    for name, address in given_out.items():
        assert addresses.address_of(name) == address
        assert addresses.name_of(address) == name
        assert address in IPv4Network("198.18.0.0/24")
        assert address.packed[3] not in {0, 255}


def test_an_address_does_not_depend_on_what_was_asked_before() -> None:
    one, other = FakeAddresses(RANGE), FakeAddresses(RANGE)
    other.address_of("elsewhere.test")
    assert one.address_of("api.example.com") == other.address_of("api.example.com")
    assert one.name_of("127.64.0.9") is None


def test_a_run_that_asks_for_endless_names_is_stopped() -> None:
    addresses = FakeAddresses(RANGE, most=2)
    addresses.address_of("a.test")
    addresses.address_of("b.test")
    assert addresses.address_of("a.test")
    with pytest.raises(FullError):
        addresses.address_of("c.test")
    reply = answer(query("c.test"), addresses.address_of)
    assert (reply.outcome, code(reply.wire)) == (Outcome.FULL, 2)


def test_a_range_has_room() -> None:
    with pytest.raises(ValueError, match="too small"):
        FakeAddresses(IPv4Network("198.18.0.0/24"))


@given(st.lists(st.sampled_from([query(), query("other.test"), query(kind=28)]), max_size=4), st.data())
def test_frames_of_tcp_arrive_whole_however_cut(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, messages))
    frames = Frames()
    found: list[bytes] = []
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        found += frames.feed(stream[:count])
        stream = stream[count:]
    assert found == messages


@pytest.mark.parametrize("head", [b"\0\0", b"\0\x0b", b"\x10\x01", b"\xff\xff"])
def test_a_frame_of_an_odd_length_is_refused_at_once(head: bytes) -> None:
    with pytest.raises(MalformedError):
        list(Frames().feed(head))


def test_a_round_trip_over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)

        def serve() -> None:
            data, peer = server.recvfrom(4096)
            wire = answer(data, look_up).wire
            assert wire is not None
            server.sendto(wire, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(60)
            client.sendto(query(), server.getsockname())
            assert client.recv(512).endswith(ADDRESS.packed)
        thread.join()
