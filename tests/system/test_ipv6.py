"""VPCs with IPv6: who reaches whom, and what nobody may send."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
from frames import END, IPV6, checksum, ether, listen, named, names, send
from host import Host

from vpcctl_lib.model.naming import mac

P, Q = "fd12:3456:789a:1", "fd12:3456:789a:2"
PUBLIC, PRIVATE, ROUTER, HOST_END = f"{P}01::2", f"{P}02::2", f"{P}00::1", f"{P}00::2"
OTHER = f"{Q}01::2"
CHECKOUT = Path(__file__).resolve().parents[2]
MINE, HIS = "02:10:0a:00:02:02", "02:10:0a:00:01:02"
ROUTERS = mac("vpc1")
TCP6 = "import socket; s = socket.create_server(('::', 80), family=socket.AF_INET6)\nwhile True: s.accept()"


@pytest.fixture
def dual(vpc2: Host) -> Host:
    """Two VPCs with IPv6, and two subnets each."""
    vpc2.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    vpc2.do(f"vpc set --name vpc2 --ipv6 {Q}00::/56")
    return vpc2


def pings(host: Host, namespace: str, address: str) -> bool:
    """Whether an answer comes."""
    words = ("ping", "-6", "-c", "1", "-W", "1", address)
    done = host.inside(namespace, *words) if namespace else host.run(*words)
    return done.code == 0


def connects(host: Host, namespace: str, address: str) -> bool:
    """Whether somebody accepts at port 80."""
    script = f"import socket; socket.create_connection(('{address}', 80), 1)"
    return host.inside(namespace, "python3", "-c", script).code == 0


def test_machines_reach_each_other_their_router_and_themselves(dual: Host) -> None:
    for address in (PUBLIC, PRIVATE, ROUTER, "::1"):
        assert pings(dual, "vpc1-public", address), address
    assert not pings(dual, "vpc1-public", f"{P}02::77")
    dual.start("vpc1-private", "python3", "-c", TCP6)
    dual.wait_until(lambda: connects(dual, "vpc1-public", PRIVATE), "the server answers")


def test_the_host_reaches_machines_and_they_do_not_reach_it(dual: Host) -> None:
    assert pings(dual, "", PUBLIC)
    dual.start("", "python3", "-c", TCP6)
    asks = "import socket; socket.create_connection(('::1', 80), 1)"
    dual.wait_until(lambda: dual.run("python3", "-c", asks).code == 0, "the server answers")
    for address in (HOST_END, "fe80::1"):
        assert not pings(dual, "vpc1-public", address), address
        assert not connects(dual, "vpc1-public", address), address
    # The address of the host's end, from a router that somebody led there.
    assert not connects(dual, "vpc1", HOST_END)
    assert not pings(dual, "vpc1", HOST_END)


def check_apart(host: Host) -> None:
    """Nobody of one VPC reaches the other, its router or the host's end there."""
    for one, there in (("vpc1-public", Q), ("vpc1-private", Q), ("vpc2-public", P), ("vpc2-private", P),
                       ("vpc1", Q), ("vpc2", P)):
        for address in (f"{there}01::2", f"{there}02::2", f"{there}00::1", f"{there}00::2"):
            assert not pings(host, one, address), (one, address)
    assert pings(host, "vpc1-public", PRIVATE)
    assert pings(host, "vpc2-private", OTHER)


@pytest.mark.parametrize("breakage", [
    "sysctl -qw net.ipv6.conf.all.forwarding=1",
    "sysctl -qw net.ipv6.conf.all.forwarding=1; ip6tables -F",
    "sysctl -qw net.ipv6.conf.all.forwarding=1; ip6tables -I FORWARD -j ACCEPT; ip6tables -I INPUT -j ACCEPT",
])
@pytest.mark.parametrize("nat", [False, True])
def test_vpcs_do_not_reach_each_other(dual: Host, breakage: str, nat: bool) -> None:
    if nat:
        dual.do("nat enable --vpc vpc1")
        dual.do("nat enable --vpc vpc2")
    theirs = dual.sh("ip6tables -S FORWARD | grep 2001:db8: || true")
    dual.sh(breakage)
    check_apart(dual)
    dual.sh(f"ip6tables -C {theirs.strip()[3:]} 2>/dev/null || ip6tables {theirs.strip() or '-L'}")
    dual.sh("ip6tables -D FORWARD -j ACCEPT 2>/dev/null && ip6tables -D INPUT -j ACCEPT || true; "
            "sysctl -qw net.ipv6.conf.all.forwarding=0")
    dual.do("restore")


