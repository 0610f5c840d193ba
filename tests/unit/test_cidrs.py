"""A VPC's CIDRs: whatever holds for the first one holds for the others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import example, given

from tests.dear import examples
from tests.fields import FULL
from tests.rooms import FILES, ROOT, tree
from tests.topologies import topologies
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model import addressing, naming, routing
from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.resources import Address, Chain, Resource
from vpcctl_lib.resources.table import Table

pytestmark = pytest.mark.usefixtures("bare_host")

FIRST, SECOND, THIRD = map(IPv4Network, ("10.0.0.0/16", "10.1.0.0/16", "192.168.0.0/24"))
OF_VPCS = {"vpc", "peer", "near", "far", "to_vpc", "beyond"}
"""What variables and fields with a VPC are called."""

FIRST_ALONE = {
    "model/route_checks.py _check_gateway": "the router's address is taken",
    "managers/instance.py _checked": "the router's address is taken",
    "blueprint/names.py _dhcp": "the router's address is in it; the others get routes",
    "model/resolving.py resolvers": "the name server's address is in it, as in AWS",
    "runtimes/guests.py address_for": "the router's address is taken",
    "views/plain.py vpc": "JSON has the others in a key of their own",
    "views/plain.py overview": "JSON has the others in a key of their own",
    "views/plain.py subnet": "the router's address is taken",
    "graph/value.py _vpc": "the others are given besides",
    "graph/blocks.py _facts": "the others are given besides",
    "graph/text.py _nodes": "JSON has the others in a key of their own",
    "managers/vpc.py decide": "it is no secondary one",
    "managers/vpc.py extended": "the others are given besides",
    "managers/vpc.py _check_unused": "the first one stays",
    "managers/topology.py _with_vpc": "another first CIDR needs another VPC",
    "managers/topology.py _moving": "another first CIDR needs another VPC",
    "files/topology.py cidr": "it is asked only whether the VPC is another one",
    "engine/union.py united": "with another first CIDR it is another VPC",
    "blueprint/routers.py router": "the bridge has the router's address",
    "blueprint/tables.py steering": "the others are given besides",
    "model/addressing6.py _prefix": "a prefix of IPv6 follows from it",
    "uplink/packets.py _obstacle": "for an address in none of them",
    "runtimes/docker_ipam.py _pool": "it is the prefix of the router's address",
    "runtimes/docker_ipam.py _request": "it is the prefix of the router's address",
}
"""Where the first CIDR of a VPC is meant alone, and why."""


def last_word(node: ast.AST) -> str:
    """Of what is read or called by a name; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def calls(within: ast.AST, around: str = "") -> Iterator[tuple[str, ast.Attribute]]:
    """What reads the field `cidr` of a VPC other than for its gateway, with the function around it."""
    for node in ast.iter_child_nodes(within):
        name = node.name if isinstance(node, ast.FunctionDef) else around
        is_gateway = isinstance(node, ast.Call) and last_word(node.func) == "gateway"
        if isinstance(node, ast.Attribute) and node.attr == "cidr" and last_word(node.value) in OF_VPCS:
            yield name, node
        if not is_gateway:
            yield from calls(node, name)


@pytest.mark.beside("code")
def test_nothing_but_this_means_the_first_one_alone() -> None:
    files = [path for path in FILES if "cidr" in path.read_text()]
    found = {f"{path.relative_to(ROOT)} {name}" for path in files for name, _ in calls(tree(path))}
    assert found == FIRST_ALONE.keys()


def lines(resources: list[Resource]) -> set[str]:
    """What the kernel gets, each rule and each line of a table with its place."""
    found: set[str] = set()
    for one in resources:
        if isinstance(one, Chain):
            found |= {f"{one.namespace} {one.table} {one.name} {rule}" for rule in one.rules}
        elif isinstance(one, Table):
            found |= {f"{one.namespace} {line.strip()}" for line in one.text().splitlines()}
        elif not isinstance(one, Address):
            found.add(str(one))
    return found


def said(line: str) -> frozenset[str]:
    """The words of a line: several networks in one may be in any order."""
    return frozenset(re.findall(r"\S+", line))


def others_networks(topology: Topology, vpc: Vpc) -> Iterator[IPv4Network]:
    """All that may be in rules without being one of a VPC's own CIDRs."""
    for one in topology.vpcs:
        yield from one.networks if one != vpc else one.cidrs
        yield from (subnet.cidr for subnet in one.subnets)
        yield from (route.destination for table in one.route_tables for route in table.routes)
        policies = [*(subnet.policy for subnet in one.subnets), *(group.policy for group in one.groups)]
        rules = [rule for policy in policies if policy for rule in (*policy.ingress, *(policy.egress or ()))]
        yield from (rule.network for rule in rules if rule.network)
        edges = (rule for acl in one.acls for rule in (*acl.ingress, *acl.egress))
        yield from (rule.network for rule in edges if rule.network)


def widened(topology: Topology) -> Topology:
    """Each VPC with one or two CIDRs more, which no other VPC has."""
    parts = IPv4Network("100.64.0.0/12").subnets(new_prefix=16)
    return replace(topology, vpcs=tuple(
        replace(vpc, cidrs=tuple(sorted((*vpc.cidrs, *(next(parts) for _ in range(1 + number % 2))))))
        for number, vpc in enumerate(topology.vpcs)))


