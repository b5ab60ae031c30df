"""One request to a token endpoint and its answer: RFC 6749 sections 2.3.1, 4.4, 5 and 6, RFC 8707 for `resource`.

No secret is in what is raised: of an error's answer only the code is told, and only one of the standard's.
"""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import quote_plus, urlencode

from tickover.core.document import DocumentError, read_json
from tickover.core.network import Decision, Route
from tickover.core.oauth import OAuthGrant
from tickover.core.target import PORTS
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.fields import Fields
from tickover.gateway.framing import Framing, Kind
from tickover.gateway.http1 import Data, End, Response, ResponseReader, request_head
from tickover.gateway.patience import Patience, within
from tickover.gateway.refusal import Refusal
from tickover.gateway.tls import Secure

_LARGEST: Final = 64 << 10
_ERRORS: Final = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "invalid_target",
    }
)  # fmt: skip
_NO_EXPIRY_S: Final = 3600.0  # where the answer does not say; a 401 renews it sooner
_LONGEST_S: Final = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Minted:
    """A token, the seconds that it lasts, and the refresh token that takes the place of the one that was used."""

    token: bytes = field(repr=False)
    lasts_s: float
    refresh: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Post:
    """How a session reaches a token endpoint: as it reaches everything. `trust` is for TLS."""

    dialler: Dialler
    fence: Fence
    trust: ssl.SSLContext
    patience: Patience

    async def mint(self, grant: OAuthGrant, secret: bytes, client_secret: bytes | None) -> Minted:
        """Ask for a token. `secret` is the credential's stored value. Raises Refusal."""
        says = f"a token of {grant.host} was asked for"
        decision = Decision(Route.INSPECT, "oauth", says, grant.host, grant.port, private=grant.private)
        try:
            wire = await self.dialler.dial(decision, self.fence)
            try:
                channel = Secure(wire, self.trust, server_name=grant.host)
                async with within(self.patience.head_s, 504, "tls_timeout", f"{grant.host} did not shake hands"):
                    await channel.handshake()
                channel.write(_request(grant, secret, client_secret))
                async with within(self.patience.body_s, 504, "upstream_silent", f"{grant.host} did not answer"):
                    status, body = await _answer(channel)
            finally:
                wire.close()
        except Refusal as refusal:
            says = f"no token can be had from {grant.host}: {refusal.reason}"
            raise Refusal(503, "credential", says) from refusal
        return _read(grant, status, body)


def _request(grant: OAuthGrant, secret: bytes, client_secret: bytes | None) -> bytes:
    form = {"grant_type": "client_credentials"}
    client = secret
    if grant.grant == "refresh-token":
        form = {"grant_type": "refresh_token", "refresh_token": secret.decode("latin-1")}
        client = client_secret or b""
    if grant.scope:
        form["scope"] = grant.scope
    if grant.resource:
        form["resource"] = grant.resource
    fields = [("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")]
    if client and grant.send == "basic":
        pair = f"{quote_plus(grant.client)}:{quote_plus(client)}"
        fields.append(("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    else:
        form["client_id"] = grant.client
        if client:
            form["client_secret"] = client.decode("latin-1")
    body = urlencode(form).encode("ascii")
    host = grant.host if grant.port == PORTS["https"] else f"{grant.host}:{grant.port}"
    return request_head("POST", grant.path, host, Fields(fields), Framing(Kind.LENGTH, len(body))) + body


async def _answer(channel: Secure) -> tuple[int, bytes]:
    reader = ResponseReader()
    reader.expect("POST")
    status, body = 0, bytearray()
    while True:
        event = reader.next_event()
        if isinstance(event, Response):
            status = event.status
        elif isinstance(event, Data):
            body += event.data
            if len(body) > _LARGEST:
                raise Refusal(502, "large_head", "the answer is too large")
        elif isinstance(event, End):
            return status, bytes(body)
        elif event is None:
            reader.receive(await channel.read())


def _read(grant: OAuthGrant, status: int, body: bytes) -> Minted:
    try:
        said = read_json(body, unique=True)
    except DocumentError:
        said = None
    said = said if isinstance(said, dict) else {}
    if status != HTTPStatus.OK:
        error = said.get("error")
        code = error if isinstance(error, str) and error in _ERRORS else "no known reason"
        raise Refusal(503, "credential", f"{grant.host} gives no token: {status}, {code}")
    token, kind, lasts = said.get("access_token"), said.get("token_type"), said.get("expires_in")
    refresh = said.get("refresh_token")
    if not isinstance(token, str) or not token.isascii() or not isinstance(kind, str) or kind.lower() != "bearer":
        raise Refusal(503, "credential", f"{grant.host} answered with no bearer token")
    if isinstance(lasts, bool) or not isinstance(lasts, int | float) or not 0 < lasts < _LONGEST_S:
        lasts = _NO_EXPIRY_S
    renewed = refresh.encode() if grant.grant == "refresh-token" and isinstance(refresh, str) and refresh else None
    return Minted(token.encode("ascii"), float(lasts), renewed)
