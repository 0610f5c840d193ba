"""Several machines in a subnet: each is reached, guarded, governed and removed as the subnet's own is."""

from __future__ import annotations

import json

import pytest
from host import Host

WEB1, WEB2, DB1 = "vpc1-public.web1", "vpc1-public.web2", "vpc1-private.db1"
POLICY = {"ingress": [{"protocol": "icmp", "action": "allow", "source": "10.0.1.0/24"}], "default": "deny"}


@pytest.fixture
def crowd(vpc1: Host) -> Host:
    """Two machines more in the public subnet, and one in the private."""
    file = vpc1.do("export --json").json["topology"]
    subnets = file["vpcs"]["vpc1"]["subnets"]
    subnets["public"]["instances"] = {"web1": {"workloads": {"worker": {"run": ["sleep", "infinity"]}}},
                                      "web2": {"address": ["10.0.1.5", "10.0.1.6"]}}
    subnets["private"]["instances"] = {"db1": {"address": "10.0.2.9"}}
    vpc1.do("apply -f -", stdin=json.dumps({**file, "version": 2}))
    return vpc1


def test_they_reach_each_other_both_ways_and_nobody_beyond(crowd: Host) -> None:
    crowd.reaches("vpc1-public", "10.0.1.4", "10.0.1.5", "10.0.1.6", "10.0.2.9")
    crowd.reaches(WEB1, "10.0.0.1", "10.0.1.2", "10.0.1.6", "10.0.2.9")
    crowd.reaches(DB1, "10.0.1.4", "10.0.1.5", "10.0.2.2")
    crowd.never_reaches(WEB1, "8.8.8.8", "172.16.1.2")


def arrived(host: Host) -> int:
    """How many packets in the name of web2 the public subnet's own machine has got."""
    return int(host.sh("iptables -nvxL INPUT | awk '/10.0.1.5/ { print $1 }'", "vpc1-public"))


def test_a_machine_sends_nothing_in_another_s_name(crowd: Host) -> None:
    # Counted where they would arrive: an answer goes to the real web2, whoever has asked.
    crowd.sh("iptables -I INPUT -s 10.0.1.5 -p icmp", "vpc1-public")
    crowd.sh("ip addr add 10.0.1.5/32 dev eth0; ping -q -c 3 -i 0.1 -W 1 -I 10.0.1.5 10.0.1.2 || true", WEB1)
    assert arrived(crowd) == 0
    crowd.sh("ping -q -c 3 -i 0.1 -W 1 -I 10.0.1.5 10.0.1.2", WEB2)
    assert arrived(crowd) == 3


def test_the_policy_of_a_subnet_is_that_of_each_machine(crowd: Host) -> None:
    file = crowd.write("policy.json", POLICY)
    crowd.do(f"firewall apply --vpc vpc1 --subnet public --policy {file}")
    crowd.reaches(WEB2, "10.0.1.2", "10.0.1.4")
    crowd.never_reaches(DB1, "10.0.1.2", "10.0.1.4", "10.0.1.5")
    crowd.do("firewall clear --vpc vpc1 --subnet public")
    crowd.reaches(DB1, "10.0.1.2", "10.0.1.4", "10.0.1.5")


def test_reach_speaks_of_machines(crowd: Host) -> None:
    view = crowd.do("reach --from vpc1/private/db1 --to vpc1/public/web1 --json").json["reach"]
    assert (view["verdict"], view["address"]) == ("reachable", "10.0.1.4")
    file = crowd.write("policy.json", POLICY)
    crowd.do(f"firewall apply --vpc vpc1 --subnet public --policy {file}")
    refused = crowd.vpcctl("reach", "--from", "vpc1/private/db1", "--to", "vpc1/public/web1", "--json")
    assert refused.json["reach"]["verdict"] == "unreachable"
    assert refused.json["reach"]["blocked_by"]["where"] == WEB1


def test_what_breaks_in_a_machine_is_seen_and_mended(crowd: Host) -> None:
    assert crowd.do("status --json").json["status"]["in_sync"]
    crowd.sh("ip addr flush dev eth0", WEB2)
    crowd.sh(f"ip netns del {DB1}")
    found = crowd.vpcctl("status", "--json").json["status"]
    assert not found["in_sync"]
    assert any(DB1 in str(one) for one in found["findings"])
    crowd.do("restore")
    crowd.reaches("vpc1-public", "10.0.1.6", "10.0.2.9")
    assert crowd.do("status --json").json["status"]["in_sync"]


def test_a_lost_record_has_them_again(crowd: Host) -> None:
    before = crowd.state()["topology"]
    crowd.sh("rm /var/lib/vpcctl/state.json /var/lib/vpcctl/state.json.bak")
    crowd.do("restore --from-kernel")
    assert crowd.state()["topology"]["vpcs"] == before["vpcs"]
    assert crowd.do("status --json").json["status"]["in_sync"]


def test_workloads_of_a_machine_go_with_it(crowd: Host) -> None:
    (one,) = crowd.do("deploy list --json").json["workloads"]
    assert one["state"] == "running"
    assert str(one["pid"]) in crowd.sh(f"ip netns pids {WEB1}").split()
    crowd.do("subnet delete --vpc vpc1 --name public")
    assert crowd.do("deploy list --json").json["workloads"] == []
    assert not crowd.alive(one["pid"])
    crowd.reaches(DB1, "10.0.2.2")


def test_a_file_moves_and_removes_them(crowd: Host) -> None:
    file = crowd.do("export --json").json["topology"]
    assert file["version"] == 2
    public = file["vpcs"]["vpc1"]["subnets"]["public"]
    assert public["instances"]["web1"]["address"] == "10.0.1.4"
    before = crowd.portrait()
    plan = crowd.do("apply --json -f -", stdin=json.dumps(file)).json["apply"]
    assert (plan["plan"], plan["changed"]) == ([], False)
    crowd.check_same(before)
    public["instances"]["web1"]["address"] = "10.0.1.44"
    del public["instances"]["web2"]
    crowd.do("apply -f -", stdin=json.dumps(file))
    crowd.reaches("vpc1-private", "10.0.1.44")
    crowd.never_reaches("vpc1-private", "10.0.1.4", "10.0.1.5")
    assert crowd.do("status --json").json["status"]["in_sync"]
    for subnet in file["vpcs"]["vpc1"]["subnets"].values():
        subnet.pop("instances", None)
    crowd.do("apply -f -", stdin=json.dumps({**file, "version": 1}))
    assert "." not in crowd.sh("ip netns")
    assert crowd.do("export --json").json["topology"]["version"] == 1
