"""The spine of the gateway: a routine posts with a token it never sees, and the receipt is the proof, or the disproof."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.event import ReceiptBegun, ReceiptEnded, decode
from tickover.core.receipt import Receipt, receipts_of
from tickover.gateway.certificates import RunAuthority
from tickover.testing.upstream import Seen, Talk, Upstream, upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

TOKEN = b"xoxb-the-token-nobody-inside-may-see-4711"
POST = """\
import json, sys, urllib.request
url, channel = sys.argv[1:]
body = json.dumps({"channel": channel, "text": "Weekly digest: fourteen changes."}).encode()
asking = urllib.request.Request(url, body, {"content-type": "application/json"}, method="POST")
try:
    print(urllib.request.urlopen(asking, timeout=30).read().decode())
except Exception as error:
    print("no:", error)
"""
PATH = "/api/chat.postMessage"


class Chat:
    """A double of a chat server: knows its token, keeps what was posted, answers `ok` or not, always with 200."""

    def __init__(self) -> None:
        self.ok = True
        self.posted: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        self.tokens.append(seen.header("authorization"))
        if seen.method == "POST" and self.ok:
            self.posted.append(json.loads(seen.body))
        answer = json.dumps({"ok": self.ok}).encode()
        self.before()
        await talk.answer(answer, headers=(("content-type", "application/json"),))
        self.after()


@asynccontextmanager
async def serving(chat: Chat) -> AsyncIterator[Upstream]:
    authority = RunAuthority("chat", now=datetime.now(UTC))
    async with upstream("localhost", chat, authority=authority) as double:
        yield double


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
async def double(chat: Chat) -> AsyncIterator[Upstream]:
    async with serving(chat) as double:
        yield double


def url(double: Upstream) -> str:
    return f"https://localhost:{double.port}{PATH}"


def set_up(bench: Bench, *doubles: Upstream) -> None:
    """Say what only the owner says: the double is private and trusted, and the token may go to it."""
    roots = bench.folder / "roots.pem"
    roots.write_text("".join(each.authority.pem.decode() for each in doubles if each.authority))
    hosts = [f"localhost:{each.port}" for each in doubles]
    network = {"private": hosts, "roots": [str(roots)]}
    (bench.tickover.home / "tickover.yaml").write_text(json.dumps({"network": network}))
    bench.tickover.secrets.set("chat", TOKEN, by="owner", binding={"hosts": hosts[:1]})


def routine(
    bench: Bench, double: Upstream, *posts: str, most: int | None = 1, granted: bool = True, **front: Any
) -> Path:
    """Write a routine that posts to each of these channels (or addresses), and grant it."""
    calls = [(post, "C0ENG") if post.startswith("https:") else (url(double), post) for post in posts]
    body = f"cat > post.py <<'EOF'\n{POST}EOF\n" + "".join(f"python3 post.py {to} {channel}\n" for to, channel in calls)
    to = f"POST {url(double)}"
    may = {"to": to, "credential": "chat", "json": {"channel": "C0ENG"}, **({} if most is None else {"max": most})}
    receipt = {
        "to": to,
        "request": {"json": {"channel": "C0ENG", "text": {"min_chars": 20}}},
        "response": {"status": 200, "json": {"ok": True}},
    }
    keys = {"may": [{"request": may}], "expect": [{"receipt": receipt}], "environment": {"credentials": ["chat"]}}
    folder = bench.routine(body, **{**keys, **front})
    if granted:
        bench.tickover.grant(folder, by="owner")
    return folder


def receipts(bench: Bench) -> list[Receipt]:
    facts = [decode(event) for event in bench.events]
    return receipts_of(each.record for each in facts if isinstance(each, ReceiptBegun | ReceiptEnded))


async def test_a_post_that_was_answered_well_is_verified_by_its_receipt(
    bench: Bench, double: Upstream, chat: Chat
) -> None:
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "C0ENG"))
    assert (row.outcome, row.exit_code) == ("verified", 0), bench.said()
    assert "effect: POST https://localhost" in row.reason
    assert [each["channel"] for each in chat.posted] == ["C0ENG"]
    assert chat.tokens == [f"Bearer {TOKEN.decode()}"]
    [receipt] = receipts(bench)
    assert receipt.ended is not None
    assert (receipt.begun.rule, receipt.begun.credential, receipt.ended.status) == ("may[0]", "chat", 200)
    assert bench.findings(row) == []
    traffic, wrong = await bench.tickover.traffic(row.id)
    assert (len(traffic.receipts), wrong) == (1, "")
    assert traffic.sealed is not None
    assert traffic.sealed.seq == 2


async def test_a_gateway_that_dies_before_it_wrote_the_answer_down_leaves_an_unknown(
    bench: Bench, double: Upstream, chat: Chat
) -> None:
    """The post was made and answered, the receipt has no end: nothing is proved, and nothing is posted twice."""

    def gateway(sign: signal.Signals) -> None:
        pid = bench.tickover.gateway.pid
        assert pid is not None
        os.kill(pid, sign)

    chat.before, chat.after = (lambda: gateway(signal.SIGSTOP)), (lambda: gateway(signal.SIGKILL))
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "C0ENG", retry={"attempts": 3, "backoff": "1s"}))
    assert (row.outcome, row.exit_code) == ("unverified", 7), row.reason
    [receipt] = receipts(bench)
    assert receipt.ended is None
    [evidence] = row.evidence
    assert (evidence.kind, evidence.result) == ("receipt", "error"), evidence
    assert len(chat.posted) == 1


async def test_200_with_ok_false_is_failed(bench: Bench, double: Upstream, chat: Chat) -> None:
    chat.ok = False
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "C0ENG"))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert "ok is true: got false" in row.reason
    assert len(receipts(bench)) == 1


async def test_another_channel_is_refused_and_fails(bench: Bench, double: Upstream, chat: Chat) -> None:
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "C0EVIL"))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert (chat.posted, receipts(bench)) == ([], [])
    [denial] = bench.facts("connection_denied")
    assert (denial["code"], denial["method"], denial["path"]) == ("body", "POST", PATH)
    assert bench.findings(row) == ["request_denied"]


async def test_another_host_is_denied_shown_and_fails(bench: Bench, double: Upstream, chat: Chat) -> None:
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "https://evil.test/collect"))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert chat.posted == []
    [finding] = [each.finding for each in row.findings]
    assert finding.code == "host_denied"
    assert "evil.test" in finding.message


async def test_two_posts_where_one_was_asked_fail(bench: Bench, double: Upstream, chat: Chat) -> None:
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "C0ENG", "C0ENG", most=2))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert "2 receipts as it should be, exactly 1 asked" in row.reason
    assert len(chat.posted) == len(receipts(bench)) == 2


async def test_the_second_post_under_max_1_does_not_leave(bench: Bench, double: Upstream, chat: Chat) -> None:
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "C0ENG", "C0ENG"))
    assert (row.outcome, row.exit_code) == ("verified", 0), bench.said()
    assert len(chat.posted) == len([each for each in receipts(bench) if each.left]) == 1
    [finding] = [each.finding for each in row.findings]
    assert (finding.code, finding.required) == ("request_denied", False)
    assert "(max: may[0] allows 1 in the whole run" in finding.message


async def test_what_was_not_granted_is_a_refused_run_with_the_command_to_type(
    bench: Bench, double: Upstream, chat: Chat
) -> None:
    set_up(bench, double)
    folder = routine(bench, double, "C0ENG", granted=False)
    row = await bench.run(folder)
    assert (row.execution, row.outcome, row.exit_code) == ("refused", "none", 7)
    assert row.cause is not None
    assert row.cause.cause == "not_granted"
    assert f"tickover grant {folder}" in row.cause.hint
    assert (chat.posted, bench.facts("agent_started")) == ([], [])


async def test_a_wider_permission_waits_again(bench: Bench, double: Upstream) -> None:
    set_up(bench, double)
    assert (await bench.run(routine(bench, double, "C0ENG"))).outcome == "verified"
    row = await bench.run(routine(bench, double, "C0ENG", most=2, granted=False))
    assert row.execution == "refused"
    assert row.cause is not None
    assert "up to two POST requests" in row.cause.hint
    assert "the credential" not in row.cause.hint


async def test_a_credential_without_a_value_fails_before_the_agent(bench: Bench, double: Upstream) -> None:
    set_up(bench, double)
    folder = routine(bench, double, "C0ENG")
    binding = {"hosts": [f"localhost:{double.port}"]}
    bench.tickover.secrets.remove("chat")
    config = json.loads((bench.tickover.home / "tickover.yaml").read_text())
    (bench.tickover.home / "tickover.yaml").write_text(json.dumps({**config, "credentials": {"chat": binding}}))
    row = await bench.run(folder)
    assert (row.execution, row.exit_code) == ("failed", 7)
    assert row.cause is not None
    assert (row.cause.cause, "tickover secret set chat" in row.cause.hint) == ("preflight", True)


async def test_a_rotated_token_is_the_next_runs(bench: Bench, double: Upstream, chat: Chat) -> None:
    set_up(bench, double)
    folder = routine(bench, double, "C0ENG")
    await bench.run(folder)
    bench.tickover.secrets.set("chat", b"xoxb-the-next-token", by="owner")
    row = await bench.run(folder)
    assert row.outcome == "verified"
    assert chat.tokens == [f"Bearer {TOKEN.decode()}", "Bearer xoxb-the-next-token"]


async def test_receipts_that_were_changed_are_not_believed(bench: Bench, double: Upstream) -> None:
    set_up(bench, double)
    row = await bench.run(routine(bench, double, "C0ENG"))
    [begun] = [event for event in bench.events if event.type == "receipt_begun"]
    changed = {**begun.data, "record": {**begun.data["record"], "path": "/api/other"}}
    bench.tickover.store.journal.seal(row.id, begun.seq, changed, by="somebody", reason="to look better")
    _, wrong = await bench.tickover.traffic(row.id)
    assert "record 1 is not as it was written" in wrong
