"""A credential in a request: the client's own taken out, the granted one put in by its form."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote, unquote_plus

from tickover.core.egress import CredentialForm
from tickover.gateway.asked import Asked
from tickover.gateway.fields import Fields

PLACEHOLDER = "tickover-placeholder"
"""What stands in a sandbox for a credential contains this; it is never forwarded, to whatever host."""

OAUTH_BETA = "oauth-2025-04-20"
"""The beta header of Anthropic's API that a `claude-oauth` token needs (Claude Code 2.1.197 sends it)."""

_NAMES_ONE = re.compile(
    r"(?:^|-)(?:authorization|auth|cookie|cookie2|(?:api-?|access-?|auth-?)?(?:key|token)|secret|password|passwd"
    r"|credentials?|session|signature|jwt|bearer)(?:$|-)"
)
_HARMLESS = re.compile(
    r"sec-websocket-.*|idempotency-key|x-idempotency-key|x-csrf-token|surrogate-key|x-claude-.*|(?:mcp-|x-)?session-id"
)
_QUERY_NAMES = frozenset(
    {
        "access_token", "accesstoken", "access_key", "api_key", "apikey", "api-key", "auth", "auth_token", "authtoken",
        "authorization", "client_secret", "jwt", "key", "oauth_token", "password", "private_token", "sig", "signature",
        "token", "x-amz-credential", "x-amz-security-token", "x-amz-signature", "x-goog-signature",
    }
)  # fmt: skip
_GIT = re.compile(r"/.+/(?:info/refs|git-upload-pack|git-receive-pack)")


@functools.lru_cache(maxsize=1024)
def says_who(header: str) -> bool:
    """Say whether a header field of this name tells a server who asks."""
    name = header.lower().replace("_", "-")
    return _NAMES_ONE.search(name) is not None and not _HARMLESS.fullmatch(name)


def stripped(asked: Asked, names: Iterable[str]) -> Asked:
    """Return the request without anything that says who asks; `names` are parameters that also do."""
    fields = Fields((name, value) for name, value in asked.fields if not says_who(name))
    secret = _QUERY_NAMES | {name.lower() for name in names}
    parts = asked.query.split("&") if asked.query else []
    query = "&".join(part for part in parts if unquote_plus(part.partition("=")[0]).lower() not in secret)
    return replace(asked, fields=fields, query=query)


def speaks_git(asked: Asked) -> bool:
    """Say whether it is for git's smart protocol over HTTP (gitprotocol-http(5))."""
    if not _GIT.fullmatch(asked.path):
        return False
    return not asked.path.endswith("/info/refs") or asked.query.startswith("service=git-")


def dressed(asked: Asked, form: CredentialForm, value: bytes) -> Asked:
    """Return the request with the credential in it, in the place of any other."""
    secret = value.decode("latin-1")
    if form.kind == "query":
        kept = [part for part in asked.query.split("&") if part and part.partition("=")[0] != form.name]
        return replace(asked, query="&".join([*kept, f"{form.name}={quote(value, safe='')}"]))
    if form.kind in {"basic", "git"}:
        pair = base64.b64encode(form.user.encode() + b":" + value).decode()
        return asked.having("authorization", f"Basic {pair}")
    if form.kind == "claude-oauth":
        betas = [each.strip() for each in ",".join(asked.fields.all("anthropic-beta")).split(",")]
        listed = ",".join(dict.fromkeys([*(each for each in betas if each), OAUTH_BETA]))
        return asked.having("anthropic-beta", listed).having("authorization", f"Bearer {secret}")
    return asked.having(form.name, f"{form.prefix}{secret}")
