"""Ports of the host that lead to machines by IPv6: as test_publish.py has them by IPv4, with real packets."""

from __future__ import annotations

import json

import pytest
from frames import IPV6, ether, send
from host import CHECKOUT, UPLINK6, Host
from test_ipv6 import FORCE, PRIVATE, PUBLIC, P, Q, host_setting, needs_force, packet
from test_publish import WEB as WEB4
from test_publish import put_back, reach_agrees_with_packets, seen
from test_six_routes import ROUTED

CLEANUP = CHECKOUT / "cleanup.sh"
HERE = f"[{UPLINK6}]"
WEB, NAMES, DEEP = f"{HERE}:8080", f"{HERE}:5353/udp", f"{HERE}:8081"
OUTSIDE = "2001:db8::1"
"""The simulated internet's end."""

ONLY_OUTSIDE = {"ingress": [{"protocol": "tcp", "port": 80, "action": "allow", "source": source}
                             for source in (f"{OUTSIDE}/128", "2001:4860:4860::8888/128")]}
pytestmark = needs_force


def serve(host: Host) -> None:
    """Services at both of the first VPC's machines, and the ports that lead there."""
    for address in ("::", "0.0.0.0"):  # noqa: S104 - a machine's
        host.listen("vpc1-public", "80", "53/udp", address=address)
        host.listen("vpc1-private", "80", address=address)
    host.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    host.do("publish add --vpc vpc1 --subnet public --port 5353:53 --protocol udp")
    host.do("publish add --vpc vpc1 --subnet private --port 8081:80")


def refusing(host: Host, target: str) -> bool:
    """Whether the host itself answers somebody outside that nothing is there."""
    return host.probe(("internet", target))[0].verdict == "refused"


@pytest.fixture
def dual(vpc2: Host) -> Host:
    """Two VPCs with IPv6."""
    vpc2.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    vpc2.do(f"vpc set --name vpc2 --ipv6 {Q}00::/56")
    return vpc2


@pytest.fixture
def published(dual: Host) -> Host:
    serve(dual)
    return dual


def test_from_outside_with_the_client_s_address(published: Host) -> None:
    public, names, private = seen(published, "internet", WEB, NAMES, DEEP)
    assert "vpc1-public" in public
    assert "vpc1-public" in names
    assert "vpc1-private" in private
    assert all(OUTSIDE in one for one in (public, names, private))
    assert "203.0.113.1" in seen(published, "internet", WEB4)[0]
    # Nothing else has opened.
    published.sh(f"ip -n internet -6 route add {P}00::/56 via {UPLINK6}")
    published.never_reaches("internet", f"[{PUBLIC}]:80", f"[{PRIVATE}]:80", PUBLIC, f"{P}00::1")
    published.sh(f"ip -n internet -6 route del {P}00::/56 via {UPLINK6}")
    for sender in ("vpc1-private", "vpc1-public", "vpc2-public"):
        published.never_reaches(sender, "2001:4860:4860::8888", WEB, DEEP, NAMES)
    assert refusing(published, f"{HERE}:8082")
    assert published.do("status").out == "in sync\n"


def test_from_the_host_itself(published: Host) -> None:
    for address in (UPLINK6, "::1", f"{P}00::2"):
        public, names = seen(published, "", f"[{address}]:8080", f"[{address}]:5353/udp")
        assert "vpc1-public" in public
        assert "vpc1-public" in names
    # The machine sees ::1 as the host, which it is.
    assert f"{P}00::2" in seen(published, "", "[::1]:8080")[0]
    assert UPLINK6 in seen(published, "", WEB)[0]


