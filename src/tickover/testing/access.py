"""Tokens and audit log in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tickover.core.access import Token
from tickover.store.access import AuditEntry, TokenNotFoundError
from tickover.store.base import Clock


class MemoryTokens:
    """`Tokens`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, Token] = {}

    def add(self, token: Token) -> None:
        with self._lock:
            if token.id in self._tokens:
                raise ValueError(f"token {token.id} is there already")
            self._tokens[token.id] = token

    def get(self, token: str) -> Token:
        with self._lock:
            if token not in self._tokens:
                raise TokenNotFoundError(token)
            return self._tokens[token]

    def list(self) -> Sequence[Token]:
        with self._lock:
            return sorted(self._tokens.values(), key=lambda token: (token.created, token.id))

    def revoke(self, token: str, now: float) -> Token:
        known = self.get(token)
        if known.revoked is None:
            known = replace(known, revoked=now)
            with self._lock:
                self._tokens[token] = known
        return known

    def touch(self, token: str, now: float) -> None:
        with self._lock:
            known = self._tokens.get(token)
            if known is not None and (known.last_used is None or known.last_used < now - 60):
                self._tokens[token] = replace(known, last_used=now)


class MemoryAudit:
    """`Audit`."""

    def __init__(self, clock: Clock) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._entries: list[AuditEntry] = []

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
        kept = json.loads(json.dumps(dict(detail or {}), allow_nan=False))
        with self._lock:
            number = len(self._entries) + 1
            self._entries.append(AuditEntry(number, self._clock(), who, what, target, origin, allowed, kept))

    def list(self, *, limit: int = 100, before: int | None = None) -> Sequence[AuditEntry]:
        with self._lock:
            found = [each for each in reversed(self._entries) if before is None or each.id < before]
        return found[:limit]
