"""What a definition's contract is worth: where it can never verify, what it can change, what nobody proves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tickover.core.check import Check, GitCheck, GitHubCheck, HttpCheck, ReceiptCheck, SlackCheck, SqlCheck
from tickover.core.connector import KINDS
from tickover.core.definition import Routine
from tickover.core.evidence import EvidenceClass
from tickover.core.permission import ConnectorPermission, Permission, PushPermission, RequestPermission


class Weakness(NamedTuple):
    """A finding about the definition itself. `contract.too_weak`: no run of it can be green."""

    code: str
    message: str


def weaknesses(routine: Routine) -> list[Weakness]:
    """Find what the contract cannot prove. None of it is an error: it is shown wherever the routine is."""
    return [*_expect(routine), *_noop(routine), *_receipts(routine)]


def _expect(routine: Routine) -> Iterator[Weakness]:
    proving = [check for check in routine.expect if not check.guard]
    if any(check.evidence.can_verify(may_write_outside=bool(routine.may)) for check in proving):
        return
    if not routine.expect:
        why = "it has no `expect`"
    elif not proving:
        why = "all of its checks are guards, which can fail a run but never verify it"
    elif any(check.evidence is EvidenceClass.ARTIFACT for check in proving):
        why = "it may write outside, and its checks read only what the agent left in the workspace"
    elif any(isinstance(check, ReceiptCheck) for check in proving):
        why = "its receipts ask only that something was sent (`request` says what)"
    else:
        why = "its checks read only what the agent says or that a file exists"
    yield Weakness("contract.too_weak", f"this routine can only ever be unverified, because {why}")


def _noop(routine: Routine) -> Iterator[Weakness]:
    if routine.noop and all(check.evidence is EvidenceClass.CLAIM for check in routine.noop):
        text = "a claim of nothing to do is never believed, because `noop` has only claims"
        yield Weakness("contract.noop_too_weak", text)
    elif not routine.noop and routine.expect:
        text = "a claim of nothing to do is never believed, because there is no `noop`"
        yield Weakness("contract.no_noop", text)


def _receipts(routine: Routine) -> Iterator[Weakness]:
    for index, check in enumerate(routine.expect):
        if isinstance(check, ReceiptCheck) and check.request is None and check.writes:
            text = f"expect[{index}] proves nothing: any request to {check.to.split(' ')[1]} satisfies it"
            if check.tool is not None:
                text = f"expect[{index}] proves nothing: any call of {check.tool[1]} satisfies it"
            yield Weakness("contract.receipt_too_weak", f"{text}; say what it must hold (`request`)")


def can_change(routine: Routine) -> list[str]:
    """Say what the routine can change outside, then each permission that no check proves."""
    if not routine.may:
        return ["can change: nothing outside"]
    names = spoken_names(routine)
    sentences = [permission.sentence(names) for permission in routine.may]
    unproved = [
        f"unproved write: {sentence} (no check would notice)"
        for permission, sentence in zip(routine.may, sentences, strict=True)
        if not is_proved(permission, routine.expect)
    ]
    return [f"can change: {'; '.join(sentences)}; nothing else", *unproved]


def spoken_names(routine: Routine) -> dict[str, str]:
    """Return each repository's address as people say it, by the name that the routine gives it."""
    return {name: _spoken(repository.url) or name for name, repository in routine.repositories.items()}


def is_proved(permission: Permission, checks: tuple[Check, ...]) -> bool:
    """Whether a check that is no guard would see the write."""
    return any(_sees(check, permission) for check in checks if not check.guard)


def _sees(check: Check, permission: Permission) -> bool:
    if isinstance(permission, PushPermission):
        return isinstance(check, GitCheck) and check.in_ == "remote" and check.repo == permission.repo
    if isinstance(permission, RequestPermission):
        return isinstance(check, ReceiptCheck) and _overlap(check.to, permission.to)
    if isinstance(check, SqlCheck):
        return check.connector == permission.kind
    return isinstance(permission, ConnectorPermission) and _sees_connector(check, permission)


def _sees_connector(check: Check, permission: ConnectorPermission) -> bool:
    """Whether the check reads back what the tool does, or asks for the receipt of such a call."""
    if isinstance(check, SlackCheck):
        return permission.kind == check.kind and check.channel in _several(
            permission.fields.get("channels", check.channel)
        )
    if isinstance(check, GitHubCheck):
        asked = {"create_review": check.review_by, "create_comment": check.comment_by, "create_status": check.status}
        return permission.kind == check.kind and asked.get(permission.tool, check.pull) is not None
    if isinstance(check, HttpCheck):  # of a service of the instance's own nothing is known here but that it has pages
        return permission.kind not in KINDS
    tool = KINDS[permission.kind].tools.get(permission.tool) if permission.kind in KINDS else None
    if isinstance(check, ReceiptCheck) and check.tool is not None:
        return check.tool == (permission.kind, permission.tool)
    if not isinstance(check, ReceiptCheck) or tool is None:
        return False
    method, url = check.to.split(" ", 1)
    ours = tool.path.replace("{repo}", "*/*").split("/")[1:]
    return method == tool.method and _overlap("/".join(urlsplit(url).path.split("/")[-len(ours) :]), "/".join(ours))


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _overlap(one: str, other: str) -> bool:
    """Whether some request fits both: equal but for `*`, which is one segment."""
    ours, theirs = one.split("/"), other.split("/")
    return len(ours) == len(theirs) and all(a == b or "*" in {a, b} for a, b in zip(ours, theirs, strict=True))


def _spoken(url: str) -> str:
    """`acme/app` of https://git.example.com/acme/app.git; nothing of a file."""
    parts = urlsplit(url)
    return parts.path.strip("/").removesuffix(".git") if parts.scheme == "https" else ""
