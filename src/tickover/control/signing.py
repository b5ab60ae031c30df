"""The secrets that this process opens itself: those of kind `signing`, under a key of their own.

They are compared and signed with, or are how a message reaches its receiver; all others only the gateway opens.
"""

from __future__ import annotations

from pathlib import Path

from tickover.core.credential import SIGNING
from tickover.core.errors import UsageError
from tickover.gateway.secrets import key_for, unseal
from tickover.store.base import Secrets


def signing_secret(secrets: Secrets, folder: Path, name: str) -> bytes:
    """Return the value of a secret of kind `signing`. Raises SecretNotFoundError, UsageError for another kind."""
    record = secrets.get(name)
    if record.kind != SIGNING:
        text = f"the secret `{name}` is of kind `{record.kind}`: only the gateway uses it, never the server itself"
        raise UsageError("secret.not_signing", text, hint=f"`tickover secret set {name} --kind signing`")
    return unseal(key_for(str(folder), record.kind), name=name, kind=record.kind, sealed=record.sealed)
