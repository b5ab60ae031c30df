from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.lookup import MISSING, JsonPath, PathError, lookup

DOCUMENT = {"a": {"b": [1, {"c": None}]}, "x.y": 2, "$": 3, "list": [{"n": 1}, {}, {"n": 2}]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b[0]", 1),
        ("$.a.b[0]", 1),
        ("a.b[1].c", None),
        ("a.b[2]", MISSING),
        ("a.b.c", MISSING),
        ("a.b[0].c", MISSING),
        ("a[0]", MISSING),
        ("gone", MISSING),
        ('$["x.y"]', 2),
        ("$['x.y']", 2),
        ("list[].n", [1, 2]),
        ("a[].n", MISSING),
        ("$", DOCUMENT),
        ("a", DOCUMENT["a"]),
    ],
)
def test_a_path_leads_to_a_value_or_nowhere(path: str, value: Any) -> None:
    assert lookup(DOCUMENT, path) == value


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a b", "a[", "a[-1]", "a[b]", "a]", "a[0", "{{a}}", "a" * 501]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(PathError):
        JsonPath.parse(path)


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        path = JsonPath.parse(text)
    except PathError:
        return
    assert path.get({}) is MISSING or not path.parts
