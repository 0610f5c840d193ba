"""The way out, as the host has it: it moves, is shared, gone or taken; status tells, restore mends."""

from __future__ import annotations

import pytest
from host import INTERNET, Host

SECOND = """ip link add eth1 type veth peer name inet1 netns internet
    ip link set eth1 addrgenmode none
    ip addr add 198.18.5.2/24 dev eth1
    ip link set eth1 up
    ip -n internet addr add 198.18.5.1/24 dev inet1
    ip -n internet link set inet1 up"""
BY_ETH1 = "ip route replace default via 198.18.5.1 dev eth1"
BY_ETH0 = "ip route replace default via 203.0.113.1 dev eth0"
"""Each link has its route of default metric, so that each replaces the other's."""


@pytest.fixture
def roaming(vpc1: Host) -> Host:
    """A host with a second link to the internet."""
    vpc1.sh(SECOND)
    return vpc1


def packets(host: Host) -> dict[str, str]:
    """What status says of the packets of vpc1: their state, and why."""
    (told,) = host.vpcctl("status", "--json").json["status"]["packets"]
    return {"state": told["state"], "why": "; ".join(one["why"] for one in told["causes"]),
            "help": " && ".join(dict.fromkeys(one["help"] for one in told["causes"] if one["help"]))}


def lost(host: Host, *says: str) -> str:
    """Nothing gets out, and status says so and why; what it says to type."""
    host.never_reaches("vpc1-public", "8.8.8.8")
    done = host.vpcctl("status")
    assert done.code == 1, done
    found = packets(host)
    assert found["state"] == "lost", found
    for word in says:
        assert word in found["why"], found
        assert word in done.out, done
    return found["help"]


def leaves(host: Host, interface: str) -> None:
    """Everything gets out, and status says by which link."""
    host.reaches("vpc1-public", *INTERNET)
    done = host.do("status")
    assert done.out == "in sync\n", done
    assert f"packets leave by {interface}: vpc1" in done.err


def back(host: Host) -> None:
    host.sh(f"ip link del eth1 2>/dev/null || true; {BY_ETH0}")


def typed(host: Host, commands: str) -> None:
    """Type what vpcctl says to type."""
    for command in commands.split(" && "):
        if command.startswith("vpcctl "):
            host.do(command.removeprefix("vpcctl "))
        else:
            host.sh(command)


def test_a_way_out_that_moves(roaming: Host) -> None:
    roaming.do("nat enable --vpc vpc1")
    leaves(roaming, "eth0")
    roaming.sh(BY_ETH1)
    helps = lost(roaming, "packets leave by eth1", "NAT leads out of eth0")
    assert helps == "vpcctl nat enable --vpc vpc1 --interface eth1"
    typed(roaming, helps)
    leaves(roaming, "eth1")
    back(roaming)


def test_auto_follows_it(roaming: Host) -> None:
    done = roaming.do("nat enable --vpc vpc1 --interface auto")
    assert done.out == "NAT enabled for VPC 'vpc1' out of eth0\n"
    assert roaming.do("vpc show --name vpc1 --json").json["vpc"]["nat"] == {"interface": "eth0", "auto": True}
    leaves(roaming, "eth0")
    roaming.sh(BY_ETH1)
    assert lost(roaming, "packets leave by eth1") == "vpcctl restore"
    assert "uplink of VPC 'vpc1'" in roaming.vpcctl("status").out
    roaming.do("restore")
    leaves(roaming, "eth1")
    assert "interface: auto" in roaming.do("export").out
    file = roaming.write("again.yaml", roaming.do("export").out)
    assert roaming.do("apply -f", file).out.startswith("unchanged")
    back(roaming)
    roaming.do("restore")
    leaves(roaming, "eth0")


def test_restore_leaves_a_named_interface_where_it_is(roaming: Host) -> None:
    roaming.do("nat enable --vpc vpc1 --interface eth0")
    roaming.sh(BY_ETH1)
    done = roaming.do("restore")
    assert "packets leave by eth1" in done.err
    assert roaming.state()["topology"]["vpcs"][0]["nat"]["interface"] == "eth0"
    back(roaming)
    leaves(roaming, "eth0")


def test_an_uplink_that_is_renamed(roaming: Host) -> None:
    roaming.do("nat enable --vpc vpc1 --interface eth1")
    roaming.sh(BY_ETH1)
    leaves(roaming, "eth1")
    roaming.sh(f"ip link set eth1 down; ip link set eth1 name wlan0; ip link set wlan0 up; "
               f"{BY_ETH1.replace('dev eth1', 'dev wlan0')}")
    typed(roaming, lost(roaming, "link eth1 does not exist").strip())
    leaves(roaming, "wlan0")
    roaming.sh("ip link del wlan0")
    assert "no way out" in packets(roaming)["why"]
    back(roaming)


