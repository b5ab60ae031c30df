"""A filter over the files of a pull request: asked for last, beside the router, and never silently unknown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tickover.control.changed_paths import ChangedPaths
from tickover.control.github import GitHubError
from tickover.control.route import Router, Target
from tickover.core.github import PullName, pull_of
from tickover.core.trigger import EventTrigger, Trigger, TriggerItem
from tickover.core.wish import Enqueued, Wish
from tickover.relay.mapper import Mapper
from tickover.store.blobs import FileBlobs
from tickover.store.events import NewEvent, Routing
from tickover.testing.events import MemoryEvents

ITEM: TypeAdapter[Trigger] = TypeAdapter(TriggerItem)
PULL = b'{"action": "opened", "repository": {"full_name": "acme/app"}, "pull_request": {"number": 7, "draft": false}}'
PUSH = b'{"repository": {"full_name": "acme/app"}, "commits": [{"added": ["src/a.py"]}]}'
SRC = {"changed_paths": {"glob": "src/**"}}


class House:
    """A router whose GitHub is told what it answers."""

    def __init__(self, folder: Path, when: Any, *answers: Sequence[str] | Exception, writes: bool = False) -> None:
        trigger = ITEM.validate_python({"github": {"repo": "acme/app", "when": when}})
        assert isinstance(trigger, EventTrigger)
        self.targets = [Target("r/github", "r", trigger, writes)]
        self.events, self.answers, self.asked = MemoryEvents(), list(answers), list[PullName]()
        self.wishes: list[Wish] = []
        self.open = asyncio.Event()
        self.open.set()
        self.router = Router(
            self.events, FileBlobs(str(folder)), lambda _: self.targets, Mapper(), self.enqueue,
            clock=lambda: 1.0, changed=self.ask,
        )  # fmt: skip
        self.router._changed = ChangedPaths(self.ask, wake=self.router.wake, delays=(0.0, 0.0))

    def enqueue(self, wish: Wish) -> Enqueued:
        self.wishes.append(wish)
        return Enqueued("run-1")

    async def ask(self, pull: PullName) -> Sequence[str]:
        self.asked.append(pull)
        await self.open.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def send(self, body: bytes = PULL, name: str = "pull_request.opened") -> str:
        put = await self.events.put(NewEvent("r/github", "github", name, name, 1.0, {}, len(body), body))
        return put.event

    async def fate(self, event: str) -> Routing:
        async with asyncio.timeout(60):
            while not (found := self.events.routings(event)):
                await self.router.step()
                await turn()
        return found[0]


async def turn() -> None:
    await asyncio.to_thread(threading.Event().wait, 0.01)


def later(code: str = "503", *, again: bool = True) -> GitHubError:
    return GitHubError(code, "not now", again=again)


@pytest.mark.parametrize(
    ("paths", "verdict"), [(["README.md", "src/a/b.py"], "fired"), (["README.md"], "filtered"), ([], "filtered")]
)
async def test_a_pull_request_fires_for_what_it_changes(tmp_path: Path, paths: list[str], verdict: str) -> None:
    house = House(tmp_path, SRC, paths)
    event = await house.send()
    fate = await house.fate(event)
    assert (fate.verdict, house.asked) == (verdict, [PullName("acme/app", 7)])
    [clause] = [each for each in fate.clauses if each["path"] == "changed_paths"]
    assert (clause["ok"], clause["value"]) == (verdict == "fired", paths)


@pytest.mark.parametrize(
    ("when", "asked"),
    [
        ({"is_draft": True, **SRC}, 0),
        ({"is_draft": False, **SRC}, 1),
        ({"is_draft": False}, 0),
        ({"any": [{"is_draft": True}, SRC]}, 1),
        ({"changed_paths": {"not_glob": "docs/**"}}, 1),
        ({"$.changed_paths": {"exists": True}}, 0),
    ],
)
async def test_it_is_asked_last_and_only_where_it_decides(tmp_path: Path, when: Any, asked: int) -> None:
    house = House(tmp_path, when, ["src/a.py"])
    await house.fate(await house.send())
    assert len(house.asked) == asked


async def test_a_push_says_so_itself(tmp_path: Path) -> None:
    house = House(tmp_path, SRC)
    assert (await house.fate(await house.send(PUSH, "push"))).verdict == "fired"
    assert house.asked == []


async def test_a_fork_that_may_not_start_it_has_nobody_asked(tmp_path: Path) -> None:
    house = House(tmp_path, SRC, writes=True)
    body = PULL.replace(b'"number"', b'"head": {"repo": {"id": 2}}, "base": {"repo": {"id": 1}}, "number"')
    assert (await house.fate(await house.send(body))).reason == "from_fork"
    assert house.asked == []


async def test_other_events_do_not_wait_and_what_waits_is_not_lost(tmp_path: Path) -> None:
    house = House(tmp_path, SRC, ["src/a.py"])
    house.open.clear()
    waiting = await house.send()
    assert (await house.fate(await house.send(PUSH, "push"))).verdict == "fired"
    assert not await house.router.step()
    assert house.events.get(waiting).state == "received"
    house.open.set()
    assert (await house.fate(waiting)).verdict == "fired"
    assert len(house.asked) == 1


async def test_what_may_help_is_tried_again_and_what_does_not_is_the_reason(tmp_path: Path) -> None:
    house = House(tmp_path, SRC, later(), later(), ["src/a.py"])
    assert (await house.fate(await house.send())).verdict == "fired"
    house = House(tmp_path, SRC, later(), later(), later("504"))
    fate = await house.fate(await house.send())
    assert (fate.verdict, fate.reason, len(house.asked)) == ("failed", "github.504", 3)
    house = House(tmp_path, SRC, later("404", again=False))
    fate = await house.fate(await house.send())
    assert (fate.verdict, fate.reason, len(house.asked)) == ("failed", "github.404", 1)
    house = House(tmp_path, SRC, RuntimeError("a fault of ours"))
    assert (await house.fate(await house.send())).reason == "github.internal"


async def test_who_ends_lets_go_of_what_is_asked_for(tmp_path: Path) -> None:
    house = House(tmp_path, SRC)
    house.open.clear()
    event = await house.send()
    await house.router.step()
    await house.router.close()
    assert house.events.get(event).state == "received"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda it: it, PullName("acme/app", 7)),
        (lambda it: {**it, "pull_request": {"number": True}}, None),
        (lambda it: {**it, "pull_request": {"number": "7/../../x"}}, None),
        (lambda it: {**it, "repository": {"full_name": "acme/../x"}}, None),
        (lambda it: {**it, "repository": {"full_name": "../app"}}, None),
        (lambda it: {"repository": it["repository"], "issue": {"number": 3, "pull_request": {}}}, PullName("acme/app", 3)),
        (lambda it: {"repository": it["repository"], "issue": {"number": 3}}, None),
    ],
)  # fmt: skip
def test_which_pull_request_it_is(change: Callable[[Any], Any], found: PullName | None) -> None:
    told = {"repository": {"full_name": "acme/app"}, "pull_request": {"number": 7}}
    assert pull_of(change(told)) == found
