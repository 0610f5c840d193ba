"""Route tables of a person's own, and NAT gateways: where packets really go, and where they do not."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
import yaml
from host import INTERNET, UPLINK, Host
from test_connections import DOWNLOAD, STREAM, grows, served

from vpcctl_lib.model.naming import instance_mac

PEER = ("172.16.1.2", "172.16.2.2")
SEEN = """nft -f - <<'EOF'
table ip seen {
  chain count {
    type filter hook forward priority -400;
    ip saddr %s counter comment "there"
    ip daddr %s counter comment "back"
  }
}
EOF"""
"""Counts what a middlebox sends on from an address and to it."""


@pytest.fixture
def peered(vpc2: Host) -> Host:
    """Both VPCs as peers, the first with NAT."""
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    return vpc2


@pytest.fixture
def gateway(peered: Host) -> Host:
    """With a NAT gateway, and private subnets' way out by it."""
    peered.do("nat-gateway create --vpc vpc1 --subnet public --name nat1")
    peered.do("route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via nat:nat1")
    return peered


def table(host: Host, name: str, vpc: str = "vpc1") -> list[str]:
    """The routes of a table, each in a line."""
    shown = host.do(f"route-table show --vpc {vpc} --name {name} --json").json["route_table"]
    return [" ".join(row.values()) for row in shown["routes"]]


def seen(host: Host, namespace: str) -> tuple[int, int]:
    """The packets that a middlebox has sent on, there and back."""
    listed = host.sh("nft list table ip seen", namespace)
    there, back = (int(part.split()[0]) for part in listed.split("packets ")[1:])
    return there, back


def test_a_private_subnet_gets_out_by_a_nat_gateway_and_nothing_gets_in(gateway: Host) -> None:
    assert table(gateway, "main") == ["10.0.0.0/16 local active", "0.0.0.0/0 nat:nat1 active",
                                      "172.16.0.0/16 peer:vpc2 active"]
    answers = gateway.reaches("vpc1-private", *INTERNET)
    # One hop more than from a public subnet, and the host's address outside.
    assert [answers[0].ttl, gateway.reaches("vpc1-public", "8.8.8.8")[0].ttl] == [61, 62]
    assert UPLINK in gateway.sh("curl -s http://8.8.8.8", "vpc1-private")
    gateway.reaches("vpc1-private", "10.0.1.2", *PEER)
    gateway.reaches("", "10.0.1.2", "10.0.2.2")
    gateway.reaches("vpc2-public", "10.0.1.2", "10.0.2.2")
    gateway.listen("vpc1-public.nat1", "80", "53/udp")
    for space in ("vpc1-private", "vpc1-public", "vpc2-public", ""):
        gateway.never_reaches(space, "10.0.1.4", "10.0.1.4:80", "10.0.1.4:53/udp")
    gateway.never_reaches("internet", "10.0.2.2", "10.0.1.4")
    gateway.never_reaches("vpc2-private", *INTERNET)
    # The addresses where clouds hand out credentials, and the host, stay closed.
    gateway.never_reaches("vpc1-private", "169.254.169.254")
    assert gateway.probe(("vpc1-private", UPLINK))[0].verdict != "reached"
    assert gateway.do("status").out == "in sync\n"


def test_a_nat_gateway_in_use_stays_and_one_that_is_not_goes(gateway: Host) -> None:
    gateway.refused("nat-gateway delete --vpc vpc1 --name nat1", says="0.0.0.0/0 of route table 'main'")
    gateway.refused("subnet delete --vpc vpc1 --name public", says="route table 'main'")
    (one,) = gateway.do("nat-gateway list --json").json["nat_gateways"]
    assert (one["address"], one["namespace"], one["subnet"]) == ("10.0.1.4", "vpc1-public.nat1", "public")
    gateway.do("route-table delete-route --vpc vpc1 --name main --to 0.0.0.0/0")
    gateway.never_reaches("vpc1-private", *INTERNET)
    gateway.reaches("vpc1-private", *PEER, "10.0.1.2")
    gateway.do("nat-gateway delete --vpc vpc1 --name nat1")
    assert gateway.do("nat-gateway list --json").json["nat_gateways"] == []
    assert gateway.sh("ip -n vpc1 rule").count("lookup") == 3
    assert gateway.run("ip", "netns", "exec", "vpc1", "nft", "list", "table", "bridge", "vpcctl-routes").code
    gateway.refused("nat-gateway create --vpc vpc1 --subnet private --name nat2", says="is private")


