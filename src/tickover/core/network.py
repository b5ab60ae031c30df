"""The network of one run: which destinations it may reach, how, and why.

`policy_of` collects what the environment, connectors, agent and `may` ask for; the instance's denials win over all
of it. `NetworkPolicy.judge` answers for one destination, and every answer explains itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tickover.core.definition import Environment, Repository
from tickover.core.errors import DefinitionErrors, TickoverError, UsageError, Where
from tickover.core.host import INTERNAL, HostError, HostPattern, canonical, is_internal
from tickover.core.permission import Permission, PushPermission, RequestPermission
from tickover.core.target import read_origin
from tickover.core.text import one_line

WEB_PORTS = (80, 443)
"""The ports of an entry that names none."""

INTERNAL_PORT = 80
"""Where the gateway itself answers, in the clear: what is said there never leaves the machine."""

CREDENTIAL_PORTS = (443,)
"""The port of a credential's host that names none: a credential never goes out in the clear."""


INTERNAL_CODE = "internal"
"""`Decision.code` of the gateway's own name."""


class Route(StrEnum):
    """What happens to a connection. `tunnel`: bytes pass, only the name is checked; `inspect`: requests are read."""

    DENY = "deny"
    TUNNEL = "tunnel"
    INSPECT = "inspect"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host or what is below it, at some ports; no ports means any."""

    host: HostPattern
    ports: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str, ports: tuple[int, ...] = ()) -> Endpoint:
        """Read `host`, `*.host` or `host:port`. `ports` are those of an entry without. Raises HostError."""
        host, colon, port = text.rpartition(":")
        if not colon:
            return cls(HostPattern.parse(text), ports)
        if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535:
            raise HostError(text, "a port is a number from 1 to 65535")
        return cls(HostPattern.parse(host), (int(port),))

    def covers(self, host: str, port: int) -> bool:
        return self.host.covers(host) and (not self.ports or port in self.ports)

    def __str__(self) -> str:
        return f"{self.host}:{self.ports[0]}" if len(self.ports) == 1 else str(self.host)


@dataclass(frozen=True, slots=True)
class Preset:
    """Hosts under one name. Those of an inspected one get GET and HEAD only, save what `may` adds.

    `private` is for hosts that this machine's own configuration names (`packages`), never for data from a file.
    """

    name: str
    hosts: tuple[str, ...]
    inspect: bool = False
    private: bool = False
    learnt: tuple[str, ...] = ()
    """Hosts that only an answer from one of `hosts` named: never private, whatever the others are."""


class Asked(NamedTuple):
    """One entry that somebody asks for: a preset's name, or a host. `by` says who, as people read it."""

    entry: str
    by: str
    inspect: bool = False


class Reach(NamedTuple):
    """What an agent's own program needs: hosts, and the requests (METHOD URL) by which it asks its model."""

    asked: tuple[Asked, ...] = ()
    calls: tuple[str, ...] = ()


