"""Route tables of IPv6: where packets go, where they don't, and who may begin connections from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from host import Host
from test_ipv6 import INTERNET, PRIVATE, PUBLIC, P, Q, asks, needs_force, pings

ROUTED = "2001:db8:f1:1"
"""A prefix that is routed to the host, but for its last two digits; documentation's (RFC 3849)."""

HOSTS = "2001:db8::2"
STATE = "/var/lib/vpcctl/state.json"
pytestmark = needs_force


@pytest.fixture
def tables(vpc2: Host) -> Host:
    """Two VPCs with IPv6 that are peered; vpc1's private subnet has a table of its own."""
    vpc2.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    vpc2.do(f"vpc set --name vpc2 --ipv6 {Q}00::/56")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("route-table create --vpc vpc1 --name app")
    vpc2.do("route-table associate --vpc vpc1 --subnet private --name app")
    return vpc2


def route(host: Host, to: str, via: str, verb: str = "add", name: str = "app") -> None:
    """Add or delete a route; what is then on the host must be what is recorded."""
    host.do(f"route-table {verb}-route --vpc vpc1 --name {name} --to {to}", *(("--via", via) if via else ()))
    host.do("status")


def test_a_subnet_gets_where_its_table_leads(tables: Host) -> None:
    far = f"{Q}01::2"
    assert not pings(tables, "vpc1-private", INTERNET[0])
    assert not pings(tables, "vpc1-private", far)
    assert pings(tables, "vpc1-private", PUBLIC)
    assert pings(tables, "", PRIVATE)
    route(tables, "::/0", "egress-only")
    assert f"your address: {HOSTS}" in asks(tables, "vpc1-private", INTERNET[0])
    assert not pings(tables, "vpc1-private", far)
    route(tables, f"{Q}01::/64", "peer:vpc2")
    assert pings(tables, "vpc1-private", far)
    assert pings(tables, "vpc2-public", PRIVATE)
    assert not pings(tables, "vpc1-private", f"{Q}02::2")
    assert pings(tables, "vpc1-public", f"{Q}02::2")


def test_the_longest_prefix_wins(tables: Host) -> None:
    route(tables, "::/0", "internet")
    route(tables, "2001:4860::/32", "blackhole")
    assert not pings(tables, "vpc1-private", INTERNET[0])
    assert pings(tables, "vpc1-private", INTERNET[1])
    route(tables, f"{INTERNET[0]}/128", "internet")
    assert pings(tables, "vpc1-private", INTERNET[0])
    route(tables, f"{INTERNET[0]}/128", "", "delete")
    assert not pings(tables, "vpc1-private", INTERNET[0])
    shown = tables.do("route-table show --vpc vpc1 --name app --json").json["route_table"]["routes"]
    assert [(one["destination"], one["target"], one["state"]) for one in shown] == [
        ("10.0.0.0/16", "local", "active"), (f"{P}00::/56", "local", "active"),
        ("::/0", "internet", "active"), ("2001:4860::/32", "blackhole", "blackhole")]
    tables.do("nat disable --vpc vpc1")
    assert not pings(tables, "vpc1-private", INTERNET[1])
    assert "::/0                     internet   blackhole" in tables.do("route-table list --vpc vpc1").out


def test_built_in_tables_take_routes_too(tables: Host) -> None:
    tables.do("route-table dissociate --vpc vpc1 --subnet private")
    assert pings(tables, "vpc1-private", f"{Q}01::2")
    route(tables, "::/0", "egress-only", name="main")
    assert pings(tables, "vpc1-private", INTERNET[0])
    assert pings(tables, "vpc1-private", f"{Q}01::2")
    route(tables, "::/0", "blackhole", name="public")
    assert not pings(tables, "vpc1-public", INTERNET[0])
    assert tables.inside("vpc1-public", "ping", "-c1", "-W1", "8.8.8.8").code == 0


def test_what_is_refused(tables: Host) -> None:
    add = "route-table add-route --vpc vpc1 --name app --to"
    tables.do("nat-gateway create --vpc vpc1 --subnet public --name nat1")
    tables.do("subnet set --vpc vpc2 --name private --type private")
    for words, says in (
            ("0.0.0.0/0 --via egress-only", "egress-only is for IPv6, and 0.0.0.0/0 is not"),
            ("::/0 --via nat:nat1", "nat:nat1 is for IPv4, and ::/0 is not"),
            (f"{P}02::/64 --via internet", "which is always local"),
            ("fe80::/10 --via internet", "the link-local block"),
            ("2001:db8::/32 --via peer:vpc2", "is not in the CIDR of VPC 'vpc2'"),
            ("::1/0 --via internet", "has host bits set")):
        code = 2 if "for IPv" in says or "host bits" in says else 1
        tables.refused(f"{add} {words}", code=code, says=says)
    route(tables, "::/0", "egress-only")
    tables.refused(f"{add} ::/0 --via internet", says="already leads ::/0 to egress-only")
    tables.refused("vpc set --name vpc1 --no-ipv6",
                   says="is in use: by the route to ::/0 of route table 'app'")
    tables.do("vpc set --name vpc2 --no-ipv6")
    tables.refused(f"{add} {Q}00::/56 --via peer:vpc2", says="VPC 'vpc2' has no IPv6")


