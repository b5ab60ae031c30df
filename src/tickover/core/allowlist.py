"""The least list of hosts that observed runs needed: what they reached because `environment.network` let them.

Hosts that `may`, a repository or the agent itself opens need no entry, and what was denied is never proposed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tickover.core.event import HostReached
from tickover.core.host import HostError
from tickover.core.network import WEB_PORTS, Endpoint
from tickover.core.receipt import Identity

_LISTED = re.compile(r"environment\.network\[[0-9]+\](?:, preset (?P<preset>[a-z0-9-]+))? \(")


@dataclass(frozen=True, slots=True)
class Allowlist:
    """`entries` is the least list, `unused` what the routine lists now and no observed run reached."""

    entries: tuple[str, ...]
    unused: tuple[str, ...]


def least(reached: Iterable[HostReached], network: Sequence[str] | Literal["none", "observe"]) -> Allowlist:
    """Propose a list from what was reached. A preset stays a preset; a host is named with its port."""
    presets: set[str] = set()
    hosts: set[tuple[str, int]] = set()
    for each in reached:
        found = _LISTED.match(each.rule)
        if each.identity is Identity.VERIFIER or not (found or each.rule == "network: observe"):
            continue
        if found and found["preset"]:
            presets.add(found["preset"])
        else:
            hosts.add((each.host, each.port))
    listed = () if isinstance(network, str) else tuple(network)
    unused = tuple(entry for entry in listed if entry not in presets and not _covers_any(entry, hosts))
    return Allowlist((*sorted(presets), *(f"{host}:{port}" for host, port in sorted(hosts))), unused)


def _covers_any(entry: str, hosts: Iterable[tuple[str, int]]) -> bool:
    try:
        endpoint = Endpoint.parse(entry, WEB_PORTS)
    except HostError:  # a preset's name with a character that no host has
        return False
    return any(endpoint.covers(host, port) for host, port in hosts)
