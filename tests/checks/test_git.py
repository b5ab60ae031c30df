from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tickover.checks.base import ask
from tickover.checks.git import Check as GitAdapter
from tickover.core.check import GitCheck
from tickover.core.evidence import CheckResult
from tickover.testing.check_suite import Case, CheckSuite
from tickover.testing.hands import FakeHands

A, B = "a" * 40, "b" * 40


def hands() -> FakeHands:
    return FakeHands(
        refs={
            ("app", "remote"): {"main": A, "feature": B, "c0ffee": A},
            ("app", "subject"): {"HEAD": B, "main": A},
        },
        counts={(A, B): 3, (A, A): 0},
    )


def definition(**keys: Any) -> GitCheck:
    return GitCheck.model_validate({"repo": "app", **keys})


class TestConformance(CheckSuite):
    def check(self) -> GitAdapter:
        return GitAdapter()

    def passing(self) -> Case:
        return definition(range="main..feature", commits={"gte": 3}), hands()

    def failing(self) -> Case:
        return definition(range="main..feature", commits=0), hands()

    def unknowable(self) -> Case:
        return definition(range="gone..feature", commits=0), hands()

    def hostile(self) -> Sequence[Case]:
        ranges = ["main", "..", "main..", "..main", "main...feature", "main..feature..x", "--all..main", "main..--all"]
        tries = [definition(range=each, commits={"gte": 0}) for each in ranges]
        return [(each, hands()) for each in (*tries, definition(ref="$(id)"), definition(ref="--upload-pack=x"))]


@pytest.mark.parametrize(
    ("keys", "result", "summary"),
    [
        ({"ref": "main"}, "pass", "main of app is aaaaaaaaaaaa"),
        ({"ref": "gone"}, "fail", "app has no gone"),
        ({"ref": "gone", "exists": False}, "pass", "app has no gone"),
        ({"ref": "main", "exists": False}, "fail", "main of app is aaaaaaaaaaaa"),
        ({"ref": "HEAD", "in": "subject"}, "pass", "HEAD of the agent's clone of app is bbbbbbbbbbbb"),
        ({"ref": "feature", "in": "subject"}, "fail", "the agent's clone of app has no feature"),
        ({"ref": "main", "commits": 1}, "error", "`commits` counts a `range` (A..B), not a `ref`"),
        ({"range": "c0ffee..main", "commits": 0}, "pass", "app has 0 commits in c0ffee..main"),
        ({"range": "main..feature", "commits": [1, 2]}, "fail", "app has 3 commits in main..feature (in [1, 2] is wanted)"),
        ({"range": "main..HEAD", "in": "subject", "commits": 3}, "pass", "the agent's clone of app has 3 commits in main..HEAD"),
        ({"range": "main..gone", "commits": 0}, "fail", "app has no gone, so main..gone cannot be counted"),
        ({"range": "main", "commits": 0}, "error", "`main` is no range; write A..B"),
        ({"repo": "lib", "ref": "main"}, "error", "lib cannot be reached"),
    ],
)  # fmt: skip
async def test_what_it_says(keys: dict[str, Any], result: str, summary: str) -> None:
    answer = await ask(GitAdapter(), definition(**keys), hands(), scope={})
    assert (answer.result, answer.summary) == (CheckResult(result), summary)


async def test_the_commit_it_ends_at_is_told_for_the_next_run() -> None:
    for keys, commit in (({"ref": "main"}, A), ({"range": "main..feature", "commits": 3}, B)):
        assert (await ask(GitAdapter(), definition(**keys), hands(), scope={})).detail["commit"] == commit