class Binding(NamedTuple):
    """A credential granted to this run, and the only hosts (`host`, `*.host`, `host:port`) it may go to."""

    credential: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstanceNetwork:
    """What only the instance's configuration says: never reached, may be private, never inspected (pinned clients)."""

    deny: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    tunnel: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """A hole in the wall, and who asked for it."""

    endpoint: Endpoint
    by: str
    inspect: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Governed:
    """A host whose requests must be read, at any port, and why. A credential goes to the endpoint only."""

    endpoint: Endpoint
    why: str
    credential: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one destination. `code` is stable, `says` is for people, `rule` is what decided."""

    route: Route
    code: str
    says: str
    host: str = ""
    port: int = 0
    rule: str = ""
    private: bool = False
    """Whether its addresses may be private (core/address.py)."""

    @property
    def allowed(self) -> bool:
        return self.route is not Route.DENY


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What one run may reach. `observe`: everything that is not denied, for a person who watches.

    `internal`: the gateway answers at its own name, too (`http://tickover.internal/`).
    """

    openings: tuple[Opening, ...] = ()
    governed: tuple[Governed, ...] = ()
    denied: tuple[Endpoint, ...] = ()
    private: tuple[Endpoint, ...] = ()
    observe: bool = False
    internal: bool = False

    def judge(self, host: str, port: int) -> Decision:
        """Decide about one destination, named as a client names it. Never raises."""
        try:
            name = canonical(host)
        except HostError as error:
            return Decision(Route.DENY, "bad_host", error.message, port=port)
        where = f"{name}:{port}"
        if not 0 < port <= 65535:
            return Decision(Route.DENY, "bad_port", f"{port} is no port", name, port)
        if name == INTERNAL and port == INTERNAL_PORT and self.internal:
            return Decision(Route.INSPECT, INTERNAL_CODE, f"{where} is the gateway itself", name, port, INTERNAL)
        if is_internal(name):
            return Decision(Route.DENY, "reserved", f"{name} is the gateway's own name", name, port)
        for endpoint in self.denied:
            if endpoint.covers(name, port):
                says = f"{where} is denied by this instance (`{endpoint}`), whatever a routine asks"
                return Decision(Route.DENY, "denied_by_instance", says, name, port, rule=str(endpoint))
        found = [opening for opening in self.openings if opening.endpoint.covers(name, port)]
        if not found and not self.observe:
            code, says = self._why_not(name, port)
            return Decision(Route.DENY, code, says, name, port)
        private = any(each.private for each in found) or any(each.covers(name, port) for each in self.private)
        rule = f"{found[0].by} (`{found[0].endpoint}`)" if found else "network: observe"
        why = self._why_inspected(name, port)
        route = Route.INSPECT if why else Route.TUNNEL
        says = f"{where} is allowed by {rule}" + (f"; inspected, because {why}" if why else "; tunnelled")
        return Decision(route, "listed" if found else "observed", says, name, port, rule, private)

    def credentials_for(self, host: str, port: int) -> tuple[str, ...]:
        """Name the credentials that may go to a host (canonical) at a port, in the order of their grants."""
        found = (each.credential for each in self.governed if each.endpoint.covers(host, port))
        return tuple(dict.fromkeys(credential for credential in found if credential))

    def names(self) -> tuple[HostPattern, ...]:
        """List every pattern that DNS answers for."""
        own = [HostPattern(INTERNAL)] if self.internal else []
        return tuple(dict.fromkeys([*(opening.endpoint.host for opening in self.openings), *own]))

    def ports(self) -> tuple[int, ...]:
        """List every port that somebody listens on inside."""
        own = [INTERNAL_PORT] if self.internal else []
        return tuple(sorted({*own, *(port for opening in self.openings for port in opening.endpoint.ports)}))

    def _why_inspected(self, host: str, port: int) -> str:
        for governed in self.governed:
            if governed.endpoint.host.covers(host):
                return governed.why
        return "plain HTTP is read as it passes" if port == 80 else ""

    def _why_not(self, host: str, port: int) -> tuple[str, str]:
        for opening in self.openings:
            if opening.endpoint.host.covers(host):
                ports = ", ".join(map(str, opening.endpoint.ports))
                return "port", f"{host} is on this run's list for port {ports}, not for {port} ({opening.by})"
        says = f"{host}:{port} is not on this run's list"
        for opening in self.openings:
            if opening.endpoint.host.below and opening.endpoint.host.name == host:
                return "not_listed", f"{says}: `{opening.endpoint}` is what is below it, not itself ({opening.by})"
        if not self.openings:
            return "not_listed", f"{says}, which is empty"
        near = difflib.get_close_matches(host, [opening.endpoint.host.name for opening in self.openings], 1, cutoff=0.5)
        entry = next((each for each in self.openings if each.endpoint.host.name in near), None)
        return "not_listed", f"{says}; the nearest entry is `{entry.endpoint}` ({entry.by})" if entry else says


def asked_by(
    environment: Environment, may: Iterable[Permission], repositories: Mapping[str, Repository]
) -> Iterator[Asked]:
    """Yield what a routine itself asks for: its list, and the hosts of `may`."""
    if not isinstance(environment.network, str):
        for index, entry in enumerate(environment.network):
            yield Asked(entry, f"environment.network[{index}]")
    for index, permission in enumerate(may):
        by = f"may[{index}].{permission.kind}"
        if isinstance(permission, RequestPermission):
            yield Asked(_address(permission.to.split(" ", 1)[1]), by, inspect=True)
        elif isinstance(permission, PushPermission) and permission.repo in repositories:
            url = repositories[permission.repo].url
            if url.startswith("https://"):
                yield Asked(_address(url), by, inspect=True)