def test_no_way_out_at_all(roaming: Host) -> None:
    roaming.do("nat enable --vpc vpc1")
    roaming.sh("ip route del default")
    assert lost(roaming, "the host has no way out") == ""
    reach = roaming.vpcctl("reach", "--from", "vpc1/public", "--to", "internet", "--json")
    assert reach.json["reach"]["blocked_by"]["fix"] is None
    refused = roaming.vpcctl("nat", "enable", "--vpc", "vpc1")
    assert (refused.code, "no way to the internet" in refused.err) == (1, True)
    back(roaming)
    leaves(roaming, "eth0")


WG_QUICK = """ip rule add not fwmark 51820 table 51820
    ip rule add table main suppress_prefixlength 0
    ip route add default via 198.18.5.1 dev eth1 table 51820"""
TAILSCALE = """ip rule add pref 5270 table 52
    ip route add default via 198.18.5.1 dev eth1 table 52"""
OWN_RULE = """ip rule add from 10.0.1.0/24 table 79
    ip route add default via 198.18.5.1 dev eth1 table 79"""
DEF1 = "ip route add 0.0.0.0/1 via 198.18.5.1; ip route add 128.0.0.0/1 via 198.18.5.1"


@pytest.mark.parametrize(("taking", "leaving"), [
    (WG_QUICK, "ip rule del table 51820; ip rule del table main suppress_prefixlength 0"),
    (TAILSCALE, "ip rule del pref 5270; ip rule del pref 1"), (OWN_RULE, "ip rule del table 79"),
    (DEF1, ":")],
    ids=["wg-quick", "tailscale", "from", "def1"])
def test_a_vpn_that_takes_all_traffic(roaming: Host, taking: str, leaving: str) -> None:
    roaming.do("nat enable --vpc vpc1")
    roaming.sh(taking)
    helps = lost(roaming, "packets leave by eth1")
    fix = roaming.vpcctl("reach", "--from", "vpc1/public", "--to", "internet", "--json").json["reach"]
    assert fix["blocked_by"]["fix"] in helps
    typed(roaming, helps)
    leaves(roaming, "eth1")
    roaming.sh(leaving)
    back(roaming)


def test_half_of_the_internet_elsewhere(roaming: Host) -> None:
    roaming.do("nat enable --vpc vpc1")
    roaming.sh("ip route add 128.0.0.0/1 via 198.18.5.1")
    done = roaming.vpcctl("status")
    assert (done.code, "128.0.0.0/1 dev eth1" in done.out) == (1, True), done
    refused = roaming.vpcctl("nat", "enable", "--vpc", "vpc1")
    assert "several links, eth0 and eth1" in refused.err
    back(roaming)


def test_a_named_interface_that_is_not_on_the_way(roaming: Host) -> None:
    done = roaming.do("nat enable --vpc vpc1 --interface eth1")
    assert done.err.count("packets leave by eth0 (route default dev eth0), and NAT leads out of eth1") == 1
    lost(roaming, "packets leave by eth0")
    roaming.do("nat disable --vpc vpc1")
    dry = roaming.do("nat enable --vpc vpc1 --interface eth1 --dry-run")
    assert "packets leave by eth0" in dry.err
    back(roaming)


def test_two_next_hops(roaming: Host) -> None:
    roaming.sh("ip route del default; ip route add default nexthop via 203.0.113.1 dev eth0 "
               "nexthop via 198.18.5.1 dev eth1")
    roaming.refused("nat enable --vpc vpc1", code=2, says="several links, eth0 and eth1")
    done = roaming.do("nat enable --vpc vpc1 --interface eth0")
    assert "several next hops, eth0 and eth1" in done.err
    assert roaming.vpcctl("status").code == 1
    typed(roaming, packets(roaming)["help"])
    leaves(roaming, "eth0")
    roaming.sh("ip rule del table 30320; ip route flush table 30320; ip route del default")
    back(roaming)