@pytest.fixture
def open_prefix(vpc2: Host) -> Iterator[Host]:
    """Two VPCs with prefixes that the internet knows; each subnet of vpc1 answers at port 80."""
    vpc2.sh(f"ip -n internet -6 route add {ROUTED[:-2]}::/48 via {HOSTS}")
    vpc2.do(f"vpc set --name vpc1 --ipv6 {ROUTED}00::/56")
    vpc2.do(f"vpc set --name vpc2 --ipv6 {ROUTED[:-1]}200::/56")
    for vpc in ("vpc1", "vpc2"):
        vpc2.do(f"nat enable --vpc {vpc}")
    for space in ("vpc1-public", "vpc1-private"):
        vpc2.listen(space, "80", address="::")
    yield vpc2
    vpc2.sh(f"ip -n internet -6 route del {ROUTED[:-2]}::/48")


def test_a_prefix_of_the_internet_goes_out_as_it_is_and_nothing_comes_in(open_prefix: Host) -> None:
    assert f"your address: {ROUTED}01::2" in asks(open_prefix, "vpc1-public", INTERNET[0])
    assert not pings(open_prefix, "vpc1-private", INTERNET[0])
    open_prefix.none_reach(("internet", f"[{ROUTED}01::2]:80"), ("internet", f"[{ROUTED}02::2]:80"))
    assert not pings(open_prefix, "internet", f"{ROUTED}01::2")


def test_egress_only_lets_out_and_nothing_in(open_prefix: Host) -> None:
    route(open_prefix, "::/0", "egress-only", name="main")
    assert f"your address: {ROUTED}02::2" in asks(open_prefix, "vpc1-private", INTERNET[0])
    assert not pings(open_prefix, "internet", f"{ROUTED}02::2")
    open_prefix.none_reach(("internet", f"[{ROUTED}02::2]:80"))


def test_a_route_to_the_internet_leads_both_ways(open_prefix: Host) -> None:
    """As in AWS: an address of IPv6 is public, once its subnet's table leads to the internet."""
    inner, outer = f"{ROUTED}02::2", f"{ROUTED}01::2"
    route(open_prefix, "::/0", "internet", name="main")
    assert "2001:db8::1" in open_prefix.reaches("internet", f"[{inner}]:80")[0].answer
    assert f"your address: {inner}" in asks(open_prefix, "vpc1-private", INTERNET[0])
    open_prefix.none_reach(("internet", f"[{outer}]:80"), ("vpc2-public", f"[{inner}]:80"),
                           ("vpc2", f"[{inner}]:80"))
    # Its policy decides as about all others.
    policy = open_prefix.write("policy.json", {"ingress": [
        {"protocol": "tcp", "port": 80, "action": "allow", "source": f"{ROUTED}00::/56"}]})
    open_prefix.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    open_prefix.none_reach(("internet", f"[{inner}]:80"))
    open_prefix.reaches("vpc1-public", f"[{inner}]:80")
    open_prefix.do("firewall clear --vpc vpc1 --subnet private")
    # Nobody else's VPC gets in, also not when the rules that refuse are gone.
    theirs = open_prefix.sh("ip6tables -S FORWARD | grep 2001:db8:5:")
    open_prefix.sh("sysctl -qw net.ipv6.conf.all.forwarding=1; ip6tables -F")
    open_prefix.none_reach(("vpc2-public", f"[{inner}]:80"), ("internet", f"[{outer}]:80"))
    open_prefix.sh(f"sysctl -qw net.ipv6.conf.all.forwarding=0; ip6tables {theirs}")
    open_prefix.do("restore")
    route(open_prefix, "::/0", "", "delete", "main")
    open_prefix.none_reach(("internet", f"[{inner}]:80"))
    route(open_prefix, "2001:db8::/64", "internet", name="main")
    open_prefix.reaches("internet", f"[{inner}]:80")
    assert not pings(open_prefix, "vpc1-private", INTERNET[0])


