"""Who is on the other end of a cable: through bridges, up to every link that has an IP stack behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address
from vpcctl_lib.reach.links import BRIDGE_FORWARDING, Link
from vpcctl_lib.reach.packet import Blocked, Flow, Undecided
from vpcctl_lib.reach.routes import Lookup
from vpcctl_lib.reach.routing import LOOPBACK, check_source, choose, lookup
from vpcctl_lib.reach.scene import HOST, Namespace, Scene

VALID = frozenset({"PERMANENT", "REACHABLE", "STALE", "DELAY", "PROBE"})
"""States in which the kernel sends at once (NUD_VALID in include/net/neighbour.h)."""

NEVER_ASKED = frozenset({"PERMANENT"})


@frozen
class Switched:
    """A frame switched from port to port of a bridge."""

    namespace: str
    bridge: str
    incoming: str
    outgoing: str


@frozen
class End:
    """A link with an IP stack behind it, and the bridges on the way there."""

    namespace: str
    link: Link
    way: tuple[Switched, ...] = ()
    entry: tuple[str, str] | None = None
    """The namespace and the port at which frames first reach a bridge."""

    exits: tuple[tuple[str, str], ...] = ()
    """The namespaces and the ports by which they leave bridges."""


def crossings(end: End) -> list[tuple[str, str, str]]:
    """The namespace and the ports of bridges by which frames to an end come in and leave.

    One of the ports is empty if a frame starts or ends at the bridge.
    """
    if end.way:
        return [(step.namespace, step.incoming, step.outgoing) for step in end.way]
    return [(*end.entry, "")] if end.entry else [(where, "", port) for where, port in end.exits[:1]]


@frozen
class Trail:
    """The way from the first link, so far."""

    way: tuple[Switched, ...] = ()
    entry: tuple[str, str] | None = None
    exits: tuple[tuple[str, str], ...] = ()

    def to(self, namespace: Namespace, link: Link) -> End:
        """The end to which it leads."""
        return End(namespace.name, link, self.way, self.entry, self.exits)


@frozen
class Hub:
    """A bridge each of whose ports leads to one link with an IP stack, or nowhere: most have very many."""

    namespace: str
    bridge: Link
    far: Mapping[str, tuple[str, Link]]
    """The namespace and the link behind each port."""

    outside: Mapping[str, str]
    """Ports that lead out of what is visible from here."""

    odd: tuple[str, ...]

    @cached_property
    def by_mac(self) -> Mapping[str, tuple[str, ...]]:
        """The ports by the MAC behind them."""
        found: dict[str, tuple[str, ...]] = {}
        for port, (_, link) in self.far.items():
            found[link.mac] = (*found.get(link.mac, ()), port)
        return found

    def end(self, port: str, incoming: str) -> End:
        """What is behind a port, for a frame that came in at another one or from the bridge itself."""
        step = (Switched(self.namespace, self.bridge.name, incoming, port),) if incoming else ()
        entry = (self.namespace, incoming) if incoming else None
        return End(*self.far[port], step, entry, ((self.namespace, port),))


@dataclass
class Segment:
    """Everything that a broadcast from one link reaches."""

    found: list[End] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    """Links that lead out of what is visible from here."""

    odd: list[str] = field(default_factory=list)
    hub: Hub | None = None
    """Everything is behind this bridge, with what was found on the way there."""

    incoming: str = ""
    """The port at which frames come into it; empty if they come from the bridge itself."""

    @property
    def ends(self) -> list[End]:
        """All links with an IP stack."""
        ports = self.hub.far if self.hub else ()
        return [*self.found, *(end for port in ports for end in self._behind(port))]

    def having(self, mac: str) -> list[End]:
        """Those with that MAC."""
        ports = self.hub.by_mac.get(mac, ()) if self.hub else ()
        return [*(end for end in self.found if end.link.mac == mac),
                *(end for port in ports for end in self._behind(port))]

    def _behind(self, port: str) -> Iterator[End]:
        if self.hub and port != self.incoming:
            yield self.hub.end(port, self.incoming)


class Explorer:
    """Follows broadcasts."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._seen: set[tuple[str, str]] = set()
        self._segment = Segment()

    def explore(self, namespace: Namespace, link: Link) -> Segment:
        """The segment that a packet leaving by that link reaches."""
        if link.kind == "bridge":
            self._flood(namespace, link, "", Trail())
        else:
            self._cross(namespace, link, Trail())
        return self._segment

    def _cross(self, namespace: Namespace, link: Link, trail: Trail) -> None:
        """To the other end of a cable."""
        if not link.is_up or not link.carrier:
            return
        self._segment.odd += oddness(namespace, link)
        other = peer(self._scene, namespace, link)
        if other is None:
            self._segment.outside.append(f"{link.name} in {namespace.title}")
            return
        self._arrive(*other, trail)

    def _arrive(self, namespace: Namespace, link: Link, trail: Trail) -> None:
        if not link.is_up or (namespace.name, link.name) in self._seen:
            return
        self._seen.add((namespace.name, link.name))
        self._segment.odd += oddness(namespace, link)
        if not link.master:
            self._segment.found.append(trail.to(namespace, link))
            return
        bridge = namespace.links.get(link.master)
        if bridge is None or bridge.kind != "bridge":
            reason = f"{link.name} in {namespace.title} belongs to {link.master}, which is not a bridge"
            self._segment.odd.append(reason)
        elif bridge.is_up and link.port_state == BRIDGE_FORWARDING:
            trail = replace(trail, entry=trail.entry or (namespace.name, link.name))
            self._segment.found.append(trail.to(namespace, bridge))
            self._flood(namespace, bridge, link.name, trail)

    def _flood(self, namespace: Namespace, bridge: Link, incoming: str, trail: Trail) -> None:
        self._segment.odd += oddness(namespace, bridge)
        if not trail.exits:
            key = ("hub", namespace.name, bridge.name)
            hub = self._scene.once(key, lambda: hub_of(self._scene, namespace, bridge))
            if hub:
                self._plug(hub, incoming)
                return
        for port in ports_of(namespace, bridge):
            if port.name != incoming:
                step = (Switched(namespace.name, bridge.name, incoming, port.name),) if incoming else ()
                self._cross(namespace, port, replace(trail, way=(*trail.way, *step),
                                                     exits=(*trail.exits, (namespace.name, port.name))))

    def _plug(self, hub: Hub, incoming: str) -> None:
        segment = self._segment
        segment.hub, segment.incoming = hub, incoming
        segment.outside += [name for port, name in hub.outside.items() if port != incoming]
        segment.odd += hub.odd


