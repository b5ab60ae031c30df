"""An App at a double of GitHub, through the real gateway: deliveries that were lost, marks on commits, one webhook."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tickover.app import Tickover
from tickover.control.backfill import KEPT_S, Filled
from tickover.control.github import GitHubError
from tickover.control.marks import BEGUN, ENDED
from tickover.control.route import Target
from tickover.control.triggers import APP_SOURCE, Triggers
from tickover.core.errors import UsageError
from tickover.core.github import PullName
from tickover.core.wish import Wish
from tickover.gateway.certificates import RunAuthority
from tickover.store.events import NewEvent
from tickover.testing.github import Pull
from tickover.testing.github_app import GitHubAppDouble, Installation, Sent, app_key
from tickover.testing.upstream import Upstream, upstream

pytestmark = pytest.mark.timeout(300)
KEY, PEM = app_key()
SHA = "ab" * 20
GIVEN = {"statuses": "write", "checks": "write", "contents": "read", "pull_requests": "read"}
PULL: dict[str, Any] = {
    "action": "opened", "number": 7, "repository": {"full_name": "acme/app"}, "sender": {"login": "ada"},
    "pull_request": {"head": {"sha": SHA, "ref": "fix", "repo": {"id": 1}}, "base": {"ref": "main", "repo": {"id": 1}}},
}  # fmt: skip
ROUTINE = """---
name: greet
agent: steps
on:
  - github: {repo: acme/app, events: [pull_request.opened]}
expect:
  - file: {path: out/said, equals: "hello\\n"}
