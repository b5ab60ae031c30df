"""What one run may send, and how: all that the gateway is given when a run's sandbox starts. No secret is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tickover.core.effect import Wanted
from tickover.core.enforcement import Powers
from tickover.core.github_app import AppForm
from tickover.core.mcp import McpServer
from tickover.core.metering import UNBOUND, Budget
from tickover.core.network import NetworkPolicy
from tickover.core.oauth import OAuthGrant
from tickover.core.price import Price

FormKind = Literal["header", "basic", "query", "git", "claude-oauth", "github-app"]


@dataclass(frozen=True, slots=True)
class CredentialForm:
    """How a credential is put into a request; the client's own is overwritten.

    `header`: `name: prefix + value`. `basic` and `git`: HTTP Basic as `user`, the value being the password; `git` only
    on the paths of git's smart protocol. `query`: the parameter `name`. `claude-oauth`: a bearer token with the beta
    header that Anthropic's API asks for. `github-app`: a token that the gateway makes with the value, the App's key.
    With `oauth` it is no stored value that is put in, but a token that the stored one is good for.
    """

    kind: FormKind = "header"
    name: str = "authorization"
    prefix: str = "Bearer "
    user: str = "x-access-token"
    app: AppForm | None = None
    oauth: OAuthGrant | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """The way out of one run: destinations, writes, credentials by name, what is kept of bodies, what models may take.

    `servers` are the MCP servers that the gateway asks for it, `own_tools` the names of the run's own tools. `prices`
    are the instance's own; they win over those that ship.
    """

    policy: NetworkPolicy = field(default_factory=NetworkPolicy)
    powers: Powers = field(default_factory=Powers)
    forms: Mapping[str, CredentialForm] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=lambda: Wanted((), ()))
    budget: Budget = UNBOUND
    prices: tuple[Price, ...] = ()
    servers: tuple[McpServer, ...] = ()
    own_tools: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """Name every stored value that is needed: those of the credentials, and the secrets of OAuth clients."""
        clients = (form.oauth.client_secret for form in self.forms.values() if form.oauth)
        return tuple(dict.fromkeys([*self.forms, *filter(None, clients)]))

    @property
    def closed(self) -> bool:
        """Whether there is no way out at all, so that no gateway is needed."""
        return not self.policy.openings and not self.policy.observe and not self.policy.internal
