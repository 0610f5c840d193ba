"""What iptables and ip6tables call and need differently; pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Protocol

BITS = {Family.INET: 32, Family.INET6: 128}
"""Of an address."""

ADDRESSES: Mapping[Family, type[IPv4Address] | type[IPv6Address]] = {
    Family.INET: IPv4Address, Family.INET6: IPv6Address}

_WORDS = {Protocol.ICMPV6: "ipv6-icmp"}

ERRORS = tuple(f"-p ipv6-icmp -m icmp6 --icmpv6-type {number} -j ACCEPT" for number in (1, 2, 3, 4))
"""Destination unreachable, packet too big, time exceeded, parameter problem: all must pass (RFC 4890, 4.4.1),
also about a connection that is not tracked. Neighbours are permanent, so that nothing asks for them."""


def word(protocol: Protocol) -> str:
    """What the tools and nft call a protocol."""
    return _WORDS.get(protocol, protocol.value)


def named(text: str) -> Protocol:
    """The protocol that they call so; ValueError for an unknown one."""
    return next((one for one, told in _WORDS.items() if told == text), None) or Protocol(text)