def test_nobody_in_a_vpc_sends_to_the_host_s_own_loopback(published: Host) -> None:
    """The route to ::1 by the cable is for answers: what comes for ::1 itself is dropped before."""
    published.listen("", "9000", "9001/udp", address="::1")
    published.reaches("", "[::1]:9000", "[::1]:9001/udp")
    count = "nft -f - <<'E'\ntable ip6 met {\n chain count { type filter hook input priority 0; " \
            "ip6 daddr ::1 iifname vpc-vpc1 counter\n }\n}\nE"
    published.sh(count)
    there, mac = (json.loads(published.sh(f"{ip} -j link show {link}"))[0]["address"]
                  for ip, link in (("ip", "vpc-vpc1"), ("ip -n vpc1", "uplink")))
    datagram = bytes.fromhex("2329232900080000")
    sent = [ether(mac, there, IPV6, packet(source, "::1", 17, datagram))
            for source in (f"{P}01::2", f"{P}00::1", "::1", "fe80::2")]
    send(published, "vpc1", sent, "uplink")
    assert "packets 0" in published.sh("nft list table ip6 met")
    # The answers of a connection by way of it do come: the counter sees them.
    published.reaches("", "[::1]:8080")
    assert "packets 0" not in published.sh("nft list table ip6 met")
    published.sh("nft delete table ip6 met")


@pytest.mark.parametrize("prefix", [f"{P}00::/56", f"{ROUTED}00::/56"])
def test_from_machines_that_have_a_way_out(dual: Host, prefix: str) -> None:
    dual.do(f"vpc set --name vpc1 --ipv6 {prefix}")
    serve(dual)
    dual.do("nat enable --vpc vpc1")
    dual.do("nat enable --vpc vpc2")
    for sender in ("vpc1-public", "vpc2-public"):
        public, names, private = seen(dual, sender, WEB, NAMES, DEEP)
        assert "vpc1-private" in private
        assert all(UPLINK6 in one for one in (public, names, private))
    for sender in ("vpc1-private", "vpc2-private"):
        dual.never_reaches(sender, WEB, DEEP, NAMES)
    assert OUTSIDE in seen(dual, "internet", WEB)[0]
    assert dual.do("status").out == "in sync\n"
    # No port of the host's own has opened.
    dual.listen("", "8000", address="::")
    dual.never_reaches("vpc1-public", f"{HERE}:8000")


def test_whatever_the_host_s_policy(published: Host) -> None:
    published.do("nat enable --vpc vpc1")
    published.do("nat enable --vpc vpc2")
    for policy in ("DROP", "ACCEPT"):
        published.sh(f"ip6tables -P FORWARD {policy}")
        for sender in ("internet", "", "vpc1-public", "vpc2-public"):
            published.reaches(sender, WEB, NAMES, DEEP)
        published.reaches("", "[::1]:8080")


def test_the_policy_decides_by_the_client_s_address(published: Host) -> None:
    published.do("nat enable --vpc vpc2")
    published.do("firewall apply --vpc vpc1 --subnet public --policy", published.write("p", ONLY_OUTSIDE))
    published.reaches("internet", WEB)
    published.never_reaches("vpc2-public", WEB)
    published.never_reaches("", WEB, "[::1]:8080")
    published.never_reaches("internet", NAMES)
    # In IPv4, the policy allows nobody.
    published.never_reaches("internet", WEB4)


def test_groups_and_acls_decide_by_the_client_s_address(published: Host) -> None:
    published.do("group create --vpc vpc1 --name web")
    published.do("group join --vpc vpc1 --subnet public --name web")
    published.never_reaches("internet", WEB)
    published.do("group apply --vpc vpc1 --name web --policy", published.write("p", ONLY_OUTSIDE))
    published.reaches("internet", WEB)
    published.never_reaches("", WEB)
    published.do("group leave --vpc vpc1 --subnet public --name web")
    rules = {side: [{"number": 100, "protocol": "all", "action": "deny", "source": f"{OUTSIDE}/128"},
                    {"number": 200, "protocol": "all", "action": "allow", "source": "::/0"}]
             for side in ("ingress", "egress")}
    rules["egress"] = [{"number": 100, "protocol": "all", "action": "allow", "destination": "::/0"}]
    published.do("acl create --vpc vpc1 --name edge")
    published.do("acl apply --vpc vpc1 --name edge --rules", published.write("a", rules))
    published.do("acl associate --vpc vpc1 --subnet public --name edge")
    published.never_reaches("internet", WEB)
    published.reaches("", WEB)
    published.reaches("internet", DEEP)


