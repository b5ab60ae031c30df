"""A run whose MCP server wants tokens of an OAuth server: the gateway gets them, and keeps what comes in their place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e import test_mcp

from tickover.gateway.secrets import KEY_FILE, read_key_file, unseal
from tickover.testing.localhost import entry, serving, url
from tickover.testing.mcp import DoubleTool, McpDouble
from tickover.testing.oauth import TokenEndpoint

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench


async def test_a_refresh_token_is_used_and_replaced(bench: Bench) -> None:
    endpoint = TokenEndpoint(secret="the client's secret of 4711")
    double = McpDouble(
        [DoubleTool("create_issue", lambda given: {"id": 7, "title": given.get("title")})], token="token-1"
    )
    async with serving(double) as at, serving(endpoint.handler) as auth:
        roots = bench.folder / "roots.pem"
        roots.write_bytes(b"".join(each.authority.pem for each in (at, auth) if each.authority))
        oauth = {
            "grant": "refresh-token",
            "token_url": f"{url(auth)}/token",
            "client_id": "tickover",
            "client_secret": "app",
        }
        known = {
            "network": {"private": [entry(at), entry(auth)], "roots": [str(roots)]},
            "connectors": {"tracker": {"mcp": {"url": f"{url(at)}/mcp", "credential": "tracker"}}},
            "credentials": {
                "tracker": {"kind": "oauth", "hosts": [entry(at)], "oauth": oauth},
                "app": {"kind": "oauth-client"},
            },
        }
        (bench.tickover.home / "tickover.yaml").write_text(json.dumps(known))
        bench.tickover.secrets.set("tracker", endpoint.refresh.encode(), by="owner")
        bench.tickover.secrets.set("app", endpoint.secret.encode(), by="owner")
        town = test_mcp.Town(bench, double, at)
        offered = {"tracker": {"tools": ["create_issue"]}}
        row = await bench.run(town.routine(test_mcp.MAKE, connectors=offered))
        assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, bench.said())
        assert set(double.tokens) == {"Bearer token-1"}
        kept = bench.tickover.store.secrets.get("tracker")
        key = read_key_file(str(bench.tickover.home / KEY_FILE))
        assert kept.version == 2
        assert unseal(key, name="tracker", kind="oauth", sealed=kept.sealed) == endpoint.refresh.encode()
        everything = json.dumps([event.data for event in bench.events])
        assert not [each for each in ("token-1", "refresh-token", endpoint.secret) if each in everything]
