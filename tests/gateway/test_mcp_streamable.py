"""The adapter for MCP servers over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tickover.core.egress import Egress
from tickover.core.mcp import McpServer
from tickover.gateway.certificates import upstream_context
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.guard import Guard
from tickover.gateway.mcp.base import Connect, NotSent
from tickover.gateway.mcp.streamable import Road, Streamable
from tickover.gateway.patience import Patience
from tickover.gateway.pool import Pool
from tickover.testing.gateway import MemoryValues
from tickover.testing.inspected import DOUBLE, HOST, egress_to, loopback
from tickover.testing.mcp import DoubleTool, McpDouble
from tickover.testing.mcp_suite import UpstreamSuite, request, said
from tickover.testing.upstream import upstream


@asynccontextmanager
async def speaking(double: McpDouble, *, fence: Fence | None = None) -> AsyncIterator[Connect]:
    async with upstream(HOST, double, authority=DOUBLE) as server:
        policy = egress_to(HOST, server.port).policy
        fence = fence or Fence(1e6, 1 << 40, clock=lambda: 0.0)
        pool = Pool(Dialler(resolve=loopback), fence, upstream_context(DOUBLE.pem), Patience())
        known = McpServer("double", f"https://{HOST}:{server.port}/mcp", policy)
        road = Road(known, pool, Guard(Egress(policy), MemoryValues()), fence, Patience())
        try:
            yield lambda: Streamable(road)
        finally:
            pool.close()


class TestConformance(UpstreamSuite):
    def speaking(self, double: McpDouble) -> AbstractAsyncContextManager[Connect]:
        return speaking(double)


async def test_the_servers_session_is_ended() -> None:
    double = McpDouble([DoubleTool("look")])
    async with speaking(double) as connect:
        one = connect()
        await said(one, request(1, "initialize", protocolVersion="2025-11-25"))
        for number in range(2, 6):
            await said(one, request(number, "tools/list"))
        await one.close()
    assert double.ended == 1


async def test_nothing_leaves_after_the_lease() -> None:
    fence = Fence(1e6, 1 << 40, clock=lambda: 0.0)
    double = McpDouble()
    async with speaking(double, fence=fence) as connect:
        fence.cut("lease_expired")
        with pytest.raises(NotSent):
            await said(connect(), request(1, "initialize"))
    assert double.heard == []
