"""A GitHub App as a credential: which repositories a run's tokens are for, and what they may do there.

The App's private key makes tokens of an hour, each for one owner's repositories. What a token may do follows from what
the routine itself names: the repositories, and the writes that `may` has; everything else is `read`. Sources:
https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps,
https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tickover.core.check import GitHubCheck
from tickover.core.definition import Routine
from tickover.core.errors import UsageError, Where
from tickover.core.target import Target, read_origin
from tickover.core.text import one_line
from tickover.core.trigger import GitHubTrigger

GITHUB_APP: Final = "github-app"
READ_CONTENTS: Final = ("contents",)
READ_API: Final = ("checks", "contents", "issues", "pull_requests", "statuses")
"""What a token reads, so far as the App was given it: git alone, or the API as well."""

_AREAS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("contents", "git", "merges", "merge-upstream", "releases", "dispatches"), "contents"),
    **dict.fromkeys(("labels", "milestones"), "issues"),
    **dict.fromkeys(("check-runs", "check-suites"), "checks"),
    "issues": "issues|pull_requests",
    "pulls": "pull_requests",
    "statuses": "statuses",
    "deployments": "deployments",
    "actions": "actions",
    "hooks": "repository_hooks",
    "pages": "pages",
}
"""The part of the API below /repos/OWNER/NAME -> the permission that a write there needs; `|`: either one will do."""


@dataclass(frozen=True, slots=True)
class AppScope:
    """One owner's repositories. `writes` are permissions that must be there, `reads` those wished for."""

    owner: str
    repositories: tuple[str, ...]
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = READ_CONTENTS


@dataclass(frozen=True, slots=True)
class AppForm:
    """How an App's requests are signed. `app` is its client id or its number, `private` as for any host.

    `itself`: as the App, by a JWT, for the endpoints below /app; never in a run.
    """

    app: str
    api: str
    scopes: tuple[AppScope, ...] = ()
    private: bool = False
    itself: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the API."""
        _, host, port = read_origin(self.api)
        return host, port

    @property
    def base(self) -> str:
        """The path of the API's address, without a slash at its end: "" or /api/v3."""
        rest = self.api.partition("://")[2]
        return f"/{rest.partition('/')[2]}".rstrip("/")

    def is_api(self, host: str, port: int, path: str) -> bool:
        """Say whether a request is for the API, and not for a web page beside it."""
        return (host, port) == self.place and path.startswith(f"{self.base}/")

    def scope_for(self, path: str) -> AppScope | None:
        """Return whose token a request is sent with; with one owner only, his: GitHub refuses what is not his."""
        parts = path.removeprefix(f"{self.base}/repos").strip("/").split("/")
        owner = parts[0].casefold()
        found = next((each for each in self.scopes if each.owner.casefold() == owner), None)
        return found or (self.scopes[0] if len(self.scopes) == 1 else None)


class _Wanted:
    """What is collected for one owner."""

    def __init__(self) -> None:
        self.repositories: dict[str, str] = {}
        self.writes: dict[str, None] = {}


