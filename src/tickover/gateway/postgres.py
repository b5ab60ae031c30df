"""PostgreSQL's own protocol, by pg8000 (BSD; pure Python, and it takes a connection that was dialled by us).

One statement, by the extended protocol, in which there is only ever one
(https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY), as the source of rows of another
that counts them: so it is a query, and nothing of its answer but their number is sent. Its transaction may only read.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import traceback

from pg8000.core import CoreConnection
from pg8000.exceptions import DatabaseError, InterfaceError

from tickover.core.sql import MOST_ROWS, SqlQuestion
from tickover.core.text import one_line
from tickover.gateway.sql import SqlError


class _Line:
    """The connection, in the clear and under TLS, that can be let go of at once: the driver's file keeps it open."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._open: list[socket.socket] = [connection]

    def wrap_socket(self, connection: socket.socket, server_hostname: str) -> ssl.SSLSocket:
        assert self._context is not None
        try:
            secure = self._context.wrap_socket(connection, server_hostname=server_hostname)
        except OSError as error:
            self._open += _left_open(error)
            raise
        self._open.append(secure)
        return secure

    def close(self) -> None:
        for each in self._open:
            if (number := each.detach()) >= 0:
                os.close(number)


def _left_open(error: OSError) -> list[ssl.SSLSocket]:
    """Return what `ssl` made and did not close: Python 3.11 forgets it where the peer was gone before TLS began."""
    seen = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    return [each for each in seen if isinstance(each, ssl.SSLSocket)]


_COUNT = "SELECT count(*) FROM (SELECT FROM (\n{}\n) AS asked LIMIT {}) AS counted"


def count_rows(
    connection: socket.socket, question: SqlQuestion, password: str, context: ssl.SSLContext | None, seconds: float
) -> int:
    """Return how many rows it has, MOST_ROWS + 1 for more. Blocks; closes the connection.

    Raises SqlError, OSError.
    """
    where = f"{question.host}:{question.port}/{question.database}"
    line = _Line(connection, context)
    try:
        database = CoreConnection(
            question.user, host=question.host, database=question.database, password=password,
            ssl_context=line if context else None, application_name="tickover", sock=connection,
        )  # fmt: skip
        try:
            database.execute_unnamed(f"SET statement_timeout = {int(seconds * 1000)}")
            database.execute_unnamed("BEGIN TRANSACTION READ ONLY")
            counted = database.execute_unnamed(_COUNT.format(question.query, MOST_ROWS + 1), question.values)
            database.execute_unnamed("ROLLBACK")
        finally:
            database.close()
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or "no TLS"
        raise SqlError("sql.tls", f"{where} is not who it should be: {why}") from None
    except (DatabaseError, InterfaceError) as error:
        raise SqlError("sql.refused", f"{where} says: {_said(error, password)}") from None
    except (struct.error, UnicodeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        text = f"{where} does not speak PostgreSQL's protocol ({type(error).__name__})"
        raise SqlError("sql.garbled", text) from None
    finally:
        line.close()
    return int(counted.rows[0][0])


def _said(error: Exception, password: str) -> str:
    """Return what the server says, without the password in whatever place."""
    told = error.args[0] if error.args else ""
    text = str(told.get("M", told)) if isinstance(told, dict) else str(told)
    return one_line(text.replace(password, "[password]"), 240)
