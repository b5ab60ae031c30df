from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tickover.core.document import MAX_DEPTH, DocumentError, read_json

_SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(_SCALARS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(_JSON)
def test_what_json_writes_is_read(value: JsonValue) -> None:
    assert read_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "line 1, column 2"),
        (b"\xff", "not UTF-8"),
        (b"NaN", "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"1e999", "no JSON|too large"),
        (b'{"a": [1e999]}', "too large"),
        (b"9" * 10_000, "too long"),
        (b"[" * 100_000, "too deeply"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "too deeply"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "too deeply"),
    ],
)
def test_what_is_no_document_is_one_error(text: bytes, says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        read_json(text)


def test_the_deepest_document_that_is_read_can_be_written() -> None:
    deepest = read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert read_json(json.dumps(deepest)) == deepest
