"""What can become of a workload's processes, and of others' in our namespaces."""

from __future__ import annotations

import json

from host import Host

RUN = "deploy run --vpc vpc1 --subnet public --name worker -- "


def worker(host: Host) -> int | None:
    (one,) = host.do("deploy list --json").json["workloads"]
    pid: int | None = one["pid"]
    return pid


def test_one_that_died_is_told_and_restored(vpc1: Host) -> None:
    vpc1.do(RUN + "sleep 1001")
    vpc1.sh(f"kill -9 {worker(vpc1)}")
    vpc1.wait_until(lambda: worker(vpc1) is None, "it is gone")
    assert "it is not running: signal KILL, " in vpc1.vpcctl("status").out
    (told,) = vpc1.vpcctl("status", "--json").json["status"]["stopped"]
    assert (told["name"], told["exit_code"], told["signal"]) == ("worker", 137, "KILL")
    vpc1.do("restore")
    assert vpc1.do("status --json").json["status"]["stopped"] == []
    assert worker(vpc1)


def test_a_reused_pid_is_nobody_of_ours(vpc1: Host) -> None:
    vpc1.do(RUN + "sleep 1001")
    other, state = vpc1.start("", "sleep", "1002"), vpc1.state()
    facts = next(line["found"] for line in state["ledger"] if line["kind"] == "program")
    mine = int(facts["pid"])
    facts["pid"] = str(other)
    vpc1.run("tee", "/var/lib/vpcctl/state.json", stdin=json.dumps(state))
    assert worker(vpc1) is None
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name worker")
    assert vpc1.alive(other)
    assert not vpc1.alive(mine)


def test_one_that_ignores_term_is_killed_with_all_its_children(vpc1: Host) -> None:
    script = "trap '' TERM; setsid sleep 1003 & (setsid sleep 1004 &) ; sleep 1005"
    vpc1.run("tee", "/etc/stubborn.sh", stdin=script)
    vpc1.do(RUN.replace("--name", "--stop-timeout 1s --name") + "sh /etc/stubborn.sh")
    vpc1.wait_until(lambda: len(vpc1.sh("pgrep -f 'sleep 100[345]' || true").split()) == 3, "all have begun")
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name worker")
    assert vpc1.sh("pgrep -f 'sleep 100[345]' || true; rm /etc/stubborn.sh") == ""


def test_one_whose_namespace_lost_its_name(vpc1: Host) -> None:
    vpc1.do(RUN + "sleep 1006")
    old = worker(vpc1)
    assert old
    vpc1.sh("ip netns del vpc1-public")
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    assert not vpc1.alive(old)


def test_others_in_our_namespace_are_stopped_by_a_delete_that_says_so(vpc1: Host) -> None:
    pid = vpc1.start("vpc1-private", "sleep", "1007")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do(RUN + "sh -c", "sleep 1009 & exec sleep 1010")
    assert vpc1.alive(pid)
    status = vpc1.do("status")
    assert status.out == "in sync\n"
    assert f"sleep (pid {pid}) runs in vpc1-private; vpcctl did not start it" in status.err
    assert vpc1.do("status --json").json["status"]["processes"] == [
        {"namespace": "vpc1-private", "pid": pid, "program": "sleep"}], "and none of the workload's"
    done = vpc1.do("subnet delete --vpc vpc1 --name private")
    assert f"stopped sleep (pid {pid})" in done.err
    assert not vpc1.alive(pid)


def test_who_only_holds_a_namespace_open_is_left_alone(vpc1: Host) -> None:
    pid = vpc1.start("", "sh", "-c", "exec sleep 1008 9</run/netns/vpc1-private")
    vpc1.do("vpc delete --name vpc1")
    assert vpc1.alive(pid)
