"""The check `github`: a pull request, or what this run did to it, read back from the API.

Sources: https://docs.github.com/en/rest/pulls/pulls, /pulls/reviews, /issues/comments, /commits/statuses. A review or
comment counts from the run's begin on, by the server's clock; what stood there before is found by the baseline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import JsonValue

from tickover.checks.base import Answer, Hands, HttpAnswer, verdict
from tickover.core.check import GitHubCheck
from tickover.core.connector import REPO
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import TickoverError
from tickover.core.evidence import CheckResult
from tickover.core.text import one_line

EARLY_S: Final = 2.0
"""How much earlier than the run's begin something may be: GitHub has whole seconds. The baseline sees those."""
PAGES: Final = 10
_PAGE: Final = 100
_SHOWN: Final = frozenset({"APPROVED", "CHANGES_REQUESTED", "COMMENTED"})
"""States of a review that was submitted: not PENDING, which nobody else sees, nor DISMISSED."""


class Check:
    """Finds the pull request, then what is asked of it."""

    kind: ClassVar[str] = "github"

    async def evaluate(self, definition: GitHubCheck, hands: Hands) -> Answer:
        if not REPO.fullmatch(definition.repo):
            return Answer(CheckResult.ERROR, f"{definition.repo} is no repository: it is OWNER/NAME")
        pull = await _pull(definition, hands)
        if pull is None:
            return Answer(CheckResult.FAIL, f"{definition.repo} has no pull request {definition.pull}")
        where = f"{definition.repo}#{pull['number']}"
        if definition.status is not None:
            return await _status(definition, hands, pull, where)
        if definition.review_by is not None:
            return await _said(definition, hands, where, "review", f"/pulls/{pull['number']}/reviews", "submitted_at")
        if definition.comment_by is not None:
            return await _said(definition, hands, where, "comment", f"/issues/{pull['number']}/comments", "created_at")
        kept = {key: pull.get(key) for key in ("number", "title", "state", "html_url")}
        return Answer(CheckResult.PASS, f"{where} is there", {"pull": pull["number"]}, json.dumps(kept).encode())


async def _pull(definition: GitHubCheck, hands: Hands) -> Mapping[str, Any] | None:
    """Return the pull request, by its number or by the branch it comes from."""
    pull = str(definition.pull)
    if pull.isascii() and pull.isdigit():
        answer = await hands.read_connector("github", f"/repos/{definition.repo}/pulls/{int(pull)}", {})
        found = None if answer.status == 404 else _json(answer)
    else:
        owner = definition.repo.partition("/")[0]
        query = {"state": "all", "head": f"{owner}:{pull}", "per_page": "1"}
        listed = _list(await hands.read_connector("github", f"/repos/{definition.repo}/pulls", query))
        found = listed[0] if listed else None
    if found is None:
        return None
    if not isinstance(found, dict) or type(found.get("number")) is not int:
        raise _unreadable("its answer is no pull request")
    return found


async def _said(definition: GitHubCheck, hands: Hands, where: str, what: str, path: str, at: str) -> Answer:
    """Look for a review or comment of this run by somebody."""
    by = definition.review_by or definition.comment_by or ""
    nearest = ""
    for page in range(1, PAGES + 1):
        query = {"per_page": str(_PAGE), "page": str(page)}
        answer = await hands.read_connector("github", f"/repos/{definition.repo}{path}", query)
        listed = _list(answer)
        since = hands.began + answer.ahead_s - EARLY_S
        for each in listed:
            if not isinstance(each, dict) or _login(each).lower() != by.lower():
                continue
            if (why := _wrong(definition, each, at, since)) is None:
                detail: dict[str, JsonValue] = {"id": str(each.get("id", "")), "by": by, "at": str(each.get(at, ""))}
                text = f"{what} by {by} read back from {where}"
                return Answer(CheckResult.PASS, text, detail, json.dumps(each).encode())
            nearest = why
        if len(listed) < _PAGE:
            text = f"{where} has no {what} by {by} of this run" + (f": there is one {nearest}" if nearest else "")
            return Answer(verdict(holds=False), text, {}, answer.body)
    return Answer(CheckResult.ERROR, f"{where} has more than {PAGES * _PAGE} {what}s, and not all were read")


def _wrong(definition: GitHubCheck, said: Mapping[str, Any], at: str, since: float) -> str | None:
    if at == "submitted_at" and said.get("state") not in _SHOWN:
        return f"that is {one_line(str(said.get('state')), 30)}"
    try:
        when = datetime.fromisoformat(str(said.get(at)))
        earlier = when.timestamp() < since
    except (ValueError, OverflowError):
        return "without a time"
    if when.tzinfo is None or earlier:
        return "from before the run"
    text = said.get("body")
    if definition.contains is not None and definition.contains not in (text if isinstance(text, str) else ""):
        return f"without “{one_line(definition.contains, 60)}”"
    return None


async def _status(definition: GitHubCheck, hands: Hands, pull: Mapping[str, Any], where: str) -> Answer:
    """Look at the newest status of one context on the pull request's last commit."""
    wanted = definition.status
    assert wanted is not None
    head = pull.get("head")
    sha = head.get("sha") if isinstance(head, dict) else None
    if not isinstance(sha, str) or not sha.isalnum():
        raise _unreadable("its answer names no commit")
    answer = await hands.read_connector("github", f"/repos/{definition.repo}/commits/{sha}/status", {"per_page": "100"})
    combined = _json(answer)
    listed = combined.get("statuses") if isinstance(combined, dict) else None
    if not isinstance(listed, list):
        raise _unreadable("its answer has no statuses")
    found = next((each for each in listed if isinstance(each, dict) and each.get("context") == wanted.context), None)
    state = one_line(str(found.get("state")), 30) if found else "not set"
    detail: dict[str, JsonValue] = {"commit": sha, "context": wanted.context, "state": state}
    text = f"{wanted.context} of {where} at {sha[:12]} is {state}"
    if found is None and len(listed) >= _PAGE:
        return Answer(CheckResult.ERROR, f"{where} has more than {_PAGE} statuses, and not all were read", detail)
    return Answer(verdict(state == wanted.state), text, detail, answer.body)


def _login(said: Mapping[str, Any]) -> str:
    user = said.get("user")
    login = user.get("login") if isinstance(user, dict) else None
    return login if isinstance(login, str) else ""


def _list(answer: HttpAnswer) -> list[Any]:
    found = _json(answer)
    if not isinstance(found, list):
        raise _unreadable("its answer is no list")
    return found


def _json(answer: HttpAnswer) -> Any:
    if answer.status in {403, 429} and answer.headers.get("retry-after"):
        wait = one_line(answer.headers["retry-after"], 10)
        raise _unreadable(f"too much was asked of it, it says to wait {wait} s")
    if answer.status != 200:
        raise _unreadable(f"it answers {answer.status}")
    if answer.truncated:
        raise _unreadable("its answer is too long")
    try:
        return read_json(answer.body)
    except DocumentError as error:
        raise _unreadable(f"its answer is no JSON: {error}") from None


def _unreadable(why: str) -> TickoverError:
    return TickoverError("github.unreadable", f"github cannot be read: {why}")
