"""From the MCP servers that a run was told of to their faces: which adapter speaks to which."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

from tickover.core.egress import Egress
from tickover.core.mcp import McpServer
from tickover.gateway.base import TellDenial, Values
from tickover.gateway.calls import Calls
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.guard import Guard, Held
from tickover.gateway.mcp.base import Connect, NotSent, Upstream
from tickover.gateway.mcp.face import Face, Means
from tickover.gateway.mcp.faces import Faces, denial_of
from tickover.gateway.mcp.stdio import StdioServer
from tickover.gateway.mcp.streamable import Road, Streamable
from tickover.gateway.patience import Patience
from tickover.gateway.pool import Pool


@dataclass(frozen=True, slots=True)
class Outfit:
    """What a session has: what it may send, the values of its credentials, and its way out."""

    egress: Egress
    values: Values
    fence: Fence
    dialler: Dialler
    context: ssl.SSLContext
    patience: Patience
    held: Held = tuple
    """What others hold (gateway/keyring.py)."""


class Servers:
    """The servers of one session. One without an address answers as soon as somebody says how (`attach`)."""

    def __init__(self, outfit: Outfit, calls: Calls, tell: TellDenial) -> None:
        self._pool = Pool(outfit.dialler, outfit.fence, outfit.context, outfit.patience)
        self._connects: dict[str, Connect] = {}
        self._programs: dict[str, StdioServer] = {}
        self._outfit = outfit
        self._calls = calls
        faces = {}
        for server in outfit.egress.servers:
            guard = Guard(replace(outfit.egress, policy=server.policy), outfit.values, outfit.held)
            if server.url:
                road = Road(server, self._pool, guard, outfit.fence, outfit.patience)
                self._connects[server.name] = _road_taken(road)
            means = Means(calls, guard.redact, outfit.egress.wanted, _teller(server, tell))
            faces[server.name] = Face(server, self._connector(server.name), means)
        self.handler = Faces(faces)
        """Answers the requests below `/mcp/`."""

    def attach(self, name: str, connect: Connect) -> None:
        """Say how a server is spoken to."""
        self._connects[name] = connect

    async def take(self, name: str, stdin: int, stdout: int) -> None:
        """Speak to a server by the pipes of its program; they are ours from now on. Raises ValueError, OSError."""
        if all(each.name != name or each.url for each in self._outfit.egress.servers) or name in self._programs:
            raise ValueError(f"{name} is no server that is a program, or it is here already")
        program = self._programs[name] = StdioServer(stdin, stdout, self._outfit.fence, self._outfit.patience)
        await program.open()
        self.attach(name, program.connect)

    async def close(self) -> None:
        """Let go of the connections, and wait until every receipt is written. After the plane is closed."""
        for program in self._programs.values():
            program.close()
        self._pool.close()
        await self._calls.settled()

    def _connector(self, name: str) -> Connect:
        def connect() -> Upstream:
            if name not in self._connects:
                raise NotSent(503, "mcp_not_there", f"the server {name} is not there")
            return self._connects[name]()

        return connect


def _road_taken(road: Road) -> Connect:
    return lambda: Streamable(road)


def _teller(server: McpServer, tell: TellDenial) -> Callable[[str, str, str, str], None]:
    return lambda code, says, method, below: tell(denial_of(server.name, code, says, method, below))