@examples(20)
@example(widened(FULL))
@given(topologies().map(widened))
def test_whatever_says_the_first_one_says_each_of_the_others(topology: Topology) -> None:
    """The first CIDR's own route comes with the address of the bridge."""
    wide = [vpc for vpc in topology.vpcs if vpc.cidr not in others_networks(topology, vpc)]
    whole = {said(line) for line in lines(blueprint(topology))}
    for vpc in wide:
        for other in vpc.cidrs:
            for words in whole:
                first, second = str(vpc.cidr), str(other)
                if first in words and second not in words:
                    twin = {second if word == first else word for word in words}
                    assert twin in whole, (sorted(words), second)
        onto = {"route", str(vpc.cidrs[0]), naming.device("br-", vpc.name)}
        assert [one for one in whole if onto <= one]


def test_the_last_cidr_that_goes_takes_everything_with_it() -> None:
    narrow = replace(FULL, vpcs=tuple(replace(vpc, cidrs=(), subnets=tuple(
        one for one in vpc.subnets if one.cidr.subnet_of(vpc.cidr))) for vpc in FULL.vpcs))
    told = "\n".join(lines(blueprint(narrow)))
    assert not [cidr for vpc in FULL.vpcs for cidr in vpc.cidrs if str(cidr) in told]


def test_a_vpc_holds_the_addresses_of_all_its_cidrs() -> None:
    vpc = Vpc("a", FIRST, cidrs=(SECOND, THIRD))
    assert vpc.networks == (FIRST, SECOND, THIRD)
    own = ("10.0.9.9", "10.1.0.0", "192.168.0.255")
    assert [text for text in (*own, "10.2.0.0", "9.9.9.9") if vpc.holds(IPv4Address(text))] == list(own)
    assert vpc.meets(Vpc("b", IPv4Network("10.9.0.0/16"), cidrs=(IPv4Network("192.168.0.128/25"),)))
    assert not vpc.meets(Vpc("b", IPv4Network("10.9.0.0/16"), cidrs=(IPv4Network("192.168.1.0/24"),)))


@pytest.mark.parametrize("cidrs", [("10.0.5.0/24",), ("10.0.0.0/15",), ("10.1.0.0/16", "10.1.3.0/24"),
                                   ("10.1.0.0/16", "10.1.0.0/16")])
def test_they_do_not_overlap(cidrs: tuple[str, ...]) -> None:
    with pytest.raises(VpcctlError, match="overlaps the VPC's own CIDR"):
        addressing.check_secondary(tuple(map(IPv4Network, cidrs)), FIRST)


def test_there_are_so_many_at_most() -> None:
    found = list(IPv4Network("172.16.0.0/12").subnets(new_prefix=24))[:addressing.MOST_CIDRS]
    addressing.check_secondary(found[1:], FIRST)
    with pytest.raises(VpcctlError, match="more than 50 CIDRs"):
        addressing.check_secondary(found, FIRST)


def test_a_subnet_is_in_one_of_them() -> None:
    addressing.check_subnet(IPv4Network("10.1.7.0/24"), (FIRST, SECOND), [])
    with pytest.raises(BadInput, match=re.escape(
            "10.2.0.0/24 is not inside the VPC's CIDRs 10.0.0.0/16, 10.1.0.0/16 and 192.168.0.0/24")):
        addressing.check_subnet(IPv4Network("10.2.0.0/24"), (FIRST, SECOND, THIRD), [])
    # Not over the seam of two that lie side by side: AWS refuses that, too.
    with pytest.raises(BadInput, match=re.escape("VPC's CIDRs 10.0.0.0/16 and 10.1.0.0/16")):
        addressing.check_subnet(IPv4Network("10.0.0.0/15"), (FIRST, SECOND), [])


def test_the_host_has_a_route_to_all_of_a_vpcs_cidrs_or_to_none() -> None:
    first, third = Vpc("a", FIRST, 0, cidrs=(SECOND,)), Vpc("c", THIRD, 2)
    twin = Vpc("b", IPv4Network("10.9.0.0/16"), 1, cidrs=(IPv4Network("10.1.4.0/22"),))
    topology = Topology((first, twin, third), guarded=True)
    assert [routing.routed(topology, vpc) for vpc in topology.vpcs] == [True, False, True]
    told = lines(blueprint(topology))
    assert not [line for line in told if ("10.9.0.0/16 via" in line or "10.1.4.0/22 via" in line)
                and "on the host" in line]
    assert [line for line in told if line.startswith("route 10.1.0.0/16 via 169.254.64.1")]


def test_public_subnets_of_each_get_out_by_their_own_rule() -> None:
    subnets = tuple(replace(Subnet(name, IPv4Network(cidr)), type=FULL.vpcs[0].subnets[0].type)
                    for name, cidr in (("near", "10.0.1.0/24"), ("far", "10.1.1.0/24")))
    vpc = Vpc("a", FIRST, nat=FULL.vpcs[0].nat, subnets=subnets, cidrs=(SECOND,))
    told = [line for line in lines(blueprint(Topology((vpc,), guarded=True))) if "MASQUERADE" in line]
    assert sorted(line.partition("-s ")[2].split()[0] for line in told) == ["10.0.1.0/24", "10.1.1.0/24"]
