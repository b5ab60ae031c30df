from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tickover.checks.base import HttpAnswer, ask
from tickover.checks.github import Check as GitHubAdapter
from tickover.core.check import GitHubCheck
from tickover.core.evidence import CheckResult
from tickover.testing.check_suite import HOSTILE_BYTES, Case, CheckSuite
from tickover.testing.hands import FakeHands

BEGAN = datetime.fromtimestamp(FakeHands().began, UTC)
PULL = {"number": 7, "title": "Fix it", "head": {"sha": "abc123"}}


def definition(**keys: Any) -> GitHubCheck:
    return GitHubCheck.model_validate({"repo": "acme/app", "pull": 7, **keys})


def at(after: float) -> str:
    return (BEGAN + timedelta(seconds=after)).isoformat().replace("+00:00", "Z")


def review(by: str = "bot", state: str = "COMMENTED", body: str = "Off by one.", after: float = 5) -> dict[str, Any]:
    return {"id": 1, "user": {"login": by}, "state": state, "body": body, "submitted_at": at(after)}


def answer(body: Any, status: int = 200, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def hands(of: Mapping[str, Any]) -> FakeHands:
    """Answer these paths below the pull request (`""`: itself), or below the repository (`/...`)."""
    found = {("github", f"/repos/acme/app{path}"): each if isinstance(each, HttpAnswer) else answer(each)
             for path, each in of.items()}  # fmt: skip
    return FakeHands(connectors=found)


def reviewed(*reviews: Any) -> FakeHands:
    return hands({"/pulls/7": PULL, "/pulls/7/reviews": list(reviews)})


class TestConformance(CheckSuite):
    def check(self) -> GitHubAdapter:
        return GitHubAdapter()

    def passing(self) -> Case:
        return definition(review_by="bot"), reviewed(review())

    def failing(self) -> Case:
        return definition(review_by="bot"), reviewed(review("eve"))

    def unknowable(self) -> Case:
        return definition(), hands({"/pulls/7": answer({"message": "Bad credentials"}, 401)})

    def hostile(self) -> Sequence[Case]:
        bodies = [answer(body) for body in HOSTILE_BYTES]
        odd = [None, 7, "bot", {"user": "bot"}, {"user": {"login": ["bot"]}}, review() | {"submitted_at": 7},
               review() | {"submitted_at": "9999-99-99"}, review() | {"submitted_at": "2100-01-01T00:00:00"},
               review() | {"state": ["COMMENTED"]} | {"state": "\x1b[2J"}]  # fmt: skip
        asks = definition(review_by="bot")
        return [
            *((asks, hands({"/pulls/7": body})) for body in bodies),
            *((asks, hands({"/pulls/7": PULL, "/pulls/7/reviews": body})) for body in bodies),
            *((asks, reviewed(each)) for each in odd),
            (asks, hands({"/pulls/7": {"number": "7"}})),
            (definition(status={"context": "ci"}), hands({"/pulls/7": {"number": 7, "head": {"sha": "../x"}}})),
        ]


STATUS = "/commits/abc123/status"


@pytest.mark.parametrize(
    ("keys", "world", "result", "says"),
    [
        ({}, {"/pulls/7": PULL}, "pass", "acme/app#7 is there"),
        ({}, {"/pulls/7": answer({}, 404)}, "fail", "acme/app has no pull request 7"),
        ({"pull": "fix/it"}, {"/pulls": [PULL]}, "pass", "acme/app#7 is there"),
        ({"pull": "fix/it"}, {"/pulls": []}, "fail", "acme/app has no pull request fix/it"),
        ({"repo": "acme/app/../x"}, {}, "error", "acme/app/../x is no repository: it is OWNER/NAME"),
        ({"comment_by": "bot"}, {"/pulls/7": PULL, "/issues/7/comments": [{"user": {"login": "Bot"}, "created_at": at(1)}]}, "pass", "comment by bot read back from acme/app#7"),
        ({"status": {"context": "ci"}}, {"/pulls/7": PULL, STATUS: {"statuses": [{"context": "ci", "state": "success"}]}}, "pass", "ci of acme/app#7 at abc123 is success"),
        ({"status": {"context": "ci"}}, {"/pulls/7": PULL, STATUS: {"statuses": [{"context": "ci", "state": "failure"}]}}, "fail", "ci of acme/app#7 at abc123 is failure"),
        ({"status": {"context": "ci"}}, {"/pulls/7": PULL, STATUS: {"statuses": []}}, "fail", "ci of acme/app#7 at abc123 is not set"),
        ({}, {"/pulls/7": answer({}, 403, **{"retry-after": "60"})}, "error", "github cannot be read: too much was asked of it, it says to wait 60 s"),
    ],
)  # fmt: skip
async def test_what_it_says(keys: dict[str, Any], world: dict[str, Any], result: str, says: str) -> None:
    said = await ask(GitHubAdapter(), definition(**keys), hands(world), scope={})
    assert (said.result, said.summary) == (CheckResult(result), says)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (review(state="PENDING"), "that is PENDING"),
        (review(state="DISMISSED"), "that is DISMISSED"),
        (review(after=-60), "from before the run"),
        (review(body="Fine."), "without “Off by”"),
    ],
)
async def test_a_review_that_does_not_count_says_why(said: dict[str, Any], why: str) -> None:
    told = await ask(GitHubAdapter(), definition(review_by="bot", contains="Off by"), reviewed(said), scope={})
    assert told.result is CheckResult.FAIL
    assert told.summary == f"acme/app#7 has no review by bot of this run: there is one {why}"


async def test_reviews_are_read_page_by_page_and_not_without_end() -> None:
    full = answer([review("eve")] * 100)
    two = hands({"/pulls/7": PULL})
    two.connectors = {**two.connectors, ("github", "/repos/acme/app/pulls/7/reviews"): [full, answer([review()])]}
    assert (await ask(GitHubAdapter(), definition(review_by="bot"), two, scope={})).result is CheckResult.PASS
    endless = hands({"/pulls/7": PULL, "/pulls/7/reviews": full})
    assert (await ask(GitHubAdapter(), definition(review_by="bot"), endless, scope={})).result is CheckResult.ERROR
