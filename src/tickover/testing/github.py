"""A double of GitHub's REST API: pulls, reviews, comments, statuses; answers as documented, with its own record.

Source: https://docs.github.com/en/rest (pulls, pulls/reviews, issues/comments, commits/statuses, users). It is served
by `tickover.testing.upstream`, over TLS.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tickover.testing.upstream import Seen, Talk

_REVIEWS = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED", None: "PENDING"}
_PULLS = re.compile(r"/repos/([^/]+/[^/]+)/pulls(?:/(\d+)(/reviews|/files)?)?")
_COMMENTS = re.compile(r"/repos/([^/]+/[^/]+)/issues/(\d+)/comments")
_STATUSES = re.compile(r"/repos/([^/]+/[^/]+)/(?:statuses/(\w+)|commits/(\w+)/status)")
_REASONS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable",
}


@dataclass
class Pull:
    """One pull request and what was said of it."""

    number: int
    title: str
    branch: str
    sha: str
    reviews: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    """What it changes: `filename`, and `previous_filename` of a renamed one."""


class Answered(Exception):  # noqa: N818 - an answer that is not the usual one
    """An answer with another status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class GitHubDouble:
    """Serve it with `upstream("localhost", double)`.

    `tokens` maps a token to its login, `pulls` OWNER/NAME to pull requests. `called` is its own record: method, path,
    login (or None), body and status of each call. Set `limited` to refuse the next so many calls.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    pulls: Mapping[str, list[Pull]] = field(default_factory=dict)
    limited: int = 0
    clock: Callable[[], float] = time.time
    called: list[dict[str, Any]] = field(default_factory=list)
    _links: dict[str, str] = field(default_factory=dict)

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        parts = urlsplit(seen.target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        login: str | None = None
        more: tuple[tuple[str, str], ...] = ()
        try:
            login = self._login((seen.header("authorization") or "").removeprefix("Bearer "), seen.method, parts.path)
            if self.limited > 0:
                self.limited -= 1
                more = (("retry-after", "60"),)
                raise Answered(403, "You have exceeded a secondary rate limit.")
            if login is None:
                raise Answered(401, "Bad credentials")
            status, answer = self._answer(seen.method, parts.path, query, _body(seen), login)
        except Answered as error:
            status, answer = error.status, {"message": str(error)}
        told = {"method": seen.method, "path": parts.path, "by": login, "body": seen.body.decode(), "status": status}
        self.called.append(told)
        kind = ("content-type", "application/json; charset=utf-8")
        date = ("date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.clock())))
        more += tuple(self._links.items())
        self._links = {}
        await talk.answer(
            json.dumps(answer).encode(), status=f"{status} {_REASONS[status]}", headers=(kind, date, *more)
        )

    def _login(self, bearer: str, method: str, path: str) -> str | None:  # noqa: ARG002 - for other kinds of tokens
        """Return whose token it is, None where it is nobody's."""
        return self.tokens.get(bearer)

    def writes(self) -> list[tuple[str, str, int]]:
        """Return method, path and status of everything that was not a GET."""
        return [(each["method"], each["path"], each["status"]) for each in self.called if each["method"] != "GET"]

    def _answer(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any], login: str
    ) -> tuple[int, Any]:
        if (method, path) == ("GET", "/user"):
            return 200, {"login": login, "type": "Bot"}
        if found := _PULLS.fullmatch(path):
            return self._pulls(method, found, query, body, login)
        if found := _COMMENTS.fullmatch(path):
            pull = self._pull(found[1], int(found[2]))
            if method == "GET":
                return 200, _page(pull.comments, query)
            said = {
                "id": len(pull.comments) + 1,
                "user": {"login": login},
                "body": _text(body),
                "created_at": self._now(),
            }
            pull.comments.append(said)
            return 201, said
        if found := _STATUSES.fullmatch(path):
            return self._statuses(method, found, body, login)
        raise Answered(404, "Not Found")

    def _pulls(
        self, method: str, found: re.Match[str], query: Mapping[str, str], body: Mapping[str, Any], login: str
    ) -> tuple[int, Any]:
        if found[2] is None:
            if method != "GET":
                raise Answered(404, "Not Found")
            branch = query.get("head", ":").partition(":")[2]
            listed = [each for each in self.pulls.get(found[1], []) if branch in {"", each.branch}]
            return 200, _page([_shown(found[1], each) for each in listed], query)
        pull = self._pull(found[1], int(found[2]))
        if found[3] is None:
            return 200, _shown(found[1], pull)
        if found[3] == "/files":
            if method != "GET":
                raise Answered(404, "Not Found")
            number = int(query.get("page", 1))
            if number * min(int(query.get("per_page", 30)), 100) < len(pull.files):
                address = f"https://example.com/repos/{found[1]}/pulls/{found[2]}/files"
                again = urlencode({**query, "page": number + 1})
                self._links = {"link": f'<{address}?{again}>; rel="next"'}
            return 200, _page(pull.files, query)
        if method == "GET":
            return 200, _page(pull.reviews, query)
        if body.get("event") not in _REVIEWS:
            raise Answered(422, "Unprocessable Entity")
        state = _REVIEWS[body.get("event")]
        said = {"id": len(pull.reviews) + 1, "user": {"login": login}, "state": state, "commit_id": pull.sha}
        said |= {"body": _text(body) if state != "APPROVED" else str(body.get("body", ""))}
        if state != "PENDING":
            said |= {"submitted_at": self._now()}
        pull.reviews.append(said)
        return 200, said

    def _statuses(self, method: str, found: re.Match[str], body: Mapping[str, Any], login: str) -> tuple[int, Any]:
        sha = found[2] or found[3]
        pull = next((each for each in self.pulls.get(found[1], []) if each.sha == sha), None)
        if pull is None:
            raise Answered(422, f"No commit found for SHA: {sha}")
        if method == "GET":
            newest = {each["context"]: each for each in pull.statuses}
            return 200, {"sha": sha, "statuses": list(newest.values())}
        if body.get("state") not in {"success", "failure", "error", "pending"}:
            raise Answered(422, "Validation Failed")
        said = {"state": body["state"], "context": body.get("context", "default"), "creator": {"login": login}}
        said |= {name: body.get(name) for name in ("description", "target_url")}
        pull.statuses.append(said)
        return 201, said

    def _pull(self, repo: str, number: int) -> Pull:
        for each in self.pulls.get(repo, []):
            if each.number == number:
                return each
        raise Answered(404, "Not Found")

    def _now(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock()))


def _shown(repo: str, pull: Pull) -> dict[str, Any]:
    head = {"ref": pull.branch, "sha": pull.sha}
    address = f"https://example.com/{repo}/pull/{pull.number}"
    return {"number": pull.number, "title": pull.title, "state": "open", "head": head, "html_url": address}


def _page(all_: list[dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    size = min(int(query.get("per_page", 30)), 100)
    begin = (int(query.get("page", 1)) - 1) * size
    return all_[begin : begin + size]


def _body(seen: Seen) -> Mapping[str, Any]:
    if not seen.body:
        return {}
    try:
        body = json.loads(seen.body)
    except ValueError:
        raise Answered(422, "Problems parsing JSON") from None
    if not isinstance(body, dict):
        raise Answered(422, "Body should be a JSON object")
    return body


def _text(body: Mapping[str, Any]) -> str:
    text = body.get("body")
    if not isinstance(text, str) or not text:
        raise Answered(422, "Unprocessable Entity")
    return text
