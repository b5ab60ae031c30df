"""What an instance itself does at GitHub, beside any run: marks on commits, and deliveries that were lost. Pure.

The owner says so under `github` in tickover.yaml. A mark is green only for work that was proved. GitHub counts the
conclusions `neutral` and `skipped` as good enough for a required check, so what nobody proved is none of these.
Sources: https://docs.github.com/en/rest/commits/statuses, https://docs.github.com/en/rest/checks/runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tickover.core.connector import REPO, Address
from tickover.core.limits import Period
from tickover.core.lookup import JsonPath
from tickover.core.row import RunRow
from tickover.core.shape import Form, Maybe, Name, Strict
from tickover.core.status import Execution, Outcome
from tickover.core.text import one_line

PUBLIC: Final = "https://api.github.com"
LONGEST: Final = 140
"""Characters of a status's description."""

_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HEADS: Final = tuple(
    JsonPath.parse(each)
    for each in (
        "pull_request.head.sha", "check_suite.head_sha", "check_run.head_sha", "workflow_run.head_sha",
        "workflow_job.head_sha", "merge_group.head_sha", "deployment.sha", "after",
    )
)  # fmt: skip
_REPOSITORY: Final = JsonPath.parse("repository.full_name")


class GitHubSettings(Strict):
    """The key `github`. `credential` names an App's key or a person's token, which has its API at `api`."""

    credential: Maybe[Name] = None
    webhook_secret: Maybe[Name] = None
    api: Address = PUBLIC
    marks: Literal["none", "status", "check"] = "none"
    context: Annotated[str, Form(r"[A-Za-z0-9 ._/-]{1,60}", "1 to 60 letters, digits, spaces and ._/-")] = "tickover"
    backfill: Maybe[Annotated[Period, Field(ge=60)]] = None

    @model_validator(mode="after")
    def _has_a_credential(self) -> Self:
        if self.credential is None and (self.marks != "none" or self.backfill is not None):
            text = "`credential` says as whom: an App's key, or a token"
            raise PydanticCustomError("choice", "{text}", {"text": text, "at": ("credential",)})
        return self


@dataclass(frozen=True, slots=True)
class Head:
    """The commit that an event is about."""

    repo: str
    sha: str


def head_of(document: Any) -> Head | None:
    """Return the commit that an event is about; None where it is about none, or the branch is gone."""
    repo = _REPOSITORY.get(document)
    if not isinstance(repo, str) or not REPO.fullmatch(repo):
        return None
    for path in _HEADS:
        sha = path.get(document)
        if isinstance(sha, str) and _SHA.fullmatch(sha):
            return Head(repo, sha) if sha.strip("0") else None
    return None


def event_of(row: RunRow) -> str | None:
    """Return the id of the event that started a run, if one did: its key is EVENT:ROUTINE/TRIGGER."""
    found = re.fullmatch(r"(e[0-9]{1,18}):[^:]+", row.key or "")
    return found[1] if found and row.queued else None


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands beside a commit. `state` is a commit status's, `conclusion` a check run's, None while it runs."""

    state: Literal["pending", "success", "failure", "error"]
    conclusion: Literal["success", "failure", "action_required", "cancelled"] | None
    description: str


PENDING: Final = Mark("pending", None, "the run has been queued")
_PROVED: Final = {Outcome.VERIFIED: "verified", Outcome.NOOP: "nothing to do, proved"}


def mark_of(row: RunRow) -> Mark:
    """Say what a run's end is: green only for verified and noop, red for failed, neither for what nobody proved."""
    why = one_line(row.reason, LONGEST) if row.reason else ""
    if row.outcome in _PROVED:
        return Mark("success", "success", _said(_PROVED[row.outcome], why))
    if row.outcome is Outcome.FAILED:
        return Mark("failure", "failure", _said("failed", why))
    if row.outcome is Outcome.UNVERIFIED:
        return Mark("error", "action_required", _said("unverified", why))
    ended = Execution(row.execution)
    cause = why or (row.cause.hint if row.cause else "")
    return Mark("error", "cancelled", _said(f"{ended}: nothing was proved", cause))


def _said(what: str, why: str) -> str:
    text = f"{what}: {why}" if why and not why.startswith(what) else why or what
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def status_body(mark: Mark, context: str, url: str) -> dict[str, Any]:
    """Return what `POST /repos/OWNER/NAME/statuses/SHA` takes."""
    link = {"target_url": url} if url.startswith(("https://", "http://")) else {}
    return {"state": mark.state, "context": context, "description": mark.description, **link}


def check_body(mark: Mark, context: str, url: str, run: str, sha: str) -> dict[str, Any]:
    """Return what `POST /repos/OWNER/NAME/check-runs` takes."""
    body: dict[str, Any] = {"name": context, "head_sha": sha, "external_id": run, "status": "in_progress"}
    if url.startswith(("https://", "http://")):
        body["details_url"] = url
    body["output"] = {"title": mark.description, "summary": f"Run `{run}` of Tickover: {mark.description}"}
    if mark.conclusion is not None:
        body |= {"status": "completed", "conclusion": mark.conclusion}
    return body


# -- deliveries --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt of GitHub's to deliver, as its API lists it. `at` is UTC epoch seconds."""

    number: int
    guid: str
    event: str
    at: float


def read_sent(entry: Any, moment: float | None) -> Sent | None:
    """Read an entry of a list of deliveries; `moment` is its `delivered_at`. None for what is none."""
    if not isinstance(entry, Mapping) or moment is None:
        return None
    number, guid, event = entry.get("id"), entry.get("guid"), entry.get("event")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(guid, str) or not guid:
        return None
    return Sent(number, guid[:200], event if isinstance(event, str) else "", moment)
