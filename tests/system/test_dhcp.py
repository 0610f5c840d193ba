"""DHCP in VPCs, with real clients: a machine gets its own address again and again, a stranger nothing."""

from __future__ import annotations

import json

import pytest
from host import Host

TELL = """#!/bin/sh
[ "$1" = bound ] || exit 0
echo "$ip $subnet $router $dns $domain $search $ntpsrv $mtu $staticroutes $lease" >/run/told
"""
CLEAR = "ip -n lab addr flush dev eth0; ip -n lab route flush table main"
CLIENTS = {
    "udhcpc": "busybox udhcpc -i eth0 -f -q -n -t 5 -T 1 -s /run/tell "
              "-O staticroutes -O mtu -O ntpsrv -O search",
    "dhclient": "dhclient -1 -sf /bin/true -lf /run/leases -pf /run/dhclient.pid eth0",
    "dhcpcd": "dhcpcd -4 -1 -B -t 15 --noarp -C resolv.conf eth0",
}
ADDRESS = "10.0.2.4"
DENY = {"ingress": [], "egress": []}


@pytest.fixture
def leased(vpc1: Host) -> Host:
    """With a namespace of somebody else's, whose owner leaves its addresses to a client."""
    vpc1.do("dns enable --vpc vpc1")
    vpc1.do("dhcp enable --vpc vpc1 --ntp 10.0.1.2 --ntp 10.0.1.3 --lease 12h")
    vpc1.sh("ip netns add lab; ip -n lab link set lo up")
    vpc1.do("instance attach --vpc vpc1 --subnet private --name lab --netns /run/netns/lab")
    vpc1.sh(f"cat >/run/tell <<'EOF'\n{TELL}EOF\nchmod +x /run/tell; {CLEAR}")
    return vpc1


def got(host: Host, client: str, namespace: str = "lab") -> str:
    """The address that a client says it got; empty if none."""
    host.sh("rm -rf /run/told /run/leases /run/dhclient.pid /var/lib/dhcpcd/*.lease*")
    done = host.run("timeout", "30", "ip", "netns", "exec", namespace, *CLIENTS[client].split())
    if client == "dhclient":
        if done.code == 0:
            stop(host)
        text = host.run("cat", "/run/leases").out
        return text.partition("fixed-address ")[2].partition(";")[0]
    if client == "udhcpc":
        return host.run("cat", "/run/told").out.partition(" ")[0]
    held = json.loads(host.sh(f"ip -n {namespace} -j -4 addr show dev eth0"))
    return next((one["local"] for link in held for one in link.get("addr_info", ())), "")


def stop(host: Host) -> None:
    """End dhclient, which with an address goes on in the background: the file of its pid comes after that."""
    host.wait_until(lambda: host.run("cat", "/run/dhclient.pid").out != "", "dhclient says its pid")
    host.sh("pid=$(cat /run/dhclient.pid); kill $pid; tail --pid=$pid -f /dev/null")


def tidy(host: Host) -> None:
    """What the clients leave."""
    host.do("instance detach --vpc vpc1 --subnet private --name lab")
    host.sh("ip netns del lab; rm -rf /run/told /run/tell /run/leases /run/dhclient.pid /run/dhcpcd*")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_machine_gets_its_own_address_again_and_again(leased: Host, client: str) -> None:
    assert got(leased, client) == ADDRESS
    if client == "udhcpc":
        assert leased.sh("cat /run/told").split() == [
            ADDRESS, "255.255.0.0", "10.0.0.1", "169.254.169.253", "private.vpc1.internal",
            "private.vpc1.internal", "vpc1.internal", "10.0.1.2", "10.0.1.3", "1500", "0.0.0.0/0", "10.0.0.1",
            "43200"]
    leased.sh(CLEAR)
    leased.sh("for pid in $(ip netns pids vpc1); do grep -qs dnsmasq /proc/$pid/comm && kill -9 $pid; done; "
              "sleep 0.5")
    assert got(leased, client) == ADDRESS
    if client == "dhcpcd":
        # With nothing but what the client set, it gets everywhere.
        leased.listen("vpc1-public", "80")
        assert "vpc1-public" in leased.reaches("lab", "10.0.1.2:80")[0].answer
        leased.reaches("lab", "10.0.0.1")
    leased.do("restore")
    assert leased.do("status").out == "in sync\n"
    tidy(leased)