@pytest.fixture
def box(tables: Host) -> Host:
    """A machine through which vpc1's private subnet gets to the internet and to its peer."""
    tables.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    route(tables, "::/0", "instance:public/box")
    for direction in ("-s", "-d"):
        tables.sh(f"ip6tables -A FORWARD {direction} {PRIVATE}", "vpc1-public.box")
    return tables


def passed(host: Host) -> list[int]:
    """How many packets the box has sent on, from the private subnet and to it."""
    lines = host.sh("ip6tables -nvxL FORWARD | tail -2", "vpc1-public.box").splitlines()
    return [int(line.split()[0]) for line in lines]


def test_a_middlebox_gets_what_goes_out_and_what_comes_back(box: Host) -> None:
    assert f"your address: {HOSTS}" in asks(box, "vpc1-private", INTERNET[0])
    out, back = passed(box)
    assert out >= 4
    assert back >= 3
    assert pings(box, "vpc1-private", f"{Q}01::2")
    assert passed(box) == [out + 1, back + 1]
    # What is for its own VPC and for the host goes past it.
    assert pings(box, "vpc1-private", PUBLIC)
    assert pings(box, "", PRIVATE)
    assert passed(box) == [out + 1, back + 1]
    box.sh("ip6tables -P FORWARD DROP", "vpc1-public.box")
    assert not pings(box, "vpc1-private", INTERNET[0])
    assert pings(box, "vpc1-public", INTERNET[0])


def test_the_policy_of_a_middlebox_decides_about_what_it_sends_on(box: Host) -> None:
    policy = box.write("policy.json", {"ingress": [
        {"protocol": "tcp", "port": 80, "action": "allow", "source": f"{P}02::/64"},
        {"protocol": "icmp", "action": "allow"}]})
    box.do(f"firewall apply --vpc vpc1 --subnet public --policy {policy}")
    assert "your address" in asks(box, "vpc1-private", INTERNET[0])
    assert not pings(box, "vpc1-private", INTERNET[0])
    policy = box.write("policy.json", {"ingress": [{"protocol": "all", "action": "allow"}], "egress": [
        {"protocol": "icmpv6", "action": "allow"}]})
    box.do(f"firewall apply --vpc vpc1 --subnet public --policy {policy}")
    assert pings(box, "vpc1-private", INTERNET[0])
    assert "your address" not in asks(box, "vpc1-private", INTERNET[0])


def test_nobody_uses_a_middlebox_to_which_no_route_leads(box: Host) -> None:
    """Not even by its MAC: a route table decides, not the sender."""
    mac = box.sh("cat /sys/class/net/eth0/address", "vpc1-public.box").strip()
    route(box, "::/0", "", "delete")
    box.sh(f"ip -6 neigh replace {P}00::1 lladdr {mac} dev eth0 nud permanent", "vpc1-private")
    assert not pings(box, "vpc1-private", INTERNET[0])
    assert passed(box) == [0, 0]


def test_all_of_it_is_missed_put_back_and_found(box: Host) -> None:
    route(box, f"{Q}00::/56", "peer:vpc2")
    route(box, "2001:db8:9::/48", "blackhole")
    for breakage, says in (
            ("ip -6 rule flush", "ip -6 rule pref 32766 lookup main is missing"),
            ("ip -6 route flush table 1001", "route throw"),
            ("ip -6 rule add pref 5 lookup 7", "vpcctl did not make it"),
            ("ip -6 route add 2001:db8:77::/48 dev uplink", "vpcctl did not make it"),
            ("ip6tables -t raw -F", "chain PREROUTING of table raw of ip6tables"),
            ("ip6tables -t raw -A OUTPUT -j DROP", "chain OUTPUT of table raw of ip6tables"),
            ("nft flush table bridge vpcctl-routes", "marks for route tables in vpc1")):
        box.sh(breakage, "vpc1")
        assert says in box.vpcctl("status").out, breakage
        box.do("restore")
        box.do("status")
        assert pings(box, "vpc1-private", INTERNET[0]), breakage
    before = box.do("export").out
    assert "::/0: instance:public/box" in before
    box.do("vpc delete --name vpc1")
    box.do("vpc delete --name vpc2")
    file = box.write("network.yaml", before)
    box.do(f"apply -f {file}")
    assert box.do("export").out == before
    assert pings(box, "vpc1-private", INTERNET[0])
    assert "unchanged" in box.do(f"apply -f {file}").out
    box.do("nat disable --vpc vpc1")
    before = box.do("export").out
    box.sh(f"rm {STATE}")
    box.do("restore --from-kernel")
    assert box.do("export").out == before
    box.do("status")
    box.sh(f"rm {STATE}.bak.lost-*")
