"""The port of the gateway, as the one who works on a run sees it: a session per sandbox that may send something.

A session is one sandbox's way out: opened before it starts, given the sandbox's listeners, kept alive by the lease, and
closed with it. What it saw comes back to a `Witness`, who holds the run's journal.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeAlias

from pydantic import JsonValue

from tickover.core.egress import Egress
from tickover.core.errors import TickoverError
from tickover.core.metering import NOTHING, Spent
from tickover.core.receipt import Broken, Head, Identity, Link
from tickover.core.sql import SqlQuestion


class GatewayGone(TickoverError):  # noqa: N818 - a state of the machine, not a fault of the caller
    """The gateway's process ended, or could not begin (an `infrastructure` cause). Nothing passes any more."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is stored: its kind and version, and the value under the instance's key."""

    kind: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Passport:
    """Whose traffic a session is, what it may send, and until when.

    `deadline` is in seconds of CLOCK_BOOTTIME, as a lease's end counted from before it was asked for. `head`, `calls`
    and `counts` continue the run's chain of receipts: its last link, its calls, its writes by rule; over all attempts.
    `spent` is what models took of the run's budget, over all attempts, too.
    `sealed` are the credentials that were granted to the run, `roots` certificates that are trusted besides the
    machine's, as PEM. `tape` is a file that the session's exchanges are recorded to, `cassette` one that it is played
    from: then nothing is dialled. Both are descriptors of the caller's, open until the session is.
    """

    run: str
    attempt: int
    identity: Identity
    egress: Egress
    deadline: float
    head: Head | None = None
    calls: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    spent: Spent = NOTHING
    sealed: Mapping[str, Sealed] = field(default_factory=dict)
    roots: bytes = b""
    tape: int | None = None
    cassette: int | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """What did not pass, `times` over. The texts are hostile."""

    host: str
    port: int
    code: str
    says: str
    method: str = ""
    path: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Door:
    """A proxy on this machine's own loopback interface, for who says its password; it ends with its session.

    The password lets requests in as the session's identity and no further than its `Egress`; it is no credential.
    """

    port: int
    password: str = field(repr=False)

    USER: ClassVar[str] = "tickover"

    @property
    def url(self) -> str:
        """The proxy's address with its password: for a client's environment, never for its arguments."""
        return f"http://{self.USER}:{self.password}@127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Called:
    """One call to a language model that left, and what it took; model and tools are hostile text.

    `status` is None where no answer came, `cost_usd` where nobody knows the price. `estimated`: the answer did not say,
    or was cut off. `tools` are the names of those that were offered, None where they are as they were the last time.
    """

    host: str
    port: int
    dialect: str
    model: str
    status: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False
    tools_digest: str = ""
    tools: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """A host and port that a connection was let through to, and the entry that allowed it."""

    host: str
    port: int
    rule: str


@dataclass(frozen=True, slots=True)
class Drifted:
    """How a session that plays a cassette is not as it was recorded, `times` over. The texts are hostile."""

    kind: str
    target: str
    where: str = ""
    then: str = ""
    now: str = ""
    times: int = 1


Bell: TypeAlias = Callable[[], Awaitable[Sequence[str]]]
"""Rung by an agent that wants to stop; returns what it is told, nothing where it may. Never raises."""


Use: TypeAlias = Callable[[str, Mapping[str, JsonValue]], Awaitable[tuple[bool, str]]]
"""Does what a call of one of the run's own tools asks (its name, its arguments, both hostile).

Returns whether it could, and what the agent reads. Never raises.
"""


class Witness(Protocol):
    """Hears what a session saw, one call at a time, in order."""

    async def linked(self, links: Sequence[Link]) -> None:
        """Journal these receipts and return when they are durable: a write leaves no sooner.

        If it raises, the session is cut off.
        """

    async def denied(self, denied: Sequence[Denied]) -> None: ...

    async def called(self, called: Sequence[Called]) -> None:
        """Journal what these calls to models took."""

    async def reached(self, reached: Sequence[Reached]) -> None:
        """Journal these: a session tells of a host and port once. The verifier's tells of none."""

    async def drifted(self, drifted: Sequence[Drifted]) -> None:
        """Journal how a session that plays a cassette is not as it was recorded."""

    async def sealed(self, head: Head) -> None:
        """Journal the head of the chain: what stands before it can no longer be cut off unseen."""


class Session(Protocol):
    """One sandbox's way out."""

    authority: bytes
    """PEM of the certificate that this sandbox is to trust."""
    gone: asyncio.Event
    """Set when nothing passes any more though nobody closed it: the lease ran out, the gateway died."""
    why: str
    """Why it is `gone`, for people."""

    async def listen(self, listeners: Sequence[socket.socket]) -> None:
        """Give it the sandbox's listeners: names over UDP and TCP, the proxy, then every port that is dialled.

        They are the gateway's from now on; ours are closed. Raises GatewayGone.
        """

    def hang(self, bell: Bell) -> None:
        """Let `POST http://tickover.internal/stop` ring a bell. Without one, every agent may stop."""

    def lend(self, use: Use) -> None:
        """Let the run's own tools be used, at `http://tickover.internal/tools`. Without, each call fails."""

    async def door(self) -> Door:
        """Open a proxy for our own requests, in the place of a sandbox's listeners. Raises GatewayGone."""

    async def attach(self, server: str, stdin: int, stdout: int) -> None:
        """Give it the pipes (descriptors) of an MCP server that is a program; ours are closed. Raises GatewayGone."""

    async def count_rows(self, question: SqlQuestion) -> int:
        """Ask a database that its `Egress` lets it reach. Raises TickoverError (`sql.*`), GatewayGone."""

    def renew(self, deadline: float) -> None:
        """Let it pass until `deadline` (seconds of CLOCK_BOOTTIME). A session once cut stays cut."""

    async def close(self) -> None:
        """End it: connections first. Returns when the witness has heard everything. Idempotent."""


class Vault(Protocol):
    """The stored values, for the gateway that has to put another in the place of one (a refresh token, used up)."""

    async def borrow(self, name: str) -> Sealed:
        """Return the newest value. Nobody else gets it, in whatever process, before it is given back.

        Raises TickoverError.
        """

    async def give_back(self, name: str, sealed: Sealed | None) -> None:
        """Take it back; a new one is durable when this returns. Raises TickoverError."""


class Gateway(Protocol):
    """The one process that lets anything out."""

    async def ready(self) -> None:
        """Start the process unless it runs. Raises as `open` does, which needs no `ready` before it."""

    async def open(self, passport: Passport, witness: Witness) -> Session:
        """Begin a session. Raises GatewayGone, or the TickoverError that keeps the gateway from it."""

    async def verify(self, run: str, links: Sequence[Link], sealed: Head, *, unfinished: bool = False) -> Broken | None:
        """Say whether a run's chain of receipts holds: only the gateway has its key. Raises GatewayGone."""

    async def close(self) -> None:
        """End the process and every session."""
