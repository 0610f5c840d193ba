"""How neighbours find each other: by ARP, and in IPv6 by packets like others, which rules may stop."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from vpcctl_lib.firewall.dual import ADVERTISEMENT, SOLICITATION
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.reach.hooks import Hook, Tracker, Ways
from vpcctl_lib.reach.links import Link
from vpcctl_lib.reach.packet import Blocked, Cause, Code, Flow, Packet, State
from vpcctl_lib.reach.scene import Namespace, Scene
from vpcctl_lib.reach.segment import End, Segment, answering, hears, lets_in, remembered

SOLICITED = int(IPv6Address("ff02::1:ff00:0"))
"""With the last 24 bits of an address, the group of those who may have it (RFC 4291, 2.7.1)."""

LAST_BITS = 0xFFFFFF
FROM_THE_LINK = 255
"""The hop limit of what no router has sent on."""


class Discovery:
    """Who has found whom, on one walk: a question also says where its sender is."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._heard: dict[tuple[str, str, Address], str] = {}
        """By namespace, link and address, the MAC."""

    def find(self, near: Namespace, link: Link, segment: Segment, wanted: Address,
             source: Address) -> tuple[list[End], bool]:
        """Who has an address, for a packet from `source`, and whether that is a permanent entry."""
        known, by_hand = remembered(near, link, segment, wanted)
        if by_hand or (known and near.family is Family.INET):
            return known, by_hand
        if near.family is Family.INET:
            return answering(self._scene, near, link, segment, wanted, source), False
        return self._answering(near, link, segment, wanted, source), False

    def check_found(self, here: Namespace, link: Link, asker: Address, destination: Address) -> None:
        """Blocked if rules keep who is beyond a link of the host from finding the host there."""
        held = [one.address for one in link.addresses if not one.unusable]
        wanted = next((one for one in held if one == destination), next(iter(held), None))
        if here.family is Family.INET or wanted is None:
            return
        _pass(here, _question(asker, wanted), wanted, (Hook.PREROUTING, Hook.INPUT), Ways(link.name))
        answer = _message(ADVERTISEMENT, Flow(wanted, asker))
        _pass(here, answer, wanted, (Hook.OUTPUT, Hook.POSTROUTING), Ways("", link.name))

    def check_router(self, here: Namespace, link: Link, guest: Address) -> None:
        """Blocked if a virtual machine behind a tap does not find its router there."""
        held = next((one.address for one in link.addresses if not one.unusable), None)
        if held is None and here.family is Family.INET6:
            raise Blocked(Code.NO_ADDRESS, here.title,
                          f"{link.name} has no address, which the virtual machine's router would have",
                          Cause(device=link.name))
        if held is not None:
            self.check_found(here, link, guest, held)

    def _answering(self, near: Namespace, link: Link, segment: Segment, wanted: Address,
                   source: Address) -> list[End]:
        """The ends that answer a solicitation for an address, as ndisc_recv_ns() of net/ipv6/ndisc.c does.

        Blocked if rules stop the question or the answer. Who is known already is asked again after seconds.
        """
        heard = self._heard.get((near.name, link.name, wanted))
        if heard is not None:
            return segment.having(heard)
        sender = _sender(near, link, wanted, source)
        question = _question(sender, wanted)
        answer = _message(ADVERTISEMENT, Flow(wanted, sender))
        _pass(near, question, wanted, (Hook.OUTPUT, Hook.POSTROUTING), Ways("", link.name))
        found = [end for end in segment.ends if self._can_answer(end, link, sender, wanted)]
        for end in found:
            far = self._scene.of(end.namespace)
            _pass(far, question, wanted, (Hook.PREROUTING, Hook.INPUT), Ways(end.link.name))
            self._heard[far.name, end.link.name, sender] = link.mac
            _pass(far, answer, wanted, (Hook.OUTPUT, Hook.POSTROUTING), Ways("", end.link.name))
        if found or segment.outside:
            _pass(near, answer, wanted, (Hook.PREROUTING, Hook.INPUT), Ways(link.name))
        return found

    def _can_answer(self, end: End, link: Link, sender: Address, wanted: Address) -> bool:
        """Whether bridges and guards let the question and the answer pass, and it has the address."""
        return lets_in(self._scene, end, link.mac, sender, is_question=True) and hears(self._scene, end) \
            and _has(self._scene.of(end.namespace), end.link, wanted) \
            and _may_answer(self._scene, end, wanted)


def _sender(near: Namespace, link: Link, wanted: Address, source: Address) -> Address:
    """Who asks: the packet's own source if that is an address of the link, else a link-local one."""
    usable = [one for one in link.addresses if not one.unusable]
    own = next((one.address for one in usable if one.address == source), None)
    found = own or next((one.address for one in usable if one.scope == "link"), None)
    if found is None:
        raise Blocked(Code.NO_ADDRESS, near.title,
                      f"{link.name} has no link-local address, from which to ask for {wanted}",
                      Cause(device=link.name))
    return found


def _question(sender: Address, wanted: Address) -> Packet:
    group = IPv6Address(SOLICITED | int(wanted) & LAST_BITS)
    return _message(SOLICITATION, Flow(sender, group))


def _message(kind: int, flow: Flow) -> Packet:
    return Packet(Protocol.ICMPV6, flow, icmp=kind, state=State.UNTRACKED, hops=FROM_THE_LINK)


def _pass(where: Namespace, message: Packet, wanted: Address, hooks: tuple[Hook, ...], ways: Ways) -> None:
    for hook in hooks:
        try:
            Tracker().pass_hook(where, hook, message, ways)
        except Blocked as blocked:
            asks = f"{blocked.rule} refuses {_word(message)} {wanted}"
            raise Blocked(blocked.code, blocked.where, asks,
                          replace(blocked.cause, flow=None, seeks=True)) from None


def _word(message: Packet) -> str:
    return "the question for" if message.icmp == SOLICITATION else "the answer of"


def _has(namespace: Namespace, link: Link, wanted: Address) -> bool:
    return not namespace.per_link(link.name, "disable_ipv6") \
        and any(one.address == wanted and not one.unusable for one in link.addresses)


def _may_answer(scene: Scene, end: End, wanted: Address) -> bool:
    """Whether the guard at the port behind which it is lets an answer in."""
    guards = [(scene.of(where).guard, port) for where, port in end.exits[-1:]]
    return all(guard is None or guard.lets_in(port, end.link.mac, wanted, is_question=True)
               for guard, port in guards)
