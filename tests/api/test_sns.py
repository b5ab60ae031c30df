"""A topic of AWS SNS, from its first message, whose certificate is not known yet, to a wish; and a confirmation."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tickover.api.hooks import Hooks, hooks_key
from tickover.control.amazon import AmazonError, Certificates, confirm, get
from tickover.control.triggers import Installed
from tickover.core.definition import Routine
from tickover.core.errors import UsageError
from tickover.core.wish import Enqueued, Wish
from tickover.store.blobs import FileBlobs
from tickover.store.sqlite_events import SqliteEvents
from tickover.testing.http import double
from tickover.testing.sns import CERTIFICATE, CONFIRMED, SUBSCRIBE, TOPIC, Amazon

ROUTINE = Routine.model_validate(
    {"name": "watch", "agent": "steps", "on": [{"sns": {"topic": TOPIC, "input": {"text": "$.Message"}}}]}
)


@dataclass
class House:
    events: SqliteEvents
    blobs: FileBlobs
    wishes: list[Wish] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    amazon: Amazon = field(default_factory=lambda: Amazon(now=time.time()))
    trouble: list[BaseException] = field(default_factory=list)
    down: bool = False

    def installed(self) -> Sequence[Installed]:
        return [Installed(ROUTINE)]

    def enqueue(self, wish: Wish) -> Enqueued:
        self.wishes.append(wish)
        return Enqueued(f"run-{len(self.wishes)}")

    async def get(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down:
            raise AmazonError("sns.unreachable", "not reached")
        return self.amazon.pem if url == CERTIFICATE else CONFIRMED


@asynccontextmanager
async def up(folder: Path) -> AsyncIterator[tuple[House, Hooks]]:
    house = House(SqliteEvents(str(folder)), FileBlobs(str(folder / "blobs")))
    key = hooks_key(str(folder))
    try:
        async with Hooks(
            house, secret=_no_secret, key=key, clock=time.time, certificate=house.get, trouble=house.trouble.append
        ) as hooks:
            yield house, hooks
    finally:
        house.events.close()


def _no_secret(name: str) -> bytes:
    raise AssertionError(name)


async def post(hooks: Hooks, message: dict[str, Any]) -> tuple[int, Any]:
    sent: list[Any] = []
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message["Type"]}

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(message).encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/hooks/watch/sns", "headers": raw}
    await hooks.asgi(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def known(hooks: Hooks, message: dict[str, Any]) -> Any:
    """Send it until the certificate is there, as Amazon does."""
    async with asyncio.timeout(60):
        while (answer := await post(hooks, message))[0] == 503:
            assert answer[1] == {"error": {"code": "certificate_pending"}}
            await turn()
    return answer


async def turn() -> None:
    """Let the loop go on for a moment."""
    await asyncio.to_thread(threading.Event().wait, 0.01)


async def routed(house: House, event: str) -> str:
    async with asyncio.timeout(60):
        while not (found := await asyncio.to_thread(house.events.routings, event)):
            await turn()
    return found[0].reason or found[0].verdict


async def test_the_first_message_waits_for_the_certificate_and_the_next_ones_do_not(tmp_path: Path) -> None:
    async with up(tmp_path) as (house, hooks):
        message = house.amazon.message()
        assert (await post(hooks, message))[0] == 503
        assert await known(hooks, message) == (200, {"event": "e1"})
        assert (await post(hooks, message))[1] == {"event": "e1", "duplicate": True}
        assert (await post(hooks, {**message, "Message": "forged"}))[0] == 401
        assert await routed(house, "e1") == "fired"
        [wish] = house.wishes
        assert wish.inputs == {"text": '{"AlarmName": "disk"}'}
        assert (house.asked, house.trouble) == ([CERTIFICATE], [])


async def test_a_certificate_that_cannot_be_had_is_told_and_not_hammered(tmp_path: Path) -> None:
    async with up(tmp_path) as (house, hooks):
        house.down = True
        for _ in range(5):
            assert (await post(hooks, house.amazon.message()))[0] == 503
            await turn()
        assert house.asked == [CERTIFICATE]
        assert [getattr(each, "code", "") for each in house.trouble] == ["sns.unreachable"]


async def test_a_forged_address_is_never_asked(tmp_path: Path) -> None:
    async with up(tmp_path) as (house, hooks):
        message = house.amazon.message(SigningCertURL=CERTIFICATE.replace("amazonaws", "example"))
        assert await post(hooks, message) == (401, {"error": {"code": "certificate_address"}})
        assert house.asked == []


async def test_a_subscription_is_confirmed_by_an_operator_and_never_by_itself(tmp_path: Path) -> None:
    async with up(tmp_path) as (house, hooks):
        answer = await known(hooks, house.amazon.message("SubscriptionConfirmation"))
        assert await routed(house, answer[1]["event"]) == "handshake"
        assert (house.wishes, house.asked) == ([], [CERTIFICATE])
        body = house.events.get(answer[1]["event"]).body or b""
        name = await confirm("watch/sns", body, house.installed(), get=house.get)
        assert name.startswith(f"{TOPIC}:")
        assert house.asked == [CERTIFICATE, SUBSCRIBE]
        notification = json.dumps(house.amazon.message()).encode()
        for source, wrong in (("watch/sns", notification), ("watch/sns-2", body), ("other/sns", body)):
            with pytest.raises(UsageError):
                await confirm(source, wrong, house.installed(), get=house.get)


async def test_only_a_few_certificates_and_failures_are_kept() -> None:
    got: list[str] = []

    async def give(url: str) -> bytes:
        got.append(url)
        return url.encode()

    certificates = Certificates(clock=lambda: 0.0, get=give)
    for at in [*range(17), 0]:
        assert certificates(f"u{at}") is None
        async with asyncio.timeout(60):
            while certificates(f"u{at}") is None:
                await turn()
    assert got == [*(f"u{at}" for at in range(17)), "u0"]
    await certificates.close()


@pytest.mark.parametrize(
    ("status", "body", "code"), [(302, b"", "sns.answer"), (404, b"", "sns.answer"), (200, b"x" * 70_000, "sns.too_large")]
)  # fmt: skip
async def test_what_amazon_answers_is_bounded_and_never_leads_elsewhere(status: int, body: bytes, code: str) -> None:
    async with double(lambda _: (status, {"location": "https://example.com/"}, body)) as there:
        with pytest.raises(AmazonError) as caught:
            await get(f"{there.url}/?Token=secret")
        assert caught.value.code == code
        assert "secret" not in str(caught.value)
        assert len(there.sent) == 1
    with pytest.raises(AmazonError) as caught:
        await get(f"{there.url}/?Token=secret")
    assert (caught.value.code, "secret" in str(caught.value)) == ("sns.unreachable", False)


async def test_what_amazon_answers_is_read() -> None:
    async with double(lambda _: (200, {}, b"a certificate")) as there:
        assert await get(there.url) == b"a certificate"
