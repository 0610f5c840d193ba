"""What is read over netlink is what `ip`, `bridge`, `tc` and `nft` print of the same namespace."""

from __future__ import annotations

import json
import sys
from typing import Any

from host import CHECKOUT, Host

PLENTY = """
ip link add br0 type bridge nf_call_iptables 1
ip link add p0 type veth peer name e0 netns far
ip link set p0 master br0 up
ip link set p0 type bridge_slave isolated on flood off
ip link set br0 up
ip -n far link set e0 up
ip -n far addr add 10.0.0.2/24 dev e0
ip addr add 10.0.0.1/24 dev br0
ip addr add 10.0.0.3/24 dev br0
ip addr add fd00::1/64 dev br0 nodad
ip link add v0 type veth peer name v1
ip addr add 10.9.0.1 peer 10.9.0.2/32 dev v0
ip link set v0 up
ip link set v1 alias 'an alias: "quoted"'
ip link property add dev v1 altname a-name-that-is-longer-than-links-have
ip route add 10.5.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.0.4 dev br0 onlink weight 3
ip route add 10.6.0.0/16 via 10.0.0.2 mtu lock 1400 initcwnd 3 metric 5
ip route add blackhole 10.7.0.0/16 table 77
ip route add unreachable default metric 4000
ip route add 10.8.0.0/16 via inet6 fd00::2 dev br0
ip route add 10.90.0.0/16 tos 8 via 10.0.0.2
ip nexthop add id 7 via 10.0.0.2 dev br0
ip route add 10.91.0.0/16 nhid 7
ip rule add from 10.0.0.0/8 fwmark 7/15 iif br0 lookup 77
ip rule add not to 10.1.0.0/16 ipproto udp blackhole
ip rule add ipproto gre fwmark 9 prohibit
ip rule add oif nosuch lookup main suppress_prefixlength 0
ip rule add uidrange 0-5 tos 4 goto 32766
ip rule add dport 5 lookup 77
ip -6 route add blackhole fd07::/48 table 77
ip -6 route add fd08::/48 via fd00::2 mtu 1400 metric 5
ip -6 route add fd09::/48 nexthop via fd00::2 dev br0 nexthop via fd00::4 dev br0 weight 3
ip -6 rule add from fd00::/16 fwmark 7/15 iif br0 lookup 77
ip -6 rule add not to fd01::1 ipproto udp blackhole
ip -6 neigh add fd00::9 lladdr 02:00:00:00:00:01 dev br0 nud permanent
ip -6 addr add fd00::5/64 dev br0 preferred_lft 0 nodad
ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev br0 nud permanent
ip neigh add 10.0.0.10 lladdr 02:00:00:00:00:02 dev br0 nud noarp
bridge fdb add 02:00:00:00:00:05 dev p0 master static
tc qdisc add dev v0 root pfifo
tc qdisc add dev p0 root tbf rate 100mbit burst 16kb limit 32kb
tc qdisc add dev p0 clsact
iptables -A INPUT -j ACCEPT
nft -f - <<'EOF'
table inet t { chain c { type filter hook forward priority 0; }; chain ordinary { }; }
table netdev n { chain i { type filter hook ingress device v0 priority 0; }; }
table bridge b { chain c { type filter hook prerouting priority -200; }; }
table arp a { chain o { type filter hook output priority 0; }; }
table ip6 s { chain p { type filter hook postrouting priority 0; }; }
EOF
"""
READ = """
import json, sys
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Runner
kernel, space = Kernel(Runner()), sys.argv[1]
said = {one.name: (one.value, kernel.read(space, one)[0]) for one in Reading}
numbers = kernel.numbers(space)
print(json.dumps([said, [numbers.name(number) for number in range(-1, 3)]]))
"""
UNTOLD = {"MULTICAST", "M-DOWN"}
"""Flags of links that nobody needs."""

MORE = {"QUEUES": {"limit", "filters"},
        "MAIN_ROUTES": {"table", "scope", "protocol"}, "MAIN_ROUTES6": {"table", "scope", "protocol"}}
"""What `ip` leaves out where it is the usual."""


Said = dict[str, tuple[list[str], list[dict[str, Any]]]]


def read(host: Host, space: str) -> tuple[Said, list[str]]:
    done = host.run(sys.executable, "-c", READ, space, PYTHONPATH=str(CHECKOUT))
    assert done.code == 0, done
    said, numbers = done.json
    return said, numbers


def printed(host: Host, space: str, argv: list[str]) -> list[dict[str, Any]]:
    found = json.loads(host.sh(" ".join(argv), space) or "[]", strict=False)
    if isinstance(found, dict):
        return [one for one in found["nftables"] if "chain" in one]
    return [one for one in found if "master" in one or argv[0] != "bridge"]


def unlike(mine: Any, theirs: Any, more: set[str], path: str = "") -> list[str]:
    """Where the first says something that the second does not; what is odd only has a key.

    An attribute without a name is newer than the tool.
    """
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [f"{path}.{key}" for key in mine.keys() - theirs.keys() - more
                if not key.startswith("attribute")] + [
            one for key in mine.keys() & theirs.keys()
            for one in unlike(mine[key], theirs[key], more, f"{path}.{key}")]
    if isinstance(mine, list) and isinstance(theirs, list):
        if path.endswith("flags"):
            return [f"{path} {theirs}"] if set(mine) != set(theirs) - UNTOLD else []
        if len(mine) != len(theirs):
            return [f"{path}: {len(mine)} of {len(theirs)}"]
        return [one for number, pair in enumerate(zip(mine, theirs, strict=True))
                for one in unlike(*pair, more, f"{path}[{number}]")]
    return [] if mine is True or mine == theirs else [f"{path}: {mine!r} {theirs!r}"]


def test_netlink_says_what_the_tools_say(host: Host) -> None:
    # An address of IPv6 that a link chooses for itself comes and gets a route in its own time.
    host.sh("for one in near far; do ip netns add $one; ip -n $one link set lo up; "
            "ip netns exec $one sysctl -qw net.ipv6.conf.default.addr_gen_mode=1; done")
    host.sh(PLENTY, "near")
    for space in ("near", "far", "", "other"):
        said, _ = read(host, space)
        for name, (argv, mine) in said.items():
            assert unlike(mine, printed(host, space, argv), MORE.get(name, set())) == [], (space, name)
    host.sh("ip netns del near; ip netns del far")


def test_each_number_has_its_name(host: Host) -> None:
    host.sh("""ip netns add near; for far in one two; do ip netns add $far
        ip -n near link add $far type veth peer name e0 netns $far; done; ip netns del two""")
    _, numbers = read(host, "near")
    listed = {one.get("id"): one["name"] for one in json.loads(host.sh("ip -j netns list", "near"))}
    assert numbers == [listed.get(number, "") for number in range(-1, 3)]
    assert "one" in numbers
    host.sh("ip netns del near; ip netns del one")