def test_strangers_get_nothing(leased: Host) -> None:
    # A machine that takes another MAC, known or not: the guard drops what it sends.
    for mac in ("02:10:0a:00:01:02", "02:00:00:00:00:99"):
        leased.sh(f"ip -n lab link set eth0 address {mac}")
        assert got(leased, "udhcpc") == ""
    leased.sh("ip -n lab link set eth0 address 02:10:0a:00:02:04")
    assert got(leased, "udhcpc") == ADDRESS
    # A port that is no machine's; and what asks from outside.
    leased.sh("ip netns add odd; ip -n vpc1 link add stranger type veth peer name eth0 netns odd; "
              "ip -n odd link set eth0 up; ip -n vpc1 link set stranger master br-vpc1 up")
    assert got(leased, "udhcpc", "odd") == ""
    leased.sh("ip -n vpc1 link del stranger; ip netns del odd")
    # Once it is no machine any more, its MAC is a stranger's.
    leased.do("instance detach --vpc vpc1 --subnet private --name lab")
    assert "10.0.2.4" not in leased.sh("cat /run/vpcctl/vpc1.dhcp/hosts")
    leased.sh("ip netns del lab; rm -rf /run/told /run/tell /run/leases /run/dhclient.pid")


def test_nobody_else_gives_addresses(leased: Host) -> None:
    """A rogue server in a machine hears no question, and its answers go nowhere."""
    leased.start("vpc1-public", "dnsmasq", "-k", "-C", "/dev/null", "-x", "/run/rogue", "-u", "root",
                 "-p", "0", "--dhcp-range=10.0.2.100,10.0.2.120,255.255.0.0", "--dhcp-authoritative",
                 "--leasefile-ro", "--no-ping")
    for _ in range(3):
        assert got(leased, "udhcpc") == ADDRESS
    leased.do("dhcp disable --vpc vpc1")
    assert got(leased, "udhcpc") == ""
    leased.sh("rm -f /run/rogue")
    tidy(leased)


def test_no_policy_and_no_acl_keeps_a_machine_from_asking(leased: Host) -> None:
    leased.do("firewall apply --vpc vpc1 --subnet private --policy", leased.write("deny.json", DENY))
    leased.do("acl create --vpc vpc1 --name none")
    leased.do("acl associate --vpc vpc1 --subnet private --name none")
    leased.sh(CLEAR)
    for client in CLIENTS:
        assert got(leased, client) == ADDRESS
        leased.sh(CLEAR)
    tidy(leased)


def test_a_new_machine_is_known_at_once_and_no_other_kind_of_damage_lasts(leased: Host) -> None:
    leased.do("instance detach --vpc vpc1 --subnet private --name lab")
    leased.do("instance attach --vpc vpc1 --subnet private --name lab --netns /run/netns/lab "
              "--address 10.0.2.77")
    leased.sh(CLEAR)
    assert got(leased, "udhcpc") == "10.0.2.77"
    leased.do("restore")
    leased.sh("rm -r /run/vpcctl; ip netns exec vpc1 nft flush chain bridge vpcctl others; "
              "ip netns exec vpc1 iptables -D INPUT -s 0.0.0.0 -d 255.255.255.255 -i br-vpc1 "
              "-p udp --sport 68 --dport 67 -j ACCEPT")
    told = leased.vpcctl("status").out
    assert "addresses in /run/vpcctl/vpc1.dhcp/hosts" in told
    assert "guard" in told
    leased.do("restore")
    assert leased.do("status").out == "in sync\n"
    leased.sh(CLEAR)
    assert got(leased, "udhcpc") == "10.0.2.77"
    leased.do("restore")
    before = leased.do("export").out
    assert "lease: 12h" in before
    leased.sh("rm /var/lib/vpcctl/state.json*")
    leased.do("restore --from-kernel")
    assert leased.do("export").out == before
    leased.refused("dns disable --vpc vpc1", says="can't have DHCP without DNS")
    leased.do("dhcp disable --vpc vpc1")
    leased.do("dns disable --vpc vpc1")
    leased.refused("dhcp enable --vpc vpc1", says="turn DNS on first")
    tidy(leased)


def test_a_machine_in_a_secondary_cidr_has_its_routes_from_the_client_alone(vpc1: Host) -> None:
    vpc1.do("vpc set --name vpc1 --add-cidr 10.7.0.0/20")
    vpc1.do("subnet add --vpc vpc1 --name far --cidr 10.7.1.0/24")
    vpc1.do("dns enable --vpc vpc1")
    vpc1.do("dhcp enable --vpc vpc1")
    vpc1.sh("ip netns add lab; ip -n lab link set lo up")
    vpc1.do("instance attach --vpc vpc1 --subnet far --name lab --netns /run/netns/lab")
    vpc1.sh(CLEAR)
    vpc1.never_reaches("lab", "10.0.1.2")
    assert got(vpc1, "dhcpcd") == "10.7.1.4"
    vpc1.reaches("lab", "10.0.0.1", "10.0.1.2", "10.7.1.2")
    vpc1.do("instance detach --vpc vpc1 --subnet far --name lab")
    vpc1.sh("ip netns del lab; rm -rf /run/dhcpcd*")
