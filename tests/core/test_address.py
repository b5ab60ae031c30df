from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickover.core.address import GRANTABLE, SAYS, AddressError, AddressKind, judge, screen

OWN = (ip_address("93.184.216.34"), ip_address("10.1.2.3"), ip_address("fe80::7"), ip_address("2606:2800::1"))

KINDS = {
    "8.8.8.8": "public",
    "1.1.1.1": "public",
    "172.15.255.255": "public",
    "172.32.0.0": "public",
    "198.17.255.255": "public",
    "198.20.0.0": "public",
    "100.63.255.255": "public",
    "100.128.0.0": "public",
    "223.255.255.255": "public",
    "2606:4700::1111": "public",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "fd12:3456::1": "private",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "192.0.0.192": "metadata",
    "fd00:ec2::254": "metadata",
    "fd00:ec2:ffff::": "metadata",
    "fd20:ce::254": "metadata",
    "169.254.1.1": "link_local",
    "fe80::1": "link_local",
    "fe80::1%eth0": "link_local",
    "2606:4700::1111%1": "link_local",
    "100.64.0.1": "cgnat",
    "224.0.0.251": "multicast",
    "ff02::1": "multicast",
    "198.18.0.1": "benchmark",
    "2001:2::1": "benchmark",
    "203.0.113.9": "documentation",
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "192.0.0.8": "reserved",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "fec0::1": "reserved",
    "100::1": "reserved",
    "5f00::1": "reserved",
    "2001:10::1": "reserved",
    "4000::1": "reserved",
    "64:ff9b:1::7f00:1": "reserved",
}
WRAPPED = {
    "::ffff:127.0.0.1": "loopback",
    "::ffff:10.0.0.1": "private",
    "::ffff:169.254.169.254": "metadata",
    "::ffff:8.8.8.8": "public",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "metadata",
    "64:ff9b::808:808": "public",
    "2002:a00:1::": "private",
    "2002:7f00:1::1": "loopback",
    "2002:808:808::1": "public",
    "2001:0:7f00:1:0:ffff:f7f7:f7f7": "loopback",
    "2001:0:808:808:0:ffff:80ff:fffe": "loopback",
    "2001:0:808:808:0:ffff:f7f7:f7f7": "public",
    "::127.0.0.1": "loopback",
    "::8.8.8.8": "reserved",
    "::ffff:0:a00:1": "private",
    "::ffff:0:808:808": "reserved",
    "2606:4700::5efe:7f00:1": "loopback",
    "2606:4700::200:5efe:a00:1": "private",
}


@pytest.mark.parametrize(("address", "kind"), (KINDS | WRAPPED).items(), ids=[*KINDS, *WRAPPED])
def test_an_address_is_of_this_kind(address: str, kind: str) -> None:
    assert judge(address).kind == kind


@pytest.mark.parametrize("address", KINDS)
def test_without_a_grant_only_the_public_is_dialled_and_with_one_the_private_too(address: str) -> None:
    judged = judge(address)
    assert judged.admits(private=False) is (KINDS[address] == "public")
    assert judged.admits(private=True) is (KINDS[address] in {"public", "private", "loopback", "documentation"})


@pytest.mark.parametrize("address", WRAPPED)
def test_a_grant_for_private_addresses_does_not_reach_into_a_tunnel(address: str) -> None:
    plain = address in {"::ffff:127.0.0.1", "::ffff:10.0.0.1"}
    assert judge(address).admits(private=True) is (WRAPPED[address] == "public" or plain)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.216.34", "own"),
        ("::ffff:93.184.216.34", "own"),
        ("64:ff9b::5db8:d822", "own"),
        ("10.1.2.3", "own"),
        ("2606:2800::1", "own"),
        ("fe80::7", "link_local"),
        ("93.184.216.35", "public"),
    ],
)
def test_this_machine_s_own_addresses_are_no_public_ones(address: str, kind: str) -> None:
    judged = judge(address, OWN)
    assert judged.kind == kind
    assert judged.admits(private=False) is (kind == "public")


@given(st.ip_addresses(v=4))
@example(IPv4Address(1))
def test_a_wrapped_address_is_never_judged_milder_than_the_one_inside(inner: IPv4Address) -> None:
    alone = judge(inner)
    for wrapped in (
        IPv6Address(0xFFFF << 32 | int(inner)),
        IPv6Address((0x64FF9B << 96) | int(inner)),
        IPv6Address(0x2002 << 112 | int(inner) << 80),
        IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | (~int(inner) & 0xFFFFFFFF)),
        IPv6Address(0x20010000 << 96 | int(inner) << 64 | 0x08080808),
        IPv6Address(int(inner) if int(inner) != 1 else 0),  # ::1 wraps nothing: it is the loopback
    ):
        for private in (False, True):
            assert alone.admits(private=private) or not judge(wrapped).admits(private=private)


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_not_public(address: IPv4Address | IPv6Address) -> None:
    if judge(address).kind is AddressKind.PUBLIC:
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast
        assert not address.is_unspecified
        inside = isinstance(address, IPv6Address) and (address.ipv4_mapped or address.teredo)
        assert inside or not address.is_private


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([], "address.none"),
        (["8.8.8.8", "10.0.0.1"], "address.private"),
        (["10.0.0.1", "8.8.8.8"], "address.private"),
        (["169.254.169.254"], "address.metadata"),
        (["64:ff9b::7f00:1"], "address.loopback"),
    ],
    ids=["none", "public first, private second", "private first", "metadata", "NAT64 around loopback"],
)
def test_one_bad_answer_spoils_them_all(answers: list[str], code: str) -> None:
    with pytest.raises(AddressError) as caught:
        screen(answers)
    assert caught.value.code == code


def test_each_answer_is_dialled_in_its_order_and_once() -> None:
    judged = screen(["8.8.8.8", "2606:4700::1111", "8.8.8.8"])
    assert [str(each.address) for each in judged] == ["8.8.8.8", "2606:4700::1111"]


def test_the_refusal_names_the_address_and_who_can_allow_it() -> None:
    with pytest.raises(AddressError) as caught:
        screen(["::ffff:10.0.0.1"])
    assert caught.value.message.endswith(" around 10.0.0.1, a private address")
    assert "private: allow" in caught.value.hint
    for never, private in (("169.254.169.254", False), ("64:ff9b::7f00:1", False), ("100.100.100.200", True)):
        with pytest.raises(AddressError) as caught:
            screen([never], private=private)
        assert not caught.value.hint
    assert screen(["10.0.0.1", "127.0.0.1"], private=True)


def test_every_kind_has_words_and_metadata_is_never_granted() -> None:
    assert set(SAYS) == set(AddressKind)
    assert {AddressKind.PRIVATE, AddressKind.LOOPBACK, AddressKind.OWN, AddressKind.DOCUMENTATION} == GRANTABLE


def test_what_is_no_address_is_an_error() -> None:
    for text in ("127.1", "0x7f000001", "2130706433", "0177.0.0.1", "example.com", ""):
        with pytest.raises(ValueError, match="does not appear"):
            judge(text)
