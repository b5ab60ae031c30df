"""A GitHub App in the gateway: tokens made outside the run, for what it needs, kept, renewed, and never shown to it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.github_app import AppForm, AppScope
from tickover.core.target import Target
from tickover.gateway.app_tokens import AppTokens, Said, jwt, read_key
from tickover.gateway.guard import Guard
from tickover.gateway.refusal import Refusal
from tickover.testing.gateway import MemoryValues
from tickover.testing.github import Pull
from tickover.testing.github_app import GitHubAppDouble, Installation, app_key
from tickover.testing.inspected import DOUBLE, HOST, Site, egress_to, inspected
from tickover.testing.upstream import Seen, Talk, Upstream, upstream

KEY, PEM = app_key()
REVIEWS = "/repos/acme/app/pulls/7/reviews"
GIVEN = {"contents": "write", "pull_requests": "write", "issues": "read", "metadata": "read", "administration": "write"}


@dataclass
class At:
    site: Site
    double: GitHubAppDouble
    upstream: Upstream

    def made(self) -> list[dict[str, object]]:
        return [json.loads(each["body"]) for each in self.double.called if each["path"].endswith("/access_tokens")]


@asynccontextmanager
async def github(
    *,
    writes: tuple[str, ...] = (),
    pem: bytes = PEM,
    double: GitHubAppDouble | None = None,
    app: str = "Iv1.app",
    itself: bool = False,
    apps: AppTokens | None = None,
) -> AsyncIterator[At]:
    made = double or GitHubAppDouble()
    made.public = KEY.public_key()
    made.installations = [Installation(42, "acme", ("app", "secret"), GIVEN)]
    made.pulls = {"acme/app": [Pull(7, "Fix it", "fix", "abc")], "acme/secret": [Pull(1, "Hidden", "x", "def")]}
    async with upstream(HOST, made, authority=DOUBLE) as server:
        scope = AppScope("acme", ("app",), writes, ("contents", "pull_requests"))
        form = AppForm(app, f"https://{HOST}:{server.port}", (scope,), private=True, itself=itself)
        rule = Rule("may[0]", Target.parse(f"POST https://{HOST}:{server.port}{REVIEWS}"), "gh")
        egress = egress_to(
            HOST, server.port, powers=Powers((rule,)), credentials={"gh": CredentialForm("github-app", app=form)}
        )
        async with inspected(egress, server.port, values={"gh": pem}, apps=apps) as site:
            yield At(site, made, server)


async def test_a_token_is_for_one_repository_and_is_used_again() -> None:
    async with github() as at, at.site.client() as client:
        for _ in range(3):
            assert (await client.get("/repos/acme/app/pulls/7")).status_code == 200
        assert (await client.get("/repos/acme/secret/pulls/1")).status_code == 404
        assert at.made() == [{"repositories": ["app"], "permissions": {"contents": "read", "pull_requests": "read"}}]


async def test_a_write_has_the_permission_that_it_needs() -> None:
    async with github(writes=("pull_requests",)) as at, at.site.client() as client:
        said = await client.post(REVIEWS, json={"event": "COMMENT", "body": "Off by one."})
        assert (said.status_code, said.json()["user"]["login"]) == (200, "an-app[bot]")
        assert at.made()[0]["permissions"] == {"contents": "read", "pull_requests": "write"}


async def test_many_at_once_make_one_token() -> None:
    async with github() as at, at.site.client() as client:
        found = await asyncio.gather(*(client.get("/repos/acme/app/pulls/7") for _ in range(5)))
        assert {each.status_code for each in found} == {200}
        assert len(at.made()) == 1


async def test_what_the_app_was_not_given_is_said_and_nothing_leaves() -> None:
    async with github(writes=("issues",)) as at, at.site.client() as client:
        said = await client.get("/repos/acme/app/pulls/7")
        assert said.status_code == 503
        assert "may not write issues" in said.json()["error"]["detail"]
        assert at.made() == []
        assert not any(each["path"].endswith("/pulls/7") for each in at.double.called)


async def test_a_key_that_github_does_not_know_is_said_without_it() -> None:
    async with github(pem=app_key()[1]) as at, at.site.client() as client:
        said = await client.get("/repos/acme/app/pulls/7")
        assert said.status_code == 503
        assert "401" in said.json()["error"]["detail"]
        assert "PRIVATE" not in said.text


async def test_the_run_never_sees_key_or_token_even_if_it_is_echoed() -> None:
    class Echo(GitHubAppDouble):
        async def __call__(self, seen: Seen, talk: Talk) -> None:
            if seen.target == "/repos/acme/app/echo":
                said = (seen.header("authorization") or "").encode()
                await talk.answer(said, headers=(("content-type", "text/plain"), ("x-said", said.decode())))
                return
            await super().__call__(seen, talk)

    async with github(double=Echo()) as at, at.site.client() as client:
        said = await client.get("/repos/acme/app/echo", headers={"authorization": "Bearer mine"})
        [token] = at.double.made
        assert at.upstream.seen[-1].header("authorization") == f"Bearer {token}"
        assert token not in said.text + str(said.headers)
        receipts = str(at.site.ledger.__dict__)
        assert token not in receipts
        assert "PRIVATE KEY" not in receipts


async def test_an_old_token_that_is_refused_is_made_anew_once_and_the_read_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tickover.gateway.app_tokens.YOUNG_S", 0.0)
    async with github() as at, at.site.client() as client:
        assert (await client.get("/repos/acme/app/pulls/7")).status_code == 200
        at.double.revoked.update(at.double.made)
        assert (await client.get("/repos/acme/app/pulls/7")).status_code == 200
        assert len(at.made()) == 2


async def test_a_young_token_that_is_refused_is_not_made_again_and_again() -> None:
    async with github() as at, at.site.client() as client:
        await client.get("/repos/acme/app/pulls/7")
        at.double.revoked.update(at.double.made)
        for _ in range(3):
            assert (await client.get("/repos/acme/app/pulls/7")).status_code == 401
        assert len(at.made()) == 1


async def test_a_write_that_is_refused_is_not_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.gateway.app_tokens.YOUNG_S", 0.0)
    async with github(writes=("pull_requests",)) as at, at.site.client() as client:
        await client.get("/repos/acme/app/pulls/7")
        at.double.revoked.update(at.double.made)
        said = {"event": "COMMENT", "body": "Off by one."}
        assert (await client.post(REVIEWS, json=said)).status_code == 401
        assert [each for each in at.double.writes() if each[1] == REVIEWS] == [("POST", REVIEWS, 401)]
        assert (await client.post(REVIEWS, json=said)).status_code == 200  # the next one has a new token


async def test_git_gets_the_token_as_a_password_and_a_page_beside_the_api_nothing() -> None:
    async with github() as at, at.site.client() as client:
        await client.get("/acme/app.git/info/refs?service=git-upload-pack")
        [token] = at.double.made
        pair = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        assert at.upstream.seen[-1].header("authorization") == f"Basic {pair}"


async def test_as_the_app_itself_it_is_a_jwt() -> None:
    async with github(itself=True) as at, at.site.client() as client:
        assert (await client.get("/app/hook/deliveries")).json() == []
        assert at.made() == []


async def test_a_run_s_token_is_not_the_app() -> None:
    async with github() as at, at.site.client() as client:
        assert (await client.get("/app/hook/deliveries")).status_code == 404
        assert at.double.called[-1]["by"] == "an-app[bot]"


async def test_no_server_says_another_run_s_token() -> None:
    apps = AppTokens()
    async with github(apps=apps) as at, at.site.client() as client:
        await client.get("/repos/acme/app/pulls/7")
        [token] = at.double.made

        def knowing(egress: Egress, values: MemoryValues) -> Guard:
            return Guard(egress, values, apps.every)

        async def leaky(_seen: Seen, talk: Talk) -> None:
            await talk.answer(f"it is {token}".encode())

        async with (
            upstream(HOST, leaky, authority=DOUBLE) as server,
            inspected(egress_to(HOST, server.port), server.port, guard=knowing) as other,
            other.client() as reader,
        ):
            said = await reader.get("/said")
            assert said.text.startswith("it is ")
            assert token not in said.text


# -- without a network -------------------------------------------------------------------------------------------------

FORM = AppForm("1", "https://api.github.com", (AppScope("acme", ("app",)),))


async def test_a_token_is_used_until_five_minutes_before_its_end() -> None:
    now, made = 1_800_000_000.0, 0

    async def ask(method: str, path: str, bearer: bytes, body: bytes = b"") -> Said:
        nonlocal made
        del path, bearer, body
        if method == "GET":
            return Said(200, b'{"id": 1, "permissions": {"contents": "read"}}')
        made += 1
        return Said(201, json.dumps({"token": f"ghs_token{made}", "expires_at": "2027-01-15T09:00:00Z"}).encode())

    tokens = AppTokens(lambda: now)  # one hour before that end
    assert await tokens.token(FORM, "/repos/acme/app", lambda: PEM, ask) == b"ghs_token1"
    now += 3299
    assert await tokens.token(FORM, "/repos/acme/app", lambda: PEM, ask) == b"ghs_token1"
    now += 2
    assert await tokens.token(FORM, "/repos/acme/app", lambda: PEM, ask) == b"ghs_token2"
    token, proof = tokens.every()
    assert (token, proof.count(b".")) == (b"ghs_token2", 2)


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"{}", b'{"token": "a b\\u0000c", "expires_at": "2027-01-15T09:00:00Z"}', b'{"token": "ghs_12345678", "expires_at": "soon"}', b"[" * 100_000])  # fmt: skip
async def test_what_is_no_token_is_a_refusal(said: bytes) -> None:
    async def ask(method: str, path: str, bearer: bytes, body: bytes = b"") -> Said:
        del path, bearer, body
        return Said(200, b'{"id": 1, "permissions": {}}') if method == "GET" else Said(201, said)

    with pytest.raises(Refusal, match="made no token"):
        await AppTokens().token(FORM, "/repos/acme/app", lambda: PEM, ask)


def test_a_jwt_is_dated_back_and_lives_less_than_ten_minutes() -> None:
    _, claims, _ = jwt("Iv1.app", PEM, 1000.7).split(b".")
    assert json.loads(base64.urlsafe_b64decode(claims + b"==")) == {"iat": 940, "exp": 1540, "iss": "Iv1.app"}


def test_only_an_rsa_key_is_one() -> None:
    assert read_key(PEM) is not None
    for wrong in (
        b"",
        b"ghp_token",
        PEM[:-40],
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----",
    ):
        assert read_key(wrong) is None
    with pytest.raises(Refusal, match="no RSA private key"):
        jwt("1", b"nothing", 0)
