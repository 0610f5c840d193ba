"""The address of IPv6 that a packet is sent from: the examples of RFC 6724 (section 10.1), and ours."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import pytest

from vpcctl_lib.reach.links import Held, Link
from vpcctl_lib.reach.sources import preferred


def held(text: str, deprecated: bool = False, unusable: bool = False) -> Held:
    """An address with its prefix, known as far as such addresses are."""
    address = ip_address(text.partition("/")[0])
    scope = "link" if address.is_link_local else "host" if address.is_loopback else "global"
    return Held(address, ip_network(text, strict=False), False, scope, deprecated, unusable)


def chosen(device: str, destination: str, **links: tuple[Held, ...]) -> str:
    found = {name: Link(name, number, True, True, addresses=addresses)
             for number, (name, addresses) in enumerate(links.items())}
    return str(preferred(found, device, IPv6Address(destination)))


@pytest.mark.parametrize(("destination", "addresses", "wanted"), [
    # Rule 1: the same address; 2: the narrowest that is known as far as the destination.
    ("2001:db8:1::1", ("2001:db8:1::1/64", "2001:db8:2::1/64"), "2001:db8:1::1"),
    ("2001:db8:1::1", ("fe80::1/64", "2001:db8:3::1/64"), "2001:db8:3::1"),
    ("fe80::1", ("fe80::2/64", "2001:db8:1::1/64"), "fe80::2"),
    # Rule 6: of the same sort; 8: the longest prefix in common.
    ("2002:c633:6401::1", ("2002:c633:6401::d5e3/64", "2001:db8:1::2/64"), "2002:c633:6401::d5e3"),
    ("fd00:1::1", ("2001:db8:1::2/64", "fd00:2::2/64"), "fd00:2::2"),
    ("2001:db8:1::1", ("2001:db8:3::2/64", "2001:db8:1::2/64"), "2001:db8:1::2"),
    # The first of two that are alike in everything.
    ("fd00:9::1", ("fd00:1::4/128", "fd00:1::5/128"), "fd00:1::4"),
])
def test_the_better_address_is_taken(destination: str, addresses: tuple[str, ...], wanted: str) -> None:
    assert chosen("eth0", destination, eth0=tuple(map(held, addresses))) == wanted


def test_one_that_is_going_comes_after_others_and_one_that_is_tentative_never() -> None:
    old, new = held("2001:db8:1::2/64", deprecated=True), held("2001:db8:2::2/64")
    assert chosen("eth0", "2001:db8:1::1", eth0=(old, new)) == "2001:db8:2::2"
    assert chosen("eth0", "2001:db8:1::1", eth0=(old,)) == "2001:db8:1::2"
    assert chosen("eth0", "2001:db8:1::1", eth0=(held("2001:db8:1::2/64", unusable=True),)) == "::"


def test_other_links_lend_theirs_unless_it_is_about_the_link_itself() -> None:
    loopback = (held("2001:db8:1::1/128"),)
    assert chosen("uplink", "2001:db8:9::1", uplink=(held("fe80::2/64"),), lo=loopback) == "2001:db8:1::1"
    assert chosen("uplink", "fe80::1", uplink=(), lo=loopback) == "::"
    both = {"uplink": (held("2001:db8:5::1/64"),), "lo": loopback}
    assert chosen("uplink", "2001:db8:1::9", **both) == "2001:db8:5::1"
