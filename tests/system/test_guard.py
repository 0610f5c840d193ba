"""The ports of a VPC's bridge: root in one subnet with a raw socket against neighbours and router."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest
from frames import (
    ARP,
    END,
    EVERYBODY,
    ICMP,
    IPV4,
    IPV6,
    LLDP,
    REPLY,
    REQUEST,
    UDP,
    VLAN,
    arp,
    ether,
    icmp,
    ipv4,
    listen,
    named,
    names,
    send,
    udp,
)
from host import Host

from vpcctl_lib.model.naming import instance_mac, mac

ME, VICTIM, GATEWAY = "10.0.2.2", "10.0.1.2", "10.0.0.1"
MINE, HIS = "02:10:0a:00:02:02", "02:10:0a:00:01:02"
ROUTERS = mac("vpc1")
STRANGER = "02:00:00:00:00:99"
SOURCES = {"another's address": "10.0.1.2", "a free address": "10.0.2.77", "the gateway's address": GATEWAY,
           "nobody's address": "0.0.0.0", "an address outside": "8.8.8.8"}


def heard(host: Host, where: tuple[str, str], sent: dict[str, bytes], last: bytes) -> list[str]:
    """The names of the frames that came there, of those sent by vpc1-private; the last one has to."""
    ear = listen(host, *where)
    send(host, "vpc1-private", [*sent.values(), last])
    return names(host, ear)


def forged(target: str, address: str) -> dict[str, bytes]:
    """What nobody may send to a neighbour or the router, each with its name."""
    def own(name: str) -> bytes:
        return udp(ME, address, (7, 7), name)

    fragment = udp(VICTIM, address, (7, 7), "a fragment of another's")[20:]
    return {
        **{name: ether(MINE, target, IPV4, udp(source, address, (68, 67), name))
           for name, source in SOURCES.items()},
        "another's MAC": ether(HIS, target, IPV4, own("another's MAC")),
        "the router's MAC": ether(ROUTERS, target, IPV4, own("the router's MAC")),
        "a MAC of nobody's": ether(STRANGER, target, IPV4, own("a MAC of nobody's")),
        "a fragment": ether(MINE, target, IPV4, ipv4(VICTIM, address, UDP, fragment, 0x2001)),
        "a DHCP server": ether(MINE, target, IPV4, udp(ME, address, (67, 68), "a DHCP server")),
        "IPv6": ether(MINE, target, IPV6, b"\x60" + bytes(39) + named("IPv6")),
        "a VLAN tag": ether(MINE, target, VLAN, b"\0\7\x08\0" + own("a VLAN tag")),
        "a priority tag": ether(MINE, target, VLAN, b"\0\0\x08\0" + own("a priority tag")),
        "two tags": ether(MINE, target, 0x88A8, b"\0\7\x81\0\0\x08\x08\0" + own("two tags")),
        "MPLS": ether(MINE, target, 0x8847, b"\0\1\1\x40" + own("MPLS")),
        "PPPoE": ether(MINE, target, 0x8863, named("PPPoE")),
        "LLC": ether(MINE, target, 30, named("LLC")),
        "a type of one's own": ether(MINE, target, 0x88B5, named("a type of one's own")),
        "STP": ether(MINE, "01:80:c2:00:00:00", 38, b"\x42\x42\3" + named("STP")),
        "LLDP": ether(MINE, "01:80:c2:00:00:0e", LLDP, named("LLDP")),
        "EAPOL": ether(MINE, "01:80:c2:00:00:03", 0x888E, named("EAPOL")),
        "ARP of another": ether(
            MINE, target, ARP, arp(REPLY, (MINE, "10.0.3.2"), (target, address), "ARP of another")),
        "ARP with another's MAC": ether(
            MINE, target, ARP, arp(REPLY, (HIS, ME), (target, address), "ARP with another's MAC")),
        "RARP": ether(MINE, target, 0x8035, arp(3, (MINE, ME), (target, address), "RARP")),
        "odd ARP": ether(
            MINE, target, ARP, b"\0\6" + arp(REPLY, (MINE, ME), (target, address), "odd ARP")[2:]),
        "ARP of another kind": ether(
            MINE, target, ARP, arp(8, (MINE, ME), (target, address), "ARP of another kind")),
    }


@pytest.mark.parametrize(("where", "target", "address"), [
    (("vpc1-public", "eth0"), HIS, VICTIM), (("vpc1", "br-vpc1"), ROUTERS, GATEWAY),
], ids=["neighbour", "router"])
def test_no_forged_frame_passes(vpc1: Host, where: tuple[str, str], target: str, address: str) -> None:
    honest = {"honest": ether(MINE, target, IPV4, udp(ME, address, (7, 7), "honest")),
              "an answer": ether(MINE, target, ARP, arp(REPLY, (MINE, ME), (target, address), "an answer"))}
    last = ether(MINE, target, IPV4, udp(ME, address, (7, 7), END))
    assert heard(vpc1, where, {**forged(target, address), **honest}, last) == ["honest", "an answer"]


def test_a_frame_to_everybody_comes_to_the_router_alone(vpc1: Host) -> None:
    everybody = {"broadcast": ether(MINE, EVERYBODY, IPV4, udp(ME, "10.0.255.255", (7, 7), "broadcast")),
                 "unknown": ether(MINE, STRANGER, IPV4, udp(ME, "10.0.9.9", (7, 7), "unknown")),
                 "mdns": ether(MINE, "01:00:5e:00:00:fb", IPV4, udp(ME, "224.0.0.251", (5353, 5353), "mdns"))}
    last = ether(MINE, HIS, IPV4, udp(ME, VICTIM, (7, 7), END))
    assert heard(vpc1, ("vpc1-public", "eth0"), everybody, last) == []
    last = ether(MINE, ROUTERS, IPV4, udp(ME, GATEWAY, (7, 7), END))
    assert "broadcast" in heard(vpc1, ("vpc1", "br-vpc1"), everybody, last)


def test_nobody_takes_over_who_is_where(vpc1: Host) -> None:
    """ARP answers, MACs as a source and frames of a protocol that bridges read: all entries stay."""
    def known() -> tuple[str, str, str]:
        return (vpc1.sh("bridge fdb show br br-vpc1 | sort", "vpc1"), vpc1.sh("ip neigh show | sort", "vpc1"),
                vpc1.sh("ip neigh show 10.0.0.1", "vpc1-public"))

    vpc1.reaches("vpc1-public", VICTIM, ME, GATEWAY)
    before = known()
    attacks = [ether(MINE, HIS, ARP, arp(REPLY, (MINE, GATEWAY), (HIS, VICTIM))),
               ether(MINE, EVERYBODY, ARP, arp(REQUEST, (MINE, GATEWAY), (EVERYBODY, GATEWAY))),
               ether(MINE, ROUTERS, ARP, arp(REPLY, (MINE, VICTIM), (ROUTERS, GATEWAY))),
               ether(HIS, ROUTERS, IPV4, udp(VICTIM, GATEWAY, (7, 7), "moved")),
               ether(HIS, "01:80:c2:00:00:0e", LLDP, b"\2\7\4"),
               ether(HIS, "01:80:c2:00:00:00", 38, b"\x42\x42\3"),
               *(ether(f"02:00:00:00:00:{number:02x}", ROUTERS, IPV4, udp(ME, GATEWAY, (7, 7), "flood"))
                 for number in range(200))]
    send(vpc1, "vpc1-private", attacks)
    vpc1.reaches("vpc1-public", ME, GATEWAY)
    assert known() == before


def test_machines_know_nobody_but_their_gateway(vpc1: Host) -> None:
    """Neighbours that they learned would take places that all namespaces share (gc_thresh3)."""
    vpc1.do("subnet add --vpc vpc1 --name third --cidr 10.0.3.0/24")
    vpc1.do("vpc create --name vpc2 --cidr 172.16.0.0/16")
    vpc1.do("subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24")
    vpc1.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    spaces = {"vpc1-public": VICTIM, "vpc1-private": ME, "vpc1-third": "10.0.3.2"}
    for space, own in spaces.items():
        others = [address for address in spaces.values() if address != own]
        vpc1.reaches(space, *others, GATEWAY, "172.16.1.2")
        nobody = vpc1.probe((space, "10.0.77.7"), (space, own.rpartition(".")[0] + ".77"), patience=1)
        assert [one.verdict for one in nobody] == ["host unreachable"] * 2
        assert vpc1.sh("ip -4 neigh", space) == f"{GATEWAY} dev eth0 lladdr {ROUTERS} PERMANENT \n"
    assert "ttl=64" in vpc1.sh(f"ping -c1 {VICTIM}", "vpc1-private"), "switched, not routed"


def about(source: str, target: str, name: str) -> bytes:
    """What an ICMP error quotes: the header and more of a packet between the two."""
    return udp(source, target, (40000, 53), name)


def test_a_neighbour_gets_no_forged_icmp_errors(vpc1: Host) -> None:
    """An error about a packet that never came to who sends the error is forged (RFC 792)."""
    def error(kind: int, quoted: bytes, fragment: int = 0) -> bytes:
        whole = icmp(ME, VICTIM, kind, 3 if kind == 3 else 0, quoted)
        return ether(MINE, HIS, IPV4, ipv4(ME, VICTIM, ICMP, whole[20:], fragment) if fragment else whole)

    sent = {
        **{f"kind {kind}": error(kind, about(VICTIM, "8.8.8.8", f"kind {kind}"))
           for kind in (3, 4, 5, 11, 12)},
        "about the gateway": error(3, about(VICTIM, GATEWAY, "about the gateway")),
        "about itself": error(3, about(ME, VICTIM, "about itself")),
        "in fragments": error(3, about(VICTIM, ME, "in fragments"), 0x2000),
        "too short": error(3, b"<<too short>>"),
        "true": error(3, about(VICTIM, ME, "true")),
        "an echo": ether(MINE, HIS, IPV4, icmp(ME, VICTIM, 8, 0, b"<<an echo>>")),
    }
    last = ether(MINE, HIS, IPV4, udp(ME, VICTIM, (7, 7), END))
    assert heard(vpc1, ("vpc1-public", "eth0"), sent, last) == ["true", "an echo"]


def test_true_icmp_errors_come_from_everywhere(vpc1: Host) -> None:
    """From a neighbour, its router and the host: nobody waits for what is refused."""
    vpc1.sh("iptables -A INPUT -p udp -j REJECT", "vpc1-private")
    answers = vpc1.probe(("vpc1-public", f"{ME}:99"), ("vpc1-private", "8.8.8.8"), patience=1)
    assert "unreachable" in answers[1].verdict
    assert "1 errors" in vpc1.sh("ping -c1 -W1 10.0.9.9 || true", "vpc1-public")


def test_an_nft_that_cannot_read_quotes_guards_all_else(host: Host) -> None:
    real = host.sh("command -v nft").strip()
    nft = host.scratch / "nft"
    nft.write_text("#!/bin/sh\ncase \"$*\" in *-f*) text=$(cat) ;; esac\n"
                   "case \"$text\" in *@th,*) echo 'Error: syntax error' >&2; exit 1 ;; esac\n"
                   f"printf '%s\\n' \"$text\" | exec {real} \"$@\"\n")
    nft.chmod(0o755)
    host.environment["PATH"] = f"{host.scratch}:{host.sh('printf %s $PATH')}"
    assert "forged ICMP errors" in host.do("vpc create --name vpc1 --cidr 10.0.0.0/16").err
    for name, cidr in (("public", "10.0.1.0/24"), ("private", "10.0.2.0/24")):
        assert host.do(f"subnet add --vpc vpc1 --name {name} --cidr {cidr}").err == "", "told once"
    assert host.do("status").out == "in sync\n"
    last = ether(MINE, HIS, IPV4, udp(ME, VICTIM, (7, 7), END))
    assert heard(host, ("vpc1-public", "eth0"), forged(HIS, VICTIM), last) == []
    host.reaches("vpc1-private", VICTIM, GATEWAY)
    del host.environment["PATH"]
    host.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24")
    assert "@th,192,32" in host.sh("nft list table bridge vpcctl", "vpc1")
    assert host.do("status").out == "in sync\n"


def test_an_address_probe_is_answered(vpc1: Host) -> None:
    """RFC 5227: with nobody's address as the sender."""
    for address in (GATEWAY, VICTIM):
        found = vpc1.inside("vpc1-private", "busybox", "arping", "-D", "-c1", "-w2", "-I", "eth0", address)
        assert found.code == 1, found


