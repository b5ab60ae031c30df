"""A real PostgreSQL is asked how many rows a query has; nothing is written, and nothing else of it comes back."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tickover.core.definition import Routine
from tickover.core.instance import Instance, read_back_of
from tickover.core.sql import SqlSettings
from tickover.gateway.certificates import RunAuthority
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence, boot_time
from tickover.gateway.postgres import _Line
from tickover.gateway.sql import SqlError, count_rows
from tickover.testing.postgres import Database, postgres, programs

BIN = programs()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BIN is None, reason="there is no /usr/lib/postgresql/*/bin")]

PASSWORD = "a-password-that-nobody-else-may-see-0817"
AUTHORITY = RunAuthority("database", now=datetime.now(UTC))


class Password:
    """The values of a session."""

    def __init__(self, value: str = PASSWORD) -> None:
        self._value = value

    def value(self, name: str) -> bytes:
        assert name == "shop-db"
        return self._value.encode()

    async def fresh(self, name: str, *, rejected: bytes | None = None) -> None:
        """Do nothing: it does not grow old."""


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    assert BIN is not None
    with postgres(BIN, AUTHORITY) as database:
        database.run(
            f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; CREATE TABLE orders (id text, total int);"
            "INSERT INTO orders VALUES ('a', 1), ('b', 2), ('b', 3); GRANT ALL ON orders TO reader;"
            "CREATE FUNCTION order_it() RETURNS int LANGUAGE sql AS"
            " $$ INSERT INTO orders VALUES ('evil', 0) RETURNING total $$"
        )
        yield database


def way(port: int, **connector: Any) -> tuple[SqlSettings, Any]:
    """Return what an instance says of the database, and the verifier's way there."""
    sql = {"url": f"postgresql://reader@localhost:{port}/postgres", "credential": "shop-db", **connector}
    instance = Instance.model_validate(
        {
            "credentials": {"shop-db": {"hosts": [f"localhost:{port}"]}},
            "connectors": {"shop": {"sql": sql}},
            "network": {"private": [f"localhost:{port}"]},
        }
    )
    check = {"sql": {"connector": "shop", "query": "select 1"}}
    routine = Routine.model_validate({"name": "r", "agent": "steps", "connectors": {"shop": {}}, "expect": [check]})
    settings = instance.connectors["shop"].sql
    assert settings is not None
    return settings, read_back_of(routine, instance, {})["shop"].policy


async def rows(
    port: int,
    query: str,
    *values: str,
    password: str = PASSWORD,
    roots: bytes = AUTHORITY.pem,
    fence: Fence | None = None,
) -> int:
    settings, policy = way(port)
    return await count_rows(
        settings.asking(query, values),
        policy=policy,
        values=Password(password),
        fence=fence or Fence(boot_time() + 300, 1 << 30),
        dialler=Dialler(),
        roots=roots,
    )


@pytest.mark.parametrize(
    ("query", "values", "count"),
    [
        ("SELECT * FROM orders", (), 3),
        ("SELECT id, id FROM orders WHERE id = $1 -- what was ordered", ("b",), 2),
        ("SELECT 1 FROM orders WHERE id = $1", ("' OR 1=1 --",), 0),
        ("SELECT 1 FROM orders WHERE total >= $1::int", ("2",), 2),
        ("WITH big AS (SELECT * FROM orders WHERE total > 1) SELECT * FROM big ORDER BY id LIMIT 1", (), 1),
        ("SELECT generate_series(1, 3000000)", (), 1_000_001),
        ("VALUES ('a:b', '%s'), ('{1,2}', 'ü')", (), 2),
    ],
)
async def test_rows_are_counted(database: Database, query: str, values: tuple[str, ...], count: int) -> None:
    assert await rows(database.port, query, *values) == count


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM orders RETURNING id",
        "SELECT 1; DELETE FROM orders",
        "SELECT 1) AS a) AS b; DELETE FROM orders; SELECT count(*) FROM (SELECT FROM (SELECT 1",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "SELECT order_it()",
        "SELECT nextval('pg_catalog.nothing')",
        "COPY orders TO PROGRAM 'true'",
        "SET TRANSACTION READ WRITE",
        "SELECT * FROM orders FOR UPDATE",
        "SELECT \0",
        "",
    ],
)
async def test_nothing_is_written(database: Database, query: str) -> None:
    before = database.run("SELECT count(*), sum(total) FROM orders")
    with pytest.raises(SqlError):
        await rows(database.port, query)
    assert database.run("SELECT count(*), sum(total) FROM orders") == before


async def test_who_is_not_let_in_is_told_and_the_password_is_in_no_error(database: Database) -> None:
    wrong = "another-password-0818"
    with pytest.raises(SqlError) as error:
        await rows(database.port, "SELECT 1", password=wrong)
    assert error.value.code == "sql.refused"
    assert 'password authentication failed for user "reader"' in error.value.message
    with pytest.raises(SqlError) as error:
        await rows(database.port, f"SELECT '{PASSWORD}'::int")
    assert "[password]" in error.value.message
    assert PASSWORD not in str(error.value.as_dict())


async def test_a_server_with_another_certificate_is_not_given_the_password(database: Database) -> None:
    with pytest.raises(SqlError) as error:
        await rows(database.port, "SELECT 1", roots=RunAuthority("other", now=datetime.now(UTC)).pem)
    assert error.value.code == "sql.tls"


@pytest.mark.parametrize("said", [b"", b"N", b"S", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100_000])
async def test_what_is_no_database_is_an_error(said: bytes) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with pytest.raises(SqlError):
            await rows(server.sockets[0].getsockname()[1], "SELECT 1")


def test_a_server_that_is_gone_before_tls_begins_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        line = _Line(client, ssl.create_default_context())
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
        peer.close()
        waiting = select.poll()
        waiting.register(client, select.POLLIN)
        assert waiting.poll(60_000)
        with pytest.raises(OSError):  # noqa: PT011 - which one is the system's
            line.wrap_socket(client, "localhost")
        line.close()
        assert client.fileno() == -1
    gc.collect()  # whatever is left open is a warning, and a warning an error


async def test_a_question_ends_with_the_lease_and_its_connection_at_once(database: Database) -> None:
    fence = Fence(boot_time() + 300, 1 << 30)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%FROM (SELECT FROM%pg_sleep(15)%' AND pid <> pg_backend_pid()"
    assert await rows(database.port, "SELECT 1") == 1  # what is made once is made now
    gc.collect()
    gc.disable()  # nothing waits for it
    try:
        before = len(os.listdir("/proc/self/fd"))
        asking = asyncio.create_task(rows(database.port, "SELECT pg_sleep(15)", fence=fence))
        while await asyncio.to_thread(database.run, sleeping) == "0":
            assert not asking.done(), asking.exception()
        fence.cut("lease_expired")
        with pytest.raises(SqlError):
            await asking
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


async def test_a_query_that_takes_too_long_is_ended_by_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickover.gateway.sql.STATEMENT_S", 0.2)
    with pytest.raises(SqlError, match="statement timeout"):
        await rows(database.port, "SELECT pg_sleep(30)")


async def test_another_place_or_credential_is_not_asked(database: Database) -> None:
    settings, policy = way(database.port)
    question = settings.asking("SELECT 1")
    for other in (replace(question, port=1), replace(question, host="b.test"), replace(question, credential="other")):
        with pytest.raises(SqlError) as error:
            await count_rows(
                other,
                policy=policy,
                values=Password(),
                fence=Fence(boot_time() + 300, 1 << 30),
                dialler=Dialler(),
                roots=b"",
            )
        assert error.value.code == "sql.denied"
