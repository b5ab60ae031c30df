"""The doubles answer as the services that they stand for are documented to: the checks are only as true as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tickover.testing.git_server import GitServer, git
from tickover.testing.github import GitHubDouble, Pull
from tickover.testing.slack import Account, SlackDouble
from tickover.testing.upstream import Seen


class Answers:
    """Takes the place of a connection, and keeps what was answered."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: Any = None

    async def answer(
        self, body: bytes = b"", *, status: str = "200 OK", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.status, self.headers = int(status[:3]), dict(headers)
        self.body = json.loads(body) if body else None


async def ask(double: Any, target: str, body: Any = None, token: str = "t") -> Answers:
    headers = [("authorization", f"Bearer {token}")] if token else []
    data = b"" if body is None else json.dumps(body).encode()
    if data:
        headers.append(("content-type", "application/json"))
    answers = Answers()
    await double(Seen(1, "POST" if data else "GET", target, tuple(headers), data), answers)
    return answers


def slack() -> SlackDouble:
    tokens = {"t": Account("UBOT"), "reads": Account("UREAD", frozenset({"channels:history"}))}
    return SlackDouble(tokens, {"C0ENG": [], "C0OLD": []}, frozenset({"C0OLD"}))


@pytest.mark.parametrize(
    ("body", "token", "error"),
    [
        ({"channel": "C0ENG", "text": "x"}, "", "not_authed"),
        ({"channel": "C0ENG", "text": "x"}, "wrong", "invalid_auth"),
        ({"channel": "C0ENG", "text": "x"}, "reads", "missing_scope"),
        ({"channel": "C0NONE", "text": "x"}, "t", "channel_not_found"),
        ({"channel": "C0OLD", "text": "x"}, "t", "is_archived"),
        ({"channel": "C0ENG", "text": ""}, "t", "no_text"),
        ({"channel": "C0ENG", "text": "x" * 40_001}, "t", "msg_too_long"),
    ],
)
async def test_slack_says_no_with_200(body: dict[str, str], token: str, error: str) -> None:
    double = slack()
    said = await ask(double, "/api/chat.postMessage", body, token)
    assert (said.status, said.body) == (200, {"ok": False, "error": error})
    assert (double.channels["C0ENG"], double.posts()) == ([], [])


async def test_slack_pages_its_history_newest_first_and_limits() -> None:
    double = slack()
    for number in range(3):
        assert (await ask(double, "/api/chat.postMessage", {"channel": "C0ENG", "text": f"<{number}>"})).body["ok"]
    first = (await ask(double, "/api/conversations.history?channel=C0ENG&limit=2")).body
    assert [each["text"] for each in first["messages"]] == ["&lt;2&gt;", "&lt;1&gt;"]
    assert first["has_more"] is True
    cursor = first["response_metadata"]["next_cursor"]
    rest = (await ask(double, f"/api/conversations.history?channel=C0ENG&limit=2&cursor={cursor}")).body
    assert ([each["text"] for each in rest["messages"]], rest["has_more"]) == (["&lt;0&gt;"], False)
    double.limited = 1
    said = await ask(double, "/api/auth.test")
    assert (said.status, said.headers["retry-after"]) == (429, "30")
    assert (await ask(double, "/api/auth.test")).body["user"] == "UBOT"


async def test_github_keeps_reviews_comments_and_statuses() -> None:
    double = GitHubDouble({"t": "bot"}, {"acme/app": [Pull(7, "Fix", "fix", "abc")]})
    pull = "/repos/acme/app/pulls/7"
    assert (await ask(double, pull, token="")).status == 401
    assert (await ask(double, "/repos/acme/app/pulls/8")).status == 404
    assert (await ask(double, f"{pull}/reviews", {"event": "COMMENT"})).status == 422, "a comment needs a body"
    assert (await ask(double, f"{pull}/reviews", {"event": "MERGE", "body": "x"})).status == 422
    assert (await ask(double, f"{pull}/reviews", {"body": "draft"})).body["state"] == "PENDING"
    assert (await ask(double, f"{pull}/reviews", {"event": "APPROVE"})).body["state"] == "APPROVED"
    states = [each["state"] for each in (await ask(double, f"{pull}/reviews")).body]
    assert states == ["PENDING", "APPROVED"]
    assert (await ask(double, "/repos/acme/app/issues/7/comments", {"body": "x"})).status == 201
    assert (await ask(double, "/repos/acme/app/statuses/abc", {"state": "success", "context": "ci"})).status == 201
    assert (await ask(double, "/repos/acme/app/statuses/abc", {"state": "failure", "context": "ci"})).status == 201
    [status] = (await ask(double, "/repos/acme/app/commits/abc/status")).body["statuses"]
    assert status["state"] == "failure", "the newest of a context counts"
    assert (await ask(double, "/repos/acme/app/pulls?head=acme:fix")).body[0]["number"] == 7
    double.limited = 1
    said = await ask(double, "/user")
    assert (said.status, said.headers["retry-after"]) == (403, "60")
    assert (await ask(double, "/user")).body["login"] == "bot"
    assert [status for _, _, status in double.writes()] == [422, 422, 200, 200, 201, 201, 201]


def test_a_git_server_has_the_branches_that_it_was_made_with(tmp_path: Path) -> None:
    server = GitServer(tmp_path, "token")
    made = server.make("acme/app", {"main": {"a.txt": "1"}, "fix": {"a.txt": "2", "b/c.txt": "3"}})
    assert server.branches("acme/app") == made
    assert git(tmp_path / "acme/app.git", "show", "fix:b/c.txt") == "3"
    assert git(tmp_path / "acme/app.git", "rev-parse", "fix^") == made["main"]
