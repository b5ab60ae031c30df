"""Each kind of target against a double that really listens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tickover.core.errors import NotFoundError
from tickover.core.notice import CommandTarget, EmailTarget, Message, SlackTarget, WebhookTarget
from tickover.notify.base import Envelope, NotifyError
from tickover.plugins import find
from tickover.testing.http import Sent, double
from tickover.testing.smtp import mail_sink

MESSAGE = Message(
    kinds=("failed",), routine="digest", run="r-1", at=1.0, execution="completed", outcome="failed",
    reason="failed (<!channel> & more)", claim="done: posted\nreally",
)  # fmt: skip
ENVELOPE = Envelope("notice-7-1", 1_795_000_000.4)
Answer = Callable[[Sent], tuple[int, dict[str, str], bytes]]


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda _: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


async def send(target: Any, secrets: dict[str, bytes] | None = None) -> str:
    def secret(name: str) -> bytes:
        if name not in (secrets or {}):
            raise NotFoundError("secret.not_found", f"there is no secret `{name}`")
        return (secrets or {})[name]

    told: str = await find("notify", target.kind)().send(MESSAGE, target, ENVELOPE, secret)
    return told


async def test_a_webhook_is_signed_as_standard_webhooks_has_it() -> None:
    key = b"\x01" * 24
    async with double() as there:
        target = WebhookTarget(kind="webhook", url=f"{there.url}/in", secret="ops")
        assert await send(target, {"ops": b"whsec_" + base64.b64encode(key) + b"\n"}) == "ok"
    [sent] = there.sent
    assert (sent.method, sent.path, sent.headers["webhook-id"]) == ("POST", "/in", "notice-7-1")
    assert sent.headers["webhook-timestamp"] == "1795000000"
    wanted = hmac.new(key, b"notice-7-1.1795000000." + sent.body, hashlib.sha256).digest()
    assert sent.headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()
    assert json.loads(sent.body)["claim"] == "done: posted\nreally"


@pytest.mark.parametrize(
    ("status", "again"), [(400, False), (404, False), (301, False), (429, True), (500, True), (503, True)]
)
async def test_what_a_webhook_answers_decides_about_another_try(status: int, again: bool) -> None:
    async with double(says(status, b"no\x1b[31m", retry_after="77", location="http://elsewhere.test/")) as there:
        with pytest.raises(NotifyError) as refused:
            await send(WebhookTarget(kind="webhook", url=there.url))
    assert (refused.value.again, refused.value.after) == (again, 77)
    assert len(there.sent) == 1
    assert "\x1b" not in str(refused.value)


async def test_nobody_there_is_tried_again_and_a_bad_secret_is_not() -> None:
    async with double() as there:
        gone = there.url
    with pytest.raises(NotifyError) as refused:
        await send(WebhookTarget(kind="webhook", url=gone))
    assert refused.value.again
    with pytest.raises(NotifyError) as bad:
        await send(WebhookTarget(kind="webhook", url=gone, secret="ops"), {"ops": b"whsec_***"})
    assert not bad.value.again


async def test_slack_by_an_incoming_webhook() -> None:
    async with double() as there:
        assert (
            await send(SlackTarget(kind="slack", webhook="hook"), {"hook": f"{there.url}/T0/B0/x\n".encode()}) == "ok"
        )
    body = json.loads(there.sent[0].body)
    assert body["text"] == "digest: failed"
    assert {block["text"]["type"] for block in body["blocks"]} == {"plain_text"}
    assert "<!channel>" in body["blocks"][0]["text"]["text"]


async def test_slack_that_answers_200_and_did_not_post_is_no_delivery() -> None:
    async with double(says(200, b'{"ok": false, "error": "not_in_channel"}')) as there:
        target = SlackTarget(kind="slack", channel="C0ENG", token="bot", api=f"{there.url}/api")
        with pytest.raises(NotifyError, match="not_in_channel") as refused:
            await send(target, {"bot": b"xoxb-1"})
    assert not refused.value.again
    assert (there.sent[0].path, there.sent[0].headers["authorization"]) == ("/api/chat.postMessage", "Bearer xoxb-1")
    async with double(says(200, b"<html>")) as there:
        with pytest.raises(NotifyError):
            await send(target.model_copy(update={"api": there.url}), {"bot": b"xoxb-1"})
    async with double(says(200, b'{"ok": true, "ts": "17.1"}')) as there:
        assert await send(target.model_copy(update={"api": there.url}), {"bot": b"xoxb-1"}) == "posted as 17.1"


async def test_an_address_that_is_a_secret_stands_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    async with double() as there:
        secret = f"{there.url}/services/T0/hunter2"
        await send(SlackTarget(kind="slack", webhook="hook"), {"hook": secret.encode()})
    for address in (secret, "http://\x00hunter2", "hunter2", "http://[hunter2", "http://hunter2.invalid:99999/"):
        with pytest.raises(NotifyError) as refused:
            await send(SlackTarget(kind="slack", webhook="hook"), {"hook": address.encode()})
        assert "hunter2" not in str(refused.value)
        assert refused.value.__cause__ is None
    assert "hunter2" not in caplog.text  # the double writes no access log


async def test_mail() -> None:
    async with mail_sink() as sink:
        target = EmailTarget(
            kind="email", host="127.0.0.1", port=sink.port, tls="none", sender="t@example.com", to=("a@example.com", "b@example.com")
        )  # fmt: skip
        assert await send(target) == "taken for 2 addresses"
        [mail] = sink.mails
        assert (mail["Subject"], mail["To"], mail["From"]) == (
            "digest: failed",
            "a@example.com, b@example.com",
            "t@example.com",
        )
        assert mail["Message-ID"] == "<notice-7-1@example.com>"
        text = str(mail.get_payload())
        assert "its claim, not evidence" in text
        sink.refusal = "450 later"
        with pytest.raises(NotifyError) as later:
            await send(target)
        sink.refusal = "550 never"
        with pytest.raises(NotifyError) as never:
            await send(target)
        with pytest.raises(NotifyError) as plain:
            await send(target.model_copy(update={"tls": "starttls"}))
    assert (later.value.again, never.value.again, plain.value.again) == (True, False, False)


async def test_a_command_gets_the_message_and_an_empty_environment(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hunter2")
    out = tmp_path / "out"
    script = f"cat > {out}; env >> {out}; echo told them"
    assert await send(CommandTarget(kind="command", argv=("sh", "-c", script))) == "told them"
    body, _ = json.JSONDecoder().raw_decode(out.read_text())
    assert body["routine"] == "digest"
    assert "hunter2" not in out.read_text()


@pytest.mark.parametrize(
    ("argv", "again"),
    [
        (("sh", "-c", "echo no >&2; exit 3"), True),
        (("/nonexistent/program",), False),
        (("sh", "-c", "exec 0<&-; exit 1"), True),
    ],
    ids=["exit", "absent", "deaf"],
)
async def test_a_command_that_fails(argv: tuple[str, ...], again: bool) -> None:
    with pytest.raises(NotifyError) as refused:
        await send(CommandTarget(kind="command", argv=argv))
    assert refused.value.again is again


async def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Any) -> None:
    target = CommandTarget.model_validate(
        {"kind": "command", "argv": ["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait"], "timeout": "1s"}
    )
    with pytest.raises(NotifyError, match="longer than 1 s"):
        await send(target)
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(60):
        while _lives(pid):
            await asyncio.to_thread(threading.Event().wait, 0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
