"""Namespaces that others made, attached as machines: by path and by pid, and left as they were."""

from __future__ import annotations

import re

import pytest
import yaml
from frames import ARP, END, IPV4, REPLY, arp, ether, listen, names, send, udp
from host import CHECKOUT, Host

OTHER = "vpc1-public.lab"
AT = "--vpc vpc1 --subnet public"
LAB = f"instance attach {AT} --name lab --netns /run/netns/other --interface vpc0"
OWN_MAC, LAB_MAC = "02:10:0a:00:01:02", "02:10:0a:00:01:04"
POLICY = {"ingress": [{"protocol": "icmp", "action": "allow"},
                      {"port": "80-81", "protocol": "tcp", "action": "allow", "source": "10.0.1.0/24"}]}
MARKED = """
iptables -t mangle -A PREROUTING -i eth0 -j MARK --set-mark 0xff000001
iptables -A INPUT -i eth0 -m mark --mark 0xff000001
"""
THEIRS = """
iptables -A INPUT -p tcp --dport 81 -j REJECT
iptables -t mangle -A INPUT -p udp --dport 9 -j DROP
ip route add 192.0.2.0/24 dev lo
"""
INSIDE = "ip addr; ip route; ip rule; iptables-save | grep -v '^#'; sysctl -a 2>/dev/null | grep -v conntrack"


def apart(host: Host, *namespaces: str) -> int:
    """The pid of a process in a network namespace of its own, without a name."""
    pid = host.start("", "unshare", *namespaces, "sleep", "infinity")
    differs = f'[ "$(readlink /proc/{pid}/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
    host.wait_until(lambda: host.run("sh", "-c", differs).code == 0, "a namespace of its own")
    return pid


@pytest.fixture
def lab(vpc1: Host) -> Host:
    """The host's own namespace `other` is attached, with its own links, rules, routes and settings."""
    vpc1.do(LAB)
    return vpc1


def inside(host: Host) -> list[str]:
    """All that its owner has there."""
    shown = host.sh(INSIDE, "other").splitlines()
    return sorted(line for line in shown if not line.startswith((":", "*", "COMMIT", "kernel.", "fs.")))