def ports_of(namespace: Namespace, bridge: Link) -> Iterator[Link]:
    """The ports to which a bridge forwards."""
    return (port for port in namespace.links.values()
            if port.master == bridge.name and port.port_state == BRIDGE_FORWARDING)


def hub_of(scene: Scene, namespace: Namespace, bridge: Link) -> Hub | None:
    """The bridge with what is behind its ports; None if that is another bridge."""
    far: dict[str, tuple[str, Link]] = {}
    outside: dict[str, str] = {}
    odd: list[str] = []
    for port in ports_of(namespace, bridge):
        if not port.is_up or not port.carrier:
            continue
        odd += oddness(namespace, port)
        other = peer(scene, namespace, port)
        if other is None:
            outside[port.name] = f"{port.name} in {namespace.title}"
        elif other[1].master:
            return None
        elif other[1].is_up:
            odd += oddness(*other)
            far[port.name] = (other[0].name, other[1])
    return Hub(namespace.name, bridge, far, outside, tuple(odd))


def oddness(namespace: Namespace, link: Link) -> list[str]:
    """A property of the link that is not modelled, in words."""
    return [f"{link.name} in {namespace.title} has {link.odd}, which is not modelled"] if link.odd else []


def peer(scene: Scene, namespace: Namespace, link: Link) -> tuple[Namespace, Link] | None:
    """The other end of a veth cable, if it is in a named namespace or on the host."""
    if link.kind != "veth":
        return None
    if link.peer_nsid is None:
        other = namespace.links.get(link.peer_name)
        return (namespace, other) if other else None
    name = namespace.named(link.peer_nsid) or HOST
    if name not in scene.names and name != HOST:
        return None
    far = scene.of(name)
    found = far.by_index.get(link.peer_index)
    # A number without a name may also belong to a container: the cable must lead back.
    return (far, found) if found and (name or _leads_to(found, namespace, link, far)) else None


def _leads_to(found: Link, namespace: Namespace, link: Link, host: Namespace) -> bool:
    if found.peer_nsid is None or found.peer_index != link.index:
        return False
    return host.named(found.peer_nsid) == namespace.name


def answering(scene: Scene, near: Namespace, link: Link, segment: Segment, wanted: Address,
              source: Address) -> list[End]:
    """The ends that answer an ARP question for an address, as arp_process() of net/ipv4/arp.c does."""
    # arp_solicit(): with arp_announce 0 it asks with the packet's own source if that is a local address.
    sender = source if near.owns(source) else choose(near, link.name, wanted, "link")
    heard = [end for end in segment.ends if lets_in(scene, end, link.mac, sender, is_question=True)]
    return [end for end in heard if _is_answered_by_proxy(scene, end, wanted) or (
        end.namespace == HOST and scene.answers(end.link.name, wanted)) or (
        hears(scene, end) and _answers(scene.of(end.namespace), end.link, wanted, sender))]


def lets_in(scene: Scene, end: End, mac: str, address: Address, is_question: bool = False) -> bool:
    """Whether the first bridge on the way accepts a frame from that sender at its port."""
    if end.entry is None:
        return True
    namespace, port = end.entry
    guard = scene.of(namespace).guard
    return guard is None or guard.lets_in(port, mac, address, is_question)


