"""Checks: the entries of `expect` and `noop`. What each asks, and the class of evidence it can give.

Only definitions; the evaluation is a class of `tickover.checks`. `render` puts a run's values in first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Tag, ValidationError

from tickover.core.evidence import EvidenceClass
from tickover.core.limits import Duration, Period
from tickover.core.matcher import Fields, Matcher
from tickover.core.shape import (
    Between,
    ByShape,
    Flag,
    Form,
    Glob,
    Item,
    Line,
    Maybe,
    Name,
    OneKind,
    Path,
    Strict,
    Text,
)
from tickover.core.template import TemplateError, plain_word, render, url_base, url_part

# What follows the host may hold `{{ templates }}`; the host may not.
URL_REST = r"(?:[^\s\\{]|\{(?!\{)|\{\{[^{}]*\}\})*"
HttpUrl = Annotated[
    str,
    Form(
        rf"(?:https?://[^\s/@?#\\{{}}]+|\{{\{{[^{{}}]*\}}\}})(?:[/?]{URL_REST})?",
        "a URL begins with https:// (or with an input that does) and holds no user or password",
    ),
]
Target = Annotated[
    str,
    Form(
        rf"(?:GET|HEAD|POST|PUT|PATCH|DELETE) https?://[^\s/@?#*\\{{}}]+(?:/{URL_REST})?",
        'a request is "METHOD URL"; * stands for one segment of the path',
    ),
]
_CALL = re.compile(r"CALL mcp://([a-z0-9-]{1,64})/([A-Za-z0-9_.-]{1,128})")
Seen = Annotated[
    str,
    Form(
        rf"(?:GET|HEAD|POST|PUT|PATCH|DELETE) https?://[^\s/@?#*\\{{}}]+(?:/{URL_REST})?|{_CALL.pattern}",
        'a request is "METHOD URL", a call of an MCP server\'s tool "CALL mcp://CONNECTOR/TOOL"',
    ),
]
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class StopGate(Strict):
    """Ask the check when the agent wants to stop; if it fails, the agent hears `says` and may go on."""

    says: Text


class Check(Item):
    """What all checks have. `EVIDENCE` is the class of what they see."""

    EVIDENCE: ClassVar[EvidenceClass]

    guard: Flag = False
    """It shall hold all along: it can fail a run, never verify it."""

    @property
    def evidence(self) -> EvidenceClass:
        return type(self).EVIDENCE

    @property
    def patience(self) -> Duration:
        """How long after the agent's end the check may still come true."""
        return Duration(0)


class Gated(Check):
    stop_gate: Maybe[StopGate] = None


class StateCheck(Gated):
    """Reads the outside world after the agent ended."""

    EVIDENCE: ClassVar[EvidenceClass] = EvidenceClass.STATE

    within: Duration = Duration(0)

    @property
    def patience(self) -> Duration:
        return self.within


class FileCheck(Gated):
    """A file of the workspace is there, and holds what it should."""

    KIND: ClassVar[str] = "file"
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("equals", "sha256", "same_as")

    path: Path
    min_bytes: Maybe[Annotated[int, Between(0)]] = None
    equals: Maybe[str] = None
    sha256: Maybe[Annotated[str, Form(r"[0-9a-f]{64}", "a sha256 is 64 hexadecimal digits")]] = None
    same_as: Maybe[Path] = None

    @property
    def evidence(self) -> EvidenceClass:
        compared = (self.equals, self.sha256, self.same_as) != (None, None, None)
        return EvidenceClass.ARTIFACT if compared else EvidenceClass.CLAIM


class Subject(Strict):
    """Whether a checker may run the subject's own code, and which trusted copies are laid over it first."""

    run: Flag = False
    restore: tuple[Glob, ...] = ()


class CommandCheck(Gated):
    """A pinned program judges: exit 0 passes, 126, 127, a signal or the timeout is an error, else fail."""

    KIND: ClassVar[str] = "command"
    EVIDENCE: ClassVar[EvidenceClass] = EvidenceClass.ARTIFACT

    run: Text
    subject: Subject = Subject()
    timeout: Period = Duration(60)


class OutputCheck(Gated):
    """The agent's own result has the shape of a JSON Schema under `checks/`."""

    KIND: ClassVar[str] = "output"
    EVIDENCE: ClassVar[EvidenceClass] = EvidenceClass.CLAIM

    schema_: Path


class GitCheck(Gated):
    """Commits or refs of a repository: of its remote, or of the clone the agent worked in."""

    KIND: ClassVar[str] = "git"
    EXACTLY_ONE: ClassVar[tuple[str, ...]] = ("range", "ref")
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("commits", "exists")

    repo: Name
    in_: Literal["remote", "subject"] = "remote"
    range: Maybe[Line] = None
    ref: Maybe[Line] = None
    commits: Maybe[Matcher] = None
    exists: Maybe[Flag] = None
    within: Duration = Duration(0)

    @property
    def evidence(self) -> EvidenceClass:
        return EvidenceClass.STATE if self.in_ == "remote" else EvidenceClass.ARTIFACT

    @property
    def patience(self) -> Duration:
        return self.within


