"""Forwarding belongs to the whole host: it is put back only where nobody has come to need it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from host import CHECKOUT, Host

FORWARDING = "net.ipv4.ip_forward"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

CONTAINER = """
ip netns add container
ip link add docker0 type bridge
ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up
ip link add veth0 type veth peer name eth0 netns container; ip link set veth0 master docker0 up
ip -n container addr add 172.17.0.2/16 dev eth0; ip -n container link set eth0 up
ip -n container link set lo up
ip -n container route add default via 172.17.0.1
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
sysctl -qw net.ipv4.ip_forward=1
"""
"""What Docker makes of a container that has a way out."""

GONE = f"""
iptables -t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
ip link del veth0; ip link del docker0; ip netns del container; sysctl -qw {FORWARDING}=0
rm -f /run/xtables.lock
"""

COMERS = {
    "a bridge with a port": (
        "ip link add br9 type bridge; ip link add d9 type veth peer name e9; ip link set d9 master br9",
        "bridge br9", "ip link del br9; ip link del d9"),
    "a cable with somebody behind it": (
        "ip netns add far; ip link add v9 type veth peer name eth0 netns far; "
        "ip addr add 10.9.9.1/24 dev v9; ip link set v9 up", "link v9", "ip link del v9; ip netns del far"),
    "a tunnel to a site": (
        "ip tuntap add t9 mode tun; ip addr add 10.9.8.1/24 dev t9; ip link set t9 up", "link t9",
        "ip link del t9"),
    "a rule that translates": (
        "iptables -t nat -A PREROUTING -p tcp --dport 99 -j DNAT --to-destination 192.168.78.9",
        "rule PREROUTING -p tcp -m tcp --dport 99 -j DNAT --to-destination 192.168.78.9 of table nat",
        "iptables -t nat -D PREROUTING -p tcp --dport 99 -j DNAT --to-destination 192.168.78.9"),
    "a chain that accepts": (
        "iptables -N MINE; iptables -A MINE -i br-office -j ACCEPT; iptables -A FORWARD -j MINE",
        "rule MINE -i br-office -j ACCEPT of table filter",
        "iptables -D FORWARD -j MINE; iptables -F MINE; iptables -X MINE"),
    "a table of nft": (
        "nft 'add table inet theirs; add chain inet theirs c { type filter hook forward priority 5; }; "
        "add rule inet theirs c iifname br-office accept'", "nft table inet theirs",
        "nft delete table inet theirs"),
}
"""What comes, how it is told of, and what takes it away."""

ANSWERS = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
HARMLESS = {
    "a bridge without ports": ("ip link add br9 type bridge", "ip link del br9"),
    "the way out of a VPN": (
        "ip tuntap add t9 mode tun; ip link set t9 up; ip route add 0.0.0.0/1 dev t9; "
        "ip route add 10.9.8.0/24 dev t9", "ip link del t9"),
    "rules that only refuse, and let answers pass": (
        f"iptables -A FORWARD {ANSWERS}; iptables -A FORWARD -j DROP",
        f"iptables -D FORWARD {ANSWERS}; iptables -D FORWARD -j DROP"),
    "an nft firewall of the host's own": (
        "nft 'add table inet own; add chain inet own i { type filter hook input priority 0; }; "
        "add rule inet own i accept; "
        "add chain inet own f { type filter hook forward priority 0; policy accept; }; "
        "add rule inet own f ct state established accept'", "nft delete table inet own"),
}


def forwarding(host: Host) -> str:
    return host.sh(f"sysctl -n {FORWARDING}").strip()


def clean_up(host: Host) -> str:
    """Run cleanup.sh; what it says, but for what it does."""
    done = host.run("sh", str(CHECKOUT / "cleanup.sh"), "--yes")
    assert done.code == 0, done
    return done.err


def forget(host: Host) -> None:
    host.sh("rm -f /var/lib/vpcctl/state.json*")


@pytest.fixture
def nat(vpc1: Host) -> Host:
    """A host that did not forward until its VPC got NAT."""
    vpc1.do("nat enable --vpc vpc1")
    return vpc1


@pytest.mark.parametrize("way", ["nat disable --vpc vpc1", "vpc delete --name vpc1"])
def test_containers_that_came_later_keep_their_way_out(nat: Host, way: str) -> None:
    nat.sh(CONTAINER)
    nat.reaches("container", "8.8.8.8")
    told = nat.do(way).err
    assert forwarding(nat) == "1"
    assert f"{FORWARDING} stays 1" in told
    assert "bridge docker0, rule POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE" in told
    nat.reaches("container", "8.8.8.8")
    nat.sh(GONE)


@pytest.mark.parametrize("case", COMERS)
def test_whatever_forwards_is_seen_and_named(nat: Host, case: str) -> None:
    come, words, go = COMERS[case]
    nat.sh(come)
    before = nat.portrait()
    dry = nat.do("nat disable --vpc vpc1 --dry-run").out
    assert f"# {FORWARDING} stays 1" in dry
    assert f"{FORWARDING}=0\n" not in dry.replace(f"run: sysctl -w {FORWARDING}=0", "")
    nat.check_same(before)
    (told,) = [line for line in nat.do("nat disable --vpc vpc1").err.splitlines() if FORWARDING in line]
    assert f"others may need it: {words}; if none does, run: sysctl -w {FORWARDING}=0" in told
    assert forwarding(nat) == "1"
    nat.sh(f"{go}; sysctl -qw {FORWARDING}=0")


@pytest.mark.parametrize("case", HARMLESS)
def test_what_forwards_nothing_keeps_nothing_on(nat: Host, case: str) -> None:
    come, go = HARMLESS[case]
    nat.sh(come)
    assert nat.do("nat disable --vpc vpc1").err == ""
    assert forwarding(nat) == "0"
    nat.sh(go)


@pytest.mark.parametrize("case", [*COMERS, *HARMLESS])
def test_cleanup_judges_alike(nat: Host, case: str) -> None:
    come, *words, go = (COMERS | HARMLESS)[case]
    nat.sh(come)
    told = clean_up(nat)
    assert forwarding(nat) == ("1" if words else "0")
    assert told == (f"cleanup.sh: {FORWARDING} stays 1, since others may need it: {words[0]}; "
                    f"if none does, run: sysctl -w {FORWARDING}=0\n" if words else "")
    nat.sh(f"{go}; sysctl -qw {FORWARDING}=0; rm /var/lib/vpcctl/state.json.cleaned")


CANARY = ("iptables -D FORWARD -i br-office -o eth0 -m comment --comment not-vpcctl:x -j ACCEPT; "
          "iptables -t nat -D POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE; ip link set vpc-lan down")
BACK = ("iptables -A FORWARD -i br-office -o eth0 -m comment --comment not-vpcctl:x -j ACCEPT; "
        "iptables -t nat -A POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE; ip link set vpc-lan up; "
        "ip route add 10.200.0.0/16 via 192.168.77.2")
"""Where the record is lost, nobody knows that these were there before: without them the host has none."""


@pytest.fixture
def alone(vpc1: Host) -> Iterator[Host]:
    """A host with nothing else that could forward."""
    vpc1.sh(CANARY)
    yield vpc1
    vpc1.sh(BACK)


@pytest.mark.parametrize("found", ["0", "1"])
def test_without_a_record_our_jump_tells_what_was_found(alone: Host, found: str) -> None:
    alone.sh(f"sysctl -qw {FORWARDING}={found}")
    alone.do("nat enable --vpc vpc1")
    assert f'--comment "vpcctl:host ip_forward={found}" -j VPCCTL-FORWARD' in alone.sh("iptables-save")
    forget(alone)
    assert clean_up(alone) == ""
    assert forwarding(alone) == found
    alone.sh(f"sysctl -qw {FORWARDING}=0")


def test_a_rebuilt_record_knows_it(alone: Host) -> None:
    alone.do("nat enable --vpc vpc1")
    forget(alone)
    assert "ip_forward" not in alone.do("restore --from-kernel").err
    assert alone.do("status").out == "in sync\n"
    alone.do("nat disable --vpc vpc1")
    assert forwarding(alone) == "0"
    assert "ip_forward" not in alone.sh("iptables-save"), "nor does the jump tell of it any more"


def test_without_a_record_others_count_whenever_they_came(nat: Host) -> None:
    forget(nat)
    nat.do("restore --from-kernel")
    told = nat.do("nat disable --vpc vpc1").err
    assert "rule FORWARD -i br-office -o eth0" in told
    assert forwarding(nat) == "1"
    nat.sh(f"sysctl -qw {FORWARDING}=0")


def restarted(host: Host, forwarding: str) -> None:
    """As after a restart of the host: another boot id, and nothing that a record tells of."""
    Path(host.scratch, "boot_id").write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    host.sh(f"mount --bind {host.scratch}/boot_id {BOOT_ID}; "
            "for end in '' -public -private; do ip netns del vpc1$end; done; "
            "iptables-save | grep -v VPCCTL- | iptables-restore; iptables -t mangle -F; "
            f"sysctl -qw {FORWARDING}={forwarding}")
    host.wait_until(lambda: host.run("ip", "link", "show", "vpc-vpc1").code != 0, "the cable is gone")


@pytest.mark.parametrize("found", ["0", "1"])
def test_after_a_restart_the_value_of_this_start_counts(nat: Host, found: str) -> None:
    restarted(nat, found)
    nat.do("restore")
    assert nat.do("status").out == "in sync\n"
    (entry,) = [one for one in nat.state()["ledger"] if one["kind"] == "forwarding"]
    assert entry["found"][FORWARDING] == found
    assert f'ip_forward={found}"' in nat.sh("iptables-save")
    nat.do("nat disable --vpc vpc1")
    assert forwarding(nat) == found
    nat.sh(f"umount {BOOT_ID}; rm -rf /run/mount; sysctl -qw {FORWARDING}=0")
    nat.do("restore")


@pytest.mark.parametrize("way", ["vpcctl", "cleanup"])
def test_what_was_found_in_an_earlier_start_is_put_back_no_more(nat: Host, way: str) -> None:
    restarted(nat, "1")
    if way == "vpcctl":
        nat.do("vpc delete --name vpc1")
    else:
        clean_up(nat)
        nat.sh("rm /var/lib/vpcctl/state.json.cleaned")
    assert forwarding(nat) == "1"
    nat.sh(f"umount {BOOT_ID}; rm -rf /run/mount; sysctl -qw {FORWARDING}=0")


def test_a_restore_that_fails_after_a_restart_leaves_what_it_found(nat: Host) -> None:
    restarted(nat, "0")
    nat.sh("ip link add vpc-vpc1 type bridge")
    assert nat.vpcctl("restore").code == 1
    assert forwarding(nat) == "0"
    nat.sh("ip link del vpc-vpc1")
    nat.do("restore")
    nat.do("nat disable --vpc vpc1")
    assert forwarding(nat) == "0"
    nat.sh(f"umount {BOOT_ID}; rm -rf /run/mount")
    nat.do("restore")


def test_a_record_from_before_is_believed_and_gets_its_comment(nat: Host) -> None:
    record = json.loads(nat.sh("cat /var/lib/vpcctl/state.json"))
    nat.sh('iptables -D FORWARD -m comment --comment "vpcctl:host ip_forward=0" -j VPCCTL-FORWARD; '
           "iptables -I FORWARD -m comment --comment vpcctl:host -j VPCCTL-FORWARD")
    del record["topology"]["forwarding"]
    for entry in record["ledger"]:
        if entry["kind"] == "forwarding":
            del entry["found"]["identity"]
        if entry["kind"] == "rule":
            entry["rule"] = entry["rule"].replace('"vpcctl:host ip_forward=0"', "vpcctl:host")
    nat.run("sh", "-c", "cat >/var/lib/vpcctl/state.json", stdin=json.dumps(record))
    assert nat.do("status").out == "in sync\n"
    nat.do("restore")
    assert nat.do("status").out == "in sync\n"
    assert 'ip_forward=0"' in nat.sh("iptables-save")
    nat.do("nat disable --vpc vpc1")
    assert forwarding(nat) == "0"
