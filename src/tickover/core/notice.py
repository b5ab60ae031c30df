"""What people are told about a run, and where: pure. `control/notify.py` keeps and delivers it.

The instance names targets under `notify` in its configuration; a routine's `notify` chooses among them by name.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tickover.core.cause import CAUSES
from tickover.core.evidence import CheckResult
from tickover.core.limits import Duration, Period
from tickover.core.row import RunRow
from tickover.core.shape import Line, Name, Strict
from tickover.core.status import Execution, Outcome, Phase
from tickover.core.text import one_line, printable

Kind: TypeAlias = Literal["verified", "noop", "failed", "unverified", "recovered", "missed", "refused", "paused"]

_BROKEN: Final = frozenset({Execution.FAILED, Execution.TIMED_OUT, Execution.LOST})
_PROVED: Final = frozenset({Outcome.VERIFIED, Outcome.NOOP})
_MERGED: Final = frozenset({"failed", "unverified", "missed", "refused"})
_LONGEST_CLAIM: Final = 1500
_MOST_LINES: Final = 30


# -- where to: what the instance's configuration says -----------------------------------------------------------------


class SlackTarget(Strict):
    """An incoming webhook (`webhook` names the secret that holds its address), or a channel and a bot's token."""

    kind: Literal["slack"]
    webhook: Name | None = None
    channel: Annotated[Line, Field(min_length=1, max_length=80)] | None = None
    token: Name | None = None
    api: Annotated[Line, Field(pattern=r"^https?://")] = "https://slack.com/api"

    @model_validator(mode="after")
    def _one_way(self) -> SlackTarget:
        if (self.webhook is None) is (self.channel is None or self.token is None):
            raise ValueError("either `webhook`, or `channel` with `token`")
        return self


class WebhookTarget(Strict):
    """An address that gets JSON, signed as Standard Webhooks has it where `secret` names a key."""

    kind: Literal["webhook"]
    url: Annotated[Line, Field(pattern=r"^https?://")]
    secret: Name | None = None


