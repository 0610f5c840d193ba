"""Stopping: what vpcctl started, with its children, and what is in the way; never anything else."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from host import CHECKOUT, Host

RUN = "deploy run --vpc vpc1 --subnet public --name worker -- sh -c"
STOP = "deploy stop --vpc vpc1 --subnet public --name worker"


LAST_WORDS = """
import signal, socket, sys, time
def clean_up(*_):
    time.sleep(0.3)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"cleaned", ("10.0.2.2", 777))
    sys.exit()
signal.signal(signal.SIGTERM, clean_up)
signal.pause()
"""


def pids(host: Host, namespace: str) -> list[int]:
    return [int(word) for word in host.sh(f"ip netns pids {namespace}").split()]


def pid_of(host: Host, name: str = "worker") -> int:
    listed = host.do("deploy list --json").json["workloads"]
    return int(next(one["pid"] for one in listed if one["name"] == name))


def test_stop(vpc1: Host) -> None:
    vpc1.do(RUN, "exec sleep infinity")
    vpc1.do(STOP)
    before = vpc1.portrait()
    vpc1.do(RUN, "exec sleep infinity")
    vpc1.do(STOP)
    vpc1.check_same(before)
    assert vpc1.do("deploy list --json").json["workloads"] == []
    vpc1.refused(STOP, says="workload 'worker' does not exist")


@pytest.mark.parametrize("script", [
    "sleep 1000 & sleep 1001 & wait", "(sleep 1000 &) ; sleep 1001", "setsid sleep 1000 & exec sleep 1001",
    "setsid sh -c 'trap \"\" HUP; sleep 1000; :' & sleep 1001; :",
])
def test_its_children_end_too(vpc1: Host, script: str) -> None:
    vpc1.do(RUN, script)
    vpc1.wait_until(lambda: len(pids(vpc1, "vpc1-public")) >= 2, "the children run")
    vpc1.do(STOP)
    assert pids(vpc1, "vpc1-public") == []


def test_its_children_end_too_when_it_has_died(vpc1: Host) -> None:
    vpc1.do(RUN, "sleep 1000 & sleep 1001; :")
    vpc1.wait_until(lambda: len(pids(vpc1, "vpc1-public")) == 4, "the children run")
    vpc1.sh(f"kill -9 {pid_of(vpc1)}")
    vpc1.do(STOP)
    assert pids(vpc1, "vpc1-public") == []


def test_one_that_ignores_term_is_killed(vpc1: Host) -> None:
    vpc1.do(RUN, "trap '' TERM; while :; do sleep 1000; done")
    vpc1.do(STOP)
    assert pids(vpc1, "vpc1-public") == []


def test_one_that_obeys_has_time_to_clean_up(vpc1: Host) -> None:
    heard = vpc1.scratch / "heard"
    vpc1.start("vpc1-private", "tcpdump", "-l", "-n", "-i", "eth0", "udp", output=str(heard))
    vpc1.wait_until(lambda: "listening" in heard.read_text(), "it listens")
    vpc1.do("deploy run --vpc vpc1 --subnet public --name worker -- /usr/bin/python3 -c", LAST_WORDS)
    vpc1.do(STOP)
    vpc1.wait_until(lambda: "10.0.2.2.777" in heard.read_text(), "its last words are heard")


def test_others_in_the_subnet_go_on(vpc1: Host) -> None:
    vpc1.do(RUN, "exec sleep infinity")
    vpc1.do("deploy webserver --vpc vpc1 --subnet public --port 80")
    mine = vpc1.start("vpc1-public", "sleep", "infinity")
    vpc1.do(STOP)
    assert vpc1.alive(mine)
    vpc1.reaches("", "10.0.1.2:80")
    vpc1.stop(mine)


LINGER = f"""
import os, sys, time
sys.path.insert(0, {str(CHECKOUT)!r})
from vpcctl_lib.kernel import syscalls
syscalls.join("/proc/" + sys.argv[1] + "/ns/pid", syscalls.Namespace.PID)
child = os.posix_spawnp("sleep", ["sleep", "infinity"], os.environ)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
print("held", flush=True)
time.sleep(1)
"""
"""Keeps a keeper on its way out: process 1 goes when all others of its namespace have been reaped."""

UNTIL_JOINED = "while set -- /proc/[0-9]*; [ $# -lt 3 ]; do sleep 0.01; done; exit 3"


def test_one_that_is_on_its_way_out_is_waited_for(vpc1: Host) -> None:
    vpc1.do(RUN, UNTIL_JOINED)
    keeper = vpc1.sh(f"ps -o ppid= -p {pid_of(vpc1)}").strip()
    held = vpc1.scratch / "held"
    vpc1.start("", sys.executable, "-c", LINGER, keeper, output=str(held))
    vpc1.wait_until(lambda: "held" in held.read_text(), "the program has ended, and its keeper lingers")
    assert vpc1.alive(int(keeper))
    vpc1.do(STOP)
    assert not vpc1.alive(int(keeper))


def edit(host: Host, **facts: str) -> None:
    """Change what is recorded of who runs the workload."""
    state: dict[str, Any] = host.state()
    for line in state["ledger"]:
        if line["kind"] == "program":
            line["found"].update(facts)
    host.run("tee", "/var/lib/vpcctl/state.json", stdin=json.dumps(state))


@pytest.mark.parametrize("facts", [{"start": "1"}, {"boot": "another"}])
def test_a_pid_that_is_another_s_now_is_left_alone(vpc1: Host, facts: dict[str, str]) -> None:
    """The record's pid belongs to somebody else: outside our namespaces, or inside with no mark of ours."""
    vpc1.do(RUN, "exec sleep infinity")
    real = pid_of(vpc1)
    strangers = [vpc1.start("", "sleep", "infinity"), vpc1.start("vpc1-public", "sleep", "infinity")]
    for stranger in strangers:
        edit(vpc1, pid=str(stranger), **facts)
        listed = vpc1.do("deploy list --json").json["workloads"][0]
        assert (listed["state"], listed["pid"]) == ("stopped", None)
    vpc1.do(STOP)
    assert [vpc1.alive(stranger) for stranger in strangers] == [True, True]
    assert not vpc1.alive(real), "known by its mark, whatever pid was recorded"
    vpc1.stop(*strangers)


