"""DNS in VPCs, by real questions: from machines, containers' namespaces, peers, the host and strangers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from host import CHECKOUT, Host
from probes import REACHED

ASK = str(Path(__file__).with_name("ask.py"))
RESOLVER, SECOND, GATEWAY = "169.254.169.253", "10.0.0.2", "10.0.0.1"
HOSTS = "/run/vpcctl/vpc1/hosts"
CLEANUP = CHECKOUT / "cleanup.sh"
WEB, DB = "web1.public.vpc1.internal", "db.vpc1.internal"
OUTSIDE = "example.com"
"""A name in the simulated internet: 8.8.8.8."""

COUNT = """nft -f - <<'EOF'
table ip asked {
  counter first { }
  counter second { }
  chain out {
    type filter hook output priority -400
    udp dport 53 ip daddr 8.8.8.8 counter name first
    udp dport 53 ip daddr 1.1.1.1 counter name second
  }
}
EOF"""
"""Counts the questions that leave the host, by server."""

ONLY_WEB = {"ingress": [{"protocol": "all", "action": "allow"}],
            "egress": [{"protocol": "tcp", "port": 443, "action": "allow"}]}
CLOSED = {"ingress": [], "egress": [], "default": "deny"}


def asked(host: Host, namespace: str, *names: str, server: str = RESOLVER) -> list[Any]:
    """The status and the records of each answer."""
    argv = ("python3", ASK, server, *names)
    done = host.inside(namespace, *argv) if namespace else host.run(*argv)
    assert done.code == 0, done
    return [(status, [value for _, value in found]) for status, found in json.loads(done.out)]


def one(host: Host, namespace: str, name: str, server: str = RESOLVER) -> tuple[str, list[str]]:
    """One answer."""
    found: tuple[str, list[str]] = asked(host, namespace, name, server=server)[0]
    return found


def counted(host: Host) -> tuple[int, int]:
    """How often 8.8.8.8 and 1.1.1.1 were asked."""
    listed = json.loads(host.sh("nft -j list counters table ip asked"))["nftables"]
    found = {item["counter"]["name"]: item["counter"]["packets"] for item in listed if "counter" in item}
    return found["first"], found["second"]


def server_of(host: Host, program: str = "dnsmasq") -> int:
    """The pid of a program in the VPC's router."""
    for pid in host.sh("ip netns pids vpc1").split():
        if program in host.run("cat", f"/proc/{pid}/cmdline").out.split("\0")[0:1][0]:
            return int(pid)
    raise AssertionError(f"no {program} in vpc1")


@pytest.fixture
def named(vpc1: Host) -> Host:
    vpc1.do("dns enable --vpc vpc1")
    return vpc1


def test_machines_have_names_both_ways(named: Host) -> None:
    named.do("instance add --vpc vpc1 --subnet public --name web1 --address 10.0.1.9 --address 10.0.1.10")
    names = ("public.vpc1.internal", WEB, "ip-10-0-1-10.vpc1.internal", "2.2.0.10.in-addr.arpa/PTR",
             "10.1.0.10.in-addr.arpa/PTR", "public.vpc1.internal/AAAA")
    shall = [("NOERROR", ["10.0.1.2"]), ("NOERROR", ["10.0.1.9", "10.0.1.10"]), ("NOERROR", ["10.0.1.10"]),
             ("NOERROR", ["private.vpc1.internal"]), ("NOERROR", [WEB]), ("NOERROR", [])]
    for server in (RESOLVER, SECOND, GATEWAY):
        for namespace in ("vpc1-private", "vpc1-public.web1"):
            found = asked(named, namespace, *names, server=server)
            assert [(status, sorted(values, key=len)) for status, values in found] == shall
    assert asked(named, "", *names[:1], server=GATEWAY) == shall[:1]
    # By the resolver of C, with the search domains that it was given.
    assert "10.0.1.9" in named.do("exec --vpc vpc1 --subnet private --", "getent", "hosts", "web1.public").out
    assert "10.0.2.2" in named.do("exec --vpc vpc1 --subnet public --", "getent", "hosts", "private").out
    assert named.inside("vpc1-private", "busybox", "nslookup", WEB, RESOLVER).out.count("10.0.1.") == 2
    tcp = named.inside("vpc1-private", "python3", ASK, "--tcp", RESOLVER, WEB)
    assert [len(found) for _, found in json.loads(tcp.out)] == [2]


