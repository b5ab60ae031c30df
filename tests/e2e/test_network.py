"""What leaves a run's sandbox, and what does not: real clients from inside, against doubles on the loopback interface."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from tickover.app import RunRequest
from tickover.core.network import InstanceNetwork
from tickover.testing.double import Upstream, upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

CLIENTS = {
    "curl": "curl -q -sS --cacert /tmp/double.pem URL/curl",
    "curl by the proxy": "curl -q -sS --noproxy '' --proxy $HTTPS_PROXY --cacert /tmp/double.pem URL/curl",
    "http.client": """python3 -c "
import http.client, ssl, sys
from urllib.parse import urlsplit
there = urlsplit('URL')
context = ssl.create_default_context(cafile='/tmp/double.pem')
asking = http.client.HTTPSConnection(there.hostname, there.port, context=context)
asking.request('GET', '/http.client')
print(asking.getresponse().read().decode())" """,
    "node fetch": "NODE_EXTRA_CA_CERTS=/tmp/double.pem node -e \"fetch('URL/node').then(r => r.text()).then(console.log)\"",
    "wget": "wget -q -O - --ca-certificate=/tmp/double.pem URL/wget",
}
TRUST = "printf '%s' \"$DOUBLE\" > /tmp/double.pem\n"


@pytest.fixture
async def double() -> AsyncIterator[Upstream]:
    async with upstream() as double:
        yield double


def private(bench: Bench, *doubles: Upstream) -> None:
    """Let these hosts be private, as the instance's configuration does."""
    bench.tickover.network = InstanceNetwork(private=tuple(double.entry for double in doubles))


def environment(double: Upstream, *network: str) -> dict[str, Any]:
    return {"network": [double.entry, *network], "env": {"DOUBLE": double.pem}}


def denials(bench: Bench) -> set[tuple[str, str]]:
    return {(fact["host"], fact["code"]) for fact in bench.facts("connection_denied")}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_reaches_what_is_listed(bench: Bench, double: Upstream, client: str) -> None:
    if shutil.which(CLIENTS[client].split()[0].partition("=")[0].replace("NODE_EXTRA_CA_CERTS", "node")) is None:
        pytest.skip("it is not on this machine")
    private(bench, double)
    script = TRUST + CLIENTS[client].replace("URL", double.url)
    row = await bench.run(bench.routine(script, environment=environment(double)))
    assert "ok" in bench.said(), bench.said()
    assert row.execution == "completed", bench.said()
    assert len(double.asked) == 1
    assert row.sandbox is not None
    assert row.sandbox.network == double.entry
    assert denials(bench) == set()


async def test_what_is_not_listed_has_no_name(bench: Bench, double: Upstream) -> None:
    private(bench, double)
    script = "curl -sSk https://evil.test/ --noproxy '*' || curl -sSk https://evil.test/ --proxy $HTTPS_PROXY || true"
    await bench.run(bench.routine(script, environment=environment(double)))
    assert ("evil.test", "no_name") in denials(bench)
    assert ("evil.test", "not_listed") in denials(bench)
    assert double.asked == []


async def test_a_routine_cannot_make_a_private_address_allowed(bench: Bench, double: Upstream) -> None:
    script = f"curl -sSk {double.url}/ && exit 1\ntrue"
    await bench.run(bench.routine(script, environment=environment(double)))
    assert denials(bench) == {("localhost", "address.loopback")}
    assert double.connections == 0


async def test_no_network_is_no_listener_and_no_gateway(bench: Bench) -> None:
    script = "env | grep -i proxy; curl -sS --max-time 5 http://localhost:3128/ && exit 1\ntrue"
    row = await bench.run(bench.routine(script, environment={"network": "none"}))
    assert "proxy" not in bench.said()
    assert bench.tickover.gateway.pid is None
    assert row.sandbox is not None
    assert row.sandbox.network == "none"


async def test_many_denials_are_few_facts(bench: Bench, double: Upstream) -> None:
    private(bench, double)
    script = "for i in $(seq 150); do curl -sk https://localhost:1/ --proxy $HTTPS_PROXY --noproxy '' || true; done"
    await bench.run(bench.routine(script, environment=environment(double)))
    facts = bench.facts("connection_denied")
    assert sum(fact["times"] for fact in facts) == 150
    assert len(facts) <= 5
    assert {fact["code"] for fact in facts} == {"port"}


async def test_a_gateway_that_is_killed_ends_its_runs_and_lets_nothing_out(bench: Bench, double: Upstream) -> None:
    private(bench, double)
    script = f"while :; do curl -sSk {double.url}/ || true; sleep 0.05; done"
    running = asyncio.create_task(bench.run(bench.routine(script, environment=environment(double))))
    await asyncio.wait_for(double.arrived.wait(), 60)
    gateway = bench.tickover.gateway.pid
    assert gateway is not None
    os.kill(gateway, signal.SIGKILL)
    row = await asyncio.wait_for(running, 60)
    assert (row.execution, row.outcome, row.exit_code) == ("failed", "unverified", 7)
    assert row.cause is not None
    assert row.cause.cause == "infrastructure"
    assert "gateway" in row.cause.hint
    # The next run has a new one.
    again = await bench.run(bench.routine(f"curl -sSk {double.url}/again", environment=environment(double)))
    assert again.execution == "completed"
    assert bench.tickover.gateway.pid not in {None, gateway}


async def test_the_setup_script_has_the_network_of_the_environment(bench: Bench, double: Upstream) -> None:
    private(bench, double)
    setup = {"run": f"curl -sSk {double.url}/setup > /home/agent/fetched; curl -sSk https://evil.test/ || true"}
    routine = bench.routine("cat /home/agent/fetched", environment={**environment(double), "setup": setup})
    row = await bench.run(routine)
    assert row.execution == "completed", bench.said()
    assert bench.said().strip() == "ok"
    assert [asked.path for asked in double.asked] == ["/setup"]
    assert [fact["identity"] for fact in bench.facts("connection_denied")] == ["setup"]


async def test_two_runs_cannot_use_each_others_way(bench: Bench) -> None:
    async with upstream() as one, upstream() as other:
        private(bench, one, other)
        script = f"curl -sSk {one.url}/ || true; curl -sSk {other.url}/ || true"
        folders = [
            bench.routine(script, name=name, environment=environment(double))
            for name, double in (("one", one), ("other", other))
        ]
        await asyncio.gather(*(bench.tickover.run(RunRequest(folder=str(folder))) for folder in folders))
        assert (len(one.asked), len(other.asked)) == (1, 1)
