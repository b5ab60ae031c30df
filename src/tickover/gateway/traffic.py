"""The traffic of one session, in the gateway's process: its fence, its plane, what it tells of both."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network
from typing import Final, NamedTuple

from tickover.core.host import is_internal
from tickover.core.mcp import PATH as MCP
from tickover.core.network import INTERNAL_CODE, WEB_PORTS, Route
from tickover.core.own_tools import PLACE
from tickover.core.receipt import Identity
from tickover.core.sql import SqlQuestion
from tickover.gateway import dns
from tickover.gateway.app_tokens import AppTokens
from tickover.gateway.base import Denial
from tickover.gateway.bell import STOP, Ring, StopBell
from tickover.gateway.calls import Calls
from tickover.gateway.certificates import RunAuthority, upstream_context
from tickover.gateway.chain import Chain, Keep, SessionLedger
from tickover.gateway.denials import Denials
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence
from tickover.gateway.guard import Guard, Held
from tickover.gateway.inspect import Inspector
from tickover.gateway.internal import Handler, Internal
from tickover.gateway.mcp.connect import Outfit, Servers
from tickover.gateway.meter import Meter
from tickover.gateway.oauth import Lender, OAuthValues, Tokens, grants_of
from tickover.gateway.own import screen_as_this_machine
from tickover.gateway.own_tools import OwnTools, Use
from tickover.gateway.patience import Patience
from tickover.gateway.plane import Arrival, Listeners, Passage, Plane, names_of
from tickover.gateway.playing import BlindGuard, Drifts, OfflineDialler, Playback, takes_of, unread
from tickover.gateway.prices import prices
from tickover.gateway.session import Denied, Passport, Reached
from tickover.gateway.sql import SqlError, count_rows
from tickover.gateway.tape import Tape
from tickover.gateway.token_request import Post

FAKE_ADDRESSES: Final = IPv4Network("127.64.0.0/10")
"""Loopback addresses that nothing listens at but the gateway: no route has to be made for them."""
MOST_BYTES: Final = 256 << 30
"""Bytes that one sandbox may move, both ways together."""
MOST_REACHED: Final = 256
"""Hosts and ports that one session tells of; `network: observe` has no bound of its own."""
SEAL_S: Final = 5.0
"""Seconds between two looks at whether the chain has a new head."""

_SERVER_ERROR: Final = 500
_FAULTS: Final = frozenset(
    {"connect_failed", "connect_timeout", "unresolvable", "upstream_closed", "slow_peer", "idle"}
)
"""Reasons that are an upstream's or the client's own: nothing was denied."""

Tell = Callable[..., None]


@lru_cache(maxsize=16)
def trusting(roots: bytes) -> ssl.SSLContext:
    """Return the context for upstreams that trusts these, too: one for all sessions, for it is large."""
    return upstream_context(roots)


class Others(NamedTuple):
    """Who is told and asked.

    `keep` makes a receipt durable, `tell` takes an event's name and parts, `ring` asks who judges, `use` who does what
    the run's own tools are asked for, `lender` has the
    stored values; `held` returns what any session holds, so that no server says it to this one; `apps` has the tokens
    of GitHub Apps, of all sessions.
    """

    keep: Keep
    tell: Tell
    ring: Ring
    use: Use
    held: Held
    lender: Lender
    apps: AppTokens


class Traffic:
    """One session."""

    def __init__(self, passport: Passport, tokens: Tokens, chain: Chain, others: Others) -> None:
        self.passport = passport
        policy = passport.egress.policy
        below = () if policy.observe else [pattern.name for pattern in policy.names()]
        self._authority = RunAuthority(passport.run, now=datetime.now(UTC), below=below)
        self._chain = chain
        self._sealed_at = chain.head
        self._tell = tell = others.tell
        self._cut_told = False
        self._reached: set[tuple[str, int]] = set()
        self._denials = Denials(lambda denied: tell("denied", denied=asdict(denied)))
        self.ledger = SessionLedger(chain, others.keep)
        self._fence = Fence(passport.deadline, MOST_BYTES)
        self._tape = None if passport.tape is None else Tape(os.dup(passport.tape))
        drifts = Drifts(lambda drift, times: tell("drifted", drifted={**drift._asdict(), "times": times}))
        played = passport.cassette is not None
        dialler = OfflineDialler(drifts.add) if played else Dialler(screen=screen_as_this_machine)
        self._dialler = dialler
        post = Post(dialler, self._fence, trusting(passport.roots), Patience())
        forms = passport.egress.forms
        self.values = OAuthValues(tokens, passport.sealed, grants_of(forms), post.mint, others.lender)
        guard = (BlindGuard if played else Guard)(passport.egress, self.values, others.held)
        meter = None if played else Meter(
            passport.egress.budget, passport.egress.prices, prices(), passport.spent,
            lambda called: tell("called", called=asdict(called)),
        )  # fmt: skip
        self._playback: Playback | None = None
        if passport.cassette is not None:
            self._playback = Playback(takes_of(passport.cassette), guard, drifts, Patience())
        numbers = itertools.count(1)
        calls = Calls(
            ledger=self.ledger, fence=self._fence, attempt=passport.attempt, identity=passport.identity,
            counts=chain.counts, numbers=numbers, clock=time.time,
        )  # fmt: skip
        outfit = Outfit(
            passport.egress, self.values, self._fence, dialler, trusting(passport.roots), Patience(), others.held
        )  # fmt: skip
        self.servers = Servers(outfit, calls, self._refused)
        self._inspector = Inspector(
            run=passport.run, attempt=passport.attempt, identity=passport.identity, egress=passport.egress,
            authority=self._authority, values=self.values, ledger=self.ledger, fence=self._fence, dialler=dialler,
            upstream=trusting(passport.roots), tell=self._refused, counts=chain.counts, numbers=numbers,
            guard=guard, meter=meter, apps=others.apps, tape=self._tape, playback=self._playback,
        )  # fmt: skip
        servers: Handler = unread(drifts) if played else self.servers.handler
        own = OwnTools(passport.egress.own_tools, others.use)
        self._internal = Internal({STOP: StopBell(others.ring), MCP: servers, PLACE: own}, self._refused)
        self._plane = Plane(
            judge=policy.judge,
            allowed=(lambda _name: True) if policy.observe else names_of(policy.names()),
            addresses=dns.FakeAddresses(FAKE_ADDRESSES),
            fence=self._fence,
            tell=self._passed,
            dialler=dialler,
            inspect=self._read,
        )
        self._beat = asyncio.get_running_loop().call_later(SEAL_S, self._every_few_seconds)

    @property
    def authority(self) -> bytes:
        return self._authority.pem

    async def _read(self, arrival: Arrival) -> None:
        """Read requests: those to our own name are answered here, all others inspected."""
        await (self._internal if arrival.decision.code == INTERNAL_CODE else self._inspector)(arrival)

    async def listen(self, listeners: Sequence[socket.socket]) -> None:
        """Begin to serve the sandbox's listeners, in the order of the port's `listen`."""
        udp, tcp, proxy, *dialled = listeners
        for each in listeners:
            each.setblocking(False)
        await self._plane.open(Listeners(udp, tcp, proxy, tuple(dialled)))

    async def door(self, listener: socket.socket, password: str) -> None:
        """Begin to serve a proxy outside of any sandbox, for who says the password."""
        if not password:
            raise ValueError("a door has a password")
        listener.setblocking(False)
        await self._plane.open(Listeners(proxy=listener, password=password))

    async def attach(self, server: str, stdin: int, stdout: int) -> None:
        """Speak to an MCP server by the pipes of its program. Raises ValueError, OSError."""
        await self.servers.take(server, stdin, stdout)

    async def count_rows(self, question: SqlQuestion) -> int:
        """Ask a database, as the verifier."""
        if self.passport.identity is not Identity.VERIFIER or not self._fence.passes():
            raise SqlError("sql.denied", "only the verifier asks a database, and only while it holds its run")
        passport = self.passport
        return await count_rows(
            question, policy=passport.egress.policy, values=self.values, fence=self._fence, dialler=self._dialler,
            roots=passport.roots,
        )  # fmt: skip

    def renew(self, deadline: float) -> None:
        """Let it pass until then; one that is too late is told of, and nothing passes any more."""
        if not self._fence.renew(deadline):
            self._tell_cut()

    def cut(self, reason: str) -> None:
        """Break everything off, at once."""
        self._fence.cut(reason)

    async def close(self) -> None:
        """End every connection, then tell what is left to be told."""
        self._beat.cancel()
        await self._plane.close()
        await self.servers.close()
        await self._inspector.close()
        if self._playback:
            self._playback.close()
        if self._tape:
            self._tape.close()
        self._denials.flush()
        self._seal()

    def _every_few_seconds(self) -> None:
        if not self._fence.passes():
            self._tell_cut()
        self._seal()
        self._beat = asyncio.get_running_loop().call_later(
            min(SEAL_S, max(self._fence.remaining(), 0.1)), self._every_few_seconds
        )

    def _tell_cut(self) -> None:
        if not self._cut_told:
            self._cut_told = True
            self._tell("cut", why=self._fence.reason)

    def _tell_reached(self, host: str, port: int) -> None:
        place = (host, port)
        if is_internal(host):
            return
        if self.passport.identity is Identity.VERIFIER or place in self._reached or len(self._reached) >= MOST_REACHED:
            return
        self._reached.add(place)
        rule = self.passport.egress.policy.judge(host, port).rule
        self._tell("reached", reached=asdict(Reached(host, port, rule)))

    def _seal(self) -> None:
        if self._chain.head != self._sealed_at:
            self._sealed_at = self._chain.head
            self._tell("sealed", head=list(self._chain.head))

    def _refused(self, denial: Denial) -> None:
        if denial.status >= _SERVER_ERROR or denial.code == self._fence.reason:
            return
        told = Denied(denial.host, denial.port, denial.code, denial.says, denial.method, denial.path)
        self._denials.add(told)

    def _passed(self, passage: Passage) -> None:
        if passage.route is not Route.DENY and passage.entry != "dns":
            self._tell_reached(passage.host, passage.port)
        if passage.route is not Route.DENY or passage.reason in {"unused", self._fence.reason, *_FAULTS}:
            return
        says = passage.says
        if passage.entry == "dns":
            says = self.passport.egress.policy.judge(passage.host, WEB_PORTS[-1]).says
        self._denials.add(Denied(passage.host, passage.port, passage.reason, says))
