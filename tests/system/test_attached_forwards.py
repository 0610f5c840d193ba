"""What an attached namespace forwards meets its policy, too: a container inside it, behind its own NAT."""

from __future__ import annotations

import json

import pytest
from host import Host

AT = "--vpc vpc1 --subnet public"
STATE = "/var/lib/vpcctl/state.json"
INNER = """
ip netns add inner
ip link add in0 type veth peer name eth0 netns inner
ip link set in0 netns lab
ip -n lab addr add 192.168.99.1/24 dev in0
ip -n lab link set in0 up
ip -n inner addr add 192.168.99.2/24 dev eth0
ip -n inner link set eth0 up
ip -n inner route add default via 192.168.99.1
ip netns exec lab sysctl -qw net.ipv4.ip_forward=1
ip netns exec lab iptables -t nat -A POSTROUTING -s 192.168.99.0/24 -o eth0 -j MASQUERADE
ip netns exec lab iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 8080 -j DNAT --to 192.168.99.2:80
"""
POLICY = {"ingress": [{"port": 8080, "protocol": "tcp", "action": "allow", "source": "10.0.2.0/24"}],
          "egress": [{"port": 80, "protocol": "tcp", "action": "allow", "destination": "10.0.2.0/24"}]}


@pytest.fixture
def nested(vpc1: Host) -> Host:
    """A container of somebody else's, with another inside that it forwards for."""
    vpc1.sh("ip netns add lab; ip -n lab link set lo up")
    vpc1.do(f"instance attach {AT} --name lab --netns /run/netns/lab")
    vpc1.sh(INNER)
    vpc1.listen("inner", "80")
    vpc1.listen("vpc1-private", "80", "81")
    return vpc1


def tidy(host: Host) -> None:
    host.do(f"instance detach {AT} --name lab")
    assert "VPCCTL" not in host.sh("iptables-save", "lab")
    host.sh("ip netns del inner; ip netns del lab")


def check(host: Host) -> None:
    """The policy decides about what it forwards, by the port and the far end that its link sees."""
    assert "inner" in host.reaches("vpc1-private", "10.0.1.4:8080")[0].answer
    host.never_reaches("", "10.0.1.4:8080")
    host.reaches("inner", "10.0.2.2:80")
    host.never_reaches("inner", "10.0.2.2:81", "10.0.1.2")
    # What stays inside is its owner's.
    host.reaches("inner", "192.168.99.1")
    host.reaches("lab", "192.168.99.2:80", "127.0.0.1")


def test_its_policy_decides_about_what_it_forwards(nested: Host) -> None:
    nested.reaches("", "10.0.1.4:8080")
    nested.reaches("inner", "10.0.2.2:81", "10.0.1.2")
    nested.do(f"firewall apply {AT} --policy", nested.write("policy.json", POLICY))
    check(nested)
    shown = nested.do(f"firewall show {AT} --instance lab --json").json["firewall"]["counters"]
    assert shown["ingress[0]"]["packets"] == 1
    assert shown["egress[0]"]["packets"] == 1
    assert nested.do("status").out == "in sync\n"
    nested.do(f"firewall clear {AT}")
    nested.reaches("inner", "10.0.2.2:81")
    tidy(nested)


def test_its_groups_decide_likewise(nested: Host) -> None:
    allow = {"port": 8080, "protocol": "tcp", "action": "allow", "source": "group:web"}
    nested.do("group create --vpc vpc1 --name web")
    nested.do("group create --vpc vpc1 --name data")
    file = nested.write("data.json", {"ingress": [allow]})
    nested.do(f"group apply --vpc vpc1 --name data --policy {file}")
    nested.do(f"group join {AT} --instance lab --name data")
    nested.never_reaches("vpc1-private", "10.0.1.4:8080")
    nested.do("group join --vpc vpc1 --subnet private --name web")
    assert "inner" in nested.reaches("vpc1-private", "10.0.1.4:8080")[0].answer
    nested.never_reaches("vpc1-public", "10.0.1.4:8080")
    nested.reaches("inner", "10.0.1.2")
    tidy(nested)


def as_before(host: Host) -> None:
    """As an older vpcctl left it: its rules are for what ends and begins there only."""
    host.sh("iptables-save -t mangle | sed 's/^-A PREROUTING /-A INPUT /; s/^-A POSTROUTING /-A OUTPUT /' "
            "| iptables-restore", "lab")
    record = host.state()
    places = {"PREROUTING": "INPUT", "POSTROUTING": "OUTPUT"}
    for line in record["ledger"]:
        if line["kind"] == "rule" and line.get("namespace") == "vpc1-public.lab":
            line["chain"] = places[line["chain"]]
    host.sh(f"cat >{STATE} <<'END'\n{json.dumps(record)}\nEND\n")


@pytest.mark.parametrize("mend", ["restore", "subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24",
                                  "restore --from-kernel"])
def test_what_an_older_vpcctl_made_is_mended(nested: Host, mend: str) -> None:
    nested.do(f"firewall apply {AT} --policy", nested.write("policy.json", POLICY))
    as_before(nested)
    nested.reaches("inner", "10.0.2.2:81")
    if "kernel" in mend:
        nested.sh(f"rm {STATE} {STATE}.bak")
    else:
        assert nested.vpcctl("status").code == 1
    nested.do(mend)
    assert nested.do("status").out == "in sync\n"
    check(nested)
    tidy(nested)
