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
from tickover.core.allowlist import Allowlist, least
from tickover.core.event import HostReached
from tickover.testing import localhost
from tickover.testing.absent import absent
from tickover.testing.localhost import entry, serving, url
from tickover.testing.sandbox import until
from tickover.testing.upstream import Upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

CLIENTS = {
    "curl": "curl -q -sS URL/curl",
    "curl by the proxy": "curl -q -sS --noproxy '' --proxy $HTTPS_PROXY URL/curl",
    "http.client": """python3 -c "
import http.client, ssl, sys
from urllib.parse import urlsplit
there = urlsplit('URL')
context = ssl.create_default_context()
asking = http.client.HTTPSConnection(there.hostname, there.port, context=context)
asking.request('GET', '/http.client')
print(asking.getresponse().read().decode())" """,
    "node fetch": "node -e \"fetch('URL/node').then(r => r.text()).then(console.log)\"",
    "wget": "wget -q -O - URL/wget",
}


@pytest.fixture
async def double() -> AsyncIterator[Upstream]:
    async with serving() as double:
        yield double


def configure(bench: Bench, *doubles: Upstream, private: bool = True) -> None:
    localhost.configure(bench.tickover.home, doubles, private=private)


def environment(double: Upstream, *network: str) -> dict[str, Any]:
    return {"network": [entry(double), *network]}


def denials(bench: Bench) -> set[tuple[str, str]]:
    return {(fact["host"], fact["code"]) for fact in bench.facts("connection_denied")}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_reaches_what_is_listed(bench: Bench, double: Upstream, client: str) -> None:
    if shutil.which(CLIENTS[client].split()[0]) is None:
        absent(f"there is no {client} on this machine")
    configure(bench, double)
    script = CLIENTS[client].replace("URL", url(double))
    row = await bench.run(bench.routine(script, environment=environment(double)))
    assert '"ok":true' in bench.said(), bench.said()
    assert row.execution == "completed", bench.said()
    assert len(double.seen) == 1
    assert row.sandbox is not None
    assert row.sandbox.network == entry(double)
    assert denials(bench) == set()


async def test_the_least_list_is_what_was_reached(bench: Bench, double: Upstream) -> None:
    configure(bench, double)
    script = f"for i in 1 2 3; do curl -sS {url(double)}/; done; curl -sS https://evil.test/ || true"
    network = environment(double, "docs.test")
    await bench.run(bench.routine(script, environment=network))
    facts = bench.facts("host_reached")
    assert [(fact["host"], fact["port"], fact["identity"]) for fact in facts] == [("localhost", double.port, "agent")]
    found = least([HostReached.model_validate(fact) for fact in facts], network["network"])
    assert found == Allowlist((entry(double),), ("docs.test",))


async def test_what_is_not_listed_has_no_name(bench: Bench, double: Upstream) -> None:
    configure(bench, double)
    script = "curl -sS https://evil.test/ --noproxy '*' || curl -sS https://evil.test/ --proxy $HTTPS_PROXY || true"
    await bench.run(bench.routine(script, environment=environment(double)))
    assert ("evil.test", "no_name") in denials(bench)
    assert ("evil.test", "not_listed") in denials(bench)
    assert double.seen == []


async def test_a_routine_cannot_make_a_private_address_allowed(bench: Bench, double: Upstream) -> None:
    configure(bench, double, private=False)
    script = f"curl -sS {url(double)}/ && exit 1 || true"
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
    configure(bench, double)
    script = "for i in $(seq 150); do curl -sk https://localhost:1/ --proxy $HTTPS_PROXY --noproxy '' || true; done"
    await bench.run(bench.routine(script, environment=environment(double)))
    facts = bench.facts("connection_denied")
    assert sum(fact["times"] for fact in facts) == 150
    assert len(facts) <= 5
    assert {fact["code"] for fact in facts} == {"port"}


async def test_a_gateway_that_is_killed_ends_its_runs_and_lets_nothing_out(bench: Bench, double: Upstream) -> None:
    configure(bench, double)
    script = f"while :; do curl -sS {url(double)}/ || true; sleep 0.05; done"
    running = asyncio.create_task(bench.run(bench.routine(script, environment=environment(double))))
    await until(lambda: double.seen, lambda: "nothing arrived", seconds=60)
    gateway = bench.tickover.gateway.pid
    assert gateway is not None
    os.kill(gateway, signal.SIGKILL)
    row = await asyncio.wait_for(running, 60)
    assert (row.execution, row.outcome, row.exit_code) == ("failed", "unverified", 7)
    assert row.cause is not None
    assert row.cause.cause == "infrastructure"
    assert "gateway" in row.cause.hint
    # The next run has a new one.
    again = await bench.run(bench.routine(f"curl -sS {url(double)}/again", environment=environment(double)))
    assert again.execution == "completed"
    assert bench.tickover.gateway.pid not in {None, gateway}


async def test_the_setup_script_has_the_network_of_the_environment(bench: Bench, double: Upstream) -> None:
    configure(bench, double)
    setup = {"run": f"curl -sS {url(double)}/setup > /home/agent/fetched; curl -sS https://evil.test/ || true"}
    routine = bench.routine("cat /home/agent/fetched", environment={**environment(double), "setup": setup})
    row = await bench.run(routine)
    assert row.execution == "completed", bench.said()
    assert '"ok":true' in bench.said()
    assert [seen.target for seen in double.seen] == ["/setup"]
    assert [fact["identity"] for fact in bench.facts("connection_denied")] == ["setup"]


async def test_two_runs_cannot_use_each_others_way(bench: Bench) -> None:
    async with serving() as one, serving() as other:
        configure(bench, one, other)
        script = f"curl -sS {url(one)}/ || true; curl -sS {url(other)}/ || true"
        folders = [
            bench.routine(script, name=name, environment=environment(double))
            for name, double in (("one", one), ("other", other))
        ]
        await asyncio.gather(*(bench.tickover.run(RunRequest(folder=str(folder))) for folder in folders))
        assert (len(one.seen), len(other.seen)) == (1, 1)


async def test_a_setup_script_installs_from_the_machines_own_index(bench: Bench) -> None:
    setup = {"run": "pip install --quiet six && python3 -c 'import six'"}
    routine = bench.routine(
        "python3 -c 'import six; print(\"has\", six.__name__)'\n! pip download --quiet --dest /tmp six --index-url https://evil.test/simple\ncurl -sS -o /dev/null -w '%{http_code}' -X POST \"$(pip config debug >/dev/null; echo https://$(python3 -c 'from pip._internal.models.index import PyPI; print(PyPI.netloc)'))/legacy/\"",
        environment={"network": ["packages"], "setup": setup},
    )
    row = await bench.run(routine)
    if row.cause is not None and row.cause.cause == "setup_failed":
        pytest.fail(
            bench.facts("finding")[0]["message"]
            + bench.tickover.blob(bench.facts("finding")[0]["detail"]["log_blob"]).decode()
        )
    assert "has six" in bench.said()
    assert "403" in bench.said()
    assert {fact["code"] for fact in bench.facts("connection_denied") if fact["identity"] == "agent"} >= {"no_rule"}
