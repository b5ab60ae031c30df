"""The drop-in face against its documented form."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

import httpx
import pytest

from tickover.api.app import Api
from tickover.testing.desk import MemoryDesk
from tickover.testing.http import served

PATH = "/v1/claude_code/routines/hello/fire"
HEADERS = {"anthropic-version": "2023-06-01", "anthropic-beta": "experimental-cc-routine-2026-04-01"}


def headers(token: str, **more: str) -> dict[str, str]:
    return {**HEADERS, "authorization": f"Bearer {token}", **{key.replace("_", "-"): more[key] for key in more}}


async def test_the_documented_request_by_curl(api: Api, desk: MemoryDesk) -> None:
    token = desk.token("fire:hello")
    async with served(api.asgi) as url:
        words = [
            "curl", "-sS", "-X", "POST", url + PATH, "-H", f"Authorization: Bearer {token}",
            "-H", "anthropic-beta: experimental-cc-routine-2026-04-01", "-H", "anthropic-version: 2023-06-01",
            "-H", "Content-Type: application/json", "-d", '{"text": "Sentry alert SEN-4521 fired in prod."}',
            "-w", "\n%{http_code}",
        ]  # fmt: skip
        done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    told = json.loads(body)
    assert status == "200"
    [row] = desk.run_rows()
    assert told["type"] == "routine_fire"
    assert told["claude_code_session_id"] == f"session_{row.id}"
    assert told["claude_code_session_url"] == f"{url}/api/v1/runs/{row.id}"
    assert row.event_digest is not None
    assert desk.blobs.get(row.event_digest) == b"Sentry alert SEN-4521 fired in prod."


async def test_without_a_body_there_is_a_run_without_an_event(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")))
    assert answer.status_code == 200
    assert desk.run_rows()[0].event_digest is None


async def test_unknown_fields_are_ignored_and_text_is_not_parsed(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    body = {"text": '{"a": [1]}', "other": {"b": 2}}
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")), json=body)
    assert answer.status_code == 200
    digest = desk.run_rows()[0].event_digest
    assert digest is not None
    assert desk.blobs.get(digest) == b'{"a": [1]}'


async def test_65536_characters_and_one_more(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    token = desk.token("fire:hello")
    assert (await client.post(PATH, headers=headers(token), json={"text": "\u00fc" * 65_536})).status_code == 200
    answer = await client.post(PATH, headers=headers(token), json={"text": "\u00fc" * 65_537})
    assert_error(answer, 400, "invalid_request_error")


def assert_error(answer: httpx.Response, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["type"] == "error"
    assert told["error"]["type"] == kind
    assert told["error"]["message"]
    assert told["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"anthropic-beta": None}, 400, "invalid_request_error"),
        ({"anthropic-beta": "something-else"}, 400, "invalid_request_error"),
        ({"anthropic-version": None}, 400, "invalid_request_error"),
        ({"authorization": None}, 401, "authentication_error"),
        ({"authorization": "Bearer tko_aaaaaaaaaa_" + "A" * 43}, 401, "authentication_error"),
        ({"authorization": "Basic dXNlcjpwYXNz"}, 401, "authentication_error"),
        ({"authorization": "Bearer " + "x" * 5000}, 401, "authentication_error"),
    ],
)
async def test_headers_that_are_wrong(
    client: httpx.AsyncClient, desk: MemoryDesk, change: dict[str, Any], status: int, kind: str
) -> None:
    sent = {key: value for key, value in {**headers(desk.token("fire:hello")), **change}.items() if value is not None}
    assert_error(await client.post(PATH, headers=sent, json={"text": "x"}), status, kind)
    assert not desk.wishes


async def test_earlier_and_listed_betas_are_taken(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    sent = headers(desk.token("fire:hello"), anthropic_beta="other-2026-01-01, experimental-cc-routine-2026-02-01")
    assert (await client.post(PATH, headers=sent)).status_code == 200


async def test_a_token_of_another_routine_is_401_and_one_that_only_reads_is_403(
    client: httpx.AsyncClient, desk: MemoryDesk
) -> None:
    assert_error(await client.post(PATH, headers=headers(desk.token("fire:other"))), 401, "authentication_error")
    assert_error(await client.post(PATH, headers=headers(desk.token("read"))), 403, "permission_error")
    assert not desk.wishes


async def test_a_routine_that_is_not_there_is_404(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    path = PATH.replace("hello", "nothing")
    assert_error(await client.post(path, headers=headers(desk.token("fire:nothing"))), 404, "not_found_error")


async def test_a_paused_routine_is_400_and_says_why(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    desk.pause("hello", "somebody", "the numbers look wrong")
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")))
    assert_error(answer, 400, "invalid_request_error")
    assert "the numbers look wrong" in answer.json()["error"]["message"]
    assert desk.run_rows()[0].execution == "refused"


async def test_the_cap_answers_when_to_come_back(log: Any) -> None:
    desk = MemoryDesk("hello", most=1)
    api = Api(desk, log=log)
    transport = httpx.ASGITransport(api.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as client:
        sent = headers(desk.token("fire:hello"))
        assert (await client.post(PATH, headers=sent)).status_code == 200
        answer = await client.post(PATH, headers=sent)
    api.close()
    assert_error(answer, 429, "rate_limit_error")
    assert 1 <= int(answer.headers["retry-after"]) <= 121
    assert answer.headers["tickover-run"] == desk.run_rows(execution="refused")[0].id


async def test_a_server_that_drains_is_503(api: Api, client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    api.drain()
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")))
    assert_error(answer, 503, "overloaded_error")
    assert int(answer.headers["retry-after"]) > 0
    assert not desk.wishes


async def test_an_idempotency_key_makes_one_run(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    sent = headers(desk.token("fire:hello"), idempotency_key="delivery-1")
    first = await client.post(PATH, headers=sent, json={"text": "a"})
    again = await client.post(PATH, headers=sent, json={"text": "a"})
    assert first.json()["run"]["id"] == again.json()["run"]["id"]
    assert (first.json()["run"]["created"], again.json()["run"]["created"]) == (True, False)
    assert len(desk.run_rows()) == 1
    assert_error(await client.post(PATH, headers=sent, json={"text": "b"}), 400, "invalid_request_error")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"text": 1}',
        b'{"text": null, "text": "a"}',
        b'{"a": ' + b"9" * 9000 + b"}",
    ],
    ids=lambda body: str(body[:10]),
)
async def test_hostile_bodies(client: httpx.AsyncClient, desk: MemoryDesk, log: Any, body: bytes) -> None:
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")), content=body)
    assert_error(answer, 400, "invalid_request_error")
    assert not desk.wishes
    assert not log.errors


async def test_half_a_surrogate_pair_is_no_text(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")), content=b'{"text": "\\ud800"}')
    assert_error(answer, 400, "invalid_request_error")


async def test_plain_text_is_the_text(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    sent = headers(desk.token("fire:hello"), content_type="text/plain; charset=utf-8")
    assert (await client.post(PATH, headers=sent, content=b"not {json")).status_code == 200
    digest = desk.run_rows()[0].event_digest
    assert digest is not None
    assert desk.blobs.get(digest) == b"not {json"


async def test_a_body_beyond_the_limit_is_413(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")), content=b" " * (2 << 20))
    assert_error(answer, 413, "request_too_large")


async def test_without_the_trigger_only_an_operator_starts_it(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    desk.by_hand.add("hello")
    answer = await client.post(PATH, headers=headers(desk.token("fire:hello")))
    assert_error(answer, 400, "invalid_request_error")
    assert "no trigger `api`" in answer.json()["error"]["message"]
    assert not desk.wishes
    assert (await client.post(PATH, headers=headers(desk.token(role="operator")))).status_code == 200


async def test_words_become_what_the_routine_declares(client: httpx.AsyncClient, desk: MemoryDesk) -> None:
    fire = "/api/v1/routines/hello/fire"
    sent = {"authorization": f"Bearer {desk.token('fire:hello')}"}
    assert (await client.post(fire, headers=sent, json={"words": {"times": "3", "week": "4"}})).status_code == 200
    assert desk.run_rows()[0].inputs == {"times": 3, "week": "4"}
    wrong = await client.post(fire, headers=sent, json={"words": {"times": "three"}})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "input.type")
