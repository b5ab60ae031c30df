"""A check that waits is asked again by the server, when the workspace is gone: through the gateway, as the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tickover.core.wish import Wish
from tickover.testing import localhost
from tickover.testing.localhost import entry, serving, url
from tickover.testing.sandbox import until
from tickover.testing.upstream import Seen, Talk

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

TOKEN = "ghp-the-token-that-nobody-inside-may-see-0815"
WORKED = 4  # the fourth question is answered as if the work had shown by then: two are asked beside the workspace


class SlowPage:
    """A page for who has the token."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        self.asked.append(seen.header("authorization"))
        await talk.answer(b"after" if len(self.asked) >= WORKED else b"before")


@pytest.mark.timeout(300)
async def test_a_check_is_asked_later_with_the_bound_credential_and_has_a_receipt(bench: Bench) -> None:
    page = SlowPage()
    async with serving(page) as double:
        localhost.configure(bench.tickover.home, [double])
        bench.tickover.secrets.set("page", TOKEN.encode(), by="owner", binding={"hosts": [entry(double)]})
        check = {"http": {"url": f"{url(double)}/list", "contains": "after", "within": "10m"}}
        folder = bench.routine("true", expect=[check], environment={"credentials": ["page"]})
        name = bench.tickover.push(folder).name
        bench.tickover.grant(bench.tickover.pushed_folder(name), by="owner")
        run = bench.tickover.enqueue(Wish(name)).run
        async with bench.tickover.server():
            pending = ("pending", "verified")
            await until(lambda: bench.tickover.run_row(run).outcome in pending, lambda: bench.tickover.run_row(run))
            await until(
                lambda: (
                    bench.tickover.run_row(run).outcome != "pending"
                    and bench.tickover.run_row(run).exit_code is not None
                ),
                lambda: bench.tickover.run_row(run),
                seconds=120,
            )
    row = bench.tickover.run_row(run)
    assert (row.outcome, row.exit_code) == ("verified", 0), row.reason
    facts = [(event.type, event.data) for event in bench.tickover.journal(run)]
    assert next(data["result"] for kind, data in facts if kind == "check_evaluated") == "pending"
    assert page.asked == [f"Bearer {TOKEN}"] * WORKED
    begun = [data["record"] for kind, data in facts if kind == "receipt_begun"]
    assert [(each["identity"], each["method"], each["credential"]) for each in begun] == [
        ("verifier", "GET", "page")
    ] * WORKED
    traffic, broken = await bench.tickover.traffic(run)
    assert (len(traffic.receipts), broken) == (WORKED, "")
    assert TOKEN not in str(facts)