---
```bash
mkdir -p out && echo %s > out/said
```
"""


@dataclass
class At:
    home: Path
    double: GitHubAppDouble
    server: Upstream
    tickover: Tickover
    triggers: Triggers = field(init=False)

    def __post_init__(self) -> None:
        self.triggers = Triggers(
            self.tickover.installed, b"k" * 32, clock=time.monotonic, app_secret=lambda: "app-hook"
        )

    def targets(self) -> list[Target]:
        return list(self.triggers.targets(None))

    async def look(self, **more: Any) -> list[Filled]:
        return await self.tickover.backfill(self.targets).look(**more)

    def push(self, said: str = "hello") -> None:
        folder = self.home.parent / "routines" / "greet"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ROUTINE.md").write_text(ROUTINE % said, encoding="utf-8")
        self.tickover.push(folder)

    def send(self, number: int, *, at: float, ok: bool = True, payload: Mapping[str, Any] | None = PULL) -> Sent:
        """Let GitHub have tried to deliver one."""
        one = Sent(number, f"guid-{number}", "pull_request", "opened", payload, 200 if ok else 502, at, repo="acme/app")
        self.double.sent.append(one)
        return one

    async def came(self, sent: Sent, source: str = APP_SOURCE) -> bool:
        """Store a delivery as the door does; say whether it was new."""
        body = json.dumps(sent.payload).encode()
        headers = {"x-github-event": sent.event}
        new = NewEvent(source, "github", sent.guid, "", time.time(), headers, len(body), body)
        return (await self.tickover.events.put(new)).created


@asynccontextmanager
async def desk(tmp_path: Path, *, app: bool = True, **settings: Any) -> AsyncIterator[At]:
    authority = RunAuthority("double", now=datetime.now(UTC))
    double = GitHubAppDouble(public=KEY.public_key(), tokens={"ghp_a-persons-token": "ada"})
    double.installations = [Installation(42, "acme", ("app",), GIVEN)]
    double.pulls = {"acme/app": [Pull(7, "Fix it", "fix", SHA)]}
    home = tmp_path / "home"
    async with upstream("localhost", double, authority=authority) as server:
        place = f"localhost:{server.port}"
        (tmp_path / "double.pem").write_bytes(authority.pem)
        credential: dict[str, Any] = {"hosts": [place]}
        if app:
            credential |= {"kind": "github-app", "app": "Iv1.app", "api": f"https://{place}"}
        home.mkdir(mode=0o700)
        config: dict[str, Any] = {
            "network": {"private": [place], "roots": [str(tmp_path / "double.pem")]},
            "credentials": {"gh": credential, "app-hook": {"kind": "signing"}},
            "github": {"credential": "gh", "webhook_secret": "app-hook", "api": f"https://{place}", **settings},
        }
        if settings.get("credential") == "":
            del config["github"]["credential"]
        (home / "tickover.yaml").write_text(json.dumps(config), encoding="utf-8")
        async with await Tickover.open(home) as tickover:
            tickover.secrets.set("gh", PEM if app else b"ghp_a-persons-token", by="test")
            tickover.secrets.set("app-hook", b"a-signing-secret", by="test")
            yield At(home, double, server, tickover)


# -- deliveries that never came ----------------------------------------------------------------------------------------


async def test_of_twenty_deliveries_the_five_that_were_lost_come_back_and_none_twice(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        assert await at.look() == []  # the first look only begins
        now = time.time()
        lost = {3, 7, 8, 15, 19}
        for number in range(1, 21):
            sent = at.send(number, at=now - 600 + number, ok=number not in lost)
            if number not in lost:
                assert await at.came(sent)
        [found] = await at.look()
        assert (found.listed, len(found.recovered), found.asked_again, found.lost) == (20, 5, 0, None)
        records = [at.tickover.events.get(event) for event in found.recovered]
        assert {each.delivery for each in records} == {f"guid-{number}" for number in lost}
        for each in records:
            assert (each.source, json.loads(each.body or b"")) == (APP_SOURCE, PULL)
            assert each.headers["x-tickover-trust"] == "api"
        again = replace(at.double.sent[2], number=99, redelivery=True, at=now - 200)
        at.double.sent.append(again)
        assert not await at.came(again)  # it comes late after all: the same event
        [found] = await at.look()
        assert (found.recovered, at.double.asked_again) == ((), [])
        assert len(at.tickover.events.list(limit=100)) == 20


async def test_it_reads_every_page_and_stops_where_it_looked_before(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        now = time.time()
        for number in range(1, 131):
            at.send(number, at=now - 40_000 + 200 * number, ok=False)
        await at.came(at.double.sent[0])
        [found] = await at.look(since=now - 39_950)
        assert (found.listed, len(found.recovered)) == (130, 129)
        pages = [each for each in at.double.called if each["path"] == "/app/hook/deliveries"]
        assert len(pages) == 2
        await at.look()
        assert len([each for each in at.double.called if each["path"] == "/app/hook/deliveries"]) == 3


async def test_what_has_no_payload_any_more_is_asked_for_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.send(1, at=time.time() - 300, ok=False, payload=None)
        [found] = await at.look(since=time.time() - 3600)
        assert (found.recovered, found.asked_again, at.double.asked_again) == ((), 1, [1])


async def test_a_time_that_github_no_longer_lists_is_a_window_that_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        begin = time.time() - KEPT_S - 7200
        [found] = await at.look(since=begin)
        assert found.lost is not None
        assert (found.lost[0], 7100 < found.lost[1] - found.lost[0] < 7300) == (begin, True)


async def test_a_look_that_fails_is_made_again_from_where_it_began(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.look()
        at.send(1, at=time.time() - 120, ok=False)
        at.double.limited = 1
        with pytest.raises(GitHubError) as caught:
            await at.look()
        assert (caught.value.again, caught.value.after) == (True, 60.0)
        [found] = await at.look()
        assert len(found.recovered) == 1


async def test_with_a_person_s_token_the_repository_s_own_webhook_is_looked_at(tmp_path: Path) -> None:
    async with desk(tmp_path, app=False) as at:
        at.push()
        at.double.hooks = {"acme/app": [5]}
        at.double.addresses = {5: "https://hooks.example.com/hooks/greet/github/some-token"}
        at.send(1, at=time.time() - 300, ok=False)
        [found] = await at.look(since=time.time() - 3600)
        assert (found.source, len(found.recovered)) == ("greet/github", 1)
        at.double.addresses = {5: "https://ci.example.com/other"}
        assert await at.look(since=time.time() - 3600) == []


async def test_without_a_credential_it_says_what_is_missing(tmp_path: Path) -> None:
    async with desk(tmp_path, credential="") as at:
        with pytest.raises(UsageError) as caught:
            await at.look()
        assert caught.value.code == "github.credential"


# -- what a pull request changes ---------------------------------------------------------------------------------------


async def test_a_pull_request_s_files_are_read_by_a_token_for_that_repository_alone(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        [pull] = at.double.pulls["acme/app"]
        pull.files = [{"filename": f"src/{number:03}.py"} for number in range(130)]
        pull.files.append({"filename": "docs/new.md", "previous_filename": "docs/old.md"})
        ask = at.tickover.changed_paths()
        found = await ask(PullName("acme/app", 7))
        assert (len(found), found[:2], found[-1]) == (132, ["docs/new.md", "docs/old.md"], "src/129.py")
        made = [json.loads(each["body"]) for each in at.double.called if each["path"].endswith("/access_tokens")]
        assert made == [{"repositories": ["app"], "permissions": {"pull_requests": "read"}}]
        pull.files = [{"filename": f"{number}"} for number in range(3000)]
        for name, code in ((PullName("acme/app", 7), "github.files"), (PullName("acme/app", 8), "github.404")):
            with pytest.raises(GitHubError) as caught:
                await ask(name)
            assert (caught.value.code, caught.value.again) == (code, False)


# -- marks on commits --------------------------------------------------------------------------------------------------


async def served(at: At, *, until: Any) -> str:
    """Run `up` on the folder, post a signed event to the App's URL, and wait until something holds of the double."""
    await at.tickover.close()
    environment = {"PATH": "/usr/bin:/bin", "TICKOVER_HOME": str(at.home), "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("tickover")), "up", "--port", "0",
        env=environment, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(120):
            while b"listening on" not in (line := await process.stderr.readline()):
                assert line, "the server ended"
            url = line.decode().split("listening on ")[1].strip()
            body = json.dumps(PULL).encode()
            signature = "sha256=" + hmac.new(b"a-signing-secret", body, hashlib.sha256).hexdigest()
            headers = {"x-github-event": "pull_request", "x-github-delivery": "d1", "x-hub-signature-256": signature}
            async with httpx.AsyncClient(trust_env=False) as client:
                for _ in range(2):
                    answer = await client.post(f"{url}/hooks/{APP_SOURCE}", content=body, headers=headers)
                    assert answer.status_code == 200, answer.text
                wrong = {**headers, "x-hub-signature-256": "sha256=00", "x-github-delivery": "d2"}
                assert (await client.post(f"{url}/hooks/{APP_SOURCE}", content=body, headers=wrong)).status_code == 401
            reading = asyncio.create_task(process.stderr.read())
            while not until():
                await asyncio.wait([reading], timeout=0.1)
            return url
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize(("said", "state"), [("hello", "success"), ("nothing", "failure")])
async def test_a_status_follows_a_run_and_is_green_only_for_what_was_proved(
    tmp_path: Path, said: str, state: str
) -> None:
    async with desk(tmp_path, marks="status") as at:
        at.push(said)
        [pull] = at.double.pulls["acme/app"]
        url = await served(at, until=lambda: any(each["state"] != "pending" for each in pull.statuses))
        assert [each["state"] for each in pull.statuses] in (["pending", state], [state])  # a run may be faster
        assert {each["context"] for each in pull.statuses} == {"tickover/greet"}
        assert pull.statuses[-1]["target_url"].startswith(f"{url}/api/v1/runs/")
        assert {each["creator"]["login"] for each in pull.statuses} == {"an-app[bot]"}
        made = [json.loads(each["body"]) for each in at.double.called if each["path"].endswith("/access_tokens")]
        assert made == [{"repositories": ["app"], "permissions": {"statuses": "write"}}]


async def test_a_check_run_is_one_that_changes(tmp_path: Path) -> None:
    async with desk(tmp_path, marks="check") as at:
        at.push()
        await served(at, until=lambda: any(each["status"] == "completed" for each in at.double.checks))
        [check] = at.double.checks
        assert (check["conclusion"], check["head_sha"], check["name"]) == ("success", SHA, "tickover/greet")


async def test_a_mark_whose_answer_was_lost_is_not_made_twice_and_never_goes_back(tmp_path: Path) -> None:
    async with desk(tmp_path, marks="status") as at:
        at.push()
        await at.came(at.send(1, at=time.time()))
        event = at.tickover.events.list()[0]
        run = at.tickover.enqueue(wish(event.event)).run
        marks = at.tickover.marks(more=lambda run: f"https://tickover.example.com/runs/{run}")
        for _ in range(2):
            marks.begun(at.tickover.events.get(event.event), PULL, "greet", run)
        [letter] = at.tickover.store.outbox.list()
        assert letter.target == BEGUN
        assert await marks.send(letter) == f"pending at acme/app@{SHA[:12]}"
        assert "already" in await marks.send(replace(letter, tries=1))
        [pull] = at.double.pulls["acme/app"]
        assert [each["state"] for each in pull.statuses] == ["pending"]
        row = at.tickover.run_row(run).model_copy(
            update={"finished": 1.0, "outcome": "unverified", "reason": "no proof"}
        )
        [draft] = marks.ended(row)
        assert (draft.target, draft.body["mark"]["state"]) == (ENDED, "error")


def wish(event: str) -> Wish:
    return Wish("greet", "github", key=f"{event}:greet/github")
