"""What the verifier asks of the world passes the gateway: with the bound credential, a receipt, and no more than that."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tickover.testing import localhost
from tickover.testing.git_server import GitServer
from tickover.testing.localhost import entry, serving, url
from tickover.testing.upstream import Seen, Talk, Upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

TOKEN = "ghp-the-token-that-nobody-inside-may-see-0815"


class Page:
    """A page for who has the token; it says `after` from the second time on, as if the work had done that."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        self.asked.append(seen.header("authorization"))
        if self.asked[-1] != f"Bearer {TOKEN}":
            await talk.answer(status="401 Unauthorized")
            return
        await talk.answer(b"before" if len(self.asked) == 1 else b"after")


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
async def double(page: Page) -> AsyncIterator[Upstream]:
    async with serving(page) as double:
        yield double


def keep_token(bench: Bench, host: str, **binding: Any) -> None:
    bench.tickover.secrets.set("page", TOKEN.encode(), by="owner", binding={"hosts": [host], **binding})


def calls(bench: Bench) -> list[tuple[str, str, str | None]]:
    begun = [fact["record"] for fact in bench.facts("receipt_begun")]
    return [(each["identity"], each["method"], each["credential"]) for each in begun]


async def test_a_page_is_asked_with_the_bound_credential_and_has_a_receipt(
    bench: Bench, double: Upstream, page: Page
) -> None:
    localhost.configure(bench.tickover.home, [double])
    keep_token(bench, entry(double))
    check = {"http": {"url": f"{url(double)}/list", "contains": "after"}}
    folder = bench.routine("env", expect=[check], environment={"credentials": ["page"]})
    bench.tickover.grant(folder, by="owner")
    row = await bench.run(folder)
    assert (row.outcome, row.exit_code) == ("verified", 0), row.reason
    assert page.asked == [f"Bearer {TOKEN}"] * 2
    assert calls(bench) == [("verifier", "GET", "page")] * 2
    assert TOKEN not in json.dumps([event.data for event in bench.events])


async def test_a_private_page_is_not_asked_unless_the_instance_allows_it(bench: Bench, double: Upstream) -> None:
    localhost.configure(bench.tickover.home, [double], private=False)
    row = await bench.run(bench.routine("true", expect=[{"http": {"url": url(double), "status": {"gte": 100}}}]))
    assert bench.results(row) == ["error"]
    assert row.outcome == "unverified"
    assert double.connections == 0
    denied = {(each["identity"], each["code"]) for each in bench.facts("connection_denied")}
    assert denied == {("verifier", "address.loopback")}
    assert "host_denied" not in bench.findings(row), "the agent denied nothing"


async def test_an_answer_of_the_gateway_is_no_answer_of_the_page(bench: Bench, double: Upstream) -> None:
    """A page with a credential is not asked in the clear, and the 403 that says so is not the page's."""
    localhost.configure(bench.tickover.home, [double])
    keep_token(bench, entry(double))
    address = url(double).replace("https:", "http:")
    check = {"http": {"url": address, "status": 403}}
    folder = bench.routine("true", expect=[check], environment={"credentials": ["page"]})
    bench.tickover.grant(folder, by="owner")
    row = await bench.run(folder)
    assert bench.results(row) == ["error"]
    assert "cleartext" in row.evidence[0].summary
    assert double.seen == []


class Host(NamedTuple):
    """A git host that only the token opens."""

    git: GitServer
    double: Upstream

    @property
    def app(self) -> str:
        return f"{url(self.double)}/app.git"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    git = GitServer(tmp_path / "served", TOKEN, private=True)
    async with serving(git) as double:
        yield Host(git, double)


def private_repository(bench: Bench, host: Host, body: str, **front: Any) -> Path:
    """Write a routine that works on a repository which only the token opens, and grant it."""
    host.git.adopt("app", bench.repository({"README": "private words\n"}).path)
    localhost.configure(bench.tickover.home, [host.double])
    keep_token(bench, entry(host.double), kind="git")
    folder = bench.routine(body, **{"repositories": {"app": {"url": host.app, "credential": "page"}}, **front})
    bench.tickover.grant(folder, by="owner")
    return folder


async def test_a_private_repository_is_worked_on_and_the_token_is_nowhere_inside(bench: Bench, host: Host) -> None:
    body = "cat app/README README 2>/dev/null || true; env; cat ~/.gitconfig .git/config app/.git/config 2>&1 || true"
    row = await bench.run(private_repository(bench, host, body))
    assert row.execution == "completed", (row.cause, bench.said())
    assert "private words" in bench.said()
    assert TOKEN not in json.dumps([event.data for event in bench.events])
    assert {call[0] for call in calls(bench)} == {"verifier"}
    assert {call[2] for call in calls(bench)} == {"page"}


async def test_a_push_passes_to_the_refs_of_may_and_to_no_other(bench: Bench, host: Host) -> None:
    body = f"""\
git clone -q {host.app} fresh && cd fresh && git remote get-url origin
git -c user.name=Ada -c user.email=ada@example.com commit -q --allow-empty -m 'by the agent'
git push -q origin HEAD:refs/heads/tickover/work && echo pushed-work || true
git push -q origin HEAD:refs/heads/main && echo pushed-main || true
env; cat .git/config; true"""
    folder = private_repository(bench, host, body, may=[{"push": {"repo": "app", "refs": ["tickover/*"]}}])
    before = host.git.branches("app")
    row = await bench.run(folder)
    assert "pushed-work" in bench.said(), bench.said()
    assert "pushed-main" not in bench.said()
    after = host.git.branches("app")
    assert after["main"] == before["main"]
    assert set(after) - set(before) == {"tickover/work"}
    assert TOKEN not in json.dumps([event.data for event in bench.events])
    assert "ref_not_allowed" in {each["code"] for each in bench.facts("connection_denied")}
    assert row.network.writes == 1
