"""Flow logs by real packets: what is counted, who refused it, and what is said where nothing is known."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import yaml
from conftest import make_vpc1
from host import CHECKOUT, Host

from tests.dear import LONG

PUBLIC, PRIVATE = "10.0.1.2", "10.0.2.2"
FOLDER = "/var/lib/vpcctl/flow-logs"
NETWORK = "vpcctl.flow-logs"
ONLY_80 = {"ingress": [{"protocol": "tcp", "port": 80, "action": "allow"}],
           "egress": [{"protocol": "udp", "port": 53, "action": "allow"}]}
EDGE = {"ingress": [{"number": 100, "protocol": "tcp", "port": 80, "action": "allow"}],
        "egress": [{"number": 100, "protocol": "tcp", "port": "1024-65535", "action": "allow"}]}
PATIENCE = 15.0
SEND = """
import contextlib, socket, sys
address, (port, many, size, source) = sys.argv[1], map(int, sys.argv[2:])
one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", source))
for _ in range(many):
    with contextlib.suppress(PermissionError):
        one.sendto(bytes(size), (address, port))
"""
"""Sends datagrams: to an address and port, so many, of a size, from a port. A rule may refuse them."""

Record = dict[str, Any]


def records(host: Host, what: str = "--vpc vpc1") -> list[Record]:
    """The records of a log as JSON, in their order."""
    return [json.loads(line) for line in host.do(f"flow-log show {what}").out.splitlines()]


def flows(found: Iterable[Record]) -> Counter[tuple[Any, ...]]:
    """Packets by machine, direction, ends, protocol, port of the target, and action."""
    counted: Counter[tuple[Any, ...]] = Counter()
    for one in found:
        if one["log_status"] == "OK":
            counted[one["machine"], one["direction"], one["srcaddr"], one["dstaddr"], one["protocol"],
                    one["dstport"], one["action"]] += one["packets"]
    return counted


def send(host: Host, namespace: str, address: str, port: int, many: int = 1, size: int = 100,
         source: int = 0) -> None:
    done = host.inside(namespace, "python3", "-c", SEND, address, *map(str, (port, many, size, source)))
    assert done.code == 0, done


def until(condition: Callable[[], Any], what: str) -> Any:
    """What a condition is, once it is so."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def written(host: Host, *wanted: tuple[Any, ...], what: str = "--vpc vpc1") -> Counter[tuple[Any, ...]]:
    """The flows, once all of these have a record."""
    return until(lambda: (found := flows(records(host, what))) and set(wanted) <= set(found) and found,
                 f"no record of {wanted}")


def collector(host: Host) -> list[int]:
    """The processes of the collector: its keeper, and the program."""
    return [int(pid) for pid in host.sh(f"ip netns pids {NETWORK} 2>/dev/null || true").split()]


@pytest.fixture
def logged(vpc1: Host) -> Host:
    """The article's VPC with IPv6 and a log with a record every second, as JSON."""
    vpc1.do("vpc set --name vpc1 --ipv6 fd00:0:0:100::/56")
    vpc1.do("flow-log create --vpc vpc1 --interval 1 --format json")
    return vpc1


CONNECT = """
import socket, struct, sys
address, port, many = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(many):
    one = socket.create_connection((address, port), 5)
    one.sendall(b"?")
    one.recv(1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
"""
"""Short connections: to an address and port, so many."""

ANSWER = """
import socket, sys
listening = socket.create_server(("", int(sys.argv[1])), backlog=4096)
while True:
    one, _ = listening.accept()
    if one.recv(1):
        one.sendall(b"!")
    one.close()
"""


def counters(host: Host, port: str) -> dict[str, tuple[int, int]]:
    """Packets and bytes of IP that a port of the bridge carried, by direction as its machine sees it."""
    (link,) = json.loads(host.sh(f"ip -n vpc1 -s -j link show dev {port}"))
    # What the port gets, its machine has sent. Ethernet's header has 14 bytes.
    return {way: (one["packets"], one["bytes"] - 14 * one["packets"])
            for way, one in (("egress", link["stats64"]["rx"]), ("ingress", link["stats64"]["tx"]))}


def recorded(host: Host, machine: str) -> dict[str, tuple[int, int]]:
    """The same by the records."""
    found = [one for one in records(host) if one["machine"] == machine and one["log_status"] == "OK"]
    return {way: tuple(sum(one[what] for one in found if one["direction"] == way)
                       for what in ("packets", "bytes")) for way in ("egress", "ingress")}


def test_records_agree_with_the_counters_of_the_link(vpc1: Host) -> None:
    """Over a mixed load: one stream, short connections, pings, refused scans."""
    many = 10_000 if LONG else 1_000
    policy = vpc1.write("policy.json", {"ingress": [
        {"protocol": "tcp", "port": "8080-8081", "action": "allow"},
        {"protocol": "icmp", "action": "allow"}]})
    vpc1.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    vpc1.do("flow-log create --vpc vpc1 --interval 2 --format json")
    vpc1.start("vpc1-private", "python3", "-c", ANSWER, "8080")
    vpc1.start("vpc1-private", "iperf3", "-s", "-p", "8081")
    before = {machine: counters(vpc1, port) for machine, port in PORTS.items()}
    stream = ("iperf3", "-c", PRIVATE, "-p", "8081", "-t", "5" if LONG else "1")
    vpc1.wait_until(lambda: vpc1.inside("vpc1-public", *stream).code == 0, "iperf3 does not serve")
    assert vpc1.inside("vpc1-public", "python3", "-c", CONNECT, PRIVATE, "8080", str(many)).code == 0
    assert vpc1.inside("vpc1-public", "ping", "-q", "-c", "200", "-i", "0.002", PRIVATE).code == 0
    scan = f"import socket; one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); " \
           f"[one.sendto(b'?', ('{PRIVATE}', port)) for port in range(100, 200) for _ in range(3)]"
    assert vpc1.inside("vpc1-public", "python3", "-c", scan).code == 0
    after = {machine: counters(vpc1, port) for machine, port in PORTS.items()}
    shall = {machine: {way: (now[0] - before[machine][way][0], now[1] - before[machine][way][1])
                       for way, now in ways.items()} for machine, ways in after.items()}
    total = sum(packets for ways in shall.values() for packets, _ in ways.values())
    until(lambda: sum(packets for machine in PORTS for packets, _ in recorded(vpc1, machine).values())
          >= total * 0.999, f"not all of {total} packets have a record: {shall}")
    for machine, ways in shall.items():
        found = recorded(vpc1, machine)
        for way, wanted in ways.items():
            off = [abs(one / other - 1) for one, other in zip(found[way], wanted, strict=True)]
            print(f"{machine} {way}: {wanted[0]} packets, {wanted[1]} bytes at the link; the records have "
                  f"{found[way][0]} and {found[way][1]}: {100 * off[0]:.4f} % and {100 * off[1]:.4f} % off")
            assert max(off) <= 0.001
    refused = [one for one in records(vpc1) if one["action"] == "REJECT"]
    assert sum(one["packets"] for one in refused) == 300, "exact to the packet"
    assert not [one for one in records(vpc1) if one["log_status"] == "SKIPDATA"], "a packet under way"