def switched(scene: Scene, segment: Segment, end: End, flow: Flow) -> End | None:
    """Where the tables of the first bridge on the way send a packet that was addressed to `end`."""
    if end.entry is None:
        return end
    here = scene.of(end.entry[0])
    led = here.steered.mac(end.entry[1], flow.source, flow.destination) if here.steered else ""
    mac = led or here.switched.get(flow.destination, end.link.mac)
    if mac == end.link.mac:
        return end
    return next((other for other in segment.having(mac) if other.entry == end.entry), None)


def marked(scene: Scene, end: End, destination: Address) -> int:
    """The mark of a packet that comes to a bridge itself by one of its ports."""
    if end.entry is None or end.exits:
        return 0
    steered = scene.of(end.entry[0]).steered
    return steered.mark(end.entry[1], destination) if steered else 0


def lost_at(scene: Scene, end: End) -> tuple[str, str] | None:
    """The bridge port by which a frame for one machine should leave and does not; None if it arrives.

    A port that is not flooded gets only frames for its permanent MAC entries; a machine that is entered at
    another port gets its frames there.
    """
    for namespace, port in end.exits:
        here = scene.of(namespace)
        known = [device for device in here.stations.get(end.link.mac, ())
                 if here.links[device].master == here.links[port].master]
        if port not in known and (known or not here.links[port].is_flooded or here.links[port].has_proxy):
            return namespace, port
    return None


def hears(scene: Scene, end: End) -> bool:
    """Whether a question for all reaches it, and its answer comes back."""
    ports = [scene.of(namespace).links[port] for namespace, port in end.exits]
    # br_flood() of net/bridge/br_forward.c: never to ports with an ARP proxy, but what the bridge itself
    # sends to all others.
    sent_by_bridge = len(end.exits) > len(end.way)
    return not any(port.has_proxy for port in ports) \
        and all(port.hears_all for port in ports[1 if sent_by_bridge else 0:])


def _is_answered_by_proxy(scene: Scene, end: End, wanted: Address) -> bool:
    """br_do_proxy_suppress_arp() of net/bridge/br_arp_nd_proxy.c: from the namespace's own ARP table."""
    if end.entry is None or not end.exits:
        return False
    here = scene.of(end.entry[0])
    port = here.links[end.entry[1]]
    known = here.neighbour(port.master, wanted)
    return port.has_proxy and known is not None and known.mac == end.link.mac \
        and bool(VALID & set(known.states)) and end.link.mac in here.stations


def _answers(namespace: Namespace, link: Link, wanted: Address, sender: Address) -> bool:
    if namespace.strictest(link.name, "proxy_arp"):
        raise Undecided(namespace.title, f"proxy_arp on {link.name} is not modelled")
    route = lookup(namespace, Lookup(wanted, sender, link.name))
    if route is None or route.kind != "local" or wanted.is_loopback:
        return False
    if namespace.strictest(link.name, "arp_filter") or namespace.strictest(link.name, "arp_ignore") > 1:
        raise Undecided(namespace.title, f"arp_filter or arp_ignore on {link.name} is not modelled")
    on_link = any(held.address == wanted for held in link.addresses)
    if namespace.strictest(link.name, "arp_ignore") == 1 and not on_link:
        return False
    try:
        check_source(namespace, Lookup(sender, wanted), link.name)
    except Blocked:
        return False
    return True


def remembered(near: Namespace, link: Link, segment: Segment, wanted: Address) -> tuple[list[End], bool]:
    """Who has the address by the table of neighbours, and whether the entry is permanent."""
    one = near.neighbour(link.name, wanted)
    if one is None or not VALID & set(one.states):
        return [], False
    return segment.having(one.mac), bool(NEVER_ASKED & set(one.states))


def owners(scene: Scene, address: Address) -> Iterator[tuple[Namespace, Link]]:
    """All known links that have an address, reachable or not."""
    for namespace in scene.known():
        for link in namespace.links.values() if namespace.owns(address) else ():
            if any(held.address == address for held in link.addresses) and link.name != LOOPBACK:
                yield namespace, link


def cable_fault(scene: Scene, namespace: Namespace, device: str) -> str:
    """What is wrong between a link and the other end of its cable; empty if nothing is."""
    link = namespace.links.get(device)
    if link is None:
        return f"link {device} in {namespace.title} does not exist"
    if not link.is_up:
        return f"link {device} in {namespace.title} is down"
    other = peer(scene, namespace, link)
    if other is None:
        return ""
    far, port = other
    if not port.is_up:
        return f"link {port.name} in {far.title} is down"
    if port.master and not far.links[port.master].is_up:
        return f"bridge {port.master} in {far.title} is down"
    return "" if port.master or port.addresses else f"link {port.name} in {far.title} is not plugged in"
