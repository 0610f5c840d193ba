"""What the kernel has in one namespace, over netlink, in the words of `ip -j -d` (rtnetlink(7)).

Starting `ip` once takes longer than everything here together, and `reach` asks a thousand namespaces.
What nobody here needs is left out; what decides about packets and is unknown gets a key of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from vpcctl_lib.kernel.netlink import (
    Netlink,
    attribute,
    attributes,
    each_attribute,
    number,
    text,
    unsigned,
)

Said = dict[str, Any]

_LINKS, _ADDRESSES, _ROUTES, _NEIGHBOURS, _RULES, _QUEUES = 18, 22, 26, 30, 34, 38
"""RTM_GET… of linux/rtnetlink.h."""

_INET, _INET6, _BRIDGE = 2, 10, 7
_FAMILIES = {_INET: "inet", _INET6: "inet6"}
_LINK, _ADDRESS = struct.Struct("=BxHiII"), struct.Struct("=BBBBI")
_ROUTE, _HOP = struct.Struct("=BBBBBBBBI"), struct.Struct("=HBBi")
_RULE, _NEIGHBOUR = struct.Struct("=BBBBBxxBI"), struct.Struct("=BxxxiHBB")
_QUEUE = struct.Struct("=BxxxiIII")
_ROOT = 0xFFFFFFFF
_BUCKET = struct.Struct("=8xI12xIII")
"""struct tc_tbf_qopt of linux/pkt_sched.h: the rate, the most that waits, what may go at once."""

_WITHOUT_COUNTERS = attribute(29, struct.pack("=I", 1 << 3))
"""IFLA_EXT_MASK with RTEXT_FILTER_SKIP_STATS."""

_UP, _RUNNING = 1, 0x40
_FLAGS = {2: "BROADCAST", 8: "LOOPBACK", 0x10: "POINTOPOINT", 0x80: "NOARP", 0x100: "PROMISC",
          1: "UP", 0x10000: "LOWER_UP"}
_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
_PORT = {8: "learning", 9: "flood", 10: "proxy_arp", 27: "mcast_flood", 30: "bcast_flood",
         32: "neigh_suppress", 33: "isolated", 4: "hairpin", 38: "locked"}
"""IFLA_BRPORT_… of linux/if_link.h."""

_BRIDGES = {7: "vlan_filtering", 36: "nf_call_iptables", 37: "nf_call_ip6tables", 38: "nf_call_arptables"}
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_TABLES = {253: "default", 254: "main", 255: "local"}
_AGES = {0x08: "dadfailed", 0x20: "deprecated", 0x40: "tentative"}
"""IFA_F_… of linux/if_addr.h: what an address of IPv6 is not good for, or not yet."""

_KINDS = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole",
          7: "unreachable", 8: "prohibit", 9: "throw", 10: "nat", 11: "xresolve"}
_MAKERS = {0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 11: "zebra", 12: "bird",
           16: "dhcp", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp"}
"""/etc/iproute2/rt_protos, by which `ip` names who adds routes."""

_CLONED = 0x200
_WAYS = {1: "dead", 2: "pervasive", 4: "onlink", 8: "offload", 16: "linkdown", 32: "unresolved", 64: "trap"}
_METRICS = {2: "mtu", 3: "window", 4: "rtt", 5: "rttvar", 6: "ssthresh", 7: "cwnd", 8: "advmss",
            9: "reordering", 10: "hoplimit", 11: "initcwnd", 12: "features", 13: "rto_min", 14: "initrwnd",
            15: "quickack", 16: "congctl", 17: "fastopen_no_cookie"}
_READ_OF_ROUTE = frozenset({1, 4, 5, 6, 7, 8, 9, 12, 15, 24, 30})
_ODD_IN_ROUTE = {2: "from", 3: "iif", 11: "flow", 16: "mark", 18: "via", 19: "as", 20: "pref", 21: "encap",
                 22: "encap", 23: "expires", 26: "ttl-propagate"}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 58: "ipv6-icmp"}
_READ_OF_RULE = frozenset({1, 2, 3, 6, 10, 14, 15, 16, 17, 18, 21, 22})
_ODD_IN_RULE = {4: "goto", 11: "flow", 12: "tun_id", 13: "suppress_ifgroup", 19: "l3mdev", 20: "uid_start",
                23: "sport", 24: "dport", 25: "dscp"}
_NOT = 2
_LOOK_UP, _GO_TO, _NOTHING = 1, 2, 3
_NO_LIMIT = 0xFFFFFFFF
_NUD = {1: "INCOMPLETE", 2: "REACHABLE", 4: "STALE", 8: "DELAY", 16: "PROBE", 32: "FAILED", 64: "NOARP",
        128: "PERMANENT"}
_NOARP, _PERMANENT = 64, 128
_IN_STATIONS = {_NOARP: "static", _PERMANENT: "permanent", 4: "stale"}
"""NUD_… of linux/neighbour.h, in the words of bridge(8)."""


class Network:
    """What is in the namespace of the calling thread; OSError if the kernel does not say it."""

    def __init__(self) -> None:
        self._netlink = Netlink()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.__exit__()

    @cached_property
    def _raw(self) -> list[tuple[int, int, dict[int, bytes]]]:
        """All links: index, flags, attributes."""
        body = _LINK.pack(0, 0, 0, 0, 0) + _WITHOUT_COUNTERS
        found = []
        for _, said in self._netlink.listing(_LINKS, body):
            _, _, index, flags, _ = _LINK.unpack_from(said)
            found.append((index, flags, attributes(said, _LINK.size)))
        return found

    @cached_property
    def _names(self) -> dict[int, str]:
        return {index: text(parts[3]) for index, _, parts in self._raw}

    def _name(self, index: int) -> str:
        """As `ip` names a link that came after the others were listed."""
        return self._names.get(index) or f"if{index}"

    def links(self) -> list[Said]:
        """As `ip -j -d addr show`."""
        held = self._addresses()
        return [self._link(index, flags, parts) | {"addr_info": held.get(index, [])}
                for index, flags, parts in self._raw]

    def _link(self, index: int, flags: int, parts: dict[int, bytes]) -> Said:
        kind = attributes(parts[18]) if 18 in parts else {}
        return {"ifindex": index, "ifname": text(parts[3]), "flags": _flags(flags),
                "mtu": unsigned(parts.get(4, b"")), **self._beyond(parts),
                **({"master": self._name(number(parts[10]))} if 10 in parts else {}),
                **({"address": parts[1].hex(":")} if parts.get(1) else {}),
                **({"linkinfo": _kind(kind)} if kind else {}),
                **({"ifalias": text(parts[20])} if 20 in parts else {}),
                **({"altnames": list(_altnames(parts[52]))} if 52 in parts else {}),
                **({"xdp": {}} if any(attributes(parts.get(43, b"")).get(2, b"")) else {})}

    def _beyond(self, parts: dict[int, bytes]) -> Said:
        """What is at the other end of a cable, or below."""
        other = number(parts.get(5, b""))
        if 37 not in parts:
            return {"link": self._name(other)} if other else {}
        there = number(parts[37])
        return {"link_index": other, **({"link_netnsid": there} if there >= 0 else {})}

    def _addresses(self) -> dict[int, list[Said]]:
        found: dict[int, list[Said]] = {}
        for _, said in self._netlink.listing(_ADDRESSES, _ADDRESS.pack(0, 0, 0, 0, 0)):
            family, length, flags, scope, index = _ADDRESS.unpack_from(said)
            parts = attributes(said, _ADDRESS.size)
            if family not in _FAMILIES or not parts.keys() & {1, 2}:
                continue
            local, far = parts.get(2, parts.get(1, b"")), parts.get(1)
            found.setdefault(index, []).append({
                "family": _FAMILIES[family], "local": _address(local), "prefixlen": length,
                **({"address": _address(far)} if far and far != local else {}), "scope": _scope(scope),
                **({"secondary": True} if flags & 1 and family == _INET else {}),
                **({name: True for bit, name in _AGES.items() if flags & bit} if family == _INET6 else {})})
        return found

    def routes(self, family: int = _INET) -> list[Said]:
        """As `ip -j -d -4 route show table all`."""
        body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        return [self._route(said) for _, said in self._netlink.listing(_ROUTES, body)
                if not _ROUTE.unpack_from(said)[8] & _CLONED]

    def routes6(self) -> list[Said]:
        """As `ip -j -d -6 route show table all`."""
        return self.routes(_INET6)

    def main_routes(self, family: int = _INET) -> list[Said]:
        """As `ip -j -4 route show table main`, which leaves out the usual type."""
        return [{key: value for key, value in route.items() if (key, value) != ("type", "unicast")}
                for route in self.routes(family) if route["table"] == "main"]

    def main_routes6(self) -> list[Said]:
        """As `ip -j -6 route show table main`."""
        return self.main_routes(_INET6)

    def _route(self, said: bytes) -> Said:
        _, length, _, tos, table, maker, scope, kind, flags = _ROUTE.unpack_from(said)
        parts = attributes(said, _ROUTE.size)
        return {"type": _KINDS.get(kind, str(kind)), "dst": _destination(parts.get(1), length),
                **self._way(parts), "table": _table(unsigned(parts[15]) if 15 in parts else table),
                "protocol": _MAKERS.get(maker, str(maker)), "scope": _scope(scope),
                "flags": _named(_WAYS, flags),
                **({"prefsrc": _address(parts[7])} if 7 in parts else {}),
                **({"metric": unsigned(parts[6])} if 6 in parts else {}),
                **({"metrics": [_metrics(parts[8])]} if 8 in parts else {}),
                **({"nhid": unsigned(parts[30])} if 30 in parts else {}),
                **({"nexthops": list(self._hops(parts[9]))} if 9 in parts else {}),
                **({"tos": f"{tos:#04x}"} if tos else {}), **_odd(parts, _READ_OF_ROUTE, _ODD_IN_ROUTE)}

    def _way(self, parts: dict[int, bytes]) -> Said:
        return {**({"gateway": _address(parts[5])} if 5 in parts else {}),
                **({"dev": self._name(number(parts[4]))} if 4 in parts else {})}

    def _hops(self, said: bytes) -> Iterator[Said]:
        start = 0
        while start + _HOP.size <= len(said):
            length, flags, weight, index = _HOP.unpack_from(said, start)
            if length < _HOP.size:
                return
            parts = attributes(said[start + _HOP.size:start + length])
            yield {**self._way(parts), "dev": self._name(index), "weight": weight + 1,
                   "flags": _named(_WAYS, flags), **_odd(parts, _READ_OF_ROUTE, _ODD_IN_ROUTE)}
            start += (length + 3) & ~3

    def route_rules(self, family: int = _INET) -> list[Said]:
        """As `ip -j -d -4 rule show`."""
        body = _RULE.pack(family, 0, 0, 0, 0, 0, 0)
        return [_rule(said) for _, said in self._netlink.listing(_RULES, body)]

    def route_rules6(self) -> list[Said]:
        """As `ip -j -d -6 rule show`."""
        return self.route_rules(_INET6)

    def neighbours6(self) -> list[Said]:
        """As `ip -j -6 neigh show`."""
        return self.neighbours(_INET6)

    def neighbours(self, family: int = _INET) -> list[Said]:
        """As `ip -j -4 neigh show`, which leaves out what needs no MAC."""
        return [{"dst": _address(parts[1]), "dev": self._name(index), "state": _named(_NUD, state),
                 **({"lladdr": parts[2].hex(":")} if 2 in parts else {})}
                for index, state, parts in self._near(family) if state & ~_NOARP and 1 in parts]

    def stations(self) -> list[Said]:
        """As `bridge -j fdb show`, without what is no bridge's."""
        return [{"mac": parts[2].hex(":"), "ifname": self._name(index),
                 "master": self._name(number(parts[9])),
                 "state": next((word for bit, word in _IN_STATIONS.items() if state & bit), "")}
                for index, state, parts in self._near(_BRIDGE) if parts.keys() >= {2, 9}]

    def _near(self, family: int) -> Iterator[tuple[int, int, dict[int, bytes]]]:
        body = _NEIGHBOUR.pack(family, 0, 0, 0, 0)
        for _, said in self._netlink.listing(_NEIGHBOURS, body):
            _, index, state, _, _ = _NEIGHBOUR.unpack_from(said)
            yield index, state, attributes(said, _NEIGHBOUR.size)

    def chains(self) -> list[Said]:
        """As `nft -j list chains`."""
        # Imported late: only `reach` asks for them.
        from vpcctl_lib.kernel.nftables import chains

        return chains()

    def queues(self) -> list[Said]:
        """As `tc -j qdisc show`."""
        found = []
        for _, said in self._netlink.listing(_QUEUES, _QUEUE.pack(0, 0, 0, 0, 0)):
            parts, (_, index, _, parent, _) = attributes(said, _QUEUE.size), _QUEUE.unpack_from(said)
            kind = text(parts[1])
            found.append({"kind": kind, "dev": self._name(index),
                          **({"root": True} if parent == _ROOT else {}),
                          **self._queue(kind, index, attributes(parts.get(2, b"")))})
        return found

    def _queue(self, kind: str, index: int, options: dict[int, bytes]) -> Said:
        """What more there is of those that we know: a limit, and what is looked for in packets."""
        if kind == "tbf" and 1 in options:
            rate, limit, _, _ = _BUCKET.unpack_from(options[1])
            # The first has no room for more than 34 Gbit/s.
            whole = unsigned(options[4]) if 4 in options else rate
            return {"options": {"rate": whole}, "limit": limit}
        if kind == "clsact":
            # Imported late: few links have any.
            from vpcctl_lib.kernel.filters import filters

            return {"filters": filters(self._netlink, index, self._name)}
        return {}