class ScopeBook:
    """Collects what a credential is needed for. Every method raises UsageError for what a token cannot be for."""

    def __init__(self, form: AppForm) -> None:
        self._form = form
        self._owners: dict[str, tuple[str, _Wanted]] = {}

    def repository(self, name: str) -> _Wanted:
        """Note OWNER/NAME."""
        owner, _, repo = name.partition("/")
        if not owner or not repo or "/" in repo or "*" in name:
            text = f"`{one_line(name, 80)}` is no repository by name, and a GitHub App's token is for such"
            raise UsageError("credential.app_scope", text, hint="write OWNER/NAME instead of `*`")
        found = self._owners.setdefault(owner.casefold(), (owner, _Wanted()))[1]
        found.repositories.setdefault(repo.casefold(), repo)
        return found

    def clone(self, remote: Target, *, push: bool = False) -> None:
        """Note a repository by its address."""
        path = [part for part in remote.segments if part]
        if len(path) != 2:
            text = f"{remote} is no repository of GitHub: its path is /OWNER/NAME"
            raise UsageError("credential.app_scope", text)
        wanted = self.repository(f"{path[0]}/{path[1].removesuffix('.git')}")
        if push:
            wanted.writes["contents"] = None

    def write(self, target: Target) -> None:
        """Note a request that changes something."""
        parts = "/".join(target.segments)
        base = self._form.base.lstrip("/")
        inside = parts.removeprefix(f"{base}/") if base else parts
        root, *rest = inside.split("/")
        if (target.host, target.port) != self._form.place or root != "repos" or len(rest) < 3:
            text = f"{target} is not below {self._form.api}/repos/OWNER/NAME, where a GitHub App's token is for"
            raise UsageError("credential.app_scope", text, hint="use a token of a person for it")
        if rest[2] not in _AREAS:
            known = ", ".join(sorted(_AREAS))
            text = f"what permission /{one_line(rest[2], 40)} of a repository needs is not known here"
            raise UsageError("credential.app_scope", text, hint=f"known: {known}")
        self.repository(f"{rest[0]}/{rest[1]}").writes[_AREAS[rest[2]]] = None

    def form(self, *, api: bool) -> AppForm:
        """Return all of it; `api`: the run can reach the API. Raises UsageError where no repository was noted."""
        if not self._owners:
            text = "nothing in the routine says which repositories the GitHub App's token is for"
            hint = "name them in `repositories`, in `may`, or in the trigger `github`"
            raise UsageError("credential.app_scope", text, hint=hint)
        return replace(self._form, scopes=tuple(self._scopes(api=api)))

    def _scopes(self, *, api: bool) -> Iterator[AppScope]:
        for _, (owner, wanted) in sorted(self._owners.items()):
            repositories = tuple(sorted(wanted.repositories.values()))
            yield AppScope(owner, repositories, tuple(sorted(wanted.writes)), READ_API if api else READ_CONTENTS)


def permissions_of(scope: AppScope, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return what to ask a token for of what an installation was given, and which writes it was not given."""
    asked = {name: "read" for name in scope.reads if given.get(name) in {"read", "write", "admin"}}
    missing: list[str] = []
    for need in scope.writes:
        able = _able(need.split("|"), given)
        if able is None:
            missing.append(need.replace("|", " or "))
        else:
            asked[able] = "write"
    return (asked or {"metadata": "read"}), missing


def _able(names: Iterable[str], given: Mapping[str, str]) -> str | None:
    return next((name for name in names if given.get(name) in {"write", "admin"}), None)


def app_form(
    name: str, form: AppForm, routine: Routine, *, writes: Iterable[Target], pushes: Iterable[Target], api: bool
) -> AppForm:
    """Say what the App's tokens are for in one run. `writes` and `pushes` go with this credential.

    `api`: the run can reach the API. Raises UsageError, placed at the credential.
    """
    book = ScopeBook(form)
    try:
        for repository in routine.repositories.values():
            if repository.credential == name and repository.url.startswith("https://"):
                book.clone(Target.parse(f"POST {repository.url}"))
        for remote in pushes:
            book.clone(remote, push=True)
        for target in writes:
            book.write(target)
        for read in _read(routine) if api else ():
            book.repository(read)
        return book.form(api=api)
    except UsageError as error:
        raise UsageError(error.code, error.message, hint=error.hint, where=Where(key=f"credentials.{name}")) from None


def _read(routine: Routine) -> Iterator[str]:
    """Yield the repositories that the routine speaks of where it speaks of the API."""
    yield from (each.repo for each in routine.on if isinstance(each, GitHubTrigger))
    for check in (*routine.expect, *routine.noop):
        if isinstance(check, GitHubCheck) and "{{" not in check.repo:
            yield check.repo