def test_policies_that_change_under_load_lose_nothing_and_refuse_nothing(vpc1: Host) -> None:
    answered = {"protocol": "tcp", "port": 8080, "action": "allow"}
    files = [vpc1.write(f"policy{port}.json", {"ingress": [
        answered, {"protocol": "tcp", "port": port, "action": "allow"}]}) for port in (81, 82)]
    vpc1.do(f"firewall apply --vpc vpc1 --subnet private --policy {files[0]}")
    vpc1.do("flow-log create --vpc vpc1 --interval 1 --format json")
    vpc1.start("vpc1-private", "python3", "-c", ANSWER, "8080")
    before = {machine: counters(vpc1, port) for machine, port in PORTS.items()}
    done = vpc1.scratch / "done"
    call = ("vpc1-public", "python3", "-c", CONNECT, PRIVATE, "8080", "1")
    vpc1.wait_until(lambda: vpc1.inside(*call).code == 0, "it does not serve")
    vpc1.start("vpc1-public", "sh", "-c", 'python3 -c "$0" "$1" 8080 3000 && touch "$2"', CONNECT, PRIVATE,
               str(done))
    changes = 0
    while not done.exists():
        changes += 1
        vpc1.do(f"firewall apply --vpc vpc1 --subnet private --policy {files[changes % 2]}")
    assert changes > 3
    packets = {machine: [now[0] - before[machine][way][0] for way, now in counters(vpc1, port).items()]
               for machine, port in PORTS.items()}
    until(lambda: {machine: [held[0] for held in recorded(vpc1, machine).values()]
                   for machine in PORTS} == packets, f"not all of {packets} have a record")
    assert {one["action"] for one in records(vpc1) if one["log_status"] == "OK"} == {"ACCEPT"}
    assert not [one for one in records(vpc1) if one["log_status"] == "SKIPDATA"]


PUMP = """
import socket, sys, time
ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
until = time.time() + float(sys.argv[2])
while time.time() < until:
    for port, one in zip((100, 101), ends):
        one.sendto(b"?", (sys.argv[1], port))
    time.sleep(0.0002)
"""
"""Datagrams to two ports in turns, to an address, for so many seconds."""


def test_what_policies_refuse_while_they_change_has_records(vpc1: Host) -> None:
    """Also while one comes or goes. A packet may be just between the two places when their chains change."""
    files = [vpc1.write(f"policy{port}.json", {"ingress": [
        {"protocol": "udp", "port": port, "action": "allow"}]}) for port in (100, 101)]
    vpc1.do("flow-log create --vpc vpc1 --interval 1 --format json")
    before = counters(vpc1, "s-private")["ingress"][0]
    vpc1.sh("nft 'table inet passed { chain in { type filter hook input priority 300; udp dport 100-101 "
            "counter; }; }'", "vpc1-private")
    pump = vpc1.start("vpc1-public", "python3", "-c", PUMP, PRIVATE, "8")
    changes = 0
    while vpc1.alive(pump):
        changes += 4
        for policy in files:
            vpc1.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
        vpc1.do("firewall clear --vpc vpc1 --subnet private")
        vpc1.do(f"firewall apply --vpc vpc1 --subnet private --policy {files[0]}")
    total = counters(vpc1, "s-private")["ingress"][0] - before
    passed = int(vpc1.sh("nft list chain inet passed in", "vpc1-private").partition("packets ")[2].split()[0])
    vpc1.sh("nft delete table inet passed", "vpc1-private")
    assert total - passed > 100 * changes
    until(lambda: recorded(vpc1, "vpc1/private")["ingress"][0] >= total - changes, f"{total} packets came")
    found = Counter[str]()
    for one in records(vpc1):
        if one["machine"] == "vpc1/private" and one["dstport"] in (100, 101) and one["log_status"] == "OK":
            found[one["action"]] += one["packets"]
    off = abs(found["ACCEPT"] - passed) + abs(found["REJECT"] - (total - passed))
    print(f"{changes} changes, {passed} of {total} packets passed: the records are {off} off")
    assert off <= changes


PORTS = {"vpc1/public": "s-public", "vpc1/private": "s-private"}
PUBLIC6, PRIVATE6 = "fd00:0:0:101::2", "fd00:0:0:102::2"


def test_accepted_and_refused_packets_have_records_to_the_packet(logged: Host) -> None:
    policy = logged.write("policy.json", {"ingress": [{"protocol": "udp", "port": 53, "action": "allow"}]})
    logged.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    logged.listen("vpc1-private", "53/udp", address="::")
    for address in (PRIVATE, PRIVATE6):
        send(logged, "vpc1-public", address, 53, 7)
        send(logged, "vpc1-public", address, 54, 5)
    found = written(logged, *(("vpc1/private", "ingress", one, other, 17, 54, "REJECT")
                              for one, other in ((PUBLIC, PRIVATE), (PUBLIC6, PRIVATE6))))
    for one, other in ((PUBLIC, PRIVATE), (PUBLIC6, PRIVATE6)):
        ends = (one, other, 17)
        assert found[("vpc1/public", "egress", *ends, 53, "ACCEPT")] == 7
        assert found[("vpc1/public", "egress", *ends, 54, "ACCEPT")] == 5
        assert found[("vpc1/private", "ingress", *ends, 53, "ACCEPT")] == 7
        assert found[("vpc1/private", "ingress", *ends, 54, "REJECT")] == 5
        assert found[("vpc1/private", "ingress", *ends, 54, "ACCEPT")] == 0
        assert found["vpc1/private", "egress", other, one, 17, 54, "ACCEPT"] == 0
    sizes = {one["packets"]: one["bytes"] for one in records(logged) if one["dstport"] == 54
             and one["srcaddr"] == PUBLIC and one["machine"] == "vpc1/private"}
    assert all(size == packets * (100 + 8 + 20) for packets, size in sizes.items())
    (refused,) = {tuple(one["refused_by"]) for one in records(logged) if one["action"] == "REJECT"}
    assert refused == ("policy",)
    logged.do("flow-log delete --vpc vpc1")
    assert not logged.sh(f"ls {FOLDER} 2>/dev/null || true")


