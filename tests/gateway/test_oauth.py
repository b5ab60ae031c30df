"""Tokens: asked for by the gateway alone, kept while they live, renewed once, and never seen inside."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tickover.core.egress import CredentialForm
from tickover.core.enforcement import Powers, Rule
from tickover.core.errors import TickoverError
from tickover.core.oauth import OAuthGrant
from tickover.core.target import Target
from tickover.gateway.certificates import upstream_context
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.guard import Guard
from tickover.gateway.letters import read_egress, write_egress
from tickover.gateway.oauth import OAuthValues, Tokens, grants_of
from tickover.gateway.patience import Patience
from tickover.gateway.refusal import Refusal
from tickover.gateway.secrets import seal, unseal
from tickover.gateway.session import Sealed
from tickover.gateway.token_request import Post
from tickover.testing.inspected import DOUBLE, HOST, Site, egress_to, inspected, loopback
from tickover.testing.oauth import TokenEndpoint
from tickover.testing.upstream import Upstream, upstream

AUTH = "auth.example.com"
KEY = b"k" * 32


@dataclass
class Shelf:
    """A `Lender` that keeps sealed values in a dict; `log` has what was done."""

    values: dict[str, Sealed]
    log: list[str] = field(default_factory=list)
    fails: bool = False

    async def borrow(self, name: str) -> Sealed:
        self.log.append(f"borrow {name}")
        return self.values[name]

    async def give_back(self, name: str, sealed: Sealed | None) -> None:
        if self.fails:
            raise TickoverError("secret.changed", "set anew")
        self.log.append(f"back {name} {'new' if sealed else 'as it was'}")
        if sealed is not None:
            self.values[name] = sealed


@dataclass
class World:
    site: Site
    endpoint: TokenEndpoint
    api: Upstream
    auth: Upstream
    tokens: Tokens
    shelf: Shelf
    values: OAuthValues
    now: list[float]

    async def ask(self, *, body: bytes | None = None) -> httpx.Response:
        async with self.site.client() as client:
            return await (client.get("/thing") if body is None else client.post("/thing", content=body))


def _sealed(**secrets: str) -> dict[str, Sealed]:
    kinds = {"api": "oauth", "app": "oauth-client"}
    return {
        name: Sealed(kinds[name], seal(KEY, name=name, kind=kinds[name], value=value.encode()))
        for name, value in secrets.items()
    }


@asynccontextmanager
async def world(
    endpoint: TokenEndpoint, sealed: dict[str, Sealed], *, private: bool = True, dead: bool = False, **grant: Any
) -> AsyncIterator[World]:
    """Run an API that wants tokens, an endpoint that gives them, and a run that has the credential `api`."""
    async with (
        upstream(AUTH, endpoint.handler, authority=DOUBLE) as auth,
        upstream(HOST, endpoint.resource, authority=DOUBLE) as api,
    ):
        asked = OAuthGrant(
            host=AUTH,
            port=auth.port,
            path="/token",
            client=endpoint.client,
            private=private,
            **grant,
        )
        forms = {"api": CredentialForm(oauth=asked)}
        powers = Powers((Rule("may[0]", Target.parse(f"POST https://{HOST}:{api.port}/thing")),))
        egress = egress_to(HOST, api.port, credentials=forms, powers=powers)
        now = [1000.0]
        tokens, shelf = Tokens(KEY, lambda: now[0]), Shelf(dict(sealed))
        fence = Fence(1e12, 1 << 40)
        if dead:
            fence.cut("lease_expired")
        post = Post(Dialler(resolve=loopback), fence, upstream_context(DOUBLE.pem), Patience())
        values = OAuthValues(tokens, sealed, grants_of(forms), post.mint, shelf)
        async with inspected(egress, api.port, guard=lambda egress, _: Guard(egress, values)) as site:
            yield World(site, endpoint, api, auth, tokens, shelf, values, now)


CLIENT: dict[str, Any] = {"grant": "client-credentials"}
REFRESH: dict[str, Any] = {"grant": "refresh-token"}


async def test_client_credentials() -> None:
    endpoint = TokenEndpoint()
    async with world(
        endpoint, _sealed(api=endpoint.secret), scope="read write", resource="https://api/x", **CLIENT
    ) as it:
        first, second = await it.ask(), await it.ask()
        assert (first.status_code, second.status_code) == (200, 200)
        [form] = endpoint.asked  # one token for both
        assert form == {"grant_type": "client_credentials", "scope": "read write", "resource": "https://api/x"}
        pair = base64.b64encode(b"tickover:the+client%27s+secret").decode()
        assert endpoint.authorizations == [f"Basic {pair}"]
        assert [each.header("authorization") for each in it.api.seen] == ["Bearer token-1"] * 2


async def test_no_token_is_seen_inside() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.secret), **CLIENT) as it:
        answer = await it.ask()
        assert "shown" in answer.json()
        assert "token-1" not in answer.text
        assert it.site.denials == []
    assert "token-1" not in repr(it.site.ledger.records)


async def test_the_client_may_be_named_in_the_body() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.secret), send="body", **CLIENT) as it:
        assert (await it.ask()).status_code == 200
    assert endpoint.asked[0]["client_id"] == "tickover"
    assert endpoint.asked[0]["client_secret"] == endpoint.secret
    assert endpoint.authorizations == [None]


async def test_a_token_is_renewed_before_its_end() -> None:
    endpoint = TokenEndpoint(expires_in=600)
    async with world(endpoint, _sealed(api=endpoint.secret), **CLIENT) as it:
        await it.ask()
        it.now[0] += 539
        await it.ask()
        assert len(endpoint.asked) == 1
        it.now[0] += 2
        await it.ask()
        assert len(endpoint.asked) == 2
    assert it.api.seen[-1].header("authorization") == "Bearer token-2"


async def test_a_token_that_is_refused_is_renewed_once() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.secret), **CLIENT) as it:
        await it.ask()
        endpoint.valid.clear()
        it.now[0] += 60
        answer = await it.ask(body=b"a write")
        assert (answer.status_code, answer.json()["got"]) == (200, "a write")
        assert "token-2" not in answer.text
        assert [each.header("authorization") for each in it.api.seen] == [
            "Bearer token-1",
            "Bearer token-1",
            "Bearer token-2",
        ]
        await it.site.ledger.ended(2)
        assert it.site.counts == {"may[0]": 1}
        endpoint.valid.clear()  # at once again: a new one would not help
        answer = await it.ask()
        assert answer.status_code == 401
        assert len(endpoint.asked) == 2


async def test_many_ask_at_once_for_one_token() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.secret), **CLIENT) as it:
        answers = await asyncio.gather(*(it.ask() for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
    assert len(endpoint.asked) == 1


async def test_a_refresh_token_that_is_used_up_is_replaced_before_its_token_is_used() -> None:
    endpoint = TokenEndpoint()
    sealed = _sealed(api=endpoint.refresh, app=endpoint.secret)
    async with world(endpoint, sealed, client_secret="app", **REFRESH) as it:
        assert (await it.ask()).status_code == 200
        assert it.shelf.log == ["borrow api", "back api new"]
        kept = it.shelf.values["api"]
        assert unseal(KEY, name="api", kind="oauth", sealed=kept.value) == b"refresh-token-1"
        it.now[0] += 3600
        assert (await it.ask()).status_code == 200
        assert [form["refresh_token"] for form in endpoint.asked] == ["refresh-token-0", "refresh-token-1"]
        assert not endpoint.revoked
        # A session that was opened with the new one has the same token, and one with the old one, too.
        other = OAuthValues(it.tokens, {"api": it.shelf.values["api"]}, it.values._grants, it.values._mint, it.shelf)
        await other.fresh("api")
        assert other.value("api") == b"token-2" == it.values.value("api")
    assert len(endpoint.asked) == 2
    assert all("refresh-token" not in repr(each.headers) for each in it.api.seen)


async def test_a_public_client_has_no_secret() -> None:
    endpoint = TokenEndpoint(rotates=False)
    async with world(endpoint, _sealed(api=endpoint.refresh), **REFRESH) as it:
        assert (await it.ask()).status_code == 200
        assert it.shelf.log == ["borrow api", "back api as it was"]
    assert endpoint.asked == [
        {"grant_type": "refresh_token", "refresh_token": "refresh-token-0", "client_id": "tickover"}
    ]


async def test_a_token_whose_refresh_token_cannot_be_kept_is_not_used() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.refresh), **REFRESH) as it:
        it.shelf.fails = True
        answer = await it.ask()
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (503, "credential")
        assert it.api.seen == []


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            "400 Bad Request",
            b'{"error": "invalid_client", "error_description": "refresh-token-0"}',
            "400, invalid_client",
        ),
        ("400 Bad Request", b'{"error": "refresh-token-0"}', "400, no known reason"),
        ("500 Oops", b"the client's secret", "500, no known reason"),
        ("200 OK", b"[]", "no bearer token"),
        ("200 OK", b'{"access_token": "token-9", "token_type": "mac"}', "no bearer token"),
        ("200 OK", b'{"access_token": 9, "token_type": "bearer"}', "no bearer token"),
        ("200 OK", b"x" * (65 << 10), "large_head"),
    ],
)
async def test_an_endpoint_that_gives_none(status: str, body: bytes, says: str) -> None:
    endpoint = TokenEndpoint(says=(status, body))
    async with world(endpoint, _sealed(api=endpoint.refresh), **REFRESH) as it:
        answer = await it.ask()
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (503, "credential")
        assert says in answer.text
        assert "refresh-token-0" not in answer.text
        assert "client's secret" not in answer.text
        assert it.api.seen == []
        assert it.shelf.log == ["borrow api", "back api as it was"]


async def test_its_address_is_judged_as_every_other() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.secret), private=False, **CLIENT) as it:
        answer = await it.ask()
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (503, "credential")
        assert "address." in answer.text
        assert it.auth.connections == 0


async def test_no_token_is_asked_for_after_the_lease() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.secret), dead=True, **CLIENT) as it:
        with pytest.raises(Refusal):
            await it.values.fresh("api")
    assert endpoint.asked == []


async def test_the_endpoint_is_no_way_out_for_the_sandbox() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.secret), **CLIENT) as it, it.site.client() as client:
        with pytest.raises(httpx.ProxyError, match="403"):
            await client.post(f"https://{AUTH}:{it.auth.port}/token")
        assert it.auth.connections == 0


async def test_whoever_goes_away_takes_no_refresh_token_along() -> None:
    endpoint = TokenEndpoint()
    async with world(endpoint, _sealed(api=endpoint.refresh), **REFRESH) as it:
        asking = asyncio.create_task(it.values.fresh("api"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await it.values.fresh("api")
        assert it.values.value("api") == b"token-1"
        assert it.shelf.log == ["borrow api", "back api new"]


def test_a_grant_is_a_part_of_what_the_gateway_is_told() -> None:
    grant = OAuthGrant("refresh-token", AUTH, 443, "/token", "me", client_secret="app", private=True)
    egress = egress_to(HOST, 443, credentials={"api": dataclasses.replace(CredentialForm(), oauth=grant)})
    assert read_egress(write_egress(egress)).forms == egress.forms
    assert egress.values == ("api", "app")