def _address(url: str) -> str:
    _, host, port = read_origin(url)
    return f"{host}:{port}"


def policy_of(
    asked: Iterable[Asked],
    presets: Mapping[str, Preset],
    instance: InstanceNetwork = InstanceNetwork(),
    bindings: Iterable[Binding] = (),
    *,
    observe: bool = False,
) -> NetworkPolicy:
    """Make a run's policy. Raises DefinitionErrors with every entry that cannot be."""
    problems: list[TickoverError] = []
    openings: list[Opening] = []
    for each in asked:
        try:
            openings += _openings(each, presets)
        except UsageError as error:
            problems.append(_at(error, each.by))
    governed = []
    for credential, hosts in bindings:
        why = f"the credential `{credential}` is bound to it"
        governed += [Governed(Endpoint.parse(host, CREDENTIAL_PORTS), why, credential) for host in hosts]
    for opening in openings:
        if opening.inspect:
            governed.append(Governed(opening.endpoint, f"{opening.by} needs it"))
    tunnelled = [Endpoint.parse(entry) for entry in instance.tunnel]
    problems += _conflicts(governed, tunnelled)
    if problems:
        raise DefinitionErrors(problems)
    return NetworkPolicy(
        openings=tuple(openings),
        governed=tuple(governed),
        denied=tuple(Endpoint.parse(entry) for entry in instance.deny),
        private=tuple(Endpoint.parse(entry) for entry in instance.private),
        observe=observe,
    )


def _openings(asked: Asked, presets: Mapping[str, Preset]) -> Iterator[Opening]:
    if asked.entry in presets:
        preset = presets[asked.entry]
        by = f"{asked.by}, preset {preset.name}"
        for host in (*preset.hosts, *preset.learnt):
            endpoint = Endpoint.parse(host, WEB_PORTS)
            private = preset.private and host not in preset.learnt
            yield Opening(endpoint, by, asked.inspect or preset.inspect, private)
        return
    if not set(asked.entry) & set(".:"):
        near = difflib.get_close_matches(asked.entry, presets, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"there is: {', '.join(sorted(presets)) or 'none'}"
        text = f"there is no preset `{one_line(asked.entry, 64)}`"
        raise UsageError("network.unknown_preset", text, hint=f"{hint}; a host without a dot needs its port")
    endpoint = Endpoint.parse(asked.entry, WEB_PORTS)
    if is_internal(endpoint.host.name):
        raise UsageError("network.reserved", f"`{endpoint}` is the gateway's own name; it is always there")
    if endpoint.host.below and "." not in endpoint.host.name:
        raise UsageError("network.too_wide", f"`{endpoint}` is a whole top-level domain", hint="name the hosts")
    yield Opening(endpoint, asked.by, asked.inspect)


def _at(error: UsageError, by: str) -> UsageError:
    return UsageError(error.code, error.message, hint=error.hint, where=Where(key=by))


def _conflicts(governed: list[Governed], tunnelled: list[Endpoint]) -> Iterator[TickoverError]:
    """Yield what must be read and may not be: a credential or a rule on a host that is only tunnelled."""
    for endpoint in tunnelled:
        why = [each.why for each in governed if _overlap(each.endpoint.host, endpoint.host)]
        for each in dict.fromkeys(why):
            text = f"this instance only tunnels `{endpoint}`, but {each}"
            hint = "what passes unread can neither carry a credential nor be limited"
            yield UsageError("network.credential_on_tunnel", text, hint=hint)


def _overlap(one: HostPattern, other: HostPattern) -> bool:
    if one.below and other.below:
        return f".{one.name}".endswith(f".{other.name}") or f".{other.name}".endswith(f".{one.name}")
    return one.covers(other.name) if one.below else other.covers(one.name)
