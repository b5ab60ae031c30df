from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import bearer

from tickover.api.app import Api
from tickover.app import Tickover
from tickover.core.grant import Ask, AskKind
from tickover.gateway.secrets import key_for, unseal
from tickover.store.events import NewEvent
from tickover.testing.desk import DeskGrants, MemoryDesk

ASK = Ask(AskKind.HOST, '{"host":"example.com"}', "to reach example.com")
ROUTINE = """---
name: hello
agent: steps
environment: {network: [example.com]}
on:
  - webhook: {verify: {sig: {header: x-acme-signature, encoding: hex}, signed: "{body}", secret: acme}}
---
```bash
true
```
"""


@pytest.fixture
async def real(tmp_path: Path, log: Any) -> AsyncIterator[tuple[Tickover, httpx.AsyncClient, dict[str, str]]]:
    folder = tmp_path / "routines" / "hello"
    folder.mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(ROUTINE)
    async with await Tickover.open(tmp_path / "home", sandbox=False) as tickover:
        tickover.push(folder)
        api = Api(tickover, log=log)
        _, token = tickover.access.create(name="t", owner="person:a", role="admin", by="t", origin="t")
        transport = httpx.ASGITransport(api.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as client:
            yield tickover, client, bearer(token)
        api.close()


async def test_exactly_what_was_read_is_granted(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    desk.asks["hello"] = DeskGrants("hello", new=(ASK,))
    headers = bearer(desk.token(role="admin"))
    read = (await client.get("/api/v1/routines/hello/grants", headers=headers)).json()
    assert read["new"] == [{"kind": "host", "says": "to reach example.com"}]
    assert not read["granted"]
    more = Ask(AskKind.WRITE, "{}", "to change everything")
    desk.asks["hello"] = DeskGrants("hello", new=(ASK, more))
    path, body = "/api/v1/routines/hello/grants", {"digest": read["digest"]}
    late = await client.post(path, headers=headers, json=body)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "grant.changed")
    assert desk.asks["hello"].new == (ASK, more)


async def test_a_pushed_routine_is_granted_over_http(
    real: tuple[Tickover, httpx.AsyncClient, dict[str, str]],
) -> None:
    tickover, client, headers = real
    path = "/api/v1/routines/hello/grants"
    read = (await client.get(path, headers=headers)).json()
    assert [each["says"] for each in read["new"]] == ["to reach example.com"]
    done = await client.post(path, headers=headers, json={"digest": read["digest"]})
    assert done.json()["granted"] is True
    assert tickover.asked("hello") == []
    [entry] = tickover.access.audit.list()[:1]
    assert (entry.what, entry.target, entry.allowed) == ("routine.grant", "hello", True)


async def test_a_value_goes_in_and_never_out(
    real: tuple[Tickover, httpx.AsyncClient, dict[str, str]], log: Any
) -> None:
    tickover, client, headers = real
    body = {"value": "hunter2-hunter2", "hosts": ["api.example.com"]}
    done = await client.post("/api/v1/secrets/ops", headers=headers, json=body)
    assert done.status_code == 200, done.text
    assert (done.json()["hosts"], done.json()["version"]) == (["api.example.com"], 1)
    record = tickover.store.secrets.get("ops")
    key = key_for(str(tickover.home), record.kind)
    assert unseal(key, name="ops", kind=record.kind, sealed=record.sealed) == b"hunter2-hunter2"
    listed = await client.get("/api/v1/secrets", headers=headers)
    wrong = await client.post("/api/v1/secrets/ops", headers=headers, json={**body, "hosts": ["*"]})
    unknown = await client.post("/api/v1/secrets/ops", headers=headers, json={**body, "sort": "x"})
    assert (wrong.status_code, unknown.status_code) == (400, 400)
    audit = json.dumps([str(entry) for entry in tickover.access.audit.list()])
    for text in (done.text, listed.text, wrong.text, unknown.text, audit, json.dumps(log.infos)):
        assert "hunter2" not in text
    assert (await client.delete("/api/v1/secrets/ops", headers=headers)).status_code == 200
    assert (await client.delete("/api/v1/secrets/ops", headers=headers)).status_code == 404


async def test_events_are_read_and_put_in_once_more(
    real: tuple[Tickover, httpx.AsyncClient, dict[str, str]],
) -> None:
    tickover, client, headers = real
    new = NewEvent("hello/webhook", "webhook", "d1", "thing", 1000.0, {"content-type": "text/html"}, 8, b"<script>")
    put = await tickover.events.put(new)
    listed = (await client.get("/api/v1/events", headers=headers)).json()
    assert [each["delivery"] for each in listed["events"]] == ["d1"]
    body = await client.get(f"/api/v1/events/{put.event}/body", headers=headers)
    assert (body.content, body.headers["content-type"]) == (b"<script>", "application/octet-stream")
    assert body.headers["content-disposition"] == "attachment"
    again = await client.post(f"/api/v1/events/{put.event}/replay", headers=headers, json={})
    assert again.json()["replay_of"] == put.event
    assert tickover.events.get(again.json()["event"]).body == b"<script>"
    nowhere = await client.post(f"/api/v1/events/{put.event}/replay", headers=headers, json={"to": "other/webhook"})
    assert nowhere.status_code == 404
    assert (await client.get("/api/v1/events/e99", headers=headers)).status_code == 404