class EmailTarget(Strict):
    """A mail server. `password` names a secret; `tls: none` is for a server on this machine."""

    kind: Literal["email"]
    host: Annotated[Line, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: Annotated[Line, Field(min_length=1)] | None = None
    password: Name | None = None
    sender: Annotated[Line, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    to: Annotated[tuple[Annotated[Line, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...], Field(min_length=1, max_length=20)]


class CommandTarget(Strict):
    """A program of this machine's owner. It gets the message as JSON on stdin, and no environment but PATH."""

    kind: Literal["command"]
    argv: Annotated[tuple[Annotated[Line, Field(min_length=1)], ...], Field(min_length=1, max_length=50)]
    timeout: Period = Duration(30)


Target: TypeAlias = Annotated[SlackTarget | WebhookTarget | EmailTarget | CommandTarget, Field(discriminator="kind")]


# -- what ------------------------------------------------------------------------------------------------------------


class CheckLine(BaseModel):
    """One line of the contract. `summary` may be hostile."""

    model_config = ConfigDict(frozen=True)

    check: str
    result: CheckResult
    evidence_class: str
    proves: bool
    summary: str


class Message(BaseModel):
    """What is told. `claim` is the agent's own words: it is shown as such, and never believed."""

    model_config = ConfigDict(frozen=True)

    kinds: tuple[Kind, ...]
    routine: str
    run: str | None = None
    at: float
    execution: str = ""
    outcome: str = ""
    reason: str = ""
    phase: str = ""
    cause: str = ""
    hint: str = ""
    claim: str = ""
    checks: tuple[CheckLine, ...] = ()
    findings: tuple[str, ...] = ()
    more: str = ""
    """A link to the run, or the command that shows it."""
    repeated: int = 0
    """How many messages of the same cause were kept back since the last one."""

    @property
    def subject(self) -> str:
        told = self.outcome if self.outcome not in {"", "none"} else self.execution or self.kinds[0]
        again = " (recovered)" if "recovered" in self.kinds else ""
        return one_line(f"{self.routine}: {told}{again}", 150)


def kinds_of(row: RunRow, before: Outcome | None) -> frozenset[Kind]:
    """Say what a run's end is news of. `before` is the outcome of the routine's run before it that had one.

    `failed` is a failed outcome, and also an execution that broke off without a proof. `recovered` is the first proof
    after a run without one.
    """
    if row.finished is None:
        return frozenset()
    if row.execution is Execution.MISSED:
        return frozenset({"missed"})
    if row.execution is Execution.REFUSED:
        return frozenset({"refused"})
    if row.outcome in _PROVED:
        proved: Kind = "verified" if row.outcome is Outcome.VERIFIED else "noop"
        again = before in {Outcome.FAILED, Outcome.UNVERIFIED}
        return frozenset({proved, "recovered"} if again else {proved})
    kinds: set[Kind] = set()
    if row.outcome is Outcome.FAILED or row.execution in _BROKEN:
        kinds.add("failed")
    if row.outcome is Outcome.UNVERIFIED:
        kinds.add("unverified")
    return frozenset(kinds)


def cause_of(row: RunRow, kinds: Collection[Kind]) -> str:
    """Name what is told only once in a while: phase and cause of an end that is no good news, nothing for others."""
    if not _MERGED.intersection(kinds):
        return ""
    if row.cause is not None:
        return f"{row.cause.phase or ''}/{row.cause.cause}"
    failed = [str(check.id) for check in row.evidence if check.result is not CheckResult.PASS]
    required = [str(each.code) for each in row.findings_of_attempt() if each.required]
    return f"{Phase.VERIFY}/{row.execution}/{row.outcome}/{','.join([*failed, *required])}"[:500]


def message_of(row: RunRow, kinds: Collection[Kind], more: str) -> Message:
    """Make the message of a run's end."""
    assert row.finished is not None
    return Message(
        kinds=tuple(sorted(kinds)),
        routine=row.routine,
        run=row.id,
        at=row.finished,
        execution=row.execution,
        outcome=row.outcome or "",
        reason=row.reason,
        phase=(row.cause.phase or "") if row.cause else "",
        cause=CAUSES[row.cause.cause] if row.cause else "",
        hint=row.cause.hint if row.cause else "",
        claim=f"{row.claim.status}: {row.claim.summary[:_LONGEST_CLAIM]}" if row.claim else "",
        checks=tuple(
            CheckLine(
                check=f"{check.id} {check.kind}",
                result=check.result,
                evidence_class=check.evidence_class,
                proves=check.proves,
                summary=check.summary[:500],
            )
            for check in row.evidence[:_MOST_LINES]
        ),
        findings=tuple(f"{each.code}: {each.message[:500]}" for each in row.findings_of_attempt()[:_MOST_LINES]),
        more=more,
    )


def text_of(message: Message) -> str:
    """Return the message as plain text. Every word from outside is one line without controls, the claim is marked."""
    lines = [message.subject]
    if message.reason:
        lines.append(one_line(message.reason, 600))
    facts = f"execution {message.execution}, outcome {message.outcome or 'none'}" if message.execution else ""
    lines += [facts] if facts else []
    if message.cause:
        where = f"in phase {message.phase}: " if message.phase else ""
        lines.append(f"cause: {where}{one_line(message.cause)}")
    if message.hint:
        lines.append(f"hint: {one_line(message.hint, 400)}")
    if message.checks:
        lines += ["", "checks:"]
        lines += [
            f"  {check.result:<7} {check.evidence_class:<8} {check.check}: {one_line(check.summary, 160)}"
            for check in message.checks
        ]
    if message.findings:
        lines += ["", "findings:", *(f"  {one_line(each)}" for each in message.findings)]
    if message.claim:
        lines += ["", "the agent says (its claim, not evidence):"]
        lines += [f"  | {line}" for line in printable(message.claim).split("\n")[:_MOST_LINES]]
    if message.repeated:
        lines += ["", f"{message.repeated} more of the same cause were not sent since the last message"]
    if message.more:
        lines += ["", message.more]
    return "\n".join(lines) + "\n"


def json_of(message: Message) -> bytes:
    """Return the message as the webhook and the command get it."""
    body: dict[str, Any] = {"type": "notice", "format": 1, **message.model_dump(mode="json"), "text": text_of(message)}
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")
