"""Databases as connectors: what the instance says of one, and what a check asks it.

Only the verifier asks, never the agent, and of the answer only the number of rows is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from tickover.core.shape import Form, Name, Strict

MOST_ROWS: Final = 1_000_000
"""Rows that are counted; a query with more is no check of anything."""

_URL: Final = r"postgresql://([A-Za-z0-9_.-]{1,63})@([A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?/([A-Za-z0-9_.-]{1,63})"
_PORT: Final = 5432  # https://www.postgresql.org/docs/current/runtime-config-connection.html


class SqlSettings(Strict):
    """A PostgreSQL database, as only the instance can say: where it is, and the credential that is the password.

    Without `tls` the server is not known for sure, and whoever is between reads what is asked.
    """

    url: Annotated[str, Form(_URL, "a database is postgresql://USER@HOST:PORT/DATABASE, without a password")]
    credential: Name
    tls: bool = True

    @property
    def entry(self) -> str:
        """`host:port`, as a policy lists it."""
        question = self.asking("")
        return f"{question.host}:{question.port}"

    def asking(self, query: str, values: tuple[str, ...] = ()) -> SqlQuestion:
        """Return a question to it."""
        found = re.fullmatch(_URL, self.url)
        assert found is not None
        user, host, port, database = found.groups()
        return SqlQuestion(
            host.lower(), int(port or _PORT), user, database, self.credential, query, values, tls=self.tls
        )


@dataclass(frozen=True, slots=True)
class SqlQuestion:
    """How many rows has `query`, whose `$1`, `$2` are `values`? No secret is in it: `credential` is a name."""

    host: str
    port: int
    user: str
    database: str
    credential: str
    query: str
    values: tuple[str, ...] = ()
    tls: bool = True