def test_peers_reach_each_other_and_no_longer(dual: Host) -> None:
    dual.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    assert pings(dual, "vpc1-public", OTHER)
    assert pings(dual, "vpc2-private", PRIVATE)
    dual.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    check_apart(dual)


def test_a_peer_without_ipv6_is_reached_by_ipv4_only(dual: Host) -> None:
    dual.do("vpc set --name vpc2 --no-ipv6")
    dual.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    assert dual.inside("vpc1-public", "ping", "-c1", "-W1", "172.16.1.2").code == 0
    assert not pings(dual, "vpc1-public", OTHER)
    assert dual.sh("ip -6 addr", "vpc2-public") == ""


def packet(source: str, target: str, kind: int, rest: bytes, hops: int = 255) -> bytes:
    """A packet of IPv6."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    return struct.pack("!IHBB", 0x60000000, len(rest), kind, hops) + ends + rest


def icmp(source: str, target: str, kind: int, rest: bytes) -> bytes:
    """A message with its checksum."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    message = struct.pack("!BBH", kind, 0, 0) + rest
    total = checksum(ends + struct.pack("!IHBB", len(message), 0, 0, 58) + message)
    return packet(source, target, 58, message[:2] + struct.pack("!H", total) + message[4:])


def udp(source: str, target: str, name: str, port: int = 7) -> bytes:
    """A datagram by whose name it is heard of."""
    data = named(name)
    return packet(source, target, 17, struct.pack("!HHHH", port, 7, 8 + len(data), 1) + data)


def forged(target: str, address: str, own: str = PRIVATE, mine: str = MINE) -> dict[str, bytes]:
    """What nobody may send, each with its name; by vpc1-private, or a machine with that address and MAC."""
    about = socket.inet_pton(socket.AF_INET6, PUBLIC)
    quoted = packet(PUBLIC, OTHER, 17, struct.pack("!HHHH", 7, 7, 8, 0))
    found = {name: udp(source, address, name) for name, source in {
        "another's address": PUBLIC, "the router's address": ROUTER, "a free address": f"{P}02::77",
        "link-local": "fe80::2", "no address": "::", "an address outside": "2001:db8::1",
        "a peer's": OTHER, "mapped": "::ffff:10.0.2.2"}.items()}
    found["a DHCP server"] = udp(own, address, "a DHCP server", 547)
    for kind, name in ((130, "a listener query"), (131, "a listener report"), (132, "a listener's end"),
                       (133, "a solicitation for routers"), (134, "a router's advertisement"),
                       (135, "a solicitation"), (136, "an advertisement"), (137, "a redirect"),
                       (143, "a new listener report")):
        found[name] = icmp(own, address, kind, bytes(4) + about + named(name))
    found["a hidden advertisement"] = packet(own, address, 0, bytes((58, 0, 1, 4, 0, 0, 0, 0)) + icmp(
        own, address, 136, bytes(4) + about + named("a hidden advertisement"))[40:])
    found["an error about others"] = icmp(
        own, address, 1, bytes(4) + quoted + named("an error about others"))
    frames = {name: ether(mine, target, IPV6, one) for name, one in found.items()}
    frames["another's MAC"] = ether(HIS, target, IPV6, udp(own, address, "another's MAC"))
    frames["a VLAN tag"] = ether(mine, target, 0x8100, b"\0\7\x86\xdd" + udp(own, address, "a VLAN tag"))
    return frames


@pytest.mark.parametrize(("where", "target", "address"), [
    (("vpc1-public", "eth0"), HIS, PUBLIC), (("vpc1", "br-vpc1"), ROUTERS, ROUTER),
], ids=["neighbour", "router"])
def test_no_forged_frame_passes(dual: Host, where: tuple[str, str], target: str, address: str) -> None:
    error = packet(address, PRIVATE, 17, struct.pack("!HHHH", 7, 7, 8, 0))
    honest = {"honest": ether(MINE, target, IPV6, udp(PRIVATE, address, "honest")),
              "an error about its own": ether(MINE, target, IPV6, icmp(
                  PRIVATE, address, 1, bytes(4) + error + named("an error about its own")))}
    ear = listen(dual, *where)
    last = ether(MINE, target, IPV6, udp(PRIVATE, address, END))
    send(dual, "vpc1-private", [*forged(target, address).values(), *honest.values(), last])
    assert names(dual, ear) == list(honest)


