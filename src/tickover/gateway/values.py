"""Credentials' values in the gateway's process: the stored forms that a session brought, opened by the key.

The instance's key stays here; so does the key of receipts, which is made of it and of nothing that is stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping

from tickover.gateway.secrets import SecretError, create_key_file, read_key_file, unseal
from tickover.gateway.session import Sealed

_RECEIPTS = b"tickover receipts key 1"


def key_of_instance(path: str) -> bytes:
    """Read the instance's key, making it and its file on first use. Raises SecretError."""
    if not os.path.lexists(path):
        with contextlib.suppress(SecretError):  # another process was first
            return create_key_file(path)
    return read_key_file(path)


def receipts_key(key: bytes) -> bytes:
    """Make the key of the chains of receipts: nobody who has one of the two can tell the other."""
    return hmac.new(key, _RECEIPTS, hashlib.sha256).digest()


class SealedValues:
    """The values of one session (the port `Values`)."""

    def __init__(self, key: bytes, sealed: Mapping[str, Sealed]) -> None:
        self._key = key
        self._sealed = sealed

    def every(self) -> Iterator[bytes]:
        """Open all that can be opened."""
        for name in self._sealed:
            with contextlib.suppress(SecretError):
                yield self.value(name)

    def value(self, name: str) -> bytes:
        """Open one. Raises SecretError, whose text holds no value."""
        try:
            sealed = self._sealed[name]
        except KeyError:
            text = f"there is no secret `{name}`, or it was not granted to this run"
            raise SecretError("secrets.missing", text, hint=f"tickover secret set {name}") from None
        return unseal(self._key, name=name, kind=sealed.kind, sealed=sealed.value)

    async def fresh(self, name: str, *, rejected: bytes | None = None) -> None:
        """Do nothing: what is stored does not grow old by itself."""
