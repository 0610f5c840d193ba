"""The same network on hosts that are set differently: rp_filter, policies, bridge netfilter, iptables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from host import INTERNET, Host

BRIDGE_KEY = "/proc/sys/net/bridge/bridge-nf-call-iptables"
DOCKER = """*filter
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
-I FORWARD 1 -j DOCKER-ISOLATION-STAGE-1
-I FORWARD 2 -o br-office -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-I FORWARD 3 -o br-office -j DOCKER
-I FORWARD 4 -i br-office -o br-office -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i br-office ! -o br-office -j RETURN
-A DOCKER -d 192.168.78.2/32 ! -i br-office -o br-office -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
"""


def build_and_check(host: Host) -> None:
    """All that two VPCs do, and what they must not."""
    for line in (
        "vpc create --name vpc1 --cidr 10.0.0.0/16",
        "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
        "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24",
        "vpc create --name vpc2 --cidr 172.16.0.0/16",
        "subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public",
        "nat enable --vpc vpc1",
    ):
        host.do(line)
    host.listen("vpc1-private", "80")
    host.listen("vpc2-public", "80")
    host.listen("", "80")
    check_before_peering(host)
    host.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    host.reaches("vpc1-public", "172.16.1.2:80", "172.16.1.2")
    host.reaches("vpc2-public", "10.0.2.2:80", "10.0.2.2")


def check_before_peering(host: Host) -> None:
    host.reaches("vpc1-public", "10.0.2.2", "10.0.2.2:80", *INTERNET)
    host.reaches("", "10.0.1.2", "10.0.2.2:80", "172.16.1.2:80")
    host.none_reach(("vpc1-public", "172.16.1.2:80"), ("vpc2-public", "10.0.2.2:80"),
                    ("vpc1-private", "8.8.8.8"), ("vpc2-public", "8.8.8.8"),
                    ("vpc1-public", "203.0.113.2:80"), ("vpc1-private", "169.254.64.0:80"))


@pytest.fixture
def docker(host: Host) -> Iterator[Host]:
    """A host with rules like Docker's."""
    host.sh(f"iptables-save >{host.scratch}/rules")
    host.sh(f"sysctl -a -r rp_filter >{host.scratch}/settings 2>/dev/null")
    assert host.run("iptables-restore", "--noflush", stdin=DOCKER).code == 0
    yield host
    host.delete_all()
    host.sh(f"iptables-restore <{host.scratch}/rules; sysctl -qp {host.scratch}/settings")


def set_bridge_netfilter(host: Host, bridged: str) -> None:
    if bridged == "missing":
        # As on a host without br_netfilter: nobody can see or set the key.
        host.sh("mount -t tmpfs tmpfs /proc/sys/net/bridge")
    else:
        host.sh(f"echo {bridged} >{BRIDGE_KEY}")


KINDS_OF_HOSTS = [
    # By default each value beside each value of the other two; the rest take as long, and say little more.
    pytest.param(level, policy, bridged, marks=() if (one + other) % 2 == third else pytest.mark.slow)
    for one, level in enumerate(("0", "1", "2")) for third, policy in enumerate(("ACCEPT", "DROP"))
    for other, bridged in enumerate(("0", "1", "missing"))]


@pytest.mark.parametrize(("level", "policy", "bridged"), KINDS_OF_HOSTS)
def test_it_is_the_same_everywhere(docker: Host, level: str, policy: str, bridged: str) -> None:
    docker.sh(f"for key in /proc/sys/net/ipv4/conf/*/rp_filter; do echo {level} >$key; done; "
              f"iptables -P FORWARD {policy}")
    set_bridge_netfilter(docker, bridged)
    build_and_check(docker)
    if bridged == "missing":
        docker.sh("umount /proc/sys/net/bridge; rm -r /run/mount")
    else:
        assert docker.sh(f"cat {BRIDGE_KEY}").strip() == bridged, "the host's own is never touched"
        docker.sh(f"echo 1 >{BRIDGE_KEY}")