def test_its_own_names_are_asked_of_nobody_else(named: Host) -> None:
    named.sh(COUNT)
    unknown = ("none.vpc1.internal", "x.none.public.vpc1.internal", "77.9.0.10.in-addr.arpa/PTR",
               "1.0.168.192.in-addr.arpa/PTR", "word")
    assert {status for status, _ in asked(named, "vpc1-private", *unknown)} == {"NXDOMAIN"}
    assert counted(named) == (0, 0)
    assert one(named, "vpc1-private", OUTSIDE) == ("NOERROR", ["8.8.8.8"])
    assert counted(named) == (1, 0)
    named.sh("nft delete table ip asked")


def test_other_names_are_asked_of_the_servers_that_the_host_has_now(named: Host) -> None:
    # The subnet is private and has no way out itself.
    named.never_reaches("vpc1-private", "8.8.8.8", "8.8.8.8:53/udp")
    named.sh(COUNT)
    assert one(named, "vpc1-private", "internet.test") == ("NOERROR", ["8.8.8.8"])
    assert counted(named) == (1, 0)
    named.sh("cp -p /etc/resolv.conf /etc/resolv.kept; echo nameserver 1.1.1.1 >/etc/resolv.new; "
             "mv /etc/resolv.new /etc/resolv.conf; sleep 0.3")
    assert one(named, "vpc1-private", OUTSIDE) == ("NOERROR", ["8.8.8.8"])
    assert counted(named) == (1, 1)
    # A stub on the host, which no packet of a machine gets to.
    named.sh("mkdir -p /run/systemd/resolve; echo nameserver 127.0.0.53 >/run/systemd/resolve/stub.conf; "
             "ln -sfn /run/systemd/resolve/stub.conf /etc/resolv.conf")
    named.do("dns disable --vpc vpc1")
    named.do("dns enable --vpc vpc1")
    stub = named.start("", "dnsmasq", "-k", "-C", "/dev/null", "-x", "/run/stub", "-u", "root", "-R", "-h",
                       "-z", "-a", "127.0.0.53", "--address=/stub.test/198.51.100.7")
    named.wait_until(lambda: one(named, "", "stub.test", server="127.0.0.53")[0] == "NOERROR", "it answers")
    assert one(named, "vpc1-private", "stub.test") == ("NOERROR", ["198.51.100.7"])
    for _ in range(40):
        # More than there are sockets: each is used again.
        tcp = named.inside("vpc1-private", "python3", ASK, "--tcp", RESOLVER, "stub.test")
        assert json.loads(tcp.out) == [["NOERROR", [["A", "198.51.100.7"]]]]
    named.stop(stub)
    named.sh("echo nameserver 8.8.8.8 >/run/systemd/resolve/other; "
             "mv /run/systemd/resolve/other /run/systemd/resolve/stub.conf; sleep 0.3")
    assert one(named, "vpc1-private", OUTSIDE) == ("NOERROR", ["8.8.8.8"])
    named.sh("nft delete table ip asked; mv /etc/resolv.kept /etc/resolv.conf; rm -rf /run/systemd /run/stub")


def test_servers_of_one_s_own_choice_are_asked_instead(named: Host) -> None:
    named.sh(COUNT)
    named.do("dns enable --vpc vpc1 --forward 192.0.2.1 --forward 1.1.1.1")
    assert one(named, "vpc1-public", OUTSIDE) == ("NOERROR", ["8.8.8.8"])
    assert counted(named) == (0, 1)
    named.do("dns enable --vpc vpc1 --forward 127.0.0.9")
    assert one(named, "vpc1-public", "a.test") == ("SERVFAIL", [])
    named.do("dns enable --vpc vpc1")
    assert one(named, "vpc1-public", OUTSIDE) == ("NOERROR", ["8.8.8.8"])
    named.sh("nft delete table ip asked")


