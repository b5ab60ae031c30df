"""The ways out of a run's sandboxes: each has a session of the gateway, or an empty network and no way at all.

A way is a backend: whatever is started in it gets listeners that lead to the gateway, the certificates to trust, and
variables for the clients that look at them. It opens with the first sandbox and closes with the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Final, Protocol

from tickover.control.agent_model import model_at
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.receipts import spent_of, traffic_of
from tickover.control.record import Recorder
from tickover.core.cause import Cause, CauseCode
from tickover.core.definition import Routine
from tickover.core.egress import Egress
from tickover.core.errors import TickoverError, UsageError, Where
from tickover.core.event import (
    ConnectionDenied,
    Fact,
    HostReached,
    ModelCalled,
    ReceiptBegun,
    ReceiptEnded,
    ReceiptsSealed,
    ReplayDrifted,
)
from tickover.core.instance import Instance, egress_of, verifier_egress_of
from tickover.core.metering import BUDGET_CODES
from tickover.core.network import WEB_PORTS, Asked, NetworkPolicy, Preset, policy_of
from tickover.core.program import Program
from tickover.core.program_way import program_egress_of, programs_of
from tickover.core.receipt import Begun, Head, Identity, Link, counts_of
from tickover.core.sql import SqlQuestion
from tickover.core.status import Phase
from tickover.gateway.certificates import bundle, system_roots
from tickover.gateway.packages import INSIDE, Packages, is_asked
from tickover.gateway.presets import PACKAGES
from tickover.gateway.session import (
    Bell,
    Called,
    Denied,
    Door,
    Drifted,
    GatewayGone,
    Passport,
    Reached,
    Sealed,
    Session,
    Use,
)
from tickover.sandbox.base import PROXY_PORT, BackendReport, Listen, Sandbox, SandboxSpec, Talking

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
_OWN_BUNDLE: Final = "/tickover/ca.crt"
_CA_VARIABLES: Final = (
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO", "DENO_CERT", "NIX_SSL_CERT_FILE", "npm_config_cafile", "NODE_EXTRA_CA_CERTS",
)  # fmt: skip
_PROXY: Final = f"http://127.0.0.1:{PROXY_PORT}"
_NO_PROXY: Final = "localhost,127.0.0.1,::1"
_LARGEST_ROOTS: Final = 4 << 20


def environment_of(bundle_path: str) -> dict[str, str]:
    """Return the variables by which clients find the proxy and the certificates."""
    proxies = {"HTTPS_PROXY": _PROXY, "HTTP_PROXY": _PROXY, "NO_PROXY": _NO_PROXY}
    lower = {name.lower(): value for name, value in proxies.items()}
    return {**proxies, **lower, **dict.fromkeys(_CA_VARIABLES, bundle_path)}


def bundle_places() -> tuple[str, ...]:
    """Return where this machine's bundle of certificates lies, links resolved: what is laid over inside, too."""
    found = dict.fromkeys(os.path.realpath(path) for path in _BUNDLES if os.path.isfile(path))
    return tuple(found) or (_OWN_BUNDLE,)


def more_roots(files: Sequence[str]) -> bytes:
    """Read the certificates that the instance trusts besides the machine's own. Raises UsageError naming the file."""
    found = b""
    for path in files:
        try:
            with open(path, "rb") as file:
                found += file.read(_LARGEST_ROOTS).rstrip() + b"\n"
        except OSError as error:
            text = f"the certificates of `network.roots` cannot be read: {error.strerror}"
            raise UsageError("network.roots", text, where=Where(file=path)) from error
    return found


def ports_of(policy: NetworkPolicy) -> tuple[int, ...]:
    """Return the ports that somebody listens at inside."""
    return tuple(sorted({*policy.ports(), *(WEB_PORTS if policy.observe else ())}))


