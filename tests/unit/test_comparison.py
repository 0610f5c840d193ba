"""What a plan says of the way from one network to another."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from vpcctl_lib.model.comparison import compare
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.topology import Subnet, SubnetType, Topology, Vpc

HTTP = Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80))
SSH = Rule(Protocol.TCP, Action.ALLOW, Ports(22, 22))
POLICY = Policy((HTTP,))


def network(policy: Policy | None) -> Topology:
    """A network whose only subnet has that policy."""
    subnet = Subnet("s", IPv4Network("10.0.1.0/24"), policy=policy)
    return Topology((Vpc("a", IPv4Network("10.0.0.0/16"), subnets=(subnet,)),))


@pytest.mark.parametrize(("old", "new", "told"), [
    (None, POLICY, "+ firewall of a/s: 1 rule, none before"),
    (POLICY, None, "- firewall of a/s: the file has none: the subnet opens"),
    (POLICY, replace(POLICY, egress=()), "~ firewall of a/s: egress: open → 0 rules"),
    (replace(POLICY, egress=(SSH,)), POLICY, "~ firewall of a/s: egress: 1 rule → open"),
    (POLICY, replace(POLICY, default=Action.ALLOW), "~ firewall of a/s: default deny becomes allow"),
    (POLICY, replace(POLICY, description="web"), "~ firewall of a/s: its description differs"),
    (POLICY, Policy((replace(HTTP, description="web"),)), "~ firewall of a/s: ingress: descriptions differ"),
    (POLICY, Policy((SSH,)), "~ firewall of a/s: ingress: rules differ (1 → 1)"),
    (Policy((HTTP, SSH)), Policy((SSH, HTTP)), "~ firewall of a/s: ingress: rules differ (2 → 2)"),
    (POLICY, Policy((HTTP, SSH), (), Action.ALLOW),
     "~ firewall of a/s: ingress: rules differ (1 → 2), egress: open → 0 rules, "
     "default deny becomes allow"),
])
def test_what_of_a_firewall_differs(old: Policy | None, new: Policy | None, told: str) -> None:
    assert [str(line) for line in compare(network(old), network(new))] == [told]


def test_a_firewall_that_is_the_same() -> None:
    assert compare(network(POLICY), network(POLICY)) == []

def test_a_subnet_of_another_type_or_cidr_is_changed() -> None:
    old = network(None)
    subnet = old.vpcs[0].subnets[0]
    for new, told in ((replace(subnet, type=SubnetType.PUBLIC), "public 10.0.1.0/24"),
                      (replace(subnet, cidr=IPv4Network("10.0.2.0/24")), "private 10.0.2.0/24")):
        wanted = Topology((replace(old.vpcs[0], subnets=(new,)),))
        assert [str(line) for line in compare(old, wanted)] == [
            f"~ subnet a/s: private 10.0.1.0/24 becomes {told}"]
        assert compare(wanted, wanted) == []