def test_a_sender_cannot_choose_the_next_hop(gateway: Host) -> None:
    """In a subnet that no table leads to the NAT gateway, whatever its root writes into frames."""
    gateway.do("route-table create --vpc vpc1 --name closed")
    gateway.do("route-table associate --vpc vpc1 --subnet private --name closed")
    gateway.never_reaches("vpc1-private", *INTERNET, *PEER)
    gateway.reaches("vpc1-private", "10.0.1.2")
    mac = instance_mac("vpc1", IPv4Address("10.0.1.4"))
    gateway.sh("ip route add 10.0.1.4 dev eth0; ip route replace default via 10.0.1.4; "
               f"ip neigh replace 10.0.1.4 lladdr {mac} dev eth0", "vpc1-private")
    gateway.sh("ip neigh | grep -q 10.0.1.4", "vpc1-private")
    gateway.never_reaches("vpc1-private", *INTERNET)
    gateway.do("route-table dissociate --vpc vpc1 --subnet private")
    gateway.reaches("vpc1-private", *INTERNET)


def test_a_mark_of_a_tenant_s_own_leads_to_no_table(gateway: Host) -> None:
    gateway.do("route-table create --vpc vpc1 --name closed")
    gateway.do("route-table associate --vpc vpc1 --subnet private --name closed")
    for mark in ("0x10000", "0x20000"):
        gateway.sh(f"iptables -t mangle -A OUTPUT -j MARK --set-mark {mark}", "vpc1-private")
        gateway.never_reaches("vpc1-private", *INTERNET)
    gateway.sh("iptables -t mangle -F OUTPUT", "vpc1-private")


@pytest.mark.parametrize("far", PEER)
def test_a_middlebox_sees_what_goes_to_a_peer_and_what_comes_back(peered: Host, far: str) -> None:
    peered.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    peered.do("route-table create --vpc vpc1 --name watched")
    peered.do("route-table add-route --vpc vpc1 --name watched --to 172.16.0.0/16 --via instance:public/box")
    peered.do("route-table associate --vpc vpc1 --subnet private --name watched")
    peered.sh(SEEN % ("10.0.2.2", "10.0.2.2"), "vpc1-public.box")
    peered.listen("vpc1-private", "90")
    space = {"172.16.1.2": "vpc2-public", "172.16.2.2": "vpc2-private"}[far]
    peered.listen(space, "90", "91/udp")
    peered.reaches("vpc1-private", far, f"{far}:90", f"{far}:91/udp")
    there, back = seen(peered, "vpc1-public.box")
    assert there >= 5
    assert back >= 5
    # Begun by the peer, too, and both ways as before.
    peered.reaches(space, "10.0.2.2", "10.0.2.2:90")
    assert all(now > before + 3 for now, before in zip(seen(peered, "vpc1-public.box"), (there, back),
                                                       strict=True))
    # Nothing else goes by it, or anywhere.
    still = seen(peered, "vpc1-public.box")
    peered.reaches("vpc1-private", "10.0.1.2")
    peered.reaches("", "10.0.2.2:90")
    peered.never_reaches("vpc1-private", *INTERNET)
    assert seen(peered, "vpc1-public.box") == still
    assert peered.do("status").out.endswith("in sync\n")
    # A middlebox that stops is a way that is closed.
    peered.sh("sysctl -qw net.ipv4.ip_forward=0", "vpc1-public.box")
    peered.never_reaches("vpc1-private", far)


def test_a_middlebox_on_the_way_to_the_internet(peered: Host) -> None:
    """It sends packets on with their own source, as the table of its own subnet is that of the internet."""
    peered.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    peered.do("route-table create --vpc vpc1 --name watched")
    peered.do("route-table add-route --vpc vpc1 --name watched --to 0.0.0.0/0 --via instance:public/box")
    peered.do("route-table associate --vpc vpc1 --subnet private --name watched")
    peered.sh(SEEN % ("10.0.2.2", "10.0.2.2"), "vpc1-public.box")
    peered.reaches("vpc1-private", *INTERNET, *PEER)
    there, back = seen(peered, "vpc1-public.box")
    assert there >= 9
    assert back >= 9
    peered.reaches("", "10.0.2.2")
    peered.sh("iptables -t nat -A POSTROUTING -j MASQUERADE", "vpc1-public.box")
    peered.reaches("vpc1-private", *INTERNET)
    peered.sh("iptables -P FORWARD DROP", "vpc1-public.box")
    peered.never_reaches("vpc1-private", *INTERNET, *PEER)
    peered.refused("route-table associate --vpc vpc1 --subnet public --name watched", says="come back to it")


