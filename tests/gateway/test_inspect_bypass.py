"""What a hostile client tries at an inspected host. Each protection holds, and without it the attempt succeeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import READ, Allow, Body, Powers, Rule
from tickover.core.matcher import Fields
from tickover.core.network import Endpoint, Governed, Opening
from tickover.core.push import PushRule
from tickover.core.target import Target
from tickover.gateway.asked import Asked
from tickover.gateway.guard import Guard
from tickover.gateway.http1 import Request, RequestReader
from tickover.gateway.inspect import Inspector
from tickover.gateway.patience import Patience
from tickover.gateway.plane import Limits
from tickover.testing.inspected import DOUBLE, HOST, Site, egress_to, inspected
from tickover.testing.upstream import Upstream, upstream

TOKEN = b"xoxb-1234567890-abcDEF"
OTHER = "other.example.com"


def egress(port: int) -> Egress:
    post = Target.parse(f"POST https://{HOST}:{port}/api/post")
    remote = Target.parse(f"POST https://{HOST}:{port}/acme/app.git")
    rule = Rule("may[0]", post, "key", Fields({"channel": "C0ENG"}), 1)
    powers = Powers((rule,), (PushRule("may[1]", remote, ("tickover/*",)),))
    return egress_to(HOST, port, powers=powers, credentials={"key": CredentialForm()})


def message(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: {HOST}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}"] if body or method not in {"GET", "HEAD"} else []
    return "\r\n".join([*lines, "", ""]).encode() + body


# Protections taken out, one by one.


class AnyHost(Guard):
    def hold(self, request: Request, decision: object) -> None:
        pass


class AnyRequest(Guard):
    def judge(self, asked: Asked, body: Body, counts: Mapping[str, int]) -> Allow:
        return Allow(READ, "key", None, "anything goes")


class AnyCount(Guard):
    def judge(self, asked: Asked, body: Body, counts: Mapping[str, int]) -> Allow:
        return super().judge(asked, body, {})


class NoOverrides(Guard):
    def judge(self, asked: Asked, body: Body, counts: Mapping[str, int]) -> Allow:
        return super().judge(replace(asked, fields=asked.fields.without("x-http-method-override")), body, counts)


class NoUpgrade(Guard):
    def judge(self, asked: Asked, body: Body, counts: Mapping[str, int]) -> Allow:
        return super().judge(replace(asked, upgrade=None), body, counts)


class KeepsTheirs(Guard):
    def clean(self, asked: Asked) -> Asked:
        return asked

    def dress(self, asked: Asked, credential: str | None) -> Asked:
        return asked


class InTheClear(Guard):
    def judge(self, asked: Asked, body: Body, counts: Mapping[str, int]) -> Allow:
        return super().judge(replace(asked, scheme="https"), body, counts)

    def dress(self, asked: Asked, credential: str | None) -> Asked:
        return replace(super().dress(replace(asked, scheme="https"), credential), scheme=asked.scheme)


Attack = Callable[[Site, Upstream], Awaitable[bool]]


@dataclass(frozen=True)
class Case:
    """An attempt, that says whether it succeeded; the protection taken out; what the run is told."""

    attack: Attack
    without: type[Guard]
    code: str
    tls: bool = True


def sending(*messages: bytes, times: int = 1) -> Attack:
    """Succeed if the upstream saw all of it."""

    async def attack(site: Site, double: Upstream) -> bool:
        for each in messages:
            await site.say(each)
        return len(double.seen) == times

    return attack


def seeing(text: bytes, sent: bytes, *, tls: bool = True) -> Attack:
    """Succeed if the upstream saw this text."""

    async def attack(site: Site, double: Upstream) -> bool:
        await site.say(sent, tls=tls)
        return text in bytes(double.raw)

    return attack


JSON = {"content_type": "application/json"}
ENG, EVIL = b'{"channel": "C0ENG"}', b'{"channel": "C0EVIL"}'
ZERO, ONE = "0" * 40, "1" * 40


def push(*updates: str) -> bytes:
    lines = [f"{update}\0 report-status".encode() for update in updates]
    body = b"".join(b"%04x%b" % (len(line) + 4, line) for line in lines) + b"0000PACK"
    return message(
        "POST", "/acme/app.git/git-receive-pack", body, content_type="application/x-git-receive-pack-request"
    )


CASES = {
    "another Host": Case(sending(message("GET", "/x").replace(HOST.encode(), b"evil.test")), AnyHost, "host_mismatch"),
    "another port in Host": Case(
        sending(message("GET", "/x").replace(HOST.encode(), HOST.encode() + b":22")), AnyHost, "host_mismatch"
    ),
    "a write": Case(sending(message("DELETE", "/api/post")), AnyRequest, "no_rule"),
    "another path": Case(sending(message("POST", "/api/posts", ENG, **JSON)), AnyRequest, "no_rule"),
    "a path that leads elsewhere": Case(
        sending(message("POST", "/api/x/%2e%2e/post", ENG, **JSON)), AnyRequest, "path"
    ),
    "an empty segment": Case(sending(message("POST", "/api//post", ENG, **JSON)), AnyRequest, "path"),
    "an escaped slash": Case(sending(message("POST", "/api%2fpost", ENG, **JSON)), AnyRequest, "path"),
    "a query more": Case(sending(message("POST", "/api/post?x=1", ENG, **JSON)), AnyRequest, "query"),
    "another body": Case(sending(message("POST", "/api/post", EVIL, **JSON)), AnyRequest, "body"),
    "a key twice": Case(sending(message("POST", "/api/post", ENG[:-1] + b"," + EVIL[1:], **JSON)), AnyRequest, "body"),
    "a body in UTF-16": Case(
        sending(message("POST", "/api/post", EVIL.decode().encode("utf-16"), content_type="application/json")),
        AnyRequest,
        "body",
    ),
    "a body that says it is compressed": Case(
        sending(message("POST", "/api/post", ENG, content_encoding="gzip", **JSON)), AnyRequest, "body"
    ),
    "a GET with a body": Case(sending(message("GET", "/x", b"y")), AnyRequest, "no_rule"),
    "once more than max": Case(sending(*[message("POST", "/api/post", ENG, **JSON)] * 2, times=2), AnyCount, "max"),
    "another method in a header": Case(
        sending(message("GET", "/x", x_http_method_override="DELETE")), NoOverrides, "override"
    ),
    "a GraphQL mutation by GET": Case(
        sending(message("GET", "/graphql?query=mutation%7Bdrop%7D")), AnyRequest, "no_rule"
    ),
    "a GraphQL mutation": Case(
        sending(message("POST", "/graphql", b'{"query": "mutation{drop}"}', **JSON)), AnyRequest, "no_rule"
    ),
    "a websocket": Case(
        sending(
            message("GET", "/ws", upgrade="websocket").replace(b"connection: close", b"connection: upgrade, close")
        ),
        NoUpgrade,
        "no_rule",
    ),
    "a push to another ref": Case(sending(push(f"{ZERO} {ONE} refs/heads/main")), AnyRequest, "ref_not_allowed"),
    "a push to two refs": Case(
        sending(push(f"{ZERO} {ONE} refs/heads/tickover/x", f"{ZERO} {ONE} refs/heads/main")),
        AnyRequest,
        "ref_not_allowed",
    ),
    "a deletion": Case(sending(push(f"{ONE} {ZERO} refs/heads/tickover/x")), AnyRequest, "ref_delete"),
    "a push with options": Case(
        sending(push(f"{ZERO} {ONE} refs/heads/tickover/x").replace(b"report-status", b" push-options")),
        AnyRequest,
        "push_unread",
    ),
    "a push that cannot be read": Case(
        sending(message("POST", "/acme/app.git/git-receive-pack", b"zzzz")), AnyRequest, "push_unread"
    ),
    "their own token": Case(
        seeing(b"attacker", message("GET", "/x", authorization="Bearer attacker")), KeepsTheirs, ""
    ),
    "their own key": Case(seeing(b"attacker", message("GET", "/x", x_api_key="attacker")), KeepsTheirs, ""),
    "their own cookie": Case(seeing(b"attacker", message("GET", "/x", cookie="s=attacker")), KeepsTheirs, ""),
    "their own token in the query": Case(
        seeing(b"attacker", message("GET", "/x?access_token=attacker")), KeepsTheirs, ""
    ),
    "a placeholder in a header": Case(
        seeing(b"placeholder", message("GET", "/x", x_thing="tickover-placeholder-1")), KeepsTheirs, "placeholder"
    ),
    "a placeholder in the address": Case(
        seeing(b"placeholder", message("GET", "/x?y=tickover-placeholder-1")), KeepsTheirs, "placeholder"
    ),
    "a credential in the clear": Case(
        seeing(TOKEN, message("GET", "/x"), tls=False), InTheClear, "cleartext", tls=False
    ),
}


@pytest.mark.parametrize("protected", [True, False], ids=["protected", "bites"])
@pytest.mark.parametrize("name", CASES)
async def test_attempt(name: str, protected: bool) -> None:
    case = CASES[name]
    async with (
        upstream(HOST, authority=DOUBLE if case.tls else None) as double,
        inspected(
            egress(double.port), double.port, values={"key": TOKEN}, guard=Guard if protected else case.without
        ) as site,
    ):
        succeeded = await case.attack(site, double)
    assert succeeded is not protected
    assert site.codes() == ([case.code] if protected and case.code else [])


# What a strict reader refuses; a lenient one is the reader with the odd part repaired.


def lenient(bad: bytes, good: bytes) -> type[Inspector]:
    class Reader(RequestReader):
        def receive(self, data: bytes) -> None:
            super().receive(data.replace(bad, good))

    class Lenient(Inspector):
        def reader(self) -> RequestReader:
            return Reader(frozenset({"origin"}))

    return Lenient


HEAD = f"host: {HOST}\r\n".encode()
POST = b"POST /api/post HTTP/1.1\r\n" + HEAD + b"content-type: application/json\r\n"
SMUGGLED = b"DELETE /x HTTP/1.1\r\n" + HEAD + b"\r\n"
GET = b"GET /x HTTP/1.1\r\n"
ODD: dict[str, tuple[bytes, bytes, bytes, str]] = {
    "a length beside chunks": (
        POST + b"content-length: 20\r\ntransfer-encoding: chunked\r\n\r\n" + ENG + SMUGGLED,
        b"transfer-encoding: chunked\r\n",
        b"",
        "two_lengths",
    ),
    "two lengths": (
        POST + b"content-length: 20\r\ncontent-length: 5\r\n\r\n" + ENG,
        b"content-length: 5\r\n",
        b"",
        "two_lengths",
    ),
    "an odd coding": (
        POST + b"transfer-encoding: xchunked\r\ncontent-length: 20\r\n\r\n" + ENG,
        b"transfer-encoding: xchunked\r\n",
        b"",
        "two_lengths",
    ),
    "a signed length": (POST + b"content-length: +20\r\n\r\n" + ENG, b"+20", b"20", "content_length"),
    "a bare line feed": (GET + HEAD + b"x: y\n\r\n", b"y\n", b"y\r\n", "bare_line_end"),
    "a folded line": (GET + HEAD + b"x: y\r\n z\r\n\r\n", b"\r\n z", b" z", "folded_header"),
    "a space before the colon": (GET + b"host : api.example.com\r\n\r\n", b"host :", b"host:", "bad_header"),
    "a NUL": (GET + HEAD + b"x: \0y\r\n\r\n", b"\0", b"", "nul"),
    "no host": (GET + b"\r\n", GET, GET + HEAD, "no_host"),
    "two hosts": (GET + HEAD + b"host: evil.test\r\n\r\n", b"host: evil.test\r\n", b"", "two_hosts"),
    "an absolute form inside": (
        f"GET https://{HOST}/x HTTP/1.1\r\n".encode() + HEAD + b"\r\n",
        f"https://{HOST}".encode(),
        b"",
        "absolute_here",
    ),
    "CONNECT inside": (
        b"CONNECT evil.test:443 HTTP/1.1\r\nhost: evil.test:443\r\n\r\n",
        b"CONNECT evil.test:443 HTTP/1.1\r\nhost: evil.test:443",
        GET + HEAD[:-2],
        "connect_here",
    ),
    "user information": (
        b"GET /x HTTP/1.1\r\nhost: api.example.com@evil.test\r\n\r\n",
        b"@evil.test",
        b"",
        "bad_host",
    ),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HTTP/2.0\r\n", GET + HEAD, "http_version"),
    "a look-alike of a header": (GET + HEAD + b"x_api_key: k\r\n\r\n", b"x_api_key", b"xyz", "look_alike_header"),
    "a listed length": (
        POST + b"connection: content-length\r\ncontent-length: 20\r\n\r\n" + ENG,
        b"connection: content-length",
        b"x: y",
        "bad_connection",
    ),
    "a large head": (GET + HEAD + b"x: " + b"y" * 300_000 + b"\r\n\r\n", b"y" * 1000, b"", "large_head"),
    "a chunk that is too long": (
        POST + b"transfer-encoding: chunked\r\n\r\n14\r\n" + ENG + b"xx\r\n0\r\n\r\n",
        b"xx\r\n0",
        b"\r\n0",
        "bad_chunk",
    ),
    "TRACE": (b"TRACE /x HTTP/1.1\r\n" + HEAD + b"\r\n", b"TRACE", b"GET", "bad_method"),
}


@pytest.mark.parametrize("protected", [True, False], ids=["protected", "bites"])
@pytest.mark.parametrize("name", ODD)
async def test_odd_requests_do_not_leave(name: str, protected: bool) -> None:
    sent, bad, good, code = ODD[name]
    assert bad in sent
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(
            egress(double.port), double.port, values={"key": TOKEN},
            inspector=Inspector if protected else lenient(bad, good), patience=Patience(linger_s=0.5, keep_alive_s=0.5),
        ) as site,
    ):  # fmt: skip
        said = await site.say(sent)
    assert (len(double.seen) >= 1) is not protected
    if protected:
        assert site.codes() == [code]
        assert f"x-tickover-deny: {code}".encode() in said or name == "a large head"
    assert not any(each.method == "DELETE" for each in double.seen)


# Credentials go to their hosts only, and nothing is shared between runs.


@pytest.mark.parametrize("bound", [False, True], ids=["protected", "bites"])
async def test_a_redirect_or_another_host_gets_no_credential(bound: bool) -> None:
    async with upstream(OTHER, authority=DOUBLE) as other, upstream(HOST, authority=DOUBLE) as double:
        both = egress(double.port)
        endpoint = Endpoint.parse(OTHER, (other.port,))
        more = Governed(endpoint, "a test", "key" if bound else None)
        opening = Opening(endpoint, "a test", inspect=True, private=True)
        policy = replace(
            both.policy, openings=(*both.policy.openings, opening), governed=(*both.policy.governed, more)
        )  # fmt: skip
        async with (
            inspected(replace(both, policy=policy), double.port, values={"key": TOKEN}) as site,
            site.client() as client,
        ):
            where = f"https://{OTHER}:{other.port}/x"
            await client.get(where, headers={"authorization": f"Bearer {TOKEN.decode()}"})
    assert (TOKEN in bytes(other.raw)) is bound


@pytest.mark.parametrize("shared", [False, True], ids=["protected", "bites"])
async def test_two_runs_share_no_authority(shared: bool) -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values={"key": TOKEN}, run="a") as one,
        inspected(
            egress(double.port), double.port, values={"key": TOKEN}, run="b", fake="127.65.0.0/16",
            authority=one.authority if shared else None,
        ) as two,
    ):  # fmt: skip
        other = replace(one, fake=two.fake, port=two.port)  # a client of the first run at the second one's gateway
        said = await other.say(message("GET", "/x"))
    assert said.startswith(b"HTTP/1.1 200") is shared


async def test_two_runs_share_no_connection_session_count_or_receipt() -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values={"key": TOKEN}, run="a") as one,
        inspected(egress(double.port), double.port, values={"key": TOKEN}, run="b", fake="127.65.0.0/16") as two,
    ):
        for site in (one, two):
            for _ in range(2):
                assert (await site.say(message("GET", "/x"))).startswith(b"HTTP/1.1 200")
            assert (await site.say(message("POST", "/api/post", ENG, **JSON))).startswith(b"HTTP/1.1 200")
            await site.ledger.ended(3)
            assert [each.begun.call for each in site.ledger.receipts] == [1, 2, 3]
            assert site.counts == {"may[0]": 1}
    assert [each.connection for each in double.seen] == [1, 1, 1, 2, 2, 2]
    assert not any(each.resumed for each in double.seen)


@pytest.mark.parametrize("expired", [True, False], ids=["protected", "bites"])
async def test_nothing_leaves_after_the_lease(expired: bool) -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values={"key": TOKEN}) as site,
    ):
        site.ledger.hold()
        post = asyncio.ensure_future(site.say(message("POST", "/api/post", ENG, **JSON)))
        await site.ledger.waiting()
        site.now = 2e6 if expired else 0.0  # the lease ends while its receipt is being written
        site.ledger.release()
        await post
        assert len(double.seen) == (0 if expired else 1)
        (receipt,) = await site.ledger.ended()
        assert receipt.left is not expired


@pytest.mark.parametrize("capped", [True, False], ids=["protected", "bites"])
async def test_many_connections_are_capped(capped: bool) -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(
            egress(double.port), double.port, values={"key": TOKEN}, limits=Limits(connections=20 if capped else 500)
        ) as site,
    ):
        idle = [await asyncio.open_connection(site.fake, site.port) for _ in range(40)]
        said = await asyncio.gather(site.say(message("GET", "/x")), return_exceptions=True)
        assert (not said[0] or isinstance(said[0], BaseException)) is capped
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize("capped", [True, False], ids=["protected", "bites"])
async def test_a_slow_loris_is_let_go(capped: bool) -> None:
    patience = Patience(head_s=0.5 if capped else 3600.0, linger_s=0.1)
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values={"key": TOKEN}, patience=patience) as site,
    ):
        reader, writer = await site.raw()
        let_go = False
        try:
            async with asyncio.timeout(20 if capped else 3):
                for sign in message("GET", "/" + "x" * 2000).decode():
                    writer.write(sign.encode())
                    try:
                        async with asyncio.timeout(0.2):
                            let_go = b"slow_head" in await reader.read(65536)
                            break
                    except TimeoutError:
                        continue
        except TimeoutError:
            pass
        writer.close()
    assert let_go is capped


async def test_a_denial_is_what_the_run_reads_and_is_told_once() -> None:
    async with (
        upstream(HOST, authority=DOUBLE) as double,
        inspected(egress(double.port), double.port, values={"key": TOKEN}) as site,
    ):
        said = await site.say(message("DELETE", "/secret?x=1"))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    (denial,) = site.denials
    assert json.loads(body)["error"] == {"reason": denial.code, "detail": denial.says}
    assert (denial.method, denial.path) == ("DELETE", "/secret")