def answers(names: Iterable[str]) -> list[list[Said]]:
    """What the methods of these names tell of the namespace of the calling thread."""
    with Network() as network:
        return [getattr(network, name)() for name in names]


def _flags(flags: int) -> list[str]:
    lost = ["NO-CARRIER"] if flags & _UP and not flags & _RUNNING else []
    return lost + _named(_FLAGS, flags)


def _named(names: dict[int, str], bits: int) -> list[str]:
    return [name for bit, name in names.items() if bits & bit]


def _altnames(said: bytes) -> Iterator[str]:
    return (text(name) for kind, name in each_attribute(said) if kind == 53)


def _kind(parts: dict[int, bytes]) -> Said:
    kind, above = text(parts.get(1, b"")), text(parts.get(4, b""))
    found: Said = {"info_kind": kind} if kind else {}
    if kind == "bridge" and 2 in parts:
        held = attributes(parts[2])
        found["info_data"] = {name: held[part][0] for part, name in _BRIDGES.items() if part in held}
    if kind == "vxlan" and 2 in parts:
        # Imported late: few networks have any.
        from vpcctl_lib.kernel.tunnels import vxlan

        found["info_data"] = vxlan(attributes(parts[2]))
    if above:
        found["info_slave_kind"] = above
    if above == "bridge" and 5 in parts:
        held = attributes(parts[5])
        state = held[1][0] if 1 in held else len(_STATES)
        found["info_slave_data"] = {
            "state": _STATES[state] if state < len(_STATES) else f"state {state}",
            **{name: bool(held[part][0]) for part, name in _PORT.items() if part in held}}
    return found


