from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.core.lookup import MISSING
from tickover.core.matcher import Fields, Matcher, MatcherError
from tickover.core.operator import OPERATORS

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=5))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("matcher", "yes", "no"),
    [
        ("a", ["a", ["b", "a"]], ["A", "ab", None, MISSING, ["b"], {"a": 1}]),
        (1, [1, 1.0, [2, 1]], [True, "1", 2, MISSING]),
        (True, [True], [1, "true", False, MISSING]),
        (None, [None], [MISSING, "", 0, False]),
        (["a", 2], ["a", 2, ["x", 2]], ["b", MISSING, True]),
        ({"is": "a"}, ["a"], ["b"]),
        ({"not_is": "a"}, ["b", MISSING, None], ["a", ["b", "a"]]),
        ({"in": [1, "x"]}, [1, "x"], [2]),
        ({"contains": "wip"}, ["a wip b", ["wip", "x"]], ["WIP", ["wip 2"], {"wip": 1}, 5, MISSING]),
        ({"contains": ["a", "b"]}, ["xb", ["a"]], ["x", ["x"]]),
        ({"contains": 3}, [[1, 3]], [3, "3", [True]]),
        ({"not_contains": "wip"}, [["x"], "x", MISSING], [["wip"]]),
        ({"starts_with": ["a", "b"]}, ["bc", ["x", "a"]], ["c", 5, MISSING]),
        ({"ends_with": "z"}, ["z", "az"], ["za"]),
        ({"matches": "v[0-9]+"}, ["v12"], ["av12", "v12b", "v12\n", 12, MISSING]),
        ({"search": "v[0-9]+"}, ["av12b", ["x", "v1"]], ["v", MISSING]),
        ({"matches": ["a", "b"]}, ["a", "b"], ["c"]),
        ({"matches": "(?i)é+"}, ["ÉÉ"], ["e"]),
        ({"glob": "release/*"}, ["release/1.0", "release/"], ["release/1/2", "release", "xrelease/1"]),
        ({"glob": "a/**"}, ["a/b/c", "a/\n"], ["a"]),
        ({"glob": ["?.md", "x+"]}, ["a.md", "x+"], ["ab.md", "/.md", "xx", "aXmd"]),
        ({"gt": 3}, [4, 3.5, [1, 9]], [3, "4", True, None, MISSING]),
        ({"gte": 1, "lt": 3}, [1, 2.9], [3, 0]),
        ({"lte": 0}, [0, -1], [1, False]),
        ({"not_gt": 3}, [3, "x", MISSING], [4]),
        ({"exists": True}, [None, 0, []], [MISSING]),
        ({"exists": False}, [MISSING], [None]),
        ({"not_exists": True}, [MISSING], [1]),
        ({"empty": True}, ["", [], {}, None, MISSING], [0, False, " ", [None]]),
        ({"empty": False}, ["x"], [""]),
        ({"has_all": ["a", 1]}, [["a", 1, 2]], [["a"], "a", {"a": 1}, MISSING]),
        ({"min_chars": 3}, ["abc", "  abc "], ["ab", "  a    ", ["abc"], 1234, MISSING]),
        ({"any": [{"gt": 5}, "x"]}, [6, "x"], [5, "y"]),
        ({"all": [{"gt": 5}, {"lt": 9}]}, [6], [5, 9]),
        ({"not": {"gt": 5}}, [5, "x", MISSING], [6]),
        ({"not": ["a", "b"]}, ["c"], ["a"]),
    ],
)
def test_what_each_operator_says(matcher: Any, yes: list[Any], no: list[Any]) -> None:
    parsed = Matcher(matcher)
    assert [value for value in yes if not parsed.matches(value)] == []
    assert [value for value in no if parsed.matches(value)] == []