def test_what_egress_rules_groups_and_acls_refuse_is_rejected(logged: Host) -> None:
    policy = logged.write("policy.json", ONLY_80)
    logged.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    send(logged, "vpc1-private", PUBLIC, 54, 3)
    out = ("vpc1/private", "egress", PRIVATE, PUBLIC, 17, 54, "REJECT")
    assert written(logged, out)[out] == 3
    # A group governs in the place of the policy.
    logged.do("group create --vpc vpc1 --name web")
    group = logged.write("group.json", {"ingress": [{"protocol": "udp", "port": 55, "action": "allow"}]})
    logged.do(f"group apply --vpc vpc1 --name web --policy {group}")
    logged.do("group join --vpc vpc1 --subnet private --name web")
    send(logged, "vpc1-public", PRIVATE, 55, 2)
    send(logged, "vpc1-public", PRIVATE, 56, 4)
    into = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17)
    found = written(logged, (*into, 56, "REJECT"))
    assert (found[(*into, 55, "ACCEPT")], found[(*into, 56, "REJECT")]) == (2, 4)
    # The network ACL is asked before: what it drops never gets to the machine.
    logged.do("acl create --vpc vpc1 --name edge")
    logged.do(f"acl apply --vpc vpc1 --name edge --rules {logged.write('acl.json', EDGE)}")
    logged.do("acl associate --vpc vpc1 --subnet private --name edge")
    for address in (PRIVATE, PRIVATE6):
        send(logged, "vpc1-public", address, 57, 6)
    send(logged, "vpc1-private", PUBLIC, 58, 8)
    assert logged.inside("vpc1-public", "ping", "-c", "2", "-i", "0.2", "-W", "1", PRIVATE).code == 1
    out = ("vpc1/private", "egress", PRIVATE, PUBLIC, 17, 58)
    ping = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 1, 0, "REJECT")
    found = written(logged, (*out, "REJECT"), (*into, 57, "REJECT"), ping)
    assert (found[(*out, "REJECT")], found[(*out, "ACCEPT")]) == (8, 0), "not twice"
    assert found["vpc1/public", "ingress", PRIVATE, PUBLIC, 17, 58, "ACCEPT"] == 0
    assert found[(*into, 57, "REJECT")] == 6
    assert found["vpc1/private", "ingress", PUBLIC6, PRIVATE6, 17, 57, "REJECT"] == 6
    assert found["vpc1/public", "egress", PUBLIC, PRIVATE, 17, 57, "ACCEPT"] == 6, "it left its sender"
    assert found[ping] == 2
    # The kernel itself reports its multicast addresses when it likes (MLD), which the policy refuses, too.
    by = {(one["dstport"], *one["refused_by"]) for one in records(logged) if one["action"] == "REJECT"
          and one["protocol"] != 58}
    assert by == {(54, "policy"), (56, "group"), (57, "acl"), (58, "acl"), (0, "acl")}
    assert logged.do("status").out == "in sync\n"


def asked(host: Host, record: Record) -> Any:
    """What `reach` says of a refused packet, by the command in its record."""
    done = host.vpcctl(*record["ask"].split()[1:], "--json")
    assert done.code in (0, 1), done
    return done.json["reach"]


def test_reach_names_the_rule_by_which_a_packet_was_rejected(host: Host) -> None:
    """In the network of docs/three-tier.md: a web machine may not reach the database."""
    network = yaml.safe_load((CHECKOUT / "docs/examples/three-tier.yaml").read_text())
    for subnet in network["vpcs"]["shop"]["subnets"].values():
        for machine in subnet["instances"].values():
            machine.pop("workloads")
    network["vpcs"]["shop"]["flow_logs"] = [{"interval": 1, "format": "json", "traffic": "reject"}]
    host.do("apply -f -", stdin=json.dumps(network))
    host.never_reaches("shop-web.web1", "10.30.3.4:5432")

    def found(by: str) -> Record:
        return until(lambda: [one for one in records(host, "--vpc shop") if one["log_status"] == "OK"
                              and one["refused_by"] == [by]], f"nothing is refused by {by}")[-1]

    refused = found("group")
    assert (refused["machine"], refused["dstport"], refused["direction"]) == (
        "shop/data/db1", 5432, "ingress")
    said = asked(host, refused)
    assert (said["verdict"], said["blocked_by"]["code"], said["blocked_by"]["where"]) == (
        "unreachable", "FIREWALL_DENY", "shop-data.db1")
    # By the same rule: it has dropped what the records have, and nothing else.
    packets = sum(one["packets"] for one in records(host, "--vpc shop") if one["log_status"] == "OK")
    assert f"[{packets} packet" in said["blocked_by"]["rule"], said
    # The network ACL at the subnet's edge comes before the group.
    host.do("acl create --vpc shop --name edge")
    host.do("acl associate --vpc shop --subnet data --name edge")
    host.never_reaches("shop-web.web1", "10.30.3.4:5432")
    refused = found("acl")
    said = asked(host, refused)
    assert (refused["machine"], said["blocked_by"]["code"]) == ("shop/data/db1", "ACL_DENY")
    counted = host.do("acl show --vpc shop --name edge --json").json["acl"]["counters"]
    packets = sum(one["packets"] for one in records(host, "--vpc shop") if one["log_status"] == "OK"
                  and one["refused_by"] == ["acl"] and one["direction"] == "ingress")
    assert counted["ingress *"]["packets"] == packets