@pytest.mark.parametrize(("taking", "says", "mending"), [
    ("ip link set eth0 down", "link eth0 is down",
     f"ip link set eth0 up; {BY_ETH0}; ip addr replace 2001:db8::2/64 dev eth0 nodad; "
     "ip addr replace fe80::2/64 dev eth0 nodad; ip route replace ::/0 via 2001:db8::1"),
    ("ip -n internet link set sandbox down", "no carrier",
     "ip -n internet link set sandbox up; ip -n internet route add 198.51.100.0/24 dev sandbox; "
     "ip -n internet addr replace 2001:db8::1/64 dev sandbox nodad; "
     "ip -n internet addr replace fe80::1/64 dev sandbox nodad"),
    ("ip route add blackhole 8.0.0.0/8; ip route add blackhole 198.0.0.0/8", "blackhole route to",
     "ip route del blackhole 8.0.0.0/8; ip route del blackhole 198.0.0.0/8"),
    ("ip route add 10.0.1.0/24 via 198.18.5.1 dev eth1", "10.0.1.0/24 dev eth1",
     "ip route del 10.0.1.0/24"),
    ("ip rule add to 10.0.0.0/16 pref 10 table 78; ip route add 10.0.0.0/16 dev eth1 table 78",
     "10.0.0.0/16 dev eth1 table 78", "ip rule del pref 10; ip route flush table 78"),
    ("ip route add blackhole 10.0.1.0/24", "blackhole route to 10.0.1.0/24",
     "ip route del blackhole 10.0.1.0/24"),
    ("ip route add prohibit 10.0.1.2", "prohibit route to 10.0.1.2/32", "ip route del prohibit 10.0.1.2"),
    ("ip addr add 10.0.1.2/32 dev lo", "10.0.1.2 is an address of the host itself",
     "ip addr del 10.0.1.2/32 dev lo"),
    ("sysctl -qw net.ipv4.ip_forward=0", "ip_forward = 0", "sysctl -qw net.ipv4.ip_forward=1"),
])
def test_what_loses_packets_is_named(roaming: Host, taking: str, says: str, mending: str) -> None:
    roaming.do("nat enable --vpc vpc1")
    six = roaming.sh("ip -6 addr show dev eth0 scope global | grep -o '2001[^ ]*' || true").strip()
    roaming.sh(taking)
    lost(roaming, says)
    roaming.sh(mending)
    if six:
        roaming.sh(f"ip addr replace {six} dev eth0 nodad")
    leaves(roaming, "eth0")
    back(roaming)


def test_a_private_subnet_that_the_host_does_not_reach(roaming: Host) -> None:
    assert roaming.do("status --json").json["status"]["packets"] == []
    roaming.sh("ip route add 10.0.2.0/24 via 198.18.5.1 dev eth1")
    assert packets(roaming)["state"] == "cut off"
    assert "the host does not reach 10.0.2.2 (private)" in roaming.vpcctl("status").out
    roaming.do("nat enable --vpc vpc1")
    roaming.reaches("vpc1-public", *INTERNET)
    assert packets(roaming)["state"] == "cut off"
    back(roaming)


FIREWALL = """nft -f - <<'END'
table inet own {
  set trusted { type ifname; elements = { "docker0", "virbr0" }; }
  chain check { iifname @trusted accept; return; }
  chain through { type filter hook forward priority 10; policy %s
    ct state vmap { established : accept, related : accept, invalid : drop }
    jump check
    %s
  }
}
END"""


@pytest.mark.parametrize(("policy", "last", "why"), [
    ("drop;", "", "its policy is drop"), ("accept;", "reject with icmpx admin-prohibited", "says reject"),
    ("accept;", 'iifname "vpc-*" drop', "says drop"),
    ("accept;", "oifname eth0 ip saddr 10.0.0.0/8 drop", "says drop")])
def test_another_firewall_behind_our_accept(vpc1: Host, policy: str, last: str, why: str) -> None:
    vpc1.sh(FIREWALL % (policy, last))
    done = vpc1.do("nat enable --vpc vpc1")
    assert "another firewall refuses them: nft chain inet own through" in done.err
    typed(vpc1, lost(vpc1, "nft chain inet own through", why))
    leaves(vpc1, "eth0")
    vpc1.sh("nft delete table inet own")


def test_another_firewall_that_lets_us_through(vpc1: Host) -> None:
    vpc1.sh(FIREWALL % ("accept;", "tcp dport 25 reject"))
    vpc1.do("nat enable --vpc vpc1")
    leaves(vpc1, "eth0")
    vpc1.sh("nft delete table inet own")