def _address(value: bytes) -> str:
    return str(IPv4Address(value) if len(value) == 4 else IPv6Address(value))


def _scope(scope: int) -> str:
    return _SCOPES.get(scope, str(scope))


def _table(table: int) -> str:
    return _TABLES.get(table, str(table))


def _destination(value: bytes | None, length: int) -> str:
    if value is None:
        return "default" if not length else f"0/{length}"
    return _address(value) + ("" if length == 8 * len(value) else f"/{length}")


def _metrics(said: bytes) -> Said:
    return {_METRICS.get(kind, f"metric {kind}"): text(value) if kind == 16 else unsigned(value)
            for kind, value in attributes(said).items() if kind != 1}


def _odd(parts: dict[int, bytes], read: frozenset[int], names: dict[int, str]) -> Said:
    """What is not read, each with a key of its own."""
    return {names.get(kind, f"attribute {kind}"): True for kind in parts if kind not in read}


def _rule(said: bytes) -> Said:
    family, far, near, tos, table, action, flags = _RULE.unpack_from(said)
    parts = attributes(said, _RULE.size)
    if unsigned(parts.get(13, b"")) == _NO_LIMIT:
        del parts[13]
    shortest = unsigned(parts.get(14, b"\xff" * 4))
    return {"priority": unsigned(parts.get(6, b"")), **({"not": None} if flags & _NOT else {}),
            "src": "all", **_selected("src", parts.get(2), near, family),
            **_selected("dst", parts.get(1), far, family),
            **({"tos": f"{tos:#04x}"} if tos else {}), **_marked(parts),
            **({"iif": text(parts[3])} if 3 in parts else {}),
            **({"oif": text(parts[17])} if 17 in parts else {}),
            **({"ipproto": _protocol(unsigned(parts[22]))} if 22 in parts else {}),
            **({"suppress_prefixlen": shortest} if shortest != _NO_LIMIT else {}),
            **_action(action, unsigned(parts[15]) if 15 in parts else table),
            **_odd(parts, _READ_OF_RULE, _ODD_IN_RULE)}


def _protocol(protocol: int) -> str:
    return _PROTOCOLS.get(protocol, str(protocol))


def _selected(key: str, value: bytes | None, length: int, family: int) -> Said:
    zero = bytes(16 if family == _INET6 else 4)
    if value is None:
        return {key: _address(zero), f"{key}len": length} if length else {}
    return {key: _address(value), **({f"{key}len": length} if length != 8 * len(zero) else {})}


def _marked(parts: dict[int, bytes]) -> Said:
    mask = unsigned(parts.get(16, b""))
    if not mask and 10 not in parts:
        return {}
    return {"fwmark": hex(unsigned(parts.get(10, b""))),
            **({"fwmask": hex(mask)} if 16 in parts and mask != _NO_LIMIT else {})}


def _action(action: int, table: int) -> Said:
    """FR_ACT_… of linux/fib_rules.h; those that refuse have the numbers of such routes."""
    if action == _LOOK_UP:
        return {"table": _table(table)}
    return {"goto" if action == _GO_TO else "nop": None} if action <= _NOTHING \
        else {"action": _KINDS.get(action, f"action {action}")}
