"""Whole runs whose work is read back from a real PostgreSQL: by the verifier, with a password that only the gateway has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.errors import DefinitionErrors
from tickover.gateway.certificates import RunAuthority
from tickover.testing.postgres import Database, postgres, programs
from tickover.testing.upstream import Seen, Talk, Upstream, upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

BIN = programs()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(BIN is None, reason="there is no /usr/lib/postgresql/*/bin"),
]

PASSWORD = "a-password-that-nobody-inside-may-see-0819"
AUTHORITY = RunAuthority("shop", now=datetime.now(UTC))


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    assert BIN is not None
    with postgres(BIN, AUTHORITY) as database:
        database.run(
            f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; CREATE TABLE orders (id text); GRANT SELECT ON orders TO reader"
        )
        yield database


@pytest.fixture
async def shop(bench: Bench, database: Database) -> AsyncIterator[Upstream]:
    """Serve a shop's API that writes orders into its database, and set up what the owner has to."""
    database.run("TRUNCATE orders")

    async def order(seen: Seen, talk: Talk) -> None:
        number = str(int(json.loads(seen.body)["id"]))
        await asyncio.to_thread(database.run, f"INSERT INTO orders VALUES ('{number}')")
        await talk.answer(b"{}")

    async with upstream("localhost", order, authority=AUTHORITY) as shop:
        roots = bench.folder / "roots.pem"
        roots.write_bytes(AUTHORITY.pem)
        place = f"localhost:{database.port}"
        told = {
            "network": {"private": [place, f"localhost:{shop.port}"], "roots": [str(roots)]},
            "credentials": {"shop-db": {"hosts": [place]}},
            "connectors": {"shop": {"sql": {"url": f"postgresql://reader@{place}/postgres", "credential": "shop-db"}}},
        }
        (bench.tickover.home / "tickover.yaml").write_text(json.dumps(told))
        bench.tickover.secrets.set("shop-db", PASSWORD.encode(), by="owner")
        yield shop


def front(shop: Upstream, **check: Any) -> dict[str, Any]:
    asks = {
        "connector": "shop",
        "query": "SELECT 1 FROM orders WHERE id = $1",
        "values": ["{{ inputs.id }}"],
        "rows": 1,
    }
    return {
        "inputs": {"id": {"type": "integer", "default": 7}},
        "connectors": {"shop": {}},
        "may": [{"request": {"to": f"POST https://localhost:{shop.port}/orders", "max": 1}}],
        "expect": [{"sql": {**asks, **check}}],
    }


def ordering(shop: Upstream, number: int) -> str:
    body = json.dumps({"id": number})
    return f"curl -sS -H 'content-type: application/json' -d '{body}' https://localhost:{shop.port}/orders"


async def run(bench: Bench, body: str, keys: dict[str, Any]) -> Any:
    folder = bench.routine(body, **keys)
    bench.tickover.grant(folder, by="owner")
    return await bench.run(folder)


async def test_an_order_is_verified_by_its_row(bench: Bench, shop: Upstream) -> None:
    row = await run(bench, ordering(shop, 7), front(shop))
    assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, bench.said())
    assert "state: shop has 1 such row(s)" in row.reason
    kept = [each.read_bytes() for each in bench.tickover.home.rglob("*") if each.is_file()]
    assert not [data for data in (*kept, str(bench.events).encode()) if PASSWORD.encode() in data]


async def test_a_replay_asks_no_database(bench: Bench, shop: Upstream) -> None:
    folder = bench.routine(ordering(shop, 7), **front(shop))
    bench.tickover.grant(folder, by="owner")
    row = await bench.run(folder, record=True)
    assert row.outcome == "verified", (row.reason, bench.said())
    compared = await bench.tickover.replay(row.id)
    [check] = compared.checks
    assert (check.then, check.now, check.likeness) == ("pass", "error", "not_asked")
    assert "a replay does not look at the outside world" in check.summary_now
    assert {str(each.evidence_class) for each in compared.now.evidence} == {"claim"}


async def test_another_order_no_order_and_one_from_before(bench: Bench, shop: Upstream, database: Database) -> None:
    row = await run(bench, ordering(shop, 8), front(shop))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert "shop has 0 such row(s)" in row.reason
    database.run("INSERT INTO orders VALUES ('7')")
    row = await run(bench, "true", front(shop))
    assert (row.outcome, row.exit_code) == ("unverified", 6), row.reason


async def test_a_database_that_does_not_answer_is_no_proof(bench: Bench, shop: Upstream) -> None:
    row = await run(bench, ordering(shop, 7), front(shop, query="SELECT 1 FROM nothing WHERE a = $1"))
    assert (row.outcome, row.exit_code) == ("unverified", 6)
    assert 'relation "nothing" does not exist' in row.reason


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"connectors": {"shop": {"tools": ["execute"]}}}, "connector.unknown_key"),
        ({"connectors": {"other": {}}, "expect": [{"sql": {"connector": "other", "query": "x"}}]}, "connector.unknown"),
        ({"expect": [{"sql": {"connector": "shop", "query": "SELECT {{ inputs.id }}"}}]}, "template.query"),
    ],
)
async def test_what_cannot_be_asked_is_said_before_the_run(
    bench: Bench, shop: Upstream, keys: dict[str, Any], code: str
) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        await bench.run(bench.routine("true", **{**front(shop), **keys}))
    assert code in {each.code for each in caught.value.problems}
