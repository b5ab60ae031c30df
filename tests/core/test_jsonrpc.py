"""JSON-RPC from outside: one reading, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.document import read_json
from tickover.core.jsonrpc import LARGEST, LARGEST_NUMBER, Answered, Asked, RpcError, read_message
from tickover.gateway.mcp.base import written

PLAIN = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}'

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS
    | st.integers(-LARGEST_NUMBER, LARGEST_NUMBER)
    | st.floats(-1e15, 1e15, allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def refused(data: bytes) -> str:
    with pytest.raises(RpcError) as caught:
        read_message(data)
    answer = caught.value.answer()
    assert set(answer) == {"jsonrpc", "id", "error"}
    json.dumps(answer, allow_nan=False)
    return caught.value.reason


def test_a_request_a_notification_an_answer() -> None:
    assert read_message(b'{"jsonrpc":"2.0","id":"a","method":"ping"}') == Asked("ping", {}, "a")
    assert read_message(b'{"jsonrpc":"2.0","method":"x/y","params":{"a":1}}') == Asked("x/y", {"a": 1})
    assert read_message(b'{"jsonrpc":"2.0","id":3,"result":[]}') == Answered(3, [])
    assert read_message(b'{"jsonrpc":"2.0","id":3,"error":{"code":1}}') == Answered(3, None, {"code": 1})


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ('{"name":"a","name":"b"}', "mcp_malformed"),
        ('{"name":"a","\\u006eame":"b"}', "mcp_malformed"),
        ('{"name":"a","Name":"b"}', "mcp_malformed"),
        ('{"name":"\\ud800"}', "mcp_malformed"),
        ('{"\\udc00":1}', "mcp_malformed"),
        ('{"a":NaN}', "mcp_malformed"),
        ('{"a":-Infinity}', "mcp_malformed"),
        ('{"a":1e999}', "mcp_malformed"),
        ('{"a":9007199254740993}', "mcp_malformed"),
        ('{"a":' + "9" * 5000 + "}", "mcp_malformed"),
        ('{"a":' + "[" * 200 + "]" * 200 + "}", "mcp_malformed"),
        ('{"a":' + "[" * 100_000 + "}", "mcp_malformed"),
        ("{} {}", "mcp_malformed"),
        ("[1]", "mcp_malformed"),
        ("null", "mcp_malformed"),
        ("{'a':1}", "mcp_malformed"),
        ('{"a":1,}', "mcp_malformed"),
        ('{"a":1}/**/', "mcp_malformed"),
        ('{"a":"\n"}', "mcp_malformed"),
        ('{"a":"' + "x" * LARGEST + '"}', "mcp_too_large"),
    ],
)
def test_what_is_read_in_two_ways_is_not_read(params: str, reason: str) -> None:
    assert refused((PLAIN % params).encode()) == reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"1",
        b'"x"',
        b"\xef\xbb\xbf" + PLAIN.encode() % b"{}",
        (PLAIN % "{}").encode("utf-16"),
        (PLAIN % "{}").encode("utf-32"),
        PLAIN.encode() % b'{"a":"\xff"}',
        PLAIN.encode() % b'{"a":"\xed\xa0\x80"}',
        PLAIN.encode() % b'{"a":"\xc0\xaf"}',
        b'{"jsonrpc":"1.0","id":1,"method":"a"}',
        b'{"jsonrpc":2.0,"id":1,"method":"a"}',
        b'{"id":1,"method":"a"}',
        b'{"jsonrpc":"2.0","id":null,"method":"a"}',
        b'{"jsonrpc":"2.0","id":1.0,"method":"a"}',
        b'{"jsonrpc":"2.0","id":true,"method":"a"}',
        b'{"jsonrpc":"2.0","id":[],"method":"a"}',
        b'{"jsonrpc":"2.0","id":1,"method":1}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call\\u0000"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/c\\u0430ll"}',
        b'{"jsonrpc":"2.0","id":1,"method":"a","Params":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"a","result":{}}',
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        b'{"jsonrpc":"2.0","result":{}}',
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    assert refused(data) == "mcp_malformed"


def test_a_batch_is_refused() -> None:
    assert refused(f"[{PLAIN % '{}'}]".encode()) == "mcp_batch"
    assert refused(b"[]") == "mcp_batch"


@given(params=st.dictionaries(TEXTS, VALUES, max_size=4), ascii_=st.booleans())
def test_what_is_read_is_what_is_written_anew(params: dict[str, Any], *, ascii_: bool) -> None:
    said = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "a", "params": params}, ensure_ascii=ascii_)
    try:
        read = read_message(said.encode())
    except RpcError:
        assert _folded_twice(params)
        return
    assert isinstance(read, Asked)
    again = written({"jsonrpc": "2.0", "id": 1, "method": "a", "params": read.params})
    assert again.isascii()
    assert b"\n" not in again
    assert read_json(again) == json.loads(said)
    assert read_message(again) == read


def _folded_twice(value: Any) -> bool:
    if isinstance(value, dict):
        folded = [key.casefold() for key in value]
        return len(set(folded)) < len(folded) or any(map(_folded_twice, value.values()))
    return isinstance(value, list) and any(map(_folded_twice, value))


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        read_message(data)
    except RpcError as error:
        written(error.answer())


@given(st.data())
def test_no_change_of_a_good_message_is_taken_for_another(data: st.DataObject) -> None:
    """Whatever one byte becomes, what is read of it is what a second, lenient reader reads."""
    said = bytearray((PLAIN % '{"name":"create_issue","arguments":{"project":"ops","n":[1,2.5,"\\u00e9"]}}').encode())
    said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = read_message(bytes(said))
    except RpcError:
        return
    lenient = json.loads(bytes(said))
    if isinstance(read, Asked):
        assert (read.method, read.params) == (lenient["method"], lenient.get("params", {}))
