"""The ports of access: tokens, and the audit log of what was done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tickover.core.access import Token
from tickover.core.errors import NotFoundError

__all__ = ["Audit", "AuditEntry", "Token", "TokenNotFoundError", "Tokens"]


class TokenNotFoundError(NotFoundError):
    """No token has that id."""

    def __init__(self, token: str) -> None:
        super().__init__("token.not_found", f"there is no token `{token[:80]}`", hint="`tickover token list`")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did, or was refused. `at` is UTC epoch seconds; `origin` is where the call came from."""

    id: int
    at: float
    who: str
    what: str
    target: str
    origin: str
    allowed: bool = True
    detail: dict[str, Any] = field(default_factory=dict)


class Tokens(Protocol):
    """The tokens of the instance. None is ever removed: a revoked one stays as a row."""

    def add(self, token: Token) -> None:
        """Keep a new token. Raises `ValueError` for an id that is taken."""
        ...

    def get(self, token: str) -> Token:
        """Return the token of that id, live or not. Raises `TokenNotFoundError`."""
        ...

    def list(self) -> Sequence[Token]:
        """Return all of them, oldest first."""
        ...

    def revoke(self, token: str, now: float) -> Token:
        """End it from now on; a second time changes nothing. Raises `TokenNotFoundError`."""
        ...

    def touch(self, token: str, now: float) -> None:
        """Note that it was used; kept to the minute, so that reading does not become writing."""
        ...


class Audit(Protocol):
    """Who did what, when, from where. Append-only: the database itself refuses to change or remove a row."""

    def note(
        self,
        *,
        who: str,
        what: str,
        target: str,
        origin: str,
        allowed: bool = True,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one entry, durable when this returns. `detail` is JSON and holds no secret."""
        ...

    def list(self, *, limit: int = 100, before: int | None = None) -> Sequence[AuditEntry]:
        """Return entries, newest first; `before` is the id that the page before this one ended with."""
        ...