def test_without_nft_it_is_not_known(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    nft = vpc1.sh("realpath $(command -v nft)").strip()
    vpc1.sh(f"touch /run/none; mount -n --bind /run/none {nft}")
    done = vpc1.vpcctl("status")
    assert "in sync" not in done.out
    assert "whether another firewall refuses them is unknown: nft not found" in done.out
    assert packets(vpc1)["state"] == "not known"
    vpc1.sh(f"umount -n {nft}; rm /run/none")
    leaves(vpc1, "eth0")


def test_the_31s_avoid_what_is_in_use(host: Host) -> None:
    host.sh("""ip link add vpn0 type veth peer name vpnp netns internet
        ip link set vpn0 addrgenmode none
        ip addr add 169.254.64.2/30 dev vpn0; ip link set vpn0 up
        ip -n internet addr add 169.254.64.1/30 dev vpnp; ip -n internet link set vpnp up
        ip route add 169.254.64.4 via 169.254.64.1""")
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.reaches("", "169.254.64.1")
    uplink = host.do("vpc show --name vpc1 --json").json["vpc"]["uplink"]
    assert uplink["host"] == "169.254.64.6"
    host.sh("ip route add 169.254.64.6/32 dev vpn0")
    assert "has the addresses of its cable" in host.vpcctl("status").out
    host.sh("ip link del vpn0")


@pytest.mark.parametrize(("theirs", "says"), [
    ("addr add 10.0.1.2/32 dev lo", "the host's own address 10.0.1.2 (on lo)"),
    ("route add blackhole 10.0.0.0/16", "the host's blackhole route to 10.0.0.0/16"),
    ("route add unreachable 10.0.1.0/24", "the host's unreachable route to 10.0.1.0/24"),
    ("route add throw 10.0.1.0/24", "the host's throw route to 10.0.1.0/24")])
def test_what_is_in_the_way_of_a_vpc(host: Host, theirs: str, says: str) -> None:
    host.sh(f"ip {theirs}")
    host.refused("vpc create --name vpc1 --cidr 10.0.0.0/16", says=says)
    done = host.do("vpc create --name vpc1 --cidr 10.0.0.0/16 --allow-overlap")
    assert says in done.err
    host.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
    host.do("nat enable --vpc vpc1")
    leaves(host, "eth0")
    host.sh(f"ip {theirs.replace(' add ', ' del ')}")


def test_a_wider_blackhole_is_in_nobody_s_way(host: Host) -> None:
    host.sh("ip route add blackhole 10.0.0.0/8")
    assert host.do("vpc create --name vpc1 --cidr 10.0.0.0/16").err == ""
    host.sh("ip route del blackhole 10.0.0.0/8")


def test_a_subnet_over_what_came_later(vpc1: Host) -> None:
    vpc1.sh("ip addr add 10.0.7.2/32 dev lo")
    done = vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.7.0/24 --type public")
    assert "the host's own address 10.0.7.2 (on lo)" in done.err
    vpc1.sh("ip addr del 10.0.7.2/32 dev lo")


def servers(host: Host) -> list[str]:
    """The name servers that vpc1-public is told."""
    text = host.sh("cat /etc/netns/vpc1-public/resolv.conf 2>/dev/null || true")
    return [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]


def test_name_servers_that_change(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    assert servers(vpc1) == ["8.8.8.8"]
    vpc1.sh("echo nameserver 1.1.1.1 >/etc/resolv.conf")
    done = vpc1.vpcctl("status")
    assert (done.code, "they are now 1.1.1.1, not 8.8.8.8" in done.out) == (1, True), done
    vpc1.do("restore")
    assert servers(vpc1) == ["1.1.1.1"]
    leaves(vpc1, "eth0")
    vpc1.sh("echo >/etc/resolv.conf")
    assert "names won't resolve" in vpc1.do("status").err
    vpc1.do("restore")
    assert servers(vpc1) == ["1.1.1.1"], "what was known is better than none"
    vpc1.sh("echo nameserver 8.8.8.8 >/etc/resolv.conf")


def test_a_name_server_behind_another_link(roaming: Host) -> None:
    roaming.sh("printf 'nameserver 198.18.5.53\\nnameserver 8.8.8.8\\n' >/etc/resolv.conf")
    done = roaming.do("nat enable --vpc vpc1")
    assert "name server 198.18.5.53 can't be asked from VPC 'vpc1': it is behind eth1" in done.err
    assert servers(roaming) == ["8.8.8.8"]
    leaves(roaming, "eth0")
    roaming.sh("echo nameserver 8.8.8.8 >/etc/resolv.conf")
    back(roaming)


def test_a_name_server_inside_the_vpc_s_own_cidr(vpc1: Host) -> None:
    vpc1.sh("echo nameserver 10.0.9.9 >/etc/resolv.conf")
    done = vpc1.do("nat enable --vpc vpc1")
    assert "an address of the VPC's own CIDR 10.0.0.0/16" in done.err
    assert "names won't resolve" in done.err
    assert servers(vpc1) == []
    vpc1.sh("echo nameserver 8.8.8.8 >/etc/resolv.conf")


def test_what_systemd_left_behind_is_not_asked(vpc1: Host) -> None:
    vpc1.sh("mkdir -p /run/systemd/resolve; echo nameserver 10.99.99.9 >/run/systemd/resolve/resolv.conf")
    vpc1.do("nat enable --vpc vpc1")
    assert servers(vpc1) == ["8.8.8.8"]
    vpc1.sh("rm -r /run/systemd")
