"""Credentials that a token endpoint hands out: what the instance says of one, and the grant that the gateway asks by.

Two grants of RFC 6749: `client-credentials` (section 4.4), whose stored value is the client's secret, and
`refresh-token` (section 6), whose stored value is a refresh token that a person has obtained elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tickover.core.shape import Form, Line, Maybe, Name, Strict
from tickover.core.target import TargetError, read_origin

OAUTH = "oauth"
CLIENT_SECRET = "oauth-client"  # noqa: S105 - the kind's name
"""The kind of a client's secret that stands beside a refresh token: it goes to that token's endpoint and nowhere."""

GrantKind = Literal["client-credentials", "refresh-token"]
Authentication = Literal["basic", "body"]

Endpoint = Annotated[
    str, Form(r"https://[^\s/@?#*\\{}]+/[^\s?#*\\{}]*", "a token endpoint is https://HOST/PATH, without a query")
]
Text = Annotated[str, Form(r"[\x21-\x7e]{1,500}", "1 to 500 printable ASCII characters, no space")]


@dataclass(frozen=True, slots=True)
class OAuthGrant:
    """How the gateway gets a token. `private`: the endpoint may have a private address, says the instance."""

    grant: GrantKind
    host: str
    port: int
    path: str
    client: str
    send: Authentication = "basic"
    scope: str = ""
    resource: str = ""
    client_secret: str | None = None
    private: bool = False


class OAuthSettings(Strict):
    """What the file says of a credential of kind `oauth`. `resource` is RFC 8707's, which MCP servers ask for."""

    grant: GrantKind
    token_url: Endpoint
    client_id: Text
    send: Authentication = "basic"
    scope: Annotated[Line, Field(max_length=500)] = ""
    resource: Maybe[Text] = None
    client_secret: Maybe[Name] = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.client_secret is not None and self.grant == "client-credentials":
            text = "of grant `client-credentials` the credential's own value is the client's secret"
            raise PydanticCustomError("choice", "{text}", {"text": text, "at": ("client_secret",)})
        try:
            read_origin(self.token_url)
        except TargetError as error:
            raise PydanticCustomError(
                "form", "{text}", {"text": f"token_url: {error.message}", "at": ("token_url",)}
            ) from None
        return self

    @property
    def entry(self) -> str:
        """`host:port` of the token endpoint."""
        _, host, port = read_origin(self.token_url)
        return f"{host}:{port}"

    def asked(self, *, private: bool) -> OAuthGrant:
        """Make the grant."""
        _, host, port = read_origin(self.token_url)
        path = "/" + self.token_url.split("/", 3)[3]
        return OAuthGrant(
            self.grant, host, port, path, self.client_id, self.send, self.scope, self.resource or "",
            self.client_secret, private,
        )  # fmt: skip
