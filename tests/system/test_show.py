"""`vpc show` tells all of a VPC, and the commands that it names show the same."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from host import Host

POLICY = {"ingress": [{"port": 8080, "protocol": "tcp", "action": "allow"},
                      {"protocol": "icmp", "action": "deny"}]}


@pytest.fixture
def full(vpc2: Host) -> Host:
    """A host whose vpc1 has one of each."""
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc2 --vpc2 vpc1")
    vpc2.do("firewall apply --vpc vpc1 --subnet public --policy", vpc2.write("policy.json", POLICY))
    vpc2.do("deploy webserver --vpc vpc1 --subnet public")
    vpc2.do("deploy run --vpc vpc1 --subnet private --name worker -- sleep infinity")
    return vpc2


def shown(host: Host, name: str = "vpc1", **environment: str) -> Any:
    return host.do(f"vpc show --name {name} --json", **environment).json["vpc"]


def test_addresses_routes_and_peerings(full: Host) -> None:
    view = shown(full)
    assert view["addresses"] == {"total": 65536, "in_subnets": 512, "free": 65024}
    assert [one["addresses"] for one in view["subnets"]] == 2 * [{"total": 256, "used": 3, "free": 253}]
    assert view["routes"] == [{"destination": "10.0.0.0/16", "target": "local"},
                              {"destination": "0.0.0.0/0", "target": "nat"},
                              {"destination": "172.16.0.0/16", "target": "pcx-vpc2"}]
    assert view["peerings"] == [{"vpc": "vpc2", "cidr": "172.16.0.0/16", "cidrs": [], "device": "pcx-vpc2"}]


def test_counters_count_real_packets(full: Host) -> None:
    full.reaches("vpc1-private", "10.0.1.2:8080")
    full.never_reaches("vpc1-private", "10.0.1.2")
    (policy,) = shown(full)["policies"]
    assert policy["subnet"] == "public"
    assert policy["policy"]["ingress"][0]["port"] == 8080
    assert policy["counters"]["ingress[0]"]["packets"] == 1
    assert policy["counters"]["ingress[1]"]["packets"] >= 1


def test_a_policys_counters_are_those_of_all_machines(full: Host) -> None:
    full.do("instance add --vpc vpc1 --subnet public --name web1")
    full.do("subnet add --vpc vpc1 --name range --cidr 10.0.3.0/24 --bare")
    full.do("instance add --vpc vpc1 --subnet range --name db1")
    full.do("firewall apply --vpc vpc1 --subnet range --policy", full.write("policy.json", POLICY))
    for space in ("vpc1-public.web1", "vpc1-range.db1"):
        full.listen(space, "8080")
    full.reaches("vpc1-private", "10.0.1.2:8080", "10.0.1.4:8080", "10.0.3.4:8080")
    view = shown(full)
    counted = {one["subnet"]: one["counters"]["ingress[0]"]["packets"] for one in view["policies"]}
    assert counted == {"public": 2, "range": 1}
    for one in view["policies"]:
        full.sh(one["see"])


def test_a_policy_that_no_machine_follows_is_named_as_such(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name db --cidr 10.0.2.0/24 --bare")
    host.do("group create --vpc vpc1 --name data")
    host.do("instance add --vpc vpc1 --subnet db --name db1 --group data")
    told = "all machines of vpc1/db are in groups, which decide about them"
    allow = "firewall allow --vpc vpc1 --subnet db --protocol tcp --port"
    assert told in host.do(f"{allow} 5432").err
    text = host.do("vpc show --name vpc1").out
    assert "\nPolicy of db: no machine follows it\n" in text
    assert "?" not in text
    host.do("group leave --vpc vpc1 --subnet db --instance db1 --name data")
    assert told not in host.do(f"{allow} 5433").err
    assert "\nPolicy of db: ip netns exec vpc1-db.db1 iptables -nvL\n" in host.do("vpc show --name vpc1").out


def test_workloads_and_whether_they_run(full: Host) -> None:
    workloads = {one["name"]: one for one in shown(full)["workloads"]}
    assert {name: one["state"] for name, one in workloads.items()} == {
        "webserver-8080": "running", "worker": "running"}
    full.sh(f"kill {workloads['worker']['pid']}")
    full.wait_until(lambda: {one["name"]: one["state"] for one in shown(full)["workloads"]} == {
        "webserver-8080": "running", "worker": "stopped"}, "the worker has stopped")


def test_every_command_that_it_names_can_be_typed(full: Host) -> None:
    view = shown(full)
    commands = [*view["see"].values(), *(one["see"] for one in (*view["policies"], *view["workloads"]))]
    told = {command: full.sh(command) for command in commands}
    assert all(told.values())
    assert "172.16.0.0/16 via 172.16.0.1 dev pcx-vpc2" in told["ip -n vpc1 route"]
    assert "10.0.1.0/24" in told["iptables -t nat -S VPCCTL-POSTROUTING"]
    assert "dpt:8080" in told["ip netns exec vpc1-public iptables -nvL"]
    pids = {str(one["pid"]) for one in view["workloads"]}
    listed = {*told["ip netns pids vpc1-public"].split(), *told["ip netns pids vpc1-private"].split()}
    keepers = {full.sh(f"ps -o ppid= -p {pid}").strip() for pid in pids}
    assert listed == pids | keepers
    printed = full.do("vpc show --name vpc1").out
    assert all(command in printed for command in commands)


def test_a_person_sees_all_of_it(full: Host) -> None:
    printed = full.do("vpc show --name vpc1").out
    for text in ("65536: 512 in subnets, 65024 free", "10.0.0.1 on br-vpc1", "0.0.0.0/0      nat", "pcx-vpc2",
                 "ingress[0]", "webserver-8080", "running", "http://10.0.1.2:8080"):
        assert text in printed
    assert "\x1b" not in printed


def test_without_root_counters_are_question_marks(full: Host, nobody: tuple[str, ...]) -> None:
    as_nobody = full.run(*nobody, "vpcctl", "vpc", "show", "--name", "vpc1")
    assert as_nobody.code == 0, as_nobody
    row = next(line for line in as_nobody.out.splitlines() if line.startswith("ingress[0]"))
    assert row.split()[-2:] == ["?", "?"]


def test_without_the_namespace_all_else_is_told(full: Host) -> None:
    # The first may take the others along.
    full.sh("ip netns del vpc1-private; ip netns pids vpc1-public | xargs kill || true")
    full.sh("ip netns del vpc1-public")
    view = shown(full)
    assert view["policies"][0]["counters"] == {}
    assert {one["state"] for one in view["workloads"]} <= {"running", "stopped"}
    full.do("restore")


def test_an_empty_vpc(host: Host) -> None:
    host.do("vpc create --name bare --cidr 10.9.0.0/24")
    view = shown(host, "bare")
    assert view["addresses"] == {"total": 256, "in_subnets": 0, "free": 256}
    assert (view["policies"], view["workloads"], view["peerings"], view["subnets"]) == ([], [], [], [])
    assert shlex.split(view["see"]["routes"]) == ["ip", "-n", "bare", "route"]
    assert "bare" in host.do("vpc show --name bare").out
