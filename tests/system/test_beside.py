"""Others on the same host: they come after us, sweep our rules away, pull at our links; theirs survive."""

from __future__ import annotations

import os
import shutil

import pytest
from host import INTERNET, Host, losing
from portrait import differences
from walk import settled

RELOAD = """iptables-save | grep -ve '--comment "*vpcctl:' -e VPCCTL- | iptables-restore"""
"""What firewalld does: the whole of each table anew, as it knows it."""


FAILING = """#!/bin/sh
PATH=${PATH#*:}
case "$*" in *-batch*) lines=$(cat) ;; esac
case "$* $lines" in *"$FAIL_ON"*) echo "made to fail" >&2; exit 1 ;; esac
printf '%s\\n' "$lines" | ip "$@"
"""
"""An `ip` that does all but one thing."""


def fails(host: Host, line: str, on: str) -> str:
    """What a command says that fails where `ip` is told that, and leaves host and record as they were."""
    folder = host.scratch / "failing"
    folder.mkdir(exist_ok=True)
    (folder / "ip").write_text(FAILING)
    (folder / "ip").chmod(0o755)
    before, record = settled(host.portrait()), host.state()
    done = host.vpcctl(*line.split(), PATH=f"{folder}:{os.environ['PATH']}", FAIL_ON=on)
    assert done.code == 1, done
    assert "could not be undone" not in done.err
    assert not differences(before, settled(host.portrait()))
    assert host.state() == record
    return done.err


@pytest.fixture
def nat(vpc1: Host) -> Host:
    vpc1.do("nat enable --vpc vpc1")
    return vpc1


def mended(host: Host, says: str) -> None:
    """`status` tells it, `restore` mends it."""
    status = host.vpcctl("status")
    assert status.code == 1, status
    assert says in status.out, status
    host.do("restore")
    assert host.do("status").out == "in sync\n"
    host.reaches("vpc1-public", *INTERNET)


def test_a_docker_that_comes_after_us(nat: Host) -> None:
    nat.sh("""iptables -N LATER; iptables -A LATER -j DROP; iptables -I FORWARD -j LATER
              iptables -P FORWARD DROP""")
    mended(nat, "other rules stand before it")
    nat.sh("iptables -D FORWARD -j LATER; iptables -F LATER; iptables -X LATER; iptables -P FORWARD ACCEPT")


def test_a_flush_of_everything_of_ours(nat: Host) -> None:
    rules = nat.sh("iptables-save")
    nat.sh("iptables -F; iptables -t nat -F")
    mended(nat, "VPCCTL-FORWARD")
    nat.run("sh", "-c", "iptables-restore", stdin=rules)


def test_a_reload_without_our_rules(nat: Host) -> None:
    nat.sh(RELOAD)
    mended(nat, "VPCCTL-INPUT")


def test_a_delete_after_a_flush(nat: Host) -> None:
    nat.sh(RELOAD)
    nat.do("vpc delete --name vpc1")


@pytest.mark.parametrize(("meddling", "says"), [
    ("ip link set vpc-vpc1 down", "down"),
    ("ip addr flush dev vpc-vpc1", "address 169.254.64.0/31"),
    ("ip route del 10.0.0.0/16", "route 10.0.0.0/16"),
    ("ip -n vpc1-public link set eth0 down", "down"),
    ("ip -n vpc1 route del default", "route default"),
    ("sysctl -qw net.ipv4.ip_forward=0", "ip_forward"),
    ("ip -n vpc1 route flush table main", "the route to 169.254.64.0/31 is gone"),
    ("ip -n vpc1-public route flush table main", "route 10.0.0.1/32"),
    ("ip route del 169.254.64.0/31", "the route to 169.254.64.0/31 is gone"),
    ("ip -n vpc1-public route replace default via 10.0.2.2 dev eth0 onlink", "it leads to 10.0.2.2"),
    ("ip -n vpc1 route replace blackhole default; iptables -F VPCCTL-INPUT", "it leads to blackhole"),
])
def test_a_network_manager(nat: Host, meddling: str, says: str) -> None:
    nat.sh(meddling)
    mended(nat, says)


def test_a_comment_with_a_line_break_in_it(nat: Host) -> None:
    nat.sh("iptables -A FORWARD -s 192.0.2.9 -m comment --comment 'two words\nmore' -j DROP")
    assert nat.do("status").out == "in sync\n"
    nat.do("vpc delete --name vpc1")
    nat.sh("iptables -D FORWARD -s 192.0.2.9 -m comment --comment 'two words\nmore' -j DROP")