def test_a_middlebox_before_a_nat_gateway(gateway: Host) -> None:
    """The packets of one subnet go by a machine in another, and from there by the NAT gateway."""
    gateway.do("subnet add --vpc vpc1 --name watch --cidr 10.0.3.0/24")
    gateway.do("instance add --vpc vpc1 --subnet watch --name box --forwards")
    gateway.do("route-table create --vpc vpc1 --name watched")
    gateway.do("route-table add-route --vpc vpc1 --name watched --to 0.0.0.0/0 --via instance:watch/box")
    gateway.do("route-table associate --vpc vpc1 --subnet private --name watched")
    gateway.sh(SEEN % ("10.0.2.2", "10.0.2.2"), "vpc1-watch.box")
    assert gateway.reaches("vpc1-private", *INTERNET)[0].ttl == 60
    there, back = seen(gateway, "vpc1-watch.box")
    assert there >= 6
    assert back >= 6
    # A firewall there that knows connections is content, and reach knows the way.
    gateway.sh("iptables -P FORWARD DROP; iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP; "
               "iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT; "
               "iptables -A FORWARD -s 10.0.2.0/24 -p tcp --dport 80 -j ACCEPT", "vpc1-watch.box")
    gateway.reaches("vpc1-private", INTERNET[1])
    gateway.never_reaches("vpc1-private", INTERNET[2])
    assert gateway.do("status").out == "in sync\n"
    # Inside the VPC all is switched as before.
    still = seen(gateway, "vpc1-watch.box")
    gateway.reaches("vpc1-private", "10.0.1.2", "10.0.3.2")
    gateway.reaches("vpc1-public", "10.0.2.2")
    assert seen(gateway, "vpc1-watch.box") == still
    gateway.sh("nft delete table ip seen", "vpc1-watch.box")
    told = gateway.do("reach --from vpc1/private --to 8.8.8.8 --port 80 --probe").out
    assert told.count("vpc1-watch.box") > 3


def test_the_longest_prefix_wins_and_a_blackhole_answers_nothing(gateway: Host) -> None:
    gateway.do("route-table create --vpc vpc1 --name mixed")
    for to, via in (("0.0.0.0/0", "nat:nat1"), ("8.8.8.8/32", "blackhole"), ("172.16.0.0/16", "blackhole"),
                    ("172.16.1.0/24", "peer:vpc2")):
        gateway.do(f"route-table add-route --vpc vpc1 --name mixed --to {to} --via {via}")
    gateway.do("route-table associate --vpc vpc1 --subnet private --name mixed")
    gateway.never_reaches("vpc1-private", *INTERNET, "172.16.2.2")
    gateway.reaches("vpc1-private", PEER[0], "10.0.1.2")
    gateway.reaches("vpc2-public", "10.0.2.2")
    gateway.never_reaches("vpc2-private", "10.0.2.2")
    gateway.do("route-table delete-route --vpc vpc1 --name mixed --to 8.8.8.8/32")
    gateway.reaches("vpc1-private", *INTERNET)
    gateway.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    assert "172.16.1.0/24 peer:vpc2 blackhole" in table(gateway, "mixed")
    assert gateway.do("status").out == "in sync\n"
    gateway.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    gateway.reaches("vpc1-private", PEER[0])


