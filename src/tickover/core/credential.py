"""A credential as the instance's configuration has it: where a secret may go, and how it is put into a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tickover.core.connector import Address
from tickover.core.definition import HOST
from tickover.core.egress import CredentialForm
from tickover.core.errors import UsageError
from tickover.core.github_app import GITHUB_APP, AppForm
from tickover.core.github_desk import PUBLIC
from tickover.core.host import HostError
from tickover.core.network import Asked, Endpoint, InstanceNetwork, policy_of
from tickover.core.oauth import CLIENT_SECRET, OAUTH, OAuthGrant, OAuthSettings
from tickover.core.shape import Form, Maybe, Strict

CredentialKind = Literal[
    "header", "basic", "query", "git", "claude-oauth", "github-app", "oauth", "oauth-client", "signing"
]
SIGNING: Final = "signing"
"""The kind of what is compared and signed with (webhooks, callbacks) and never sent anywhere."""
_PLAIN: Final = InstanceNetwork()
_NEVER_SENT: Final = (SIGNING, CLIENT_SECRET)


class _Host:
    """Text that is a host, `*.host` or `host:port`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{HOST})$"}

    @staticmethod
    def _check(value: str) -> str:
        try:
            Endpoint.parse(value)
        except HostError as error:
            raise PydanticCustomError("form", "{text}", {"text": error.message}) from None
        return value


HostEntry = Annotated[str, _Host()]
HeaderName = Annotated[str, Form(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", "a header's name has no space and no colon")]
Plain = Annotated[str, Form(r"[\x20-\x7e]{0,200}", "at most 200 printable ASCII characters")]
Word = Annotated[str, Form(r"[\x21-\x7e]{1,200}", "1 to 200 printable ASCII characters, no space")]
User = Annotated[str, Form(r"[!-9;-~]{1,200}", "1 to 200 printable ASCII characters, no space and no colon")]


_OWN_KEYS: dict[str, frozenset[str]] = {
    "header": frozenset({"header", "prefix"}),
    "query": frozenset({"param"}),
    "basic": frozenset({"user"}),
    "git": frozenset({"user"}),
    "claude-oauth": frozenset(),
    GITHUB_APP: frozenset({"app", "api"}),
    OAUTH: frozenset({"oauth"}),
    CLIENT_SECRET: frozenset(),
    SIGNING: frozenset(),
}


class Credential(Strict):
    """Where a secret may go, and how it is put into a request. `signing` and `oauth-client` stand in no request."""

    kind: CredentialKind = "header"
    hosts: tuple[HostEntry, ...] = ()
    header: HeaderName = "authorization"
    prefix: Plain = "Bearer "
    param: Maybe[Word] = None
    user: User = "x-access-token"
    app: Maybe[Word] = None
    api: Maybe[Address] = None
    oauth: Maybe[OAuthSettings] = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        for key in sorted(self.model_fields_set - {"kind", "hosts"} - _OWN_KEYS[self.kind]):
            text = f"`{key}` has no meaning for a credential of kind `{self.kind}`"
            raise PydanticCustomError("choice", "{text}", {"text": text, "at": (key,)})
        if self.kind == "query" and self.param is None:
            raise PydanticCustomError("choice", "{text}", {"text": "kind `query` needs `param`, the parameter's name"})
        if self.kind == GITHUB_APP and self.app is None:
            text = "kind `github-app` needs `app`, the App's client id or number"
            raise PydanticCustomError("choice", "{text}", {"text": text})
        if self.kind == OAUTH and self.oauth is None:
            text = "kind `oauth` needs `oauth`: where its tokens come from (tickover.yaml)"
            raise PydanticCustomError("choice", "{text}", {"text": text})
        if (self.kind in _NEVER_SENT) is bool(self.hosts):
            never = f"kind `{self.kind}` is put into no request, so it has no `hosts`"
            text = never if self.hosts else "`hosts` says where it may go"
            raise PydanticCustomError("choice", "{text}", {"text": text})
        return self

    def form(self, network: InstanceNetwork = _PLAIN) -> CredentialForm | None:
        """Say how it is put into a request; None for what is never sent. Raises UsageError (a token endpoint)."""
        if self.kind == "oauth" and self.oauth is not None:
            return CredentialForm(oauth=_grant(self.oauth, network))
        if self.kind == "signing" or self.kind == "oauth-client" or self.kind == "oauth":  # noqa: PLR1714 - so it narrows
            return None
        if self.kind == GITHUB_APP:
            return CredentialForm(GITHUB_APP, app=AppForm(self.app or "", (self.api or PUBLIC).rstrip("/")))
        name = self.param if self.kind == "query" and self.param else self.header
        return CredentialForm(self.kind, name, self.prefix, self.user)


def _grant(settings: OAuthSettings, network: InstanceNetwork) -> OAuthGrant:
    """Make the grant of a credential: the instance's own rules count for its token endpoint, too."""
    [endpoint] = (Endpoint.parse(settings.entry),)
    judged = policy_of([Asked(settings.entry, "oauth.token_url")], {}, replace(network, tunnel=())).judge(
        endpoint.host.name, *endpoint.ports
    )
    if not judged.allowed:
        raise UsageError("credential.token_url", f"no token can be had: {judged.says}")
    return settings.asked(private=judged.private)