def test_a_change_is_seen_at_once_by_the_same_server(named: Host) -> None:
    before = server_of(named)
    named.do("instance add --vpc vpc1 --subnet public --name web1")
    assert one(named, "vpc1-private", WEB) == ("NOERROR", ["10.0.1.4"])
    named.do("dns add --vpc vpc1 --name db --address 10.0.2.7 --address 2001:db8::7")
    assert asked(named, "vpc1-private", DB, f"{DB}/AAAA") == [("NOERROR", ["10.0.2.7"]),
                                                              ("NOERROR", ["2001:db8::7"])]
    named.do("dns delete --vpc vpc1 --name db")
    named.do("instance delete --vpc vpc1 --subnet public --name web1")
    assert asked(named, "vpc1-private", DB, WEB) == [("NXDOMAIN", [])] * 2
    assert server_of(named) == before


def test_records_of_one_s_own(named: Host) -> None:
    named.do("dns add --vpc vpc1 --name db --address 10.0.2.7")
    named.do("dns add --vpc vpc1 --name www --cname public")
    named.do("dns add --vpc vpc1 --name deep.www.vpc1.internal --cname www.vpc1.internal.")
    assert asked(named, "vpc1-private", DB, "www.vpc1.internal", "deep.www.vpc1.internal") == [
        ("NOERROR", ["10.0.2.7"]), ("NOERROR", ["public.vpc1.internal", "10.0.1.2"]),
        ("NOERROR", ["www.vpc1.internal", "public.vpc1.internal", "10.0.1.2"])]
    named.refused("dns add --vpc vpc1 --name db --address 10.0.2.8", says="already exists")
    named.refused("dns add --vpc vpc1 --name public --address 10.0.2.8", code=2, says="name of a machine")
    named.refused("dns add --vpc vpc1 --name x --cname nothing", says="does not exist below vpc1.internal")
    named.refused("dns add --vpc vpc1 --name x", code=2, says="has addresses, or the name")
    assert "unchanged" in named.do("dns add --vpc vpc1 --name www --cname public").out
    found = named.do("dns list --vpc vpc1 --json").json["records"]
    assert [(view["fqdn"], view["addresses"], view["cname"]) for view in found][-3:] == [
        (DB, ["10.0.2.7"], None), ("www.vpc1.internal", [], "public.vpc1.internal"),
        ("deep.www.vpc1.internal", [], "www.vpc1.internal")]
    reach = named.do("reach --from vpc1/private --to deep.www.vpc1.internal --probe").out
    assert "vpc1/private to vpc1/public" in reach
    named.refused("reach --from vpc1/private --to none.vpc1.internal", says="does not exist in VPC 'vpc1'")


def test_names_of_peers_are_seen_while_they_are_peers(vpc2: Host) -> None:
    vpc2.do("dns enable --vpc vpc1")
    vpc2.do("dns enable --vpc vpc2 --domain corp.internal")
    vpc2.do("dns add --vpc vpc2 --name www --cname public")
    names = ("private.corp.internal", "www.corp.internal", "2.1.16.172.in-addr.arpa/PTR")
    unseen = [("NXDOMAIN", [])] * 3
    assert asked(vpc2, "vpc1-public", *names) == unseen
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    assert asked(vpc2, "vpc1-public", *names) == [
        ("NOERROR", ["172.16.2.2"]), ("NOERROR", ["public.corp.internal", "172.16.1.2"]),
        ("NOERROR", ["public.corp.internal"])]
    assert one(vpc2, "vpc2-private", "public.vpc1.internal") == ("NOERROR", ["10.0.1.2"])
    # A peer's machines ask their own server alone: the other one knows names of its further peers.
    assert one(vpc2, "vpc2-private", "public.vpc1.internal", server=GATEWAY)[0] in ("silence", "refused")
    assert one(vpc2, "vpc2-private", "public.vpc1.internal", server=SECOND)[0] in ("silence", "refused")
    vpc2.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    assert asked(vpc2, "vpc1-public", *names) == unseen