def in_force(egress: Egress) -> str:
    """Say in a few words what a sandbox may reach."""
    if egress.closed:
        return "none"
    if egress.policy.observe:
        return "observe: every host, and each is told of"
    hosts = (str(opening.endpoint) for opening in egress.policy.openings)
    return ", ".join(dict.fromkeys([*hosts, *(f"mcp {server.name}" for server in egress.servers)])) or "none"


def registries_of(packages: Packages, instance: Instance) -> Egress:
    """Return what an agent's installation may send: it reads from this machine's registries."""
    asked = [Asked(PACKAGES, "the agent's build")]
    return Egress(policy_of(asked, {PACKAGES: packages.preset}, instance.network.rules()))


class Scribe(Protocol):
    """Who hears what a way saw: a run's Recorder, or whoever stands in for one."""

    @property
    def run(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    async def add(self, *facts: Fact) -> None: ...


class Holder(Protocol):
    """Who knows until when a way is open: a run's lease, or whoever stands in for one. Seconds of CLOCK_BOOTTIME."""

    async def deadline(self) -> float: ...
    def follow(self, follower: Callable[[float], None]) -> Callable[[], None]: ...


class Ways:
    """The ways out of one run. `learn` comes first."""

    def __init__(self, house: House, routine: Routine, record: Recorder, kept: Kept) -> None:
        self._house = house
        self._routine = routine
        self._record = record
        self._kept = kept
        self._instance = Instance()
        self._presets: Mapping[str, Preset] = {}
        self._environment: Mapping[str, str] = {}
        self._warming: asyncio.Task[None] | None = None
        self.agent = Egress()
        """What the agent may send."""

    @property
    def run(self) -> str:
        """Whose ways they are."""
        return self._record.run

    async def learn(self) -> None:
        """Find out what may be sent. Raises DefinitionErrors where a routine asks for what cannot be."""
        self._instance = self._house.instance()
        self._presets = self._house.presets()
        if is_asked(self._routine.environment.network):
            packages = await self._house.packages()
            self._presets = {**self._presets, PACKAGES: packages.preset}
            self._environment = {**INSIDE, **packages.environment}
        agent = self._house.agent(self._routine.agent_name)
        reach = agent.reach(self._routine.environment.env, model_at(self._routine))
        self.agent = egress_of(self._routine, self._instance, self._presets, reach)
        if not self.agent.closed:
            self._warming = asyncio.create_task(self._warm())

    async def _warm(self) -> None:
        """Start the gateway beside other work; whoever needs it is told if it cannot."""
        with contextlib.suppress(TickoverError, OSError):
            await self._house.gateway.ready()

    @property
    def setup(self) -> Egress:
        """What the setup script may send: to the environment's hosts, and nothing that writes."""
        bare = self._routine.model_copy(update={"may": (), "expect": (), "noop": ()})
        egress = egress_of(bare, self._instance, self._presets)
        return replace(egress, servers=(), policy=replace(egress.policy, internal=False))

    @property
    def verifier(self) -> Egress:
        """What the checks may send: they read, and no more."""
        return verifier_egress_of(self._routine, self._instance, self._presets)

    @property
    def programs(self) -> Mapping[str, Program]:
        """The MCP servers of the agent that are programs, by name. A replay starts none: nothing is asked of them."""
        return {} if self._house.offline else programs_of(self.agent, self._instance)

    def program(self, name: str) -> Egress:
        """Return what such a program may send. Raises DefinitionErrors."""
        return program_egress_of(name, self.programs[name], self._instance, self._presets)

    @asynccontextmanager
    async def registries(self) -> AsyncIterator[Way]:
        """Yield the way out of an agent's installation: it reads from this machine's registries of packages."""
        packages = await self._house.packages()
        async with self.open(Identity.SETUP, registries_of(packages, self._instance)) as way:
            way.environment = {**INSIDE, **packages.environment}
            yield way

    @asynccontextmanager
    async def open(self, identity: Identity, egress: Egress) -> AsyncIterator[Way]:
        """Yield a way out, and close it. What fails after it broke is a GatewayGone: it is not the sandbox's fault."""
        way = Way(self._house, self._record, self._kept, identity, egress)
        way.roots = self._instance.network.roots
        way.environment = self._environment
        try:
            yield way
        except TickoverError as error:
            if way.broken.is_set():
                raise GatewayGone("gateway.cut", way.why) from error
            raise
        finally:
            await way.close()


class Way:
    """A backend whose sandboxes can send what an `Egress` lets them; without openings it is the plain backend."""

    def __init__(
        self,
        house: House,
        record: Scribe,
        kept: Holder,
        identity: Identity,
        egress: Egress,
    ) -> None:
        self.roots: Sequence[str] = ()
        """Files with certificates that are trusted besides the machine's own."""
        self.environment: Mapping[str, str] = {}
        """Variables for the clients inside, besides those for proxy and certificates."""
        self.name = house.backend.name
        self.egress = egress
        self._house = house
        self._record = record
        self._kept = kept
        self._identity = identity
        self._session: Session | None = None
        self._witness: JournalWitness | None = None
        self._started: list[Sandbox] = []
        self._stop_following = _nothing
        self.bell: Bell | None = None
        """Rung by an agent that wants to stop. To be set before the first sandbox starts, as `use` is."""
        self.use: Use | None = None
        """Does what the run's own tools are asked for."""
        self.broken = asyncio.Event()
        """Set when the session is gone though nobody closed it."""
        self._watching: asyncio.Task[None] | None = None

    @property
    def why(self) -> str:
        """Why it is broken."""
        return self._session.why if self._session is not None else ""

    @property
    def starved(self) -> Cause | None:
        """Why a model was not asked any more, if it was not: whoever failed then may have failed of that."""
        return self._witness.starved if self._witness is not None else None

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox that has this way out. Raises as a backend does, and GatewayGone."""
        if self.egress.closed:
            return await self._house.backend.start(spec)
        session = await self._opened()
        trusted = await asyncio.to_thread(lambda: bundle(system_roots() + more_roots(self.roots), session.authority))
        places = bundle_places()
        sandbox = await self._house.backend.start(
            replace(
                spec,
                env={**environment_of(places[0]), **self.environment, **spec.env},
                files={**spec.files, **dict.fromkeys(places, trusted)},
                listen=Listen(ports_of(self.egress.policy)),
            )
        )
        try:
            await session.listen(sandbox.listening().every())
        except BaseException:
            await sandbox.destroy()
            raise
        self._started.append(sandbox)
        return sandbox

    async def attach(self, server: str, talking: Talking) -> None:
        """Let the sandboxes of this way ask an MCP server that is a program. Raises GatewayGone."""
        session = await self._opened()
        await session.attach(server, talking.stdin, talking.stdout)

    async def report(self) -> BackendReport:
        return await self._house.backend.report()

    async def door(self) -> tuple[Door, bytes]:
        """Open it for requests of our own, without a sandbox; return the door and the session's authority (PEM)."""
        session = await self._opened()
        return await session.door(), session.authority

    async def count_rows(self, question: SqlQuestion) -> int:
        """Ask a database, without a sandbox. Raises TickoverError (`sql.*`), GatewayGone."""
        return await (await self._opened()).count_rows(question)

    async def _opened(self) -> Session:
        if self._session is None:
            await self._house.gateway.ready()  # what is slow comes before the deadline is read
            passport = await passport_of(self._house, self._record, self._kept, self._identity, self.egress)
            passport = replace(passport, roots=await asyncio.to_thread(more_roots, self.roots))
            self._witness = JournalWitness(self._record, self._identity)
            self._session = await self._house.gateway.open(passport, self._witness)
            if self.bell is not None:
                self._session.hang(self.bell)
            if self.use is not None:
                self._session.lend(self.use)
            self._stop_following = self._kept.follow(self._session.renew)
            self._session.renew(await self._kept.deadline())
            self._watching = asyncio.create_task(self._watch(self._session))
        return self._session

    async def _watch(self, session: Session) -> None:
        """End the sandboxes when the session is gone: their connections are broken off by then."""
        await session.gone.wait()
        self.broken.set()
        for sandbox in self._started:
            await sandbox.kill()

    async def close(self) -> None:
        """End the session: what it saw stands in the journal afterwards. Idempotent."""
        self._stop_following()
        self._stop_following = _nothing
        if self._watching is not None:
            self._watching.cancel()
        if self._session is not None:
            await self._session.close()


def _nothing() -> None:
    """Do nothing."""


class JournalWitness:
    """Writes what a session saw into the run's journal."""

    def __init__(self, record: Scribe, identity: Identity) -> None:
        self._record = record
        self._identity = identity
        self.starved: Cause | None = None

    async def linked(self, links: Sequence[Link]) -> None:
        await self._record.add(*map(receipt_fact, links))

    async def denied(self, denied: Sequence[Denied]) -> None:
        for each in denied:
            if each.code in BUDGET_CODES and self.starved is None:
                self.starved = Cause(Phase.AGENT, CauseCode.BUDGET, each.says)
        await self._record.add(
            *(
                ConnectionDenied(
                    host=each.host, port=each.port, code=each.code, says=each.says, method=each.method,
                    path=each.path, identity=self._identity, times=each.times,
                )
                for each in denied
            )
        )  # fmt: skip

    async def called(self, called: Sequence[Called]) -> None:
        for each in called:
            if each.status in {401, 403}:
                says = f"{each.host} answered {each.status}: set the credential anew (`tickover secret set`)"
                self.starved = Cause(Phase.AGENT, CauseCode.MODEL_AUTH, says)
        await self._record.add(*(ModelCalled(**asdict(each), identity=self._identity) for each in called))

    async def reached(self, reached: Sequence[Reached]) -> None:
        facts = (
            HostReached(host=each.host, port=each.port, rule=each.rule, identity=self._identity) for each in reached
        )
        await self._record.add(*facts)

    async def drifted(self, drifted: Sequence[Drifted]) -> None:
        await self._record.add(*(ReplayDrifted(**asdict(each)) for each in drifted))

    async def sealed(self, head: Head) -> None:
        await self._record.add(ReceiptsSealed(receipt=head.seq, mac=head.mac))


def receipt_fact(link: Link) -> Fact:
    """Return the fact of a link."""
    if isinstance(link.record, Begun):
        return ReceiptBegun(receipt=link.seq, record=link.record, mac=link.mac)
    return ReceiptEnded(receipt=link.seq, record=link.record, mac=link.mac)


async def passport_of(house: House, record: Scribe, kept: Holder, identity: Identity, egress: Egress) -> Passport:
    """Make the passport of one sandbox: the chain goes on where the journal has it."""
    traffic = await asyncio.to_thread(traffic_of, house.store.journal, record.run)
    links = traffic.links
    receipts = traffic.receipts
    return Passport(
        run=record.run,
        attempt=record.attempt,
        identity=identity,
        egress=egress,
        deadline=await kept.deadline(),
        head=Head(links[-1].seq, links[-1].mac) if links else None,
        calls=len(receipts),
        counts=counts_of(receipts),
        spent=await asyncio.to_thread(spent_of, house.store.journal, record.run),
        sealed={} if house.offline else await asyncio.to_thread(sealed_of, house, egress),
    )


def sealed_of(house: House, egress: Egress) -> dict[str, Sealed]:
    """Return the credentials that may be put into requests, as they are stored. Raises SecretNotFoundError."""
    records = [house.store.secrets.get(name) for name in egress.values]
    return {each.name: Sealed(each.kind, each.sealed) for each in records}