DAMAGES = {
    "a machine gone": "ip netns exec vpc1 nft delete element bridge vpcctl own "
                      f"'{{ \"s-public\" . {HIS} . {VICTIM} }}'",
    "a machine more": "ip netns exec vpc1 nft add element bridge vpcctl own "
                      f"'{{ \"s-public\" . {HIS} . 10.0.9.9 }}'",
    "a MAC more": f"ip netns exec vpc1 nft add element bridge vpcctl macs '{{ \"s-public\" . {STRANGER} }}'",
    "a machine less to switch to": "ip netns exec vpc1 nft delete element bridge vpcctl machines "
                                   f"'{{ {VICTIM} }}'",
    "another to switch to": "ip netns exec vpc1 nft add element bridge vpcctl machines "
                            f"'{{ 10.0.9.9 : {HIS} }}'",
    "a quotation more": "ip netns exec vpc1 nft add element bridge vpcctl quoted "
                        "'{ \"s-public\" . 0x8080808 }'",
    "a neighbour on the link": "ip -n vpc1-public route add 10.0.1.0/24 dev eth0",
    "a rule more": "ip netns exec vpc1 nft insert rule bridge vpcctl prerouting accept",
    "a rule less": "ip netns exec vpc1 nft flush chain bridge vpcctl arps",
    "another policy": "ip netns exec vpc1 nft chain bridge vpcctl prerouting '{ policy accept; }'",
    "no guard": "ip netns exec vpc1 nft delete table bridge vpcctl",
    "a station gone": f"bridge -n vpc1 fdb del {HIS} dev s-public master",
    "a port that floods": "ip -n vpc1 link set s-public type bridge_slave flood on",
    "a port that learns": "ip -n vpc1 link set s-public type bridge_slave learning on proxy_arp off",
    "a neighbour gone": f"ip -n vpc1 neigh del {VICTIM} dev br-vpc1",
    "a neighbour replaced": f"ip -n vpc1 neigh replace {VICTIM} lladdr {STRANGER} dev br-vpc1 nud permanent",
    "another gateway": f"ip -n vpc1-public neigh replace {GATEWAY} lladdr {MINE} dev eth0 nud permanent",
    "another MAC": f"ip -n vpc1-public link set eth0 address {STRANGER}",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_meddled_with_is_told_and_mended(shared_vpc1: Host, damage: str) -> None:
    shared_vpc1.sh(damage)
    told = shared_vpc1.vpcctl("status", "--json")
    assert told.code == 1, "status sees it"
    assert told.json["status"]["findings"], told
    shared_vpc1.do("restore")
    assert shared_vpc1.do("status").out == "in sync\n"
    shared_vpc1.reaches("vpc1-public", ME, GATEWAY)


def test_another_link_with_the_name_of_a_cable_s_end(vpc1: Host) -> None:
    """By its root: the cable's own end is no less lost for that."""
    vpc1.sh("ip link set eth0 down name was && ip link add eth0 type bridge", "vpc1-public")
    told = vpc1.vpcctl("status")
    assert (told.code, "another link has its name" in told.out) == (1, True)
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", ME, GATEWAY)


def test_the_guard_follows_the_subnets(vpc1: Host) -> None:
    def members() -> dict[str, str]:
        listed = json.loads(vpc1.sh("nft -j list set bridge vpcctl own", "vpc1"))["nftables"]
        found: list[dict[str, Any]] = [item["set"].get("elem", []) for item in listed if "set" in item][0]
        return {one["elem"]["val"]["concat"][2]: one["elem"]["comment"] for one in found}

    assert members() == {VICTIM: "10.0.1.0/24 public", ME: "10.0.2.0/24 private"}
    vpc1.do("subnet delete --vpc vpc1 --name public")
    assert members() == {ME: "10.0.2.0/24 private"}
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24")
    assert members() == {ME: "10.0.2.0/24 private", "10.0.9.2": "10.0.9.0/24 private"}
    vpc1.reaches("vpc1-late", ME, GATEWAY)


def test_the_table_stays_while_machines_come_and_go(vpc1: Host) -> None:
    """A new table would lose the packets that arrive meanwhile, and load all other machines again."""
    def table() -> str:
        return vpc1.sh("nft -a list tables bridge && nft -a list chain bridge vpcctl ipv4", "vpc1")

    before = table()
    vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24")
    vpc1.do("subnet set --vpc vpc1 --name private --type public")
    vpc1.do("subnet delete --vpc vpc1 --name public")
    assert table() == before
    assert vpc1.do("status").out == "in sync\n"


@pytest.mark.parametrize("damage", ["delete table bridge vpcctl", "flush set bridge vpcctl own",
                                    'delete element bridge vpcctl machines { 10.0.1.2 }'])
@pytest.mark.parametrize("change", ["subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24",
                                    "subnet delete --vpc vpc1 --name public"])
def test_a_change_of_machines_survives_a_damaged_table(vpc1: Host, change: str, damage: str) -> None:
    vpc1.sh(f"nft '{damage}'", "vpc1")
    vpc1.do(change)
    vpc1.do("restore")
    vpc1.reaches("vpc1-private", GATEWAY)
    assert vpc1.do("status").out == "in sync\n"


def test_a_table_that_was_put_to_sleep_is_seen_and_mended(vpc1: Host) -> None:
    vpc1.sh("nft add table bridge vpcctl '{ flags dormant; }'", "vpc1")
    assert "its hook is missing" in vpc1.vpcctl("status").out
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"


def test_a_subnet_that_is_made_again_is_reachable_at_once(vpc1: Host) -> None:
    vpc1.reaches("vpc1-private", VICTIM)
    vpc1.do("subnet delete --vpc vpc1 --name public")
    vpc1.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
    answers = vpc1.probe(("vpc1-private", VICTIM), ("", VICTIM), patience=1)
    assert [one.verdict for one in answers] == ["reached"] * 2


def test_an_address_that_nobody_has_is_refused_at_once(vpc2: Host) -> None:
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    answers = vpc2.probe(("", "10.0.9.9"), ("vpc2-public", "10.0.9.9"), patience=1)
    assert [one.verdict for one in answers] == ["host unreachable"] * 2


def test_a_host_whose_kernel_has_no_guard_does_without(host: Host) -> None:
    nft = host.scratch / "nft"
    nft.write_text("#!/bin/sh\necho 'Error: Could not process rule: Operation not supported' >&2\nexit 1\n")
    nft.chmod(0o755)
    host.environment["PATH"] = f"{host.scratch}:{host.sh('printf %s $PATH')}"
    told = host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    assert "the ports of bridges are not guarded" in told.err
    assert "Operation not supported" in told.err
    for name, cidr in (("public", "10.0.1.0/24"), ("private", "10.0.2.0/24")):
        assert host.do(f"subnet add --vpc vpc1 --name {name} --cidr {cidr}").err == "", "told once"
    host.reaches("vpc1-private", VICTIM, GATEWAY)
    status = host.do("status --json").json["status"]
    assert any("not guarded" in note for note in status["notes"])
    assert "not guarded" in host.do("vpc show --name vpc1").out
    del host.environment["PATH"]
    (note,) = host.do("status --json").json["status"]["notes"]
    assert "is now found: vpcctl restore" in note
    host.do("restore")
    assert host.do("status --json").json["status"]["notes"] == []
    last = ether(MINE, HIS, IPV4, udp(ME, VICTIM, (7, 7), END))
    assert heard(host, ("vpc1-public", "eth0"), forged(HIS, VICTIM), last) == []


def test_a_mac_follows_from_vpc_and_address(vpc1: Host) -> None:
    assert instance_mac("vpc1", IPv4Address(VICTIM)) == HIS
    assert HIS in vpc1.sh("ip -br link show eth0", "vpc1-public")
