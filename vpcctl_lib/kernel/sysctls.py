"""The kernel settings of our namespaces, each with its reason: a new namespace inherits the host's; pure.

A new namespace inherits `net.ipv4.conf.all` and `.default` of the host (net.core.devconf_inherit_init_net),
which an administrator sets for the host's own purposes. The kernel's Documentation/networking/ip-sysctl.rst
explains them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import cache

from vpcctl_lib.frozen import frozen


class Profile(Enum):
    """The kinds of namespace; the number counts the versions of the table below."""

    ROUTER = "router 2"
    SUBNET = "subnet 2"
    FORWARDER = "forwarder 1"
    """A machine's that forwards packets."""

    TAP = "tap 1"
    """A machine's that forwards to a virtual machine, and answers for everybody else there."""

    DUAL_ROUTER = "router with IPv6 1"
    DUAL_SUBNET = "subnet with IPv6 1"
    DUAL_FORWARDER = "forwarder with IPv6 2"
    DUAL_TAP = "tap with IPv6 1"

    @property
    def dual(self) -> Profile:
        """The same kind of namespace in a VPC that has IPv6."""
        return _DUAL.get(self, self)

    @property
    def single(self) -> Profile:
        """The same kind of namespace in a VPC without IPv6."""
        return next((one for one, dual in _DUAL.items() if dual is self), self)


_DUAL = {Profile.ROUTER: Profile.DUAL_ROUTER, Profile.SUBNET: Profile.DUAL_SUBNET,
         Profile.FORWARDER: Profile.DUAL_FORWARDER, Profile.TAP: Profile.DUAL_TAP}


@frozen
class Setting:
    """One key; `router` and `subnet` are its values there, None if it is left alone.

    If it `forwards`, a machine that forwards has the router's value.
    A virtual machine's may have a third, `tap`.
    """

    key: str
    router: str | None
    subnet: str | None
    reason: str
    forwards: bool = False
    tap: str = ""

    def value(self, profile: Profile) -> str | None:
        """Its value in that kind of namespace."""
        kind = profile.single
        if kind is Profile.TAP and self.tap:
            return self.tap
        is_router = kind is Profile.ROUTER or (kind is not Profile.SUBNET and self.forwards)
        return self.router if is_router else self.subnet


def _both(key: str, value: str, reason: str, tap: str = "") -> Setting:
    return Setting(key, value, value, reason, tap=tap)


OFF = _both("net.ipv6.conf.all.disable_ipv6", "1", "fe80:: would bypass every IPv4 rule")
"""Not where a VPC has IPv6: writing it takes all of IPv6 from all links (addrconf_disable_ipv6)."""

WHOLE = (
    OFF,
    _both("net.ipv6.conf.default.disable_ipv6", "1", "the same for new links"),
    # Before the settings of links: the kernel rewrites some of those when this one changes.
    Setting("net.ipv4.ip_forward", "1", "0", "a router forwards packets, a machine in a subnet does not",
            forwards=True),
    # A kind of error outside the mask has no limit: neither icmp_ratelimit, which is for each sender,
    # nor icmp_msgs_per_sec and icmp_msgs_burst, which are for all (icmpv4_mask_allow() of net/ipv4/icmp.c).
    _both("net.ipv4.icmp_ratemask", "0",
          "else the kernel answers only the first few refused senders, and the others wait"),
    Setting("net.bridge.bridge-nf-call-iptables", "0", None,
            "its default is 1 if br_netfilter is loaded: switched frames would meet FORWARD"),
    Setting("net.ipv4.ip_unprivileged_port_start", None, "0",
            "a workload without capabilities serves port 80"),
    Setting("net.ipv4.ping_group_range", None, "0 2147483647", "a workload without capabilities can ping"),
)
"""Those of a whole namespace, in the order in which they are set."""

DUAL = (
    Setting("net.ipv6.conf.all.forwarding", "1", "0",
            "a router forwards packets, a machine in a subnet does not", forwards=True),
    Setting("net.ipv6.icmp.ratelimit", "0", None,
            "else the kernel answers only the first few refused senders, and the others wait"),
    Setting("net.bridge.bridge-nf-call-ip6tables", "0", None,
            "its default is 1 if br_netfilter is loaded: switched frames would meet FORWARD"),
)
"""Those of a whole namespace of a VPC with IPv6, besides."""

DUAL_LINK = (
    ("addr_gen_mode", "1"), ("accept_ra", "0"), ("autoconf", "0"), ("router_solicitations", "0"),
    ("accept_redirects", "0"), ("accept_source_route", "-1"), ("keep_addr_on_down", "1"),
    ("ndisc_notify", "0"), ("proxy_ndp", "0"),
    ("disable_ipv6", "0"),
)
"""Those of each of our links there: no address and no router but ours, no way that a sender chooses (RFC 5095
retired routing headers of type 0; 0 would still take type 2), and addresses outlast a link that is down."""

