from __future__ import annotations

from typing import Any

import pytest

from tickover.core.definition import Routine
from tickover.core.errors import UsageError
from tickover.core.refs import with_refs


def routine(ref: str | None) -> Routine:
    app = {"url": "https://git.test/app", **({} if ref is None else {"ref": ref})}
    return Routine.model_validate({"name": "r", "agent": "steps", "repositories": {"app": app}})


@pytest.mark.parametrize(
    ("ref", "event", "expected"),
    [
        ("{{ event.pull_request.head.ref }}", {"pull_request": {"head": {"ref": "fix/a-b_c"}}}, "fix/a-b_c"),
        ("{{ event.sha }}", {"sha": "a" * 40}, "a" * 40),
        ("refs/pull/{{ event.number }}/head", {"number": 7}, "refs/pull/7/head"),
        ("main", None, "main"),
        (None, {"ref": "x"}, None),
    ],
)
def test_a_ref_comes_from_the_event(ref: str | None, event: Any, expected: str | None) -> None:
    assert with_refs(routine(ref), event).repositories["app"].ref == expected


@pytest.mark.parametrize(
    "hostile",
    [
        "--upload-pack=sh", "-x", "a b", "a:refs/heads/main", "+a", "../a", "a..b", "a.lock", "a/.b", "@{1}", "a~1", "a^",
        "", "/a", "a/", "a//b", "a\nb", "a;b", "$(id)", "*", "a" * 201, "\u202ea", None, ["a"], {"a": 1},
    ],
)  # fmt: skip
def test_a_hostile_ref_is_none(hostile: Any) -> None:
    with pytest.raises(UsageError) as caught:
        with_refs(routine("{{ event.ref }}"), {"ref": hostile})
    assert (caught.value.code, caught.value.where and caught.value.where.key) == ("input.ref", "repositories.app.ref")


@pytest.mark.parametrize("event", [None, "text", [1], {}])
def test_an_event_without_it_starts_nothing(event: Any) -> None:
    with pytest.raises(UsageError, match="has no value"):
        with_refs(routine("{{ event.ref }}"), event)
