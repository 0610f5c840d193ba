"""Tables of iptables that root put to sleep by nft: their rules are there, and packets meet none."""

from __future__ import annotations

import pytest
from host import INTERNET, Host
from reach_six import INTERNET6
from sixth import FAMILIES, by

AT = "--vpc vpc1 --subnet public"
POLICY = {"ingress": [{"protocol": "tcp", "port": 80, "action": "allow"}]}
WEB, LAB = "10.0.1.2", "10.0.1.4"
PEERS_PEER = "10.3.1.2"
SUFFIX = {"ip": "", "ip6": " of ip6tables"}
FINDING = {"condition": "changed", "detail": "it is put to sleep (dormant): packets meet none of its rules"}


def sleep(host: Host, table: str, namespace: str = "") -> None:
    host.sh(f"nft 'add table {table} {{ flags dormant; }}'", namespace)


def found(host: Host) -> list[dict[str, str]]:
    findings: list[dict[str, str]] = host.vpcctl("status", "--json").json["status"]["findings"]
    return findings


def verdict(host: Host, near: str, far: str, *more: str) -> str:
    """What reach says about it: a code, or that it is reachable."""
    reach = host.vpcctl("reach", "--from", near, "--to", far, *more, "--json").json["reach"]
    return str(reach["blocked_by"]["code"]) if reach["blocked_by"] else "reachable"


def restored(host: Host) -> None:
    host.do("restore")
    assert host.do("status").out == "in sync\n"


@pytest.fixture
def closed(vpc1: Host) -> Host:
    """Its public subnet lets in nothing but port 80, to a machine of ours and to one that is attached."""
    vpc1.do(f"instance attach {AT} --name lab --netns /run/netns/other --interface vpc0")
    vpc1.do(f"firewall apply {AT} --policy {vpc1.write('policy.json', POLICY)}")
    return vpc1


@pytest.mark.parametrize(("namespace", "table", "address", "machine"), [
    ("vpc1-public.lab", "mangle", LAB, "vpc1/public/lab"), ("vpc1-public", "filter", WEB, "vpc1/public")])
def test_a_policy_asleep(closed: Host, namespace: str, table: str, address: str, machine: str) -> None:
    closed.never_reaches("vpc1-private", address)
    assert verdict(closed, "vpc1/private", machine) == "FIREWALL_DENY"
    # Its owner's table of the same name, and another table of the policy's family, decide nothing about it.
    sleep(closed, f"ip6 {table}", namespace)
    sleep(closed, "inet mine", namespace)
    closed.sh("nft delete table inet mine", namespace)
    assert found(closed) == []
    sleep(closed, f"ip {table}", namespace)
    closed.reaches("vpc1-private", address)
    assert found(closed) == [{**FINDING, "what": f"table {table} in {namespace}"}]
    assert verdict(closed, "vpc1/private", machine) == "reachable"
    show = f"firewall show {AT} {'--instance lab' if machine.endswith('lab') else ''}"
    assert closed.do(show).err == f"vpcctl: the table {table} of {namespace} is put to sleep (dormant): " \
                                  "packets meet none of its rules: see vpcctl status\n"
    restored(closed)
    assert closed.do(show).err == ""
    closed.never_reaches("vpc1-private", address)
    assert verdict(closed, "vpc1/private", machine) == "FIREWALL_DENY"


def test_a_policy_asleep_and_flushed_is_mended_at_once(closed: Host) -> None:
    closed.sh("iptables -t mangle -F; iptables -t mangle -X", "other")
    sleep(closed, "ip mangle", "other")
    restored(closed)
    closed.never_reaches("vpc1-private", LAB)


def test_others_rules_asleep_refuse_nothing(closed: Host) -> None:
    closed.sh("iptables -t raw -A PREROUTING -p tcp --dport 80 -j DROP", "other")
    closed.sh("nft 'add table inet mine;"
              " add chain inet mine f { type filter hook input priority 0; policy drop; }'", "other")
    closed.listen("other", "80")
    port = ("--port", "80")
    closed.never_reaches("vpc1-private", f"{LAB}:80")
    assert verdict(closed, "vpc1/private", "vpc1/public/lab", *port) != "reachable"
    sleep(closed, "ip raw", "other")
    sleep(closed, "inet mine", "other")
    closed.reaches("vpc1-private", f"{LAB}:80")
    assert found(closed) == []
    assert verdict(closed, "vpc1/private", "vpc1/public/lab", *port) == "reachable"
    closed.sh("nft delete table ip raw; nft delete table inet mine", "other")


