"""Ports of the host that lead to machines: how they are written, which can be together, their rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.managers.ports import leads, led, others
from vpcctl_lib.model import addressing6, naming, publishing
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.topology import Machine, Nat, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.reach.match import Place
from vpcctl_lib.reach.tables import parse_save
from vpcctl_lib.resources import Chain, Forwarding, Forwarding6, Localnet, Localnet6, Route

HOST = IPv4Address("203.0.113.2")
HOST6 = IPv6Address("2001:db8::2")
WEB = Publish(8080, 80)


def network(*publishes: Publish, nat: bool = True, other: bool = False) -> Topology:
    """A VPC with these ports at its public subnet's own machine; `other`: one before it has the same CIDR."""
    cidr = IPv4Network("10.0.0.0/16")
    subnets = (Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC,
                      machines=(Machine(publishes=publishes),)),
               Subnet("private", IPv4Network("10.0.2.0/24")))
    found = Vpc("vpc1", cidr, 1, nat=Nat("eth0") if nat else None, subnets=subnets)
    return Topology(((Vpc("first", cidr, 0),) if other else ()) + (found,), front=HOST)


def dual(*publishes: Publish, prefix: str = "fd12:3456:789a:100::/56", tap: str = "") -> Topology:
    """The same VPC with IPv6; with a tap, a virtual machine has the ports."""
    found = network(*(() if tap else publishes), nat=True)
    (vpc,) = found.vpcs
    public, private = (replace(one, ipv6=addressing6.part(IPv6Network(prefix), number + 1))
                       for number, one in enumerate(vpc.subnets))
    guest = Machine("vm", (IPv4Address("10.0.1.5"),), tap=tap, publishes=publishes)
    public = replace(public, machines=(*public.machines, guest)) if tap else public
    return replace(found, vpcs=(replace(vpc, ipv6=IPv6Network(prefix), subnets=(public, private)),),
                   front6=HOST6, entrances=("eth0",))


def rules(topology: Topology, namespace: str, table: str, name: str,
          family: Family = Family.INET) -> tuple[str, ...]:
    return next(one.rules for one in Chain.among(blueprint(topology))
                if (one.namespace, one.table, one.name, one.family) == (namespace, table, name, family))


@pytest.mark.parametrize(("text", "found"), [
    ("8080:80", WEB), ("8080:80/tcp", WEB), ("53:53/udp", Publish(53, 53, Transport.UDP)),
    ("203.0.113.2:8080:80", Publish(8080, 80, listen=HOST)),
    ("[2001:db8::2]:8080:80", Publish(8080, 80, listen=HOST6)),
    ("[::1]:53:53/udp", Publish(53, 53, Transport.UDP, IPv6Address("::1"))),
])
def test_a_port_is_written_as_docker_writes_it(text: str, found: Publish) -> None:
    assert publishing.parse(text) == found
    assert publishing.parse(str(found)) == found


@pytest.mark.parametrize("text", [
    "", "80", "0:80", "80:0", "65536:80", "80:65536", "a:80", "80:80/icmp", "80:80:80", "0.0.0.0:80:80",
    "224.0.0.1:80:80", "1.2.3:80:80", "80:80 ", "٨:80", "-1:80", "2001:db8::2:80:80", "[]:80:80",
    "[::]:80:80", "[fe80::1]:80:80", "[ff02::1]:80:80", "[::ffff:1.2.3.4]:80:80", "[2001:db8]:80:80",
    "[203.0.113.2]:80:80",
])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        publishing.parse(text)


@pytest.mark.parametrize(("one", "other", "meets"), [
    (WEB, replace(WEB, to=81), True), (WEB, replace(WEB, port=8081), False),
    (WEB, replace(WEB, protocol=Transport.UDP), False), (WEB, replace(WEB, listen=HOST), True),
    (replace(WEB, listen=HOST), replace(WEB, listen=IPv4Address("127.0.0.1")), False),
    (replace(WEB, listen=HOST), replace(WEB, listen=HOST6), False), (WEB, replace(WEB, listen=HOST6), True),
])
def test_a_port_leads_to_one_machine(one: Publish, other: Publish, meets: bool) -> None:
    assert one.meets(other) is other.meets(one) is meets
    if meets:
        with pytest.raises(VpcctlError, match="already leads to vpc1/public"):
            publishing.check(dual(one, other))
    else:
        publishing.check(dual(one, other))


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


