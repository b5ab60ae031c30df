"""The check port: what a check may look at (`Hands`), and what it answers.

An adapter is one file with a class `Check`, named like its kind. It has no way to the world but its hands: they run
pinned programs in a verifying sandbox, read the workspace as data, ask our own copies of repositories, get pages, and
bring the gateway's receipts. What they return was written by somebody else, the agent first of all, and is judged as
such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

from pydantic import JsonValue

from tickover.core import check as definitions
from tickover.core.errors import TickoverError
from tickover.core.evidence import CheckResult
from tickover.core.receipt import Receipt
from tickover.core.template import TemplateError
from tickover.core.text import one_line

EVIDENCE_BYTES = 1 << 20
SUMMARY_CHARACTERS = 300

D = TypeVar("D", bound=definitions.Check)
D_contra = TypeVar("D_contra", bound=definitions.Check, contravariant=True)
Where: TypeAlias = Literal["remote", "subject"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one evaluation said: a sentence for people, details for programs, and the bytes it was read from."""

    result: CheckResult
    summary: str
    detail: Mapping[str, JsonValue] = field(default_factory=dict)
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class PinnedRun:
    """How a pinned command ended. `exit` is None unless it `exited`; `message` says why it did not.

    `not_started` covers everything that is no fault of the command: no sandbox, a missing `checks/` folder. The two
    streams are the ends of what it wrote, at most EVIDENCE_BYTES each.
    """

    ended: Literal["exited", "signalled", "timed_out", "not_started"]
    exit: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SubjectFile:
    """A path of the workspace, read without following a symbolic link.

    `missing`: nothing is there. `refused`: no regular file, reached through a link, or unreadable (`reason`).
    `too_large`: larger than was asked for, so `data` is empty; `size` is true. `written`: it differs from what was
    there before the agent.
    """

    status: Literal["file", "missing", "refused", "too_large"]
    data: bytes = b""
    size: int = 0
    written: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer over HTTP: the last one of this host. `truncated`: the body goes on after what was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False
    url: str = ""
    """Where it came from, after redirects on the same host."""
    ahead_s: float = 0.0
    """Seconds that the other end's clock is ahead of ours, as far as its `Date` says."""


class Hands(Protocol):
    """All that a check can do. Each raises TickoverError where it could not: then the check is an `error`."""

    @property
    def began(self) -> float:
        """When the run began: UTC epoch seconds by our clock."""

    async def run_pinned(self, run: str, *, subject: definitions.Subject, timeout_s: float) -> PinnedRun:
        """Run a shell line in a fresh verifying sandbox: cwd /check, the workspace read-only at /subject."""

    async def read_subject(self, path: str, *, max_bytes: int) -> SubjectFile:
        """Read a file of the workspace as the agent left it (in the baseline: as it found it)."""

    async def read_pinned(self, path: str) -> bytes:
        """Read a file of the routine's `checks/`. A missing one is an error."""

    async def resolve_ref(self, repo: str, where: Where, ref: str) -> str | None:
        """Return the commit that a branch, tag or commit names, or None if there is none.

        `remote` asks the other end now. `subject` is our own fsck'd copy of the agent's objects and refs, where
        `HEAD` is a ref, too; the agent's `.git` itself is never opened.
        """

    async def count_commits(self, repo: str, where: Where, *, base: str, head: str) -> int:
        """Count the commits reachable from commit `head` and not from commit `base`."""

    async def http_get(self, url: str, *, timeout_s: float) -> HttpAnswer:
        """Get a page, from the host, with a bounded body; redirects are followed on the same host only."""

    async def read_connector(self, name: str, path: str, query: Mapping[str, str]) -> HttpAnswer:
        """Get `path` below a connector's address, through the gateway, with the verifier's credential."""

    async def count_rows(self, connector: str, query: str, values: tuple[str, ...]) -> int:
        """Count a query's rows in a database, at most MOST_ROWS + 1; `values` are its `$1`, `$2`."""

    async def receipts(self) -> Sequence[Receipt]:
        """Return what the gateway saw of every call of this run so far, over all attempts, its chain verified."""


class Check(Protocol[D_contra]):
    """An adapter: judges a definition whose templates are filled. It never answers `pending`; `ask` does."""

    kind: ClassVar[str]

    async def evaluate(self, definition: D_contra, hands: Hands) -> Answer: ...


async def ask(
    check: Check[D], definition: D, hands: Hands, *, scope: Mapping[str, Any], patience_s: float = 0
) -> Answer:
    """Fill the templates and evaluate. Never raises a TickoverError: what cannot be evaluated is an `error`.

    `patience_s` is what is left of `within`: while it is positive, a check that does not hold, or whose other end
    does not answer, is `pending`. Zero for a baseline.
    """
    try:
        filled = definitions.render_check(definition, scope)
    except TemplateError as error:
        return bounded(Answer(CheckResult.ERROR, error.message, {"code": error.code}))
    try:
        answer = await check.evaluate(filled, hands)
    except TickoverError as error:
        answer = Answer(CheckResult.ERROR, error.message, {"code": error.code})
    if patience_s > 0 and answer.result is not CheckResult.PASS:
        answer = replace(answer, result=CheckResult.PENDING, summary=f"not yet: {answer.summary}")
    return bounded(answer)


def bounded(answer: Answer) -> Answer:
    """Make an answer fit to be shown and kept: the summary one printable line, the evidence not endless."""
    summary = one_line(answer.summary, SUMMARY_CHARACTERS)
    evidence = None if answer.evidence is None else answer.evidence[:EVIDENCE_BYTES]
    return replace(answer, summary=summary, evidence=evidence)


def verdict(holds: bool) -> CheckResult:
    """Turn a plain yes or no into a result."""
    return CheckResult.PASS if holds else CheckResult.FAIL
