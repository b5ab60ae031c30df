"""What may differ between two requests that say the same, and what may not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tickover.core.sameness import difference, settled

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_nothing_differs_from_itself_however_it_is_written(value: JsonValue) -> None:
    assert difference(json.dumps(value).encode(), json.dumps(value, indent=1, sort_keys=True).encode()) is None


@given(JSON, JSON)
def test_a_difference_is_seen_from_both_sides(one: JsonValue, other: JsonValue) -> None:
    forth = difference(json.dumps(one).encode(), json.dumps(other).encode())
    back = difference(json.dumps(other).encode(), json.dumps(one).encode())
    assert (forth is None) is (back is None)
    if forth is not None and back is not None:
        assert {forth.then, forth.now} == {back.then, back.now} or forth.at != back.at


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_bytes_break_it(one: bytes, other: bytes) -> None:
    difference(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("toolu_01AbCdEfGh", "toolu_99ZzYyXxWw"),
        ("at 2026-11-24T17:00:00Z", "at 2026-11-25T08:30:12.5+01:00"),
        ("Today's date is 2026-11-24", "Today's date is 2027-01-01"),
        ("Tue Nov 24 17:00:01 2026", "Wed Nov 25 09:10:11 2026"),
        ("[main 1a2b3c4] first", "[main 9f8e7d6] first"),
        ("Chunk ID: 079799 Wall time: 0.1 seconds", "Chunk ID: 1a2b3c Wall time: 0.2 seconds"),
        ("took 0.52s", "took 11.1s"),
        ("/tmp/tmpab12 is there", "/tmp/tmpzz99 is there"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ("at_01a20ed2-16af-7173-ba0f-0123456789ab", "at_01a20ed2-3386-7d30-93cc-ba9876543210"),
        ("1764000000", "1764000999"),
    ],
)
def test_what_varies_from_run_to_run_is_no_difference(one: str, other: str) -> None:
    assert settled(one) == settled(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("rm -r a", "rm -r b"), ("14 changes", "15 changes"), ("/workspace/a", "/workspace/b"), ("ok", ""), ("12", "13")],
)
def test_what_is_said_is_a_difference(one: str, other: str) -> None:
    assert settled(one) != settled(other)


def test_what_only_steers_a_cache_is_no_difference() -> None:
    one = {"messages": [{"content": "x", "cache_control": {"type": "ephemeral"}}], "metadata": {"user_id": "a"}}
    assert difference(json.dumps(one).encode(), b'{"messages": [{"content": "x"}]}') is None
    assert difference(b'{"max_tokens": 1}', b'{"max_tokens": 2}') is not None
    assert difference(b"[1]", b"[true]") is not None
