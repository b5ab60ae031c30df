from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.workspace.inside.globs import Globs


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("out/**", "out/a", True), ("out/**", "out/a/b/c", True), ("out/**", "out", False), ("out/**", "other/a", False),
        ("**", "a", True), ("**", "a/b", True), ("**/*.log", "x.log", True), ("**/*.log", "a/b/x.log", True),
        ("a/**/b", "a/b", True), ("a/**/b", "a/x/y/b", True), ("a/**/b", "a/x/y/c", False), ("a/**/**/b", "a/b", True),
        ("*.txt", "a.txt", True), ("*.txt", "a/b.txt", False), ("out/*", "out/.hidden", True), ("[ab]", "a", True),
        ("[ab]", "c", False), ("a?c", "abc", True), ("a.c", "abc", False), ("report.json", "report.json", True),
        ("tests/**", "tests/x/conftest.py", True), ("out/**/x/*", "out/x/1", True), ("out/a\nb", "out/a\nb", True),
    ],
)  # fmt: skip
def test_what_a_glob_means(glob: str, path: str, *, expected: bool) -> None:
    assert Globs([glob]).match(path) is expected


def test_exact_paths_hold_no_wildcards() -> None:
    exact = Globs(["a*", "b/**"], exact=True)
    assert exact.match("a*")
    assert exact.match("b/**")
    assert not exact.match("ab")
    assert not exact.match("b/c")


def test_where_a_link_would_lead_a_glob_astray() -> None:
    globs = Globs(["out/**", "**/*.log", "a/*/c"])
    named = {
        path: globs.named(globs.states(path.split("/")), path.count("/") + 1)
        for path in ("out", "a", "a/b", "src", "out/x")
    }
    assert named == {"out": True, "a": True, "a/b": False, "src": False, "out/x": False}


parts = st.lists(st.sampled_from(["a", "b", "*", "**", "?", "a*"]), min_size=1, max_size=5)
names = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=6)


@given(parts, names)
def test_a_walk_that_follows_leads_on_finds_every_match(pattern: list[str], path: list[str]) -> None:
    globs = Globs(["/".join(pattern)])
    assert globs.match("/".join(path)) is slowly(pattern, path)
    if globs.match("/".join(path)):
        assert all(globs.leads_on(globs.states(path[:end])) for end in range(1, len(path)))


def slowly(pattern: list[str], path: list[str]) -> bool:
    """Say it again, by recursion."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(slowly(pattern[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and fits(pattern[0], path[0]) and slowly(pattern[1:], path[1:])


def fits(word: str, name: str) -> bool:
    return {"*": True, "?": len(name) == 1, "a*": name.startswith("a")}.get(word, word == name)
