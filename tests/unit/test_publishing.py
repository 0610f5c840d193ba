"""Ports of the host that lead to machines: how they are written, which can be together, their rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.managers.ports import leads, led, others
from vpcctl_lib.model import naming, publishing
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.topology import Machine, Nat, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.reach.match import Place
from vpcctl_lib.reach.tables import parse_save
from vpcctl_lib.resources import Chain, Forwarding, Localnet, Route

HOST = IPv4Address("203.0.113.2")
WEB = Publish(8080, 80)


def network(*publishes: Publish, nat: bool = True, other: bool = False) -> Topology:
    """A VPC with these ports at its public subnet's own machine; `other`: one before it has the same CIDR."""
    cidr = IPv4Network("10.0.0.0/16")
    subnets = (Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC,
                      machines=(Machine(publishes=publishes),)),
               Subnet("private", IPv4Network("10.0.2.0/24")))
    found = Vpc("vpc1", cidr, 1, nat=Nat("eth0") if nat else None, subnets=subnets)
    return Topology(((Vpc("first", cidr, 0),) if other else ()) + (found,), front=HOST)


def rules(topology: Topology, namespace: str, table: str, name: str) -> tuple[str, ...]:
    return next(one.rules for one in Chain.among(blueprint(topology))
                if (one.namespace, one.table, one.name) == (namespace, table, name))


@pytest.mark.parametrize(("text", "found"), [
    ("8080:80", WEB), ("8080:80/tcp", WEB), ("53:53/udp", Publish(53, 53, Transport.UDP)),
    ("203.0.113.2:8080:80", Publish(8080, 80, listen=HOST)),
])
def test_a_port_is_written_as_docker_writes_it(text: str, found: Publish) -> None:
    assert publishing.parse(text) == found
    assert publishing.parse(str(found)) == found


@pytest.mark.parametrize("text", [
    "", "80", "0:80", "80:0", "65536:80", "80:65536", "a:80", "80:80/icmp", "80:80:80", "0.0.0.0:80:80",
    "224.0.0.1:80:80", "1.2.3:80:80", "80:80 ", "٨:80", "-1:80",
])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        publishing.parse(text)


@pytest.mark.parametrize(("one", "other", "meets"), [
    (WEB, replace(WEB, to=81), True), (WEB, replace(WEB, port=8081), False),
    (WEB, replace(WEB, protocol=Transport.UDP), False), (WEB, replace(WEB, listen=HOST), True),
    (replace(WEB, listen=HOST), replace(WEB, listen=IPv4Address("127.0.0.1")), False),
])
def test_a_port_leads_to_one_machine(one: Publish, other: Publish, meets: bool) -> None:
    assert one.meets(other) is other.meets(one) is meets
    if meets:
        with pytest.raises(VpcctlError, match="already leads to vpc1/public"):
            publishing.check(network(one, other))
    else:
        publishing.check(network(one, other))


def test_of_two_the_new_one_is_refused() -> None:
    had, more = network(WEB), network(WEB)
    (vpc,) = more.vpcs
    for name, place in (("public", "vpc1/private"), ("private", "vpc1/public")):
        had = replace(had, vpcs=(_with(vpc, {name: ()}),))
        with pytest.raises(VpcctlError, match=f"already leads to {place}"):
            publishing.check(replace(more, vpcs=(_with(vpc, {}),)), had)


def _with(vpc: Vpc, ports: dict[str, tuple[Publish, ...]]) -> Vpc:
    """The VPC with the same port at both machines, but for those that are given."""
    return replace(vpc, subnets=tuple(replace(one, machines=(Machine(publishes=ports.get(one.name, (WEB,))),))
                                      for one in vpc.subnets))


def test_two_addresses_with_one_port_need_a_route_to_the_machine() -> None:
    both = (replace(WEB, listen=HOST), replace(WEB, listen=IPv4Address("127.0.0.1")))
    publishing.check(network(*both))
    with pytest.raises(VpcctlError, match="overlaps"):
        publishing.check(network(*both, other=True))


def test_a_network_without_ports_has_none_of_their_rules() -> None:
    names = {one.name for one in Chain.among(blueprint(network()))}
    assert not names & {naming.HOST_PORTS, naming.HOST_PUBLISH, naming.HOST_PUBLISHED}
    assert not list(Localnet.among(blueprint(network())))


@pytest.mark.parametrize(("other", "goal"), [(False, "10.0.1.2:80"), (True, "169.254.64.3:8080")])
def test_the_host_leads_the_port_to_the_machine_or_to_its_router(other: bool, goal: str) -> None:
    topology = network(WEB, other=other)
    (led,) = rules(topology, "", "nat", naming.HOST_PORTS)
    assert led.endswith(f"--dport 8080 -m comment --comment vpcctl:vpc1/public~publish "
                        f"-j DNAT --to-destination {goal}")
    (accepted,) = rules(topology, "", "filter", naming.HOST_PUBLISHED)
    address, _, port = goal.partition(":")
    assert f"--ctreplsrc {address} --ctorigdstport 8080 --ctreplsrcport {port}" in accepted
    if other:
        (further,) = rules(topology, "vpc1", "nat", "PREROUTING")
        assert further.startswith("-d 169.254.64.3/32 -i uplink -p tcp -m tcp --dport 8080 ")
        assert further.endswith("-j DNAT --to-destination 10.0.1.2:80")