def test_icmp_errors_come_to_the_client(published: Host) -> None:
    published.do("publish add --vpc vpc1 --subnet public --port 8053:54 --protocol udp")
    answers = published.probe(*((sender, f"{HERE}:8053/udp") for sender in ("internet", "")),
                              ("", "[::1]:8053/udp"))
    assert [one.verdict for one in answers] == ["refused"] * 3


def test_a_port_at_one_address_of_the_host(dual: Host) -> None:
    dual.listen("vpc1-public", "80", address="::")
    dual.listen("vpc1-private", "80", address="::")
    dual.do(f"publish add --vpc vpc1 --subnet public --port 80 --listen {UPLINK6}")
    assert dual.sh("sysctl -n net.ipv4.ip_forward") == "0\n"
    dual.do("publish add --vpc vpc1 --subnet private --port 80 --listen ::1")
    assert "vpc1-public" in seen(dual, "internet", f"{HERE}:80")[0]
    assert "vpc1-public" in seen(dual, "", f"{HERE}:80")[0]
    assert "vpc1-private" in seen(dual, "", "[::1]:80")[0]
    assert dual.probe(("", f"[{P}00::2]:80"))[0].verdict == "refused"
    assert dual.probe(("internet", "203.0.113.2:80"))[0].verdict == "refused"
    told = dual.do("publish list").out
    assert f"{UPLINK6}  80    tcp       vpc1/public   {PUBLIC}" in told
    dual.refused("publish add --vpc vpc1 --subnet private --port 80 --listen 2001:db8::77",
                 says="2001:db8::77 is not an address of this host")
    for listen, says in (("fe80::1", "is known on one link"), ("::", "is not an address of one host"),
                         ("ff02::1", "is not an address of one host"), ("::ffff:1.2.3.4", "stands for IPv4"),
                         ("2001:db8", "'2001:db8' is not an IPv6 address")):
        dual.refused(f"publish add --vpc vpc1 --subnet private --port 81 --listen {listen}", code=2,
                     says=says)


def test_only_where_the_machine_has_ipv6(vpc1: Host) -> None:
    vpc1.listen("vpc1-public", "80", address="::")
    vpc1.listen("vpc1-public", "80")
    add = f"publish add --vpc vpc1 --subnet public --port 80 --listen {UPLINK6}"
    vpc1.refused(add, says=f"[{UPLINK6}]:80/tcp of the host can't lead to vpc1/public: VPC 'vpc1' has no")
    vpc1.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    assert "VPCCTL" not in vpc1.sh("ip6tables-save")
    assert refusing(vpc1, WEB)
    # Once the VPC has it, so does the port, and the connections by IPv4 stay.
    waits = "import socket, time; s = socket.create_connection(('203.0.113.2', 8080)); time.sleep(3); " \
            "s.send(b'x'); assert s.recv(9); time.sleep(99)"
    client = vpc1.start("internet", "python3", "-c", waits)
    vpc1.wait_until(lambda: ":80" in vpc1.sh("ss -Htn state established", "vpc1-public"), "it is connected")
    vpc1.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    assert OUTSIDE in seen(vpc1, "internet", WEB)[0]
    vpc1.do(add)
    vpc1.refused("vpc set --name vpc1 --no-ipv6", says="can't lead to vpc1/public: VPC 'vpc1' has no IPv6")
    vpc1.do(f"publish delete --port 80 --listen {UPLINK6}")
    vpc1.do("vpc set --name vpc1 --no-ipv6")
    assert refusing(vpc1, WEB)
    assert "VPCCTL" not in vpc1.sh("ip6tables-save")
    assert vpc1.alive(client)
    vpc1.reaches("internet", WEB4)
    assert host_setting(vpc1, FORCE) == "0"
    vpc1.stop(client)


