"""A packet from namespace to namespace, hop by hop, there and back; asks the kernel, sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vpcctl_lib.firewall.families import ADDRESSES
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.naming import BRIDGE_TABLE
from vpcctl_lib.model.policies import ECHOES, Ports, Protocol
from vpcctl_lib.reach.discovery import Discovery
from vpcctl_lib.reach.edges import met
from vpcctl_lib.reach.forks import Forks, Taken
from vpcctl_lib.reach.hooks import Decision, Hook, Tracker, Ways
from vpcctl_lib.reach.links import Link
from vpcctl_lib.reach.listeners import answers_as
from vpcctl_lib.reach.packet import REPLIES, Blocked, Cause, Code, Flow, Packet, Undecided, request
from vpcctl_lib.reach.routes import FURTHEST, Lookup, Route
from vpcctl_lib.reach.routing import (
    LOOPBACK,
    check_forwarding,
    check_known,
    inward,
    link_of,
    lookup,
    next_hop,
    outward,
    source_for,
    tap_of,
    usable,
)
from vpcctl_lib.reach.scene import HOST, Namespace, Scene
from vpcctl_lib.reach.segment import (
    End,
    Explorer,
    Segment,
    Switched,
    crossings,
    lets_in,
    lost_at,
    marked,
    switched,
)

SYN_ACK, ACK = frozenset({"SYN", "ACK"}), frozenset({"ACK", "PSH"})
IGNORES = {Family.INET: "net.ipv4.icmp_echo_ignore_all", Family.INET6: "net.ipv6.icmp.echo_ignore_all"}
"""The setting with which pings are not answered."""


@frozen
class Hop:
    """A step of the way: the namespace, what decided there, and whether it is on the way back."""

    where: str
    what: str
    back: bool = False


@frozen
class Arrival:
    """Where a packet ended: in a namespace, or (`beyond`) out of the host by a link."""

    namespace: str
    packet: Packet
    beyond: str = ""


class Walk:
    """One conversation: the first packet, its answer, and for TCP the two that follow."""

    def __init__(self, scene: Scene, taken: Taken | None = None) -> None:
        """With `taken`, by these next hops if routes have several."""
        self.scene = scene
        self.forks = Forks(taken or {})
        self.hops: list[Hop] = []
        self.passed: list[str] = []
        """The namespaces whose routes were asked, in order, with repetitions."""

        self._tracker = Tracker()
        self._discovery = Discovery(scene)
        self.is_back = False
        self.diverted: Blocked | None = None
        self._silent = False

    def converse(self, start: str, destination: Address, protocol: Protocol, port: int | None) -> Arrival:
        """Follow the packet there and its answer back; raises Blocked or Undecided where that ends."""
        here = self.scene.of(start)
        if not here.exists:
            raise Blocked(Code.NAMESPACE_MISSING, start, f"network namespace '{start}' does not exist")
        packet, route = self._first(here, destination, protocol, port)
        return self._exchange(here, packet, lambda one: self.send(here, one, route))

    def _exchange(self, here: Namespace, packet: Packet, send: Callable[[Packet], Arrival],
                  beyond: str = "") -> Arrival:
        """The packet and its answer, and for TCP the two that follow."""
        there = send(packet)
        self._answer(there, here, packet, beyond)
        if packet.protocol is Protocol.TCP:
            self._silent = True
            self._answer(send(replace(packet, first=False, flags=ACK)), here, packet, beyond)
        return there

    def enter(self, source: Address, destination: Address, protocol: Protocol,
              port: int | None) -> Arrival:
        """Follow a packet that comes to the host from beyond, by the link that leads there."""
        here = self.scene.of(HOST)
        way = self.forks.pick(here, usable(here, lookup(here, Lookup(source)), source), Lookup(source))
        link = link_of(here, way.device)
        packet = self._incoming(here, link, source, destination, protocol, port)
        self._discovery.check_found(here, link, way.gateway or source, destination)
        if destination in self.scene.elastic and not self.scene.answers(link.name, destination):
            raise Blocked(Code.NO_NEIGHBOUR, here.title, f"nobody on {link.name} answers for {destination}",
                          Cause(device=link.name, address=destination))
        return self._exchange(here, packet, lambda one: self._arrive(here, link.name, one, FURTHEST),
                              link.name)

    def emerge(self, namespace: str, source: Address, destination: Address, protocol: Protocol,
               port: int | None) -> Arrival:
        """Follow a packet that a virtual machine sends by its tap."""
        here = self.scene.of(namespace)
        link = tap_of(here, self.scene.taps[namespace])
        packet = self._incoming(here, link, source, destination, protocol, port)
        self._discovery.check_router(here, link, source)
        return self._exchange(here, packet, lambda one: self._arrive(here, link.name, one, FURTHEST),
                              link.name)

    def _incoming(self, here: Namespace, link: Link, source: Address, destination: Address,
                  protocol: Protocol, port: int | None) -> Packet:
        packet = request(protocol, _flow(here, source, destination, port))
        self._tell(here, f"{packet} comes in by {link.name}")
        return packet

    def _first(self, here: Namespace, destination: Address, protocol: Protocol,
               port: int | None) -> tuple[Packet, Route | None]:
        """The packet, and its route if that is not looked for again."""
        nobody = ADDRESSES[here.family](0)
        self.passed.append(here.name)
        packet, route = self._sourced(here, request(protocol, _flow(here, nobody, destination, port)))
        # A socket of IPv6 keeps the route by which it got its source (ip6_dst_lookup_tail), but a raw one.
        keeps = here.family is Family.INET6 and protocol not in ECHOES
        return packet, route if keeps else None

    def _sourced(self, here: Namespace, packet: Packet) -> tuple[Packet, Route]:
        """A packet without a source gets that of the route which it takes without one."""
        route = outward(here, packet, self.forks.pick)
        source = source_for(here, route, packet.flow.destination)
        if source.is_unspecified:
            raise Blocked(Code.NO_ADDRESS, here.title, f"no address to send from by {route.device}",
                          Cause(device=route.device))
        return packet.between(replace(packet.flow, source=source)), route

    def _answer(self, there: Arrival, here: Namespace, asked: Packet, beyond: str = "") -> None:
        """The way back of the answer to what was asked.

        `beyond` is the link by which it must leave the host, if any.
        """
        self.is_back = True
        packet = there.packet
        flags = frozenset[str]()
        if packet.protocol is Protocol.TCP:
            flags = SYN_ACK if packet.first else ACK
        answer = replace(packet.outside(), flow=packet.flow.back(), flags=flags, icmp=REPLIES[packet.icmp],
                         answer=True)
        if there.beyond:
            where = self.scene.of(there.namespace)
            if there.beyond == self.scene.taps.get(where.name):
                self._discovery.check_router(where, where.links[there.beyond], answer.flow.source)
            back = self._arrive(where, there.beyond, answer, FURTHEST)
        else:
            back = self.send(*self._replied(self.scene.of(there.namespace), answer))
        # The internet may be a namespace with a name, as in a sandbox.
        arrives = back.beyond or back.namespace != here.name if beyond and here.name == HOST \
            else (back.namespace, back.beyond) == (here.name, beyond)
        if not arrives:
            raise Blocked(Code.NO_ROUTE, self.scene.of(back.namespace).title,
                          f"the answer to {packet.flow.source} ends up here, not in {here.title}")
        source, port = back.packet.flow.source, back.packet.flow.source_port
        if (source, port) != (asked.flow.destination, asked.flow.destination_port):
            # Who waits for an answer takes none from another address or port.
            same = source == asked.flow.destination
            told = f"the answer comes from port {port}, not from {asked.flow.destination_port}" if same else \
                f"the answer comes from {source}, not from {asked.flow.destination}{self._hint(there)}"
            raise Blocked(Code.ANSWER_DIVERTED, here.title, told,
                          self.diverted.cause if self.diverted else None)
        self.is_back = False

    def _replied(self, here: Namespace, answer: Packet) -> tuple[Namespace, Packet, Route]:
        """An answer and its route: the kernel chooses the source of a program's that listens on 0.0.0.0.

        udp_sendmsg() of net/ipv4/udp.c looks for a route without a source if the socket has none. TCP and
        ICMP answer from the address that was asked.
        """
        flow = answer.flow
        if answer.protocol is not Protocol.UDP or answers_as(here.name, flow):
            return here, answer, outward(here, answer, self.forks.pick)
        return here, *self._sourced(here, answer.between(replace(flow, source=ADDRESSES[here.family](0))))

    def _hint(self, there: Arrival) -> str:
        """What a UDP program can do about the source of its answers."""
        asked = there.packet.flow.destination
        if there.packet.protocol is not Protocol.UDP or there.beyond or self.diverted:
            return ""
        anywhere = ADDRESSES[there.packet.flow.family](0)
        return f": a program that listens on {anywhere} leaves that to the kernel; have it listen on {asked}"

    def _tell(self, namespace: Namespace, what: str) -> None:
        if not self._silent:
            self.hops.append(Hop(namespace.title, what, self.is_back))

    def send(self, here: Namespace, packet: Packet, route: Route | None = None) -> Arrival:
        """A packet that starts in a namespace (ip_local_out in net/ipv4/ip_output.c)."""
        self.passed.append(here.name)
        route = route or outward(here, packet, self.forks.pick)
        self._tell(here, f"route {route}")
        sent = self._pass(here, Hook.OUTPUT, packet, Ways("", _way_out(route)))
        if (sent.flow.destination, sent.mark) != (packet.flow.destination, packet.mark):
            # ip_route_me_harder(): the tables of OUTPUT may have made another route right.
            route = outward(here, sent, self.forks.pick)
            self._tell(here, f"now {sent}: route {route}")
        if route.kind == "local":
            return self._loop(here, sent)
        return self._transmit(here, route, sent, FURTHEST)

    def _loop(self, here: Namespace, packet: Packet) -> Arrival:
        """To the namespace itself, over lo."""
        link_of(here, LOOPBACK)
        packet = self._pass(here, Hook.POSTROUTING, packet, Ways("", LOOPBACK))
        packet = self._pass(here, Hook.PREROUTING, packet, Ways(LOOPBACK))
        return self._deliver(here, LOOPBACK, packet)

    def _deliver(self, here: Namespace, device: str, packet: Packet) -> Arrival:
        packet = self._pass(here, Hook.INPUT, packet, Ways(device))
        setting = IGNORES[here.family]
        if packet.protocol in ECHOES and not packet.answer and here.number(setting.replace(".", "/")):
            raise Blocked(Code.ECHO_IGNORED, here.title, f"{setting} = 1", Cause(setting=setting))
        self._tell(here, f"{packet} has arrived")
        return Arrival(here.name, packet)

    def _transmit(self, here: Namespace, route: Route, packet: Packet, left: int) -> Arrival:
        """Out by a link, to the machine with the next address."""
        if left <= 0:
            raise Blocked(Code.ROUTING_LOOP, here.title, f"{packet} goes in circles")
        gateway = next_hop(here, route)
        packet = self._pass(here, Hook.POSTROUTING, packet, Ways("", route.device, gateway))
        if route.device == self.scene.taps.get(here.name):
            return self._hand_over(here, packet)
        link = link_of(here, route.device)
        if link.odd:
            raise Undecided(here.title, f"{link.name} has {link.odd}, which is not modelled")
        wanted = gateway or packet.flow.destination
        segment = Explorer(self.scene).explore(here, link)
        end = self._neighbour(here, link, segment, wanted, packet)
        if end is None:
            return self._leave(here, link, wanted, packet, route, segment)
        self._cross(end, packet)
        packet = self._switch(end.way, packet.outside())
        far = self.scene.of(end.namespace)
        if not end.way:
            self._tell(here, f"cable {link.name} to {end.link.name} in {far.title}")
        packet = replace(packet.outside(), mark=marked(self.scene, end, packet.flow.destination))
        return self._arrive(far, end.link.name, packet, left)

    def _hand_over(self, here: Namespace, packet: Packet) -> Arrival:
        """To the virtual machine behind a namespace's tap."""
        link, address = tap_of(here, self.scene.taps[here.name]), packet.flow.destination
        if here.neighbour(link.name, address) is None:
            raise Blocked(Code.NO_NEIGHBOUR, here.title, f"nobody on {link.name} answers for {address}",
                          Cause(device=link.name, address=address))
        self._tell(here, f"{packet} goes to the virtual machine by {link.name}")
        return Arrival(here.name, packet, link.name)

    def _neighbour(self, here: Namespace, link: Link, segment: Segment, wanted: Address,
                   packet: Packet) -> End | None:
        """Who gets the frame; None is a machine outside of what is visible."""
        if segment.odd:
            raise Undecided(here.title, segment.odd[0])
        found, by_hand = self._discovery.find(here, link, segment, wanted, packet.flow.source)
        if len(found) > 1:
            names = " and ".join(sorted(self.scene.of(end.namespace).title for end in found))
            raise Undecided(here.title, f"{wanted} is in {names}: the first to answer gets it")
        if found:
            self._check_sender(link, found[0], packet)
            end = switched(self.scene, segment, found[0], packet.flow)
            if end:
                self._check_port(end)
                return end
            wanted, by_hand = packet.flow.destination, False
        if segment.outside and not by_hand:
            return None
        raise Blocked(Code.NO_NEIGHBOUR, here.title, f"nobody on {link.name} answers for {wanted}",
                      Cause(device=link.name, address=wanted))

    def _check_sender(self, link: Link, end: End, packet: Packet) -> None:
        """A guarded bridge forwards only frames whose sender is genuine."""
        if end.entry and not lets_in(self.scene, end, link.mac, packet.flow.source):
            where, port = end.entry
            raise Blocked(Code.SOURCE_REFUSED, self.scene.of(where).title,
                          f"{packet.flow.source} with MAC {link.mac} is not allowed to send through port "
                          f"{port} (nft table bridge {BRIDGE_TABLE})", Cause(device=port))

    def _check_port(self, end: End) -> None:
        """A bridge without flooding forwards only to ports that it knows the MAC at."""
        lost = lost_at(self.scene, end)
        if lost:
            reason = f"the bridge does not know that MAC {end.link.mac} is at port {lost[1]}"
            raise Blocked(Code.NO_NEIGHBOUR, self.scene.of(lost[0]).title, reason, Cause(device=lost[1]))

    def _leave(self, here: Namespace, link: Link, wanted: Address, packet: Packet,
               route: Route, segment: Segment) -> Arrival:
        """Out of what is visible: from the host to the world, if an answer can come back."""
        if here.name != HOST:
            reason = f"{segment.outside[0]} leads to a namespace without a name: it can't be read"
            raise Undecided(here.title, reason)
        source = packet.flow.source
        if not self.scene.is_known_outside(link.name, source):
            raise Blocked(Code.NO_NAT, here.title,
                          f"{packet} leaves by {link.name} with a source address that answers can't reach")
        check_known(here, link, wanted, route)
        self._tell(here, f"{packet} leaves this host by {link.name}, for {wanted}")
        return Arrival(here.name, packet, link.name)

    def _cross(self, end: End, packet: Packet) -> None:
        """The network ACLs of the subnets that it leaves and gets into on the way to that end."""
        for where, incoming, outgoing in crossings(end):
            here = self.scene.of(where)
            for decision in met(here, packet, incoming, outgoing):
                self._tell(here, decision)

    def _switch(self, way: tuple[Switched, ...], packet: Packet) -> Packet:
        """Through bridges and, if bridge-nf-call-iptables is on, through their namespaces' rules."""
        for step in way:
            namespace = self.scene.of(step.namespace)
            self._tell(namespace, f"bridge {step.bridge} switches from {step.incoming} to {step.outgoing}")
            called = namespace.number(f"net/bridge/bridge-nf-call-{namespace.family.tool}")
            if called or namespace.links[step.bridge].nf_call:
                packet = self._filter_frame(namespace, step.bridge, packet).outside()
        return packet

    def _filter_frame(self, namespace: Namespace, bridge: str, packet: Packet) -> Packet:
        """br_netfilter_hooks.c: a frame meets the rules as if it came in and left by the bridge."""
        packet = self._pass(namespace, Hook.PREROUTING, packet, Ways(bridge, switched=True))
        packet = self._pass(namespace, Hook.FORWARD, packet, Ways(bridge, bridge, switched=True))
        return self._pass(namespace, Hook.POSTROUTING, packet, Ways("", bridge, switched=True))

    def _arrive(self, here: Namespace, device: str, packet: Packet, left: int) -> Arrival:
        """A packet that came in by a link: for this namespace, or to be forwarded."""
        self.passed.append(here.name)
        packet = self._pass(here, Hook.PREROUTING, packet, Ways(device))
        route = inward(here, packet, device, self.forks.pick)
        if route.kind == "local":
            return self._deliver(here, device, packet)
        check_forwarding(here, device, packet.flow.destination)
        self._tell(here, f"route {route}")
        packet = self._pass(here, Hook.FORWARD, packet, Ways(device, route.device))
        return self._transmit(here, route, packet, left - 1)

    def _pass(self, here: Namespace, hook: Hook, packet: Packet, ways: Ways) -> Packet:
        after, decisions = self._tracker.pass_hook(here, hook, packet, ways)
        for decision in decisions:
            self._note_diversion(here, decision)
            reason = _worth_telling(decision)
            if reason:
                self._tell(here, reason)
        if after.flow != packet.flow:
            self._tell(here, f"translated: {packet} is now {after}")
        return after


    def _note_diversion(self, here: Namespace, decision: Decision) -> None:
        """Remember the rule that sent the packet elsewhere: only the end shows whether that matters."""
        rule = decision.outcome.rule
        if rule and decision.outcome.target in ("DNAT", "REDIRECT"):
            cause = Cause("nat", rule.chain, rule.words)
            self.diverted = Blocked(Code.DIVERTED, here.title, f"-t nat {rule}", cause)


def _flow(here: Namespace, source: Address, destination: Address, port: int | None) -> Flow:
    """Both ends of a first packet; a ping has no port."""
    if port is None:
        return Flow(source, destination)
    return Flow(source, destination, here.ports, Ports(port, port))


def _way_out(route: Route) -> str:
    return LOOPBACK if route.kind == "local" else route.device


def _worth_telling(decision: Decision) -> str:
    """The rule that let the packet through; a policy only after rules, mostly in FORWARD."""
    outcome = decision.outcome
    table = "" if decision.table == "filter" else f"-t {decision.table} "
    if outcome.rule is not None:
        return f"rule {table}{outcome.rule}"
    return outcome.policy if decision.table == "filter" and outcome.policy.startswith("FORWARD") else ""
