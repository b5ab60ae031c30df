from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tickover.api.ingest import Ingest
from tickover.core.errors import TickoverError
from tickover.relay.hook import Hook, hook_token
from tickover.relay.providers import PROVIDERS
from tickover.testing.events import MemoryEvents
from tickover.testing.senders import BODY, KEY, NOW, SECRET, SIGNERS, WHSEC

GITHUB = SIGNERS["github"][2]
SECRETS = {"github": SECRET, "slack": SECRET, "whsec": WHSEC, "alerts": SECRET}
TOKEN = hook_token(KEY, "deploy/github")
HOOKS = {
    "review/github": Hook("review/github", PROVIDERS["github"], ("github",)),
    "chat/slack": Hook("chat/slack", PROVIDERS["slack"], ("slack",)),
    "calls/fathom": Hook("calls/fathom", PROVIDERS["fathom"], ("whsec",)),
    "alerts/alertmanager": Hook("alerts/alertmanager", PROVIDERS["alertmanager"], ("alerts",)),
    "deploy/github": Hook("deploy/github", PROVIDERS["github"], token=TOKEN),
    "r/twilio": Hook("r/twilio", PROVIDERS["twilio"], ("github",)),
    "resting/github": Hook("resting/github", PROVIDERS["github"], ("github",), paused=True),
}


class Blobs:
    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def put(self, content: bytes, *, max_bytes: int | None = None) -> str:
        self.kept.append(content)
        return "d" * 64


class Door:
    """Calls the application as a server would."""

    def __init__(self, **more: Any) -> None:
        self.events, self.blobs, self.woken = MemoryEvents(), Blobs(), 0
        self.app = Ingest(HOOKS.get, self._secret, self.events, self.blobs, clock=lambda: NOW, wake=self._wake, **more)

    def _secret(self, name: str) -> Sequence[bytes]:
        return [SECRETS[name]]

    def _wake(self) -> None:
        self.woken += 1

    async def send(
        self, path: str, headers: dict[str, str] | None = None, body: bytes | Sequence[bytes] = BODY, **scope: Any
    ) -> tuple[int, dict[str, str], bytes]:
        pieces = [body] if isinstance(body, bytes) else list(body)
        messages = [
            {"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1}
            for at, piece in enumerate(pieces)
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        given = {
            "type": "http",
            "method": "POST",
            "path": path,
            "root_path": "",
            "headers": raw,
            "client": ("192.0.2.1", 5),
        }
        await self.app({**given, **scope}, receive, send)
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]

    def post(self, path: str, headers: dict[str, str] | None = None, body: Any = BODY, **scope: Any) -> tuple[int, Any]:
        status, _, answer = asyncio.run(self.send(path, headers, body, **scope))
        return status, json.loads(answer)

    def reasons(self) -> dict[tuple[str, str], int]:
        return {(each.source, each.reason): each.count for each in self.events.rejections()}


def github(body: bytes = BODY, delivery: str = "d1", event: str = "push") -> dict[str, str]:
    return {
        **GITHUB(body),
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
        "Cookie": "private",
        "User-Agent": "GitHub",
    }


def test_what_is_proved_is_stored_and_then_answered() -> None:
    door = Door()
    assert door.post("/hooks/review/github", github()) == (200, {"event": "e1"})
    found = door.events.get("e1")
    assert (found.source, found.provider, found.delivery) == ("review/github", "github", "d1")
    assert (found.body, found.received_at, door.woken) == (BODY, NOW, 1)
    assert found.headers == {"user-agent": "GitHub", "x-github-delivery": "d1", "x-github-event": "push"}
    assert door.post("/hooks/review/github", github()) == (200, {"event": "e1", "duplicate": True})
    assert door.reasons() == {}


@pytest.mark.parametrize(
    ("path", "root"),
    [("/review/github", ""), ("/hooks/review/github", "/hooks"), ("/a/hooks/review/github", "/a/hooks")],
)
def test_it_can_be_mounted(path: str, root: str) -> None:
    assert Door().post(path, github(), root_path=root)[0] == 200


@pytest.mark.parametrize("path", ["", "/", "/hooks", "/hooks/review", "/hooks/nobody/github", "/hooks/review/github/x", "/hooks/review//github",
                                  "/hooks/review/github/", "/hooks/ré/github", "/hooks/" + "x" * 5000 + "/y", "/hooks/../github", "/x/hooks/review/github"])  # fmt: skip
def test_an_unknown_hook_is_counted_without_its_hostile_name(path: str) -> None:
    door = Door()
    assert door.post(path, github()) == (404, {"error": {"code": "unknown"}})
    assert door.reasons() == {("", "unknown"): 1}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "header_missing"),
        ({"x-hub-signature-256": "sha256=" + "0" * 64}, "signature_mismatch"),
        ({"x-hub-signature-256": "é\x00"}, "signature_unreadable"),
    ],
)
def test_without_proof_nothing_is_stored(headers: dict[str, str], reason: str) -> None:
    door = Door()
    for _ in range(3):
        assert door.post("/hooks/review/github", {**headers, "Authorization": "Bearer private"}) == (
            401,
            {"error": {"code": reason}},
        )
    [rejected] = door.events.rejections()
    assert (rejected.source, rejected.reason, rejected.count) == ("review/github", reason, 3)
    assert rejected.sample["headers"]["authorization"] == len("Bearer private")
    assert "private" not in json.dumps(rejected.sample)
    assert door.events.list() == []