def test_a_port_that_is_in_use_is_refused(dual: Host) -> None:
    add = "publish add --vpc vpc1 --subnet public --port 8080:80"
    only = "import socket, time; s = socket.socket(socket.AF_INET6); " \
           "s.setsockopt(41, socket.IPV6_V6ONLY, 1); s.bind(('{}', 8080)); s.listen(); time.sleep(99)"
    for address in ("::", "::1"):
        pid = dual.start("", "python3", "-c", only.format(address))
        dual.wait_until(lambda: ":8080" in dual.sh("ss -Hltn"), "it listens")
        dual.refused(add, says=f"tcp port 8080 is already in use on the host at {address}")
        dual.do(f"{add} --listen 203.0.113.2")
        dual.do("publish delete --port 8080 --listen 203.0.113.2")
        # A VPC without IPv6 has nothing to do with it.
        dual.do("vpc set --name vpc1 --no-ipv6")
        dual.do(add)
        dual.refused(f"vpc set --name vpc1 --ipv6 {P}00::/56", says="already in use on the host")
        dual.do("publish delete --port 8080")
        dual.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
        dual.stop(pid)
        dual.wait_until(lambda: ":8080" not in dual.sh("ss -Hltn"), "it is gone")
    dual.do(add)
    dual.refused("publish add --vpc vpc1 --subnet private --port 8080:81 --listen ::1",
                 says="tcp port 8080 of the host already leads to vpc1/public")


@pytest.mark.parametrize("rule", [
    "-p tcp -m tcp --dport 8080 -j DNAT --to-destination [2001:db8::9]:90",
    f"-d {UPLINK6} -j DNAT --to-destination 2001:db8::9", "-i eth0 -p tcp -j REDIRECT --to-ports 9"])
def test_a_port_that_somebody_else_s_rule_leads_elsewhere_is_refused(dual: Host, rule: str) -> None:
    add = "publish add --vpc vpc1 --subnet public --port 8080:80"
    dual.sh(f"ip6tables -t nat -A PREROUTING {rule}")
    dual.refused(add, says="a rule of the host already leads tcp port 8080 elsewhere: PREROUTING")
    dual.do(f"{add} --listen 203.0.113.2")
    dual.sh(f"ip6tables -t nat -D PREROUTING {rule}")
    dual.do("publish delete --port 8080 --listen 203.0.113.2")
    # Not for this host's addresses, or not for clients from outside.
    for other in ("-d 2001:db8::77 -j DNAT --to-destination 2001:db8::9",
                  "-s fd00:77::/64 -j DNAT --to-destination 2001:db8::9"):
        dual.sh(f"ip6tables -t nat -A PREROUTING {other}")
        dual.do(add)
        dual.do("publish delete --port 8080")
        dual.sh(f"ip6tables -t nat -D PREROUTING {other}")


def test_a_port_that_a_rule_of_nft_leads_elsewhere_is_refused(dual: Host) -> None:
    add = "publish add --vpc vpc1 --subnet public --port 8080:80"
    for family, rule in (("ip6", "tcp dport 8080 dnat to [2001:db8::9]:90"),
                         ("inet", f"ip6 daddr {UPLINK6} dnat ip6 to 2001:db8::9")):
        dual.sh(f"nft -f - <<'E'\ntable {family} foreign {{\n chain pre {{ type nat hook prerouting "
                f"priority -110;\n {rule}\n }}\n}}\nE")
        dual.refused(add, says=f"leads tcp port 8080 elsewhere: nft chain {family} foreign pre, handle")
        dual.do(f"{add} --listen 203.0.113.2")
        dual.do("publish delete --port 8080 --listen 203.0.113.2")
        dual.sh(f"nft delete table {family} foreign")


