"""Which way a namespace sends a packet, and whether it accepts a packet's source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.reach.links import Link
from vpcctl_lib.reach.packet import Blocked, Cause, Code, Packet, Undecided
from vpcctl_lib.reach.routes import BUILT_IN, REFUSALS, CantTell, Lookup, Route, find
from vpcctl_lib.reach.scene import Namespace
from vpcctl_lib.reach.sources import preferred

LOOPBACK = "lo"
Pick = Callable[[Namespace, Route, Lookup], Route]
"""Chooses one of several next hops."""

WHOLE = {Family.INET: "net.ipv4.ip_forward", Family.INET6: "net.ipv6.conf.all.forwarding"}
"""The setting with which a namespace forwards what comes by any link."""

STRICT = 1
"""rp_filter: 1 is the best way back, 2 any way back (kernel's ip-sysctl.rst)."""


def lookup(namespace: Namespace, wanted: Lookup) -> Route | None:
    """The route for it, or None."""
    try:
        return find(namespace.routes, namespace.rules, wanted)
    except CantTell as error:
        raise Undecided(namespace.title, str(error)) from None


def usable(namespace: Namespace, route: Route | None, destination: Address) -> Route:
    """The route, if it leads anywhere."""
    where = namespace.title
    if route is None:
        raise Blocked(Code.NO_ROUTE, where, f"no route to {destination}", Cause(address=destination))
    if route.kind in REFUSALS:
        by_rule = route.rule is not None and route.rule.action in REFUSALS
        reason = str(route) if by_rule else f"route {route}"
        raise Blocked(Code.NO_ROUTE, where, reason, Cause(rule=str(route), address=destination))
    if route.kind not in ("unicast", "local"):
        raise Undecided(where, f"{destination} is a {route.kind} address, which is not modelled")
    return route


def outward(namespace: Namespace, packet: Packet, pick: Pick) -> Route:
    """The route of a packet that starts here."""
    flow = packet.flow
    source = None if flow.source.is_unspecified else flow.source
    wanted = Lookup(flow.destination, source, LOOPBACK, "", packet.mark, packet.protocol)
    return pick(namespace, usable(namespace, lookup(namespace, wanted), flow.destination), wanted)


def address_type(namespace: Namespace, address: Address) -> str:
    """inet_addr_type(): the type of an address by the local table; in IPv6, by the links' addresses."""
    if address.is_multicast:
        return "MULTICAST"
    if namespace.family is Family.INET6:
        return "LOCAL" if namespace.owns(address) else "UNICAST"
    kinds = [route.kind for route in namespace.routes
             if route.table == "local" and address in route.network]
    return kinds[-1].upper() if kinds else "UNICAST"


def next_hop(namespace: Namespace, route: Route) -> Address | None:
    """The gateway that packets go to; None if they go straight to their target.

    The kernel also goes straight if the gateway is the namespace's own address: its scope is the host, and
    rt_set_nexthop() of net/ipv4/route.c requires a link. In IPv6, each cable has the same addresses.
    """
    itself = namespace.family is Family.INET and route.gateway is not None and namespace.owns(route.gateway)
    return None if itself else route.gateway


def source_for(namespace: Namespace, route: Route, destination: Address) -> Address:
    """The address of a packet that has none yet (fib_result_prefsrc)."""
    if route.source:
        return route.source
    if route.kind == "local":
        return destination
    return leaving_from(namespace, route.device, route.gateway, destination, route.scope)


def leaving_from(namespace: Namespace, device: str, gateway: Address | None, destination: Address,
                 scope: str = "global") -> Address:
    """The address that the kernel chooses for a packet that leaves by a link; unspecified if it has none."""
    if namespace.family is Family.INET6:
        return preferred(namespace.links, device, destination)
    return choose(namespace, device, gateway, scope)


def choose(namespace: Namespace, device: str, towards: Address | None,
           scope: str = "global") -> Address:
    """inet_select_addr() of net/ipv4/devinet.c: an address of that link, else of another link."""
    link = namespace.links.get(device)
    held = [one for one in link.addresses if not one.secondary and _wide(one.scope, scope)] if link else []
    for one in held:
        if towards is None or towards in one.network:
            return one.address
    if held:
        return held[0].address
    others = [one for other in namespace.links.values() for one in other.addresses
              if not one.secondary and one.scope != "link" and _wide(one.scope, scope)]
    return others[0].address if others else IPv4Address(0)


def _wide(scope: str, wanted: str) -> bool:
    order = {"global": 0, "site": 200, "link": 253, "host": 254}
    return order.get(scope, 0) <= order.get(wanted, 0)


def inward(namespace: Namespace, packet: Packet, device: str, pick: Pick) -> Route:
    """The route of a packet that came in by a link, as ip_route_input_slow() of net/ipv4/route.c finds it."""
    flow, where = packet.flow, namespace.title
    if namespace.family is Family.INET6 and namespace.per_link(device, "disable_ipv6"):
        setting = f"net/ipv6/conf/{device}/disable_ipv6"
        raise Blocked(Code.NO_IPV6, where, f"{setting} = 1", Cause(setting=setting, device=device))
    if flow.source.is_loopback and not namespace.strictest(device, "route_localnet"):
        raise Blocked(Code.SOURCE_REFUSED, where, f"{flow.source} can't come from outside")
    wanted = Lookup(flow.destination, flow.source, device, "", packet.mark, packet.protocol)
    route = lookup(namespace, wanted)
    if route is None or route.kind in REFUSALS:
        check_forwarding(namespace, device, flow.destination)
    route = pick(namespace, usable(namespace, route, flow.destination), wanted)
    if route.kind == "unicast":
        check_forwarding(namespace, device, flow.destination)
    if namespace.family is Family.INET6:
        # Nothing asks there where an answer would go (ip6_rcv_core() of net/ipv6/ip6_input.c).
        return route
    back = Lookup(flow.source, flow.destination, _out(route), "", packet.mark, packet.protocol)
    check_source(namespace, back, device)
    return route


def _out(route: Route) -> str:
    return LOOPBACK if route.kind == "local" else route.device


def check_forwarding(namespace: Namespace, device: str, destination: Address) -> None:
    """Only routers forward; IN_DEV_FORWARD reads the setting of the incoming link.

    ip6_forward() of net/ipv6/ip6_output.c reads that of all links and, since Linux 6.17, one of the link.
    """
    if namespace.family is Family.INET6:
        if namespace.per_link("all", "forwarding") or namespace.per_link(device, "force_forwarding"):
            return
        setting = WHOLE[Family.INET6]
    else:
        if namespace.per_link(device, "forwarding"):
            return
        whole = not namespace.number("net/ipv4/ip_forward")
        setting = WHOLE[Family.INET] if whole else f"net/ipv4/conf/{device}/forwarding"
    raise Blocked(Code.NO_FORWARDING, namespace.title, f"{setting} = 0, and {destination} is not here",
                  Cause(setting=setting, device=device, address=destination))


def check_source(namespace: Namespace, answer: Lookup, device: str) -> None:
    """fib_validate_source() of net/ipv4/fib_frontend.c: would the answer go back by the incoming link?"""
    strictness = namespace.strictest(device, "rp_filter")
    accepts = bool(namespace.strictest(device, "accept_local"))
    if strictness or _custom_rules(namespace):
        _full_check(namespace, answer, device, strictness, accepts)
    elif not accepts and namespace.owns(answer.destination):
        reason = f"{answer.destination} is an address of {namespace.title} itself"
        raise _refused(namespace, answer, device, reason)


def _custom_rules(namespace: Namespace) -> bool:
    """fib4_has_custom_rules(): whether there are rules beyond the three of every namespace."""
    return [rule.table for rule in namespace.rules] != list(BUILT_IN)


def _full_check(namespace: Namespace, answer: Lookup, device: str, strictness: int, accepts: bool) -> None:
    source = answer.destination
    if not namespace.strictest(device, "src_valid_mark"):
        answer = replace(answer, mark=0)
    route = lookup(namespace, answer)
    if route is None or route.kind in REFUSALS:
        return _last_resort(namespace, answer, device, strictness)
    if route.kind != "unicast" and not (route.kind == "local" and accepts):
        raise _refused(namespace, answer, device, f"{source} is {route.kind} there (route {route})")
    if device in route.devices:
        return None
    if not namespace.links[device].addresses:
        return _last_resort(namespace, answer, device, strictness)
    if strictness == STRICT:
        raise _refused(namespace, answer, device, f"rp_filter = 1, and the way to {source} is {route}")
    return None


def _last_resort(namespace: Namespace, answer: Lookup, device: str, strictness: int) -> None:
    if strictness:
        raise _refused(namespace, answer, device,
                       f"rp_filter = {strictness}, and there is no way to {answer.destination}")


def _refused(namespace: Namespace, answer: Lookup, device: str, why: str) -> Blocked:
    whole = namespace.per_link("all", "rp_filter") >= namespace.per_link(device, "rp_filter")
    setting = f"net/ipv4/conf/{'all' if whole else device}/rp_filter" if "rp_filter" in why else ""
    return Blocked(Code.SOURCE_REFUSED, namespace.title, f"{why}; it came by {device}",
                   Cause(setting=setting, device=device, address=answer.destination))


def tap_of(namespace: Namespace, device: str) -> Link:
    """The tap of that name, which a virtual machine must have opened."""
    link = namespace.links.get(device)
    if link and link.is_up and not link.carrier:
        raise Blocked(Code.LINK_DOWN, namespace.title, f"no virtual machine has opened tap {device}",
                      Cause(device=device))
    return link_of(namespace, device)


def link_of(namespace: Namespace, device: str) -> Link:
    """The link of that name, which must be up and have a carrier."""
    link = namespace.links.get(device)
    if link is None:
        raise Blocked(Code.LINK_DOWN, namespace.title, f"link {device} does not exist", Cause(device=device))
    if not link.is_up or not link.carrier:
        state = "is down" if not link.is_up else "has no carrier: its other end is down"
        raise Blocked(Code.LINK_DOWN, namespace.title, f"link {device} {state}", Cause(device=device))
    return link


def check_known(here: Namespace, link: Link, wanted: Address, route: Route) -> None:
    """A neighbour on the uplink that isn't a router may or may not exist."""
    known = here.neighbour(link.name, wanted)
    states = set(known.states) if known else set()
    if next_hop(here, route) is None and not states & {"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT"}:
        reason = f"only a packet can show whether {wanted} exists on {link.name}: --probe"
        raise Undecided(here.title, reason)
