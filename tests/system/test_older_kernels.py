"""Kernels before 6.17, which can't forward IPv6 for single links: the host forwards all, and gets it back.

Their switch for single links is hidden: nobody can read it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from host import CHECKOUT, UPLINK6, Host
from test_ipv6 import ADVERTISE, FORCE, INTERNET, host_setting, needs_force, pings
from test_publish_six import WEB, refusing, seen
from test_publish_six import dual as dual

ALL = "net.ipv6.conf.all.forwarding"
HEARS, BEGIN = (f"net.ipv6.conf.{link}.accept_ra" for link in ("lan0", "default"))
SWITCH = "/proc/sys/net/ipv6/conf/all/force_forwarding"
AS_BEFORE = f"""sysctl -qw {ALL}=0 net.ipv4.ip_forward=0
for file in $(grep -lx 2 /proc/sys/net/ipv6/conf/*/accept_ra); do echo 1 >$file; done"""
"""What a test puts back that had vpcctl leave it."""

LOW = ADVERTISE.replace("0, 64, 0, 1800", "0, 64, 0x18, 1800")
"""Of a router that has a default route for who has no other (RFC 4191, 2.2)."""

pytestmark = needs_force


@pytest.fixture
def older(dual: Host) -> Iterator[Host]:
    """A host without the switch, and with a link whose router advertises a default route."""
    dual.sh("mkdir /run/hidden; mount -t tmpfs -o nodev none /run/hidden; mknod /run/hidden/none c 1 3; "
            f"mount --bind /run/hidden/none {SWITCH}")
    dual.sh("ip netns add isp; ip link add lan0 type veth peer name lan netns isp; ip link set lan0 up; "
            "ip -n isp link set lan up")
    dual.wait_until(lambda: hears(dual), "the route is there")
    yield dual
    dual.sh(f"ip link del lan0; ip netns del isp; umount {SWITCH}; umount /run/hidden; "
            "rm -r /run/hidden /run/mount")


def routed(host: Host, link: str = "lan0") -> bool:
    """Whether the advertised route is there."""
    return "proto ra" in host.sh(f"ip -6 route show default dev {link}")


def hears(host: Host, link: str = "lan0", router: str = "isp") -> bool:
    """Whether the host has the route once its router has advertised it anew."""
    host.sh(f"ip -6 route del default dev {link} 2>/dev/null || true")
    host.inside(router, "python3", "-c", LOW)
    return routed(host, link)


def test_without_this_the_route_would_go(older: Host) -> None:
    older.sh(f"sysctl -qw {ALL}=1")
    assert not routed(older)
    assert not hears(older)
    older.sh(f"sysctl -qw {ALL}=0")


def test_nat_lets_machines_out_and_the_host_keeps_its_route(older: Host) -> None:
    assert not pings(older, "vpc1-public", INTERNET[0])
    told = older.do("nat enable --vpc vpc1").err
    assert f"the host forwards IPv6 of all its links now ({ALL})" in told
    assert pings(older, "vpc1-public", INTERNET[0])
    assert not pings(older, "vpc1-private", INTERNET[0])
    assert not pings(older, "vpc2-public", INTERNET[0])
    assert [host_setting(older, key) for key in (ALL, HEARS, FORCE)] == ["1", "2", "0"]
    assert routed(older)
    older.wait_until(lambda: hears(older), "advertisements still count")
    older.do("status")
    assert ALL not in older.do("nat enable --vpc vpc2").err
    older.do("nat disable --vpc vpc2")
    older.do("nat disable --vpc vpc1")
    assert [host_setting(older, key) for key in (ALL, HEARS, BEGIN)] == ["0", "1", "1"]
    assert not pings(older, "vpc1-public", INTERNET[0])
    assert routed(older)
    older.wait_until(lambda: hears(older), "advertisements count as before")


@pytest.fixture
def later(older: Host) -> Iterator[Host]:
    """The same, where NAT was enabled before the host got a second such link."""
    older.do("nat enable --vpc vpc1")
    older.sh("ip netns add other-isp; ip link add lan1 type veth peer name lan netns other-isp; "
             "ip link set lan1 up; ip -n other-isp link set lan up")
    yield older
    older.sh("ip link del lan1; ip netns del other-isp")


def test_a_link_that_comes_later_hears_its_router_too(later: Host) -> None:
    later.wait_until(lambda: hears(later, "lan1", "other-isp"), "the route is there")
    later.do("status")
    later.do("nat disable --vpc vpc1")
    assert host_setting(later, BEGIN) == "1"
    later.wait_until(lambda: hears(later, "lan1", "other-isp"), "advertisements still count")


def test_a_link_that_is_deaf_by_now_is_named_and_mended(later: Host) -> None:
    later.sh(f"sysctl -qw net.ipv6.conf.lan1.accept_ra=1 {BEGIN}=1")
    assert not hears(later, "lan1", "other-isp")
    told = later.vpcctl("status").out
    assert "default/accept_ra is 1, not 2" in told
    assert "lan1/accept_ra is 1, not 2" in told
    later.sh(later.do("restore --dry-run").out)
    later.do("status")
    later.sh(f"sysctl -qw net.ipv6.conf.lan1.accept_ra=1 {BEGIN}=1")
    later.do("restore")
    later.do("status")
    later.wait_until(lambda: hears(later, "lan1", "other-isp"), "the route is there")
    # A bridge's port hears nothing: the bridge does.
    later.sh("ip link add br9 type bridge; ip link set lan1 master br9; "
             "sysctl -qw net.ipv6.conf.lan1.accept_ra=1")
    later.do("status")
    later.sh("ip link del br9; sysctl -qw net.ipv6.conf.lan1.accept_ra=2")
    later.do("nat disable --vpc vpc1")
    assert [host_setting(later, key) for key in (ALL, BEGIN, HEARS, HEARS.replace("0", "1"))] == [*"0111"]


@pytest.mark.parametrize("by_script", [False, True])
def test_a_link_that_was_renamed_gets_its_setting_back(older: Host, by_script: bool) -> None:
    older.do("nat enable --vpc vpc1")
    older.sh("ip link set lan0 down; ip link set lan0 name wan0; ip link set wan0 up")
    renamed = HEARS.replace("lan0", "wan0")
    assert host_setting(older, renamed) == "2"
    if by_script:
        older.sh(f"{CHECKOUT}/cleanup.sh --yes; rm /var/lib/vpcctl/state.json.*")
    else:
        older.do("nat disable --vpc vpc1")
    assert [host_setting(older, key) for key in (ALL, BEGIN, renamed)] == ["0", "1", "1"]
    older.sh("ip link set wan0 down; ip link set wan0 name lan0; ip link set lan0 up")


def test_published_ports_need_it_too(older: Host) -> None:
    older.listen("vpc1-public", "80", address="::")
    older.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    assert "2001:db8::1" in seen(older, "internet", WEB)[0]
    assert "vpc1-public" in seen(older, "", WEB)[0]
    assert routed(older)
    older.do("publish delete --port 8080")
    assert refusing(older, WEB)
    assert host_setting(older, ALL) == "0"


def test_damage_is_named_and_mended(older: Host) -> None:
    older.do("nat enable --vpc vpc1")
    for damage, says in ((f"{ALL}=0", f"{ALL} is not 1"), (f"{HEARS}=1", "lan0/accept_ra is 1, not 2")):
        older.sh(f"sysctl -qw {damage}")
        assert says in older.vpcctl("status").out
        older.do("restore")
        older.do("status")
        assert pings(older, "vpc1-public", INTERNET[0])
        older.wait_until(lambda: hears(older), "advertisements still count")
    older.sh(f"sysctl -qw {ALL}=0")
    assert older.vpcctl(*f"reach --from vpc1/public --to {INTERNET[0]} --json".split()).json["reach"][
        "blocked_by"]["fix"] == "vpcctl restore"
    older.do("restore")


def test_what_others_had_or_need_stays(older: Host) -> None:
    older.sh("sysctl -qw net.ipv6.conf.lan0.forwarding=1 net.ipv6.conf.vpc-lan.accept_ra=0")
    older.do("nat enable --vpc vpc1")
    assert host_setting(older, "net.ipv6.conf.vpc-lan.accept_ra") == "0"
    older.do("nat disable --vpc vpc1")
    assert (host_setting(older, ALL), host_setting(older, "net.ipv6.conf.lan0.forwarding"),
            host_setting(older, "net.ipv6.conf.eth0.forwarding")) == ("0", "1", "0")
    older.do("nat enable --vpc vpc1")
    older.sh("iptables -I FORWARD -i eth0 -o lan0 -j ACCEPT")
    assert f"{ALL} stays 1" in older.do("nat disable --vpc vpc1").err
    older.sh(f"iptables -D FORWARD -i eth0 -o lan0 -j ACCEPT; {AS_BEFORE}")
    # One that forwards already is left as it is.
    older.sh(f"sysctl -qw {ALL}=1")
    older.do("nat enable --vpc vpc1")
    assert host_setting(older, HEARS) == "1"
    older.do("nat disable --vpc vpc1")
    assert host_setting(older, ALL) == "1"
    older.sh(f"sysctl -qw {ALL}=0 net.ipv6.conf.vpc-lan.accept_ra=1")


def test_cleanup_and_a_rebuilt_record(older: Host) -> None:
    older.do("nat enable --vpc vpc1")
    before = older.do("export").out
    older.sh("mkdir /run/kept; cp /var/lib/vpcctl/state.json* /run/kept; rm /var/lib/vpcctl/state.json*")
    assert f"the value of {ALL} before is unknown: it will stay on" in older.do("restore --from-kernel").err
    older.do("status")
    assert older.do("export").out == before
    older.sh("mv /run/kept/state.json* /var/lib/vpcctl; rmdir /run/kept")
    older.sh(f"{CHECKOUT}/cleanup.sh --yes; rm /var/lib/vpcctl/state.json.*")
    assert [host_setting(older, key) for key in (ALL, HEARS, BEGIN)] == ["0", "1", "1"]
    assert routed(older)


def test_a_dry_run_can_be_pasted(older: Host) -> None:
    older.sh(older.do("nat enable --vpc vpc1 --dry-run").out)
    assert pings(older, "vpc1-public", INTERNET[0])
    assert host_setting(older, HEARS) == "2"
    assert routed(older)
    older.sh(f"{CHECKOUT}/cleanup.sh --yes; rm /var/lib/vpcctl/state.json.*; {AS_BEFORE}")


def test_the_address_stays_that_of_the_host(older: Host) -> None:
    """The way out has a route that nobody advertised: it is the one that packets take."""
    older.do("nat enable --vpc vpc1")
    told = older.inside("vpc1-public", "curl", "-s", "-m", "2", "-g", f"http://[{INTERNET[0]}]/").out
    assert f"your address: {UPLINK6}" in told