def test_the_chain_is_there_before_the_rule_that_leads_to_it() -> None:
    names = [one.name for one in Chain.among(blueprint(network(WEB))) if one.table == "filter"]
    assert names.index(naming.HOST_PUBLISHED) < names.index(naming.HOST_FORWARD)
    answers, known, jump = rules(network(WEB), "", "filter", naming.HOST_FORWARD)[:3]
    assert "--ctstate ESTABLISHED,RELATED" in answers
    assert "--ctstate ESTABLISHED" in known
    assert jump.endswith(naming.HOST_PUBLISHED)


def test_only_machines_with_a_way_out_may_use_the_ports() -> None:
    public, others, outside = rules(network(WEB), "", "nat", naming.HOST_PUBLISH)
    assert (public.split()[1], public.split()[-1]) == ("10.0.1.0/24", naming.HOST_PORTS)
    assert others.endswith("-j RETURN")
    assert outside.endswith(naming.HOST_PORTS)
    for closed in (network(WEB, nat=False), replace(network(WEB), front=None)):
        assert not any("-s 10.0.1.0/24" in rule for rule in rules(closed, "", "nat", naming.HOST_PUBLISH))
        assert not any("SNAT" in rule for rule in rules(closed, "", "nat", naming.HOST_PUBLISHED))


def test_answers_find_their_way_without_nat() -> None:
    found = blueprint(network(WEB, nat=False))
    assert any(one.namespace == "vpc1" and one.device == "uplink" and one.destination.prefixlen == 0
               for one in Route.among(found))
    assert len(list(Forwarding.among(found))) == 1
    assert not any("-s 10.0.1.0/24" in rule for rule in rules(network(WEB, nat=False), "vpc1", "filter",
                                                             "FORWARD"))


def test_a_port_that_leads_elsewhere_frees_its_connections() -> None:
    one, other = (next(one for one in Chain.among(blueprint(network(port))) if one.name == naming.HOST_PORTS)
                  for port in (WEB, Publish(53, 53, Transport.UDP)))
    freed = one.frees(other)
    assert freed
    assert freed.ports == (("tcp", 8080), ("udp", 53))
    assert one.frees(one) is None
    whole = one.frees(None)
    assert whole
    assert whole.ports == (("tcp", 8080),)


@pytest.mark.parametrize(("rule", "found"), [
    ("-p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", True),
    ("! -i docker0 -p tcp -m tcp --dport 8000:9000 -j DNAT --to-destination 172.17.0.2:80", True),
    ("-p tcp -m multiport --dports 80,8080 -j REDIRECT --to-ports 3128", True),
    ("-d 198.51.100.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", False),
    ("-d 203.0.113.0/24 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", True),
    ("-p udp -m udp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", False),
    ("-p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80", False),
    ("-p tcp -m tcp --dport 8080 -j MASQUERADE", False), ("-j DOCKER", False),
])
def test_a_rule_of_others_may_have_the_port(rule: str, found: bool) -> None:
    assert leads(rule, replace(WEB, listen=HOST)) is found


@pytest.mark.parametrize(("rules", "meets"), [
    ("-A PREROUTING -d 203.0.113.2/32 -j DNAT --to-destination 192.168.1.5", True),
    ("-A PREROUTING -i eth0 -p tcp -j DNAT --to-destination 192.168.1.5", True),
    ("-A PREROUTING -p tcp -m tcp ! --dport 22 -j REDIRECT --to-ports 1", True),
    ("-A PREROUTING -m addrtype --dst-type LOCAL -j ONE\n-A ONE -p tcp -j DNAT --to-destination 10.9.0.1",
     True),
    ("-A PREROUTING -p tcp -m multiport ! --dports 81,82 -j DNAT --to-destination 192.168.1.5", True),
    ("-A PREROUTING -p udp -j DNAT --to-destination 192.168.1.5", False),
    ("-A PREROUTING -i eth1 -j DNAT --to-destination 192.168.1.5", False),
    ("-A PREROUTING -s 192.0.2.0/24 -j DNAT --to-destination 192.168.1.5", False),
    ("-A PREROUTING -d 203.0.113.9/32 -j ONE\n-A ONE -p tcp -j DNAT --to-destination 10.9.0.1:80", False),
    ("-A PREROUTING -p tcp -m tcp --dport 8080 -j ACCEPT\n-A PREROUTING -j DNAT --to-destination 10.9.0.1",
     False),
    ("-A PREROUTING -m set --match-set some dst -j DNAT --to-destination 10.9.0.1", False),
    ('-A PREROUTING -m comment --comment "vpcctl:host" -j DNAT --to-destination 10.9.0.1', False),
])
def test_a_rule_of_another_s_that_says_nothing_of_the_port(rules: str, meets: bool) -> None:
    tables = parse_save(f"*nat\n:PREROUTING ACCEPT [0:0]\n:ONE - [0:0]\n{rules}\nCOMMIT\n")
    place = Place("eth0", address_type=lambda one: "LOCAL" if one == HOST else "UNICAST")
    assert bool([*led(others(tables), WEB, HOST, place)]) is meets


def test_an_address_of_a_cable_is_no_place_to_listen() -> None:
    with pytest.raises(BadInput, match="among the addresses of vpcctl's own links"):
        publishing.parse("169.254.64.2:8080:80")