def test_everything_is_missed_put_back_and_removed(dual: Host) -> None:
    dual.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    for breakage in ("ip -n vpc1-public addr flush dev eth0", "ip -n vpc1 -6 route flush table main",
                     "ip6tables -F VPCCTL-FORWARD", "ip -n vpc1 -6 neigh flush nud all dev br-vpc1",
                     "ip netns exec vpc1-public sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
                     "ip netns exec vpc1 sysctl -qw net.ipv6.conf.all.forwarding=0",
                     "ip netns exec vpc1 nft delete table bridge vpcctl",
                     "ip netns exec vpc1 ip6tables -P FORWARD ACCEPT", "ip -6 route flush dev vpc-vpc1",
                     "ip link set vpc-vpc1 mtu 1400; ip -n vpc1 link set br-vpc1 mtu 1400", *(
                         f"ip {where} mtu 1200" for where in (
                             "link set vpc-vpc1", "-n vpc1 link set uplink",
                             "-n vpc1 link set br-vpc1", "-n vpc1-public link set eth0"))):
        dual.sh(breakage)
        assert dual.vpcctl("status").code == 1, breakage
        dual.do("restore")
        dual.do("status")
        assert pings(dual, "vpc1-public", PRIVATE), breakage
        assert pings(dual, "vpc1-public", OTHER), breakage


def test_a_lost_record_is_found_with_its_prefixes(dual: Host) -> None:
    dual.do(f"subnet add --vpc vpc1 --name range --cidr 10.0.9.0/24 --bare --ipv6 {P}77::/64")
    dual.do("instance add --vpc vpc1 --subnet private --name db")
    before = dual.do("export").out
    dual.sh("rm /var/lib/vpcctl/state.json")
    dual.do("restore --from-kernel")
    assert dual.do("export").out == before
    dual.do("status")
    dual.sh("rm /var/lib/vpcctl/state.json.bak.lost-*")


def test_a_living_vpc_gets_and_loses_it(vpc1: Host) -> None:
    pid = vpc1.listen("vpc1-private", "80")
    vpc1.reaches("vpc1-public", "10.0.2.2:80")
    every = "sysctl -a --pattern 'net[.]ipv6[.]'"
    spaces = ("", "vpc1-public", "vpc1-private")
    before = [vpc1.sh(every, space) for space in spaces]
    vpc1.do("vpc set --name vpc1 --ipv6 auto")
    assert "unchanged" in vpc1.do("vpc set --name vpc1 --ipv6 auto").out
    vpc1.do("vpc set --name vpc1 --no-ipv6")
    assert "unchanged" in vpc1.do("vpc set --name vpc1 --no-ipv6").out
    for namespace in ("vpc1", "vpc1-public", "vpc1-private"):
        assert vpc1.sh("ip -6 addr; ip -6 route", namespace) == ""
    assert [vpc1.sh(every, space) for space in spaces] == before
    vpc1.reaches("vpc1-public", "10.0.2.2:80")
    vpc1.stop(pid)
    assert vpc1.sh("ip -6 addr show dev vpc-vpc1; ip6tables-save | grep -i vpcctl || true") == ""


def test_cleanup_removes_it(dual: Host) -> None:
    dual.sh(f"rm /var/lib/vpcctl/state.json; {CHECKOUT}/cleanup.sh --yes")
    assert "VPCCTL" not in dual.sh("ip6tables-save")
    assert "vpc-vpc" not in dual.sh("ip link; ip -6 route")


INTERNET = ("2001:4860:4860::8888", "2606:4700:4700::1111")
FORCE = "net.ipv6.conf.eth0.force_forwarding"
needs_force = pytest.mark.skipif(not Path("/proc/sys/net/ipv6/conf/all/force_forwarding").exists(),
                                 reason="needs Linux 6.17")


def asks(host: Host, namespace: str, address: str) -> str:
    """What the web server of the simulated internet says of the sender; empty if nothing comes."""
    return host.inside(namespace, "curl", "-s", "-m", "2", "-g", f"http://[{address}]/").out


def test_a_web_server_answers_both_families(dual: Host) -> None:
    start = "deploy webserver --vpc vpc1 --subnet public --port 80"
    told = f"'webserver-80' runs in vpc1/public: http://10.0.1.2:80 and http://[{PUBLIC}]:80\n"
    assert dual.do(start).out == told
    for space in ("", "vpc1-private"):
        for host, address in (("10.0.1.2", "10.0.1.2"), (f"[{PUBLIC}]", PUBLIC)):
            assert f"address {address}, port 80" in dual.sh(f"curl -s -m 2 http://{host}", space), space
    (found,) = dual.do("deploy list --json").json["workloads"]
    assert (found["url"], found["url6"]) == ("http://10.0.1.2:80", f"http://[{PUBLIC}]:80")
    assert HOST_END in dual.do("deploy logs --vpc vpc1 --subnet public --name webserver-80").out
    assert not connects(dual, "vpc2-public", PUBLIC)
    dual.start("vpc1-private", "python3", "-c", TCP6.replace("80", "81"))
    dual.wait_until(lambda: "81" in dual.sh("ss -6ltn", "vpc1-private"), "it listens")
    dual.refused("deploy webserver --vpc vpc1 --subnet private --port 81", says="port 81 is already in use")


