"""One request as it would leave: what is judged is exactly what is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tickover.core import enforcement
from tickover.core.enforcement import Body
from tickover.core.target import PORTS
from tickover.gateway.fields import Fields
from tickover.gateway.framing import EMPTY, NO_BODY, Framing
from tickover.gateway.http1 import Request, request_head


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to an inspected host, at the name and port that its connection was opened for."""

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str
    fields: Fields
    framing: Framing = NO_BODY
    upgrade: str | None = None

    @classmethod
    def of(cls, request: Request, scheme: str, host: str, port: int) -> Asked:
        path, _, query = request.target.path.partition("?")
        return cls(
            request.method, scheme, host, port, path, query, request.fields, request.framing, request.upgrade
        )  # fmt: skip

    @property
    def has_body(self) -> bool:
        return self.framing not in {NO_BODY, EMPTY}

    def having(self, name: str, value: str) -> Asked:
        """Return it with this header field in the place of all of its name."""
        return replace(self, fields=self.fields.having(name, value))

    def judged_as(self, body: Body) -> enforcement.Request:
        """Return what core judges."""
        upgrade = (("upgrade", self.upgrade),) if self.upgrade else ()
        return enforcement.Request(
            self.method, self.scheme, self.host, self.port, self.path, self.query, (*self.fields, *upgrade), body
        )  # fmt: skip

    def head(self) -> bytes:
        """Write its head. Raises ValueError for what nobody could have parsed."""
        host = self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"
        target = f"{self.path}?{self.query}" if self.query else self.path
        return request_head(self.method, target, host, self.fields, self.framing, upgrade=self.upgrade)