def test_routers_asleep(vpc2: Host) -> None:
    """A peer's peer is none, even where routes lead there."""
    vpc2.do("vpc create --name vpc3 --cidr 10.3.0.0/16")
    vpc2.do("subnet add --vpc vpc3 --name public --cidr 10.3.1.0/24")
    for near in ("vpc2", "vpc3"):
        vpc2.do(f"peer create --vpc1 vpc1 --vpc2 {near}")
    leads = "ip -n vpc2 route add 10.3.0.0/16 via 10.0.0.1 dev pcx-vpc1;" \
        "ip -n vpc3 route add 172.16.0.0/16 via 10.0.0.1 dev pcx-vpc1"
    vpc2.sh(leads)
    vpc2.never_reaches("vpc2-public", PEERS_PEER)
    assert verdict(vpc2, "vpc2/public", PEERS_PEER) != "reachable"
    for router in ("vpc1", "vpc2", "vpc3"):
        sleep(vpc2, "ip filter", router)
    vpc2.reaches("vpc2-public", PEERS_PEER)
    assert verdict(vpc2, "vpc2/public", PEERS_PEER) == "reachable"
    assert sorted(one["what"] for one in found(vpc2) if one["condition"] == "changed") == [
        f"table filter in {router}" for router in ("vpc1", "vpc2", "vpc3")]
    restored(vpc2)
    # A restore takes away routes that are not recorded, too.
    vpc2.sh(leads)
    vpc2.never_reaches("vpc2-public", PEERS_PEER)
    assert verdict(vpc2, "vpc2/public", PEERS_PEER) != "reachable"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_host_asleep(vpc1: Host, family: str) -> None:
    host = by(family, vpc1)
    host.do("nat enable --vpc vpc1")
    host.reaches("vpc1-public", *INTERNET)
    nft, outside = ("ip", INTERNET[0]) if family == FAMILIES[0] else ("ip6", INTERNET6)
    assert verdict(host, "vpc1/public", outside) == "reachable"
    for table in ("filter", "mangle", "nat"):
        sleep(host, f"{nft} {table}")
    host.never_reaches("vpc1-public", *INTERNET)
    assert found(host) == [{**FINDING, "what": f"table {table}{SUFFIX[nft]} on the host"}
                           for table in ("filter", "mangle", "nat")]
    assert verdict(host, "vpc1/public", outside) != "reachable"
    restored(host)
    host.reaches("vpc1-public", *INTERNET)
    assert verdict(host, "vpc1/public", outside) == "reachable"


def test_others_tables_asleep_are_no_obstacle_to_packets(vpc1: Host) -> None:
    """Neither nft's nor iptables': nothing is said of them."""
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("nft 'add table inet mine;"
            " add chain inet mine f { type filter hook forward priority 0; policy drop; }';"
            "iptables -t raw -A PREROUTING -i vpc-vpc1 -j DROP")
    vpc1.never_reaches("vpc1-public", *INTERNET)
    said = vpc1.vpcctl("status").out
    assert "mine" in said
    assert "raw" in said
    sleep(vpc1, "inet mine")
    sleep(vpc1, "ip raw")
    vpc1.reaches("vpc1-public", *INTERNET)
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh("nft delete table inet mine; nft delete table ip raw")


@pytest.mark.parametrize("table", ["inet mine", "ip nat"])
def test_a_port_that_a_table_asleep_leads_elsewhere_is_free(vpc1: Host, table: str) -> None:
    rule = "PREROUTING -p tcp --dport 8080 -j DNAT --to 192.168.77.2:90"
    vpc1.sh(f"iptables -t nat -A {rule}" if table == "ip nat"
            else "nft 'add table inet mine; add chain inet mine n { type nat hook prerouting priority -110; }"
                 "; add rule inet mine n tcp dport 8080 dnat ip to 192.168.77.2:90'")
    add = "publish add --vpc vpc1 --subnet public --port 8080:80"
    vpc1.refused(add, says="already leads tcp port 8080 elsewhere")
    sleep(vpc1, table)
    vpc1.do(f"{add} --dry-run")
    vpc1.sh(f"iptables -t nat -D {rule}; nft add table ip nat" if table == "ip nat"
            else "nft delete table inet mine")
