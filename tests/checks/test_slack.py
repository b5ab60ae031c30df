from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tickover.checks.base import HttpAnswer, ask
from tickover.checks.slack import Check as SlackAdapter
from tickover.core.check import SlackCheck
from tickover.core.evidence import CheckResult
from tickover.testing.check_suite import HOSTILE_BYTES, Case, CheckSuite
from tickover.testing.hands import FakeHands

BEGAN = FakeHands().began


def definition(contains: str | None = "digest") -> SlackCheck:
    return SlackCheck.model_validate({"channel": "C0ENG"} | ({"contains": contains} if contains else {}))


def message(text: str, after: float = 5.0) -> dict[str, Any]:
    return {"ts": f"{BEGAN + after:.6f}", "text": text, "user": "UBOT"}


def history(*messages: Any, **keys: Any) -> dict[str, Any]:
    return {"ok": True, "messages": list(messages), **keys}


def says(
    *pages: Any, status: int = 200, truncated: bool = False, ahead_s: float = 0.0, headers: dict[str, str] | None = None
) -> FakeHands:
    answers = [
        HttpAnswer(status, headers or {}, page if isinstance(page, bytes) else json.dumps(page).encode(), truncated, "", ahead_s)
        for page in pages
    ]  # fmt: skip
    return FakeHands(connectors={("slack", "/conversations.history"): answers[0] if len(answers) == 1 else answers})


class TestConformance(CheckSuite):
    def check(self) -> SlackAdapter:
        return SlackAdapter()

    def passing(self) -> Case:
        return definition(), says(history(message("a digest")))

    def failing(self) -> Case:
        return definition(), says(history(message("hello")))

    def unknowable(self) -> Case:
        return definition(), says({"ok": False, "error": "channel_not_found"})

    def hostile(self) -> Sequence[Case]:
        odd: list[Any] = [
            {"ok": "true", "messages": [message("digest")]},
            {"ok": True, "messages": "digest"},
            history("digest", None, 7, {"text": "digest"}, {"text": "digest", "ts": 1e300}),
            history({"text": "digest", "ts": "nan"}, {"text": "digest", "ts": "inf"}, {"text": "digest", "ts": "x"}),
            history({"text": ["digest"], "ts": f"{BEGAN + 9}"}),
            history({"text": "\x1b[2J\u202e", "ts": f"{BEGAN + 9}"}),
            history(has_more=True, response_metadata={"next_cursor": ["x"]}),
            {"ok": False, "error": "\x1b]0;digest\x07" * 500},
        ]
        return [(definition(), says(body)) for body in (*HOSTILE_BYTES, *odd)]


@pytest.mark.parametrize(
    ("hands", "result", "summary"),
    [
        (says(history(message("a digest"))), "pass", "message with “digest” read back from C0ENG, by UBOT"),
        (says(history(message("a digest", -100))), "fail", "no message of this run with “digest” stands in C0ENG (0 since it began)"),
        (says(history(message("x", 9), message("a digest", -1))), "pass", "message with “digest” read back from C0ENG, by UBOT"),
        (says(history(message("a digest", -50)), ahead_s=-60.0), "pass", "message with “digest” read back from C0ENG, by UBOT"),
        (says(history(message("a digest", 50)), ahead_s=60.0), "fail", "no message of this run with “digest” stands in C0ENG (0 since it began)"),
        (says({"ok": False, "error": "missing_scope"}), "error", "C0ENG cannot be read: missing_scope"),
        (says(b"", status=429, headers={"retry-after": "30"}), "error", "C0ENG cannot be read: too much was asked of it, it says to wait 30 s"),
        (says(b"", status=503), "error", "C0ENG cannot be read: it answers 503"),
        (says(history(message("digest")), truncated=True), "error", "C0ENG cannot be read: its answer is too long"),
    ],
)  # fmt: skip
async def test_what_it_says(hands: FakeHands, result: str, summary: str) -> None:
    answer = await ask(SlackAdapter(), definition(), hands, scope={})
    assert (answer.result, answer.summary) == (CheckResult(result), summary)


async def test_what_is_escaped_is_read_as_it_was_written() -> None:
    hands = says(history(message("1 &lt; 2 &amp; 3")))
    assert (await ask(SlackAdapter(), definition("1 < 2 & 3"), hands, scope={})).result is CheckResult.PASS


@pytest.mark.parametrize(("by", "result"), [("UBOT", "pass"), ("B07", "pass"), ("UEVE", "fail")])
async def test_whose_message_it_is_can_be_asked(by: str, result: str) -> None:
    asks = SlackCheck.model_validate({"channel": "C0ENG", "by": by})
    hands = says(history(message("x") | {"bot_id": "B07"}, "UEVE"))
    answer = await ask(SlackAdapter(), asks, hands, scope={})
    assert answer.result == result
    assert f"by {by}" in answer.summary


async def test_older_pages_are_read_until_the_runs_begin() -> None:
    more = {"has_more": True, "response_metadata": {"next_cursor": "2"}}
    hands = says(history(message("x"), **more), history(message("digest", 1)))
    assert (await ask(SlackAdapter(), definition(), hands, scope={})).result is CheckResult.PASS
    hands = says(history(message("x"), message("old", -90), **more), history(message("digest", -99)))
    assert (await ask(SlackAdapter(), definition(), hands, scope={})).result is CheckResult.FAIL
    assert len(hands.asked) == 1


async def test_a_channel_without_end_is_no_answer() -> None:
    endless = says(history(message("x"), has_more=True, response_metadata={"next_cursor": "1"}))
    assert (await ask(SlackAdapter(), definition(), endless, scope={})).result is CheckResult.ERROR
    assert len(endless.asked) == 10
