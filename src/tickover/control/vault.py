"""Stored values that the gateway replaces: a refresh token that is used up, and what came in its place.

The lock is a file's, DATA/oauth/NAME.lock: `tickover run` beside `tickover up` is two processes of one instance.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from tickover.core.errors import UsageError
from tickover.gateway.session import Sealed
from tickover.store.base import Secrets
from tickover.workspace.lock import FileLock

_BY: Final = "tickover (the token endpoint gave another)"
_PATIENCE_S: Final = 120.0  # an endpoint that does not answer is given up sooner


class StoreVault:
    """The secrets of a store (the port `Vault`)."""

    def __init__(self, secrets: Secrets, data: Path) -> None:
        self._secrets = secrets
        self._folder = data / "oauth"
        self._held: dict[str, tuple[FileLock, int]] = {}

    async def borrow(self, name: str) -> Sealed:
        """Return the newest value, alone (see the port). Raises SecretNotFoundError, TickoverError `workspace.busy`."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        lock = await FileLock.take(self._folder / f"{name}.lock", timeout_s=_PATIENCE_S)
        try:
            record = await asyncio.to_thread(self._secrets.get, name)
        except BaseException:
            lock.close()
            raise
        self._held[name] = lock, record.version
        return Sealed(record.kind, record.sealed)

    async def give_back(self, name: str, sealed: Sealed | None) -> None:
        """Keep a new value (see the port). One that was set by hand meanwhile stays. Raises UsageError then."""
        lock, version = self._held.pop(name)
        with lock:
            if sealed is not None:
                await asyncio.to_thread(self._put, name, sealed, version)

    def _put(self, name: str, sealed: Sealed, version: int) -> None:
        if self._secrets.get(name).version != version:
            raise UsageError("secret.changed", f"`{name}` was set anew meanwhile")
        self._secrets.put(name, kind=sealed.kind, sealed=sealed.value, by=_BY)
