"""A GitHub App's tokens, made by the gateway: the key is opened here, and neither it nor a token is ever in a sandbox.

A token is for the repositories and permissions that one run needs, lives an hour, and is kept until five minutes before
its end. An answer of 401 makes it forgotten, so that the next request has a new one; one that is hardly a minute old is
kept, for then it is not the token's age. Source: https://docs.github.com/en/apps/creating-github-apps/
authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app, .../rest/apps/apps.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tickover.core.github_app import AppForm, AppScope, permissions_of
from tickover.core.text import one_line
from tickover.gateway.refusal import Refusal

BACK_S: Final = 60
"""Seconds that a JWT is dated back, for a clock that is ahead of GitHub's."""
LIVES_S: Final = 540
"""Seconds that a JWT is valid from now on; GitHub takes ten minutes at most."""
EARLY_S: Final = 300.0
"""Seconds before its end from which on a token is not used any more."""
YOUNG_S: Final = 60.0
"""Seconds for which a token that is refused is not made anew."""
_MOST_KEPT: Final = 1000
_CREATED: Final = 201
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of the API: its status and its body."""

    status: int
    body: bytes

    def map(self) -> Mapping[str, Any]:
        """Return the body as a map, an empty one where it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class Ask(Protocol):
    """Sends one request to the App's API: method, path, bearer, body. Raises Refusal."""

    def __call__(self, method: str, path: str, bearer: bytes, body: bytes = b"") -> Awaitable[Said]: ...


@dataclass(slots=True)
class _Token:
    value: bytes
    made: float
    ends: float


class AppTokens:
    """The tokens of all sessions of this process. `clock` is UTC epoch seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._tokens: dict[tuple[AppForm, AppScope], _Token] = {}
        self._jwts: dict[tuple[str, bytes], tuple[float, bytes]] = {}
        self._making: dict[tuple[AppForm, AppScope], asyncio.Lock] = {}

    async def token(self, form: AppForm, path: str, key: Callable[[], bytes], ask: Ask) -> bytes:
        """Return what a request to `path` is sent with. Raises Refusal (503 `credential`)."""
        if form.itself:
            return self._jwt(form, key())
        scope = form.scope_for(path)
        if scope is None:
            raise Refusal(403, "credential", "the request names no repository that the GitHub App's token is for")
        at = (form, scope)
        if at not in self._making and len(self._making) >= _MOST_KEPT:
            self._forget_old()
        async with self._making.setdefault(at, asyncio.Lock()):
            known = self._tokens.get(at)
            if known is None or known.ends - EARLY_S <= self._clock():
                known = self._tokens[at] = await self._make(form, scope, key, ask)
            return known.value

    def refused(self, form: AppForm, path: str, value: bytes) -> bool:
        """Hear that a token was answered with 401; say whether a new one is worth a try."""
        scope = form.scope_for(path)
        at = (form, scope) if scope is not None and not form.itself else None
        known = self._tokens.get(at) if at is not None else None
        if at is None or known is None:
            return False
        if known.value != value:
            return True  # another request has had it replaced
        if self._clock() - known.made < YOUNG_S:
            return False
        del self._tokens[at]
        return True

    def every(self) -> tuple[bytes, ...]:
        """Return what is there, of whatever App: tokens, and what proves the App itself."""
        made = (*(each.value for each in self._tokens.values()), *(value for _, value in self._jwts.values()))
        return tuple(dict.fromkeys(made))

    async def _make(self, form: AppForm, scope: AppScope, key: Callable[[], bytes], ask: Ask) -> _Token:
        bearer = self._jwt(form, key())
        where = f"{scope.owner}/{scope.repositories[0]}"
        found = await ask("GET", f"{form.base}/repos/{where}/installation", bearer)
        installation = found.map()
        number, given = installation.get("id"), installation.get("permissions")
        if found.status != _OK or not isinstance(number, int) or not isinstance(given, dict):
            raise _unusable(f"the GitHub App cannot be used on {where}", found)
        permissions, missing = permissions_of(scope, given)
        if missing:
            text = f"the GitHub App may not write {', '.join(missing)} at {scope.owner}: grant it that on GitHub"
            raise Refusal(503, "credential", text)
        body = json.dumps({"repositories": list(scope.repositories), "permissions": permissions}).encode()
        made = await ask("POST", f"{form.base}/app/installations/{number}/access_tokens", bearer, body)
        said = made.map()
        value, ends = said.get("token"), _moment(said.get("expires_at"))
        if made.status != _CREATED or not isinstance(value, str) or ends is None or not _plain(value):
            raise _unusable(f"GitHub made no token for {', '.join(scope.repositories)} of {scope.owner}", made)
        return _Token(value.encode("ascii"), self._clock(), ends)

    def _jwt(self, form: AppForm, key: bytes) -> bytes:
        """Return a JWT; one is used for half its life, for reading a key takes longer than anything else here."""
        digest, now = hashlib.sha256(key).digest(), self._clock()
        made, value = self._jwts.get((form.app, digest), (float("-inf"), b""))
        if not 0 <= now - made < LIVES_S / 2:
            made, value = now, jwt(form.app, key, now)
            self._jwts = {at: kept for at, kept in self._jwts.items() if now - kept[0] < LIVES_S}
            self._jwts[form.app, digest] = made, value
        return value

    def _forget_old(self) -> None:
        now = self._clock()
        for at in [at for at, lock in self._making.items() if not lock.locked()]:
            known = self._tokens.get(at)
            if known is None or known.ends <= now:
                self._tokens.pop(at, None)
                del self._making[at]


def jwt(app: str, key: bytes, now: float) -> bytes:
    """Return a JWT by which the App proves itself (RFC 7519, RS256). Raises Refusal for what is no RSA key."""
    signer = read_key(key)
    if signer is None:
        raise Refusal(503, "credential", "the GitHub App's key is no RSA private key in PEM")
    claims = {"iat": int(now) - BACK_S, "exp": int(now) + LIVES_S, "iss": app}
    parts = b".".join(_base64(json.dumps(each).encode()) for each in ({"alg": "RS256", "typ": "JWT"}, claims))
    return parts + b"." + _base64(signer.sign(parts, padding.PKCS1v15(), hashes.SHA256()))


def read_key(key: bytes) -> rsa.RSAPrivateKey | None:
    """Read a private key as GitHub gives it out; None for anything else."""
    try:
        found = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, rsa.RSAPrivateKey) else None


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _moment(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and 8 <= len(text) <= 4096


def _unusable(what: str, said: Said) -> Refusal:
    message = said.map().get("message")
    why = one_line(message, 200) if isinstance(message, str) else "nothing more"
    return Refusal(503, "credential", f"{what}: it answered {said.status}, {why}")
