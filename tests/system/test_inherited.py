"""What our namespaces take over from the host: nothing that is dangerous, however it is set."""

from __future__ import annotations

import pytest
from host import Host

from vpcctl_lib.kernel import sysctls
from vpcctl_lib.kernel.sysctls import Profile

KINDS = {"vpc1": Profile.ROUTER, "vpc1-public": Profile.SUBNET, "vpc1-private": Profile.SUBNET}
WRONG = {"accept_local": 1, "accept_redirects": 1, "accept_source_route": 1, "arp_announce": 2,
         "arp_filter": 1, "arp_ignore": 1, "proxy_arp": 1, "proxy_arp_pvlan": 1, "route_localnet": 1,
         "rp_filter": 1, "src_valid_mark": 1}

# A namespace takes over what the machine's first one has, which the test must leave alone: so `ip` is
# followed by a script that sets each new namespace as it would be born on a machine that is set like that.
SHIM = """#!/bin/bash
PATH=/usr/sbin:/usr/bin:/sbin:/bin
lines=$(mktemp)
case " $* " in
*" -batch - "*) cat >$lines; ip "$@" <$lines; code=$? ;;
*) ip "$@"; code=$?; echo "$*" >$lines ;;
esac
grep -oE '(^| )netns add [^ ]+' $lines | while read -r _ _ name; do
    ip netns exec $name sh -c 'cd /proc/sys/net/ipv4/conf; SETTINGS; echo 1 >/proc/sys/net/ipv4/ip_forward'
done
rm $lines
exit $code
"""


def settings() -> str:
    return "; ".join(f"echo {value} >{where}/{key}"
                     for key, value in WRONG.items() for where in ("all", "default"))


@pytest.fixture
def odd(host: Host) -> Host:
    """A host whose new namespaces are born with what an administrator set for the host's own sake."""
    folder = host.scratch / "shim"
    folder.mkdir()
    (folder / "ip").write_text(SHIM.replace("SETTINGS", settings()))
    (folder / "ip").chmod(0o755)
    host.environment["PATH"] = f"{folder}:{host.sh('printf %s $PATH')}"
    for line in ("vpc create --name vpc1 --cidr 10.0.0.0/16",
                 "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
                 "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24",
                 "vpc create --name vpc2 --cidr 172.16.0.0/16",
                 "subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public"):
        host.do(line)
    del host.environment["PATH"]
    return host


def held(host: Host, namespace: str, links: tuple[str, ...]) -> dict[str, str]:
    """The settings of some links of a namespace that are not as they shall be."""
    shall = {f"{link}/{key}": value for link in links for key, value in sysctls.links(KINDS[namespace])}
    text = host.sh(f"cd /proc/sys/net/ipv4/conf; grep -H . {' '.join(shall)}", namespace)
    found = dict(line.split(":", 1) for line in text.splitlines())
    return {key: value for key, value in found.items() if value != shall[key]}


def test_no_setting_of_the_host_is_taken_over(odd: Host) -> None:
    for namespace in KINDS:
        links = ("uplink", "br-vpc1") if namespace == "vpc1" else ("eth0",)
        assert held(odd, namespace, ("all", "default", *links)) == {}
        ipv6 = odd.sh("cd /proc/sys/net/ipv6/conf; cat all/disable_ipv6 default/disable_ipv6", namespace)
        assert ipv6 == "1\n1\n"
    assert odd.sh("cat /proc/sys/net/ipv4/ip_forward", "vpc1-public") == "0\n"
    odd.do("nat enable --vpc vpc1")
    odd.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    odd.reaches("vpc1-public", "172.16.1.2", "10.0.2.2", "8.8.8.8")
    assert odd.do("status").out == "in sync\n"


@pytest.mark.parametrize(("namespace", "key"), [
    ("vpc1", "conf/all/route_localnet=1"), ("vpc1", "conf/default/accept_source_route=1"),
    ("vpc1", "conf/br-vpc1/proxy_arp=1"), ("vpc1", "conf/uplink/arp_ignore=1"),
    ("vpc1", "icmp_ratemask=6168"), ("vpc1-public", "icmp_ratemask=6168"),
    ("vpc1", "neigh/br-vpc1/mcast_solicit=3"), ("vpc1-public", "conf/all/accept_local=1"),
    ("vpc1-public", "conf/eth0/accept_redirects=1"), ("vpc1-public", "ip_forward=1"),
    ("vpc1-private", "ip_unprivileged_port_start=1024"), ("vpc1-private", "ping_group_range=1 0")])
def test_a_setting_that_somebody_changed_is_told_and_mended(shared_vpc1: Host, namespace: str,
                                                            key: str) -> None:
    name, _, value = key.partition("=")
    shared_vpc1.sh(f"echo {value} >/proc/sys/net/ipv4/{name}", namespace)
    found = shared_vpc1.vpcctl("status", "--json").json["status"]["findings"]
    assert [namespace in one["what"] for one in found] == [True], found
    shared_vpc1.do("restore")
    assert shared_vpc1.do("status").out == "in sync\n"


def test_a_workload_can_ping(vpc1: Host) -> None:
    """As a user without capabilities, by the kernel's own ping sockets."""
    asked = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)"
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    done = vpc1.inside("vpc1-public", *bare, "python3", "-c", asked)
    assert done.code == 0, done
