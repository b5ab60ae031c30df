"""What a `git push` would do, ref by ref, and whether `may` allows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tickover.core.definition import Repository
from tickover.core.matcher import Matcher
from tickover.core.permission import Permission, PushPermission
from tickover.core.target import Path, Target
from tickover.core.text import one_line

# git check-ref-format(1), plus: no leading dash, which would be an option.
NO_REF = re.compile(r"^[-/.]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[./]$|^@$|^$")
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One command of a push. `fast_forward` is None where nobody could tell: then it counts as overwriting."""

    ref: str
    old: str
    new: str
    fast_forward: bool | None = None

    @property
    def creates(self) -> bool:
        return not self.old.strip("0")

    @property
    def deletes(self) -> bool:
        return not self.new.strip("0")

    @property
    def overwrites(self) -> bool:
        return not self.creates and not self.deletes and self.fast_forward is not True


@dataclass(frozen=True, slots=True)
class PushRule:
    """A permission `push` with the address of its repository."""

    name: str
    remote: Target
    refs: tuple[str, ...]
    force: bool = False
    delete: bool = False
    credential: str | None = None

    def covers(self, ref: str) -> bool:
        """Say whether a ref is meant. `tickover/*` is of branches; what begins with `refs/` is taken whole."""
        return any(Matcher({"glob": _whole(glob)}).matches(ref) for glob in self.refs)


def _whole(ref: str) -> str:
    return ref if ref.startswith("refs/") else f"refs/heads/{ref}"


def push_rules(may: Iterable[Permission], repositories: Mapping[str, Repository]) -> tuple[PushRule, ...]:
    """Make the rules of every `push` to a repository that is reached over HTTPS."""
    return tuple(
        PushRule(
            name=f"may[{index}]",
            remote=Target.parse(f"POST {repositories[each.repo].url}"),
            refs=each.refs,
            force=each.force,
            delete=each.delete,
            credential=repositories[each.repo].credential,
        )
        for index, each in enumerate(may)
        if isinstance(each, PushPermission)
        and each.repo in repositories
        and repositories[each.repo].url.startswith("https://")
    )


def git_service(path: Path) -> tuple[str, tuple[str, ...]] | None:
    """Return the git service that a path asks for, and the repository's segments without `.git`."""
    *repository, service = path.segments
    if service not in {"git-receive-pack", "git-upload-pack"} or not repository or path.quirks:
        return None
    return service, without_suffix(repository)


def without_suffix(segments: Sequence[str]) -> tuple[str, ...]:
    """Return a repository's segments in the one spelling of its two: `app` for `app.git`."""
    return (*segments[:-1], segments[-1].removesuffix(".git"))


@dataclass(frozen=True, slots=True)
class RefJudged:
    """What becomes of one update: the rule that allows it, or a stable code and a sentence."""

    update: RefUpdate
    rule: PushRule | None
    code: str
    says: str


def judge_push(updates: Sequence[RefUpdate], rules: Sequence[PushRule]) -> list[RefJudged]:
    """Judge every update; a push is one thing, so the caller lets all pass or none."""
    seen: set[str] = set()
    judged = []
    for update in updates:
        judged.append(_judge(update, rules, twice=update.ref in seen))
        seen.add(update.ref)
    return judged


def _judge(update: RefUpdate, rules: Sequence[PushRule], *, twice: bool) -> RefJudged:
    ref = one_line(update.ref, 100)
    well_formed = _OBJECT.fullmatch(update.old) and _OBJECT.fullmatch(update.new) and len(update.old) == len(update.new)
    if not update.ref.startswith("refs/") or NO_REF.search(update.ref) or not well_formed:
        return RefJudged(update, None, "ref_malformed", f"`{ref}` is no update that git allows")
    if twice:
        return RefJudged(update, None, "ref_twice", f"{ref} is updated twice in one push")
    if update.creates and update.deletes:
        return RefJudged(update, None, "ref_malformed", f"{ref} is neither there before nor after")
    covering = [rule for rule in rules if rule.covers(update.ref)]
    if not covering:
        allowed = ", ".join(glob for rule in rules for glob in rule.refs) or "none"
        return RefJudged(update, None, "ref_not_allowed", f"{ref} is not among the refs that `may` names: {allowed}")
    for rule in covering:
        if (rule.delete or not update.deletes) and (rule.force or not update.overwrites):
            return RefJudged(update, rule, "allowed", f"{rule.name} allows {ref}")
    word, key = ("deleted", "delete") if update.deletes else ("overwritten", "force")
    says = f"{covering[0].name} does not let {ref} be {word}: that needs `{key}: true`"
    return RefJudged(update, None, f"ref_{key}", says)