def test_a_web_server_answers_by_the_ipv6_that_its_vpc_gets_later(vpc1: Host) -> None:
    vpc1.do("deploy webserver --vpc vpc1 --subnet public --port 80")
    (before,) = vpc1.do("deploy list --json").json["workloads"]
    assert before["url6"] is None
    vpc1.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    (after,) = vpc1.do("deploy list --json").json["workloads"]
    assert (after["pid"], after["url6"]) == (before["pid"], f"http://[{PUBLIC}]:80")
    assert connects(vpc1, "vpc1-private", PUBLIC)


@needs_force
def test_public_subnets_get_out_by_the_host_s_address(dual: Host) -> None:
    assert host_setting(dual, FORCE) == "0"
    assert not pings(dual, "vpc1-public", INTERNET[0])
    dual.do("nat enable --vpc vpc1")
    for address in INTERNET:
        assert pings(dual, "vpc1-public", address)
        assert "your address: 2001:db8::2" in asks(dual, "vpc1-public", address)
        assert not pings(dual, "vpc1-private", address)
        assert not pings(dual, "vpc2-public", address)
    assert (host_setting(dual, FORCE), host_setting(dual, "net.ipv6.conf.all.forwarding")) == ("1", "0")
    for address in ("2001:db8::2", HOST_END, "fd00:ec2::254"):
        assert not pings(dual, "vpc1-public", address), address
    dual.do("status")
    dual.do("subnet set --vpc vpc1 --name public --type private")
    assert not pings(dual, "vpc1-public", INTERNET[0])
    assert host_setting(dual, FORCE) == "0"
    dual.do("subnet set --vpc vpc1 --name public --type public")
    assert pings(dual, "vpc1-public", INTERNET[0])
    for breakage in (f"sysctl -qw {FORCE}=0; ip6tables -t nat -F VPCCTL-POSTROUTING", "ip link del vpc-vpc1",
                     "ip link set vpc-vpc1 mtu 1200"):
        dual.sh(breakage)
        assert dual.vpcctl("status").code == 1
        dual.do("restore")
        assert pings(dual, "vpc1-public", INTERNET[0])
    dual.do("nat disable --vpc vpc1")
    assert host_setting(dual, FORCE) == "0"
    assert not pings(dual, "vpc1-public", INTERNET[0])


@needs_force
def test_a_way_out_with_a_small_mtu_leaves_the_cable_its_addresses(dual: Host) -> None:
    dual.sh("ip link set eth0 mtu 1400; ip -n internet link set sandbox mtu 1400")
    dual.do("nat enable --vpc vpc1")
    assert dual.do("status").out == "in sync\n"
    assert pings(dual, "", PUBLIC)
    assert "your address: 2001:db8::2" in asks(dual, "vpc1-public", INTERNET[0])
    dual.do("nat disable --vpc vpc1")
    assert dual.do("status").out == "in sync\n"
    assert pings(dual, "", PUBLIC)
    dual.sh("ip link set eth0 mtu 1500; ip -n internet link set sandbox mtu 1500")


def host_setting(host: Host, key: str) -> str:
    """A setting of the host."""
    return host.sh(f"sysctl -n {key}").strip()


@needs_force
def test_a_subnet_with_a_route_table_of_ones_own_has_ipv6_inside_only(dual: Host) -> None:
    dual.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    dual.do("nat enable --vpc vpc1")
    dual.do("route-table create --vpc vpc1 --name own")
    dual.do("route-table add-route --vpc vpc1 --name own --to 0.0.0.0/0 --via internet")
    dual.do("route-table associate --vpc vpc1 --subnet public --name own")
    assert pings(dual, "vpc1-public", PRIVATE)
    assert not pings(dual, "vpc1-public", INTERNET[0])
    assert not pings(dual, "vpc1-public", OTHER)
    assert not pings(dual, "vpc2-public", PUBLIC)
    assert pings(dual, "vpc1-private", OTHER)