@pytest.mark.parametrize(
    ("matcher", "message", "at"),
    [
        ({}, "an empty map asks nothing", ()),
        ([], "`in` takes a list of values, not an empty one", ()),
        ([[1]], "`in` takes a list of values, not an empty one", ()),
        ({"glbo": "x"}, "`glbo` is no operator; did you mean `glob`?", ("glbo",)),
        ({"channel": 1}, "`channel` is no operator; a field inside is written with a path, a.b", ("channel",)),
        ({"is": [1]}, "`is` takes one value: text, a number, true, false or null", ("is",)),
        ({"not_gt": "3"}, "`not_gt` takes a number", ("not_gt",)),
        ({"gt": True}, "`gt` takes a number", ("gt",)),
        ({"exists": 1}, "`exists` takes true or false", ("exists",)),
        ({"min_chars": -1}, "`min_chars` takes a whole number", ("min_chars",)),
        ({"matches": "("}, "`matches` takes a pattern of RE2's syntax: missing ): (", ("matches",)),
        (
            {"matches": "a{2000}"},
            "`matches` takes a pattern of RE2's syntax: invalid repetition size: {2000}",
            ("matches",),
        ),
        ({"search": r"(a)\1"}, r"`search` takes a pattern of RE2's syntax: invalid escape sequence: \1", ("search",)),
        ({"search": "x" * 1001}, "`search` takes text of at most 1000 characters, or a list of such", ("search",)),
        ({"any": []}, "`any` takes a list, not an empty one", ("any",)),
        ({"any": [{"gt": 1}, {"lt": "x"}]}, "`lt` takes a number", ("any", 1, "lt")),
        ({"not": {"x": 1}}, "`x` is no operator; a field inside is written with a path, a.b", ("not", "x")),
        ({1: 2}, "a key must be text", ()),
    ],
)
def test_what_is_no_matcher_and_where(matcher: Any, message: str, at: tuple[str | int, ...]) -> None:
    with pytest.raises(MatcherError) as caught:
        Matcher(matcher)
    assert (str(caught.value), caught.value.at) == (message, at)


def test_nesting_has_a_bottom() -> None:
    deep: Any = {"is": 1}
    for _ in range(100_000):
        deep = {"not": deep}
    with pytest.raises(MatcherError, match="nested deeper"):
        Matcher(deep)


DOCUMENT = {"action": "opened", "pr": {"number": 7, "labels": [{"name": "bug"}, {"name": "wip"}]}, "draft": False}


@pytest.mark.parametrize(
    ("fields", "ok"),
    [
        ({"action": "opened"}, True),
        ({"$.action": "opened", "pr.number": {"gt": 5}}, True),
        ({"action": "opened", "pr.number": {"gt": 7}}, False),
        ({"pr.labels[].name": "wip"}, True),
        ({"pr.labels[].name": {"has_all": ["bug", "wip"]}}, True),
        ({"pr.labels[1].name": "wip", "pr.labels[2].name": {"exists": False}}, True),
        ({'$["action"]': "opened"}, True),
        ({"gone.deeper": {"exists": False}}, True),
        ({"any": [{"action": "closed"}, {"draft": False}]}, True),
        ({"any": [{"action": "closed"}, {"draft": True}]}, False),
        ({"all": [{"action": "opened"}, {"draft": False}]}, True),
        ({"not": {"action": "opened", "draft": True}}, True),
        ({"not": {"action": "opened", "draft": False}}, False),
    ],
)
def test_fields_judge_a_document(fields: dict[str, Any], ok: bool) -> None:
    assert Fields(fields).matches(DOCUMENT) is ok


@pytest.mark.parametrize("fields", [{}, "x", [], {"a..b": 1}, {"a b": 1}, {"a[x]": 1}, {"": 1}, {"any": {"a": 1}}])
def test_what_are_no_fields(fields: Any) -> None:
    with pytest.raises(MatcherError):
        Fields(fields)


def test_an_explanation_has_every_clause_with_its_value() -> None:
    fields = Fields({"action": "closed", "any": [{"pr.number": {"gt": 9, "lt": 20}}, {"draft": False}], "gone": 1})
    assert [str(clause) for clause in fields.explain(DOCUMENT)] == [
        '✗ action is "closed": got "opened"',
        "✓ any",
        "  ✗ pr.number gt 9: got 7",
        "  ✓ pr.number lt 20: got 7",
        "  ✓ draft is false: got false",
        "✗ gone is 1: got nothing",
    ]


