"""Which subnets that tell of their own addresses are believed, and whose namespace can break what."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.found_subnets import intruders
from vpcctl_lib.engine.inspection import owners
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.kernel import netns
from vpcctl_lib.model.policies import Action, Policy
from vpcctl_lib.model.topology import Nat, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.resources import Forwarding, Namespace

LONG = "a-name-that-is-hashed"
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat=Nat("eth0"), subnets=(
    Subnet("web", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC, Policy(default=Action.DENY)),
    Subnet(LONG, IPv4Network("10.0.2.0/24"))))


def networks(**cidrs: str) -> dict[str, IPv4Network]:
    return {name: IPv4Network(cidr) for name, cidr in cidrs.items()}


@pytest.mark.parametrize(("told", "sure", "wrong"), [
    ({"a": "10.0.1.0/24", "b": "10.0.2.0/24"}, {}, {}),
    # One that claims everything does not take the others along.
    ({"a": "10.0.1.0/24", "b": "10.0.2.0/24", "x": "10.0.0.0/16"}, {}, {"x": ["a", "b"]}),
    # Of two that have each other's, either may be right.
    ({"a": "10.0.1.0/24", "x": "10.0.1.0/25"}, {}, {"a": ["x"], "x": ["a"]}),
    ({"a": "10.0.1.0/24", "x": "10.0.2.0/24"}, {"b": "10.0.2.0/24"}, {"x": ["b"]}),
    # Whoever has those of one that is sure is wrong, beside one that has more of others'.
    ({"a": "10.0.1.0/24", "b": "10.0.2.0/24", "x": "10.0.0.0/17", "y": "10.0.64.0/24"}, {"c": "10.0.64.0/18"},
     {"x": ["a", "b", "y", "c"], "y": ["x", "c"]}),
    ({"a": "10.0.1.0/24", "x": "10.0.1.0/24"}, {"b": "10.0.1.0/24"}, {"a": ["x", "b"], "x": ["a", "b"]}),
])
def test_who_claims_others_addresses(told: dict[str, str], sure: dict[str, str],
                                     wrong: dict[str, list[str]]) -> None:
    assert intruders(networks(**told), networks(**sure)) == wrong


@pytest.mark.usefixtures("bare_host")
def test_what_root_in_a_subnet_can_break_is_the_subnet_s() -> None:
    topology = Topology((VPC,))
    ledger = difference((), blueprint(topology)).after
    found = owners(topology, ledger)
    by_owner: dict[str, list[str]] = {}
    for entry in ledger:
        by_owner.setdefault(found[entry.resource.key], []).append(str(entry.resource))
    assert set(by_owner) == {"", "vpc1-web", f"vpc1-{LONG}"}
    assert not [name for name in by_owner[""] if "vpc1-" in name and "vpc1-web/resolv" not in name
                and name != "folder /etc/netns/vpc1-web"]
    kinds = ("namespace", "cable", "link", "chain")
    assert [name for name in by_owner["vpc1-web"] if name.startswith(kinds)] == [
        "namespace vpc1-web", "cable s-web in vpc1 to eth0 in vpc1-web", "link s-web in vpc1",
        "link lo in vpc1-web", "link eth0 in vpc1-web", "chain INPUT of table filter in vpc1-web"]
    assert any("a-name-that-is-hashed of s-" in name for name in by_owner[f"vpc1-{LONG}"])


def test_a_record_gets_no_setting_written_but_those_that_we_change() -> None:
    found = {"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.accept_redirects": "1",
             "net/ipv4/conf/eth0.10/forwarding": "1"}
    odd = {"net.ipv4.conf.all.route_localnet": "0", "kernel.core_pattern": "1",
           "net/ipv4/conf/../../../kernel/x/forwarding": "1", "net/ipv4/conf/../forwarding": "1",
           "net/ipv4/conf/eth0/forwarding": "1\n"}
    assert Forwarding().unmake({**found, **odd}) == Forwarding().unmake(found)
    assert str(Forwarding().unmake(found)[0]) == (
        "sysctl -q -e -w net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1 "
        "net/ipv4/conf/eth0.10/forwarding=1")
    assert Forwarding().unmake({"net.ipv4.ip_forward": "7"}) == ()


def test_a_namespace_is_known_by_what_the_kernel_alone_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "within", lambda _, task: task())
    boot, cookie = netns.identity("any").split()
    assert (boot, cookie.isdigit()) == (netns.BOOT_ID.read_text().strip(), True)
    assert Namespace("any", "vpcctl:any").learn() == {"identity": f"{boot} {cookie}"}

    def gone(_: str, __: object) -> None:
        raise netns.Gone("any")

    monkeypatch.setattr(netns, "within", gone)
    assert Namespace("any", "vpcctl:any").learn() == {}
