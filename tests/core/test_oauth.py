"""What the instance says of credentials that a token endpoint hands out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tickover.core.errors import UsageError
from tickover.core.instance import Credential, Instance, stored_for
from tickover.core.network import InstanceNetwork
from tickover.core.oauth import OAuthGrant

SETTINGS: dict[str, Any] = {
    "grant": "client-credentials",
    "token_url": "https://auth.example.com:8443/oauth/token",
    "client_id": "tickover",
}
CREDENTIAL: dict[str, Any] = {"kind": "oauth", "hosts": ["api.example.com"], "oauth": SETTINGS}


def test_a_grant_names_its_endpoint() -> None:
    form = Credential.model_validate(CREDENTIAL).form()
    assert form is not None
    assert form.oauth == OAuthGrant("client-credentials", "auth.example.com", 8443, "/oauth/token", "tickover")
    assert (form.kind, form.name, form.prefix) == ("header", "authorization", "Bearer ")


def test_the_instance_rules_count_for_the_endpoint() -> None:
    credential = Credential.model_validate(CREDENTIAL)
    form = credential.form(InstanceNetwork(private=("auth.example.com:8443",)))
    assert form is not None
    assert form.oauth is not None
    assert form.oauth.private
    with pytest.raises(UsageError, match="denied by this instance"):
        credential.form(InstanceNetwork(deny=("*.example.com",)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"oauth": None}, "needs `oauth`"),
        ({"kind": "header"}, "no meaning"),
        ({"header": "x-token"}, "no meaning"),
        ({"hosts": []}, "`hosts` says where"),
        ({"oauth": {**SETTINGS, "token_url": "http://auth.example.com/token"}}, "https://HOST/PATH"),
        ({"oauth": {**SETTINGS, "token_url": "https://auth.example.com/token?a=b"}}, "https://HOST/PATH"),
        ({"oauth": {**SETTINGS, "client_secret": "app"}}, "own value is the client's secret"),
        ({"oauth": {**SETTINGS, "grant": "password"}}, "client-credentials"),
        ({"kind": "oauth-client", "oauth": None}, "put into no request"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], says: str) -> None:
    keys = {key: value for key, value in {**CREDENTIAL, **wrong}.items() if value is not None}
    with pytest.raises(ValidationError, match=says):
        Credential.model_validate(keys)


def test_a_refresh_token_needs_the_secret_of_its_client() -> None:
    oauth = {**SETTINGS, "grant": "refresh-token", "client_secret": "app"}
    instance = Instance.model_validate(
        {"credentials": {"api": {**CREDENTIAL, "oauth": oauth}, "app": {"kind": "oauth-client"}, "x": CREDENTIAL}}
    )
    assert list(stored_for(["api", "x", "gone"], instance)) == ["api", "app", "x", "gone"]
    assert instance.credentials["app"].form() is None