def test_nat_gateways_and_machines_of_others_have_records(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("nat-gateway create --vpc vpc1 --subnet public --name nat1")
    vpc1.do("route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via nat:nat1")
    vpc1.do("instance attach --vpc vpc1 --subnet private --name lab --netns /run/netns/other "
            "--interface vpc0")
    vpc1.do("instance add --vpc vpc1 --subnet private --name box --forwards")
    policy = vpc1.write("policy.json", {"ingress": [{"protocol": "icmp", "action": "allow"}]})
    vpc1.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    vpc1.do("flow-log create --vpc vpc1 --interval 1 --format json")
    vpc1.reaches("vpc1-private", "8.8.8.8")
    out = ("vpc1/public/nat1", "egress", "10.0.1.4", "8.8.8.8", 1, 0, "ACCEPT")
    into = ("vpc1/public/nat1", "ingress", PRIVATE, "8.8.8.8", 1, 0, "ACCEPT")
    found = written(vpc1, out, into)
    assert found[out] == found[into], "what it sends has its own address"
    for place, address in (("lab", "10.0.2.4"), ("box", "10.0.2.5")):
        vpc1.reaches("vpc1-public", address)
        send(vpc1, "vpc1-public", address, 99, 3)
        refused = (f"vpc1/private/{place}", "ingress", PUBLIC, address, 17, 99, "REJECT")
        ping = (f"vpc1/private/{place}", "ingress", PUBLIC, address, 1, 0, "ACCEPT")
        assert written(vpc1, refused, ping)[refused] == 3
    assert vpc1.do("status").out == "in sync\n"
    vpc1.do("instance detach --vpc vpc1 --subnet private --name lab")
    assert "vpcctl-flows" not in vpc1.sh("nft list tables", "other")


def test_it_works_in_a_sandbox_without_root(make_host: Callable[..., Host],
                                            rootless: tuple[str, ...]) -> None:
    host = make_host(*rootless)
    make_vpc1(host)
    host.do("flow-log create --vpc vpc1 --interval 1 --format json")
    send(host, "vpc1-public", PRIVATE, 99, 3)
    flow = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 99, "ACCEPT")
    assert written(host, flow)[flow] == 3
    assert host.do("status").out == "in sync\n"


def test_who_has_no_log_hears_where_the_records_are(vpc1: Host) -> None:
    shown = "flow-log show --vpc vpc1 --subnet private"
    vpc1.refused(shown, says="create it: vpcctl flow-log create --vpc vpc1 --subnet private")
    vpc1.do("flow-log create --vpc vpc1 --subnet public")
    vpc1.refused(shown, says="did you mean 'vpc1/public'?")
    vpc1.do("flow-log create --vpc vpc1")
    vpc1.refused(shown, says="its records are in that of vpc1: vpcctl flow-log show --vpc vpc1\n")
    vpc1.refused("flow-log show --vpc vpc1 --subnet publik", says="subnet 'publik' does not exist")