def test_a_table_with_a_part_of_the_internet(peered: Host) -> None:
    peered.do("route-table create --vpc vpc1 --name part")
    peered.do("route-table add-route --vpc vpc1 --name part --to 9.0.0.0/8 --via internet")
    done = peered.do("route-table associate --vpc vpc1 --subnet private --name part --json").json["subnet"]
    assert (done["type"], done["route_table"]) == ("public", "part")
    peered.never_reaches("vpc1-private", *INTERNET)
    peered.do("route-table add-route --vpc vpc1 --name part --to 8.8.8.0/24 --via internet")
    peered.reaches("vpc1-private", *INTERNET)
    # The router refuses the rest by itself, should the way to the table be lost.
    peered.do("route-table delete-route --vpc vpc1 --name part --to 8.8.8.0/24")
    peered.sh("ip -n vpc1 rule del pref 10001")
    peered.never_reaches("vpc1-private", *INTERNET)
    assert peered.vpcctl("status").code == 1
    peered.do("restore")
    assert peered.do("status").out.endswith("in sync\n")
    peered.do("subnet set --vpc vpc1 --name private --type private")
    assert peered.do("subnet list --vpc vpc1 --json").json["subnets"][1]["route_table"] is None


LOST = {
    "rules": "ip -n vpc1 rule flush",
    "gateway's rules": "ip -n vpc1-public.nat1 rule flush",
    "routes": "ip -n vpc1 route flush table 1001",
    "marks": "ip netns exec vpc1 nft delete table bridge vpcctl-routes",
    "iptables": "ip netns exec vpc1 iptables -F; ip netns exec vpc1 iptables -t raw -F; "
                "ip netns exec vpc1-public.nat1 iptables -t nat -F",
    "gateway": "ip netns del vpc1-public.nat1",
    "router": "ip netns del vpc1",
    "all": "for n in vpc1 vpc2 vpc1-private vpc1-public vpc1-public.nat1; do ip netns del $n; done; "
           "iptables -F VPCCTL-FORWARD; iptables -t nat -F VPCCTL-POSTROUTING",
}


@pytest.mark.parametrize("what", LOST)
def test_what_is_lost_is_reported_and_restored(gateway: Host, what: str) -> None:
    gateway.sh(LOST[what])
    assert gateway.vpcctl("status").code == 1
    gateway.do("restore")
    gateway.reaches("vpc1-private", *INTERNET, *PEER)
    gateway.never_reaches("vpc1-private", "10.0.1.4")
    assert gateway.do("status").out.endswith("in sync\n")


def test_marks_tell_of_tables_and_gateways(gateway: Host) -> None:
    gateway.do("subnet add --vpc vpc1 --name empty --cidr 10.0.9.0/24 --bare")
    gateway.do("route-table create --vpc vpc1 --name watched")
    gateway.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    gateway.do("route-table add-route --vpc vpc1 --name watched --to 172.16.0.0/16 --via instance:public/box")
    gateway.do("route-table associate --vpc vpc1 --subnet empty --name watched")
    before = yaml.safe_load(gateway.do("export").out)
    gateway.sh("rm /var/lib/vpcctl/state.json*")
    gateway.do("restore --from-kernel")
    after = yaml.safe_load(gateway.do("export").out)
    assert after == before
    assert gateway.do("status").out.endswith("in sync\n")
    gateway.reaches("vpc1-private", *INTERNET)
    gateway.delete_all()
    # Without the record it is not known whether others needed forwarding before: it stays on.
    gateway.sh("sysctl -qw net.ipv4.ip_forward=0; rm -f /var/lib/vpcctl/state.json*.lost-*")


def test_a_file_makes_the_same_network(gateway: Host) -> None:
    gateway.do("route-table create --vpc vpc1 --name mixed")
    gateway.do("route-table add-route --vpc vpc1 --name mixed --to 172.16.1.0/24 --via peer:vpc2")
    gateway.do("route-table associate --vpc vpc1 --subnet public --name mixed")
    exported = gateway.do("export").out
    file = gateway.write("network.yaml", exported)
    assert "unchanged" in gateway.do(f"apply -f {file}").out
    gateway.delete_all()
    gateway.do(f"apply -f {file}")
    assert gateway.do("export").out == exported
    assert gateway.do("status").out.endswith("in sync\n")
    network = yaml.safe_load(exported)
    network["vpcs"]["vpc1"]["subnets"]["public"] = {"cidr": "10.0.1.0/24", "type": "public"}
    assert "~ subnet vpc1/public" in gateway.do(f"apply -f {gateway.write('network.yaml', network)}").out
    gateway.reaches("vpc1-private", *INTERNET)
    del network["vpcs"]["vpc1"]["nat_gateways"]
    gateway.refused(f"apply -f {gateway.write('network.yaml', network)}", says="is in use")
    del network["vpcs"]["vpc1"]["route_tables"]
    told = gateway.do(f"apply -f {gateway.write('network.yaml', network)}").out
    assert "- NAT gateway vpc1/nat1" in told
    gateway.never_reaches("vpc1-private", *INTERNET)