@needs_force
@pytest.mark.parametrize("by_script", [False, True])
def test_a_link_that_was_renamed_gets_its_switch_back(dual: Host, by_script: bool) -> None:
    dual.sh("ip netns add isp; ip link add lan0 type veth peer name lan netns isp; ip link set lan0 up; "
            "ip -n isp link set lan up; ip addr add 192.0.2.2/32 dev lan0")
    dual.do("nat enable --vpc vpc1 --interface lan0")
    assert host_setting(dual, "net.ipv6.conf.lan0.force_forwarding") == "1"
    dual.sh("ip link set lan0 down; ip link set lan0 name wan0; ip link set wan0 up")
    dual.sh("ip link add lan0 type bridge; sysctl -qw net.ipv6.conf.lan0.force_forwarding=1")
    if by_script:
        dual.sh(f"{CHECKOUT}/cleanup.sh --yes; rm /var/lib/vpcctl/state.json.*")
    else:
        dual.do("nat disable --vpc vpc1")
    assert host_setting(dual, "net.ipv6.conf.wan0.force_forwarding") == "0"
    assert host_setting(dual, "net.ipv6.conf.lan0.force_forwarding") == "1", "that is another's"
    dual.sh("ip link del wan0; ip link del lan0; ip netns del isp")


ADVERTISE = """
import socket, struct
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("lan"))
raw.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0))
"""


@needs_force
def test_the_host_keeps_the_default_route_that_a_router_advertised(dual: Host) -> None:
    dual.sh("ip netns add isp; ip link add lan0 type veth peer name lan netns isp; ip link set lan0 up; "
            "ip addr add 192.0.2.2/24 dev lan0; ip -n isp link set lan up")

    def advertised() -> bool:
        dual.inside("isp", "python3", "-c", ADVERTISE)
        return "proto ra" in dual.sh("ip -6 route show default dev lan0")

    dual.wait_until(advertised, "the route is there")
    dual.do("nat enable --vpc vpc1 --interface lan0")
    assert "proto ra" in dual.sh("ip -6 route show default dev lan0")
    dual.sh("ip -6 route del default dev lan0")
    dual.wait_until(advertised, "advertisements still count")
    dual.do("nat disable --vpc vpc1")
    assert "proto ra" in dual.sh("ip -6 route show default dev lan0")
    dual.sh("ip link del lan0; ip netns del isp")


@needs_force
def test_cleanup_puts_the_switch_of_the_uplink_back(dual: Host) -> None:
    dual.do("nat enable --vpc vpc1")
    assert host_setting(dual, FORCE) == "1"
    dual.sh(f"{CHECKOUT}/cleanup.sh --yes")
    assert host_setting(dual, FORCE) == "0"
    assert "VPCCTL" not in dual.sh("ip6tables-save")
    dual.sh("rm /var/lib/vpcctl/state.json.*")


@pytest.mark.parametrize("attached", [False, True])
def test_a_machine_with_several_addresses_sends_from_its_first(dual: Host, attached: bool) -> None:
    """Also to who would have another one by the longest prefix that they share (RFC 6724, 5, rule 8)."""
    addresses = "--address 10.0.1.20 --address 10.0.1.30 --address 10.0.1.40"
    if attached:
        dual.sh("ip netns add lab")
    dual.do(f"instance {'attach' if attached else 'add'} --vpc vpc1 --subnet public --name web1 {addresses}"
            f"{' --netns /run/netns/lab' if attached else ''}")
    inside = "lab" if attached else "vpc1-public.web1"
    first = f"{P}01::14"
    for to in (PRIVATE, f"{P}01::29", ROUTER, OTHER):
        assert f"src {first} " in dual.sh(f"ip -6 route get {to}", inside)
    dual.listen("vpc1-private", "80", address="::")
    assert first in dual.reaches(inside, f"[{PRIVATE}]:80")[0].answer
    for number in (20, 30, 40):
        assert pings(dual, "vpc1-private", f"{P}01::{number:x}")
    told = dual.do(f"reach --from vpc1/public/web1 --to {PRIVATE} --json").json["reach"]
    assert told["hops"][-1]["what"].endswith(f"icmpv6 {PRIVATE} → {first} has arrived")
    dual.sh(f"ip -6 route replace default via {ROUTER} dev eth0 metric {30320 if attached else 1024}", inside)
    assert dual.vpcctl("status").code == 1
    dual.do("restore")
    dual.do("status")
    assert f"src {first} " in dual.sh(f"ip -6 route get {OTHER}", inside)
    if attached:
        dual.do("instance detach --vpc vpc1 --subnet public --name web1")
        dual.sh("ip netns del lab")
