"""Which of its addresses of IPv6 a namespace sends from (RFC 6724), as net/ipv6/addrconf.c chooses; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network

from vpcctl_lib.model.addressing import Address
from vpcctl_lib.reach.links import Held, Link

NOBODY = IPv6Address(0)
SCOPES = {"host": 1, "link": 2, "site": 5, "global": 14}
"""How far an address is known (RFC 4291, 2.7)."""

LABELS = {IPv6Network(text): label for text, label in (
    ("::1/128", 0), ("::/0", 1), ("2002::/16", 2), ("::/96", 3), ("::ffff:0:0/96", 4), ("fc00::/7", 5),
    ("2001::/32", 6), ("2001:10::/28", 7))}
"""net/ipv6/addrlabel.c: an address of the same sort as the destination is better."""

BITS = 128


def preferred(links: Mapping[str, Link], device: str, destination: Address) -> Address:
    """The address for packets that leave by a link; unspecified if there is none.

    __ipv6_dev_get_saddr(): those of all links are compared, unless the destination is on the link itself.
    """
    known = [(one, link.name == device) for link in links.values()
             if link.name == device or not _is_near(destination)
             for one in link.addresses if not one.unusable]
    best = max(known, key=lambda one: tuple(_points(one[0], one[1], int(destination))),
               default=None)
    return best[0].address if best else NOBODY


def _is_near(destination: Address) -> bool:
    return destination.is_link_local or destination.is_multicast


def _points(one: Held, is_there: bool, destination: int) -> Iterator[int]:
    """The rules of RFC 6724 (section 5) in order: 1, 2, 3, 5, 6, 8; more is better."""
    yield int(one.address) == destination
    wide, wanted = SCOPES.get(one.scope, 0), _scope(destination)
    # The narrowest that is wide enough, else the widest.
    yield -wide if wide >= wanted else wide - BITS
    yield not one.deprecated
    yield is_there
    yield _label(int(one.address)) == _label(destination)
    yield min(_common(int(one.address), destination), one.network.prefixlen)


def _scope(destination: int) -> int:
    address = IPv6Address(destination)
    return SCOPES["host" if address.is_loopback else "link" if _is_near(address) else "global"]


def _label(address: int) -> int:
    fitting = (network for network in LABELS if IPv6Address(address) in network)
    return LABELS[max(fitting, key=lambda network: network.prefixlen)]


def _common(one: int, other: int) -> int:
    """How many bits at the beginning are the same (ipv6_addr_diff)."""
    return BITS - (one ^ other).bit_length()