def test_an_undo_makes_no_rule_that_was_not_there(nat: Host) -> None:
    nat.sh("iptables -D FORWARD -m comment --comment 'vpcctl:host ip_forward=0' -j VPCCTL-FORWARD")
    fails(nat, "vpc delete --name vpc1", "netns del")
    nat.sh("iptables -t nat -F POSTROUTING")
    topology = nat.do("export").out.replace("10.0.1.0/24", "10.0.9.0/24")
    fails(nat, f"apply -f {nat.write('network.yaml', topology)}", "10.0.9.2")
    nat.do("restore")
    nat.sh("iptables -t nat -A POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE")


def test_a_restore_that_fails_leaves_our_jump_where_it_was(nat: Host) -> None:
    nat.sh("iptables -I FORWARD -s 192.0.2.9 -j ACCEPT; ip -n vpc1 link del uplink")
    fails(nat, "restore", "link set uplink")
    nat.do("restore")
    nat.sh("iptables -D FORWARD -s 192.0.2.9 -j ACCEPT")


def test_a_rule_of_another_that_is_as_ours_stays(nat: Host) -> None:
    listed = nat.sh("iptables -t nat -S VPCCTL-POSTROUTING").splitlines()
    (rule,) = [line.replace("VPCCTL-", "") for line in listed if "vpcctl:" in line]
    ours = "-m comment --comment 'vpcctl:host ip_forward=0' -j VPCCTL-FORWARD"
    nat.sh(f"iptables -t nat {rule}; iptables -D FORWARD {ours}")
    nat.do("vpc delete --name vpc1")
    nat.sh(f"iptables -t nat {rule.replace('-A', '-D', 1)}")


def test_a_jump_to_our_chain_that_another_added_is_named_with_what_removes_it(nat: Host) -> None:
    nat.sh("iptables -A INPUT -s 192.0.2.9 -j VPCCTL-FORWARD")
    nat.refused("vpc delete --name vpc1", says="vpcctl restore")
    nat.do("restore")
    nat.do("vpc delete --name vpc1")


def test_a_delete_where_the_rules_can_t_be_read(nat: Host) -> None:
    folder = nat.scratch / "blind"
    folder.mkdir()
    (folder / "iptables-save").symlink_to("/bin/false")
    nat.do("nat disable --vpc vpc1", PATH=f"{folder}:{os.environ['PATH']}")


def test_where_something_of_ours_is_missing_the_way_on_is_told(vpc1: Host) -> None:
    vpc1.sh("ip -n vpc1 link del br-vpc1")
    vpc1.refused("subnet add --vpc vpc1 --name more --cidr 10.0.3.0/24", says="vpcctl restore")
    vpc1.do("restore")
    vpc1.do("subnet add --vpc vpc1 --name more --cidr 10.0.3.0/24")


@pytest.mark.parametrize("command", [
    "exec --vpc vpc1 --subnet public -- true", "capture --vpc vpc1 --subnet public",
    "firewall show --vpc vpc1 --subnet public",
])
def test_in_a_namespace_that_somebody_deleted(vpc1: Host, command: str) -> None:
    policy = vpc1.write("policy.json", '{"ingress": []}')
    vpc1.do(f"firewall apply --vpc vpc1 --subnet public --policy {policy}")
    vpc1.sh(losing("vpc1-public", "vpc1", "s-public"))
    done = vpc1.refused(command, says="namespace vpc1-public is recorded, but missing")
    assert "vpcctl restore" in done.err
    vpc1.do("restore")


def test_forwarding_that_somebody_turned_off_stays_off(nat: Host) -> None:
    nat.sh("sysctl -qw net.ipv4.ip_forward=0; sysctl -qw net.ipv4.conf.all.accept_redirects=0")
    nat.do("nat disable --vpc vpc1")
    assert nat.sh("sysctl -n net.ipv4.conf.all.accept_redirects") == "0\n"
    nat.sh("sysctl -qw net.ipv4.conf.all.accept_redirects=1")


@pytest.mark.parametrize("command", [
    "vpc delete --name vpc1", "subnet add --vpc vpc2 --name more --cidr 172.16.3.0/24",
    "peer delete --vpc1 vpc1 --vpc2 vpc2", "nat disable --vpc vpc1",
])
def test_any_command_on_a_host_that_restarted(vpc2: Host, command: str) -> None:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc2.sh("for end in '' -public -private; do ip netns del vpc1$end; ip netns del vpc2$end; done")
    vpc2.sh(RELOAD)
    assert "vpc2-public" in vpc2.do(command).err, "it says what was gone"
    assert vpc2.do("status").out == "in sync\n"


