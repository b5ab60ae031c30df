from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.template import IN_CHECKS, TemplateError, plain_word, references, render, url_base, url_part

SCOPE: dict[str, Any] = {
    "inputs": {"week": "last week", "n": 3, "on": True, "my-input": "x"},
    "event": {"id": "ev_1", "items": [{"id": 7}], "title": "a; rm -rf /", "deep": {"a": 1}, "none": None},
    "run": {"id": "250101-120000-abc"},
    "state": {"last_commit": "0123abcd"},
}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("{{ inputs.week }}!", "last week!"),
        ("{{inputs.n}}-{{ inputs.on }}-{{inputs.my-input}}", "3-true-x"),
        ("{{ event.items[0].id }}", "7"),
        ("{{ state.last_commit }}..main", "0123abcd..main"),
        ("}} {single}", "}} {single}"),
    ],
)
def test_a_value_takes_its_place(text: str, rendered: str) -> None:
    assert render(text, SCOPE) == rendered


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{{ inputs.gone }}", "template.missing"),
        ("{{ event.none }}", "template.missing"),
        ("{{ event.deep }}", "template.no_scalar"),
        ("{{ inputs.week", "template.open"),
        ("{{ inputs.week | upper }}", "template.path"),
        ("{{ }}", "template.path"),
        ("{{ {{ inputs.week }} }}", "template.path"),
        ("{{ event.title }}", "template.unsafe"),
    ],
)
def test_anything_else_is_an_error(text: str, code: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(text, SCOPE)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text", ["{{ state.file }}", "{{ state }}", "{{ env.HOME }}", "{{ inputsx.a }}", "{{ state.last_commit_x }}"]
)
def test_only_the_allowed_roots(text: str) -> None:
    with pytest.raises(TemplateError, match=r"cannot be used here"):
        references(text, IN_CHECKS)


def test_the_references_of_a_text() -> None:
    text = "{{ inputs.week }} {{ event.items[0].id }} {{ run.id }} {{ state.last_commit }}"
    assert [str(path) for path in references(text, IN_CHECKS)] == [
        "inputs.week",
        "event.items[0].id",
        "run.id",
        "state.last_commit",
    ]


@given(st.text(alphabet="aZ09_.:/@=,-$`'\" \n~*;|&\\", max_size=12))
def test_a_plain_word_is_one_word_to_a_shell_wherever_it_stands(value: str) -> None:
    try:
        word = plain_word(value)
    except TemplateError:
        return
    for text in (f"x {word} y", f"x '{word}' y", f'x "{word}" y'):
        assert shlex.split(text, comments=True) == ["x", word, "y"]
    assert not word.startswith("-")
    assert ".." not in word
    assert not set(word) & set("`$*?[]{}()<>|&;!~#\\'\"\n")


@pytest.mark.parametrize("value", ["", "-x", "--upload-pack=a", "..", "a/../b", "a b", "$(id)", "a\n", "é", "a" * 201])
def test_what_is_no_plain_word(value: str) -> None:
    with pytest.raises(TemplateError):
        plain_word(value)


def test_a_part_of_a_url_stays_one_part() -> None:
    assert url_part("a/b?c#d@e") == "a%2Fb%3Fc%23d%40e"
    for value in ("", ".", ".."):
        with pytest.raises(TemplateError):
            url_part(value)


def test_the_beginning_of_a_url() -> None:
    assert url_base("http://127.0.0.1:8077/") == "http://127.0.0.1:8077"
    assert url_base("https://a.test/v1") == "https://a.test/v1"
    for value in (
        "ftp://a.test",
        "https://u@a.test",
        "https://a.test?x",
        "https://a.test/#",
        "//a.test",
        "https://a.test/ b",
    ):
        with pytest.raises(TemplateError):
            url_base(value)