def test_connections_inside_stay_while_tables_change(gateway: Host) -> None:
    gateway.do("route-table create --vpc vpc1 --name closed")
    pids = [gateway.start("vpc1-private", "python3", "-c", STREAM, "9000")]
    served(gateway, "vpc1-private")
    file = str(gateway.scratch / "near")
    pids.append(gateway.start("vpc1-public", "python3", "-c", DOWNLOAD, "10.0.2.2", "9000", file))
    gateway.wait_until(lambda: gateway.run("test", "-s", file).code == 0, "the download begins")
    for name in ("closed", "main", "public", "closed", "main"):
        gateway.do(f"route-table associate --vpc vpc1 --subnet private --name {name}")
        grows(gateway, file)
    gateway.stop(*pids)


def test_a_vpc_whose_addresses_are_another_s_too(vpc1: Host) -> None:
    """The host has no route to it, and its router translates once more."""
    vpc1.do("vpc create --name twin --cidr 10.0.0.0/16")
    vpc1.do("subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
    vpc1.do("subnet add --vpc twin --name private --cidr 10.0.2.0/24")
    vpc1.do("nat enable --vpc twin")
    vpc1.do("nat-gateway create --vpc twin --subnet public --name nat1")
    vpc1.do("route-table add-route --vpc twin --name main --to 0.0.0.0/0 --via nat:nat1")
    vpc1.reaches("twin-private", *INTERNET)
    vpc1.never_reaches("vpc1-private", *INTERNET)
    vpc1.do("instance add --vpc twin --subnet public --name box --forwards")
    vpc1.do("route-table create --vpc twin --name watched")
    vpc1.do("route-table add-route --vpc twin --name watched --to 0.0.0.0/0 --via instance:public/box")
    vpc1.do("route-table associate --vpc twin --subnet private --name watched")
    vpc1.sh(SEEN % ("10.0.2.2", "10.0.2.2"), "twin-public.box")
    vpc1.reaches("twin-private", *INTERNET)
    assert min(seen(vpc1, "twin-public.box")) >= 6
    assert judged(vpc1, "twin/public", "8.8.8.8") == OPEN
    assert vpc1.do("status").out.endswith("in sync\n")


@pytest.mark.parametrize(("line", "says"), [
    ("route-table add-route --vpc vpc1 --name main --to 10.0.2.0/24 --via internet", "always local"),
    ("route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via internet", "already leads"),
    ("route-table add-route --vpc vpc1 --name main --to 9.0.0.0/8 --via nat:nat2", "did you mean 'nat1'"),
    ("route-table add-route --vpc vpc1 --name main --to 9.0.0.0/8 --via peer:vpc2", "is not in the CIDR"),
    ("route-table add-route --vpc vpc1 --name main --to 9.0.0.0/8 --via instance:public/x", "does not exist"),
    ("route-table add-route --vpc vpc1 --name mian --to 9.0.0.0/8 --via internet", "did you mean 'main'"),
    ("route-table delete-route --vpc vpc1 --name main --to 9.0.0.0/8", "has no route"),
    ("route-table delete-route --vpc vpc1 --name public --to 0.0.0.0/0", "by itself"),
    ("route-table delete --vpc vpc1 --name main", "built in"),
    ("route-table dissociate --vpc vpc1 --subnet public --name main", "has route table 'public'"),
    ("nat-gateway delete --vpc vpc1 --name nat2", "did you mean 'nat1'"),
])
def test_what_is_refused(gateway: Host, line: str, says: str) -> None:
    gateway.refused(line, says=says)


def test_a_vpc_is_no_peer_of_its_own(gateway: Host) -> None:
    gateway.refused("route-table add-route --vpc vpc1 --name main --to 9.0.0.0/8 --via peer:vpc1", code=2,
                    says="VPC 'vpc1' can't be peered with itself")


def test_a_table_in_use_stays(gateway: Host) -> None:
    gateway.do("route-table create --vpc vpc1 --name mixed")
    gateway.do("route-table associate --vpc vpc1 --subnet private --name mixed")
    gateway.refused("route-table delete --vpc vpc1 --name mixed", says="in use: by subnet private")
    gateway.do("route-table dissociate --vpc vpc1 --subnet private")
    gateway.do("route-table delete --vpc vpc1 --name mixed")
    assert gateway.do("route-table create --vpc vpc1 --name main").out.startswith("unchanged")
    gateway.refused("route-table add-route --vpc vpc1 --name main --to x --via internet", code=2)
    gateway.refused("route-table add-route --vpc vpc1 --name main --to 9.0.0.0/8 --via out", code=2,
                    says="nat:NAME")


def judged(host: Host, start: str, to: str) -> tuple[str, str, str]:
    """What reach says: the verdict, the code and the fix; a packet has to agree."""
    words = (f"--from {start} --to {to} --probe --json").split()
    found = host.vpcctl("reach", *words).json["reach"]
    obstacle = found["blocked_by"] or {"code": "", "fix": ""}
    assert found["verdict"] != "unknown", found
    return found["verdict"], obstacle["code"], obstacle["fix"]


OPEN = ("reachable", "", "")


def test_reach_follows_route_tables(gateway: Host) -> None:
    assert judged(gateway, "vpc1/private", "8.8.8.8") == OPEN
    assert judged(gateway, "vpc1/private", "vpc2/public") == OPEN
    assert judged(gateway, "vpc1/public", "vpc1/private") == OPEN
    assert judged(gateway, "host", "vpc1/private") == OPEN
    told = gateway.do("reach --from vpc1/private --to 8.8.8.8").out
    assert "vpc1-public.nat1" in told
    assert judged(gateway, "vpc2/private", "8.8.8.8")[1] == "PRIVATE_SUBNET"
    gateway.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    gateway.do("route-table create --vpc vpc1 --name watched")
    gateway.do("route-table associate --vpc vpc1 --subnet private --name watched")
    for to, via, code in (("vpc2/public", "", "NO_ROUTE"), ("8.8.8.8", "", "NO_ROUTE"),
                          ("8.8.8.8", "8.8.8.0/24 --via blackhole", "BLACKHOLE"),
                          ("8.8.8.8", "8.8.8.8/32 --via blackhole", "BLACKHOLE")):
        if via:
            for old in ("0.0.0.0/0", "8.8.8.8/32"):
                gateway.vpcctl("route-table", "delete-route", "--vpc", "vpc1", "--name", "watched",
                               "--to", old)
            gateway.do(f"route-table add-route --vpc vpc1 --name watched --to {via}")
        verdict, found, fix = judged(gateway, "vpc1/private", to)
        assert (verdict, found) == ("unreachable", code), (to, via, fix)
        gateway.paste(fix)
        assert judged(gateway, "vpc1/private", to) == OPEN, fix
    gateway.do("route-table delete-route --vpc vpc1 --name watched --to 172.16.0.0/16")
    verdict, code, fix = judged(gateway, "vpc2/public", "vpc1/private")
    assert (verdict, code) == ("unreachable", "NO_ROUTE")
    gateway.paste(fix)
    assert judged(gateway, "vpc2/public", "vpc1/private") == OPEN
    gateway.do("route-table delete-route --vpc vpc1 --name watched --to 172.16.0.0/16")
    gateway.do("route-table add-route --vpc vpc1 --name watched --to 172.16.0.0/16 --via instance:public/box")
    for start, to in (("vpc1/private", "vpc2/public"), ("vpc2/public", "vpc1/private")):
        assert judged(gateway, start, to) == OPEN
        assert "vpc1-public.box" in gateway.do(f"reach --from {start} --to {to}").out
    gateway.sh("sysctl -qw net.ipv4.ip_forward=0", "vpc1-public.box")
    verdict, code, fix = judged(gateway, "vpc2/public", "vpc1/private")
    assert (verdict, code) == ("unreachable", "NO_FORWARDING")
    gateway.paste(fix)
    assert judged(gateway, "vpc2/public", "vpc1/private") == OPEN
    gateway.sh("ip -n vpc1 rule del pref 10002")
    assert judged(gateway, "vpc1/private", "8.8.8.8") == OPEN, "the bridge leads it to the NAT gateway"
    gateway.reaches("vpc1-private", *INTERNET)
    gateway.sh("ip netns exec vpc1 nft delete table bridge vpcctl-routes")
    gateway.never_reaches("vpc1-private", *INTERNET)
    verdict, code, fix = judged(gateway, "vpc1/private", "8.8.8.8")
    assert (verdict, fix) == ("unreachable", "vpcctl restore")
    gateway.paste(fix)
    gateway.do("nat disable --vpc vpc1")
    verdict, code, fix = judged(gateway, "vpc1/private", "8.8.8.8")
    assert (verdict, code, fix) == ("unreachable", "NO_NAT", "vpcctl nat enable --vpc vpc1")
    gateway.paste(fix)
    assert judged(gateway, "vpc1/private", "8.8.8.8") == OPEN
    assert judged(gateway, "vpc1/public", "8.8.8.8") == OPEN
    gateway.do("subnet set --vpc vpc1 --name public --type private")
    gateway.do("route-table dissociate --vpc vpc1 --subnet private")
    assert judged(gateway, "vpc1/private", "10.0.1.4")[0] == "unreachable"


def test_the_internet_sees_a_nat_gateway_by_its_elastic_address(gateway: Host) -> None:
    eip, new = "198.51.100.1", "198.51.100.2"
    gateway.do("eip pool add 198.51.100.0/28")
    for address in (eip, new):
        gateway.do(f"eip allocate --address {address}")
    create = "nat-gateway create --vpc vpc1 --subnet public --name nat1 --elastic-ip"
    assert "already exists" not in gateway.do(f"{create} {eip}").out
    assert gateway.do(f"{create} {eip}").out.startswith("unchanged: ")
    web = "8.8.8.8:80"
    assert f"your address: {eip}" in gateway.reaches("vpc1-private", web)[0].answer
    assert f"your address: {UPLINK}" in gateway.reaches("vpc1-public", web)[0].answer
    # Nothing gets in by it: not to the gateway itself, and not to those behind it.
    gateway.listen("vpc1-public.nat1", "80")
    gateway.listen("vpc1-private", "80")
    gateway.never_reaches("internet", eip, f"{eip}:80")
    assert gateway.do("nat-gateway list --json").json["nat_gateways"][0]["elastic_ip"] == eip
    gateway.do(f"{create} {new}")
    assert f"your address: {new}" in gateway.reaches("vpc1-private", web)[0].answer
    gateway.sh("iptables -t nat -F PREROUTING; ip netns del vpc1-public.nat1")
    gateway.do("restore")
    assert f"your address: {new}" in gateway.reaches("vpc1-private", web)[0].answer
    gateway.sh("rm /var/lib/vpcctl/state.json*")
    gateway.do("restore --from-kernel")
    assert gateway.do("nat-gateway list --json").json["nat_gateways"][0]["elastic_ip"] == new
    gateway.do("route-table delete-route --vpc vpc1 --name main --to 0.0.0.0/0")
    told = gateway.do("nat-gateway delete --vpc vpc1 --name nat1").err
    assert f"elastic address {new} is free now: vpc1/public/nat1 had it" in told
    # A rebuilt record does not know what was before.
    gateway.sh("sysctl -qw net.ipv4.ip_forward=0")


def test_an_elastic_address_for_a_nat_gateway_is_one_that_was_allocated(peered: Host) -> None:
    line = "nat-gateway create --vpc vpc1 --subnet public --name nat1 --elastic-ip 198.51.100.1"
    peered.refused(line, says="elastic address 198.51.100.1 is not allocated")
    assert peered.do("nat-gateway list --json").json["nat_gateways"] == []


INTRUDERS = ("ip rule add pref 5 from 10.0.2.0/24 blackhole",
             "ip rule add pref 10001 from 10.0.2.0/24 fwmark 0x10000/0x7fff0000 iif br-vpc1 lookup 1001",
             "ip rule add pref 7 not fwmark 7/15 ipproto udp iif lo dport 55 lookup 77",
             "ip route add 9.0.0.0/8 via 169.254.64.0", "ip route add blackhole 8.8.8.8",
             "ip route add 8.8.8.8 dev br-vpc1 table 1001",
             "ip route add throw 8.8.0.0/16 metric 3 table 1001",
             "iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to 10.0.1.2",
             "iptables -P OUTPUT DROP", "iptables -t mangle -A INPUT -p icmp -j DROP")
"""What only the host's root can add to a router."""


@pytest.mark.parametrize("line", INTRUDERS)
def test_what_somebody_added_to_a_router_is_named_and_restore_removes_it(gateway: Host, line: str) -> None:
    asked = "ip rule; ip route show table all; iptables-save | grep '^-A'; iptables -S | grep '^-P'"
    before = gateway.sh(asked, "vpc1")
    gateway.sh(line, "vpc1")
    (one,) = gateway.vpcctl("status", "--json").json["status"]["findings"]
    assert one["condition"] == "unrecorded"
    kind = "ip rule pref" if "rule" in line else "chain " if "iptables" in line else "route "
    assert one["what"].startswith(kind)
    assert one["detail"].endswith("it is not in the record: vpcctl restore removes it")
    gateway.do("restore")
    assert gateway.sh(asked, "vpc1") == before
    assert gateway.do("status").out == "in sync\n"
    gateway.reaches("vpc1-private", *INTERNET)


@pytest.mark.parametrize("space", ["vpc1", "vpc1-private", "vpc1-public.nat1"])
def test_the_rules_that_every_namespace_has_come_back(gateway: Host, space: str) -> None:
    gateway.sh("ip rule flush; ip rule del pref 0", space)
    found = gateway.vpcctl("status").out
    assert "ip rule pref 0 lookup local is missing; ip rule pref 32766 lookup main is missing" in found
    gateway.do("restore")
    assert gateway.do("status").out == "in sync\n"
    gateway.reaches("vpc1-private", *INTERNET)
    gateway.reaches("vpc1-private", "10.0.1.2")


NOWHERE = ("169.254.0.0/16", "169.254.169.254/32", "127.0.0.0/8", "224.0.0.0/4", "239.1.1.0/24",
           "168.63.129.16/32", "100.100.100.200/32", "255.255.255.255/32", "0.0.0.0/8")


def test_no_route_leads_to_what_never_leaves_a_machine(vpc1: Host) -> None:
    for to in NOWHERE:
        says = f"{to} can't be the destination of a route: it is in"
        vpc1.refused(f"route-table add-route --vpc vpc1 --name main --to {to} --via blackhole", says=says)
        file = vpc1.write("t.yaml", yaml.safe_dump({"version": 2, "vpcs": {"vpc1": {
            "cidr": "10.0.0.0/16", "route_tables": {"out": {"routes": {to: "internet"}}}}}}))
        vpc1.refused("apply -f", file, code=2, says=f'vpcs.vpc1.route_tables.out.routes."{to}": {says}')
    # Wider ones are fine: the router refuses these addresses anyway.
    vpc1.do("route-table add-route --vpc vpc1 --name main --to 168.0.0.0/6 --via blackhole")


def test_a_file_says_no_other_type_than_its_route_table(vpc1: Host) -> None:
    def file(**subnet: str) -> str:
        return vpc1.write("t.yaml", yaml.safe_dump({"version": 2, "vpcs": {"vpc1": {
            "cidr": "10.0.0.0/16", "nat": True,
            "route_tables": {"out": {"routes": {"0.0.0.0/0": "internet"}}, "in": {}},
            "subnets": {"public": {"cidr": "10.0.1.0/24", **subnet}}}}}))

    for table, other, follows in (("out", "private", "public"), ("in", "public", "private"),
                                  ("public", "private", "public"), ("main", "public", "private")):
        vpc1.refused("apply -f", file(type=other, route_table=table), code=2,
                     says=f'vpcs.vpc1.subnets.public.route_table: a subnet with route table "{table}" is '
                          f"{follows}, but its type says {other}")
        for right in ({"type": follows}, {}):
            vpc1.do("apply -f", file(route_table=table, **right))
            shown = vpc1.do("subnet list --vpc vpc1 --json").json["subnets"]
            assert [one["type"] for one in shown] == [follows]


def test_what_goes_with_a_subnet_is_said(gateway: Host) -> None:
    gateway.do("route-table delete-route --vpc vpc1 --name main --to 0.0.0.0/0")
    gateway.do("instance add --vpc vpc1 --subnet public --name web")
    for words in ("--dry-run", ""):
        told = gateway.do(f"subnet delete --vpc vpc1 --name public {words}".strip()).err
        assert told == "vpcctl: deleted with subnet 'public': machine 'web', NAT gateway 'nat1'\n"