def test_what_is_taken_back_leads_nowhere_and_its_flows_end(published: Host) -> None:
    client = "import socket,sys\ns=socket.socket(10,2);s.settimeout(9);s.bind(('',7777));" \
             f"s.connect(('{UPLINK6}',5353));s.send(b'hello');print(s.recv(99).decode())"
    assert "vpc1-public" in published.sh(f'python3 -c "{client}"', "internet")
    published.do("publish delete --port 5353 --protocol udp")
    published.listen("vpc1-private", "53/udp", address="::")
    published.do("publish add --vpc vpc1 --subnet private --port 5353:53 --protocol udp")
    # The same ends: tracking would know them for half a minute.
    assert "vpc1-private" in published.sh(f'python3 -c "{client}"', "internet")
    for port in ("8080:80", "8081", "5353:53 --protocol udp"):
        published.do(f"publish delete --port {port}")
    assert "PUBLISH" not in published.sh("ip6tables-save")
    assert "local ::1 dev vpc-" not in published.sh("ip -6 route show table local")
    assert host_setting(published, FORCE) == "0"
    published.do("status")


@pytest.mark.parametrize("damage", [
    "ip6tables -F", "ip6tables -t nat -F", "ip6tables -t mangle -F", "ip6tables -t nat -F VPCCTL-PORTS",
    "ip6tables -F VPCCTL-PUBLISHED", "ip6tables -t nat -D POSTROUTING 1",
    "ip -6 route flush dev vpc-vpc1 table local metric 1024", f"sysctl -qw {FORCE}=0",
    "sysctl -qw net.ipv6.conf.vpc-vpc1.force_forwarding=0", "ip netns exec vpc1 ip6tables -F FORWARD",
    "ip -n vpc1 -6 route del default via fe80::1", "ip netns del vpc1", "ip netns del vpc1-public",
])
def test_restore_after_damage(published: Host, damage: str) -> None:
    theirs = published.sh("ip6tables-save | grep -v VPCCTL")
    published.sh(damage)
    assert published.vpcctl("status").code == 1
    published.do("restore")
    published.do("status")
    if damage == "ip netns del vpc1-public":
        published.listen("vpc1-public", "80", "53/udp", address="::")
    for sender in ("internet", ""):
        published.reaches(sender, WEB, NAMES)
    published.reaches("", "[::1]:8080")
    if damage == "ip6tables -F":
        published.delete_all()
        published.sh(f"ip6tables-restore <<'E'\n{theirs}\nE")


def test_a_file_makes_it_and_export_has_it(vpc1: Host) -> None:
    topology = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "ipv6": f"{P}00::/56", "subnets": {
        "public": {"cidr": "10.0.1.0/24", "type": "public", "publish": ["8080:80"],
                   "instances": {"web1": {"publish": [f"{HERE}:8081:80", "5353:53/udp"]}}},
        "private": {"cidr": "10.0.2.0/24"}}}}}
    file = vpc1.write("t.json", topology)
    told = vpc1.do("apply -f", file).out
    assert f"+ publish vpc1/public/web1/{HERE}:8081/tcp" in told
    vpc1.listen("vpc1-public.web1", "80", "53/udp", address="::")
    assert all("web1" in one for one in seen(vpc1, "internet", f"{HERE}:8081", NAMES))
    assert refusing(vpc1, "203.0.113.2:8081")
    assert vpc1.do("apply -f", file).out.startswith("unchanged")
    exported = vpc1.do("export").out
    assert f"'{HERE}:8081:80'" in exported
    vpc1.do("instance delete --vpc vpc1 --subnet public --name web1")
    vpc1.do("apply -f", vpc1.write("e.yaml", exported))
    assert vpc1.do("export").out == exported


def test_a_lost_record_is_rebuilt(published: Host) -> None:
    published.do("nat enable --vpc vpc2")
    published.listen("vpc2-public", "80", address="::")
    published.do("publish add --vpc vpc2 --subnet public --port 90:80 --listen ::1")
    assert "vpc2-public" in seen(published, "", "[::1]:90")[0]
    before, was = published.do("export").out, published.state()["topology"]
    published.sh("rm /var/lib/vpcctl/state.json*")
    published.do("restore --from-kernel")
    published.do("status")
    assert published.do("export").out == before
    now = published.state()["topology"]
    assert now["front6"] == was["front6"] == UPLINK6
    assert now["entrances"] == was["entrances"] == ["eth0"]
    put_back(published)
    published.sh(f"sysctl -qw {FORCE}=0")


