"""Requests to an inspected host: judged, receipted, sent anew with the granted credential, and answered."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter

import pytest

from tickover.core.effect import Wanted
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.lookup import JsonPath
from tickover.core.matcher import Fields
from tickover.core.receipt import Chosen, Delivery, counts_of
from tickover.core.target import Target
from tickover.testing.inspected import DOUBLE, HOST, egress_to, inspected
from tickover.testing.upstream import Seen, Talk, Upstream, upstream

TOKEN = b"xoxb-1234567890-abcDEF"
HEADER = CredentialForm()


def posting(port: int, *, most: int | None = None, **more: object) -> Powers:
    target = Target.parse(f"POST https://{HOST}:{port}/api/post")
    return Powers((Rule("may[0]", target, "slack", Fields({"channel": "C0ENG"}), most),))


def slack(double: Upstream, *, most: int | None = None) -> Egress:
    wanted = Wanted((JsonPath.parse("channel"), JsonPath.parse("text")), (JsonPath.parse("ok"),))
    return egress_to(
        HOST, double.port, powers=posting(double.port, most=most), credentials={"slack": HEADER}, wanted=wanted
    )


async def test_a_read_goes_out_with_the_granted_credential_and_gets_a_receipt() -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(slack(double), double.port, values={"slack": TOKEN}) as site,
        site.client() as client,
    ):
        answer = await client.get("/api/info?x=1", headers={"authorization": "Bearer mine", "cookie": "me=1"})
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
        (receipt,) = await site.ledger.ended()
    (seen,) = double.seen
    assert (seen.method, seen.target, seen.header("host")) == ("GET", "/api/info?x=1", f"{HOST}:{double.port}")
    assert seen.header("authorization") == f"Bearer {TOKEN.decode()}"
    assert seen.header("cookie") is None
    begun, ended = receipt.begun, receipt.ended
    assert (begun.call, begun.rule, begun.credential, begun.writes) == (1, "read", "slack", False)
    assert (begun.host, begun.port, begun.path, begun.query) == (HOST, double.port, "/api/info", "x=1")
    assert ended
    assert (ended.delivery, ended.status, ended.response_bytes) == (Delivery.ANSWERED, 200, 11)
    assert ended.response_sha256 == hashlib.sha256(b'{"ok":true}').hexdigest()


async def test_a_write_that_may_allows_is_sent_and_its_fields_are_kept() -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(slack(double), double.port, values={"slack": TOKEN}) as site,
        site.client() as client,
    ):
        body = {"channel": "C0ENG", "text": "hello", "other": 1}
        answer = await client.post("/api/post", json=body)
        assert answer.status_code == 200
        (receipt,) = await site.ledger.ended()
    assert json.loads(double.seen[0].body) == body
    assert receipt.begun.request_json == Chosen(value={"channel": "C0ENG", "text": "hello"})
    assert receipt.begun.writes
    assert receipt.ended
    assert receipt.ended.response_json == Chosen(value={"ok": True})
    assert receipt.ended.request_sha256 == hashlib.sha256(double.seen[0].body).hexdigest()
    assert counts_of(site.ledger.receipts) == site.counts == Counter({"may[0]": 1})


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/api/post", b'{"channel": "C0OTHER"}', "body"),
        ("POST", "/api/post", b'{"channel": "C0OTHER", "channel": "C0ENG"}', "body"),
        ("POST", "/api/delete", b'{"channel": "C0ENG"}', "no_rule"),
        ("DELETE", "/api/post", b"", "no_rule"),
        ("OPTIONS", "/api/post", b"", "method"),
    ],
)
async def test_what_may_does_not_allow_is_refused_with_the_reason(
    method: str, path: str, body: bytes, code: str
) -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(slack(double), double.port, values={"slack": TOKEN}) as site,
        site.client() as client,
    ):
        headers = {"content-type": "application/json"}
        answer = await client.request(method, path, content=body, headers=headers)
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (403, code)
        assert answer.json()["error"]["reason"] == code
    assert not double.seen
    assert not site.ledger.links
    (denial,) = site.denials
    assert (denial.host, denial.port, denial.code, denial.status) == (HOST, double.port, code, 403)
    assert (denial.method, denial.path) == (method, path)


async def test_parallel_writes_never_exceed_max() -> None:
    async def slowly(seen: Seen, talk: Talk) -> None:
        await asyncio.sleep(0.05)
        await talk.answer(b"{}")

    async with (
        upstream(HOST, slowly, authority=DOUBLE) as double,
        inspected(slack(double, most=3), double.port, values={"slack": TOKEN}) as site,
    ):
        async with site.client() as client:
            posts = [client.post("/api/post", json={"channel": "C0ENG"}) for _ in range(12)]
            answers = await asyncio.gather(*posts)
        assert sorted(each.status_code for each in answers) == [200] * 3 + [403] * 9
        assert {each.headers.get("x-tickover-deny") for each in answers} == {None, "max"}
    assert len(double.seen) == 3
    assert site.codes() == ["max"] * 9


async def test_a_write_that_could_not_be_sent_gives_its_place_back() -> None:
    async with upstream(HOST, authority=DOUBLE) as gone:
        pass
    async with (
        inspected(slack(gone, most=1), gone.port, values={"slack": TOKEN}) as site,
        site.client() as client,
    ):
        for _ in range(2):
            answer = await client.post("/api/post", json={"channel": "C0ENG"})
            assert (answer.status_code, answer.headers["x-tickover-deny"]) == (502, "connect_failed")
        receipts = await site.ledger.ended(2)
    assert [each.ended.delivery for each in receipts if each.ended] == [Delivery.UNSENT] * 2
    assert not +site.counts


async def test_a_write_leaves_only_after_its_receipt_is_durable() -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(slack(double), double.port, values={"slack": TOKEN}) as site,
        site.client() as client,
    ):
        site.ledger.hold()
        post = asyncio.ensure_future(client.post("/api/post", json={"channel": "C0ENG"}))
        read = await client.get("/api/info")  # a read does not wait
        assert read.status_code == 200
        assert [each.method for each in double.seen] == ["GET"]
        site.ledger.release()
        assert (await post).status_code == 200
    assert [each.method for each in double.seen] == ["GET", "POST"]


async def test_a_write_whose_receipt_cannot_be_kept_does_not_leave_and_nothing_else_does() -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(slack(double), double.port, values={"slack": TOKEN}) as site,
    ):
        site.ledger.fail = True
        body = b'{"channel": "C0ENG"}'
        head = f"POST /api/post HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
        await site.say(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        assert site.fence.reason == "ledger"
    assert not double.seen


FORMS = {
    "header": (CredentialForm("header", "x-api-key", ""), ("x-api-key", TOKEN.decode())),
    "bearer": (CredentialForm(), ("authorization", f"Bearer {TOKEN.decode()}")),
    "basic": (CredentialForm("basic", user="me"), ("authorization", "Basic bWU6eG94Yi0xMjM0NTY3ODkwLWFiY0RFRg==")),
    "claude-oauth": (CredentialForm("claude-oauth"), ("authorization", f"Bearer {TOKEN.decode()}")),
}


@pytest.mark.parametrize("kind", FORMS)
async def test_each_form_of_a_credential(kind: str) -> None:
    form, (name, value) = FORMS[kind]
    async with upstream(HOST, authority=DOUBLE) as double:
        egress = egress_to(HOST, double.port, credentials={"key": form})
        async with inspected(egress, double.port, values={"key": TOKEN}) as site, site.client() as client:
            headers = {"x-api-key": "tickover-placeholder", "authorization": "Bearer x", "anthropic-beta": "a-1, b-2"}
            answer = await client.get("/v1", headers=headers)
            assert answer.status_code == 200
    assert double.seen[0].header(name) == value
    assert b"placeholder" not in double.raw
    both = {"x-api-key", "authorization"} - {name}
    assert double.seen[0].header(both.pop()) is None
    expected = "a-1,b-2,oauth-2025-04-20" if kind == "claude-oauth" else "a-1, b-2"
    assert double.seen[0].header("anthropic-beta") == expected


async def test_a_credential_in_the_query_takes_the_place_of_the_clients_and_is_in_no_receipt() -> None:
    async with upstream(HOST, authority=DOUBLE) as double:
        egress = egress_to(HOST, double.port, credentials={"key": CredentialForm("query", "appid")})
        async with inspected(egress, double.port, values={"key": TOKEN}) as site, site.client() as client:
            await client.get("/v1?a=b&appid=mine&APPID=mine&api_key=x")
            (receipt,) = await site.ledger.ended()
    assert double.seen[0].target == f"/v1?a=b&appid={TOKEN.decode()}"
    assert receipt.begun.query == "a=b"