class HttpCheck(StateCheck):
    """An address answers as it should."""

    KIND: ClassVar[str] = "http"

    url: HttpUrl
    status: Matcher = Matcher(200)
    contains: Maybe[Text] = None
    json_: Maybe[Fields] = None


class ReceiptRequest(Strict):
    json_: Maybe[Fields] = None


class ReceiptResponse(Strict):
    status: Maybe[Matcher] = None
    json_: Maybe[Fields] = None


class AtLeast(Strict):
    gte: Annotated[int, Between(1)]


class ReceiptCheck(Check):
    """The gateway forwarded such a request in this run, and such an answer came."""

    KIND: ClassVar[str] = "receipt"

    to: Seen
    request: Maybe[ReceiptRequest] = None
    response: Maybe[ReceiptResponse] = None
    count: Annotated[
        Annotated[Annotated[int, Between(0)], Tag("<number>")] | Annotated[AtLeast, Tag("<map>")], ByShape
    ] = 1

    @property
    def tool(self) -> tuple[str, str] | None:
        """The connector and the tool, where a call of an MCP server is meant."""
        found = _CALL.fullmatch(self.to)
        return (found[1], found[2]) if found else None

    @property
    def writes(self) -> bool:
        return self.tool is not None or self.to.split(" ", 1)[0] in WRITING

    @property
    def evidence(self) -> EvidenceClass:
        """A write of whatever is like a file of whatever: that it happened says nothing of the work."""
        return EvidenceClass.CLAIM if self.writes and self.request is None else EvidenceClass.EFFECT


class SqlCheck(StateCheck):
    """A read-only query gives so many rows; `$1` and `$2` in it are the first and second of `values`."""

    KIND: ClassVar[str] = "sql"

    connector: Name
    query: Text
    values: tuple[Text, ...] = ()
    rows: Matcher = Matcher({"gte": 1})


class SlackCheck(StateCheck):
    """A message of this run stands in a channel; `by` is the id of the user or bot that it is from."""

    KIND: ClassVar[str] = "slack"

    channel: Line
    contains: Maybe[Text] = None
    by: Maybe[Line] = None
    since: Literal["run"] = "run"


class CommitStatus(Strict):
    """A status that a commit has: under which name, and how it stands."""

    context: Line
    state: Literal["success", "failure", "error", "pending"] = "success"


class GitHubCheck(StateCheck):
    """A pull request is there; or this run gave it a review or a comment, or its last commit a status.

    `pull` is its number, or the branch it comes from. `review_by` and `comment_by` are logins; `contains` is in the
    text of that review or comment.
    """

    KIND: ClassVar[str] = "github"
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("review_by", "comment_by", "status")

    repo: Line
    pull: Annotated[Annotated[Annotated[int, Between(1)], Tag("<number>")] | Annotated[Line, Tag("<text>")], ByShape]
    review_by: Maybe[Line] = None
    comment_by: Maybe[Line] = None
    contains: Maybe[Text] = None
    status: Maybe[CommitStatus] = None


class JudgeCheck(Gated):
    """A model reads what the agent says. Never more than a claim."""

    KIND: ClassVar[str] = "judge"
    EVIDENCE: ClassVar[EvidenceClass] = EvidenceClass.CLAIM

    prompt: Text


CHECKS: dict[str, type[Check]] = {
    each.KIND: each
    for each in (
        FileCheck,
        CommandCheck,
        OutputCheck,
        GitCheck,
        HttpCheck,
        ReceiptCheck,
        SqlCheck,
        SlackCheck,
        GitHubCheck,
        JudgeCheck,
    )
}
CheckItem = Annotated[Check, OneKind(CHECKS)]

# How a run's value is put into each field; other text takes it as it is.
_QUOTES = {"run": plain_word, "url": url_part, "to": url_part} | dict.fromkeys(
    ("path", "same_as", "schema", "range", "ref", "repo", "restore", "sha256"), plain_word
)
C = TypeVar("C", bound=Check)


def render_check(check: C, scope: Mapping[str, Any]) -> C:
    """Fill every `{{ }}` of a check from `inputs`, `event`, `run` and `state`.

    Raises TemplateError where a value is missing, unsafe in its place, or makes the check invalid.
    """

    def fill(value: Any, field: str) -> Any:
        if isinstance(value, str):
            base, end, rest = value.partition("}}") if field == "url" and value.startswith("{{") else ("", "", value)
            return render(base + end, scope, url_base) + render(rest, scope, _QUOTES.get(field, str))
        if isinstance(value, dict):
            return {
                key: fill(inner, field if field in {"request", "response"} else key) for key, inner in value.items()
            }
        return [fill(inner, field) for inner in value] if isinstance(value, list) else value

    plain = check.model_dump(mode="json", by_alias=True, exclude_unset=True)
    filled = {key: fill(value, key) for key, value in plain.items()}
    if filled == plain:
        return check
    try:
        return type(check).model_validate(filled)
    except ValidationError as error:
        text = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise TemplateError("template.unfit", f"with its values the check is wrong: {text}") from None