def test_several_logs_may_be_of_a_machine_each_with_what_it_is_for(vpc1: Host) -> None:
    vpc1.do("instance add --vpc vpc1 --subnet private --name web1")
    policy = vpc1.write("policy.json", ONLY_80)
    vpc1.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    vpc1.do("flow-log create --vpc vpc1 --interval 2")
    vpc1.do("flow-log create --vpc vpc1 --subnet private --traffic reject --interval 1 --format json")
    one = "--vpc vpc1 --subnet private --instance web1"
    vpc1.do(f"flow-log create {one} --traffic accept --interval 1 --format json")
    assert vpc1.do(f"flow-log create {one} --traffic accept --interval 1 --format json").out.startswith(
        "unchanged: ")
    again = vpc1.vpcctl(*f"flow-log create {one}".split())
    assert (again.code, "already exists, with other settings" in again.err) == (1, True)
    vpc1.listen("vpc1-private.web1", "80")
    vpc1.reaches("vpc1-public", "10.0.2.4:80")
    for address in (PRIVATE, "10.0.2.4"):
        send(vpc1, "vpc1-public", address, 81, 3)
    subnet = "--vpc vpc1 --subnet private"
    refused = [("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 81, "REJECT"),
               ("vpc1/private/web1", "ingress", PUBLIC, "10.0.2.4", 17, 81, "REJECT")]
    found = written(vpc1, *refused, what=subnet)
    assert {one: found[one] for one in found} == dict.fromkeys(refused, 3)
    accepted = written(vpc1, ("vpc1/private/web1", "ingress", PUBLIC, "10.0.2.4", 6, 80, "ACCEPT"), what=one)
    assert {(flow[0], flow[-1]) for flow in accepted} == {("vpc1/private/web1", "ACCEPT")}
    listed = vpc1.do("flow-log list --json").json["flow_logs"]
    assert [(log["subnet"], log["instance"], log["interval"]) for log in listed] == [
        (None, None, 2), ("private", None, 1), ("private", "web1", 1)]
    known = {one["id"]: one["machine"] for one in listed[0]["interfaces"]}
    lines = until(lambda: [found for line in vpc1.do("flow-log show --vpc vpc1").out.splitlines()
                           if (found := line.split(" "))[12] == "REJECT"], "no v2 record")
    assert all(len(line) == 14 for line in lines)
    assert {(known[line[2]], *line[3:9], line[13]) for line in lines} == {
        (flow[0], flow[2], flow[3], line[5], "81", "17", "3", "OK") for flow in refused
        for line in lines if line[4] == flow[3]}
    vpc1.do("subnet delete --vpc vpc1 --name private")
    assert [log["subnet"] for log in vpc1.do("flow-log list --json").json["flow_logs"]] == [None]
    assert vpc1.do("status").out == "in sync\n"


def test_later_fragments_have_no_ports(logged: Host) -> None:
    """Where an ACL refuses them, and where a machine could forward them."""
    logged.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    logged.do("acl create --vpc vpc1 --name edge")
    logged.do("acl associate --vpc vpc1 --subnet private --name edge")
    ends = (("private", PUBLIC, PRIVATE, "REJECT"), ("private", PUBLIC6, PRIVATE6, "REJECT"),
            ("public/box", PUBLIC, "10.0.1.4", "ACCEPT"),
            ("public/box", PUBLIC6, "fd00:0:0:101::4", "ACCEPT"))
    for _, _, address, _ in ends:
        # Of three fragments each.
        send(logged, "vpc1-public", address, 99, 2, size=4000)
    wanted = {(f"vpc1/{machine}", "ingress", one, other, 17, port, action): many
              for machine, one, other, action in ends for port, many in ((99, 2), (0, 4))}
    found = written(logged, *wanted)
    assert {flow: many for flow, many in found.items() if flow[1] == "ingress" and flow[4] == 17} == wanted


def test_reach_explains_a_refused_packet_of_ipv6(logged: Host) -> None:
    """Where the same of IPv4 is allowed."""
    policy = logged.write("policy.json", {"ingress": [
        {"protocol": "tcp", "port": 22, "action": "allow", "source": "0.0.0.0/0"}]})
    logged.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    logged.inside("vpc1-public", "timeout", "0.3", "bash", "-c", f"echo >/dev/tcp/{PRIVATE6}/22")
    (refused, *_) = until(lambda: [one for one in records(logged) if one["action"] == "REJECT"
                                   and one["dstport"] == 22], "no REJECT")
    said = asked(logged, refused)
    assert (said["verdict"], said["blocked_by"]["code"]) == ("unreachable", "FIREWALL_DENY"), said


def test_a_record_that_is_just_being_written_is_not_shown(logged: Host) -> None:
    until(lambda: records(logged), "no record")
    logged.sh(f"kill -STOP {collector(logged)[-1]}")
    whole = logged.do("flow-log show --vpc vpc1").out
    logged.sh(f"printf '{{\"version\": 2, ' >>{FOLDER}/vpc1.log")
    assert logged.do("flow-log show --vpc vpc1").out == whole
    assert logged.vpcctl("flow-log", "show", "--vpc", "vpc1", "--json").json["flow_records"]["lines"] == \
        whole.splitlines()


def test_a_log_that_is_made_anew_at_once_has_records(logged: Host) -> None:
    until(lambda: records(logged), "no record")
    # Between two looks of the collector: these are at each full second.
    time.sleep(1.1 - time.time() % 1)
    logged.do("flow-log delete --vpc vpc1")
    logged.do("flow-log create --vpc vpc1 --interval 1 --format json")
    until(lambda: records(logged), "no record of the new one")
    logged.sh(f"rm {FOLDER}/vpc1.log")
    until(lambda: records(logged), "no record after its file was removed")
    held = logged.sh(f"ls -l /proc/{collector(logged)[-1]}/fd")
    assert ".log (deleted)" not in held
    assert logged.do("status").out == "in sync\n"
    logged.sh(f"rm -r {FOLDER}")
    assert "collector of flow logs" in logged.vpcctl("status").out
    logged.do("restore")
    assert logged.do("status").out == "in sync\n"
    until(lambda: records(logged), "no record after its folder was removed")


def test_rules_that_come_and_go_lose_no_packet(logged: Host) -> None:
    policy = logged.write("policy.json", ONLY_80)
    flow = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 99)
    back = ("vpc1/private", "egress", PRIVATE, PUBLIC, 17, 98)
    for _ in range(2):
        send(logged, "vpc1-public", PRIVATE, 99, 3, source=4000)
        send(logged, "vpc1-private", PUBLIC, 98, 4, source=4001)
        logged.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
        send(logged, "vpc1-public", PRIVATE, 99, 5, source=4000)
        send(logged, "vpc1-private", PUBLIC, 98, 6, source=4001)
        logged.do("firewall clear --vpc vpc1 --subnet private")
    shall = {(*flow, "ACCEPT"): 6, (*flow, "REJECT"): 10, (*back, "ACCEPT"): 8, (*back, "REJECT"): 12}
    found = until(lambda: (now := {one: flows(records(logged))[one] for one in shall}) and
                  sum(now.values()) == sum(shall.values()) and now, "packets are lost")
    assert found == shall
    assert not [one for one in records(logged) if one["log_status"] == "SKIPDATA"]
    assert logged.do("status").out == "in sync\n"


MIXED = {"ingress": [{"protocol": "udp", "port": "100-101", "action": "allow"},
                     {"protocol": "udp", "port": 103, "action": "deny"},
                     {"protocol": "udp", "port": "102-104", "action": "allow"},
                     {"protocol": "udp", "source": PUBLIC + "/32", "port": 105, "action": "allow"},
                     {"protocol": "udp", "source": "10.0.9.0/24", "port": 106, "action": "allow"}],
         "egress": [{"protocol": "udp", "destination": "::/0", "action": "allow"},
                    {"protocol": "udp", "port": 110, "action": "allow"}]}
PASSES = {100, 101, 102, 104}
"""Of MIXED, for IPv4 and IPv6; port 105 for one address only."""


def surely(host: Host, namespace: str, way: str) -> tuple[int, int]:
    """Packets that the rules surely let pass, and those of them that have, since the last reading."""
    before, behind = (int(host.sh(f"nft list counter inet vpcctl-flows {way}-{end}", namespace).split()[8])
                      for end in ("before", "behind"))
    return before, behind


def test_rules_that_overlap_count_each_packet_once(logged: Host) -> None:
    logged.sh(f"kill -STOP {collector(logged)[-1]}")
    logged.do(f"firewall apply --vpc vpc1 --subnet private --policy {logged.write('mixed.json', MIXED)}")
    expected: Counter[tuple[Any, ...]] = Counter()
    for port in range(100, 108):
        for source, target, passes in ((PUBLIC, PRIVATE, {*PASSES, 105}), (PUBLIC6, PRIVATE6, PASSES)):
            send(logged, "vpc1-public", target, port, 2, source=4000)
            action = "ACCEPT" if port in passes else "REJECT"
            expected["vpc1/private", "ingress", source, target, 17, port, action] = 2
    assert surely(logged, "vpc1-private", "in") == (2 * 2 * 2 + 2,) * 2, "102 and 104 are looked at twice"
    for port in (110, 111):
        for source, target, passes in ((PRIVATE, PUBLIC, {110}), (PRIVATE6, PUBLIC6, {110, 111})):
            send(logged, "vpc1-private", target, port, 3, source=4000)
            action = "ACCEPT" if port in passes else "REJECT"
            expected["vpc1/private", "egress", source, target, 17, port, action] = 3
    logged.sh(f"kill -CONT {collector(logged)[-1]}")
    found = written(logged, *expected)
    assert {flow: found[flow] for flow in found if flow[0] == "vpc1/private" and flow[5] in range(100, 112)
            and flow[4] == 17} == expected
    assert not [one for one in records(logged) if one["log_status"] == "SKIPDATA"]
    assert logged.do("status").out == "in sync\n"


