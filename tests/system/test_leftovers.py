"""What bears our mark though the record does not have it: rules that others loaded again, an older record."""

from __future__ import annotations

import pytest
from host import INTERNET, Host

RECORD = "/var/lib/vpcctl/state.json"
KEEP = f"mkdir /run/kept; cp -a {RECORD} {RECORD}.bak /run/kept"
SAVED = "iptables-save | grep -v '^#' | sed 's/\\[.*//'"
BACK = "cp -a /run/kept/* /var/lib/vpcctl; rm -r /run/kept"


def unrecorded(host: Host) -> list[str]:
    """What `status` finds unrecorded."""
    found = host.vpcctl("status", "--json").json["status"]["findings"]
    return [one["what"] for one in found if one["condition"] == "unrecorded"]


def test_saved_rules_that_come_back_are_removed_by_restore(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("iptables-save >/run/rules")
    vpc1.do("vpc delete --name vpc1")
    vpc1.sh("iptables-restore </run/rules; rm /run/rules")
    assert len(unrecorded(vpc1)) == 14, "eight chains, and a jump to six of them"
    vpc1.refused("vpc create --name vpc1 --cidr 10.0.0.0/16", says="vpcctl restore")
    vpc1.sh(vpc1.do("restore --dry-run").out)
    assert vpc1.do("status").out == "in sync\n"
    vpc1.do("vpc create --name vpc1 --cidr 10.0.0.0/16")


@pytest.mark.parametrize("rule", [
    "-t nat POSTROUTING -s 10.0.1.0/24 -o eth0 -m comment --comment vpcctl:vpc1/public -j MASQUERADE",
    "-t nat POSTROUTING -s 10.99.0.0/16 -m comment --comment vpcctl:vpc1 -j ACCEPT",
    "-t mangle POSTROUTING -m comment --comment vpcctl:host -j ACCEPT",
    "-t raw PREROUTING -m comment --comment vpcctl:vpc1/publi -j ACCEPT",
    "-t filter FORWARD -m comment --comment vpcctl:host -j RETURN",
    "-t filter FORWARD -s 10.0.9.0/24 -j VPCCTL-FORWARD",
])
def test_a_rule_is_ours_only_as_a_whole(vpc1: Host, rule: str) -> None:
    """However like one of ours it is: in another table, a part of it, with the mark of something else."""
    vpc1.do("nat enable --vpc vpc1")
    _, table, chain, *_ = rule.split()
    vpc1.sh(f"iptables -t {table} -A {rule.split(' ', 2)[2]}")
    assert unrecorded(vpc1) == [f"rule of {chain}, table {table} on the host"]
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", *INTERNET)


def test_rules_that_are_there_twice(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("iptables -A FORWARD -m comment --comment vpcctl:host -j VPCCTL-FORWARD")
    vpc1.sh("iptables -t nat -A POSTROUTING -m comment --comment vpcctl:host -j VPCCTL-POSTROUTING")
    assert "it exists 2 times" in vpc1.vpcctl("status").out
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"


def test_a_stray_rule_that_is_there_twice_goes_twice(vpc1: Host) -> None:
    vpc1.sh("for turn in 1 2; do iptables -A INPUT -s 10.9.9.9 -m comment --comment vpcctl:x -j ACCEPT; done")
    assert len(unrecorded(vpc1)) == 2
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"


def test_a_mark_that_is_a_part_of_another(vpc1: Host) -> None:
    vpc1.do("subnet add --vpc vpc1 --name public2 --cidr 10.0.9.0/24 --type public")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("subnet delete --vpc vpc1 --name public")
    rule = "POSTROUTING -s 10.0.1.0/24 -o eth0 -m comment --comment vpcctl:vpc1/public -j MASQUERADE"
    vpc1.sh(f"iptables -t nat -A {rule}")
    assert unrecorded(vpc1) == ["rule of POSTROUTING, table nat on the host"]
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"


def test_an_unrecorded_namespace_and_link_are_left_with_advice(vpc1: Host) -> None:
    """They may be all that is left of a VPC, with programs in it."""
    vpc1.sh("ip netns add vpc1-old; ip -n vpc1-old link set lo alias vpcctl:vpc1/old")
    vpc1.sh("ip link add odd type bridge; ip link set odd alias vpcctl:vpc9")
    assert unrecorded(vpc1) == ["namespace vpc1-old", "link odd on the host"]
    printed = vpc1.vpcctl("restore").err
    assert "adopt it: vpcctl restore --from-kernel, or remove it: ip netns del vpc1-old" in printed
    assert "remove it: ip link del odd" in printed
    assert len(unrecorded(vpc1)) == 2
    vpc1.sh("ip netns del vpc1-old; ip link del odd")
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"


@pytest.mark.parametrize("name", ["vpc1-public", "vpc1"])
def test_an_empty_file_where_a_namespace_was(vpc1: Host, name: str) -> None:
    vpc1.sh(f"umount /run/netns/{name}; test -f /run/netns/{name}; rm -r /run/mount")
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", "10.0.2.2")


def test_an_empty_file_is_no_obstacle_for_a_new_vpc(host: Host) -> None:
    host.sh("touch /run/netns/vpc9 /run/netns/vpc9-s; chmod 0 /run/netns/vpc9")
    host.sh(host.do("vpc create --name vpc9 --cidr 10.9.0.0/16 --dry-run").out)
    host.sh("ip link del vpc-vpc9; ip netns del vpc9; touch /run/netns/vpc9")
    host.do("restore")
    host.do("vpc create --name vpc9 --cidr 10.9.0.0/16")
    host.do("subnet add --vpc vpc9 --name s --cidr 10.9.1.0/24")
    host.reaches("", "10.9.1.2")


def test_a_file_with_something_in_it_is_another_s(host: Host) -> None:
    host.sh("echo mine >/run/netns/vpc9")
    done = host.vpcctl("vpc", "create", "--name", "vpc9", "--cidr", "10.9.0.0/16")
    assert done.code == 1
    assert host.sh("cat /run/netns/vpc9; rm /run/netns/vpc9") == "mine\n"


@pytest.fixture
def older(vpc1: Host) -> Host:
    """A host whose record is older than its second VPC, and than a subnet and the peering of the first."""
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh(KEEP)
    vpc1.do("vpc create --name vpc2 --cidr 172.16.0.0/16")
    vpc1.do("subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public")
    vpc1.do("nat enable --vpc vpc2")
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24 --type public")
    vpc1.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc1.do("firewall apply --vpc vpc2 --subnet public --policy",
            vpc1.write("policy.json", {"ingress": [{"protocol": "icmp", "action": "allow"}]}))
    vpc1.sh(BACK)
    return vpc1


def test_no_command_loosens_what_closes_off_an_unrecorded_vpc(older: Host) -> None:
    for line in ("restore", "vpc create --name vpc3 --cidr 10.3.0.0/16",
                 "vpc create --name vpc2 --cidr 172.16.0.0/16", "vpc delete --name vpc1",
                 "nat disable --vpc vpc1",
                 "subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24 --type public"):
        older.refused(line, says="vpcctl restore --from-kernel")
    older.listen("", "8080")
    older.never_reaches("vpc2-public", "203.0.113.2", "203.0.113.2:8080")
    older.do("restore --from-kernel")


def test_what_the_record_lacks_is_taken_up_as_it_is(older: Host) -> None:
    links = older.sh("ip -br link")
    rules = older.sh(SAVED)
    told = older.do("restore --from-kernel").err
    assert "adopted from the kernel: vpc1/late, vpc2, vpc1+vpc2" in told
    assert older.sh(SAVED) == rules
    assert older.sh("ip -br link") == links
    assert older.do("status").out == "in sync\n"
    kinds = {(one["vpc"], one["name"]): one["type"] for one in older.do("subnet list --json").json["subnets"]}
    assert kinds["vpc1", "late"] == kinds["vpc2", "public"] == "public"
    older.reaches("vpc1-late", *INTERNET, "172.16.1.2")
    older.refused("restore --from-kernel", says="the record is not lost: there is nothing to rebuild")


def test_what_is_taken_up_can_be_rehearsed(older: Host) -> None:
    before = older.portrait()
    told = older.do("restore --from-kernel --dry-run").out
    older.check_same(before)
    assert told == "", "all is there already"
    older.do("restore --from-kernel")


def test_a_subnet_s_leftover_is_called_our_own(vpc1: Host) -> None:
    """Of which the host has no rules: the record may be used, and the way on is told."""
    vpc1.sh(KEEP)
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24 --type public")
    vpc1.sh(BACK)
    done = vpc1.refused("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24", says="restore --from-kernel")
    assert "did not make it" not in done.err
    vpc1.do("restore --from-kernel")
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24 --type public")


def test_a_namespace_that_nobody_knows_is_named_with_what_removes_it(vpc1: Host) -> None:
    vpc1.sh("ip netns add vpc9; ip -n vpc9 link set lo alias vpcctl:vpc9")
    done = vpc1.refused("vpc create --name vpc9 --cidr 10.9.0.0/16", says="ip netns del vpc9")
    assert "did not make it" not in done.err
    assert "--from-kernel" not in done.err
    vpc1.sh("ip netns del vpc9")
    vpc1.do("vpc create --name vpc9 --cidr 10.9.0.0/16")
