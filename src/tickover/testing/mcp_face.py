"""The gateway's face of an MCP double, without a sandbox: real TLS to the double, a ledger in memory."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tickover.core.effect import Wanted
from tickover.core.egress import CredentialForm, Egress
from tickover.core.mcp import PATH, McpServer, ToolRule
from tickover.core.network import NetworkPolicy
from tickover.core.receipt import Identity
from tickover.gateway.base import Denial
from tickover.gateway.calls import Calls
from tickover.gateway.certificates import upstream_context
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.fields import Fields
from tickover.gateway.internal import InternalAnswer, InternalRequest
from tickover.gateway.mcp.base import Connect
from tickover.gateway.mcp.connect import Outfit, Servers
from tickover.gateway.patience import Patience
from tickover.testing.gateway import MemoryLedger, MemoryValues
from tickover.testing.inspected import DOUBLE, HOST, egress_to, loopback
from tickover.testing.mcp import McpDouble
from tickover.testing.upstream import Upstream, upstream

NAME = "tracker"
CREDENTIAL = "tracker-token"


@dataclass
class Said:
    """An answer of the face, read."""

    status: int
    fields: Fields
    body: bytes

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages in it, of a document or of events."""
        if "text/event-stream" in self.fields.tokens("content-type"):
            return [json.loads(each[6:]) for each in self.body.split(b"\n") if each.startswith(b"data: ")]
        return [json.loads(self.body)] if self.body else []

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1]

    @property
    def reason(self) -> str:
        """Why it was refused; nothing for a result."""
        error = self.last.get("error", {})
        return str(error.get("data", {}).get("reason", error.get("code", "")))


@dataclass
class Faced:
    """A client of one server's face."""

    servers: Servers
    ledger: MemoryLedger
    fence: Fence
    counts: Counter[str]
    server: Upstream | None = None
    denials: list[Denial] = field(default_factory=list)
    session: str = ""
    accept: str = "application/json, text/event-stream"
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def post(self, body: bytes, *, session: str | None = None, **more: str) -> Said:
        """Send bytes, with these header fields (`_` is `-`)."""
        fields = {"content-type": "application/json", "accept": self.accept}
        fields |= {name.replace("_", "-"): value for name, value in more.items()}
        if (session if session is not None else self.session) != "":
            fields["mcp-session-id"] = session or self.session
        return await self.ask("POST", body, fields)

    async def ask(self, method: str, body: bytes, fields: Mapping[str, str], path: str = PATH + NAME) -> Said:
        given = Fields((name, value) for name, value in fields.items() if value)
        answer = await self.servers.handler(InternalRequest(method, path, "", given, body))
        return await read(answer)

    async def listen(self, **more: str) -> InternalAnswer:
        """Ask for what the server says unasked."""
        fields = {"accept": "text/event-stream", "mcp-session-id": self.session}
        fields |= {name.replace("_", "-"): value for name, value in more.items()}
        given = Fields((name, value) for name, value in fields.items() if value)
        return await self.servers.handler(InternalRequest("GET", PATH + NAME, "", given, b""))

    async def begin(self, version: str = "2025-11-25") -> dict[str, Any]:
        """Shake hands; what is asked afterwards belongs to the session."""
        said = await self.request("initialize", {"protocolVersion": version, "capabilities": {"sampling": {}}})
        self.session = said.fields.all("mcp-session-id")[0]
        await self.post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        return dict(said.last["result"])

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Said:
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": dict(params or {})}
        return await self.post(json.dumps(message).encode())

    async def call(self, tool: str, **arguments: Any) -> Said:
        return await self.request("tools/call", {"name": tool, "arguments": arguments})

    async def tools(self) -> list[str]:
        return [each["name"] for each in (await self.request("tools/list")).last["result"]["tools"]]

    def codes(self) -> list[str]:
        return [each.code for each in self.denials]


async def read(answer: InternalAnswer) -> Said:
    """Read an answer to its end."""
    if isinstance(answer.body, bytes):
        return Said(answer.status, answer.fields, answer.body)
    return Said(answer.status, answer.fields, b"".join([each async for each in answer.body]))


@asynccontextmanager
async def faced(
    double: McpDouble,
    *,
    tools: Sequence[str] = (),
    rules: Sequence[ToolRule] = (),
    allow: Sequence[str] = (),
    wanted: Wanted | None = None,
    counts: Counter[str] | None = None,
    connect: Connect | None = None,
) -> AsyncIterator[Faced]:
    """Serve a double and its face; with `connect` another server is spoken to instead, and no double is served."""
    async with upstream(HOST, double, authority=DOUBLE) as server:
        way = egress_to(HOST, server.port, credentials={CREDENTIAL: CredentialForm()} if double.token else {})
        known = McpServer(
            NAME, "" if connect else f"https://{HOST}:{server.port}/mcp", way.policy,
            CREDENTIAL if double.token else None, tuple(tools), (), tuple(rules), tuple(allow),
        )  # fmt: skip
        egress = Egress(
            NetworkPolicy(internal=True), forms=way.forms, servers=(known,), wanted=wanted or Wanted((), ())
        )  # fmt: skip
        fence, ledger, denials = Fence(1e6, 1 << 40, clock=lambda: 0.0), MemoryLedger(), list[Denial]()
        counted = Counter[str]() if counts is None else counts
        calls = Calls(
            ledger=ledger, fence=fence, attempt=1, identity=Identity.AGENT, counts=counted,
            numbers=itertools.count(1), clock=lambda: 0.0,
        )  # fmt: skip
        outfit = Outfit(
            egress, MemoryValues({CREDENTIAL: double.token.encode()}), fence, Dialler(resolve=loopback),
            upstream_context(DOUBLE.pem), Patience(),
        )  # fmt: skip
        servers = Servers(outfit, calls, denials.append)
        if connect:
            servers.attach(NAME, connect)
        try:
            yield Faced(servers, ledger, fence, counted, server, denials)
        finally:
            fence.cut("closed")
            await servers.close()
            await asyncio.sleep(0)
    if broken := ledger.broken():
        raise AssertionError(broken.says)