def test_packets_go_both_ways_and_nothing_inside_changes(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh(THEIRS, "other")
    before = inside(vpc1)
    done = vpc1.do(LAB)
    assert done.out == "machine 'lab' attached to vpc1/public (10.0.1.4, vpc0 of /run/netns/other)\n"
    assert "resolv.conf stays its owner's; the name servers here are 8.8.8.8" in done.err
    assert vpc1.do(LAB).out.startswith("unchanged: machine 'lab' is already attached (10.0.1.4,")
    vpc1.listen("other", "80")
    vpc1.reaches("vpc1-public", "10.0.1.4", "10.0.1.4:80")
    vpc1.reaches("vpc1-private", "10.0.1.4:80")
    vpc1.reaches("", "10.0.1.4:80")
    vpc1.listen("vpc1-private", "80")
    vpc1.reaches("other", "10.0.0.1", "10.0.1.2", "10.0.2.2:80")
    assert vpc1.do("status").out == "in sync\n"
    done = vpc1.do(f"instance detach {AT} --name lab")
    assert done.err == "vpcctl: vpc1/public/lab is unplugged: /run/netns/other goes on without vpc0\n"
    assert done.out == "machine 'lab' detached from vpc1/public\n"
    assert inside(vpc1) == before
    vpc1.never_reaches("vpc1-public", "10.0.1.4")
    assert OTHER not in vpc1.sh("ip netns list")
    vpc1.sh("iptables -F INPUT; iptables -t mangle -F INPUT; ip route del 192.0.2.0/24 dev lo", "other")


def test_what_had_gone_does_not_go_on(vpc1: Host) -> None:
    vpc1.sh("ip netns add short")
    vpc1.do(f"instance attach {AT} --name short --netns /run/netns/short")
    vpc1.sh("ip netns del short")
    done = vpc1.do(f"instance detach {AT} --name short")
    assert done.err == "vpcctl: vpc1/public/short is unplugged: /run/netns/short had gone before\n"
    assert vpc1.do("status").out == "in sync\n"


def test_a_policy_is_beside_their_rules_and_both_decide(lab: Host) -> None:
    lab.sh("iptables -A INPUT -i vpc0 -p tcp --dport 81 -j DROP", "other")
    file = lab.write("policy.json", POLICY)
    lab.listen("other", "80", "81", "82")
    lab.do(f"firewall apply {AT} --policy {file}")
    lab.reaches("vpc1-public", "10.0.1.4", "10.0.1.4:80")
    lab.never_reaches("vpc1-public", "10.0.1.4:81", "10.0.1.4:82")
    lab.never_reaches("vpc1-private", "10.0.1.4:80")
    shown = lab.do(f"firewall show {AT} --instance lab --json").json["firewall"]["counters"]
    assert shown["ingress[0]"]["packets"] == 1
    assert shown["ingress[1]"]["packets"] > 1
    (public,) = [one for one in lab.do("vpc show --name vpc1 --json").json["vpc"]["policies"]
                 if one["subnet"] == "public"]
    assert public["counters"]["ingress[0]"]["packets"] == 1
    told = lab.vpcctl("reach", "--from", "vpc1/public", "--to", "vpc1/public/lab", "--port", "82", "--json")
    assert told.json["reach"]["blocked_by"]["code"] == "FIREWALL_DENY"
    assert "firewall apply" in told.json["reach"]["blocked_by"]["fix"]
    other = lab.vpcctl("reach", "--from", "vpc1/public", "--to", "vpc1/public/lab", "--port", "81", "--json")
    assert other.json["reach"]["blocked_by"]["fix"] == (
        f"ip netns exec {OTHER} iptables -D INPUT -i vpc0 -p tcp -m tcp --dport 81 -j DROP")
    lab.sh("iptables -t mangle -I PREROUTING -j ACCEPT", "other")
    assert "other rules stand before it" in lab.vpcctl("status").out
    lab.do("restore")
    assert lab.do("status").out == "in sync\n"
    lab.never_reaches("vpc1-public", "10.0.1.4:82")
    lab.do(f"firewall clear {AT}")
    lab.reaches("vpc1-public", "10.0.1.4:82")
    theirs = ("-t filter -D INPUT -i vpc0 -p tcp --dport 81 -j DROP", "-t mangle -D PREROUTING -j ACCEPT")
    lab.sh("".join(f"iptables {rule}\n" for rule in theirs), "other")


@pytest.mark.parametrize(("line", "says"), [
    (f"instance attach {AT} --name two --netns /run/netns/other --interface vpc1",
     "that network namespace belongs to vpc1/public/lab already"),
    (f"instance attach {AT} --name two --netns /run/netns/vpc1-private --interface vpc1",
     "that network namespace belongs to vpc1/private already"),
    (f"instance attach {AT} --name two --pid 1", "that is the network namespace of the host itself"),
    (f"instance attach {AT} --name two --netns /proc/self/ns/net", "that is the network namespace of the"),
    (f"instance attach {AT} --name two --netns /etc/hosts", "/etc/hosts is not a network namespace"),
    (f"instance attach {AT} --name two --netns /proc/self/ns/mnt", "/proc/self/ns/mnt is not a network"),
    (f"instance attach {AT} --name two --netns /run/netns/internet --interface lo", "can't be the name"),
    (f"instance attach {AT} --name two --netns /run/netns/none", "/run/netns/none is not a network"),
    (f"instance attach {AT} --name two --pid 999999", "process 999999 does not exist"),
    (f"instance attach {AT} --name lab --netns /run/netns/internet", "machine 'lab' already exists"),
    (f"{LAB} --group web", "attached to /run/netns/other by vpc0, has 10.0.1.4, and is in no group"),
    (f"instance add {AT} --name lab", "machine 'lab' already exists in vpc1/public, attached to"),
    (f"instance attach {AT} --name two --netns /run/netns/internet --address 10.0.1.4", "10.0.1.4"),
    (f"instance detach {AT} --name own", "vpc1/public/own is not attached"),
    (f"deploy run {AT} --instance lab --name w -- sleep 9", "vpc1/public/lab is attached"),
])
def test_what_is_refused(lab: Host, line: str, says: str) -> None:
    if "own" in line:
        lab.do(f"instance add {AT} --name own")
    code = 2 if "can't be" in says or "10.0.1.4" in line else 1
    done = lab.vpcctl(*line.split())
    assert says in done.err, done
    assert done.code in (1, code)
    assert lab.do("status").out == "in sync\n"


def test_a_link_of_that_name_is_theirs(vpc1: Host) -> None:
    done = vpc1.refused(f"instance attach {AT} --name lab --netns /run/netns/other",
                        says="that network namespace already has a link 'eth0'")
    assert "--interface vpc0" in done.err
    done = vpc1.do(LAB)
    assert "its own default route stays (via 192.168.77.1 dev eth0)" in done.err
    vpc1.reaches("other", "10.0.1.2", "10.0.2.2")
    assert "192.168.77.1 dev eth0" in vpc1.sh("ip route get 9.9.9.9", "other")
    vpc1.do(f"instance delete {AT} --name lab")


def test_a_namespace_that_is_made_again_is_attached_again(vpc1: Host) -> None:
    vpc1.sh("ip netns add again")
    vpc1.do(f"instance attach {AT} --name again --netns /run/netns/again")
    file = vpc1.write("policy.json", POLICY)
    vpc1.do(f"firewall apply {AT} --policy {file}")
    vpc1.sh("ip netns del again; ip netns add again")
    found = vpc1.vpcctl("status")
    assert found.code == 1
    assert "/run/netns/again leads to another network namespace now" in found.out
    assert vpc1.do("instance list --json").json["instances"][0]["state"] == "gone"
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", "10.0.1.4")
    vpc1.sh("ip netns del vpc1-public.again")
    assert vpc1.do("instance list --json").json["instances"][0]["state"] == "missing"
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    assert vpc1.sh("iptables-save -t mangle | grep -c VPCCTL-IN$", "again") == "1\n"
    vpc1.reaches("vpc1-public", "10.0.1.4")
    vpc1.sh("ip netns del again; ip netns del vpc1-public.again")
    found = vpc1.vpcctl("status")
    assert "/run/netns/again leads to no network namespace" in found.out
    assert found.out.count("vpc1-public.again") == 1, "it is one thing that is gone"
    done = vpc1.vpcctl("restore")
    assert (done.code, "vpc1-public.again" in done.err) == (1, True)
    vpc1.sh("ip netns del vpc1-private")
    assert vpc1.vpcctl("restore").code == 1
    vpc1.reaches("vpc1-public", "10.0.2.2")
    vpc1.do("subnet add --vpc vpc1 --name more --cidr 10.0.9.0/24")
    vpc1.do(f"instance detach {AT} --name again")
    assert vpc1.do("status").out == "in sync\n"


def test_a_process_is_not_followed(vpc1: Host) -> None:
    pid = apart(vpc1, "--net")
    done = vpc1.do(f"instance attach {AT} --name job --pid {pid}")
    assert "a process that ends can't be followed" in done.err
    vpc1.reaches("vpc1-public", "10.0.1.4")
    vpc1.stop(pid)
    found = vpc1.vpcctl("status")
    assert (found.code, "a process that ended can't be followed" in found.out) == (1, True)
    assert vpc1.vpcctl("restore").code == 1
    vpc1.do("vpc delete --name vpc1")


def test_a_pid_that_has_another_namespace_is_not_attached_again(vpc1: Host) -> None:
    later = "while [ ! -e /run/go ]; do sleep 0.02; done; exec unshare --net sleep infinity"
    pid = vpc1.start("", "unshare", "--net", "sh", "-c", later)
    own = f'[ "$(readlink /proc/{pid}/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
    vpc1.wait_until(lambda: vpc1.run("sh", "-c", own).code == 0, "a namespace of its own")
    vpc1.do(f"instance attach {AT} --name job --pid {pid}")
    first = vpc1.sh(f"readlink /proc/{pid}/ns/net; ip netns del vpc1-public.job; touch /run/go").strip()
    vpc1.wait_until(lambda: vpc1.sh(f"readlink /proc/{pid}/ns/net").strip() != first, "another one")
    for command in ("status", "restore"):
        done = vpc1.vpcctl(command)
        assert (done.code, "is another process's now" in done.out + done.err) == (1, True), done
    assert vpc1.sh(f"nsenter --target {pid} --net ip -o link").count("\n") == 1, "only lo is there"
    vpc1.do(f"instance detach {AT} --name job")
    vpc1.sh("rm /run/go")


@pytest.mark.parametrize(("there", "says"), [
    ("/proc/1/ns/net", "that is the network namespace of the host itself"),
    ("/run/netns/vpc1-private", "that network namespace belongs to vpc1/private already"),
    ("/run/netns/other", "that network namespace already has a link 'eth0'")])
def test_a_path_that_its_owner_leads_elsewhere_is_not_followed(vpc1: Host, there: str, says: str) -> None:
    vpc1.sh("ip netns add lab; ln -s /run/netns/lab /run/way")
    vpc1.do(f"instance attach {AT} --name lab --netns /run/way")
    vpc1.sh(f"ln -sfn {there} /run/way; ip netns del vpc1-private" if "private" not in there else
            f"ln -sfn {there} /run/way")
    status = vpc1.vpcctl("status")
    assert (status.code, says in status.out) == (1, True), status
    done = vpc1.vpcctl("restore")
    assert (done.code, says in done.err) == (1, True), done
    vpc1.reaches("vpc1-public", "10.0.2.2", "10.0.1.4")
    again = vpc1.vpcctl(*f"instance attach {AT} --name lab --netns /run/way".split())
    assert (again.code, says in again.err) == (1, True), again
    vpc1.do(f"instance detach {AT} --name lab")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh("rm /run/way; ip netns del lab")


def test_a_link_of_ours_that_got_no_mark_is_no_stranger_s(lab: Host) -> None:
    lab.sh("ip link set vpc0 alias ''", "other")
    lab.sh("ip netns del vpc1-public.lab")
    lab.do("restore")
    lab.reaches("vpc1-public", "10.0.1.4")
    assert lab.do("status").out == "in sync\n"


def test_a_restore_that_is_killed_stops_no_later_command(vpc1: Host) -> None:
    killer = 'case "$*" in *-batch*) kill -9 $PPID; exit 1;; esac; exec /sbin/ip "$@"'
    vpc1.sh("ip netns add lab")
    vpc1.do(f"instance attach {AT} --name lab --netns /run/netns/lab")
    vpc1.sh("ip netns del lab; ip netns add lab")
    tools = vpc1.scratch / "tools"
    tools.mkdir()
    (tools / "ip").write_text(f"#!/bin/sh\n{killer}\n")
    (tools / "ip").chmod(0o755)
    assert vpc1.sh(f"PATH={tools}:$PATH vpcctl restore || echo $?").strip() == "137"
    vpc1.sh("ip netns del lab")
    vpc1.do("subnet add --vpc vpc1 --name more --cidr 10.0.9.0/24")
    assert "/run/netns/lab leads to no network namespace" in vpc1.vpcctl("status").out
    vpc1.sh("ip netns add lab")
    vpc1.do("restore")
    vpc1.reaches("vpc1-public", "10.0.1.4")
    vpc1.do(f"instance detach {AT} --name lab")
    vpc1.sh("ip netns del lab")


LED = {
    "before": "iptables -t mangle -N VPCCTL-IN; iptables -t mangle -N X;"
              "iptables -t mangle -A X -g VPCCTL-IN",
    "beside": "iptables -t mangle -N X; iptables -t mangle -A X -s 192.0.2.1 -j VPCCTL-IN",
    "nft": """nft -f - <<'EOF'
        table ip mangle {
          chain VPCCTL-IN { }
          chain X {
            meta mark set numgen random mod 3
            jump VPCCTL-IN
          }
        }\nEOF"""}
"""Rules of its root that lead to a chain with our name; iptables can't list the last."""


@pytest.mark.parametrize("how", ["before", "nft"])
def test_its_root_stops_nothing_but_its_own_return(vpc1: Host, how: str) -> None:
    vpc1.sh("ip netns add lab")
    vpc1.do(f"firewall allow {AT} --protocol icmp")
    vpc1.do(f"instance attach {AT} --name lab --netns /run/netns/lab")
    vpc1.sh("ip netns del lab; ip netns add lab; ip netns del vpc1-private")
    vpc1.sh(LED[how], "lab")
    done = vpc1.do("vpc create --name vpc9 --cidr 10.9.0.0/16")
    assert "vpc1-public.lab" not in done.err
    vpc1.reaches("vpc1-public", "10.0.2.2")
    assert "leads to another network namespace now" in vpc1.vpcctl("status").out
    assert vpc1.vpcctl("restore").code == (0 if how == "before" else 1)
    if how == "before":
        vpc1.reaches("vpc1-public", "10.0.1.4")
        vpc1.listen("lab", "80")
        vpc1.never_reaches("vpc1-public", "10.0.1.4:80")
    vpc1.do(f"instance detach {AT} --name lab")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh("ip netns del lab")


@pytest.mark.parametrize("how", ["beside", "nft"])
@pytest.mark.parametrize("last", [f"instance detach {AT} --name lab", f"firewall clear {AT}",
                                  "vpc delete --name vpc1"])
def test_its_root_can_t_keep_it_attached(vpc1: Host, how: str, last: str) -> None:
    vpc1.sh("ip netns add lab")
    vpc1.do(f"firewall allow {AT} --protocol icmp")
    vpc1.do(f"instance attach {AT} --name lab --netns /run/netns/lab")
    vpc1.sh(LED[how], "lab")
    done = vpc1.do(last)
    assert done.err.count("chain VPCCTL-IN of table mangle in vpc1-public.lab stays there, empty: "
                          "its owner has rules that lead to it") == 1, done.err
    links = vpc1.sh("ip -o link", "lab").count("\n")
    assert links == (2 if "clear" in last else 1), "lo, and ours as long as it is attached"
    if how == "beside":
        assert "icmp" not in vpc1.sh("iptables -t mangle -S", "lab")
        vpc1.sh("iptables -t mangle -F X", "lab")
        if "vpc" not in last.partition(" ")[0]:
            vpc1.do(f"firewall allow {AT} --protocol icmp")
            assert vpc1.do("status").out == "in sync\n"
    if "vpc" not in last.partition(" ")[0]:
        vpc1.do("vpc delete --name vpc1")
    vpc1.sh("ip netns del lab")


@pytest.mark.parametrize(("table", "says"), [
    ("vpcctl", "the groups' table in vpc1-public.lab can't be removed"),
    ("mangle", "chain VPCCTL-IN of table mangle in vpc1-public.lab can't be removed")])
def test_its_root_can_t_keep_a_table_of_ours(vpc1: Host, table: str, says: str) -> None:
    """An nft table with an owner belongs to one program, and no other can delete it."""
    data = vpc1.write("data.json", {"ingress": [{"protocol": "icmp", "action": "allow",
                                                 "source": "group:data"}]})
    vpc1.do("group create --vpc vpc1 --name data")
    vpc1.do(f"group apply --vpc vpc1 --name data --policy {data}")
    vpc1.sh("ip netns add lab")
    vpc1.do(f"instance attach {AT} --name lab --netns /run/netns/lab --group data")
    taken = f"delete table ip {table}; add table ip {table} {{ flags owner; chain VPCCTL-IN {{ }}; }}"
    pid = vpc1.start("lab", "sh", "-c", f"(echo '{taken}'; exec sleep 9999) | nft -i")
    vpc1.wait_until(lambda: "flags owner" in vpc1.sh("nft list ruleset", "lab"), "a table with an owner")
    done = vpc1.do(f"instance detach {AT} --name lab")
    assert says in done.err
    assert vpc1.do("status").out == "in sync\n"
    vpc1.stop(pid)
    vpc1.sh("for pid in $(ip netns pids lab); do kill $pid; done; ip netns del lab")


def owned(host: Host, table: str) -> int:
    """A table that only a program of the namespace's root can change."""
    taken = f"delete table ip {table}; add table ip {table} {{ flags owner; chain VPCCTL-IN {{ }}; }}"
    pid = host.start("lab", "sh", "-c", f"(echo '{taken}'; exec sleep 9999) | nft -i")
    host.wait_until(lambda: "flags owner" in host.sh("nft list ruleset", "lab"), "a table with an owner")
    return pid


@pytest.mark.parametrize("by", ["policy", "group", "file"])
def test_a_new_policy_that_its_root_hinders_governs_all_others(vpc1: Host, by: str) -> None:
    vpc1.do(f"firewall allow {AT} --protocol icmp")
    vpc1.do("group create --vpc vpc1 --name data")
    for words in ("instance add", "instance attach"):
        name, more = ("web", "") if "add" in words else ("lab", "--netns /run/netns/lab")
        if more:
            vpc1.sh("ip netns add lab")
        vpc1.do(f"{words} {AT} --name {name} {more} {'--group data' if by == 'group' else ''}".strip())
    pid = owned(vpc1, "mangle")
    vpc1.listen("vpc1-public.web", "80", "81")
    new = vpc1.write("new.json", {"ingress": [{"protocol": "tcp", "port": 80, "action": "allow"}]})
    if by == "policy":
        done = vpc1.do(f"firewall apply {AT} --policy {new}")
    elif by == "group":
        done = vpc1.do(f"group apply --vpc vpc1 --name data --policy {new}")
    else:
        text = yaml.safe_load(vpc1.do("export").out)
        text["vpcs"]["vpc1"]["subnets"]["public"]["firewall"] = new
        done = vpc1.do("apply -f", vpc1.write("t.yaml", yaml.safe_dump(text)))
    told = "vpc1/public/lab is not governed by this, for its root stands in the way: iptables-restore"
    assert done.err.count(told) == done.err.count("in the way") == 1
    vpc1.reaches("vpc1-private", "10.0.1.4:80")
    vpc1.never_reaches("vpc1-private", "10.0.1.4:81", "10.0.1.4")
    found = vpc1.vpcctl("status")
    assert "vpc1-public.lab" in found.out
    assert "vpc1-public.web" not in found.out
    # Other changes do not care, and restore says what it can't do.
    vpc1.do("subnet add --vpc vpc1 --name more --cidr 10.0.9.0/24")
    assert "vpc1-public.lab" in vpc1.vpcctl("restore").err
    vpc1.stop(pid)
    vpc1.sh("for pid in $(ip netns pids lab); do kill $pid; done")
    vpc1.wait_until(lambda: "flags owner" not in vpc1.sh("nft list ruleset", "lab"), "its end")
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.listen("lab", "80", "81")
    vpc1.reaches("vpc1-private", "10.0.1.5:80")
    vpc1.never_reaches("vpc1-private", "10.0.1.5:81")
    vpc1.do(f"instance detach {AT} --name lab")
    vpc1.sh("for pid in $(ip netns pids lab); do kill $pid; done; ip netns del lab")


def test_a_policy_for_it_alone_is_refused_if_its_root_hinders_it(vpc1: Host) -> None:
    vpc1.do("subnet add --vpc vpc1 --name apart --cidr 10.0.9.0/24 --bare")
    vpc1.do("firewall allow --vpc vpc1 --subnet apart --protocol tcp")
    vpc1.sh("ip netns add lab")
    vpc1.do("instance attach --vpc vpc1 --subnet apart --name lab --netns /run/netns/lab")
    pid = owned(vpc1, "mangle")
    vpc1.refused("firewall allow --vpc vpc1 --subnet apart --protocol icmp", says="vpc1-apart.lab")
    vpc1.stop(pid)
    vpc1.sh("for pid in $(ip netns pids lab); do kill $pid; done; ip netns del lab")
    vpc1.do("instance detach --vpc vpc1 --subnet apart --name lab")


def test_a_chain_that_its_root_made_before_is_no_obstacle(lab: Host) -> None:
    lab.sh("iptables -t mangle -N VPCCTL-IN; iptables -t mangle -A VPCCTL-IN -j ACCEPT", "other")
    lab.do(f"firewall allow {AT} --protocol icmp")
    assert lab.do("status").out == "in sync\n"
    lab.listen("other", "80")
    lab.reaches("vpc1-public", "10.0.1.4")
    lab.never_reaches("vpc1-public", "10.0.1.4:80")
    lab.do(f"instance detach {AT} --name lab")
    assert "VPCCTL" not in lab.sh("iptables-save", "other")


def test_root_of_another_user_namespace_may_be_in_it(vpc1: Host) -> None:
    pid = apart(vpc1, "--user", "--map-root-user", "--net")
    vpc1.do(f"instance attach {AT} --name job --pid {pid}")
    vpc1.do(f"firewall allow {AT} --protocol icmp")
    vpc1.reaches("vpc1-public", "10.0.1.4")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.do(f"instance detach {AT} --name job")
    vpc1.stop(pid)


def test_nothing_passes_in_another_s_name(lab: Host) -> None:
    honest, last = (ether(LAB_MAC, OWN_MAC, IPV4, udp("10.0.1.4", "10.0.1.2", (7, 7), name))
                    for name in ("honest", END))
    forged = [ether(LAB_MAC, OWN_MAC, IPV4, udp("10.0.1.9", "10.0.1.2", (7, 7), "a free address")),
              ether(LAB_MAC, OWN_MAC, IPV4, udp("10.0.0.1", "10.0.1.2", (7, 7), "the gateway")),
              ether("02:10:0a:00:02:02", OWN_MAC, IPV4, udp("10.0.1.4", "10.0.1.2", (7, 7), "another MAC")),
              ether(LAB_MAC, OWN_MAC, ARP, arp(REPLY, (LAB_MAC, "10.0.0.1"), (OWN_MAC, "10.0.1.2"), "ARP"))]
    ear = listen(lab, "vpc1-public", "eth0")
    send(lab, "other", [*forged, honest, last], device="vpc0")
    assert names(lab, ear) == ["honest"]
    lab.sh("sysctl -qw net.ipv6.conf.vpc0.disable_ipv6=0", "other")
    assert "disable_ipv6" in lab.vpcctl("status").out
    lab.do("restore")


def test_a_lost_record_is_rebuilt_and_cleanup_leaves_what_is_theirs(lab: Host) -> None:
    lab.do(f"firewall allow {AT} --protocol icmp")
    before = lab.state()["topology"]["vpcs"]
    lab.sh("rm /var/lib/vpcctl/state.json /var/lib/vpcctl/state.json.bak")
    lab.do("restore --from-kernel")
    assert lab.state()["topology"]["vpcs"] == before
    assert lab.do("status").out == "in sync\n"
    lab.reaches("vpc1-public", "10.0.1.4")
    pid = lab.start("other", "sleep", "infinity")
    lab.sh("ip link set lo alias vpcctl:vpc1/public", "other")
    lab.sh(f"{CHECKOUT}/cleanup.sh --yes")
    assert lab.alive(pid)
    assert not [name for name in lab.sh("ip netns list").split() if "vpc1-p" in name]
    assert "VPCCTL" not in lab.sh("iptables-save; ip link", "other")
    lab.sh("rm -rf /var/lib/vpcctl/logs /var/lib/vpcctl/state.json.cleaned")


def test_a_rehearsal_does_the_same_in_a_shell(vpc1: Host) -> None:
    vpc1.do(f"firewall allow {AT} --protocol icmp")
    script = vpc1.do(f"{LAB} --dry-run").out
    assert script.startswith("touch /run/netns/vpc1-public.lab && mount --bind /run/netns/other ")
    vpc1.sh(script)
    vpc1.reaches("vpc1-public", "10.0.1.4")
    vpc1.never_reaches("vpc1-public", "10.0.1.4:80")
    vpc1.sh("ip -n vpc1 link del i-public.lab; ip netns del vpc1-public.lab")
    vpc1.do("vpc delete --name vpc1")
    chain = "iptables -t mangle"
    vpc1.sh(f"{chain} -F PREROUTING; {chain} -F VPCCTL-IN; {chain} -X VPCCTL-IN", "other")
    vpc1.sh("rm -rf /run/mount")


def test_a_file_attaches_changes_and_detaches(lab: Host) -> None:
    whole = lab.do("export --json").json["topology"]
    machines = whole["vpcs"]["vpc1"]["subnets"]["public"]["instances"]
    assert machines == {"lab": {"address": "10.0.1.4", "netns": "/run/netns/other", "interface": "vpc0"}}
    file = lab.write("net.json", whole)
    assert "unchanged" in lab.do(f"apply -f {file}").out
    machines["lab"]["interface"] = "vpc9"
    done = lab.do(f"apply -f {lab.write('other.json', whole)}")
    was = "/run/netns/other by vpc"
    assert f"~ machine vpc1/public/lab: attached: {was}0 → {was}9" in done.out
    lab.reaches("vpc1-public", "10.0.1.4")
    assert lab.do("status").out == "in sync\n"
    machines["lab"] = {"address": "10.0.1.4"}
    lab.do(f"apply -f {lab.write('ours.json', whole)}")
    assert lab.do("status").out == "in sync\n"
    assert "vpc9" not in lab.sh("ip link", "other")
    lab.do(f"apply -f {file}")
    lab.reaches("vpc1-public", "10.0.1.4")
    del machines["lab"]
    done = lab.do(f"apply -f {lab.write('none.json', whole)}")
    assert "- machine vpc1/public/lab: it is not in the file: /run/netns/other is unplugged" in done.out


def test_commands_find_it_by_its_name(lab: Host) -> None:
    assert lab.do(f"exec {AT} --instance lab -- ip -br addr show vpc0").out.split()[2] == "10.0.1.4/24"
    pcap = lab.scratch / "lab.pcap"
    lab.start("vpc1-public", "ping", "-q", "-i", "0.2", "10.0.1.4")
    lab.do(f"capture {AT} --instance lab -- -c 1 -w {pcap} icmp")
    view = lab.do(f"instance show {AT} --name lab --json").json["instance"]
    assert (view["state"], view["netns"], view["container"], view["interface"]) == (
        "attached", "/run/netns/other", None, "vpc0")
    assert "machine lab 10.0.1.4, /run/netns/other" in lab.do("graph").out
    assert [one["name"] for one in lab.do("vpc show --name vpc1 --json").json["vpc"]["instances"]] == ["lab"]
    assert lab.do("status").out == "in sync\n", "its processes are no strangers"


def test_the_fix_for_what_its_root_did_runs_nothing_of_theirs(lab: Host) -> None:
    lab.sh("iptables -A INPUT -i vpc0 -m comment --comment '\"; $(id>taken)`id>taken`' -j DROP", "other")
    told = lab.vpcctl("reach", "--from", "vpc1/public", "--to", "vpc1/public/lab", "--json")
    fix = told.json["reach"]["blocked_by"]["fix"]
    assert "$(id>taken)" in fix
    lab.sh(f"cd /run; {fix}; [ ! -e taken ]")
    lab.reaches("vpc1-public", "10.0.1.4")


def test_groups_decide_in_it_as_in_any_machine(vpc1: Host) -> None:
    rule = {"port": 80, "protocol": "tcp", "action": "allow", "source": "group:web"}
    rules = vpc1.write("data.json", {"ingress": [rule]})
    for group in ("web", "data"):
        vpc1.do(f"group create --vpc vpc1 --name {group}")
    vpc1.do(f"group apply --vpc vpc1 --name data --policy {rules}")
    vpc1.do(f"instance add {AT} --name web1 --group web --address 10.0.1.9")
    vpc1.do(f"{LAB} --group data")
    vpc1.sh(MARKED, "other")
    vpc1.reaches("", "192.168.77.2")
    assert re.search(r"^ *[1-9]", vpc1.sh("iptables -nvL INPUT | tail -n 1", "other")), "an owner's mark"
    vpc1.sh(MARKED.replace("-A", "-D"), "other")
    vpc1.listen("other", "80", "81")
    vpc1.reaches("vpc1-public.web1", "10.0.1.4:80")
    vpc1.never_reaches("vpc1-public.web1", "10.0.1.4:81")
    vpc1.never_reaches("vpc1-private", "10.0.1.4:80")
    web1, lab = "reach --from vpc1/public/web1", "--to vpc1/public/lab --port 80"
    assert vpc1.do(f"{web1} {lab}").code == 0
    refusal = vpc1.vpcctl(*f"reach --from vpc1/private {lab} --json".split()).json["reach"]["blocked_by"]
    assert refusal["fix"] == "vpcctl group join --vpc vpc1 --subnet private --name web"
    shown = vpc1.do("group show --vpc vpc1 --name data --json").json["group"]
    assert shown["counters"]["ingress[0]"]["packets"] > 0
    vpc1.do("group join --vpc vpc1 --subnet private --name web")
    vpc1.reaches("vpc1-private", "10.0.1.4:80")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh("rm /var/lib/vpcctl/state.json*")
    vpc1.do("restore --from-kernel")
    (one,) = [one for one in vpc1.do("instance list --json").json["instances"] if one["name"] == "lab"]
    assert (one["groups"], one["state"]) == (["data"], "attached")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.do("vpc delete --name vpc1")
    assert "vpcctl" not in vpc1.sh("nft list ruleset", "other").lower()


def test_rules_of_groups_are_known_without_the_list_of_the_router(lab: Host) -> None:
    rules = "iptables -t mangle -S VPCCTL-IN"
    lab.do("group create --vpc vpc1 --name data")
    lab.do(f"group join {AT} --instance lab --name data")
    before = lab.sh(rules, "other")
    lab.sh("ip netns exec vpc1 nft delete table ip vpcctl; rm /var/lib/vpcctl/state.json*")
    told = lab.do("restore --from-kernel").err
    assert "the groups of 'vpc1/public/lab' are unknown: its rules stay as they are, until it is " \
        f"attached again: vpcctl instance detach {AT} --name lab" in told
    assert lab.sh(rules, "other") == before
    lab.do("group create --vpc vpc1 --name data")
    lab.do(f"group join {AT} --instance lab --name data")
    assert lab.do("status").out == "in sync\n"
    lab.do(f"instance detach {AT} --name lab")
    lab.do(LAB)
    assert "VPCCTL" not in lab.sh("iptables-save", "other")


def test_of_two_who_attach_it_at_once_one_has_it(vpc1: Host) -> None:
    told = vpc1.sh(f"""
        for name in one two; do
            vpcctl instance attach {AT} --name $name --netns /run/netns/other --interface vpc0 2>&1 &
            jobs="$jobs $!"
        done
        for job in $jobs; do wait $job || true; done""")
    assert told.count("attached to vpc1/public") == 1
    assert told.count("that network namespace belongs to vpc1/public/") == 1
    assert len(vpc1.do("instance list --json").json["instances"]) == 1
    assert vpc1.do("status").out == "in sync\n"
