"""Reading a TLS hello: real ones in any pieces, hostile ones refused, never anything but the three answers."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.gateway.hello import Answer, AnswerReader, Hello, HelloReader, NotTls

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def vector(octets: int, data: bytes) -> bytes:
    return len(data).to_bytes(octets, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">H", kind) + vector(2, data)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


def hello(*extensions: bytes, trailing: bytes = b"", session: bytes = b"", ciphers: bytes = b"\x13\x01") -> bytes:
    body = b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, ciphers) + b"\x01\0"
    body += (vector(2, b"".join(extensions)) if extensions else b"") + trailing
    return b"\x01" + vector(3, body)


def records(message: bytes, size: int = 16384) -> bytes:
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


def read(stream: bytes) -> Hello | NotTls | None:
    return HelloReader().feed(stream)


def real_hello(name: str | None, alpn: list[str] | None = None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


SMALL = hello(extension(0x1A1A, b""), server_name(b"Api.Example.com"), extension(16, vector(2, b"\x02h2\x08http/1.1")))


def test_a_real_client_says_its_name() -> None:
    assert read(real_hello("api.example.com", ["h2", "http/1.1"])) == Hello(
        "api.example.com", (b"h2", b"http/1.1"), ech=False
    )
    assert read(real_hello(None)) == Hello(None, (), ech=False)


@given(st.integers(1, 40), st.integers(1, 60))
def test_any_pieces_and_any_records_say_the_same(record: int, piece: int) -> None:
    stream = records(SMALL, record)
    reader = HelloReader()
    answers = [reader.feed(stream[at : at + piece]) for at in range(0, len(stream), piece)]
    assert answers[:-1] == [None] * (len(answers) - 1)
    assert answers[-1] == Hello("api.example.com", (b"h2", b"http/1.1"), ech=False)
    assert bytes(reader.seen) == stream


def test_what_follows_in_records_of_its_own_is_kept_for_later() -> None:
    stream = records(SMALL) + b"\x14\x03\x03\0\x01\x01"
    reader = HelloReader()
    assert isinstance(reader.feed(stream), Hello)
    assert bytes(reader.seen) == stream
    assert reader.split() == (records(SMALL), b"\x14\x03\x03\0\x01\x01")


def test_encrypted_hellos_are_seen() -> None:
    found = read(records(hello(server_name(b"public.test"), extension(0xFE0D, b"anything"))))
    assert found == Hello("public.test", (), ech=True)


def test_one_trailing_dot_is_the_same_host() -> None:
    assert read(records(hello(server_name(b"host.test.")))) == Hello("host.test", (), ech=False)


REFUSED = {
    "plain http": (b"GET / HTTP/1.1\r\n", "not_tls"),
    "ssh": (b"SSH-2.0-OpenSSH_9\r\n", "not_tls"),
    "one byte is enough": (b"G", "not_tls"),
    "sslv2": (b"\x80\x2e\x01\x03\x01", "not_tls"),
    "version": (b"\x16\x02", "not_tls"),
    "empty record": (b"\x16\x03\x01\0\0", "not_tls"),
    "huge record": (b"\x16\x03\x01\xff\xff", "not_tls"),
    "application data": (b"\x17\x03\x03\0\x01a", "not_tls"),
    "another handshake message": (records(b"\x10\0\0\0"), "not_tls"),
    "oversize": (records(b"\x01\x00\x40\x01"), "too_large"),
    "two names": (records(hello(server_name(b"a.test", b"b.test"))), "two_names"),
    "two name extensions": (records(hello(server_name(b"a.test"), server_name(b"b.test"))), "malformed"),
    "name of another kind": (records(hello(server_name(b"a.test", kind=1))), "bad_name"),
    "name with a NUL": (records(hello(server_name(b"a.test\0.evil.test"))), "bad_name"),
    "name with a port": (records(hello(server_name(b"a.test:443"))), "bad_name"),
    "raw unicode": (records(hello(server_name("bücher.test".encode()))), "bad_name"),
    "empty name": (records(hello(server_name(b""))), "bad_name"),
    "no names": (records(hello(server_name())), "bad_name"),
    "trailing bytes": (records(hello(server_name(b"a.test"), trailing=b"x")), "malformed"),
    "a second message in the record": (records(SMALL + SMALL), "malformed"),
    "empty alpn": (records(hello(extension(16, vector(2, b"")))), "malformed"),
    "empty protocol": (records(hello(extension(16, vector(2, b"\0")))), "malformed"),
    "extension too long": (records(hello(b"\0\0\0\xff")), "malformed"),
    "long session": (records(hello(session=bytes(33))), "malformed"),
    "odd ciphers": (records(hello(ciphers=b"\x13")), "malformed"),
    "half a body": (records(b"\x01" + vector(3, b"\x03\x03" + bytes(20))), "malformed"),
}


@pytest.mark.parametrize(("stream", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_plain_hello_is_refused_for_a_reason(stream: bytes, reason: str) -> None:
    assert read(stream) == NotTls(reason)


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: records(b"\x01" + vector(3, tail))))
def test_no_bytes_raise(stream: bytes) -> None:
    assert isinstance(read(stream), Hello | NotTls | None)


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(at: int, value: int) -> None:
    changed = bytearray(SMALL)
    changed[at] = value
    assert isinstance(read(records(bytes(changed))), Hello | NotTls | None)


def server_hello(random: bytes) -> bytes:
    return records(b"\x02" + vector(3, b"\x03\x03" + random + b"\0\x13\x01\0"))


@given(st.integers(1, 50))
def test_a_server_that_wants_another_hello_is_noticed(piece: int) -> None:
    for random, retry in ((RETRY, True), (bytes(32), False)):
        stream = server_hello(random)
        reader = AnswerReader()
        answers = [reader.feed(stream[at : at + piece]) for at in range(0, len(stream), piece)]
        assert answers[-1] == Answer(retry=retry)


def test_a_servers_other_first_words() -> None:
    assert AnswerReader().feed(b"\x15\x03\x03\0\x02\x02\x28") == Answer(retry=False)
    assert AnswerReader().feed(b"HTTP/1.1 400") == NotTls("not_tls")


def test_the_second_hello_may_follow_a_change_cipher_message_and_nothing_else() -> None:
    change = b"\x14\x03\x03\0\x01\x01"
    assert isinstance(HelloReader(again=True).feed(change + records(SMALL)), Hello)
    assert isinstance(HelloReader(again=True).feed(records(SMALL)), Hello)
    assert HelloReader(again=True).feed(change + change) == NotTls("not_tls")
    assert HelloReader(again=True).feed(b"\x17\x03\x03\0\x01a") == NotTls("not_tls")
    assert HelloReader().feed(change) == NotTls("not_tls")
