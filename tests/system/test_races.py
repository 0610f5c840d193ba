"""Many at once: one lock across check, plan and apply; readers never wait, nor see half of a change."""

from __future__ import annotations

import json
import re
import sys

import pytest
from host import Host
from test_limits import FREE, LIMITED, check_limited
from test_mirrors import sent

STORE = "/var/lib/vpcctl"
HOLD = "import fcntl, sys, time; file = open(sys.argv[1], 'a+'); fcntl.flock(file, fcntl.LOCK_EX); "


@pytest.mark.long
def test_fifty_subnets_at_once_are_all_there(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.sh("""
        for n in $(seq 1 50); do
            vpcctl subnet add --vpc vpc1 --name s$n --cidr 10.0.$n.0/24 & jobs="$jobs $!"
        done
        for job in $jobs; do wait $job; done""")
    assert len(host.do("subnet list --json").json["subnets"]) == 50
    assert host.do("status").out == "in sync\n"


def test_ten_machines_join_and_leave_at_once(host: Host) -> None:
    """Each of them is a change of the same sets, beside a change of the group's rules."""
    rule = {"protocol": "icmp", "action": "allow", "source": "group:g"}
    instances = {f"m{number}": {"groups": [] if number % 2 else ["g"]} for number in range(10)}
    host.do("apply -f -", stdin=json.dumps({"version": 2, "vpcs": {"vpc1": {
        "cidr": "10.0.0.0/16", "groups": {"g": {"ingress": [rule]}},
        "subnets": {"s": {"cidr": "10.0.1.0/24", "bare": True, "instances": instances}}}}}))
    file = host.write("group.json", {"ingress": [rule, {**rule, "protocol": "tcp", "port": 80}]})
    host.sh(f"""
        for n in 0 1 2 3 4 5 6 7 8 9; do
            [ $((n % 2)) = 1 ] && verb=join || verb=leave
            vpcctl group $verb --vpc vpc1 --subnet s --instance m$n --name g & jobs="$jobs $!"
        done
        vpcctl group apply --vpc vpc1 --name g --policy {file} & jobs="$jobs $!"
        for job in $jobs; do wait $job; done""")
    (group,) = host.do("group list --json").json["groups"]
    assert group["members"] == [f"vpc1/s/m{number}" for number in (1, 3, 5, 7, 9)]
    assert host.do("status").out == "in sync\n"
    host.reaches("vpc1-s.m1", "10.0.1.7", "10.0.1.13")
    host.never_reaches("vpc1-s.m0", "10.0.1.5")


def test_network_acls_and_machines_at_once(host: Host) -> None:
    """Machines come and go behind an ACL while its rules change, and subnets get and lose it."""
    host.do("apply -f -", stdin=json.dumps({"version": 2, "vpcs": {"vpc1": {
        "cidr": "10.0.0.0/16", "acls": {"a": {"ingress": [], "egress": []}}, "subnets": {
            **{f"s{number}": {"cidr": f"10.0.{number}.0/24", **({"acl": "a"} if number % 2 else {})}
               for number in range(1, 7)}}}}}))
    open_ = [{"number": 100, "protocol": "icmp", "action": "allow"}]
    file = host.write("acl.json", {"ingress": open_, "egress": open_})
    host.sh(f"""
        for n in 1 2 3 4 5 6; do
            [ $((n % 2)) = 0 ] && verb="associate --name a" || verb=dissociate
            vpcctl acl $verb --vpc vpc1 --subnet s$n & jobs="$jobs $!"
            vpcctl instance add --vpc vpc1 --subnet s$n --name m & jobs="$jobs $!"
        done
        vpcctl acl apply --vpc vpc1 --name a --rules {file} & jobs="$jobs $!"
        for job in $jobs; do wait $job; done""")
    (acl,) = host.do("acl list --json").json["acls"]
    assert acl["subnets"] == ["s2", "s4", "s6"]
    assert host.do("status").out == "in sync\n"
    for space in ("vpc1-s1.m", "vpc1-s2.m"):
        host.listen(space, "80")
    host.reaches("vpc1-s3.m", "10.0.2.4", "10.0.4.2", "10.0.1.4:80")
    host.never_reaches("vpc1-s3.m", "10.0.2.4:80")


def test_routes_of_both_families_and_machines_at_once(host: Host) -> None:
    """Subnets get and lose a table while it gets and loses routes, and machines come behind it."""
    near, far, old = "fd00:0:0:100::/56", "fd00:0:0:200::/56", "fd00:0:0:300::/64"
    host.do("apply -f -", stdin=json.dumps({"version": 2, "vpcs": {
        "vpc1": {"cidr": "10.0.0.0/16", "ipv6": near,
                 "route_tables": {"app": {"routes": {old: "blackhole"}}}, "subnets": {
                     f"s{number}": {"cidr": f"10.0.{number}.0/24", "ipv6": f"fd00:0:0:10{number}::/64",
                                    **({"route_table": "app"} if number % 2 else {})}
                     for number in range(1, 5)}},
        "vpc2": {"cidr": "10.2.0.0/16", "ipv6": far, "subnets": {
            "s": {"cidr": "10.2.1.0/24", "ipv6": "fd00:0:0:201::/64"},
            "t": {"cidr": "10.2.2.0/24", "ipv6": "fd00:0:0:202::/64"}}}},
        "peerings": [["vpc1", "vpc2"]]}))
    host.sh(f"""
        for n in 1 2 3 4; do
            [ $((n % 2)) = 0 ] && verb="associate --name app" || verb=dissociate
            vpcctl route-table $verb --vpc vpc1 --subnet s$n & jobs="$jobs $!"
            vpcctl instance add --vpc vpc1 --subnet s$n --name m & jobs="$jobs $!"
        done
        route="--vpc vpc1 --name app --to"
        vpcctl route-table add-route $route fd00:0:0:201::/64 --via peer:vpc2 & jobs="$jobs $!"
        vpcctl route-table add-route $route 10.2.2.0/24 --via peer:vpc2 & jobs="$jobs $!"
        vpcctl route-table delete-route $route {old} & jobs="$jobs $!"
        for job in $jobs; do wait $job; done""")
    assert host.do("status").out == "in sync\n"
    led, free = (("vpc1-s2", "vpc1-s2.m", "vpc1-s4.m"), ("vpc1-s1", "vpc1-s3.m"))
    for space in led:
        host.reaches(space, "fd00:0:0:201::2", "10.2.2.2")
        host.never_reaches(space, "fd00:0:0:202::2", "10.2.1.2")
    for space in free:
        host.reaches(space, "fd00:0:0:201::2", "fd00:0:0:202::2", "10.2.1.2", "10.2.2.2")


@pytest.mark.parametrize("commands", [
    "vpc set --name vpc1 --no-ipv6 & vpcctl route-table add-route {}",
    "route-table add-route {} & vpcctl vpc set --name vpc1 --no-ipv6"], ids=["none-first", "route-first"])
def test_a_route_of_ipv6_comes_or_ipv6_goes(vpc1: Host, commands: str) -> None:
    """Of two commands that exclude each other, the second is refused."""
    vpc1.do("vpc set --name vpc1 --ipv6 auto")
    vpc1.do("route-table create --vpc vpc1 --name app")
    route = "--vpc vpc1 --name app --to ::/0 --via blackhole"
    told = vpc1.sh(f"{{ vpcctl {commands.format(route)}; wait; }} 2>&1 || true")
    refused = told.count("has no IPv6") + told.count("is in use")
    assert refused == 1, told
    assert ("leads ::/0 to blackhole" in told) != ("now has 10.0.0.0/16\n" in told)
    assert vpc1.do("status").out == "in sync\n"


def test_names_leases_and_machines_at_once(host: Host) -> None:
    """The server is started once, stopped and started by others, and knows what all of them left."""
    subnets = {"s": {"cidr": "10.0.1.0/24", "instances": {"gone": {}}}}
    host.do("apply -f -", stdin=json.dumps({"version": 2, "vpcs": {
        "vpc1": {"cidr": "10.0.0.0/16", "dns": {"records": {"old": "10.0.1.9"}}, "subnets": subnets},
        "vpc2": {"cidr": "10.2.0.0/16", "subnets": {"s": {"cidr": "10.2.1.0/24"}}}}}))
    host.sh("""
        for n in 1 2 3 4; do
            vpcctl instance add --vpc vpc1 --subnet s --name m$n & jobs="$jobs $!"
            vpcctl dns add --vpc vpc1 --name r$n --address 10.0.1.10$n & jobs="$jobs $!"
        done
        vpcctl dns delete --vpc vpc1 --name old & jobs="$jobs $!"
        vpcctl instance delete --vpc vpc1 --subnet s --name gone & jobs="$jobs $!"
        vpcctl dhcp enable --vpc vpc1 & jobs="$jobs $!"
        vpcctl dns enable --vpc vpc2 & jobs="$jobs $!"
        vpcctl dns enable --vpc vpc2 --domain corp.internal & jobs="$jobs $!"
        vpcctl peer create --vpc1 vpc1 --vpc2 vpc2 & jobs="$jobs $!"
        for job in $jobs; do wait $job; done""")
    assert host.do("status").out == "in sync\n"
    assert host.sh("ip netns pids vpc1 | xargs ps -o comm= -p | grep -c dnsmasq") == "1\n"
    machines = {one["name"]: one["address"] for one in host.do("instance list --json").json["instances"]}
    assert set(machines) == {"m1", "m2", "m3", "m4"}
    known = {**{f"{name}.s.vpc1.internal": address for name, address in machines.items()},
             **{f"r{number}.vpc1.internal": f"10.0.1.10{number}" for number in range(1, 5)}}
    found = dict(line.split()[1::-1] for line in host.sh(f"getent hosts {' '.join(known)}", "vpc1-s")
                 .splitlines())
    assert found == known
    for name in ("old", "gone.s"):
        assert host.inside("vpc1-s", "getent", "hosts", f"{name}.vpc1.internal").code == 2
    (ending,) = [vpc["dns"]["domain"] for vpc in host.do("vpc list --json").json["vpcs"]
                 if vpc["name"] == "vpc2"]
    assert host.sh(f"getent hosts s.{ending}", "vpc1-s").split()[0] == "10.2.1.2"
    leases = host.sh("cat /run/vpcctl/vpc1.dhcp/hosts")
    assert all(f",{address},{name}\n" in leases for name, address in machines.items())


def test_flow_logs_and_machines_at_once(host: Host) -> None:
    """One collector, which knows what all of them left."""
    host.do("apply -f -", stdin=json.dumps({"version": 2, "vpcs": {
        "vpc1": {"cidr": "10.0.0.0/16", "subnets": {"s": {"cidr": "10.0.1.0/24", "instances": {"gone": {}}}}},
        "vpc2": {"cidr": "10.2.0.0/16", "subnets": {"s": {"cidr": "10.2.1.0/24"}}}}}))
    host.sh("""
        for n in 1 2 3 4; do
            vpcctl instance add --vpc vpc1 --subnet s --name m$n & jobs="$jobs $!"
        done
        for vpc in vpc1 vpc2; do
            vpcctl flow-log create --vpc $vpc --interval 1 --format json & jobs="$jobs $!"
            vpcctl flow-log create --vpc $vpc --subnet s --traffic reject & jobs="$jobs $!"
            vpcctl firewall allow --vpc $vpc --subnet s --protocol icmp & jobs="$jobs $!"
        done
        vpcctl instance delete --vpc vpc1 --subnet s --name gone & jobs="$jobs $!"
        for job in $jobs; do wait $job; done""")
    assert host.do("status").out == "in sync\n"
    assert len(host.sh("ip netns pids vpcctl.flow-logs").split()) == 2
    logs = {(one["vpc"], one["subnet"]): one for one in host.do("flow-log list --json").json["flow_logs"]}
    assert set(logs) == {(vpc, subnet) for vpc in ("vpc1", "vpc2") for subnet in (None, "s")}
    machines = {one["machine"] for one in logs["vpc1", None]["interfaces"]}
    assert machines == {"vpc1/s", *(f"vpc1/s/m{number}" for number in range(1, 5))}
    host.wait_until(lambda: machines == {json.loads(line)["machine"] for line in host.do(
        "flow-log show --vpc vpc1").out.splitlines()} - {"vpc1/s/gone"}, "no record of some machine")


def test_mirrors_limits_and_machines_at_once(vpc1: Host) -> None:
    """Each mirror has a number of its own, and each port its limit and its copies."""
    for name in ("web1", "web2", "gone"):
        vpc1.do(f"instance add --vpc vpc1 --subnet public --name {name}")
    vpc1.do("mirror create --vpc vpc1 --subnet public --instance web1 --to public")
    vpc1.do("mirror create --vpc vpc1 --subnet public --instance gone --to private")
    vpc1.sh("""
        for name in web1 web2; do
            vpcctl mirror create --vpc vpc1 --subnet public --instance $name --to private & jobs="$jobs $!"
            vpcctl instance set --vpc vpc1 --subnet public --name $name --bandwidth 100mbit & jobs="$jobs $!"
            vpcctl instance add --vpc vpc1 --subnet private --name $name & jobs="$jobs $!"
        done
        vpcctl mirror create --vpc vpc1 --subnet private --to public --plain & jobs="$jobs $!"
        vpcctl mirror delete --vpc vpc1 --subnet public --instance web1 --to public & jobs="$jobs $!"
        vpcctl instance delete --vpc vpc1 --subnet public --name gone & jobs="$jobs $!"
        for job in $jobs; do wait $job; done""")
    assert vpc1.do("status").out == "in sync\n"
    found = {(one["subnet"], one["instance"]): one for one in vpc1.do("mirror list --json").json["mirrors"]}
    ways = {(subnet, name): one["to"] for (subnet, name), one in found.items()}
    assert ways == {("public", "web1"): "private", ("public", "web2"): "private", ("private", None): "public"}
    numbers = {place: one["vni"] for place, one in found.items()}
    assert len({*numbers.values()}) == 3
    for name in ("web1", "web2"):
        before = {place: sent(vpc1, number) for place, number in numbers.items()}
        vpc1.reaches(f"vpc1-public.{name}", "10.0.1.2")
        grown = {place: sent(vpc1, number) - before[place] for place, number in numbers.items()}
        assert grown == {**dict.fromkeys(grown, 0), ("public", name): 2}
    check_limited(vpc1, (LIMITED, FREE))
    check_limited(vpc1, (FREE, LIMITED))


@pytest.mark.parametrize("amount", ["50mbit", "none"])
def test_a_limit_is_what_the_last_one_set(vpc1: Host, amount: str) -> None:
    """There is one, or none, and the mirror stays."""
    vpc1.do("mirror create --vpc vpc1 --subnet public --to private")
    vpc1.sh("""
        for rate in 100mbit none 1gbit none 20mbit; do
            vpcctl instance set --vpc vpc1 --subnet public --bandwidth $rate & jobs="$jobs $!"
        done
        for job in $jobs; do wait $job; done""")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.do(f"instance set --vpc vpc1 --subnet public --bandwidth {amount}")
    assert vpc1.do("status").out == "in sync\n"
    assert vpc1.sh("tc qdisc show dev s-public | grep -c tbf || true", "vpc1") == f"{int(amount != 'none')}\n"
    before = sent(vpc1, 1)
    vpc1.reaches("vpc1-public", "10.0.2.2")
    assert sent(vpc1, 1) == before + 2


@pytest.mark.parametrize("commands", ["dns disable --vpc vpc1 & vpcctl dhcp enable --vpc vpc1",
                                      "dhcp enable --vpc vpc1 & vpcctl dns disable --vpc vpc1"])
def test_dns_goes_or_dhcp_comes(vpc1: Host, commands: str) -> None:
    """Of two commands that exclude each other, the second is refused."""
    vpc1.do("dns enable --vpc vpc1")
    told = vpc1.sh(f"{{ vpcctl {commands}; wait; }} 2>&1 || true")
    assert told.count("can't have DHCP without DNS") == 1
    assert ("DNS disabled" in told) != ("DHCP enabled" in told)
    assert vpc1.do("status").out == "in sync\n"


def test_of_two_creates_of_one_name_one_creates(host: Host) -> None:
    told = host.sh("""
        vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16 & vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
        wait $!""")
    assert told.count("created") == 1
    assert told.count("unchanged") == 1


def test_readers_see_whole_states_only_and_never_wait(host: Host) -> None:
    host.sh("""
        (for n in 1 2 3 4; do vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16; vpcctl vpc delete --name vpc1
        done) >/dev/null & writer=$!
        while kill -0 $writer 2>/dev/null; do vpcctl vpc list --json >> /run/seen; echo >> /run/seen; done""")
    decoder, text, seen = json.JSONDecoder(), host.sh("cat /run/seen; rm /run/seen").strip(), []
    while text:
        document, end = decoder.raw_decode(text)
        seen.append(document["vpcs"])
        text = text[end:].strip()
    assert seen
    assert {len(vpcs) for vpcs in seen} <= {0, 1}


def test_a_reader_does_not_wait_for_the_lock_and_a_dead_holder_is_no_problem(vpc1: Host) -> None:
    pid = vpc1.start("", sys.executable, "-c", HOLD + "time.sleep(600)", f"{STORE}/lock")
    vpc1.wait_until(lambda: vpc1.run("flock", "-n", f"{STORE}/lock", "true").code != 0, "the lock is held")
    assert vpc1.do("vpc list").out
    vpc1.stop(pid)
    vpc1.sh(f"echo 999999 > {STORE}/lock")
    vpc1.do("subnet add --vpc vpc1 --name more --cidr 10.0.3.0/24")


def test_what_is_under_way_does_not_show(vpc1: Host) -> None:
    state = vpc1.state()
    changed = {**state, "previous": state["topology"], "topology": {}}
    vpc1.run("tee", f"{STORE}/state.json", stdin=json.dumps(changed))
    assert [vpc["name"] for vpc in vpc1.do("vpc list --json").json["vpcs"]] == ["vpc1"]
    vpc1.run("tee", f"{STORE}/state.json", stdin=json.dumps(state))


def test_a_delete_waits_for_a_tool_of_another_vpcctl(vpc1: Host) -> None:
    told = vpc1.scratch / "told"
    tool = vpc1.start("vpc1-public", "env", "VPCCTL_TOOL=1", "sh", "-c", f"sleep 0.7; echo whole >>{told}")
    done = vpc1.do("vpc delete --name vpc1")
    assert "stopped" not in done.err
    assert not vpc1.alive(tool)
    assert told.read_text() == "whole\n"


def test_a_status_beside_a_delete_is_left_alone(host: Host) -> None:
    told = host.scratch / "statuses"
    subnets = {f"s{number}": {"cidr": f"10.0.{number}.0/24"} for number in range(12)}
    pid = host.start("", "sh", "-c", f"while [ ! -e {told}.end ]; do vpcctl status >>{told} 2>&1; "
                                     f"echo exit $? >>{told}; done; echo ended >>{told}")
    for name in ("one", "two", "three", "four"):
        network = {"version": 1, "vpcs": {name: {"cidr": "10.0.0.0/16", "subnets": subnets}}}
        host.do("apply -f", host.write("network.json", network))
        host.do("vpc delete --name", name)
    (host.scratch / "statuses.end").touch()
    host.wait_until(lambda: "ended" in told.read_text(), "the last status has ended")
    host.stop(pid)
    assert set(re.findall(r"exit (\d+)", told.read_text())) <= {"0", "1"}
    assert "Error" not in told.read_text()


def test_who_locks_the_folder_of_names_stops_nobody(host: Host) -> None:
    """Any user may open it, and `ip netns add` would wait for ever."""
    host.sh("mkdir -p /run/netns")
    holder = host.start("", "flock", "-F", "-x", "/run/netns", "sleep", "1000")
    try:
        look = "flock -n /run/netns true && echo free || echo held"
        host.wait_until(lambda: host.sh(look).strip() == "held", "the folder is locked")
        host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
        assert "vpc1" in host.sh("ip netns list").split()
    finally:
        host.stop(holder)
    host.do("vpc delete --name vpc1")


def test_elastic_addresses_and_ports_are_given_once(host: Host) -> None:
    host.do("vpc create --name a --cidr 10.0.0.0/16")
    host.do("subnet add --vpc a --name s --cidr 10.0.1.0/24 --type public")
    host.do("subnet add --vpc a --name t --cidr 10.0.2.0/24")
    host.do("eip pool add 198.51.100.0/28")
    host.sh("""
        for n in 1 2 3 4 5; do vpcctl eip allocate & jobs="$jobs $!"; done
        for job in $jobs; do wait $job; done""")
    assert [one["address"] for one in host.do("eip list --json").json["eips"]] == [
        f"198.51.100.{number}" for number in range(5)]
    host.sh("""
        for s in s t s t; do
            vpcctl publish add --vpc a --subnet $s --port 8080:80 2>/dev/null & jobs="$jobs $!"
        done
        for job in $jobs; do wait $job || true; done""")
    assert len(host.do("publish list --json").json["publishes"]) == 1
    host.do("status")
