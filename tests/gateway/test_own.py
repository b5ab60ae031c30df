"""This machine's own addresses are found, and no run is let through to them behind a name."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from tickover.core.address import AddressError
from tickover.core.network import Decision, Route
from tickover.gateway.own import own_addresses, screen_as_this_machine


def test_loopback_is_among_them() -> None:
    assert IPv4Address("127.0.0.1") in own_addresses()


def test_every_own_address_is_refused_unless_the_instance_says_so() -> None:
    for address in own_addresses():
        with pytest.raises(AddressError):
            screen_as_this_machine([str(address)], Decision(Route.TUNNEL, "listed", "", "a.test", 443))
    private = Decision(Route.TUNNEL, "listed", "", "a.test", 443, private=True)
    assert [str(each.address) for each in screen_as_this_machine(["127.0.0.1"], private)] == ["127.0.0.1"]