def test_reach_says_what_packets_do(published: Host) -> None:
    published.do("nat enable --vpc vpc1")
    published.do("firewall apply --vpc vpc1 --subnet public --policy", published.write("p", ONLY_OUTSIDE))
    reach_agrees_with_packets(published, UPLINK6, HERE)
    inward = ["reach", "-6", "--from", "internet", "--to", "vpc1/private", "--port"]
    assert published.do(" ".join([*inward, "80"])).out.endswith("reachable\n")
    closed = published.vpcctl(*inward, "81", "--json").json["reach"]
    published.listen("vpc1-private", "81", address="::")
    published.do(closed["blocked_by"]["fix"].removeprefix("vpcctl "))
    published.reaches("internet", f"{HERE}:81")
    published.sh("ip6tables -F VPCCTL-PUBLISHED")
    assert published.vpcctl(*inward, "81", "--json").json["reach"]["blocked_by"]["fix"] == "vpcctl restore"
    published.do("restore")
    published.reaches("internet", f"{HERE}:81")


def test_cleanup_leaves_nothing(published: Host) -> None:
    published.do("nat enable --vpc vpc1")
    published.sh(f"{CLEANUP} --yes; rm /var/lib/vpcctl/state.json.cleaned")
    assert host_setting(published, FORCE) == "0"


def test_a_dry_run_can_be_pasted(dual: Host) -> None:
    dual.listen("vpc1-public", "80", address="::")
    told = dual.do("publish add --vpc vpc1 --subnet public --port 8080:80 --dry-run").out
    dual.sh(told)
    dual.reaches("internet", WEB)
    dual.reaches("", "[::1]:8080")
    # As recorded, with a port more.
    dual.sh(f"{CLEANUP} --yes; rm /var/lib/vpcctl/state.json.cleaned; "
            f"sysctl -qw net.ipv4.ip_forward=0 {FORCE}=0")


@pytest.mark.parametrize("via", ["blackhole", "instance:public/box", "egress-only", ""])
def test_answers_go_back_the_way_the_connection_came(dual: Host, via: str) -> None:
    dual.do("nat enable --vpc vpc1")
    dual.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    dual.sh("sysctl -qw net.ipv6.conf.all.forwarding=1", "vpc1-public.box")
    dual.do("route-table create --vpc vpc1 --name out")
    if via:
        dual.do(f"route-table add-route --vpc vpc1 --name out --to ::/0 --via {via}")
    dual.do("route-table associate --vpc vpc1 --subnet private --name out")
    dual.listen("vpc1-private", "80", "53/udp", address="::")
    for port in ("8080:80", "5353:53 --protocol udp", "8054:54 --protocol udp"):
        dual.do(f"publish add --vpc vpc1 --subnet private --port {port}")
    for sender in ("internet", "", "vpc1-public"):
        assert all("vpc1-private" in one for one in seen(dual, sender, WEB, NAMES))
    assert OUTSIDE in seen(dual, "internet", WEB)[0]
    # ICMP errors go back, too, and closed ports are refused at once.
    assert dual.probe(("internet", f"{HERE}:8054/udp"))[0].verdict == "refused"
    for port in (8080, 5353):
        protocol = "udp" if port == 5353 else "tcp"
        told = dual.do(f"reach --from internet --to {UPLINK6} --port {port} --protocol {protocol}").out
        assert told.endswith("reachable\n")
    # What the machine begins itself goes by its table.
    gets_out = via in ("egress-only", "instance:public/box")
    assert (dual.probe(("vpc1-private", "[2001:4860:4860::8888]:80"))[0].verdict == "reached") == gets_out
    assert dual.do("status").out == "in sync\n"
