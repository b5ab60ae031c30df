"""Runs over the API: lists with cursors, journals by number, streams that go on where they were cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.api.conftest import bearer

from tickover.api.answers import RunAnswer, RunsAnswer
from tickover.api.app import Api
from tickover.core.event import AttemptStarted, Fact, RunFinished, RunMissed
from tickover.core.status import Execution, Outcome
from tickover.core.wish import Wish
from tickover.testing.desk import MemoryDesk
from tickover.testing.http import served

END: tuple[Fact, ...] = (
    RunMissed(reason="the machine was off"),
    RunFinished(execution=Execution.MISSED, outcome=Outcome.NONE, exit_code=7),
)


@pytest.fixture
def reader(desk: MemoryDesk) -> dict[str, str]:
    return bearer(desk.token("read"))


async def test_a_list_is_read_page_by_page(client: httpx.AsyncClient, desk: MemoryDesk, reader: dict[str, str]) -> None:
    made = [desk.enqueue(Wish("hello")).run for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        asked = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        answer = await client.get("/api/v1/runs", params=asked, headers=reader)
        page = RunsAnswer.model_validate(answer.json())
        seen += [run.id for run in page.runs]
        cursor = page.cursor
    assert cursor is None
    assert sorted(seen) == sorted(made)


async def test_a_list_is_filtered(client: httpx.AsyncClient, desk: MemoryDesk, reader: dict[str, str]) -> None:
    desk.enqueue(Wish("hello"))
    desk.enqueue(Wish("other"))
    answer = await client.get("/api/v1/runs?routine=other&execution=queued", headers=reader)
    assert [run["routine"] for run in answer.json()["runs"]] == ["other"]
    assert (await client.get("/api/v1/runs?outcome=verified", headers=reader)).json()["runs"] == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1&limit=2", "colour=red", "cursor=../x", "execution=up"]
)
async def test_a_query_that_cannot_be(client: httpx.AsyncClient, reader: dict[str, str], query: str) -> None:
    answer = await client.get(f"/api/v1/runs?{query}", headers=reader)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "api.query"


async def test_a_run_is_shown_as_the_command_line_prints_it(
    client: httpx.AsyncClient, desk: MemoryDesk, reader: dict[str, str]
) -> None:
    run = desk.enqueue(Wish("hello", inputs={"week": "last"})).run
    answer = await client.get(f"/api/v1/runs/{run}", headers=reader)
    told = RunAnswer.model_validate(answer.json())
    assert (told.id, told.routine, told.inputs) == (run, "hello", {"week": "last"})
    assert told.created.endswith("Z")


@pytest.mark.parametrize("run", ["nothing", "%2e%2e", "a%00b", "x" * 300, "%ff", "a%20b", "-x"])
async def test_a_run_that_is_not_there(client: httpx.AsyncClient, reader: dict[str, str], log: Any, run: str) -> None:
    for path in ("", "/events", "/stream", "/artifacts", "/artifacts/out/a", "/network"):
        answer = await client.get(f"/api/v1/runs/{run}{path}", headers=reader)
        assert answer.status_code == 404
        assert set(answer.json()["error"]) == {"code", "message", "hint", "where"}
    assert not log.errors


async def test_events_beyond_a_number(client: httpx.AsyncClient, desk: MemoryDesk, reader: dict[str, str]) -> None:
    run = desk.enqueue(Wish("hello")).run
    desk.tell(run, *END)
    answer = await client.get(f"/api/v1/runs/{run}/events?after=1&limit=1", headers=reader)
    assert [(event["seq"], event["type"]) for event in answer.json()["events"]] == [(2, "run_missed")]
    assert answer.json()["last_seq"] == 3


async def test_cancelling_is_journalled_with_who(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    run = desk.enqueue(Wish("hello")).run
    operator = bearer(desk.token(role="operator"))
    assert (await client.post(f"/api/v1/runs/{run}/cancel", headers=operator)).json() == {"ok": True}
    assert "person:test (token " in str(desk.run_row(run).cancel_requested_by)
    [noted] = [each for each in desk.access.audit.list() if each.what == "run.cancel"]
    assert (noted.target, noted.allowed) == (run, True)


async def test_a_run_that_has_ended_cannot_be_cancelled(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    run = desk.enqueue(Wish("hello")).run
    desk.tell(run, *END)
    answer = await client.post(f"/api/v1/runs/{run}/cancel", headers=bearer(desk.token(role="operator")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run.ended")


async def test_waiting_ends_with_the_run(client: httpx.AsyncClient, desk: MemoryDesk, reader: dict[str, str]) -> None:
    run = desk.enqueue(Wish("hello")).run
    asked = asyncio.create_task(client.get(f"/api/v1/runs/{run}?wait=60", headers=reader))
    desk.tell(run, AttemptStarted(attempt=1))
    other = desk.enqueue(Wish("hello")).run
    desk.tell(other, *END)
    assert (await client.get(f"/api/v1/runs/{other}?wait=60", headers=reader)).json()["execution"] == "missed"
    asked.cancel()


async def test_fire_waits_for_the_end(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    headers = bearer(desk.token("fire:hello"))
    asked = asyncio.create_task(
        client.post("/api/v1/routines/hello/fire?wait=60", json={"inputs": {"a": 1}}, headers=headers)
    )
    while not (rows := desk.run_rows()):
        await asyncio.wait({asked}, timeout=0.05)
    desk.tell(rows[0].id, *END)
    told = (await asked).json()
    assert (told["created"], told["row"]["execution"], told["row"]["inputs"]) == (True, "missed", {"a": 1})


async def messages(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Yield the messages of a stream, as the specification has them."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            if "data" in fields:
                yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


async def test_a_stream_that_was_cut_goes_on_where_it_was(api: Api, desk: MemoryDesk, reader: dict[str, str]) -> None:
    run = desk.enqueue(Wish("hello")).run
    async with served(api.asgi) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        path = f"/api/v1/runs/{run}/stream"
        async with client.stream("GET", path, headers=reader) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            stream = messages(answer)
            first = await anext(stream)
            assert (first["id"], first["event"]) == ("1", "run_created")
            desk.tell(run, AttemptStarted(attempt=1))
            second = await anext(stream)
            assert (second["id"], second["event"]) == ("2", "attempt_started")
        other = desk.enqueue(Wish("hello")).run
        desk.tell(other, *END)
        async with client.stream(
            "GET", f"/api/v1/runs/{other}/stream", headers={**reader, "last-event-id": "1"}
        ) as rest:
            found = [each async for each in messages(rest)]
    assert [(each.get("id"), each["event"]) for each in found] == [
        ("2", "run_missed"),
        ("3", "run_finished"),
        (None, "run"),
    ]
    assert json.loads(found[-1]["data"])["execution"] == "missed"


async def test_who_has_seen_the_end_is_told_not_to_come_back(
    client: httpx.AsyncClient, desk: MemoryDesk, reader: dict[str, str]
) -> None:
    run = desk.enqueue(Wish("hello")).run
    last = desk.tell(run, *END)
    answer = await client.get(f"/api/v1/runs/{run}/stream", headers={**reader, "last-event-id": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")
    wrong = await client.get(f"/api/v1/runs/{run}/stream", headers={**reader, "last-event-id": "-1; drop"})
    assert wrong.status_code == 400


async def test_a_hostile_text_stays_inside_its_message(api: Api, desk: MemoryDesk, reader: dict[str, str]) -> None:
    run = desk.enqueue(Wish("hello")).run
    hostile = "a\r\n\r\nevent: run\ndata: {}\n\n\u2028"
    desk.tell(run, RunMissed(reason=hostile), END[1])
    async with (
        served(api.asgi) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
        client.stream("GET", f"/api/v1/runs/{run}/stream", headers=reader) as answer,
    ):
        found = [each async for each in messages(answer)]
    assert [each["event"] for each in found] == ["run_created", "run_missed", "run_finished", "run"]
    assert json.loads(found[1]["data"])["data"]["reason"] == hostile


async def test_many_callers_cost_one_thread_and_draining_ends_all(api: Api, desk: MemoryDesk) -> None:
    run = desk.enqueue(Wish("hello")).run
    waits = [asyncio.create_task(api.followers.beyond(run, 1, 600)) for _ in range(50)]
    await asyncio.wait(waits, timeout=0.05)
    assert len(api.followers._followed) == 1
    api.finish()
    assert await asyncio.gather(*waits) == [1] * 50


async def test_more_runs_than_can_be_followed_are_refused(desk: MemoryDesk) -> None:
    from tickover.api.stream import BusyError, Followers

    followers = Followers(desk.wait, most=1)
    first = asyncio.create_task(followers.beyond(desk.enqueue(Wish("hello")).run, 1, 600))
    await asyncio.wait({first}, timeout=0.05)
    with pytest.raises(BusyError):
        await followers.beyond(desk.enqueue(Wish("hello")).run, 1, 600)
    followers.close()
    await first
