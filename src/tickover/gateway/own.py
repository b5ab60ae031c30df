"""The addresses of this machine: no run reaches one behind an allowed name.

Source of the formats: linux/net/ipv4/fib_trie.c (`/host LOCAL` below the address's own line), proc(5) for if_inet6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tickover.core.address import Judged, screen
from tickover.core.network import Decision

_LOCAL: Final = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def own_addresses() -> frozenset[IPv4Address | IPv6Address]:
    """Return them as they are now."""
    found: set[IPv4Address | IPv6Address] = set()
    with open("/proc/net/fib_trie", encoding="ascii") as file:
        found.update(map(IPv4Address, _LOCAL.findall(file.read())))
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            found.update(IPv6Address(bytes.fromhex(line.split()[0])) for line in file)
    except FileNotFoundError:  # a kernel without IPv6
        pass
    return frozenset(found)


def screen_as_this_machine(addresses: Sequence[str], decision: Decision) -> Sequence[Judged]:
    """Judge a name's addresses, this machine's own among them. Raises AddressError."""
    return screen(addresses, own_addresses(), private=decision.private)
