"""A network that an older vpcctl made: the next change brings it to what is made today, while it is used."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address
from typing import Any

import pytest
from host import INTERNET, Host

from vpcctl_lib.model.naming import instance_mac, mac
from vpcctl_lib.record.document import VERSION

STATE = "/var/lib/vpcctl/state.json"
NEW_KINDS = ("switching", "station", "neighbour", "guard")
NEW_CHAINS = ("VPCCTL-GUARD", "VPCCTL-GUARD-OUT", "VPCCTL-GUARD-IN", "VPCCTL-GUARD-FROM")
BEFORE = """
ip netns exec vpc1 nft delete table bridge vpcctl
for port in s-public s-private; do
    ip -n vpc1 link set $port type bridge_slave learning on flood on mcast_flood on
    ip -n vpc1 link set $port type bridge_slave bcast_flood on proxy_arp off
    bridge -n vpc1 fdb show dev $port | awk '/static/ { print $1 }' | while read -r mac; do
        bridge -n vpc1 fdb del $mac dev $port master
    done
done
ip -n vpc1 neigh flush dev br-vpc1 nud permanent
for name in public private; do
    ip -n vpc1-$name neigh flush dev eth0 nud permanent
    ip -n vpc1-$name link set eth0 address 02:00:00:00:00:$(printf %s $name | cksum | cut -c1-2)
    ip netns exec vpc1-$name sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.eth0.accept_redirects=1
done
iptables -t mangle -D PREROUTING 1
iptables -t mangle -D POSTROUTING 1
for chain in VPCCTL-GUARD VPCCTL-GUARD-OUT VPCCTL-GUARD-FROM; do
    iptables -t mangle -F $chain
    iptables -t mangle -X $chain
done
iptables -t security -F
iptables -t security -X
"""


SWITCHED_BY_ARP = """
for name in public private; do
    case $name in public) own=10.0.1.2 ;; *) own=10.0.2.2 ;; esac
    ip -n vpc1-$name addr del $own/24 dev eth0
    ip -n vpc1-$name -batch - <<END
addr add $own/24 dev eth0
route add 10.0.0.0/16 dev eth0 scope link
route add default via 10.0.0.1 dev eth0
neigh replace 10.0.0.1 lladdr $(ip -n vpc1 -br link show br-vpc1 | awk '{ print $3 }') dev eth0 nud permanent
END
done
ip netns exec vpc1 nft -a list chain bridge vpcctl ipv4 | awk '/ether daddr set|goto errors/ { print $NF }' |
    while read -r handle; do ip netns exec vpc1 nft delete rule bridge vpcctl ipv4 handle $handle; done
for what in "chain bridge vpcctl errors" "set bridge vpcctl quoted" "map bridge vpcctl machines"; do
    ip netns exec vpc1 nft delete $what
