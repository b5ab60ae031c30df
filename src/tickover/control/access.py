"""Tokens at work: made and shown once, asked for at every request, revoked; each of it a row in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tickover.core import access
from tickover.core.access import Principal, Token
from tickover.core.errors import UsageError
from tickover.store.access import Audit, TokenNotFoundError, Tokens
from tickover.store.base import Clock

_NOBODY: Final = "0" * 64  # compared with when there is no such token, so that both answers take the same time
_LONGEST_NAME: Final = 100
_SECONDS_PER_USE: Final = 60.0


class Access:
    """Who may call, by the tokens of one instance. `random` gives that many random bytes."""

    def __init__(self, tokens: Tokens, audit: Audit, *, clock: Clock, random: Callable[[int], bytes]) -> None:
        self.audit = audit
        self._tokens = tokens
        self._clock = clock
        self._random = random

    def create(
        self,
        *,
        name: str,
        owner: str,
        role: str | None = None,
        scopes: Sequence[str] = (),
        lasts: float | None = None,
        by: str,
        origin: str,
    ) -> tuple[Token, str]:
        """Make a token and return it with its text, which can never be had again. `lasts` is seconds.

        Raises UsageError for a scope, role, owner or name that cannot be one.
        """
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise UsageError("token.name", f"a token's name has 1 to {_LONGEST_NAME} printable characters")
        granted, owner = access.scopes_of(role, scopes), access.owner_of(owner)
        now = self._clock()
        id_, text, kept = access.forge(self._random(access.ID_BYTES + access.SECRET_BYTES))
        expires = None if lasts is None else now + lasts
        token = Token(id_, kept, name, owner, granted, now, by, expires)
        self._tokens.add(token)
        detail = {"name": name, "owner": owner, "scopes": list(granted), "expires": expires}
        self.audit.note(who=by, what="token.create", target=id_, origin=origin, detail=detail)
        return token, text

    def authenticate(self, text: str) -> Principal | None:
        """Return who shows this token; None for one that is unknown, wrong, expired or revoked."""
        parts = access.split(text)
        if parts is None:
            return None
        id_, secret = parts
        try:
            token = self._tokens.get(id_)
        except TokenNotFoundError:
            access.same(_NOBODY, secret)
            return None
        now = self._clock()
        if not access.same(token.sha256, secret) or token.state(now) != "live":
            return None
        if token.last_used is None or token.last_used < now - _SECONDS_PER_USE:
            self._tokens.touch(id_, now)
        return Principal(token.owner, token.scopes, id_)

    def list(self) -> Sequence[tuple[Token, str]]:
        """Return every token with its state now."""
        now = self._clock()
        return [(token, token.state(now)) for token in self._tokens.list()]

    def revoke(self, token: str, *, by: str, origin: str) -> Token:
        """End a token. Raises NotFoundError."""
        ended = self._tokens.revoke(token, self._clock())
        self.audit.note(who=by, what="token.revoke", target=ended.id, origin=origin)
        return ended
