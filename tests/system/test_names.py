"""Names up to 31 characters: the kernel's shorter ones never collide, and the full one can be found."""

from __future__ import annotations

import pytest
from host import INTERNET, Host

LONG = "production-europe-west-one-abcd"
"""31 characters."""


def device(host: Host, altname: str, namespace: str = "") -> str:
    """The link that has this alternative name."""
    return host.sh(f"ip -o link show dev '{altname}'", namespace).split()[1].partition("@")[0].rstrip(":")


def add(host: Host, vpc: str, cidr: str, *subnets: str) -> None:
    host.do(f"vpc create --name {vpc} --cidr {cidr}")
    start = cidr.rpartition(".0.0/")[0]
    for number, subnet in enumerate(subnets, 1):
        host.do(f"subnet add --vpc {vpc} --name {subnet} --cidr {start}.{number}.0/24 --type public")


def test_the_longest_names_work(host: Host) -> None:
    assert len(LONG) == 31
    add(host, LONG, "10.0.0.0/16", LONG, LONG[:-1] + "x")
    add(host, "vpc2", "172.16.0.0/16", "a")
    host.do(f"nat enable --vpc {LONG}")
    host.do(f"peer create --vpc1 {LONG} --vpc2 vpc2")
    host.reaches(f"{LONG}-{LONG}", "10.0.2.2", "172.16.1.2", *INTERNET)
    host.reaches("", "10.0.1.2")
    host.reaches("vpc2-a", "10.0.1.2", "10.0.2.2")


def test_the_full_name_is_an_altname(host: Host) -> None:
    add(host, LONG, "10.0.0.0/16", LONG)
    add(host, "vpc2", "172.16.0.0/16")
    host.do(f"peer create --vpc1 {LONG} --vpc2 vpc2")
    for altname, namespace in ((f"vpc-{LONG}", ""), (f"br-{LONG}", LONG), (f"s-{LONG}", LONG),
                               (f"pcx-{LONG}", "vpc2")):
        short = device(host, altname, namespace)
        assert len(short) == 15
        assert short.startswith(altname.partition("-")[0] + "-")


def test_names_that_begin_alike_do_not_collide(host: Host) -> None:
    names = ("prod-east", "prod-west", "production-east-1", "production-east-2")
    for number, name in enumerate(names):
        add(host, name, f"10.{number}.0.0/16", "application-servers-a", "application-servers-b")
        host.do(f"nat enable --vpc {name}")
    for number, name in enumerate(names):
        host.reaches(f"{name}-application-servers-a", f"10.{number}.2.2", "8.8.8.8")
    assert len({device(host, f"vpc-{name}") for name in names}) == 4
    host.do("vpc delete --name production-east-1")
    host.reaches("production-east-2-application-servers-a", "10.3.2.2", "8.8.8.8")
    host.reaches("", "10.3.1.2", "10.1.1.2")


def test_a_name_that_fits_is_the_device_s_own(host: Host) -> None:
    add(host, "vpc2345678", "10.0.0.0/16", "a")
    assert host.run("ip", "link", "show", "vpc-vpc2345678").code == 0


def test_two_ways_to_one_namespace_are_refused(host: Host) -> None:
    add(host, "a-b", "10.0.0.0/16", "c")
    add(host, "a", "10.1.0.0/16")
    done = host.refused("subnet add --vpc a --name b-c --cidr 10.1.1.0/24", says="subnet 'c' of VPC 'a-b'")
    assert "a-b-c" in done.err
    host.refused("subnet add --vpc a --name b --cidr 10.1.1.0/24", says="VPC 'a-b'")
    host.refused("vpc create --name a-b-c --cidr 10.2.0.0/16", says="subnet 'c' of VPC 'a-b'")


def test_others_things_are_never_taken_over(vpc1: Host) -> None:
    for line, name in (("vpc create --name other --cidr 10.5.0.0/16", "other"),
                       ("vpc create --name lan --cidr 10.5.0.0/16", "vpc-lan"),
                       ("subnet add --vpc vpc1 --name elsewhere --cidr 10.0.5.0/24", "vpc1-elsewhere")):
        vpc1.refused(line, says=f"'{name}' already exists, and vpcctl did not make it")


@pytest.mark.parametrize("table", ["FORWARD", "INPUT"])
def test_nor_is_a_chain_of_our_name(host: Host, table: str) -> None:
    host.sh(f"iptables -N VPCCTL-{table}; iptables -A VPCCTL-{table} -j RETURN")
    host.refused("vpc create --name vpc1 --cidr 10.5.0.0/16", says="exists")
    host.sh(f"iptables -F VPCCTL-{table}; iptables -X VPCCTL-{table}")


def test_other_names_are_refused(host: Host) -> None:
    for name in ("Vpc", "1vpc", "vpc-", "-vpc", "v/c", "v.c", "v c", "", "é", "v" * 32, "v;reboot", "$(id)",
                 "--", "v\n"):
        host.refused("vpc create --cidr 10.5.0.0/16", f"--name={name}", code=2)
