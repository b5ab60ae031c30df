"""The verifier's door: a proxy on this machine that is open to who says its password, and to nobody else beside it."""

from __future__ import annotations

import asyncio
import base64
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tickover.checks.http_client import HttpUnreachable, Proxy, get
from tickover.core.egress import Egress
from tickover.core.network import Asked, InstanceNetwork, policy_of
from tickover.core.receipt import Identity
from tickover.gateway.client import GatewayClient
from tickover.gateway.dns import FakeAddresses
from tickover.gateway.fence import Fence, boot_time
from tickover.gateway.plane import Listeners, Plane
from tickover.gateway.session import Door, Passport
from tickover.gateway.traffic import FAKE_ADDRESSES
from tickover.testing.localhost import entry, serving, url
from tickover.testing.upstream import Upstream
from tickover.testing.witness import KeptWitness


def egress(double: Upstream) -> Egress:
    return Egress(
        policy_of([Asked(entry(double), "test", inspect=True)], {}, InstanceNetwork(private=(entry(double),)))
    )


async def test_who_says_the_password_gets_the_page_and_nobody_else_gets_in(tmp_path: Path) -> None:
    gateway = GatewayClient(str(tmp_path / "key"))
    witness = KeptWitness()
    try:
        async with serving() as double:
            assert double.authority is not None
            passport = Passport(
                "run", 1, Identity.VERIFIER, egress(double), boot_time() + 600, roots=double.authority.pem
            )
            session = await gateway.open(passport, witness)
            door = await session.door()
            assert door.password not in repr(door)
            for said in (door.url.replace(door.password, "guess"), f"http://127.0.0.1:{door.port}"):
                with pytest.raises(HttpUnreachable) as caught:
                    await get(url(double), timeout_s=60, proxy=Proxy(said, session.authority))
                assert caught.value.code == "http.refused"
            assert double.connections == 0
            answer = await get(url(double), timeout_s=60, proxy=Proxy(door.url, session.authority))
            assert answer.status == 200
            assert double.seen[0].header("proxy-authorization") is None
            await session.close()
            with pytest.raises(HttpUnreachable):
                await get(url(double), timeout_s=60, proxy=Proxy(door.url, session.authority))
            assert len(double.seen) == 1
    finally:
        await gateway.close()
    assert {(each.code, each.host) for each in witness.denials} == {("proxy_password", "localhost")}
    assert [each.begun.identity for each in witness.receipts()] == [Identity.VERIFIER]
    assert witness.hosts == [], "the verifier's receipts tell what it reached"


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"{Door.USER}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "said",
    ["", "Basic", "Basic !", basic("guess"), basic(""), basic("the-word") + ", " + basic("x"), "Bearer the-word"],
)
@pytest.mark.parametrize("guarded", [True, False])
async def test_each_way_in_bites_where_the_password_is_not_asked(said: str, guarded: bool) -> None:
    """The same bytes get past a proxy without a password: it is that protection that keeps them out."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.setblocking(False)
    plane = Plane(
        judge=policy_of([Asked("page.test", "test")], {}).judge,
        allowed=lambda _name: True,
        addresses=FakeAddresses(FAKE_ADDRESSES),
        fence=Fence(boot_time() + 600, 1 << 20),
        tell=lambda _passage: None,
    )
    listeners = Listeners(proxy=listener, password="the-word")
    await plane.open(listeners if guarded else replace(listeners, password=""))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        field = f"proxy-authorization: {said}\r\n" if said else ""
        writer.write(f"GET http://other.test/ HTTP/1.1\r\nhost: other.test\r\n{field}\r\n".encode())
        line = await asyncio.wait_for(reader.readuntil(b"\r\n"), 60)
        writer.close()
    finally:
        await plane.close()
    assert line.split()[1] == (b"407" if guarded else b"403"), "403 is the policy's word: it was let in and judged"