LINKS = (
    _both("accept_local", "0", "a packet from outside with one's own address is forged"),
    _both("accept_redirects", "0", "a neighbour could redirect the packets to any address"),
    _both("accept_source_route", "0", "the sender must not choose the way"),
    _both("arp_accept", "0", "an unrequested answer must not make an entry"),
    _both("arp_announce", "0", "1 and 2 may ask with an address that a peer does not know"),
    _both("arp_filter", "0", "answers must not depend on routes"),
    _both("arp_ignore", "0", "a host with strictARP has 1: nobody would answer on an unnumbered peering"),
    _both("bc_forwarding", "0", "a broadcast stays where it is"),
    _both("bootp_relay", "0", "nobody relays DHCP"),
    _both("drop_gratuitous_arp", "0", "a recreated machine may announce itself"),
    Setting("drop_unicast_in_l2_multicast", "1", None,
            "a unicast packet in a broadcast frame is forged"),
    _both("log_martians", "0", "a tenant could fill the host's kernel log"),
    _both("proxy_arp", "0", "a router answers only for itself; the bridge's ports answer for machines; to a "
          "virtual machine, its namespace is everybody else", tap="1"),
    _both("proxy_arp_pvlan", "0", "the same"),
    _both("route_localnet", "0", "127.0.0.0/8 of one machine is never another's"),
    _both("rp_filter", "0", "the rules say which source may come from where, and refuse with an answer; a "
          "virtual machine has its own addresses only", tap="1"),
    _both("secure_redirects", "1", "if redirects were accepted, then only a gateway's"),
    Setting("send_redirects", "0", None, "a router must not announce a shorter way past itself",
            forwards=True),
    _both("src_valid_mark", "0", "a packet's mark must not decide where it may come from"),
)
"""Those of links (net.ipv4.conf): for all, for new ones, and for each of ours."""

BRIDGE = (
    Setting("mcast_solicit", "1", None, "all machines are known: one question about others is enough"),
    # A multiple of every possible jiffy: 100, 250, 300 or 1,000 a second.
    Setting("retrans_time_ms", "20", None,
            "an address that nobody has is given up at once: until then it takes one of the 1,024 places "
            "(gc_thresh3) that all namespaces share, and its sender waits for an answer"),
)
"""Those of a router's bridge, for its neighbours (net.ipv4.neigh)."""


@cache
def whole(profile: Profile) -> tuple[tuple[str, str], ...]:
    """The settings of a namespace of that kind as a whole."""
    if profile is profile.single:
        return tuple(_pairs(WHOLE, profile))
    return tuple(_pairs((*(one for one in WHOLE if one is not OFF), *DUAL), profile))


@cache
def links(profile: Profile) -> tuple[tuple[str, str], ...]:
    """The settings of its links, by the last part of the key."""
    return tuple(_pairs(LINKS, profile))


def guest(interface: str, has_ipv6: bool = False) -> tuple[tuple[str, str], ...]:
    """The settings of our link in a namespace that somebody else made."""
    own = ((f"net.ipv4.conf.{interface}.{key}", value) for key, value in links(Profile.SUBNET))
    return tuple(own) if has_ipv6 else (*off(interface), *own)


def dual(device: str, with_lo: bool) -> tuple[tuple[str, str], ...]:
    """The settings of a link that has IPv6, perhaps with those of `lo`: for ::1, and for a machine's own."""
    own = tuple((f"net.ipv6.conf.{device}.{key}", value) for key, value in DUAL_LINK)
    return (*own, ("net.ipv6.conf.lo.disable_ipv6", "0")) if with_lo else own


def off(device: str) -> tuple[tuple[str, str], ...]:
    """The setting of a link without IPv6."""
    return ((f"net.ipv6.conf.{device}.disable_ipv6", "1"),)


def bridge(device: str) -> tuple[tuple[str, str], ...]:
    """The settings of a router's bridge."""
    return tuple((f"net.ipv4.neigh.{device}.{key}", value) for key, value in _pairs(BRIDGE, Profile.ROUTER))


def tap(device: str) -> tuple[tuple[str, str], ...]:
    """The settings of a tap: questions for others' addresses are answered at once, not after up to 0.8 s."""
    return ((f"net.ipv4.neigh.{device}.proxy_delay", "0"),)


def _pairs(table: tuple[Setting, ...], profile: Profile) -> Iterator[tuple[str, str]]:
    for setting in table:
        value = setting.value(profile)
        if value is not None:
            yield setting.key, value