@pytest.mark.parametrize("value", ["0", "1"])
def test_bridge_netfilter_may_be_turned_on_inside_later(vpc1: Host, value: str) -> None:
    vpc1.sh(f"echo {value} >{BRIDGE_KEY}", "vpc1")
    vpc1.listen("vpc1-private", "80")
    vpc1.reaches("vpc1-public", "10.0.2.2", "10.0.2.2:80")


def test_the_bridge_s_own_is_off(vpc1: Host) -> None:
    assert vpc1.sh(f"cat {BRIDGE_KEY}", "vpc1").strip() == "0"


@pytest.mark.parametrize(("namespace", "link"), [
    ("vpc1", "br-vpc1"), ("vpc1", "uplink"), ("vpc1", "pcx-vpc2"), ("", "vpc-vpc1")])
def test_a_link_that_forwards_no_more_is_told_and_mended(vpc2: Host, namespace: str, link: str) -> None:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    setting = f"net.ipv4.conf.{link}.forwarding"
    vpc2.sh(f"sysctl -qw {setting}=0", namespace)
    status = vpc2.vpcctl("status", "--json").json["status"]
    assert [one["detail"] for one in status["findings"]] == [f"{setting} is 0, not 1"]
    vpc2.do("restore")
    assert vpc2.do("status").out == "in sync\n"
    vpc2.reaches("vpc1-public", "8.8.8.8", "172.16.1.2")


def test_what_a_subnet_or_a_port_of_the_bridge_forwards_is_no_matter(vpc1: Host) -> None:
    vpc1.sh("sysctl -qw net.ipv4.conf.s-public.forwarding=0", "vpc1")
    vpc1.sh("sysctl -qw net.ipv4.conf.eth0.forwarding=0", "vpc1-public")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", "10.0.2.2")


@pytest.fixture
def legacy(host: Host) -> Iterator[Host]:
    """A host whose iptables is the older one, which writes to the kernel by itself; its rules are there."""
    others = host.sh("iptables-nft-save")
    host.sh("iptables-nft-save | sed '/^-/d; /^:.* -/d' | iptables-nft-restore")
    host.run("sh", "-c", "iptables-legacy-restore", stdin=others)
    for tool in ("iptables", "iptables-restore", "iptables-save"):
        older = tool.replace("iptables", "iptables-legacy")
        (host.scratch / tool).symlink_to(host.sh(f"command -v {older}").strip())
    path = host.sh("echo $PATH").strip()
    host.environment["PATH"] = f"{host.scratch}:{path}"
    yield host
    host.delete_all()
    host.sh("iptables-legacy-save | sed '/^-/d; /^:.* -/d' | iptables-legacy-restore")
    host.run("sh", "-c", "iptables-nft-restore", stdin=others)


def test_with_the_older_iptables(legacy: Host) -> None:
    assert "legacy" in legacy.sh("iptables --version")
    build_and_check(legacy)
    assert "VPCCTL-INPUT" in legacy.sh("iptables-legacy-save")
    assert "VPCCTL" not in legacy.sh("iptables-nft-save")


def test_its_lock_is_waited_for(legacy: Host) -> None:
    holder = legacy.start("", "flock", "/run/xtables.lock", "sleep", "2")
    legacy.wait_until(lambda: legacy.run("flock", "-n", "/run/xtables.lock", "true").code == 1, "it is held")
    legacy.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    assert legacy.run("flock", "-n", "/run/xtables.lock", "true").code == 0, "it came after"
    legacy.stop(holder)


def test_its_firewall_too(legacy: Host) -> None:
    legacy.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    legacy.do("subnet add --vpc vpc1 --name a --cidr 10.0.1.0/24")
    legacy.listen("vpc1-a", "80", "81")
    policy = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}]}
    legacy.do("firewall apply --vpc vpc1 --subnet a --policy", legacy.write("policy.json", policy))
    legacy.reaches("", "10.0.1.2:80")
    legacy.never_reaches("", "10.0.1.2:81", "10.0.1.2")
    shown = legacy.do("firewall show --vpc vpc1 --subnet a --json").json["firewall"]["counters"]
    assert shown["ingress[0]"]["packets"] == 1


def test_as_a_plain_user(make_host: Callable[..., Host], rootless: tuple[str, ...]) -> None:
    build_and_check(make_host(*rootless))
