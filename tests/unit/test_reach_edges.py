"""What network ACLs say of a packet that reach follows, and the rule that its fix adds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fields import made
from tests.unit.listing import acl_table
from vpcctl_lib.files import acl_keys, keys
from vpcctl_lib.files.documents import Document
from vpcctl_lib.files.keys import Reading
from vpcctl_lib.firewall.acl_nft import Direction
from vpcctl_lib.firewall.acl_words import in_words
from vpcctl_lib.model.acls import LAST, REST, called, in_force
from vpcctl_lib.model.policies import Acl, AclRule, Action, Ports, Protocol
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.reach import acl_fix
from vpcctl_lib.reach.edges import EPHEMERAL, decisive, far_end, met
from vpcctl_lib.reach.packet import Blocked, Cause, Code, Flow, Packet, Undecided
from vpcctl_lib.reach.scene import Namespace, Passage
from vpcctl_lib.resources.acl_table import Edge, Listed, held_in
from vpcctl_lib.resources.acls import Acls

ROUTER, ONE, TWO = map(IPv4Address, ("10.0.0.1", "10.0.1.2", "10.0.2.2"))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"))
CLIENTS = Ports(32768, 60999)
WEB = Packet(Protocol.TCP, Flow(ONE, TWO, CLIENTS, Ports(80, 80)))
ANSWER = Packet(Protocol.TCP, WEB.flow.back(), answer=True)


def listed(acl: Acl) -> Listed:
    return Listed(acl.name, tuple(map(in_words, acl.ingress)), tuple(map(in_words, acl.egress)))


def allow(number: int, protocol: Protocol = Protocol.TCP, ports: Ports | None = None,
          network: str = "") -> AclRule:
    return AclRule(number, protocol, Action.ALLOW, ports, IPv4Network(network) if network else None)


def router(*acls: Acl) -> Namespace:
    """With one subnet for each ACL: their ports are s-1, s-2, and so on; in the first there is i-1, too."""
    edges = tuple(Edge(f"{number}", IPv4Address(f"10.0.{number}.0"), acl.name,
                       (f"s-{number}", *(("i-1",) if number == 1 else ())))
                  for number, acl in enumerate(acls, 1))
    held = held_in(acl_table(Acls("vpc1", ROUTER, tuple(map(listed, acls)), edges)))
    assert held is not None
    return Namespace("vpc1", passage=lambda: Passage(acls=held))


CLOSED = Acl("closed")
IN = Acl("in", ingress=(allow(100, ports=Ports(80, 80)),))
OUT = Acl("out", egress=(allow(100, ports=Ports(80, 80), network="10.0.2.0/24"),))


@pytest.mark.parametrize(("acls", "incoming", "outgoing", "said"), [
    ((OUT, IN), "s-1", "s-2", ["acl out egress rule 100", "acl in ingress rule 100"]),
    ((OUT,), "s-1", "s-9", ["acl out egress rule 100"]), ((CLOSED,), "s-8", "s-9", []),
    ((OUT,), "s-1", "", ["acl out egress rule 100"]), ((CLOSED, IN), "", "s-2", ["acl in ingress rule 100"]),
    ((CLOSED,), "s-1", "i-1", []), ((CLOSED,), "i-1", "s-1", []),
])
def test_what_lets_a_packet_through_is_told(acls: tuple[Acl, ...], incoming: str, outgoing: str,
                                            said: list[str]) -> None:
    assert list(met(router(*acls), WEB, incoming, outgoing)) == said


@pytest.mark.parametrize(("acls", "incoming", "outgoing", "rule"), [
    ((CLOSED, IN), "s-1", "s-2", "acl closed egress rule *"),
    ((OUT, CLOSED), "s-1", "s-2", "acl closed ingress rule *"),
    ((CLOSED,), "i-1", "", "acl closed egress rule *"), ((CLOSED,), "", "i-1", "acl closed ingress rule *"),
])
def test_what_denies_it_is_told(acls: tuple[Acl, ...], incoming: str, outgoing: str, rule: str) -> None:
    with pytest.raises(Blocked) as caught:
        list(met(router(*acls), WEB, incoming, outgoing))
    assert (caught.value.code, caught.value.rule, caught.value.where) == (Code.ACL_DENY, rule, "vpc1")


def test_the_router_is_not_behind_an_acl() -> None:
    to, of = (Packet(Protocol.ICMP, flow) for flow in (Flow(ONE, ROUTER), Flow(ROUTER, ONE)))
    assert list(met(router(CLOSED), to, "s-1", "")) == []
    assert list(met(router(CLOSED), of, "", "s-1")) == []
    with pytest.raises(Blocked):
        list(met(router(CLOSED), to, "s-1", "s-9"))


def test_a_table_that_is_not_ours_leaves_it_open_what_happens() -> None:
    there = Namespace("vpc1", passage=lambda: Passage(foreign={
        "forward": "nft chain bridge vpcctl-acls forward", "input": "nft chain inet x y"}))
    with pytest.raises(Undecided, match="vpcctl-acls"):
        list(met(there, WEB, "s-1", "s-2"))
    assert list(met(there, WEB, "s-1", "")) == []
    assert list(met(Namespace("vpc1"), WEB, "s-1", "s-2")) == []


def test_a_port_that_the_kernel_chooses_may_leave_it_open() -> None:
    some = AclRule(90, Protocol.TCP, Action.DENY, Ports(40000, 40009))
    with pytest.raises(Undecided, match="rule 90 of a network ACL"):
        decisive("x", in_force((some, allow(100))), ANSWER, Direction.EGRESS)
    assert decisive("x", in_force((some,)), ANSWER, Direction.EGRESS) == REST
    assert decisive("x", in_force((replace(some, ports=EPHEMERAL), allow(100))), ANSWER,
                    Direction.EGRESS).number == 90
    assert decisive("x", in_force((some, allow(100))), WEB, Direction.INGRESS).number == 100


def denied(rules: tuple[AclRule, ...], packet: Packet, direction: Direction) -> Blocked | None:
    """The refusal of a packet, if there is one."""
    rule = decisive("x", in_force(rules), packet, direction)
    if rule.action is Action.ALLOW:
        return None
    cause = Cause(chain=direction.chain("a"), rule=called(rule), packet=packet)
    return Blocked(Code.ACL_DENY, "vpc1", "", cause)


@pytest.mark.parametrize(("packet", "direction", "said"), [
    (ANSWER, Direction.EGRESS, "the answer is denied by acl `a` egress rule `*`: open 1024–65535"),
    (WEB, Direction.INGRESS, "the packet is denied by acl `a` ingress rule `*`: open 80"),
    (Packet(Protocol.ICMP, Flow(ONE, TWO)), Direction.EGRESS,
     "the packet is denied by acl `a` egress rule `*`: open icmp"),
])
def test_the_refusal_says_what_to_open(packet: Packet, direction: Direction, said: str) -> None:
    blocked = denied((), packet, direction)
    assert blocked is not None
    assert acl_fix.why(blocked) == said


@given(made(Acl), st.sampled_from((WEB, ANSWER, Packet(Protocol.ICMP, Flow(ONE, TWO)))),
       st.sampled_from(Direction))
def test_the_fix_opens_for_this_packet_and_keeps_the_rest(acl: Acl, packet: Packet,
                                                          direction: Direction) -> None:
    rules = acl.ingress if direction is Direction.INGRESS else acl.egress
    try:
        blocked = denied(rules, packet, direction)
    except Undecided:
        return
    if blocked is None:
        return
    command = acl_fix.command(VPC, acl, blocked)
    assert command is not None
    assert command.endswith(f">$rules && vpcctl acl apply --vpc vpc1 --name {acl.name} --rules $rules")
    text = re.sub(r"'\"'\"'", "'", command[command.index("'") + 1:command.rindex("' >$rules")])
    document = Document("x", json.loads(text))
    after: Acl = keys.read(acl_keys.ACL, document.data, document.top, Reading(document.top), acl.name)
    found = after.ingress if direction is Direction.INGRESS else after.egress
    known = [replace(one, number=0) for one in rules]
    more = [rule for rule in found if replace(rule, number=0) not in known]
    assert len(found) == len(rules) + 1
    assert [(one.protocol, one.action, one.network) for one in more] in (
        [], [(packet.protocol, Action.ALLOW, IPv4Network(far_end(packet, direction)))])
    assert denied(found, packet, direction) is None
    other = after.egress if direction is Direction.INGRESS else after.ingress
    assert other == (acl.egress if direction is Direction.INGRESS else acl.ingress)


@pytest.mark.parametrize(("numbers", "before", "found"), [
    ((), REST.number, (10,)), ((100, 110), REST.number, (100, 110, 120)), ((100, 110), 110, (100, 109, 110)),
    ((1,), 1, (1, 2)), ((1, 2, 3), 2, (1, 2, 3, 4)), ((LAST,), REST.number, (1, 2)),
    ((5, 90), 90, (5, 10, 90)),
])
def test_the_number_of_the_new_rule_is_free(numbers: tuple[int, ...], before: int,
                                            found: tuple[int, ...]) -> None:
    rules = tuple(allow(number, Protocol.UDP) for number in numbers)
    blocked = Blocked(Code.ACL_DENY, "vpc1", "", Cause(
        chain="in-a", rule="*" if before == REST.number else str(before), packet=WEB))
    command = acl_fix.command(VPC, Acl("a", rules), blocked)
    assert command is not None
    written = json.loads(command[command.index("'") + 1:command.rindex("' >$rules")])["ingress"]
    assert tuple(one["number"] for one in written) == found
    assert [one["number"] for one in written if one["protocol"] == "tcp"][0] <= before
