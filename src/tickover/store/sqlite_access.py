"""Tokens and the audit log in SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tickover.store.access import AuditEntry, Token, TokenNotFoundError
from tickover.store.base import Clock
from tickover.store.database import Database
from tickover.store.encoding import decode_json, encode_json
from tickover.store.rules import printable


class SqliteTokens:
    """`Tokens`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: Token) -> None:
        with self._database.writing():
            if self._database.run("token", (token.id,)).fetchone():
                raise ValueError(f"token {token.id} is there already")
            row = {
                "id": token.id,
                "sha256": token.sha256,
                "name": printable(token.name),
                "owner": token.owner,
                "scopes": " ".join(token.scopes),
                "created": token.created,
                "made_by": printable(token.made_by),
                "expires": token.expires,
            }
            self._database.run("add_token", row)

    def get(self, token: str) -> Token:
        with self._database.reading():
            found = self._database.run("token", (printable(token),)).fetchone()
        if found is None:
            raise TokenNotFoundError(token)
        return _token(found)

    def list(self) -> Sequence[Token]:
        with self._database.reading():
            return [_token(found) for found in self._database.run("tokens")]

    def revoke(self, token: str, now: float) -> Token:
        known = self.get(token)
        with self._database.writing():
            self._database.run("revoke_token", {"id": known.id, "now": now})
        return self.get(known.id)

    def touch(self, token: str, now: float) -> None:
        with self._database.writing():
            self._database.run("touch_token", {"id": token, "now": now})


class SqliteAudit:
    """`Audit`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

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
        texts = [printable(text) for text in (who, what, target, origin)]
        with self._database.writing():
            self._database.run("add_audit", (self._clock(), *texts, int(allowed), encode_json(dict(detail or {}))))

    def list(self, *, limit: int = 100, before: int | None = None) -> Sequence[AuditEntry]:
        with self._database.reading():
            rows = self._database.run("audit", {"limit": limit, "before": before}).fetchall()
        return [
            AuditEntry(id_, at, who, what, target, origin, bool(allowed), decode_json(detail))
            for id_, at, who, what, target, origin, allowed, detail in rows
        ]


def _token(row: Sequence[Any]) -> Token:
    id_, sha256, name, owner, scopes, *rest = row
    return Token(id_, sha256, name, owner, tuple(scopes.split()), *rest)
