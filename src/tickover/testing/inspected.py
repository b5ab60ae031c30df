"""A run with an inspected host on loopback: real listeners, real TLS on both sides, a ledger in memory."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network

import httpx

from tickover.core.effect import Wanted
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers
from tickover.core.network import Endpoint, Governed, NetworkPolicy, Opening
from tickover.core.receipt import Identity
from tickover.gateway import dns
from tickover.gateway.app_tokens import AppTokens
from tickover.gateway.base import Denial
from tickover.gateway.certificates import RunAuthority, upstream_context
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.guard import Guard
from tickover.gateway.inspect import Inspector
from tickover.gateway.patience import Patience
from tickover.gateway.plane import Limits, Listeners, Passage, Plane, names_of
from tickover.testing.gateway import MemoryLedger, MemoryValues

HOST = "api.example.com"
DOUBLE = RunAuthority("double", now=datetime.now(UTC))
"""Signs the certificates of doubles: the extra root of every inspected run here."""

_NO_POWERS = Powers()
_NOTHING_WANTED = Wanted((), ())


@dataclass
class Site:
    """A run's way out. `port` is that of the upstream, and of the transparent listener at the address `fake`."""

    plane: Plane
    inspector: Inspector
    fence: Fence
    authority: RunAuthority
    ledger: MemoryLedger
    values: MemoryValues
    fake: str
    port: int
    proxy: int
    counts: Counter[str]
    denials: list[Denial] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    now: float = 0.0

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client inside trusts."""
        return ssl.create_default_context(cadata=self.authority.pem.decode())

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Return a client inside the run, that goes by the proxy."""
        proxy = f"http://127.0.0.1:{self.proxy}"
        async with httpx.AsyncClient(
            proxy=proxy, verify=self.trust, trust_env=False, timeout=60, base_url=self.url
        ) as client:
            yield client

    async def raw(self, *, tls: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Dial the fake address, for what no client would say."""
        trust = self.trust if tls else None
        return await asyncio.open_connection(self.fake, self.port, ssl=trust, server_hostname=HOST if tls else None)

    async def say(self, data: bytes, *, tls: bool = True) -> bytes:
        """Send bytes, return all that is answered until the connection ends."""
        try:
            reader, writer = await self.raw(tls=tls)
        except (ConnectionError, ssl.SSLError):
            return b""
        try:
            writer.write(data)
            async with asyncio.timeout(60):
                return await reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""
        finally:
            writer.close()

    def codes(self) -> list[str]:
        return [each.code for each in self.denials]


def egress_to(
    host: str,
    port: int,
    *,
    powers: Powers = _NO_POWERS,
    credentials: Mapping[str, CredentialForm] | None = None,
    wanted: Wanted = _NOTHING_WANTED,
    inspect: bool = True,
) -> Egress:
    """Make the way out to one host: inspected, private addresses allowed, credentials bound to it at this port."""
    endpoint = Endpoint.parse(host, (port,))
    forms = dict(credentials or {})
    governed = tuple(Governed(endpoint, f"{name} is bound to it", name) for name in forms)
    if inspect:
        governed += (Governed(endpoint, "a test needs it"),)
    policy = NetworkPolicy((Opening(endpoint, "a test", inspect=inspect, private=True),), governed)
    return Egress(policy, powers, forms, wanted)


@functools.cache
def _trusting_doubles() -> ssl.SSLContext:
    return upstream_context(DOUBLE.pem)


async def loopback(host: str, port: int) -> Sequence[str]:  # noqa: ARG001 - a resolver
    """Resolve every name to this machine."""
    return ["127.0.0.1"]


@asynccontextmanager
async def inspected(
    egress: Egress,
    port: int,
    *,
    values: Mapping[str, bytes] | None = None,
    guard: Callable[[Egress, MemoryValues], Guard] = Guard,
    inspector: type[Inspector] = Inspector,
    authority: RunAuthority | None = None,
    counts: Counter[str] | None = None,
    patience: Patience | None = None,
    limits: Limits | None = None,
    most_bytes: int = 1 << 40,
    connect_s: float = 20.0,
    attempt: int = 1,
    identity: Identity = Identity.AGENT,
    run: str = "run",
    fake: str = "127.64.0.0/10",
    resolve: Callable[[str, int], Awaitable[Sequence[str]]] = loopback,
    apps: AppTokens | None = None,
) -> AsyncIterator[Site]:
    """Run a plane with an inspector; the ledger is whole and verified when this ends."""
    addresses = dns.FakeAddresses(IPv4Network(fake))
    name = next(iter(egress.policy.names())).name
    address = str(addresses.address_of(name))
    transparent, proxy = socket.create_server((address, port)), socket.create_server(("127.0.0.1", 0))
    denials: list[Denial] = []
    passages: list[Passage] = []
    fence = Fence(1e6, most_bytes, clock=lambda: site.now)
    authority = authority or RunAuthority(
        run, now=datetime.now(UTC), below=[each.name for each in egress.policy.names()]
    )
    ledger, held = MemoryLedger(run), MemoryValues(dict(values or {}))
    counted = Counter[str]() if counts is None else counts
    inspecting = inspector(
        run=run, attempt=attempt, identity=identity, egress=egress, authority=authority, values=held, ledger=ledger,
        fence=fence, dialler=Dialler(resolve=resolve, connect_s=connect_s), upstream=_trusting_doubles(),
        tell=denials.append, counts=counted, patience=patience or Patience(linger_s=0.5), guard=guard(egress, held),
        apps=apps,
    )  # fmt: skip
    plane = Plane(
        judge=egress.policy.judge, allowed=names_of(egress.policy.names()), addresses=addresses, fence=fence,
        tell=passages.append, dialler=Dialler(resolve=resolve, connect_s=connect_s), inspect=inspecting,
        limits=limits or Limits(linger_s=0.5),
    )  # fmt: skip
    site = Site(
        plane, inspecting, fence, authority, ledger, held, address, port, proxy.getsockname()[1], counted, denials,
        passages,
    )  # fmt: skip
    await plane.open(Listeners(proxy=proxy, transparent=(transparent,)))
    try:
        yield site
    finally:
        ledger.release()
        await plane.close()
        await inspecting.close()
    if broken := ledger.broken():
        raise AssertionError(broken.says)