def test_members_of_a_group_are_counted_once(logged: Host) -> None:
    for name in ("web", "db"):
        logged.do(f"group create --vpc vpc1 --name {name}")
    rules = {"ingress": [{"protocol": "udp", "port": 55, "source": "group:web", "action": "allow"}]}
    logged.do(f"group apply --vpc vpc1 --name db --policy {logged.write('db.json', rules)}")
    logged.do("group join --vpc vpc1 --subnet private --name db")
    flow = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 55)
    send(logged, "vpc1-public", PRIVATE, 55, 3, source=4000)
    assert written(logged, (*flow, "REJECT"))[(*flow, "REJECT")] == 3
    logged.sh(f"kill -STOP {collector(logged)[-1]}")
    logged.do("group join --vpc vpc1 --subnet public --name web")
    send(logged, "vpc1-public", PRIVATE, 55, 5, source=4001)
    assert surely(logged, "vpc1-private", "in") == (5, 5)
    logged.sh(f"kill -CONT {collector(logged)[-1]}")
    assert written(logged, (*flow, "ACCEPT"))[(*flow, "ACCEPT")] == 5
    assert logged.do("status").out == "in sync\n"


def test_packets_that_a_rule_by_hand_takes_are_said_to_be_missing(logged: Host) -> None:
    """Nobody knows their flows, because the policy lets them pass."""
    policy = logged.write("policy.json", {"ingress": [{"protocol": "udp", "port": 53, "action": "allow"}]})
    logged.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    flow = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 53, "ACCEPT")
    send(logged, "vpc1-public", PRIVATE, 53, 2, source=4000)
    assert written(logged, flow)[flow] == 2
    by_hand = "INPUT -p udp --dport 53 -j DROP"
    logged.sh(f"iptables -I {by_hand}", "vpc1-private")
    send(logged, "vpc1-public", PRIVATE, 53, 2, source=4000)
    until(lambda: "SKIPDATA" in {one["log_status"] for one in records(logged)
                                 if one["machine"] == "vpc1/private"}, "no SKIPDATA")
    assert "INPUT of table filter in vpc1-private" in logged.vpcctl("status").out
    logged.do("restore")
    before = len(records(logged))
    send(logged, "vpc1-public", PRIVATE, 53, 3, source=4000)
    assert until(lambda: flows(records(logged)[before:])[flow], "not again") == 3
    assert "SKIPDATA" not in {one["log_status"] for one in records(logged)[before + 2:]}


def test_what_is_not_known_is_said(logged: Host) -> None:
    until(lambda: [one for one in records(logged) if one["log_status"] == "NODATA"], "no NODATA")
    logged.sh("nft delete table inet vpcctl-flows", "vpc1-private")
    said = until(lambda: [one for one in records(logged) if one["log_status"] == "SKIPDATA"], "no SKIPDATA")
    assert {one["machine"] for one in said} == {"vpc1/private"}
    status = logged.vpcctl("status")
    assert (status.code, status.out.count("\n")) == (1, 2)
    assert "counters of flows in vpc1-private" in status.out
    logged.do("restore")
    assert logged.do("status").out == "in sync\n"
    send(logged, "vpc1-public", PRIVATE, 53, 2)
    written(logged, ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 53, "ACCEPT"))
    # A set with room for two flows: of the third nothing is known but that it was there.
    table = logged.sh("nft list table inet vpcctl-flows", "vpc1-private")
    small = table.replace("size 65536", "size 2")
    assert small != table
    before = len(records(logged))
    logged.sh(f"nft -f - <<'EOF'\ndelete table inet vpcctl-flows\n{small}\nEOF", "vpc1-private")
    until(lambda: "SKIPDATA" in {one["log_status"] for one in records(logged)[before:]}, "made again")
    before = len(records(logged))
    for port in range(60, 64):
        send(logged, "vpc1-public", PRIVATE, port, source=4000 + port)
    until(lambda: [one for one in records(logged)[before:] if one["log_status"] == "SKIPDATA"], "no SKIPDATA")
    found = [one["dstport"] for one in records(logged)[before:] if one["machine"] == "vpc1/private"
             and one["dstport"] in range(60, 64)]
    assert 0 < len(found) < 4


def test_status_lists_tables_that_are_alike_once_and_finds_the_other_one(logged: Host) -> None:
    for number in range(4):
        logged.do(f"instance add --vpc vpc1 --subnet public --name web{number}")
    nft = logged.sh("command -v nft").strip()
    logged.write("nft", f"#!/bin/sh\necho $* >>{logged.scratch}/asked\nexec {nft} \"$@\"\n")
    logged.sh(f"chmod +x {logged.scratch}/nft")
    logged.environment["PATH"] = f"{logged.scratch}:{logged.sh('printf %s $PATH')}"
    send(logged, "vpc1-public", PRIVATE, 99)
    assert logged.do("status").out == "in sync\n"
    assert logged.sh(f"grep -c vpcctl-flows {logged.scratch}/asked") == "1\n"
    for change, says in (("flush chain inet vpcctl-flows in-ok", "its rules differ"),
                         ("add chain inet vpcctl-flows more", "its chains differ"),
                         ("add table inet vpcctl-flows { flags dormant; }", "its chains differ"),
                         ("add set inet vpcctl-flows more { type ipv4_addr; }", "its sets differ"),
                         ("add counter inet vpcctl-flows more", "its counters differ"),
                         ("delete table inet vpcctl-flows", "")):
        logged.sh(f"nft '{change}'", "vpc1-public.web2")
        found = logged.vpcctl("status", "--json").json["status"]["findings"]
        assert [(one["what"], one["detail"]) for one in found] == [
            ("counters of flows in vpc1-public.web2", says)]
        logged.do("restore")
    assert logged.do("status").out == "in sync\n"
    del logged.environment["PATH"]


COUNTED = "elements = { 192.0.2.1 . 192.0.2.2 . udp . 1 . 2 counter packets 3 bytes 99 }"
SPOILED = {
    "without counters": (r"s/^\t\tcounter$//", COUNTED.partition(" counter")[0] + " }"),
    "of other keys": (r"s/^\t\ttype.*/\t\ttype ipv4_addr/; /chain/,/^\t}/d",
                      "elements = { 192.0.2.1 counter packets 3 bytes 99 }"),
    "without an end": (r"/size/d", COUNTED)}
