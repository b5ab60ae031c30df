"""Who may do what through the API: scopes of a token, roles as names for sets of them, and what each operation needs.

A token reads `tko_ID_SECRET`: ID is public (lists and the audit log name it), SECRET is 32 random bytes. Only the
SHA-256 of the secret is kept. A slow password hash would add nothing: it protects guessable secrets, and 2^256
values cannot be guessed; what it would do is cost every request tens of milliseconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tickover.core.errors import UsageError

SECRET_BYTES: Final = 32
ID_BYTES: Final = 6
LONGEST: Final = 128
"""Characters of anything that may be a token; what is longer is not looked at."""

Need: TypeAlias = Literal["public", "any", "read", "fire", "operate", "admin"]
"""What an operation needs. `public`: no token; `any`: a valid one; `fire`: for the routine that is named."""

ROLES: Final[dict[str, tuple[str, ...]]] = {
    "viewer": ("read",),
    "operator": ("operate",),
    "admin": ("admin",),
}
IMPLIED: Final[dict[str, frozenset[str]]] = {
    "read": frozenset({"read"}),
    "operate": frozenset({"operate", "read", "fire"}),
    "admin": frozenset({"admin", "operate", "read", "fire"}),
}
"""Scope -> the needs it answers. `fire:ROUTINE` answers `fire` for that routine, `fire:*` for all, and nothing else."""

_TOKEN = re.compile(r"tko_([a-z2-7]{10})_([A-Za-z0-9_-]{43})")
_SCOPE = re.compile(r"read|operate|admin|fire:(?:\*|[a-z0-9-]{1,64})")
_OWNER = re.compile(r"(?:person|team|service):[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class AuthError(UsageError):
    """There is no valid token, or it does not allow this. `status` is the HTTP status it is answered with."""

    exit_code = 4

    def __init__(self, code: str, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept: everything but the secret. Times are UTC epoch seconds."""

    id: str
    sha256: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    created: float
    made_by: str = ""
    expires: float | None = None
    last_used: float | None = None
    revoked: float | None = None

    def state(self, now: float) -> Literal["live", "expired", "revoked"]:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "live"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls."""

    owner: str
    scopes: tuple[str, ...]
    token: str = ""

    def __str__(self) -> str:
        return f"{self.owner} (token {self.token})" if self.token else self.owner

    def may(self, need: Need, routine: str | None = None) -> bool:
        """Say whether the scopes answer a need; `routine` is the one to be fired."""
        if need in {"public", "any"}:
            return True
        if any(need in IMPLIED.get(scope, ()) for scope in self.scopes):
            return True
        return need == "fire" and bool({"fire:*", f"fire:{routine}"} & set(self.scopes))


def forge(random: bytes) -> tuple[str, str, str]:
    """Make a token of `ID_BYTES + SECRET_BYTES` random bytes: its id, the text to show once, what to keep."""
    if len(random) != ID_BYTES + SECRET_BYTES:
        raise ValueError(f"{ID_BYTES + SECRET_BYTES} random bytes are needed")
    name = base64.b32encode(random[:ID_BYTES]).decode().rstrip("=").lower()
    secret = base64.urlsafe_b64encode(random[ID_BYTES:]).decode().rstrip("=")
    return name, f"tko_{name}_{secret}", digest(secret)


def split(text: str) -> tuple[str, str] | None:
    """Take a token apart into its id and its secret; None for what cannot be one."""
    found = _TOKEN.fullmatch(text) if len(text) <= LONGEST else None
    return (found[1], found[2]) if found else None


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(kept: str, secret: str) -> bool:
    """Compare in a time that does not tell how much of it was right."""
    return hmac.compare_digest(kept.encode(), digest(secret).encode())


def scopes_of(role: str | None, scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes of a new token. Raises UsageError for an unknown one and for none at all."""
    wrong = [scope for scope in scopes if not _SCOPE.fullmatch(scope)]
    wrong += [role] if role is not None and role not in ROLES else []
    if wrong:
        hint = "scopes: read, fire:ROUTINE, fire:*, operate, admin; roles: viewer, operator, admin"
        raise UsageError("token.scope", f"`{wrong[0][:80]}` is no scope or role", hint=hint)
    found = tuple(dict.fromkeys([*(ROLES[role] if role else ()), *scopes]))
    if not found:
        raise UsageError("token.scope", "a token needs a role or a scope", hint="for example `--scope fire:hello`")
    return found


def owner_of(text: str) -> str:
    """Return the owner, if it is one. Raises UsageError."""
    if not _OWNER.fullmatch(text):
        hint = "person:NAME, team:NAME or service:NAME"
        raise UsageError("token.owner", f"`{text[:120]}` is no owner", hint=hint)
    return text


def refuse(principal: Principal | None, need: Need, routine: str | None = None) -> AuthError | None:
    """Say why this caller may not do what needs `need`, or nothing if it may."""
    if need == "public":
        return None
    if principal is None:
        hint = "send `Authorization: Bearer TOKEN`; `tickover token create` makes one"
        return AuthError("auth.required", "a valid token is needed", status=401, hint=hint)
    if principal.may(need, routine):
        return None
    wanted = f"fire:{routine}" if need == "fire" else need
    text = f"this token does not allow it: the scope `{wanted}` is needed"
    elsewhere = need == "fire" and any(scope.startswith("fire:") for scope in principal.scopes)
    code = "auth.other_routine" if elsewhere else "auth.forbidden"
    return AuthError(code, text, status=403, hint=f"it has: {_listed(principal.scopes)}")


def _listed(scopes: Collection[str]) -> str:
    return ", ".join(scopes) or "no scope"
