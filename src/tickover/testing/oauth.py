"""A double of a token endpoint, and of a server that wants its tokens (RFC 6749 4.4, 5 and 6; RFC 6750)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote_plus

from tickover.testing.upstream import Seen, Talk

_JSON = (("content-type", "application/json"), ("cache-control", "no-store"))


@dataclass
class TokenEndpoint:
    """Hands out tokens `token-1`, `token-2`, ...; `handler` is for testing.upstream.upstream.

    A refresh token is good once: `refresh` is the one that is good now, and one that comes again ends all (`revoked`).
    `valid` has the tokens that its servers take. `expires_in` None: it does not say. `says` is answered instead.
    """

    client: str = "tickover"
    secret: str = "the client's secret"  # noqa: S105 - a double's
    refresh: str = "refresh-token-0"
    expires_in: float | None = 3600
    rotates: bool = True
    says: tuple[str, bytes] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    revoked: bool = False
    _serial: int = 0

    async def handler(self, seen: Seen, talk: Talk) -> None:
        form = {key: values[0] for key, values in parse_qs(seen.body.decode(), keep_blank_values=True).items()}
        self.asked.append(form)
        self.authorizations.append(seen.header("authorization"))
        if self.says is not None:
            status, body = self.says
            await talk.answer(body, status=status, headers=_JSON)
            return
        error = self._wrong(form, self._client(seen, form))
        if error:
            await talk.answer(json.dumps({"error": error}).encode(), status="400 Bad Request", headers=_JSON)
            return
        self._serial += 1
        token = f"token-{self._serial}"
        self.valid.add(token)
        answer: dict[str, object] = {"access_token": token, "token_type": "Bearer"}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        if form["grant_type"] == "refresh_token" and self.rotates:
            self.refresh = answer["refresh_token"] = f"refresh-token-{self._serial}"
        await talk.answer(json.dumps(answer).encode(), headers=_JSON)

    def _client(self, seen: Seen, form: dict[str, str]) -> tuple[str, str]:
        scheme, _, pair = (seen.header("authorization") or "").partition(" ")
        if scheme != "Basic":
            return form.get("client_id", ""), form.get("client_secret", "")
        user, _, password = base64.b64decode(pair).decode().partition(":")
        return unquote_plus(user), unquote_plus(password)

    def _wrong(self, form: dict[str, str], client: tuple[str, str]) -> str:
        if form.get("grant_type") == "client_credentials":
            return "" if client == (self.client, self.secret) else "invalid_client"
        if form.get("grant_type") != "refresh_token":
            return "unsupported_grant_type"
        if client not in {(self.client, self.secret), (self.client, "")}:
            return "invalid_client"
        if form.get("refresh_token") != self.refresh or self.revoked:
            self.revoked = True
            self.valid.clear()
            return "invalid_grant"
        return ""

    async def resource(self, seen: Seen, talk: Talk) -> None:
        """Answer as a server does that takes these tokens: 401 for another one; it says which it was shown."""
        scheme, _, token = (seen.header("authorization") or "").partition(" ")
        if scheme != "Bearer" or token not in self.valid:
            challenge = ("www-authenticate", 'Bearer error="invalid_token"')
            await talk.answer(b"{}", status="401 Unauthorized", headers=(*_JSON, challenge))
            return
        await talk.answer(json.dumps({"shown": token, "got": seen.body.decode()}).encode(), headers=_JSON)