done
"""


def as_switched_by_arp(host: Host) -> None:
    """The kernel and the record as they were when machines asked for each other by ARP."""
    host.sh(SWITCHED_BY_ARP)
    record = host.state()
    del record["topology"]["quotes"]
    ledger = []
    for line in record["ledger"]:
        line.pop("form", None)
        line.pop("quotes", None)
        line.pop("routed", None)
        if line["kind"] == "route" and line["namespace"] in ("vpc1-public", "vpc1-private"):
            if line["destination"] == "10.0.0.1/32":
                continue
            if line["destination"] == "10.0.0.0/16":
                del line["via"]
        ledger.append(line)
    record["ledger"] = ledger
    host.sh(f"cat >{STATE} <<'END'\n{json.dumps(record)}\nEND\n")


def test_machines_that_asked_by_arp_are_switched_by_the_guard_with_the_next_change(vpc1: Host) -> None:
    as_switched_by_arp(vpc1)
    vpc1.reaches("vpc1-public", "10.0.2.2")
    pings = "ping -i 0.01 -c 300 -W 1 10.0.2.2 >/run/pings 2>&1 & echo $! >/run/pinging"
    vpc1.sh(pings, "vpc1-public")
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24")
    vpc1.sh("tail --pid=$(cat /run/pinging) -f /dev/null")
    received = int(re.findall(r"(\d+) received", vpc1.sh("cat /run/pings; rm /run/pings /run/pinging"))[0])
    # Of two machines one has its new route first: a reply may be routed whose request was switched.
    assert received >= 298, received
    assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", "10.0.2.2", "10.0.9.2", "10.0.0.1")
    assert vpc1.sh("ip -4 route", "vpc1-public").split("\n")[1:] == [
        "10.0.0.0/16 via 10.0.0.1 dev eth0 ", "10.0.0.1 dev eth0 scope link ", ""]


ONCE = """#!/bin/sh
PATH=/usr/sbin:/sbin:/usr/bin:/bin
[ "$1" = -f ] && mkdir /run/none/failed 2>/dev/null || exec nft "$@"
echo "made to fail" >&2
exit 1
"""


def as_of_version_2(host: Host) -> None:
    """The kernel and the record as that version left them."""
    host.sh(BEFORE)
    record = host.state()
    record["version"] = 2
    del record["topology"]["guarded"]
    ledger = [line for line in record["ledger"] if line["kind"] not in NEW_KINDS]
    ledger = [line for line in ledger if not (line["kind"] == "settings" and line["namespace"] != "vpc1")]
    ledger = [line for line in ledger
              if line.get("name") not in NEW_CHAINS and line.get("table") not in ("mangle", "security")]
    for line in ledger:
        line.pop("mac", "") if line["kind"] == "port" else None
        if line["kind"] == "settings":
            line.pop("profile", "")
            line["values"] = [["net.ipv4.ip_forward", "1"], ["net.ipv4.icmp_ratelimit", "0"]]
    record["ledger"] = [line for line in ledger if "device" not in line or line["kind"] != "settings"]
    host.sh(f"cat >{STATE} <<'END'\n{json.dumps(record)}\nEND\n")


def test_a_record_of_version_2_becomes_todays_with_the_next_change(vpc1: Host) -> None:
    vpc1.do("deploy webserver --vpc vpc1 --subnet private --port 80")
    pid = vpc1.do("deploy list --json").json["workloads"][0]["pid"]
    as_of_version_2(vpc1)
    vpc1.reaches("vpc1-public", "10.0.2.2:80")
    assert vpc1.vpcctl("status").code == 1
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24")
    assert vpc1.state()["version"] == VERSION
    assert vpc1.do("status").out == "in sync\n"
    assert vpc1.do("deploy list --json").json["workloads"][0]["pid"] == pid
    vpc1.reaches("vpc1-public", "10.0.2.2:80", "10.0.9.2", "10.0.0.1")
    vpc1.reaches("", "10.0.1.2", "10.0.2.2:80")
    assert vpc1.sh("cat /proc/sys/net/ipv4/conf/all/arp_ignore", "vpc1-public") == "0\n"


def test_a_change_that_fails_leaves_the_old_network_as_it_was(vpc1: Host) -> None:
    as_of_version_2(vpc1)
    before = vpc1.portrait()
    path = vpc1.sh("printf %s $PATH")
    vpc1.sh(f"mkdir /run/none; cat >/run/none/nft <<'END'\n{ONCE}END\nchmod +x /run/none/nft\n")
    done = vpc1.vpcctl("subnet", "add", "--vpc", "vpc1", "--name", "late", "--cidr", "10.0.9.0/24",
                       PATH=f"/run/none:{path}")
    vpc1.sh("rm -r /run/none")
    assert done.code == 1
    assert "could not be undone" not in done.err, done.err
    vpc1.check_same(before)


LISTS = {"VPCCTL-FORWARD": "VPCCTL-REFUSED", "VPCCTL-GUARD": "VPCCTL-GUARD-FROM"}
"""Chains that once had all rules, each with the chain that has most of them since."""

OUT = "-m comment --comment vpcctl:host -j VPCCTL-GUARD-OUT"
AWAY = "VPCCTL-GUARD-AWAY"
OUT_TWICE = f"""
iptables -t mangle -D POSTROUTING 1
iptables -t mangle -I POSTROUTING {OUT}
iptables -t mangle -N {AWAY}
iptables -t mangle -S VPCCTL-GUARD-OUT | sed -n 's/^-A VPCCTL-GUARD-OUT/iptables -t mangle -A {AWAY}/p' | sh
iptables -t mangle -F VPCCTL-GUARD-OUT
iptables -t mangle -A VPCCTL-GUARD-OUT -s 10.0.0.0/16 -m comment --comment vpcctl:vpc1 -g {AWAY}
iptables -t mangle -A VPCCTL-GUARD-OUT -m conntrack ! --ctstate ESTABLISHED,RELATED \
    -m comment --comment vpcctl:host -g {AWAY}