def test_strangers_get_no_answer(vpc2: Host) -> None:
    vpc2.do("dns enable --vpc vpc1")
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("nat enable --vpc vpc2")
    vpc2.sh("ip -n internet route add 10.0.0.0/8 via 203.0.113.2")
    for namespace in ("vpc2-public", "internet", "other"):
        for server in (GATEWAY, SECOND, RESOLVER):
            status, _ = one(vpc2, namespace, "public.vpc1.internal", server=server)
            assert status in ("silence", "refused"), (namespace, server)
    vpc2.sh("ip -n internet route del 10.0.0.0/8 via 203.0.113.2")
    # What is behind the server is nobody's: neither the relay nor the host's own ports.
    host = vpc2.listen("", "53/udp", "5300/udp")
    vpc2.never_reaches("vpc1-public", "203.0.113.2:53/udp", "169.254.64.0:53/udp")
    relay = [("vpc1-public", f"{where}:5300") for where in (GATEWAY, SECOND, RESOLVER, "127.0.0.1")]
    assert {answer.verdict for answer in vpc2.probe(*relay)} == {"refused"}
    vpc2.stop(host)


def test_its_programs_have_no_privileges(named: Host) -> None:
    for pid in named.sh("ip netns pids vpc1").split():
        status = named.run("cat", f"/proc/{pid}/status").out
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["Name"] == "dnsmasq" or "A relay for DNS" in named.run("cat", f"/proc/{pid}/cmdline").out \
                and "__main__" not in named.run("cat", f"/proc/{pid}/cmdline").out:
            assert fields["CapEff"].strip("0") == fields["CapPrm"].strip("0") == ""
            assert fields["NoNewPrivs"] == "1"
            assert "0" not in fields["Uid"].split()


def test_no_policy_and_no_acl_keeps_a_machine_from_asking(named: Host) -> None:
    named.do("firewall apply --vpc vpc1 --subnet public --policy", named.write("only.json", ONLY_WEB))
    named.do("instance add --vpc vpc1 --subnet private --name db")
    named.do("group create --vpc vpc1 --name shut")
    named.do("group apply --vpc vpc1 --name shut --policy",
             named.write("shut.json", {"ingress": [], "egress": []}))
    named.do("group join --vpc vpc1 --subnet private --instance db --name shut")
    named.do("acl create --vpc vpc1 --name none")
    named.do("acl associate --vpc vpc1 --subnet private --name none")
    for namespace in ("vpc1-public", "vpc1-private", "vpc1-private.db"):
        assert asked(named, namespace, "public.vpc1.internal", OUTSIDE) == [
            ("NOERROR", ["10.0.1.2"]), ("NOERROR", ["8.8.8.8"])]
        assert one(named, namespace, "public.vpc1.internal", server=SECOND)[0] == "NOERROR"
    # Nothing else gets out.
    named.listen("vpc1", "54/udp")
    others = named.probe(("vpc1-public", f"{RESOLVER}:54/udp"), ("vpc1-private", "10.0.1.2"),
                         ("vpc1-private.db", "10.0.1.2"), patience=0.5)
    assert REACHED not in [one.verdict for one in others]
    assert named.do("status").out == "in sync\n"
    named.sh("rm /var/lib/vpcctl/state.json*")
    named.do("restore --from-kernel")
    kept = named.do("export").out
    assert "port: 443" in kept
    assert "acl: none" in kept


@pytest.mark.parametrize("program", ["dnsmasq", "python"])
def test_it_comes_back_when_it_is_killed(named: Host, program: str) -> None:
    before = server_of(named, "dnsmasq") if program == "dnsmasq" else next(
        int(pid) for pid in named.sh("ip netns pids vpc1").split()
        if "A relay for DNS" in named.run("cat", f"/proc/{pid}/cmdline").out
        and "keeper" not in named.run("cat", f"/proc/{pid}/cmdline").out)
    named.sh(f"kill -9 {before}")
    named.wait_until(lambda: asked(named, "vpc1-private", "public.vpc1.internal", OUTSIDE) == [
        ("NOERROR", ["10.0.1.2"]), ("NOERROR", ["8.8.8.8"])], "it answers again")
    assert named.do("status").out == "in sync\n"