"""Sets as root of a machine could make them: an edit of the table, and what to put into a set."""


@pytest.mark.parametrize("how", SPOILED)
def test_sets_made_again_otherwise_cost_others_nothing(logged: Host, how: str) -> None:
    logged.do("instance attach --vpc vpc1 --subnet public --name lab --netns /run/netns/other "
              "--interface vpc0")
    edit, elements = SPOILED[how]
    until(lambda: "vpc1/public/lab" in {one["machine"] for one in records(logged)}, "no record")
    table = logged.scratch / "table"
    listed = logged.sh(f"nft -t list table inet vpcctl-flows | sed '{edit}'", "other")
    made = re.sub(r"(set in-open4 {\n.*\n)", rf"\1\t\t{elements}\n", listed)
    table.write_text(f"delete table inet vpcctl-flows\n{made}")
    program = collector(logged)
    logged.sh(f"nft -f {table}", "other")
    if how != "without an end":
        said = until(lambda: [one for one in records(logged) if one["log_status"] == "SKIPDATA"], "not said")
        assert {one["machine"] for one in said} == {"vpc1/public/lab"}
    send(logged, "vpc1-public", PRIVATE, 99, 3)
    flow = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 99, "ACCEPT")
    assert written(logged, flow)[flow] == 3
    assert collector(logged) == program
    assert "counters of flows in vpc1-public.lab" in logged.vpcctl("status").out
    logged.do("restore")
    assert logged.do("status").out == "in sync\n"
    before = len(records(logged))
    until(lambda: [one for one in records(logged)[before:] if one["machine"] == "vpc1/public/lab"
                   and one["log_status"] != "SKIPDATA"], "it is not read again")


def test_a_table_that_was_put_to_sleep_is_said_to_count_nothing(logged: Host) -> None:
    until(lambda: "vpc1/public" in {one["machine"] for one in records(logged)}, "no record")
    logged.sh("nft add table inet vpcctl-flows '{ flags dormant; }'", "vpc1-public")
    said = until(lambda: [one for one in records(logged) if one["log_status"] == "SKIPDATA"], "not said")
    assert {one["machine"] for one in said} == {"vpc1/public"}
    logged.do("restore")
    send(logged, "vpc1-public", PRIVATE, 99, 3)
    flow = ("vpc1/public", "egress", PUBLIC, PRIVATE, 17, 99, "ACCEPT")
    assert written(logged, flow)[flow] == 3


def all_or_said(host: Host, flow: tuple[Any, ...], many: int) -> bool:
    """Whether all packets of a flow have a record, or what is missing is said; none is counted twice."""
    found = records(host)
    assert flows(found)[flow] <= many
    return flows(found)[flow] == many or any(one["log_status"] == "SKIPDATA" for one in found)


def test_without_nft_it_is_refused_before_anything_is_touched(host: Host) -> None:
    host.write("nft", "#!/bin/sh\nexit 1\n")
    host.sh(f"chmod +x {host.scratch}/nft")
    host.environment["PATH"] = f"{host.scratch}:{host.sh('printf %s $PATH')}"
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    done = host.refused("flow-log create --vpc vpc1", says="VPC 'vpc1' can't have flow logs: nft ")
    assert "install nftables" in done.err
    del host.environment["PATH"]


def test_a_killed_collector_loses_nothing_without_saying_so(logged: Host) -> None:
    logged.listen("vpc1-private", "53/udp")
    flow = ("vpc1/private", "ingress", PUBLIC, PRIVATE, 17, 53, "ACCEPT")
    for _ in range(5):
        send(logged, "vpc1-public", PRIVATE, 53, 11, source=4000)
        program = collector(logged)[-1]
        logged.sh(f"kill -9 {program}")
        until(lambda gone=program: len(pids := collector(logged)) == 2 and gone not in pids, "not restarted")
    until(lambda: all_or_said(logged, flow, 55), "packets are lost")
    assert logged.do("status").out == "in sync\n"
    for pid in collector(logged)[:1]:
        logged.sh(f"kill -9 {pid}")
    send(logged, "vpc1-public", PRIVATE, 53, 11, source=4000)
    assert "collector of flow logs" in logged.vpcctl("status").out
    logged.do("restore")
    until(lambda: all_or_said(logged, flow, 66), "packets are lost")
    assert logged.do("status").out == "in sync\n"


def test_a_collector_has_two_capabilities_and_sees_nothing_else(logged: Host) -> None:
    program = collector(logged)[-1]
    status = dict(line.split(":\t", 1) for line in logged.sh(f"cat /proc/{program}/status").splitlines()
                  if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 1 << 12 | 1 << 21
    assert (int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, "1")
    assert set(status["Uid"].split()) == {str(0x70000000 + 8192)}
    assert logged.sh(f"ls -A /proc/{program}/root/var/lib/vpcctl /proc/{program}/root/run").split() == [
        "/proc/" + str(program) + "/root/run:", "vpcctl", "/proc/" + str(program) + "/root/var/lib/vpcctl:"]
    assert logged.sh(f"ip -n {NETWORK} -br link").split()[:1] == ["lo"]
    assert logged.sh(f"stat -c %a:%u {FOLDER}") == f"700:{0x70000000 + 8192}\n"


def test_a_lost_record_is_rebuilt_with_its_logs(logged: Host) -> None:
    logged.do("flow-log create --vpc vpc1 --subnet public --traffic reject --interval 9")
    before = logged.do("flow-log list --json").out
    pids = collector(logged)
    logged.sh("rm /var/lib/vpcctl/state.json*")
    assert "flow-logs" not in logged.do("restore --from-kernel").err
    assert logged.do("flow-log list --json").out == before
    assert logged.do("status").out == "in sync\n"
    assert collector(logged) == pids


def test_a_file_has_logs_and_the_plan_names_them(host: Host) -> None:
    one = {"subnet": "public", "instance": "web1", "traffic": "reject", "format": "json"}
    network: Any = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "subnets": {
        "public": {"cidr": "10.0.1.0/24", "instances": {"web1": {}}}}, "flow_logs": [{"interval": 1}, one]}}}
    host.do("apply -f -", stdin=json.dumps(network))
    assert "flow_logs:\n    - interval: 1\n" in host.do("export").out
    network["vpcs"]["vpc1"]["flow_logs"] = [{"interval": 5}]
    done = host.do("apply -f -", stdin=json.dumps(network))
    assert "flow log vpc1/public/web1" in done.out + done.err
    assert [log["interval"] for log in host.do("flow-log list --json").json["flow_logs"]] == [5]
    for wrong, says in (({"subnet": "none"}, "is not in the file"), ({"interval": 0}, "0 seconds"),
                        ({"instance": "web1"}, "a machine is in a subnet"), ({"format": "v9"}, "v2, json")):
        network["vpcs"]["vpc1"]["flow_logs"] = [wrong]
        done = host.vpcctl("apply", "-f", "-", stdin=json.dumps(network))
        assert (done.code, says in done.err) == (2, True), done


