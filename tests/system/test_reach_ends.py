"""`reach` between machines, routers, the host and the internet, each compared with a real packet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from host import UPLINK, UPLINK6, Host
from probes import REACHED
from reach_six import LINK_LOCAL

SENDERS = {"vpc1/public": "vpc1-public", "vpc1/public/web1": "vpc1-public.web1",
           "vpc1/private": "vpc1-private", "vpc1/range/db1": "vpc1-range.db1",
           "vpc2/public": "vpc2-public", "host": "", "internet": "internet"}
P, Q = "fd12:3456:789a:1", "2001:db8:7:2"
"""The prefix of vpc1, which only the host knows, and that of vpc2, which is routed to the host."""

TARGETS = {"-4": {"vpc1/public": "10.0.1.2", "vpc1/public/web1": "10.0.1.4", "vpc1/private": "10.0.2.2",
                  "vpc1/range/db1": "10.0.3.4", "vpc2/public": "172.16.1.2", "vpc1": "10.0.0.1", "host": "",
                  "internet": "8.8.8.8"},
           "-6": {"vpc1/public": f"{P}01::2", "vpc1/public/web1": f"{P}01::4", "vpc1/private": f"{P}02::2",
                  "vpc1/range/db1": f"{P}03::4", "vpc2/public": f"{Q}01::2", "vpc1": f"{P}00::1", "host": "",
                  "internet": "2001:4860:4860::8888"}}
CABLES = {"-4": {"vpc1": "169.254.64.0", "vpc2": "169.254.64.2"},
          "-6": {"vpc1": f"{P}00::2", "vpc2": f"{Q}00::2"}}
NETWORKS = {"10.0.0.0/8": UPLINK, "172.16.0.0/12": UPLINK, f"{P}00::/56": UPLINK6, f"{Q}00::/56": UPLINK6}
OUTSIDE = ("host", "internet")
POLICY = {"ingress": [{"protocol": "icmp", "action": "deny", "source": "10.0.1.4/32"},
                      {"protocol": "icmp", "action": "allow"},
                      {"protocol": "icmpv6", "action": "deny", "source": f"{P}01::4/128"},
                      {"protocol": "icmpv6", "action": "allow"}], "default": "deny"}
families = pytest.mark.parametrize("family", ["-4", "-6"])
TO_WEB1 = """
iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.4:80
iptables -t mangle -I VPCCTL-GUARD-OUT -p tcp --dport 80 -j ACCEPT
iptables -I FORWARD -i eth0 -o vpc-vpc1 -p tcp --dport 80 -j ACCEPT
iptables -I FORWARD -i vpc-vpc1 -o eth0 -p tcp --sport 80 -j ACCEPT
ip netns exec vpc1 iptables -I FORWARD -p tcp --dport 80 -j ACCEPT
ip netns exec vpc1 iptables -I FORWARD -p tcp --sport 80 -j ACCEPT
"""


@pytest.fixture
def ends(vpc2: Host) -> Iterator[Host]:
    """Two VPCs with both families that are not peered, machines of all sorts, NAT, and a policy."""
    vpc2.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    vpc2.do(f"vpc set --name vpc2 --ipv6 {Q}00::/56")
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("nat enable --vpc vpc2")
    vpc2.do("instance add --vpc vpc1 --subnet public --name web1")
    vpc2.do("subnet add --vpc vpc1 --name range --cidr 10.0.3.0/24 --bare")
    vpc2.do("instance add --vpc vpc1 --subnet range --name db1")
    vpc2.do("firewall apply --vpc vpc1 --subnet private --policy", vpc2.write("policy.json", POLICY))
    for network, host in NETWORKS.items():
        vpc2.sh(f"ip -n internet route add {network} via {host}")
    vpc2.sh(LINK_LOCAL)
    yield vpc2
    vpc2.sh(LINK_LOCAL.replace(" add ", " del ").replace(" nodad", ""))
    for network, host in NETWORKS.items():
        vpc2.sh(f"ip -n internet route del {network} via {host}")


def asked(host: Host, *words: str) -> Any:
    done = host.vpcctl("reach", *words, "--json")
    assert done.code in (0, 1), done
    return done.json["reach"]


def address(start: str, to: str, family: str) -> str:
    return CABLES[family][start.partition("/")[0]] if to == "host" else TARGETS[family][to]


@families
def test_every_pair_of_ends_is_as_a_packet_says(family: str, ends: Host) -> None:
    targets = TARGETS[family]
    pairs = [(start, to) for start, to in product(SENDERS, targets)
             if start != to and not (start in OUTSIDE and to in OUTSIDE)]
    answers = ends.probe(*((SENDERS[start], address(start, to, family)) for start, to in pairs), patience=1.0)
    sent = {pair: one.verdict == REACHED for pair, one in zip(pairs, answers, strict=True)}
    reports = {(start, to): asked(ends, "--from", start, "--to", to, family) for start, to in pairs}
    assert {pair: one["verdict"] == "reachable" for pair, one in reports.items()} == sent
    assert {True, False} == set(sent.values())
    assert all((one["from"], one["to"]) == (start, to if to != "internet" else targets[to])
               for (start, to), one in reports.items())
    # What a VPC refuses to strangers is no damage.
    assert {one["blocked_by"]["fix"] for (start, _), one in reports.items()
            if start == "internet"} <= {None}


@families
def test_without_a_sender_every_machine_answers_for_itself(family: str, ends: Host) -> None:
    machines = [name for name in SENDERS if name not in OUTSIDE]
    for to in TARGETS[family]:
        found = asked(ends, "--to", to, family)
        assert sorted(one["from"] for one in found) == sorted([*set(machines) - {to}, *(
            ["vpc2/private"] if to != "vpc2/private" else [])])
    told = ends.vpcctl("reach", "--to", "vpc1/private", family).out
    assert "\nvpc1/public/web1  unreachable" in told
    assert "\nvpc1/range/db1    reachable" in told


def test_the_internet_comes_in_where_a_port_is_forwarded(ends: Host) -> None:
    closed = asked(ends, "--from", "internet", "--to", "203.0.113.2", "--port", "8080")
    ends.sh(TO_WEB1)
    ends.listen("vpc1-public.web1", "80")
    ends.reaches("internet", "203.0.113.2:8080")
    opened = asked(ends, "--from", "internet", "--to", "203.0.113.2", "--port", "8080")
    assert opened["verdict"] == "reachable"
    arrived = [next(hop["where"] for hop in one["hops"] if "has arrived" in hop["what"])
               for one in (closed, opened)]
    assert arrived == ["host", "vpc1-public.web1"]
    ends.sh("\n".join(line.replace(" -A ", " -D ").replace(" -I ", " -D ") for line in TO_WEB1.splitlines()))


@pytest.mark.parametrize(("start", "to"), [("host", "internet"), ("internet", "host"), ("host", "host"),
                                           ("internet", "internet")])
def test_a_machine_is_at_one_end(vpc1: Host, start: str, to: str) -> None:
    vpc1.refused(f"reach --from {start} --to {to}", code=2, says="name a machine at one of the ends")


def test_a_probe_from_the_host(ends: Host) -> None:
    for family in ("-4", "-6"):
        report = asked(ends, "--from", "host", "--to", "vpc1/public/web1", "--probe", family)
        assert report["probe"] == {"result": "answered", "agrees": True}
    report = asked(ends, "--from", "internet", "--to", "vpc1/public/web1", "--probe")
    assert report["probe"]["agrees"] is None


def test_only_a_machine_that_forwards_sends_for_others(ends: Host) -> None:
    """Each has an address behind it, of which the guard knows nothing."""
    ends.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    for name, near, far in (("web1", "10.0.1.4", "10.77.0.1"), ("box", "10.0.1.5", "10.77.1.1")):
        ends.sh(f"ip addr add {far}/32 dev lo", f"vpc1-public.{name}")
        ends.sh(f"ip route add {far} via {near} dev eth0 onlink", "vpc1-public")
    ends.reaches("vpc1-public", "10.77.1.1")
    ends.never_reaches("vpc1-public", "10.77.0.1")
    assert asked(ends, "--from", "vpc1/public", "--to", "10.77.1.1")["verdict"] == "reachable"
    assert asked(ends, "--from", "vpc1/public", "--to", "10.77.0.1")["blocked_by"]["code"] == "SOURCE_REFUSED"