def test_a_change_of_an_address_that_somebody_removed(vpc1: Host) -> None:
    vpc1.sh("ip -n vpc1-public addr flush dev eth0")
    topology = vpc1.do("export").out.replace("10.0.1.0/24", "10.0.3.0/24")
    vpc1.do("apply -f", vpc1.write("network.yaml", topology))
    assert vpc1.do("status").out == "in sync\n"


def test_a_bridge_that_is_made_anew_has_its_ports_again(vpc1: Host) -> None:
    vpc1.sh("ip -n vpc1 link set br-vpc1 address 02:00:00:00:00:01")
    assert vpc1.vpcctl("status").code == 1
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", address(vpc1, "vpc1-private"))


def address(host: Host, namespace: str) -> str:
    return host.sh(f"ip -n {namespace} -4 -o address show dev eth0").split()[3].partition("/")[0]


@pytest.mark.parametrize("thing", ["mkdir", "mkfifo", "ln -s nowhere"])
def test_what_is_no_file_in_the_place_of_ours(nat: Host, thing: str) -> None:
    nat.sh(f"cd /etc/netns/vpc1-public && rm resolv.conf && {thing} resolv.conf; "
           f"mkdir /etc/netns/another && cd /etc/netns/another && {thing} resolv.conf")
    status = nat.vpcctl("status")
    assert (status.code, "it is not a file" in status.out) == (1, True), status
    nat.do("vpc delete --name vpc1")
    left = ["another", "other", *(["vpc1-public"] if thing == "mkdir" else [])]
    assert nat.sh("ls /etc/netns").split() == left
    nat.sh("rm -rf /etc/netns/vpc1-public /etc/netns/another")


def test_what_could_not_be_changed_need_not_be_undone(nat: Host) -> None:
    nat.do("subnet add --vpc vpc1 --name more --cidr 10.0.3.0/24 --type public")
    # The mount is the sandbox's own: a file that root can read and can't write.
    nat.sh("mount --bind /etc/netns/vpc1-more /etc/netns/vpc1-more; "
           "mount -o remount,ro,bind /etc/netns/vpc1-more; "
           "echo nameserver 9.9.9.9 >/run/other-names; mount --bind /run/other-names /etc/resolv.conf")
    before, record = nat.portrait(), nat.state()
    failed = nat.vpcctl("nat", "enable", "--vpc", "vpc1")
    assert (failed.code, failed.err.count("Read-only file system")) == (1, 1), failed
    assert "could not be undone" not in failed.err
    nat.check_same(before)
    assert nat.state() == record
    nat.sh("umount /etc/netns/vpc1-more; umount /etc/resolv.conf; rm -r /run/other-names /run/mount")


def test_a_link_that_somebody_made_too_small_for_ipv6(vpc1: Host) -> None:
    vpc1.sh("ip -n vpc1-public link set eth0 mtu 600; ip -n vpc1 link set s-private mtu 600")
    assert vpc1.vpcctl("status").code == 1
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    assert "inet6" not in vpc1.sh("ip -n vpc1-public address show dev eth0")
    assert "inet6" not in vpc1.sh("ip -n vpc1 address show dev s-private")
    vpc1.reaches("vpc1-public", address(vpc1, "vpc1-private"))


def test_a_route_of_another_on_the_host_is_named_and_stays(vpc1: Host) -> None:
    vpc1.sh("ip route replace 10.0.0.0/16 via 192.168.77.2")
    route = "route 10.0.0.0/16 via 169.254.64.1 dev vpc-vpc1 on the host"
    done = vpc1.refused("restore", says=f"{route} already exists")
    assert "remove it: ip route del 10.0.0.0/16 via 192.168.77.2 dev vpc-lan" in done.err
    vpc1.sh("ip route del 10.0.0.0/16")
    vpc1.do("restore")


def test_a_restore_that_does_not_last_does_not_claim_to(vpc1: Host) -> None:
    folder = vpc1.scratch / "meddling"
    folder.mkdir()
    # Not when it is asked for its version, which is before vpcctl looks at what there is to mend.
    (folder / "iptables-restore").write_text(
        f'#!/bin/sh\n{shutil.which("iptables-restore")} "$@" || exit\n'
        '[ "$1" = --version ] || ip -n vpc1-private link set eth0 down\n')
    (folder / "iptables-restore").chmod(0o755)
    vpc1.sh("iptables -F VPCCTL-INPUT")
    done = vpc1.vpcctl("restore", PATH=f"{folder}:{os.environ['PATH']}")
    assert (done.code, done.out) == (1, "")
    assert "could be restored: link eth0 in vpc1-private: its state is down, not up" in done.err
    vpc1.do("restore")
