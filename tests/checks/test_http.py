from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tickover.checks.base import HttpAnswer, ask
from tickover.checks.http import Check as HttpAdapter
from tickover.core.check import HttpCheck
from tickover.core.evidence import CheckResult
from tickover.testing.check_suite import HOSTILE_BYTES, Case, CheckSuite
from tickover.testing.hands import FakeHands

URL = "https://status.test/digest"


def definition(**keys: Any) -> HttpCheck:
    return HttpCheck.model_validate({"url": URL, **keys})


def page(body: bytes | object = b"", status: int = 200, *, truncated: bool = False, **headers: str) -> FakeHands:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return FakeHands(pages={URL: HttpAnswer(status, headers, data, truncated, URL)})


class TestConformance(CheckSuite):
    def check(self) -> HttpAdapter:
        return HttpAdapter()

    def passing(self) -> Case:
        return definition(contains="Weekly digest"), page(b"<p>Weekly digest</p>")

    def failing(self) -> Case:
        return definition(contains="Weekly digest"), page(b"[]")

    def unknowable(self) -> Case:
        return definition(), FakeHands()

    def hostile(self) -> Sequence[Case]:
        asks = (definition(json={"ok": True}), definition(contains="no such text"), definition(status=201))
        redirect = page(status=302, location="https://evil.test/\x1b[2J\u202e" + "x" * 900)
        return [(each, page(body)) for body in HOSTILE_BYTES for each in asks] + [(definition(), redirect)]


@pytest.mark.parametrize(
    ("keys", "hands", "result", "says"),
    [
        ({}, page(), "pass", "answers 200"),
        ({}, page(status=503), "fail", "answers 503"),
        ({"status": {"lt": 500}}, page(status=404), "pass", "answers 404"),
        ({"status": [200, 204]}, page(status=204), "pass", "answers 204"),
        ({}, page(status=302, location="https://login.test/"), "fail", "answers 302 and points to https://login.test/"),
        ({"contains": "Grüße"}, page("Viele Grüße".encode()), "pass", "answers 200 as it should"),
        ({"contains": "Grüße"}, page(b"hi"), "fail", "answers 200 without the text “Grüße”"),
        ({"contains": "hi"}, page(b"hi", truncated=True), "pass", "answers 200 as it should"),
        ({"contains": "ho"}, page(b"hi", truncated=True), "error", "answers more than the 2 bytes that are read, without the text"),
        ({"json": {"messages[0].text": {"contains": "digest"}}}, page({"messages": [{"text": "a digest"}]}), "pass", "answers 200 as it should"),
        ({"json": {"ok": True}}, page({"ok": False}), "fail", "answers 200, but ok is true: got false"),
        ({"json": {"ok": True}}, page(b"<html>"), "fail", "answers 200 with a body that is no JSON: Expecting value (line 1, column 1)"),
        ({"json": {"ok": True}}, page({"ok": True}, truncated=True), "error", "answers more than the 12 bytes that are read as JSON"),
    ],
)  # fmt: skip
async def test_what_it_says(keys: dict[str, Any], hands: FakeHands, result: str, says: str) -> None:
    answer = await ask(HttpAdapter(), definition(**keys), hands, scope={})
    assert (answer.result, answer.summary) == (CheckResult(result), f"{URL} {says}")


async def test_the_whole_answer_is_the_evidence() -> None:
    answer = await ask(HttpAdapter(), definition(), page(b"\xffbody", etag='"1"'), scope={})
    head, body = (answer.evidence or b"").split(b"\n\n", 1)
    assert json.loads(head) == {"asked": URL, "url": URL, "status": 200, "headers": {"etag": '"1"'}}
    assert body == b"\xffbody"