def test_a_token_in_the_url_proves_a_sender_without_a_scheme() -> None:
    door = Door()
    assert door.post(f"/hooks/deploy/github/{TOKEN}", {"X-GitHub-Event": "push"})[0] == 200
    for wrong in ("", "/x", f"/{TOKEN[:-1]}", f"/{hook_token(KEY, 'other/github')}"):
        assert door.post(f"/hooks/deploy/github{wrong}", {"X-GitHub-Event": "push"})[0] == 404


def test_what_else_is_refused() -> None:
    door = Door(max_body=100)
    assert door.post("/hooks/review/github", github(), method="GET")[0] == 405
    assert door.post("/hooks/resting/github", github())[0] == 410
    large = b"x" * 101
    assert door.post("/hooks/review/github", {**github(large), "Content-Length": "101"}, large)[0] == 413
    assert door.post("/hooks/review/github", github(large), [b"x"] * 101)[0] == 413
    assert door.post("/hooks/review/github", {**github(), "Content-Length": "9" * 50})[0] == 413
    assert set(door.reasons()) == {
        ("review/github", "method"),
        ("resting/github", "paused"),
        ("review/github", "too_large"),
    }
    assert door.post("/hooks/review/github", github())[0] == 200


def test_without_proof_the_body_is_not_even_read() -> None:
    assert Door().post("/hooks/review/github", {}, [])[0] == 401


def test_a_body_that_does_not_come_is_given_up_and_blocks_nobody() -> None:
    door = Door(body_deadline=0.05)

    async def both() -> tuple[int, int]:
        slow = asyncio.ensure_future(door.send("/hooks/review/github", github(), []))
        good = await door.send("/hooks/review/github", github())
        return (await slow)[0], good[0]

    assert asyncio.run(both()) == (408, 200)
    assert door.reasons() == {("review/github", "body_deadline"): 1}


def test_a_sender_that_hangs_up_is_no_error() -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def silent(message: Any) -> None:
        raise AssertionError(message)

    door = Door()
    scope = {"type": "http", "method": "POST", "path": "/review/github", "headers": [(b"x-hub-signature-256", b"x")]}
    asyncio.run(door.app(scope, gone, silent))
    assert door.events.list() == []


def test_all_bodies_share_one_room() -> None:
    door = Door(max_in_flight=len(BODY) + 10)

    async def two() -> list[int]:
        status, headers, _ = await door.send("/hooks/review/github", github(b"y" * 200), b"y" * 200)
        assert headers["retry-after"] == "5"
        return [status, (await door.send("/hooks/review/github", github()))[0]]

    assert asyncio.run(two()) == [503, 200]


def test_overload_is_told_and_nothing_is_lost() -> None:
    door = Door()
    door.events.full = True
    status, headers, body = asyncio.run(door.send("/hooks/review/github", github()))
    assert (status, headers["retry-after"], json.loads(body)) == (503, "5", {"error": {"code": "store.overloaded"}})
    door.events.full = False
    assert door.post("/hooks/review/github", github()) == (200, {"event": "e1"})


