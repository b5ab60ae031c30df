"""Asking a database for the verifier. The password is put in here: no other process of ours has it.

A name is resolved once and judged as for every other connection, and the connection ends with the lease. What speaks
PostgreSQL's protocol is loaded with the first question (`gateway/postgres.py`, extra `sql`).
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import ssl
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from tickover.core.address import Judged
from tickover.core.errors import TickoverError
from tickover.core.network import NetworkPolicy, Route
from tickover.core.sql import SqlQuestion
from tickover.gateway.base import Values
from tickover.gateway.dial import MOST_ADDRESSES, Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.refusal import Refusal

TOTAL_S: Final = 40.0
"""Seconds that a question may take, connection included."""
STATEMENT_S: Final = 20.0
"""Seconds that the database itself may work on it."""


class SqlError(TickoverError):
    """The database was not asked, or did not answer. No text of it holds the password."""


class _Line:
    """A connection that the fence can break off, whoever waits for it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = socket.socket(fileno=os.dup(connection.fileno()))

    def reset(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is broken off already
            return

    def close(self) -> None:
        self.reset()
        self._connection.close()


@lru_cache(maxsize=16)
def _trusting(roots: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if roots:
        context.load_verify_locations(cadata=roots.decode("ascii"))
    return context


async def count_rows(
    question: SqlQuestion, *, policy: NetworkPolicy, values: Values, fence: Fence, dialler: Dialler, roots: bytes
) -> int:
    """Return how many rows the query has. Raises SqlError, Refusal's texts among them; SecretError."""
    where = f"{question.host}:{question.port}"
    decision = policy.judge(question.host, question.port)
    if decision.route is Route.DENY or question.credential not in policy.credentials_for(question.host, question.port):
        raise SqlError("sql.denied", f"{where} may not be asked: {decision.says or 'its credential may not go there'}")
    ask = _driver().count_rows
    password = values.value(question.credential).decode()
    context = await asyncio.to_thread(_trusting, roots) if question.tls else None
    try:
        async with asyncio.timeout(TOTAL_S):
            connection = await _connected(await dialler.addresses(decision), decision.port)
            line = _Line(connection)
            fence.add(line)
            try:
                return int(await asyncio.to_thread(ask, connection, question, password, context, STATEMENT_S))
            finally:
                fence.discard(line)
                line.close()
                connection.close()
    except Refusal as error:
        raise SqlError(f"sql.{error.reason}", f"{where} cannot be reached: {error.detail or error.reason}") from error
    except TimeoutError as error:
        raise SqlError("sql.timeout", f"{where} did not answer within {TOTAL_S:g} s") from error
    except OSError as error:
        raise SqlError("sql.unreachable", f"{where} cannot be reached: {error.strerror or error}") from error


async def _connected(addresses: Sequence[Judged], port: int) -> socket.socket:
    failed = OSError("it has no address")
    for each in addresses[:MOST_ADDRESSES]:
        family = socket.AF_INET6 if each.address.version == 6 else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (str(each.address), port))
        except OSError as error:
            connection.close()
            failed = error
        except BaseException:
            connection.close()
            raise
        else:
            connection.settimeout(TOTAL_S)
            return connection
    raise failed


def _driver() -> Any:
    try:
        return importlib.import_module("tickover.gateway.postgres")
    except ImportError as error:
        text = "this installation has no driver for PostgreSQL"
        raise SqlError("sql.no_driver", text, hint="pip install 'tickover[sql]'") from error