"""


def led_out_by_two_chains(host: Host, record: dict[str, Any]) -> None:
    """The kernel and a record as they were when a chain led to the guard of what leaves."""
    host.sh(OUT_TWICE)
    (chain,) = (line for line in record["ledger"] if line.get("name") == "VPCCTL-GUARD-OUT")
    rules = ["-s 10.0.0.0/16 -m comment --comment vpcctl:vpc1",
             "-m conntrack ! --ctstate ESTABLISHED,RELATED -m comment --comment vpcctl:host"]
    away = {**chain, "name": AWAY}
    chain["rules"] = [f"{rule} -g {AWAY}" for rule in rules]
    record["ledger"].insert(record["ledger"].index(chain), away)
    (jump,) = (line for line in record["ledger"] if line.get("rule", "").endswith("-j VPCCTL-GUARD-OUT"))
    jump["rule"] = OUT


STEERING = """
table bridge vpcctl-routes {
    chain via-1 { ip saddr != 10.0.0.0/16 accept; }
}
delete table bridge vpcctl-routes
table bridge vpcctl-routes {
    map origin { type ifname : mark; elements = { "s-private" : 0x00010000 }; }
    chain table-main {
        continue comment "number 1"
        continue comment "route 0.0.0.0/0 nat:nat1"
        continue comment "subnet private"
    }
    chain prerouting {
        type filter hook prerouting priority -199; policy accept;
        ip daddr != 10.0.0.0/16 ether daddr set %s meta pkttype set host
        ether type ip meta mark set iifname map @origin
    }
}
"""


def routed_by_tables_too(host: Host) -> dict[str, Any]:
    """The record when the router had each table, also what its bridge switches; the kernel has it, too."""
    # With a route to nowhere beside the others, it has the table today, too.
    block = "8.8.4.4/32"
    host.do(f"route-table add-route --vpc vpc1 --name main --to {block} --via blackhole")
    host.sh(f"ip -n vpc1 route del blackhole {block} table 1001")
    record: dict[str, Any] = host.state()
    (table,) = record["topology"]["vpcs"][0]["route_tables"]
    table["routes"] = [one for one in table["routes"] if one["destination"] != block]
    record["ledger"] = [line for line in record["ledger"]
                        if not (line["kind"] == "way" and line["destination"] == block)]
    for line in record["ledger"]:
        if line["kind"] == "steering":
            del line["form"]
            line["hops"] = [one for one in line["hops"] if one["target"] != block]
            line["tables"][0]["words"].remove(f"route {block} blackhole")
    return record


def as_met_by_every_packet(host: Host) -> None:
    """The kernel and the record as they were when packets met all rules, and NAT gateways were routed to."""
    record = routed_by_tables_too(host)
    host.sh("ip netns exec vpc1 nft -f - <<'END'" + STEERING % mac("vpc1") + "END\n")
    chains = {line["name"]: line for line in record["ledger"]
              if line["kind"] == "chain" and not line["namespace"]}
    for chain, other in LISTS.items():
        lead = f" {other}"
        rules = [rule for rule in chains[other]["rules"] if "NEW,ESTABLISHED" not in rule]
        rules += [rule for rule in chains[chain]["rules"] if not rule.endswith(lead)]
        chains[chain]["rules"] = rules
        table = chains[chain]["table"]
        lines = "".join(f"-A {chain} {rule}\n" for rule in rules)
        host.sh(f"iptables-restore --noflush <<'END'\n*{table}\n:{chain} - [0:0]\n{lines}-F {other}\n"
                f"-X {other}\nCOMMIT\nEND\n")
    record["ledger"] = [line for line in record["ledger"] if line.get("name") not in LISTS.values()]
    for line in record["ledger"]:
        line.pop("hops", None)
    host.sh(f"cat >{STATE} <<'END'\n{json.dumps(record)}\nEND\n")


def lead_by_a_nat_gateway(host: Host) -> None:
    """What is private goes out by a route of the main table."""
    host.do("nat enable --vpc vpc1")
    host.do("nat-gateway create --vpc vpc1 --subnet public --name nat1")
    host.do("route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via nat:nat1")


NEXT = ("restore", "subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24")
"""What mends a network that an older vpcctl made."""


@pytest.mark.parametrize("command", NEXT)
def test_rules_that_met_every_packet_are_reported_and_mended(vpc1: Host, command: str) -> None:
    lead_by_a_nat_gateway(vpc1)
    as_met_by_every_packet(vpc1)
    vpc1.reaches("vpc1-private", *INTERNET)
    told = vpc1.vpcctl("status")
    assert told.code == 1
    for name in ("VPCCTL-REFUSED", "VPCCTL-GUARD-FROM", "marks for route tables"):
        assert name in told.out, name
    vpc1.do(command)
    assert vpc1.do("status").out.endswith("in sync\n")
    vpc1.reaches("vpc1-private", *INTERNET)
    vpc1.reaches("vpc1-public", *INTERNET)
    vpc1.never_reaches("vpc1-private", "169.254.169.254")
    vpc1.never_reaches("internet", "10.0.1.2", "10.0.2.2")


MARKED = """
table bridge vpcctl-routes {
    chain via-1 { ip saddr != 10.0.0.0/16 accept; }
}
delete table bridge vpcctl-routes
table bridge vpcctl-routes {
    map origin { type ifname : mark; elements = { "s-private" : 0x00010000 }; }
    chain table-main {
        continue comment "number 1"
        continue comment "route 0.0.0.0/0 nat:nat1"
        continue comment "subnet private"
    }
    chain via-1 {
        ip saddr != 10.0.0.0/16 accept
        ip daddr 169.254.0.0/16 accept
        ip daddr 224.0.0.0/3 accept
        ether daddr set %(gateway)s accept
    }
    chain prerouting {
        type filter hook prerouting priority -199; policy accept;
        ip daddr != 10.0.0.0/16 ether daddr set %(router)s meta pkttype set host \
            meta mark set iifname map @origin meta mark vmap { 0x00010000 : jump via-1 }
    }
}
"""


def as_led_by_marks(host: Host) -> None:
    """The kernel and the record as they were when the bridge's table had marks by port."""
    record = routed_by_tables_too(host)
    led_out_by_two_chains(host, record)
    macs = {"router": mac("vpc1"), "gateway": instance_mac("vpc1", IPv4Address("10.0.1.4"))}
    host.sh(f"ip netns exec vpc1 nft -f - <<'END'{MARKED % macs}END\n")
    host.sh(f"cat >{STATE} <<'END'\n{json.dumps(record)}\nEND\n")