def test_a_right_pid_outside_of_our_namespace_is_left_alone(vpc1: Host) -> None:
    vpc1.do(RUN, "exec sleep infinity")
    stranger = vpc1.start("", "sleep", "infinity")
    start = vpc1.sh(f"cat /proc/{stranger}/stat").rpartition(")")[2].split()[19]
    edit(vpc1, pid=str(stranger), start=start)
    vpc1.do(STOP)
    assert vpc1.alive(stranger)
    vpc1.stop(stranger)


@pytest.mark.parametrize("command", ["vpc delete --name vpc1", "subnet delete --vpc vpc1 --name public"])
def test_deleting_stops_what_runs_there_and_only_that(vpc2: Host, command: str) -> None:
    web = "deploy webserver --port 80"
    vpc2.do(f"{web} --vpc vpc1 --subnet public")
    vpc2.do(f"{web} --vpc vpc1 --subnet private")
    vpc2.do(f"{web} --vpc vpc2 --subnet public")
    mine = pids(vpc2, "vpc1-public")
    done = vpc2.do(command)
    assert done.err == "", "nothing but our own was stopped"
    assert not any(vpc2.alive(pid) for pid in mine)
    vpc2.reaches("", "172.16.1.2:80")
    if "subnet" in command:
        vpc2.reaches("", "10.0.2.2:80")


def test_a_stranger_in_a_namespace_that_goes_is_stopped_and_told(vpc1: Host) -> None:
    inside = vpc1.start("vpc1-public", "sleep", "infinity")
    router = vpc1.start("vpc1", "sleep", "infinity")
    elsewhere = vpc1.start("vpc1-elsewhere", "sleep", "infinity")
    done = vpc1.do("vpc delete --name vpc1")
    assert f"sleep (pid {inside}), which ran in vpc1-public" in done.err
    assert f"(pid {router}), which ran in vpc1" in done.err
    assert [vpc1.alive(pid) for pid in (inside, router, elsewhere)] == [False, False, True]


def test_nothing_is_left_of_a_deleted_vpc_with_all_there_is(vpc2: Host) -> None:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    policy = vpc2.write("policy.json", {"ingress": [{"protocol": "all", "action": "allow"}], "egress": []})
    vpc2.do("firewall apply --vpc vpc1 --subnet public --policy", policy)
    vpc2.do(RUN, "sleep 1000 & exec sleep 1001")
    vpc2.do("deploy webserver --vpc vpc1 --subnet private --port 80")
    vpc2.do("vpc delete --name vpc1")
    vpc2.do("vpc delete --name vpc2")
    vpc2.check_clean()
    assert vpc2.sh("ls /var/lib/vpcctl").split() == ["lock", "state.json", "state.json.bak", "vpcctl.log"]


def test_deleting_twice_is_an_error_without_harm(vpc1: Host) -> None:
    vpc1.do("vpc delete --name vpc1")
    vpc1.refused("vpc delete --name vpc1", says="VPC 'vpc1' does not exist")


@pytest.mark.parametrize("gone", [
    "ip link del vpc-vpc1", "ip netns del vpc1-public", "ip netns del vpc1", "ip -n vpc1 link del br-vpc1",
    "ip -n vpc1 link del s-public", "iptables -t nat -F", "iptables -F VPCCTL-FORWARD",
    "rm -r /etc/netns/vpc1-public", "sysctl -qw net.ipv4.ip_forward=0",
    "iptables -D INPUT -m comment --comment vpcctl:host -j VPCCTL-INPUT",
])
def test_what_is_gone_already_is_no_failure(vpc1: Host, gone: str) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do(RUN, "exec sleep infinity")
    vpc1.sh(gone)
    vpc1.do("vpc delete --name vpc1")
    if "nat -F" in gone:
        vpc1.sh("iptables -t nat -A POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE")
    if "ip_forward" in gone:
        vpc1.sh("sysctl -qw net.ipv4.conf.all.accept_redirects=1")