def test_a_hostile_value_is_cut_and_escaped_in_an_explanation() -> None:
    [clause] = Matcher("x").explain("\x1b[31m\u202e" + "a" * 1000)
    assert str(clause).isprintable()
    assert len(str(clause)) < 120


def test_equal_matchers_are_equal_and_a_boolean_is_no_number() -> None:
    assert Matcher({"gt": 1}) == Matcher({"gt": 1.0})
    assert Matcher(1) != Matcher(True)
    assert Matcher(1) != Fields({"a": 1})


@settings(deadline=None)
@given(st.sampled_from(sorted(OPERATORS)), JSON, st.one_of(JSON, st.just(MISSING)))
def test_not_is_exactly_the_opposite(name: str, operand: Any, value: Any) -> None:
    with contextlib.suppress(MatcherError):
        assert Matcher({name: operand}).matches(value) is not Matcher({f"not_{name}": operand}).matches(value)


NAMES = st.sampled_from([*OPERATORS, *(f"not_{name}" for name in OPERATORS), "any", "all", "not", "x"])
SOURCES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(SOURCES, JSON)
def test_any_definition_parses_or_is_refused_and_judges_any_json(source: Any, value: Any) -> None:
    with contextlib.suppress(MatcherError):
        matcher = Matcher(source)
        clauses = matcher.explain(value)
        assert clauses
        if len(clauses) == 1:
            assert clauses[0].ok is matcher.matches(value)


@pytest.mark.timeout(10)
def test_a_pattern_cannot_hang() -> None:
    assert not Matcher({"matches": "(a+)+b"}).matches("a" * 200_000)
    assert not Matcher({"search": "(x|x|x)*y$"}).matches("x" * 200_000)
    assert Matcher({"search": "a"}).matches("\ud800a")


@pytest.mark.parametrize(
    ("source", "document", "fits"),
    [
        ({"channel": "C0ENG"}, {"channel": "C0ENG"}, True),
        ({"channel": "C0ENG"}, {"channel": ["C0ENG"]}, True),
        ({"channel": "C0ENG"}, {"channel": ["C0ENG", "C0EVIL"]}, False),
        ({"channel": "C0ENG"}, {"channel": []}, False),
        ({"channel": ["C0ENG", "C0OPS"]}, {"channel": ["C0OPS", "C0ENG"]}, True),
        ({"channel": {"starts_with": "C0"}}, {"channel": ["C0ENG", "D1"]}, False),
        ({"channel": {"not_is": "C0EVIL"}}, {"channel": ["C0ENG", "C0EVIL"]}, False),
        ({"not": {"channel": "C0EVIL"}}, {"channel": ["C0ENG", "C0EVIL"]}, False),
        ({"not": {"channel": "C0EVIL"}}, {"channel": ["C0ENG"]}, True),
        ({"not": {"not": {"channel": "C0ENG"}}}, {"channel": ["C0ENG", "C0EVIL"]}, False),
        ({"not": {"channel": {"not_is": "C0ENG"}}}, {"channel": ["C0ENG", "C0EVIL"]}, False),
        ({"messages[].to": "C0ENG"}, {"messages": [{"to": "C0ENG"}, {"to": "C0EVIL"}]}, False),
        ({"labels": {"contains": "bug"}}, {"labels": ["bug", "other"]}, True),
    ],
)
def test_throughout_one_element_that_fits_is_not_enough(source: Any, document: Any, fits: bool) -> None:
    fields = Fields(source)
    assert fields.matches(document, throughout=True) is fits
    assert fields.explain(document, throughout=True)[0].ok is fits


@given(SOURCES, JSON)
def test_throughout_permits_nothing_that_is_not_permitted_anyhow(source: Any, value: Any) -> None:
    with contextlib.suppress(MatcherError):
        matcher = Matcher(source)
        if not isinstance(value, list):
            assert matcher.matches(value, throughout=True) is matcher.matches(value)