@pytest.mark.parametrize("command", NEXT)
def test_tables_of_the_router_that_its_bridge_follows_wholly_go(vpc1: Host, command: str) -> None:
    lead_by_a_nat_gateway(vpc1)
    as_led_by_marks(vpc1)
    vpc1.reaches("vpc1-private", *INTERNET)
    told = vpc1.vpcctl("status")
    assert told.code == 1
    assert "marks for route tables" in told.out
    assert "-j VPCCTL-GUARD-OUT of table mangle on the host" in told.out
    vpc1.do(command)
    assert vpc1.do("status").out.endswith("in sync\n")
    assert "1001" not in vpc1.sh("ip -n vpc1 rule; ip -n vpc1 route show table all")
    assert "mark" not in vpc1.sh("iptables-save -t raw", "vpc1")
    assert AWAY not in vpc1.sh("iptables-save -t mangle")
    vpc1.reaches("vpc1-private", *INTERNET)
    vpc1.never_reaches("vpc1-private", "169.254.169.254")


NEW_FLOWS = """
import socket, time
while True:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"x", ("8.8.8.8", 5000))
    sock.close()
    time.sleep(0.0005)
"""
"""A new connection each time: one that begins without NAT would leave with a private address."""

OWN_CHAIN = "iptables -t nat {} POSTROUTING -m comment --comment vpcctl:host -j VPCCTL-POSTROUTING"


def test_nat_rules_of_an_older_network_move_without_a_moment_of_none(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    rule = "-s 10.0.1.0/24 -o eth0 -m comment --comment vpcctl:vpc1/public -j MASQUERADE --random-fully"
    vpc1.sh(f"""iptables -t nat -A POSTROUTING {rule}
                {OWN_CHAIN.format("-D")}
                iptables -t nat -F VPCCTL-POSTROUTING; iptables -t nat -X VPCCTL-POSTROUTING
                ip netns exec internet iptables -A INPUT -s 10.0.0.0/8""")
    record = vpc1.state()
    ledger = [line for line in record["ledger"] if line.get("table") != "nat"]
    record["ledger"] = [*ledger, {"kind": "rule", "table": "nat", "chain": "POSTROUTING", "rule": rule}]
    vpc1.sh(f"cat >{STATE} <<'END'\n{json.dumps(record)}\nEND\n")
    flows = vpc1.start("vpc1-public", "python3", "-c", NEW_FLOWS)
    vpc1.wait_until(lambda: vpc1.run("conntrack", "-L", "-p", "udp", "--dport", "5000").out != "", "it sends")
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24 --type public")
    vpc1.stop(flows)
    assert "[0:0] -A INPUT -s 10.0.0.0/8" in vpc1.sh("iptables-save -c -t filter", "internet")
    assert vpc1.do("status").out == "in sync\n"
    assert "MASQUERADE" not in vpc1.sh("iptables -t nat -S POSTROUTING | grep vpcctl")
    vpc1.reaches("vpc1-late", *INTERNET)
    vpc1.sh("iptables -D INPUT -s 10.0.0.0/8", "internet")
