"""One rule more: at the end, never without effect, and what a subnet without a policy becomes."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.additions import with_rule
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule

ALLOW, DENY = Action.ALLOW, Action.DENY


def rule(action: Action, protocol: Protocol = Protocol.TCP, ports: str = "", source: str = "") -> Rule:
    first, _, last = ports.partition("-")
    return Rule(protocol, action, Ports(int(first), int(last or first)) if ports else None,
                ip_network(source) if source else None)


WEB, SSH = rule(ALLOW, ports="80"), rule(ALLOW, ports="22", source="10.0.2.0/24")
POLICY = Policy((WEB, SSH), egress=(), description="kept")


def test_without_a_policy_the_rest_is_denied_after_an_allow_and_open_after_a_deny() -> None:
    policy, note = with_rule(None, WEB)
    assert policy == Policy((WEB,))
    assert note == "there was no policy: everything else that comes in is now denied"
    policy, note = with_rule(None, rule(DENY, ports="80"))
    assert policy == Policy((rule(DENY, ports="80"),), default=ALLOW)
    assert note == "there was no policy: everything else stays open"


@pytest.mark.parametrize("new", [
    rule(ALLOW, ports="443"), rule(ALLOW, ports="22"), rule(ALLOW, ports="22", source="10.0.0.0/16"),
    rule(ALLOW, ports="79-80"), rule(ALLOW, Protocol.UDP, "80"), rule(ALLOW), rule(ALLOW, Protocol.ALL),
    rule(DENY, Protocol.ICMP), rule(DENY, ports="81-90"), rule(DENY, ports="22", source="10.0.3.0/24"),
    rule(ALLOW, ports="22", source="2001:db8::/32"),
])
def test_it_comes_last_and_all_else_stays(new: Rule) -> None:
    assert with_rule(POLICY, new) == (Policy((WEB, SSH, new), egress=(), description="kept"), "")


@pytest.mark.parametrize("new", [WEB, rule(ALLOW, ports="80", source="10.0.0.0/8"),
                                 rule(ALLOW, ports="22", source="10.0.2.5/32")])
def test_what_is_allowed_already_changes_nothing(new: Rule) -> None:
    assert with_rule(POLICY, new) == (POLICY, "")


def test_a_network_of_ipv6_is_in_another_one_or_beside_it() -> None:
    networks = ("fd00::/48", "fd00:0:0:7::/64", "fd00:0:1::/48")
    office, desk, beside = (rule(ALLOW, source=one) for one in networks)
    assert with_rule(Policy((office,)), desk) == (Policy((office,)), "")
    for earlier, new in ((office, beside), (desk, office), (office, SSH)):
        assert with_rule(Policy((earlier,)), new) == (Policy((earlier, new)), "")


@pytest.mark.parametrize("new", [rule(DENY, ports="80"), rule(DENY, ports="80", source="1.2.3.4/32")])
def test_what_an_earlier_rule_decides_wholly_is_refused(new: Rule) -> None:
    with pytest.raises(VpcctlError, match=r"no effect: ingress\[0\] allows all of it"):
        with_rule(POLICY, new)
    with pytest.raises(VpcctlError, match=r"no effect: ingress\[0\] denies all of it"):
        with_rule(Policy((rule(DENY),)), WEB)


@pytest.mark.parametrize(("new", "deciding"), [
    (rule(DENY), "ingress[0], ingress[1]"), (rule(DENY, Protocol.ALL), "ingress[0], ingress[1]"),
    (rule(DENY, ports="80-81"), "ingress[0]"), (rule(DENY, ports="22-80", source="10.0.0.0/16"),
                                                "ingress[0], ingress[1]"),
    (rule(DENY, ports="22", source="10.0.0.0/16"), "ingress[1]"),
])
def test_what_earlier_rules_decide_in_part_is_noted(new: Rule, deciding: str) -> None:
    policy, note = with_rule(POLICY, new)
    assert policy.ingress[-1] == new
    assert note == f"a part of it is decided before, by {deciding}"


@pytest.mark.parametrize(("earlier", "new"), [
    (Rule(Protocol.ICMP, DENY), Rule(Protocol.ALL, ALLOW, None, IPv6Network("fd00::/8"))),
    (Rule(Protocol.ALL, DENY, None, IPv6Network("fd00::/8")), Rule(Protocol.ICMP, ALLOW)),
    (Rule(Protocol.ICMPV6, DENY), Rule(Protocol.ALL, ALLOW, None, IPv4Network("10.0.0.0/8")))])
def test_rules_of_different_families_have_no_packet_in_common(earlier: Rule, new: Rule) -> None:
    assert with_rule(Policy((earlier,)), new) == (Policy((earlier, new)), "")


def test_a_rule_for_all_protocols_decides_about_each() -> None:
    for_all = Policy((rule(DENY, Protocol.ALL, source="10.0.0.0/16"),))
    with pytest.raises(VpcctlError, match=r"no effect: ingress\[0\] denies all of it"):
        with_rule(for_all, rule(ALLOW, ports="80", source="10.0.1.0/24"))
    assert with_rule(for_all, WEB)[1] == "a part of it is decided before, by ingress[0]"
