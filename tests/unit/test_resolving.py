"""The names of a VPC: which there are, what they lead to, and which can't be."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.blueprint.names import zones
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model import names, resolving
from vpcctl_lib.model.names import RESOLVER, Dns, Record
from vpcctl_lib.model.routes import NatGateway
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, Topology, Vpc
from vpcctl_lib.resources import File, Hosts, Resolver
from vpcctl_lib.workloads import relay

ADDRESS = IPv4Address("10.0.2.9")
WEB = Machine("web1", (IPv4Address("10.0.1.4"), IPv4Address("10.0.1.5")))
PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), machines=(Machine(), WEB))
RECORDS = (Record("db", (ADDRESS, IPv6Address("2001:db8::9"))), Record("www", cname="web1.public"),
           Record("deep", cname="www"), Record("own", (IPv4Address("10.0.1.2"),)))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(PUBLIC,), dns=Dns(records=RECORDS))
CORP = Vpc("vpc2", IPv4Network("172.16.0.0/16"), link=1, dns=Dns("corp.internal"))
BOTH = Topology((VPC, CORP), (Peering("vpc1", "vpc2"),))


@pytest.mark.parametrize(("text", "domain"), [
    ("corp.internal", "corp.internal"), ("Corp.Internal.", "corp.internal"), ("a", "a"), ("0.b-c", "0.b-c")])
def test_a_domain(text: str, domain: str) -> None:
    assert names.parse_domain(text) == domain


@pytest.mark.parametrize("text", ["", ".", "a..b", "-a.b", "a-.b", "a_b.c", "a b", "ü.b", "1.2.3.4",
                                  "a" * 64, ".".join(["a" * 50] * 6)])
def test_no_domain(text: str) -> None:
    with pytest.raises(BadInput, match="can't be a domain"):
        names.parse_domain(text)


@pytest.mark.parametrize("text", ["db", "DB.", "db.vpc1.internal", "db.vpc1.internal."])
def test_a_name_is_written_with_or_without_the_domain(text: str) -> None:
    assert names.parse_name(text, "vpc1.internal") == "db"


@pytest.mark.parametrize("text", ["", "a_b", "*.db", "a" * 64, ".".join(["a" * 60] * 4)])
def test_no_name(text: str) -> None:
    with pytest.raises(BadInput, match="can't be a name below vpc1.internal"):
        names.parse_name(text, "vpc1.internal")


@pytest.mark.parametrize(("records", "why"), [
    ((Record("public", (ADDRESS,)),), "name of a machine"),
    ((Record("a", (ADDRESS,)), Record("a", (ADDRESS,))), "already exists"),
    ((Record("a"),), "must have addresses"),
    ((Record("a", (ADDRESS,), "b"),), "must have addresses"),
    ((Record("a", cname="a"),), "circle: a -> a"),
    ((Record("a", cname="b"), Record("b", cname="c"), Record("c", cname="a")), "circle: a -> b -> c -> a"),
    (tuple(Record(f"n{number}", (ADDRESS,)) for number in range(1001)), "1,001 records are too many")])
def test_records_that_no_server_can_have(records: tuple[Record, ...], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        resolving.check(Topology((replace(VPC, dns=Dns(records=records)),)))


def test_a_name_may_lead_where_nothing_is() -> None:
    gone = replace(VPC, dns=Dns(records=(Record("www", cname="none"),)))
    assert resolving.check(Topology((gone,))) == []
    with pytest.raises(VpcctlError, match="does not exist in VPC 'vpc1'"):
        resolving.find(Topology((gone,)), "www.vpc1.internal")


@pytest.mark.parametrize(("name", "address", "machine"), [
    ("public.vpc1.internal", "10.0.1.2", ""), ("web1.public.vpc1.internal", "10.0.1.4", "web1"),
    ("WEB1.public.vpc1.internal.", "10.0.1.4", "web1"), ("ip-10-0-1-5.vpc1.internal", "10.0.1.5", "web1"),
    ("deep.vpc1.internal", "10.0.1.4", "web1"), ("own.vpc1.internal", "10.0.1.2", ""),
    ("db.vpc1.internal", "10.0.2.9", None)])
def test_what_a_name_leads_to(name: str, address: str, machine: str | None) -> None:
    found = resolving.find(BOTH, name)
    assert (str(found.address), found.machine.name if found.machine else None) == (address, machine)


def test_names_that_nobody_has() -> None:
    with pytest.raises(VpcctlError, match="does not exist in VPC 'vpc1'") as error:
        resolving.find(BOTH, "web2.public.vpc1.internal")
    assert error.value.hint == "did you mean 'web1.public.vpc1.internal'?"
    with pytest.raises(BadInput, match="not a name in a VPC with DNS"):
        resolving.find(BOTH, "example.com")


def test_the_longest_domain_is_the_home_of_a_name() -> None:
    inner = replace(VPC, name="vpc3", dns=Dns("app.corp.internal"))
    assert resolving.find(Topology((CORP, inner)), "public.app.corp.internal").vpc.name == "vpc3"


@pytest.mark.parametrize(("subnets", "gateways", "taken"), [
    ((), (), False), ((PUBLIC,), (), False),
    ((Subnet("first", IPv4Network("10.0.0.0/24")),), (), True),
    ((Subnet("first", IPv4Network("10.0.0.0/24"), machines=()),), (), False),
    ((Subnet("first", IPv4Network("10.0.0.0/24"), machines=()),),
     (NatGateway("nat1", "first", IPv4Address("10.0.0.2")),), True)])
def test_the_second_address_is_used_where_it_is_free(
        subnets: tuple[Subnet, ...], gateways: tuple[NatGateway, ...], taken: bool) -> None:
    vpc = replace(VPC, subnets=subnets, nat_gateways=gateways)
    assert resolving.resolvers(vpc) == ((RESOLVER,) if taken else (RESOLVER, IPv4Address("10.0.0.2")))
    assert resolving.listening(vpc)[-1] == IPv4Address("10.0.0.1")
    assert resolving.resolvers(replace(vpc, dns=None)) == ()


@pytest.mark.parametrize(("networks", "found"), [
    (["10.0.0.0/16"], ["0.10"]), (["10.1.2.0/24", "10.9.0.0/16"], ["2.1.10", "9.10"]),
    (["10.0.0.0/17"], [f"{one}.0.10" for one in range(128)]),
    (["10.0.0.0/23"], ["0.0.10", "1.0.10"]), (["10.0.0.16/30"], ["16.0.0.10", "17.0.0.10", "18.0.0.10",
                                                                 "19.0.0.10"])])
def test_the_domains_of_a_network_s_addresses(networks: list[str], found: list[str]) -> None:
    assert zones([IPv4Network(one) for one in networks]) == [f"{one}.in-addr.arpa" for one in found]


def files(topology: Topology) -> dict[str, str]:
    """The files of the blueprint, by path."""
    made = blueprint(topology)
    found = [*File.among(made), *(one.file for one in Hosts.among(made))]
    return {one.path: one.content for one in found}


@pytest.mark.usefixtures("bare_host")
def test_the_files() -> None:
    nat = Nat("eth0", 1500, (IPv4Address("8.8.8.8"),))
    found = files(Topology((replace(VPC, nat=nat),)))
    assert found["/run/vpcctl/vpc1/hosts"].splitlines() == [
        "# vpcctl:vpc1", "10.0.1.2 public.vpc1.internal ip-10-0-1-2.vpc1.internal",
        "10.0.1.4 web1.public.vpc1.internal ip-10-0-1-4.vpc1.internal",
        "10.0.1.5 web1.public.vpc1.internal ip-10-0-1-5.vpc1.internal",
        "10.0.2.9 db.vpc1.internal", "2001:db8::9 db.vpc1.internal", "10.0.1.2 own.vpc1.internal"]
    assert found["/etc/netns/vpc1-public.web1/resolv.conf"].splitlines() == [
        "# vpcctl:vpc1/public/web1", "# instead of 8.8.8.8", "nameserver 169.254.169.253",
        "search public.vpc1.internal vpc1.internal"]


@pytest.mark.usefixtures("bare_host")
@pytest.mark.parametrize(("domain", "is_asked"), [("corp.internal", True), ("vpc1.internal", False)])
def test_a_peer_s_server_is_asked_for_its_domain(domain: str, is_asked: bool) -> None:
    topology = replace(BOTH, vpcs=(VPC, replace(CORP, dns=Dns(domain))))
    words = next(one.argv for one in Resolver.among(blueprint(topology)) if one.namespace == "vpc1")
    told = {f"--server=/{domain}/172.16.0.1", "--server=/16.172.in-addr.arpa/172.16.0.1"}
    assert bool(told & set(words)) is is_asked
    assert [f"'{name}'" in text for text in resolving.check(topology) for name in ("vpc1", "vpc2")] == (
        [] if is_asked else [True, True])
    apart = next(one.argv for one in Resolver.among(blueprint(replace(topology, peerings=()))))
    assert not told & set(apart)


def test_the_relay_asks_the_servers_that_the_file_names_now(tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(relay, "FILE", str(file))
    monkeypatch.setattr(relay, "LOOK_SECONDS", -1.0)
    found = relay.Servers([])
    assert found.now() == ["127.0.0.1"]
    file.write_text("# none\nsearch x\n")
    assert found.now() == ["127.0.0.1"]
    file.write_text("nameserver 8.8.8.8\nnameserver\nnameserver x\nnameserver ::1\nnameserver 9.9.9.9\n")
    assert found.now() == ["8.8.8.8", "::1"]
    found.answered("::1")
    assert found.now() == ["::1", "8.8.8.8"]
    file.unlink()
    assert found.now() == ["::1", "8.8.8.8"]
    file.write_text("nameserver fe80::1%eth0\n")
    assert found.now() == ["fe80::1%eth0"]
    assert relay.Servers(["1.1.1.1", "2001:db8::1"]).now() == ["1.1.1.1", "2001:db8::1"]


def test_the_relay_says_that_nobody_answers() -> None:
    query = b"\x12\x34\x01\x20\x00\x01" + bytes(6) + b"\x01x\x00\x00\x01\x00\x01"
    answer = relay._failure(query)
    assert answer[:2] == query[:2]
    assert (answer[2] & 0x80, answer[3] & 15) == (0x80, 2)
    assert answer[4:] == query[4:]
