"""The check `git`: commits or refs, of the remote end as it is now, or of the agent's clone as we copied it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue

from tickover.checks.base import Answer, Hands, verdict
from tickover.core.check import GitCheck
from tickover.core.evidence import CheckResult
from tickover.core.matcher import Matcher


class Check:
    """Asks for one ref, or counts the commits of a range. `detail.commit` is where the ref or range ends."""

    kind: ClassVar[str] = "git"

    async def evaluate(self, definition: GitCheck, hands: Hands) -> Answer:
        if definition.range is not None:
            return await _range(definition, definition.range, definition.commits or Matcher({"gte": 1}), hands)
        return await _ref(definition, definition.ref or "", hands)


async def _ref(definition: GitCheck, ref: str, hands: Hands) -> Answer:
    if definition.commits is not None:
        return Answer(CheckResult.ERROR, "`commits` counts a `range` (A..B), not a `ref`")
    commit = await hands.resolve_ref(definition.repo, definition.in_, ref)
    wanted = definition.exists is not False
    says = f"{ref} of {_place(definition)} is {commit[:12]}" if commit else f"{_place(definition)} has no {ref}"
    return Answer(verdict((commit is not None) is wanted), says, {"ref": ref, "commit": commit})


async def _range(definition: GitCheck, text: str, wanted: Matcher, hands: Hands) -> Answer:
    base, dots, head = text.partition("..")
    if not (base and dots and head) or head.startswith(".") or ".." in head:
        return Answer(CheckResult.ERROR, f"`{text}` is no range; write A..B")
    commits: dict[str, str] = {}
    for ref in (base, head):
        commit = await hands.resolve_ref(definition.repo, definition.in_, ref)
        if commit is None:
            result = CheckResult.ERROR if ref == base else CheckResult.FAIL  # nothing to count from, or to
            return Answer(result, f"{_place(definition)} has no {ref}, so {text} cannot be counted", {"range": text})
        commits[ref] = commit
    count = await hands.count_commits(definition.repo, definition.in_, base=commits[base], head=commits[head])
    detail: dict[str, JsonValue] = {"range": text, "base": commits[base], "commit": commits[head], "commits": count}
    holds = wanted.matches(count)
    why = "" if holds else f" ({'; '.join(clause.says for clause in wanted.explain(count) if not clause.ok)} is wanted)"
    return Answer(verdict(holds), f"{_place(definition)} has {count} commits in {text}{why}", detail)


def _place(definition: GitCheck) -> str:
    return f"{definition.repo}" if definition.in_ == "remote" else f"the agent's clone of {definition.repo}"