def test_each_family_has_the_rules_of_the_ports_that_are_of_it() -> None:
    at4, at6 = replace(WEB, listen=HOST), replace(WEB, port=81, listen=HOST6)
    everywhere = replace(WEB, port=82)
    topology = dual(at4, at6, everywhere)
    fourth, sixth = (rules(topology, "", "nat", naming.HOST_PORTS, family) for family in Family)
    assert [rule.partition("--dport ")[2].split()[0] for rule in fourth] == ["8080", "82"]
    assert [rule.partition("--dport ")[2].split()[0] for rule in sixth] == ["81", "82"]
    assert sixth[0].startswith("-d 2001:db8::2/128 -p tcp ")
    assert all(rule.endswith("-j DNAT --to-destination [fd12:3456:789a:101::2]:80") for rule in sixth)
    forward = rules(topology, "vpc1", "filter", "FORWARD", Family.INET6)
    assert len([rule for rule in forward if rule.startswith("-d fd12:3456:789a:101::2/128 -i uplink ")]) == 2
    assert forward[-1] == "-j REJECT --reject-with icmp6-no-route"


@pytest.mark.parametrize(("publishes", "tap", "has4", "has6"), [
    ((WEB,), "", True, True), ((replace(WEB, listen=HOST),), "", True, False),
    ((replace(WEB, listen=HOST6),), "", False, True), ((WEB,), "vm0", True, True), ((), "", False, False),
])
def test_a_family_without_ports_has_none_of_what_they_need(
        publishes: tuple[Publish, ...], tap: str, has4: bool, has6: bool) -> None:
    found = blueprint(dual(*publishes, tap=tap))
    for family, has in zip(Family, (has4, has6), strict=True):
        names = {one.name for one in Chain.among(found) if one.family is family}
        assert (naming.HOST_PORTS in names) is has
        assert (naming.HOST_SOURCES in names) is has
    assert bool([*Localnet.among(found)]) is has4
    assert bool([*Localnet6.among(found)]) is has6
    nat = {"eth0", "vpc-vpc1"}
    assert {one.device for one in Forwarding6.among(found)} == nat


def test_what_comes_by_other_links_goes_on_only_to_ports() -> None:
    closed = replace(dual(WEB), vpcs=(replace(dual(WEB).vpcs[0], nat=None),), entrances=("lan", "eth0"))
    assert [one.device for one in Forwarding6.among(blueprint(closed))] == ["vpc-vpc1", "lan", "eth0"]
    assert not any("-s fd12" in rule for rule in rules(closed, "", "nat", naming.HOST_PUBLISH, Family.INET6))
    without = replace(closed, vpcs=network(WEB, nat=False).vpcs)
    assert not [*Forwarding6.among(blueprint(without))]


@pytest.mark.parametrize("prefix", ["fd12:3456:789a:100::/56", "2a01:4f8:0:100::/56"])
def test_clients_in_vpcs_get_the_host_s_address_whoever_knows_theirs(prefix: str) -> None:
    public = addressing6.part(IPv6Network(prefix), 1)
    found = rules(dual(WEB, prefix=prefix), "", "nat", naming.HOST_PUBLISHED, Family.INET6)
    assert found[0].startswith("-s ::1/128 -o vpc-vpc1 ")
    assert found[1] == f"-s {public} -m comment --comment vpcctl:vpc1/public -j SNAT --to-source 2001:db8::2"
    assert found[2].endswith("-j ACCEPT")


def test_an_address_of_a_family_that_the_machine_lacks_is_refused() -> None:
    at6 = replace(WEB, listen=HOST6)
    publishing.check(dual(at6))
    with pytest.raises(VpcctlError, match=r"\[2001:db8::2\]:8080/tcp .* to vpc1/public: VPC 'vpc1' has no"):
        publishing.check(network(at6))
    publishing.check(dual(at6, tap="vm0"))


def test_ports_of_one_family_free_connections_of_that_family_only() -> None:
    four, six = (next(one for one in Chain.among(blueprint(dual(WEB)))
                      if (one.name, one.family) == (naming.HOST_PORTS, family)) for family in Family)
    freed = [one.frees(None) for one in (four, six)]
    assert [one and (one.ports, one.family) for one in freed] == [
        ((("tcp", 8080),), Family.INET), ((("tcp", 8080),), Family.INET6)]


def test_the_host_s_end_of_a_vpc_s_cable_is_refused_but_where_it_is_recorded() -> None:
    # It goes with that VPC, and then a file with the port could not be applied.
    at_end = dual(replace(WEB, listen=IPv6Address("fd12:3456:789a:100::2")), prefix="fd12:3456:789a:100::/56")
    with pytest.raises(VpcctlError, match="among the addresses of VPC 'vpc1'"):
        publishing.check(at_end)
    publishing.check(at_end, at_end)
