"""The one family of errors: code, sentence, hint, place. CLI, API and pages print all of them alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """The place an error speaks of: a file with a 1-based line and column, or a dotted key."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place} ({self.key})" if place and self.key else place or (self.key or "")


class TickoverError(Exception):
    """Base of every error a user sees.

    `code` is stable and dotted (`definition.unknown_key`), `message` one sentence, `hint` what to do next,
    `where` the place. `exit_code` is what the CLI returns (product.md: 1 ours, 2 usage, 3 not found, 4 auth).
    """

    exit_code = 1

    def __init__(self, code: str, message: str, *, hint: str = "", where: Where | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where and str(self.where) else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message} [{self.code}]{hint}"

    def as_dict(self) -> dict[str, object]:
        """Return the form that `--json` and the API answer with."""
        where = {k: v for k, v in asdict(self.where).items() if v is not None} if self.where else None
        return {"code": self.code, "message": self.message, "hint": self.hint, "where": where}


class UsageError(TickoverError):
    """The caller asked for something that cannot be: a wrong option, a definition that does not validate."""

    exit_code = 2


class NotFoundError(TickoverError):
    """A named thing is not there."""

    exit_code = 3


class DefinitionErrors(UsageError):  # noqa: N818 - it holds several
    """Every problem of one definition at once, so that nobody mends a file one error at a time."""

    def __init__(self, problems: list[TickoverError]) -> None:
        if not problems:
            raise ValueError("DefinitionErrors needs at least one problem")
        first = problems[0]
        super().__init__(first.code, first.message, hint=first.hint, where=first.where)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "problems": [problem.as_dict() for problem in self.problems]}


class NotYetError(UsageError):
    """A key is valid, but the behaviour behind it is not built yet."""

    def __init__(self, key: str, *, where: Where | None = None) -> None:
        super().__init__(
            f"not_yet: {key}",
            f"`{key}` is valid, but this build of Tickover cannot do it yet",
            hint="remove the key, or wait for the release that lists it in CHANGELOG.md",
            where=where,
        )