def test_an_error_of_ours_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    door.events.fault = RuntimeError("secret detail")
    with caplog.at_level(logging.CRITICAL, "tickover.ingest"):
        assert door.post("/hooks/review/github", github()) == (500, {"error": {"code": "internal"}})
    door.events.fault = TickoverError("store.failed", "disk full")
    assert door.post("/hooks/review/github", github())[0] == 503
    assert door.post("/hooks/review/github", github())[0] == 200


def test_slacks_challenge_is_answered_only_if_slack_signed_it() -> None:
    body = b'{"type": "url_verification", "challenge": "3eZbrw1a"}'
    door = Door()
    status, headers, answer = asyncio.run(door.send("/hooks/chat/slack", SIGNERS["slack"][2](body), body))
    assert (status, headers["content-type"], answer) == (200, "text/plain; charset=utf-8", b"3eZbrw1a")
    assert door.post("/hooks/chat/slack", SIGNERS["slack"][2](body + b" "), body)[0] == 401
    assert door.events.list() == []


def test_an_address_that_is_signed_is_the_configured_one_never_what_a_request_says() -> None:
    body, sign = b"SmsStatus=received&From=%2B4930", SIGNERS["twilio"][2]
    door = Door(base_url="https://hooks.example.com/")
    assert door.post("/hooks/r/twilio", sign(body), body) == (200, {"event": "e1"})
    assert door.post("/hooks/r/twilio", sign(body), body, query_string=b"a=1")[0] == 401
    pretends = {**sign(body), "host": "hooks.example.com", "x-forwarded-host": "hooks.example.com"}
    assert Door().post("/hooks/r/twilio", pretends, body) == (401, {"error": {"code": "part_missing"}})
    assert Door(base_url="https://other.example.com").post("/hooks/r/twilio", pretends, body)[0] == 401


def test_githubs_ping_is_an_event() -> None:
    door = Door()
    assert door.post("/hooks/review/github", github(event="ping")) == (200, {"event": "e1"})
    assert door.events.get("e1").headers["x-github-event"] == "ping"


def test_a_large_body_becomes_a_blob() -> None:
    door, large = Door(), b"[" + b"1," * 300_000 + b"1]"
    assert door.post("/hooks/review/github", github(large), [large[:1000], large[1000:]])[0] == 200
    assert (door.events.get("e1").body, door.events.get("e1").digest) == (None, "d" * 64)
    assert door.blobs.kept == [large]


HOSTILE: list[tuple[str, bytes]] = [
    ("deep", b"[" * 200_000), ("deep map", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), ("twice", b'{"action":"a","action":"b"}'),
    ("no utf-8", b"\xff\xfe{}"), ("nul", b'{"action":"\\u0000"}'), ("half", b'{"action":"\\ud800"}'), ("number", b"9" * 20_000),
    ("inf", b'{"action":1e999}'), ("nan", b"NaN"), ("empty", b""), ("text", b"hello"), ("keys", b"{" + b",".join(b'"%d":1' % n for n in range(50_000)) + b"}"),
]  # fmt: skip


@pytest.mark.parametrize("body", [body for _, body in HOSTILE], ids=[name for name, _ in HOSTILE])
@pytest.mark.parametrize("hook", ["review/github", "chat/slack", "calls/fathom", "alerts/alertmanager"])
def test_hostile_bodies_that_are_signed_are_stored_as_they_came(hook: str, body: bytes) -> None:
    signer: Callable[[bytes], dict[str, str]] = {
        "review/github": GITHUB, "chat/slack": SIGNERS["slack"][2], "calls/fathom": SIGNERS["fathom"][2],
        "alerts/alertmanager": SIGNERS["alertmanager bearer"][2],
    }[hook]  # fmt: skip
    door = Door()
    assert door.post(f"/hooks/{hook}", signer(body), body) == (200, {"event": "e1"})
    stored = door.events.get("e1")
    assert (door.blobs.kept[0] if stored.body is None else stored.body) == body
