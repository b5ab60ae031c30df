"""`tickover up` while it drains, while its children die, and while `tickover run` works in the same data folder."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import select
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tickover.testing.up import Up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECRET = b"acme-secret-value"
LONG = """---
name: long
agent: steps
on:
  - api: {}
  - webhook: {verify: {sig: {header: x-acme-signature, encoding: hex}, signed: "{body}", secret: acme}}
environment: {network: [example.com]}
retry: {attempts: 2, backoff: 0s, when: [infrastructure]}
overlap: queue
---
```bash
echo going; sleep 600
```
"""
SHORT = """---
name: short
agent: steps
on: [{api: {}}]
expect: [{command: {run: "test -s /subject/out/answer.txt && python3 -c 'print(1)'"}}]
---
```bash
mkdir -p out && echo 42 > out/answer.txt
```
"""


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    made = Up(tmp_path)
    (tmp_path / "home").mkdir(mode=0o700)
    for name, text in (("long", LONG), ("short", SHORT)):
        folder = tmp_path / "routines" / name
        folder.mkdir(parents=True)
        (folder / "ROUTINE.md").write_text(text)
    code, _, err = await made.cli("secret", "set", "acme", "--kind", "signing", stdin=SECRET.decode())
    assert code == 0, err
    for name in ("long", "short"):
        for verb in (("push", f"routines/{name}"), ("grant", name, "--yes")):
            code, _, err = await made.cli(*verb)
            assert code == 0, err
    await made.start()
    yield made
    await made.kill()


async def once(look: Callable[[], Awaitable[Any]], seconds: float = 300) -> Any:
    """Return what `look` finds, as soon as it is something."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.to_thread(select.select, [], [], [], 0.1)
    return found


async def started(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.post(f"/api/v1/routines/{name}/fire", json={})
    assert answer.status_code in {200, 202}, answer.text
    return str(answer.json()["run"])


async def running(client: httpx.AsyncClient, run: str, attempt: int = 1) -> bool:
    row = (await client.get(f"/api/v1/runs/{run}")).json()
    assert row["finished"] is None, row
    return bool(row["execution"] == "running" and len(row["attempts"]) == attempt)


async def test_in_a_drain_events_are_kept_and_runs_are_followed_to_their_end(up: Up) -> None:
    async with up.client() as client:
        run = await started(client, "long")
        await once(lambda: running(client, run))
        up.terminate()

        async def draining() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await once(draining)
        health = await client.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "draining")
        body = b'{"id": 7}'
        headers = {"x-acme-signature": hmac.new(SECRET, body, hashlib.sha256).hexdigest()}
        kept = await client.post("/hooks/long/webhook", content=body, headers=headers)
        assert kept.status_code == 200, kept.text
        refused = await client.post("/api/v1/routines/short/fire", json={})
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert (await client.post(f"/api/v1/runs/{run}/cancel")).status_code in {200, 202}
        async with client.stream("GET", f"/api/v1/runs/{run}/stream") as followed:
            assert "run_finished" in "".join([piece async for piece in followed.aiter_text()])
    assert await up.ended() == 0
    code, out, err = await up.cli("events", "list", "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 1


@pytest.mark.parametrize("mark", [b"tickover.sandbox.launcher", b"tickover.gateway"])
async def test_a_child_that_is_killed_is_started_again(up: Up, mark: bytes) -> None:
    async with up.client() as client:
        run = await started(client, "long")
        await once(lambda: running(client, run))
        pid = up.child(mark)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await once(lambda: running(client, run, 2))  # the rule `infrastructure` tries it again
        row = (await client.get(f"/api/v1/runs/{run}")).json()
        assert row["attempts"][0]["cause"]["cause"] == "infrastructure"
        assert up.child(mark) not in {None, pid}
        await client.post(f"/api/v1/runs/{run}/cancel")
        after = await started(client, "short")
        row = (await client.get(f"/api/v1/runs/{after}?wait=300")).json()
        assert (row["execution"], row["outcome"]) == ("completed", "verified"), row
    assert await up.stop() == 0


async def test_a_run_by_hand_works_beside_the_server(up: Up) -> None:
    async with up.client() as client:
        first = await started(client, "long")
        await once(lambda: running(client, first))
        code, out, err = await up.cli("run", "routines/short", "--json")
        assert code == 0, err
        by_hand = json.loads(out.splitlines()[-1])
        again = await started(client, "short")
        row = (await client.get(f"/api/v1/runs/{again}?wait=300")).json()
        assert row["outcome"] == "verified", row
        seen = {each["id"]: each for each in (await client.get("/api/v1/runs")).json()["runs"]}
        assert len(seen) == 3
        assert {each["outcome"] for each in seen.values() if each["id"] != first} == {"verified"}
        assert by_hand["type"]
        still = (await client.get(f"/api/v1/runs/{first}")).json()
        assert (still["execution"], len(still["attempts"])) == ("running", 1)  # nobody took it for lost
        assert (await client.post(f"/api/v1/runs/{first}/cancel")).status_code in {200, 202}
    assert await up.stop() == 0