DAMAGE = {
    "its loopback": "ip -n vpc1 addr del 127.0.0.1/8 dev lo",
    "its keepers": "for pid in $(ip netns pids vpc1); do kill -9 $pid 2>/dev/null || :; done",
    "its addresses": "ip -n vpc1 addr flush dev lo",
    "its namespace": "ip netns del vpc1",
    "its folder": "rm -r /run/vpcctl",
    "its names": f"echo 10.0.2.2 {WEB} >>{HOSTS}",
    "its file": f"rm {HOSTS}",
    "its port": "ip netns exec vpc1 sysctl -qw net.ipv4.ip_unprivileged_port_start=1024",
    "its firewall": "ip netns exec vpc1 iptables -F; ip netns exec vpc1 iptables -P INPUT DROP",
    "resolv.conf": "rm /etc/netns/vpc1-private/resolv.conf",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_status_sees_what_is_broken_and_restore_mends_it(named: Host, damage: str) -> None:
    named.do("instance add --vpc vpc1 --subnet public --name web1")
    named.do("dns add --vpc vpc1 --name www --cname public")
    named.sh(DAMAGE[damage])
    named.wait_until(lambda: named.vpcctl("status").code == 1, "it is reported")
    named.do("restore")
    assert named.do("status").out == "in sync\n"
    assert asked(named, "vpc1-private", WEB, "www.vpc1.internal", OUTSIDE) == [
        ("NOERROR", ["10.0.1.4"]), ("NOERROR", ["public.vpc1.internal", "10.0.1.2"]),
        ("NOERROR", ["8.8.8.8"])]
    assert "10.0.2.2" in named.do("exec --vpc vpc1 --subnet private --", "getent", "hosts", "private").out


def test_a_lost_record_is_rebuilt_and_cleanup_leaves_nothing(vpc2: Host) -> None:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("dns enable --vpc vpc1")
    vpc2.do("dns enable --vpc vpc2 --domain corp.internal --forward 1.1.1.1")
    vpc2.do("dns add --vpc vpc2 --name db --address 172.16.1.7 --address 172.16.1.8")
    vpc2.do("dns add --vpc vpc2 --name www --cname public")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    before = vpc2.do("export").out
    recorded = vpc2.state()["topology"]
    vpc2.sh("rm /var/lib/vpcctl/state.json*")
    vpc2.do("restore --from-kernel")
    assert vpc2.do("export").out == before
    assert vpc2.state()["topology"]["vpcs"] == recorded["vpcs"]
    assert vpc2.do("status").code == 0
    vpc2.sh(f"{CLEANUP} --yes")
    vpc2.sh("rm -rf /var/lib/vpcctl/state.json* /var/lib/vpcctl/logs; sysctl -qw net.ipv4.ip_forward=0 "
            "net.ipv4.conf.all.accept_redirects=1")


def test_the_second_address_is_left_to_the_machine_that_has_it(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("dns enable --vpc vpc1")
    host.do("subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24")
    assert one(host, "vpc1-private", "private.vpc1.internal", server=SECOND)[0] == "NOERROR"
    host.do("subnet add --vpc vpc1 --name first --cidr 10.0.0.0/24")
    assert one(host, "vpc1-private", "first.vpc1.internal") == ("NOERROR", [SECOND])
    assert one(host, "vpc1-private", "first.vpc1.internal", server=SECOND)[0] == "refused"
    host.listen("vpc1-first", "80")
    assert "vpc1-first" in host.reaches("vpc1-private", f"{SECOND}:80")[0].answer
    host.do("subnet delete --vpc vpc1 --name first")
    assert one(host, "vpc1-private", "private.vpc1.internal", server=SECOND)[0] == "NOERROR"


def test_an_attached_machine_asks_it_too(named: Host) -> None:
    named.sh("ip netns add lab; ip -n lab link set lo up; "
             "ip link add outer type veth peer name inner netns lab; "
             "ip -n lab addr add 192.168.9.2/24 dev inner; ip -n lab link set inner up; "
             "ip -n lab route add default via 192.168.9.1")
    done = named.do("instance attach --vpc vpc1 --subnet private --name lab --netns /run/netns/lab")
    assert f"{RESOLVER}" in done.err
    assert one(named, "lab", "public.vpc1.internal") == ("NOERROR", ["10.0.1.2"])
    assert one(named, "vpc1-public", "lab.private.vpc1.internal") == ("NOERROR", ["10.0.2.4"])
    named.do("instance detach --vpc vpc1 --subnet private --name lab")
    named.sh("ip link del outer; ip netns del lab")


def test_without_dnsmasq_nothing_is_touched(vpc1: Host) -> None:
    vpc1.sh("for file in /usr/sbin/dnsmasq /sbin/dnsmasq; do mount --bind /dev/null $file || :; done")
    vpc1.refused("dns enable --vpc vpc1", says="apt-get install dnsmasq-base")
    vpc1.sh("umount /usr/sbin/dnsmasq; umount /sbin/dnsmasq || :; rm -rf /run/mount")


def test_a_whole_network_with_names_comes_from_one_file(host: Host) -> None:
    whole = {"version": 2, "vpcs": {
        "vpc1": {"cidr": "10.0.0.0/16", "dns": {"domain": "corp.internal", "records": {
            "db": ["10.0.1.7", "10.0.1.8"], "www": "public"}},
            "subnets": {"public": {"cidr": "10.0.1.0/24", "workloads": {"webserver-80": {"webserver": 80}}}}},
        "vpc2": {"cidr": "172.16.0.0/16", "dns": True, "subnets": {"app": {"cidr": "172.16.1.0/24"}}}},
        "peerings": [["vpc1", "vpc2"]]}
    plan = host.do("apply -f", host.write("whole.json", whole)).out
    assert "+ dns of vpc1: names end in corp.internal" in plan
    assert "+ record vpc1/www: public" in plan
    assert "unchanged" in host.do("apply -f", host.write("whole.json", whole)).out
    page = host.do("exec --vpc vpc2 --subnet app --", "curl", "-s", "http://www.corp.internal").out
    assert "Hello from subnet public" in page
    whole["vpcs"]["vpc1"]["dns"] = {"records": {"db": "10.0.1.9"}}
    plan = host.do("apply -f", host.write("whole.json", whole)).out
    assert "~ dns of vpc1: domain: corp.internal → none" in plan
    assert "~ record vpc1/db: 10.0.1.7, 10.0.1.8 becomes 10.0.1.9" in plan
    assert "- record vpc1/www" in plan
    assert one(host, "vpc2-app", "db.vpc1.internal") == ("NOERROR", ["10.0.1.9"])
    del whole["vpcs"]["vpc1"]["dns"]
    host.do("apply -f", host.write("whole.json", whole))
    assert one(host, "vpc2-app", "db.vpc1.internal") == ("NXDOMAIN", [])
    bad = {**whole, "vpcs": {**whole["vpcs"], "vpc2": {**whole["vpcs"]["vpc2"], "dns": {
        "records": {"app": "172.16.1.2"}}}}}
    host.refused("apply -f", host.write("bad.json", bad), code=2, says="vpcs.vpc2.dns.records")


def test_where_only_root_is_mapped_it_runs_as_root(make_host: Callable[..., Host],
                                                   rootless: tuple[str, ...]) -> None:
    host = make_host(*rootless)
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    for number, subnet in enumerate(("public", "private"), 1):
        host.do(f"subnet add --vpc vpc1 --name {subnet} --cidr 10.0.{number}.0/24")
    host.do("dns enable --vpc vpc1")
    assert one(host, "vpc1-private", "public.vpc1.internal") == ("NOERROR", ["10.0.1.2"])
    assert host.vpcctl("status").code == 0