def test_another_format_begins_another_file(logged: Host) -> None:
    """Also if the collector does not run meanwhile; what is shown has one format, too."""
    def held(name: str) -> set[str]:
        return {line[:2] for line in logged.sh(f"cat {FOLDER}/{name} 2>/dev/null || true").splitlines()}

    network = yaml.safe_load(logged.do("export").out)
    was, now = ("json", "{\""), ("v2", "2 ")
    until(lambda: held("vpc1.log"), "no record")
    for stops in (False, True):
        network["vpcs"]["vpc1"]["flow_logs"] = [{"interval": 1, "format": now[0]}]
        keeper = collector(logged)[0]
        if stops:
            logged.sh(f"kill -9 {keeper}")
        done = logged.do("apply -f -", stdin=json.dumps(network))
        assert f"~ flow log vpc1/*: format: {was[0]} → {now[0]}" in done.out + done.err
        if stops:
            logged.do("restore")
        until(lambda wanted=now[1]: held("vpc1.log") == {wanted}, f"no record as {now[0]}")
        assert held("vpc1.log.1") == {was[1]}
        shown = logged.do("flow-log show --vpc vpc1").out
        assert {line[:2] for line in shown.splitlines()} == {now[1]}
        was, now = now, was
    file = logged.scratch / "followed"
    logged.start("", str(CHECKOUT / "vpcctl"), "flow-log", "show", "--vpc", "vpc1", "-f", output=str(file))
    until(lambda: len(file.read_text().splitlines()) > len(shown.splitlines()), "nothing comes")
    assert {line[:2] for line in file.read_text().splitlines()} == {was[1]}
    logged.do("flow-log delete --vpc vpc1")
    assert not logged.sh(f"ls {FOLDER} 2>/dev/null || true")


def test_the_emergency_clean_up_leaves_no_log(logged: Host) -> None:
    until(lambda: records(logged), "no record")
    assert logged.run("sh", str(CHECKOUT / "cleanup.sh"), "--yes").code == 0
    assert not collector(logged)
    assert not logged.sh(f"ls /run/vpcctl 2>/dev/null || true; ip netns | grep {NETWORK} || true")
    # Else a new log of the same name would have old records.
    assert logged.run("ls", FOLDER).code != 0
    logged.sh("cd /var/lib/vpcctl && rm -r logs state.json.cleaned")


def test_records_are_followed_as_they_come(logged: Host) -> None:
    file = logged.scratch / "followed"
    logged.start("", str(CHECKOUT / "vpcctl"), "flow-log", "show", "--vpc", "vpc1", "-f", output=str(file))
    send(logged, "vpc1-public", PRIVATE, 99)
    until(lambda: '"dstport": 99' in file.read_text(), "nothing comes")
    logged.do("flow-log delete --vpc vpc1")


@pytest.mark.parametrize(("name", "put", "what"), [
    ("vpc1.log", "ln -s /etc/passwd", "a symbolic link"), ("vpc1.log", "mkfifo", "a pipe"),
    ("vpc1.log.1", "ln -s /etc/passwd", "a symbolic link"), ("vpc1.log", "mkdir", "a folder"),
], ids=["link", "pipe", "older", "folder"])
def test_what_is_no_file_is_not_read_but_named_and_removed(vpc1: Host, name: str, put: str,
                                                           what: str) -> None:
    vpc1.do("flow-log create --vpc vpc1 --interval 600")
    file = f"{FOLDER}/{name}"
    # By the user of the collector, who owns the folder; nothing is written before 10 minutes are over.
    vpc1.sh(f"rm -f {file}; setpriv --reuid $(stat -c %u {FOLDER}) --clear-groups {put} {file}; "
            f"[ {name} = vpc1.log ] || touch {FOLDER}/vpc1.log")
    for more in ("", " --json", " -f"):
        done = vpc1.vpcctl(*f"flow-log show --vpc vpc1{more}".split())
        assert done.code == 1
        assert f"can't read {file}: {what} is in its place" in done.out + done.err
        assert "root:" not in done.out
    status = vpc1.vpcctl("status")
    assert status.code == 1
    assert f"{what} is in the place of {file}" in status.out
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh(f"! [ -e {file} ] || [ -f {file} ]")


def test_a_collector_that_can_not_write_is_warned_of(vpc1: Host) -> None:
    vpc1.do("flow-log create --vpc vpc1 --interval 1")
    until(lambda: vpc1.run("test", "-e", f"{FOLDER}/.saved").code == 0, "it has read nothing")
    asked = ("status", "flow-log list --vpc vpc1")
    assert not [line for line in asked if vpc1.do(line).err]
    # Less than it leaves free.
    vpc1.sh(f"mount -o remount,size=16m /var/lib/vpcctl; rmdir /run/mount 2>/dev/null || true; "
            f"head -c 15M /dev/zero >{FOLDER}/filler")
    for line in asked:
        assert vpc1.do(line).err == ("vpcctl: flow logs get no records, because the disk of "
                                     f"{FOLDER} is nearly full: make room there\n")
    vpc1.sh(f"rm {FOLDER}/filler")
    pids = " ".join(map(str, collector(vpc1)))
    vpc1.sh(f"kill -STOP {pids}; touch -d '1 minute ago' {FOLDER}/.saved /run/vpcctl/flow.logs/vpc1")
    for line in asked:
        assert "vpcctl: the collector of flow logs has written nothing for 6" in vpc1.do(line).err
    vpc1.sh(f"kill -CONT {pids}")
    until(lambda: not vpc1.do("status").err, "it goes on")
    assert not vpc1.do("flow-log list").err
