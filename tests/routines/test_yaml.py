from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.core.errors import TickoverError
from tickover.routines.yaml import MAX_BYTES, YamlError, decode, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("0123", 123),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("400_000", 400000),
        ("_1", "_1"),
        ("+7", 7),
        ("1.0", 1.0),
        ("1.", 1.0),
        ("-.5e3", -500.0),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ('"1"', "1"),
        ("'true'", "true"),
        ("[1, a]", [1, "a"]),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: object) -> None:
    data = parse(f"key: {text}\n", "f").data
    assert data == {"key": value}
    assert type(data["key"]) is type(value)


def test_every_key_and_entry_has_its_place() -> None:
    document = parse("a:\n  b: 1\n  c: [x, {d: 2}]\n", "f", first_line=5)
    assert document.marks[("a",)] == (5, 1)
    assert document.marks[("a", "b")] == (6, 3)
    assert document.marks[("a", "c", 1)] == (7, 10)
    assert document.marks[("a", "c", 1, "d")] == (7, 11)
    assert document.nearest(("a", "c", 1, "gone", "deeper")) == (7, 10)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "yaml.duplicate", 3, 1),
        ("a: {b: 1, b: 2}\n", "yaml.duplicate", 1, 11),
        ("a: &x 1\n", "yaml.anchor", 1, 4),
        ("a: *x\n", "yaml.alias", 1, 4),
        ("a: !!str 1\n", "yaml.tag", 1, 4),
        ("a: !!python/object:os.system 1\n", "yaml.tag", 1, 4),
        ("<<: {a: 1}\n", "yaml.merge", 1, 1),
        ("1: a\n", "yaml.key", 1, 1),
        ("true: a\n", "yaml.key", 1, 1),
        ("? [a]\n: b\n", "yaml.key", 1, 3),
        ("a: 1\n---\nb: 2\n", "yaml.documents", 2, 1),
        ("%YAML 1.1\n---\na: 1\n", "yaml.directive", 2, 1),
        ("a: .inf\n", "yaml.number", 1, 4),
        ("a: .nan\n", "yaml.number", 1, 4),
        ("a: 1e999\n", "yaml.number", 1, 4),
        ("a: 99999999999999999999\n", "yaml.number", 1, 4),
        (f"a: {'9' * 10000}\n", "yaml.number", 1, 4),
        ('a: "\\0"\n', "yaml.character", 1, 4),
        ('a: "\\ud800"\n', "yaml.character", 1, 4),
        ("a: [1\n", "yaml.syntax", 2, 1),
        ("a:\n\t- b\n", "yaml.syntax", 2, 1),
        ("[" * 100, "yaml.depth", 1, 34),
    ],
)
def test_what_is_not_read_is_an_error_with_its_place(text: str, code: str, line: int, column: int) -> None:
    with pytest.raises(YamlError) as caught:
        parse(text, "f.yaml")
    where = caught.value.where
    assert where is not None
    assert (caught.value.code, where.file, where.line, where.column) == (code, "f.yaml", line, column)


@pytest.mark.parametrize(
    ("raw", "code", "line", "column"),
    [
        (b"\xef\xbb\xbfa: 1", "yaml.bom", 1, 1),
        (b"a: 1\nb: \xff", "yaml.encoding", 2, 4),
        (b"a: 1\nbc\0", "yaml.nul", 2, 3),
        (b"a" * (MAX_BYTES + 1), "yaml.size", None, None),
    ],
)
def test_bytes_that_are_no_text(raw: bytes, code: str, line: int | None, column: int | None) -> None:
    with pytest.raises(YamlError) as caught:
        decode(raw, "f")
    where = caught.value.where
    assert where is not None
    assert (caught.value.code, where.line, where.column) == (code, line, column)


def test_line_ends_of_other_systems_are_read() -> None:
    assert parse(decode(b"a: 1\r\nb: |\r\n  x\r\n", "f"), "f").data == {"a": 1, "b": "x\n"}


@pytest.mark.parametrize(
    "unit",
    ["[", "{", "- ", "? ", "a: ", "!", "&", "*", "|", ">", '"', "'", "#", "%", "\t", " ", "\n", "a,", "{a", "[a: ", "-\n",
     "a: b\n", "\x85", "\u2028", "!<", '"\\', "? a\n: ", "{? a: ", "a: |9\n", "!!a ", "---\n", "...\n", "x" * 60 + ": "],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_a_quarter_of_a_mebibyte_of_anything_ends_soon(unit: str) -> None:
    text = (unit * MAX_BYTES)[:MAX_BYTES].encode()[:MAX_BYTES].decode("utf-8", "ignore")
    with contextlib.suppress(TickoverError):
        parse(text, "f")


YAMLISH = st.text(
    alphabet=st.sampled_from(list("ab01:-?[]{},&*!|>'\"%@`# \n\t~<.\\_\x00\x07\x85\u2028\ud7ff€\U0001f600")),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(YAMLISH)
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(TickoverError):
        parse(text, "f")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with contextlib.suppress(TickoverError):
        parse(decode(raw, "f"), "f")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("limits:\n\ttimeout: 3m\n", "indent with spaces"),
        ("limits:\n    timeout: 3m\n  memory: 1GiB\n", "the keys of one map begin in the same column"),
        ("description: a: b\n", "put text with `: ` in quotes, or indent less"),
    ],
)
def test_the_commonest_mistakes_are_said_in_plain_words(text: str, hint: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse(text, "ROUTINE.md")
    assert (caught.value.code, caught.value.hint) == ("yaml.syntax", hint)
