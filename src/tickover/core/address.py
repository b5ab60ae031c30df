"""Resolved addresses: what kind each is, and whether a run may be connected to it.

A name is resolved once, every answer is judged here, and one of the judged addresses is dialled. The table is
IANA's special-purpose registries (IPv4 and IPv6, RFC 6890 and its updates) with the addresses at which clouds
serve credentials to whoever asks. The standard library's `is_private` and the like differ from one Python to the
next, so they are not asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from tickover.core.errors import UsageError

Address = IPv4Address | IPv6Address


class AddressKind(StrEnum):
    """What an address is for."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    OWN = "own"
    METADATA = "metadata"
    LINK_LOCAL = "link_local"
    CGNAT = "cgnat"
    MULTICAST = "multicast"
    BENCHMARK = "benchmark"
    DOCUMENTATION = "documentation"
    UNSPECIFIED = "unspecified"
    RESERVED = "reserved"


SAYS = {
    AddressKind.PUBLIC: "a public address",
    AddressKind.PRIVATE: "a private address",
    AddressKind.LOOPBACK: "this machine's loopback",
    AddressKind.OWN: "an address of this machine",
    AddressKind.METADATA: "a cloud's metadata service, which hands out credentials",
    AddressKind.LINK_LOCAL: "a link-local address",
    AddressKind.CGNAT: "an address shared behind a carrier's NAT",
    AddressKind.MULTICAST: "a multicast address",
    AddressKind.BENCHMARK: "an address for benchmarks",
    AddressKind.DOCUMENTATION: "an address for documentation",
    AddressKind.UNSPECIFIED: "no address of any machine",
    AddressKind.RESERVED: "a reserved address",
}
GRANTABLE = frozenset({AddressKind.PRIVATE, AddressKind.LOOPBACK, AddressKind.OWN, AddressKind.DOCUMENTATION})
"""What the instance's `private: allow` admits for a host. Documentation's addresses lead nowhere on the Internet: where
one answers, somebody has put a mirror there, as behind a private one."""

_K = AddressKind
_TABLE: tuple[tuple[AddressKind, str], ...] = (  # the first that holds the address decides
    (_K.METADATA, "169.254.169.254/32 169.254.170.2/32 169.254.170.23/32 100.100.100.200/32 168.63.129.16/32"),
    (_K.METADATA, "192.0.0.192/32 fd00:ec2::/32 fd20:ce::254/128 fd00:42::42/128 fe80::a9fe:a9fe/128"),
    (_K.LOOPBACK, "127.0.0.0/8 ::1/128"),
    (_K.UNSPECIFIED, "0.0.0.0/8 ::/128"),
    (_K.PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"),
    (_K.LINK_LOCAL, "169.254.0.0/16 fe80::/10"),
    (_K.CGNAT, "100.64.0.0/10"),
    (_K.BENCHMARK, "198.18.0.0/15 2001:2::/48"),
    (_K.DOCUMENTATION, "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"),
    (_K.MULTICAST, "224.0.0.0/4 ff00::/8"),
    (_K.RESERVED, "192.0.0.0/24 192.88.99.0/24 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24 240.0.0.0/4"),
)
_KINDS = tuple((kind, ip_network(net)) for kind, nets in _TABLE for net in nets.split())
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_GLOBAL = tuple(map(IPv6Network, ("2001::/23", "2620:4f:8000::/48")))

_MAPPED = IPv6Network("::ffff:0:0/96")
_TEREDO = IPv6Network("2001::/32")
_CARRIERS = ((_MAPPED, 0), (IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80))
"""Mapped, NAT64, 6to4: whoever dials these dials the IPv4 address so many bits from the right."""
_RELICS = (IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"))
"""IPv4-compatible and IPv4-translated: never public, whatever is inside."""
_ISATAP = (0x00005EFE, 0x02005EFE)
_LOW32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Judged:
    """An address with its kind. `wrapped` is the IPv4 address inside it by which it was judged."""

    address: Address
    kind: AddressKind
    wrapped: IPv4Address | None = None

    def admits(self, *, private: bool) -> bool:
        """Say whether it may be dialled. `private` is what the instance says of the host, never a routine."""
        if self.kind is AddressKind.PUBLIC:
            return True
        plain = self.wrapped is None or self.address in _MAPPED
        return private and plain and self.kind in GRANTABLE

    def __str__(self) -> str:
        inside = f" around {self.wrapped}" if self.wrapped else ""
        return f"{self.address}{inside}, {SAYS[self.kind]}"


def judge(address: Address | str, own: Collection[Address] = ()) -> Judged:
    """Say what kind of address it is. `own` are this machine's. Raises ValueError for what is no address."""
    address = ip_address(address) if isinstance(address, str) else address
    kind = _special(address, own)
    if kind is None and isinstance(address, IPv6Address):
        return _by_what_is_inside(address, own)
    return Judged(address, kind or AddressKind.PUBLIC)


def screen(addresses: Iterable[Address | str], own: Collection[Address] = (), *, private: bool = False) -> list[Judged]:
    """Judge every answer of one resolution, each once, in their order.

    One that may not be dialled spoils them all (a name that answers with a public and a private address is how
    rebinding begins): `refused` names it.
    """
    judged = [judge(address, own) for address in dict.fromkeys(addresses)]
    refused = [each for each in judged if not each.admits(private=private)]
    if refused or not judged:
        raise AddressError(refused, private=private)
    return judged


class AddressError(UsageError):
    """A host resolves to nothing, or to an address that may not be dialled for it."""

    def __init__(self, refused: Sequence[Judged], *, private: bool) -> None:
        self.refused = tuple(refused)
        if not refused:
            super().__init__("address.none", "the name has no address")
            return
        can_be = not private and refused[0].kind in GRANTABLE and refused[0].admits(private=True)
        hint = "the instance can allow it for this host with `private: allow`; a routine cannot" if can_be else ""
        super().__init__(f"address.{refused[0].kind}", f"the name leads to {refused[0]}", hint=hint)


def _special(address: Address, own: Collection[Address]) -> AddressKind | None:
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return AddressKind.LINK_LOCAL
    kind = next((kind for kind, net in _KINDS if address.version == net.version and address in net), None)
    never_own = {AddressKind.METADATA, AddressKind.LINK_LOCAL, AddressKind.LOOPBACK}
    return AddressKind.OWN if address in own and kind not in never_own else kind


def _by_what_is_inside(address: IPv6Address, own: Collection[Address]) -> Judged:
    inside = list(_inside(address))
    for inner in inside:
        kind = _special(inner, own)
        if kind is not None:
            return Judged(address, kind, inner)
    if inside and not any(address in net for net in _RELICS):
        return Judged(address, AddressKind.PUBLIC, inside[0])
    is_global = address in _GLOBAL_UNICAST and not any(address in net for net in _NOT_GLOBAL)
    return Judged(address, AddressKind.PUBLIC if is_global else AddressKind.RESERVED)


def _inside(address: IPv6Address) -> Iterator[IPv4Address]:
    value = int(address)
    carriers = (*_CARRIERS, *((net, 0) for net in _RELICS))
    yield from (IPv4Address(value >> shift & _LOW32) for net, shift in carriers if address in net)
    if address in _TEREDO:
        yield IPv4Address(value >> 64 & _LOW32)
        yield IPv4Address(~value & _LOW32)
    if value >> 32 & _LOW32 in _ISATAP and address in _GLOBAL_UNICAST:
        yield IPv4Address(value & _LOW32)
