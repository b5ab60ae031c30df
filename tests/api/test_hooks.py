"""From a signed request to a wish, with the real store, router and child."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tickover.api.hooks import Hooks, hooks_key
from tickover.control.triggers import Installed
from tickover.core.definition import Routine
from tickover.core.wish import Enqueued, Wish
from tickover.store.blobs import FileBlobs
from tickover.store.events import NewEvent
from tickover.store.sqlite_events import SqliteEvents
from tickover.testing.senders import SECRET, SIGNERS

BODY = json.dumps({"action": "opened", "number": 7, "repository": {"full_name": "acme/app"}}).encode()
ON = [
    {"github": {"repo": "acme/app", "secret": "gh", "events": ["pull_request"], "input": {"pr": "$.number", "text": "#{{ event.number }}"}}},
    {"github": {"repo": "acme/app"}},
]  # fmt: skip


class House:
    def __init__(self, folder: Path) -> None:
        self.events = SqliteEvents(str(folder))
        self.blobs = FileBlobs(str(folder / "blobs"))
        self.wishes: list[Wish] = []
        self.routine = Routine.model_validate({"name": "review", "agent": "steps", "on": ON})

    def installed(self) -> list[Installed]:
        return [Installed(self.routine)]

    def enqueue(self, wish: Wish) -> Enqueued:
        self.wishes.append(wish)
        return Enqueued(f"run-{len(self.wishes)}")


@asynccontextmanager
async def up(folder: Path) -> AsyncIterator[tuple[House, Hooks]]:
    house = House(folder)
    key = hooks_key(str(folder))
    try:
        async with Hooks(house, secret=lambda _: SECRET, key=key, clock=time.time) as hooks:
            yield house, hooks
    finally:
        house.events.close()


async def post(hooks: Hooks, path: str, headers: dict[str, str]) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await hooks.asgi({"type": "http", "method": "POST", "path": path, "headers": raw}, receive, send)
    status: int = sent[0]["status"]
    return status


async def until(condition: Callable[[], object]) -> None:
    never = threading.Event()
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.to_thread(never.wait, 0.02)


async def test_a_signed_event_becomes_a_wish(tmp_path: Path) -> None:
    async with up(tmp_path) as (house, hooks):
        headers = {**SIGNERS["github"][2](BODY), "X-GitHub-Event": "pull_request", "X-GitHub-Delivery": "d1"}
        assert [await post(hooks, "/hooks/review/github", headers) for _ in range(3)] == [200, 200, 200]
        await until(lambda: house.events.get("e1").state == "routed")
        [wish] = house.wishes
        assert (wish.routine, wish.trigger, wish.event) == ("review", "github", BODY)
        assert wish.inputs == {"pr": 7, "text": "#7"}
        assert wish.key == "e1:review/github"
        [routing] = house.events.routings("e1")
        assert (routing.verdict, routing.run) == ("fired", "run-1")


async def test_a_url_that_nobody_guesses_survives_a_restart(tmp_path: Path) -> None:
    async with up(tmp_path) as (_, hooks):
        before = hooks.triggers.urls("")["review/github-2"]
    async with up(tmp_path) as (house, hooks):
        assert hooks.triggers.urls("")["review/github-2"] == before
        assert await post(hooks, before, {"X-GitHub-Event": "push"}) == 200
        assert await post(hooks, before[:-1], {"X-GitHub-Event": "push"}) == 404
        await until(lambda: house.wishes)
    assert stat.S_IMODE(os.stat(tmp_path / "hooks.key").st_mode) == 0o600


async def test_what_waited_while_nobody_served_is_routed_at_the_start(tmp_path: Path) -> None:
    events = SqliteEvents(str(tmp_path))
    await events.put(NewEvent("review/github-2", "github", "d", "push", 1.0, {}, len(BODY), BODY))
    events.close()
    async with up(tmp_path) as (house, _):
        await until(lambda: house.wishes)


async def test_what_another_process_puts_is_heard_by_its_ring(tmp_path: Path) -> None:
    async with up(tmp_path) as (house, _):
        other = SqliteEvents(str(tmp_path))
        await other.put(NewEvent("review/github-2", "github", "d", "push", 1.0, {}, len(BODY), BODY))
        other.ring()
        other.close()
        await until(lambda: house.wishes)
