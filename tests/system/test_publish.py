"""Ports of the host that lead to machines, by real packets: from outside, from the host and from VPCs."""

from __future__ import annotations

import json

import pytest
from host import CANARY, CHECKOUT, REFUSED, UPLINK, Host

CLEANUP = CHECKOUT / "cleanup.sh"
WEB, NAMES, DEEP = f"{UPLINK}:8080", f"{UPLINK}:5353/udp", f"{UPLINK}:8081"
BEYOND = "192.168.77.1"
"""Another address of the host."""

ONLY_OUTSIDE = {"ingress": [{"protocol": "tcp", "port": 80, "action": "allow", "source": source}
                             for source in ("203.0.113.1/32", "8.8.8.8/32")]}
DOCKER = """
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 9090 -j DNAT --to-destination 192.168.77.2:90
iptables -t nat -I POSTROUTING -s 192.168.77.0/24 ! -o vpc-lan -j MASQUERADE
iptables -I FORWARD -d 192.168.77.2 -p tcp --dport 90 -j ACCEPT
iptables -I FORWARD -s 192.168.77.2 -p tcp --sport 90 -j ACCEPT
"""
"""What Docker makes for a published port, with `other` in the place of a container."""

UNDO_DOCKER = """
iptables -D FORWARD -s 192.168.77.2 -p tcp --sport 90 -j ACCEPT
iptables -D FORWARD -d 192.168.77.2 -p tcp --dport 90 -j ACCEPT
iptables -t nat -D POSTROUTING -s 192.168.77.0/24 ! -o vpc-lan -j MASQUERADE
iptables -t nat -D OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -F DOCKER; iptables -t nat -X DOCKER
"""


OTHERS = f"iptables -F; iptables -X; iptables -t nat -F; sed -n '/^iptables-restore/,/^END/p' {CANARY} | sh"
"""Makes others' rules again."""


def serve(host: Host) -> None:
    """Services at both of the first VPC's machines, and the ports that lead there."""
    host.listen("vpc1-public", "80", "53/udp")
    host.listen("vpc1-private", "80")
    host.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    host.do("publish add --vpc vpc1 --subnet public --port 5353:53 --protocol udp")
    host.do("publish add --vpc vpc1 --subnet private --port 8081:80")


def seen(host: Host, namespace: str, *targets: str) -> list[str]:
    """Who answers, and whom they see."""
    return [one.answer for one in host.reaches(namespace, *targets)]


def put_back(host: Host) -> None:
    """Forwarding as it was: after a lost record vpcctl does not know who else had needed it before."""
    host.delete_all()
    host.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1")


@pytest.fixture
def published(vpc2: Host) -> Host:
    serve(vpc2)
    return vpc2


def test_from_outside_with_the_client_s_address(published: Host) -> None:
    public, names, private = seen(published, "internet", WEB, NAMES, DEEP)
    assert "vpc1-public" in public
    assert "vpc1-public" in names
    assert "vpc1-private" in private
    assert all("203.0.113.1" in one for one in (public, names, private))
    # Nothing else has opened.
    published.sh("ip -n internet route add 10.0.0.0/8 via 203.0.113.2")
    published.never_reaches("internet", "10.0.1.2:80", "10.0.2.2:80", "10.0.1.2")
    published.sh("ip -n internet route del 10.0.0.0/8 via 203.0.113.2")
    published.never_reaches("vpc1-private", "8.8.8.8", WEB)
    published.never_reaches("vpc1-public", "8.8.8.8", WEB)
    assert [one.verdict for one in published.probe(("internet", f"{UPLINK}:8082"))] == ["refused"]


def test_from_the_host_itself(published: Host) -> None:
    for address in (UPLINK, BEYOND, "127.0.0.1"):
        public, names = seen(published, "", f"{address}:8080", f"{address}:5353/udp")
        assert "vpc1-public" in public
        assert "vpc1-public" in names
    # The machine sees 127.0.0.1 as the host, which it is.
    assert "169.254.64.0" in seen(published, "", "127.0.0.1:8080")[0]


def test_from_machines_that_have_a_way_out(published: Host) -> None:
    published.do("nat enable --vpc vpc1")
    published.do("nat enable --vpc vpc2")
    for sender in ("vpc1-public", "vpc2-public"):
        public, names, private = seen(published, sender, WEB, NAMES, DEEP)
        assert "vpc1-private" in private
        assert all(UPLINK in one for one in (public, names, private))
    published.never_reaches("vpc1-private", WEB, DEEP, NAMES)
    published.never_reaches("vpc2-private", WEB, DEEP, NAMES)
    assert published.do("status").out == "in sync\n"
    # No port of the host's own has opened.
    published.listen("", "8000")
    published.never_reaches("vpc1-public", f"{UPLINK}:8000")


@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
def test_whatever_the_host_s_policy_and_its_source_check(published: Host, policy: str) -> None:
    published.sh(f"iptables -P FORWARD {policy}; sysctl -qw net.ipv4.conf.all.rp_filter=1")
    published.do("nat enable --vpc vpc1")
    published.do("nat enable --vpc vpc2")
    for sender in ("internet", "", "vpc1-public", "vpc2-public"):
        published.reaches(sender, WEB, NAMES, DEEP)
    published.reaches("", "127.0.0.1:8080")
    published.sh("iptables -P FORWARD ACCEPT; sysctl -qw net.ipv4.conf.all.rp_filter=0")


def test_the_policy_decides_by_the_client_s_address(published: Host) -> None:
    published.do("nat enable --vpc vpc2")
    published.do("firewall apply --vpc vpc1 --subnet public --policy", published.write("p", ONLY_OUTSIDE))
    published.reaches("internet", WEB)
    published.never_reaches("vpc2-public", WEB)
    published.never_reaches("", WEB)
    published.never_reaches("internet", NAMES)


def test_icmp_errors_come_to_the_client(published: Host) -> None:
    published.do("publish add --vpc vpc1 --subnet public --port 8053:54 --protocol udp")
    answers = published.probe(("internet", f"{UPLINK}:8053/udp"), ("", f"{UPLINK}:8053/udp"))
    assert [one.verdict for one in answers] == ["refused", "refused"]


def test_a_port_at_one_address_of_the_host(vpc1: Host) -> None:
    vpc1.listen("vpc1-public", "80")
    vpc1.listen("vpc1-private", "80")
    vpc1.do(f"publish add --vpc vpc1 --subnet public --port 80 --listen {UPLINK}")
    vpc1.do("publish add --vpc vpc1 --subnet private --port 80 --listen 127.0.0.1")
    assert "vpc1-public" in seen(vpc1, "internet", f"{UPLINK}:80")[0]
    assert "vpc1-public" in seen(vpc1, "", f"{UPLINK}:80")[0]
    assert "vpc1-private" in seen(vpc1, "", "127.0.0.1:80")[0]
    assert vpc1.probe(("", f"{BEYOND}:80"))[0].verdict == "refused"


def test_overlapping_vpcs(vpc1: Host) -> None:
    vpc1.do("vpc create --name twin --cidr 10.0.0.0/16 --allow-overlap")
    vpc1.do("subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
    vpc1.listen("twin-public", "80", "53/udp")
    vpc1.do("publish add --vpc twin --subnet public --port 9080:80")
    vpc1.do("publish add --vpc twin --subnet public --port 9053:53 --protocol udp")
    serve(vpc1)
    for nat in (False, True):
        if nat:
            vpc1.do("nat enable --vpc twin")
            vpc1.do("nat enable --vpc vpc1")
        for sender in ("internet", "", *(["vpc1-public", "twin-public"] if nat else [])):
            twin, names, own = seen(vpc1, sender, f"{UPLINK}:9080", f"{UPLINK}:9053/udp", WEB)
            assert "twin-public" in twin
            assert "twin-public" in names
            assert "vpc1-public" in own
            assert sender != "internet" or "203.0.113.1" in twin
    vpc1.do("status")
    before = vpc1.do("export").out
    vpc1.sh("rm /var/lib/vpcctl/state.json*")
    vpc1.do("restore --from-kernel")
    assert vpc1.do("export").out == before
    # The host has a route to it from now on.
    vpc1.do("vpc delete --name vpc1")
    assert "twin-public" in seen(vpc1, "internet", f"{UPLINK}:9080")[0]
    vpc1.do("status")
    put_back(vpc1)


def test_beside_docker_s_published_ports(published: Host) -> None:
    published.listen("other", "90")
    published.sh(DOCKER)
    # Its rule stands before ours now.
    assert "other rules stand before it" in published.vpcctl("status").out
    published.do("restore")
    published.refused("publish add --vpc vpc1 --subnet public --port 9090:80",
                      says="a rule of the host already leads tcp port 9090 elsewhere")
    assert "other" in seen(published, "internet", f"{UPLINK}:9090")[0]
    assert "vpc1-public" in seen(published, "internet", WEB)[0]
    # A container is a client like any other: Docker's own NAT does not make it the host.
    assert "192.168.77.2" in seen(published, "other", WEB)[0]
    published.sh(UNDO_DOCKER)


def test_a_port_that_is_in_use_is_refused(vpc1: Host) -> None:
    pid = vpc1.listen("", "8080", address="127.0.0.1")
    vpc1.refused("publish add --vpc vpc1 --subnet public --port 8080:80",
                 says="tcp port 8080 is already in use on the host at 127.0.0.1")
    vpc1.do(f"publish add --vpc vpc1 --subnet public --port 8080:80 --listen {UPLINK}")
    vpc1.stop(pid)
    vpc1.refused("publish add --vpc vpc1 --subnet private --port 8080:81",
                 says="tcp port 8080 of the host already leads to vpc1/public")
    vpc1.do("publish add --vpc vpc1 --subnet private --port 8080:81 --protocol udp")
    vpc1.refused("publish add --vpc vpc1 --subnet private --port 81 --listen 192.0.2.1",
                 says="192.0.2.1 is not an address of this host")
    topology = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "subnets": {
        "public": {"cidr": "10.0.1.0/24", "type": "public", "publish": ["7000:80", "7000:81"]}}}}}
    vpc1.refused("apply -f", vpc1.write("twice.yaml", json.dumps(topology)),
                 says="already leads to vpc1/public")


ALL_PORTS = (f"-d {UPLINK} -j DNAT --to-destination 192.168.77.2",
             "-p tcp ! --dport 22 -j REDIRECT --to-ports 9", "-i eth0 -p tcp -j REDIRECT --to-ports 9")
"""Rules of somebody else's that lead the port elsewhere without naming it."""


@pytest.mark.parametrize("rule", ALL_PORTS)
def test_a_port_that_a_rule_for_all_ports_leads_elsewhere_is_refused(vpc1: Host, rule: str) -> None:
    vpc1.sh(f"iptables -t nat -A PREROUTING {rule}")
    vpc1.refused("publish add --vpc vpc1 --subnet public --port 8080:80",
                 says="a rule of the host already leads tcp port 8080 elsewhere: PREROUTING")
    vpc1.sh(f"iptables -t nat -D PREROUTING {rule}")
    # Not for this host's addresses, or not for clients from outside.
    for other in ("-d 203.0.113.77 -j DNAT --to-destination 192.168.77.2",
                  "-s 192.0.2.0/24 -j DNAT --to-destination 192.168.77.2"):
        vpc1.sh(f"iptables -t nat -A PREROUTING {other}")
        vpc1.do("publish add --vpc vpc1 --subnet public --port 8080:80")
        vpc1.do("publish delete --port 8080")
        vpc1.sh(f"iptables -t nat -D PREROUTING {other}")


def test_the_address_of_a_cable_is_no_place_to_listen(vpc2: Host) -> None:
    vpc2.refused("publish add --vpc vpc1 --subnet public --port 8080:80 --listen 169.254.64.2", code=2,
                 says="169.254.64.2 is among the addresses of vpcctl's own links (169.254.64.0/18)")


def test_what_is_taken_back_leads_nowhere_and_its_flows_end(published: Host) -> None:
    client = "import socket,sys\ns=socket.socket(2,2);s.settimeout(9);s.bind(('',7777));" \
             f"s.connect(('{UPLINK}',5353));s.send(b'hello');print(s.recv(99).decode())"
    assert "vpc1-public" in published.sh(f'python3 -c "{client}"', "internet")
    published.do("publish delete --port 5353 --protocol udp")
    published.listen("vpc1-private", "53/udp")
    published.do("publish add --vpc vpc1 --subnet private --port 5353:53 --protocol udp")
    # The same ends: tracking would know them for half a minute.
    assert "vpc1-private" in published.sh(f'python3 -c "{client}"', "internet")
    for port in ("8080:80", "8081"):
        published.do(f"publish delete --port {port}")
    published.do("publish delete --vpc vpc1 --subnet private --port 5353:53 --protocol udp")
    published.refused("publish delete --port 8080", says="no port 8080/tcp of the host leads to a machine")
    published.do("publish add --vpc vpc1 --subnet public --port 8080:80 --listen 127.0.0.1")
    published.do("publish add --vpc vpc1 --subnet public --port 8081:80")
    published.refused("publish delete --port 8080", says="did you mean '127.0.0.1:8080/tcp'?")
    published.do("publish delete --port 8080 --listen 127.0.0.1")
    published.do("publish delete --port 8081")
    assert published.sh("sysctl -n net.ipv4.ip_forward net.ipv4.conf.vpc-vpc1.route_localnet") == "0\n0\n"
    assert not [line for line in published.sh("iptables-save").splitlines() if "PUBLISH" in line]
    published.do("status")


@pytest.mark.parametrize("damage", [
    "iptables -F", "iptables -t nat -F", "iptables -t mangle -F", "iptables -t nat -F VPCCTL-PORTS",
    "iptables -F VPCCTL-PUBLISHED", "iptables -t nat -D POSTROUTING 1",
    "sysctl -qw net.ipv4.conf.vpc-vpc1.route_localnet=0", "sysctl -qw net.ipv4.ip_forward=0",
    "ip netns exec vpc1 iptables -F FORWARD", "ip -n vpc1 route del default via 169.254.64.0",
    "ip netns del vpc1", "ip netns del vpc1-public",
])
def test_restore_after_damage(published: Host, damage: str) -> None:
    published.sh(damage)
    found = published.vpcctl("status")
    assert found.code == 1
    published.do("restore")
    published.do("status")
    if damage == "ip netns del vpc1-public":
        published.listen("vpc1-public", "80", "53/udp")
    for sender in ("internet", ""):
        published.reaches(sender, WEB, NAMES)
    published.reaches("", "127.0.0.1:8080")
    if damage in ("iptables -F", "iptables -t nat -F"):
        published.delete_all()
        published.sh(OTHERS)


def test_a_file_makes_it_and_export_has_it(vpc1: Host) -> None:
    topology = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "subnets": {
        "public": {"cidr": "10.0.1.0/24", "type": "public", "publish": ["8080:80"],
                   "instances": {"web1": {"publish": [f"{UPLINK}:8081:80", "5353:53/udp"]}}},
        "private": {"cidr": "10.0.2.0/24"}}}}}
    file = vpc1.write("t.json", topology)
    told = vpc1.do("apply -f", file).out
    assert "+ publish vpc1/public/web1/5353/udp" in told
    vpc1.listen("vpc1-public.web1", "80", "53/udp")
    assert "web1" in seen(vpc1, "internet", f"{UPLINK}:8081")[0]
    assert vpc1.do("apply -f", file).out.startswith("unchanged")
    exported = vpc1.do("export").out
    vpc1.do("instance delete --vpc vpc1 --subnet public --name web1")
    assert [one["port"] for one in vpc1.do("publish list --json").json["publishes"]] == [8080]
    vpc1.do("apply -f", vpc1.write("e.yaml", exported))
    assert vpc1.do("export").out == exported


def test_a_file_takes_nat_away_and_publishes_at_once(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    for nat, publish in ((False, ["8080:80"]), (True, [])):
        subnets = {"public": {"cidr": "10.0.1.0/24", "type": "public", "publish": publish}}
        vpc1.do("apply -f", vpc1.write("t.json", {"version": 2, "vpcs": {"vpc1": {
            "cidr": "10.0.0.0/16", "nat": nat, "subnets": subnets}}}))
        assert vpc1.do("status").out == "in sync\n"
    vpc1.reaches("vpc1-public", "8.8.8.8")


def test_a_lost_record_is_rebuilt(published: Host) -> None:
    published.do("nat enable --vpc vpc2")
    before, front = published.do("export").out, published.state()["topology"]["front"]
    published.sh("rm /var/lib/vpcctl/state.json*")
    published.do("restore --from-kernel")
    published.do("status")
    assert published.do("export").out == before
    assert published.state()["topology"]["front"] == front == UPLINK
    put_back(published)


def test_an_older_copy_of_the_record_gets_the_ports_that_it_lacks(vpc1: Host) -> None:
    vpc1.sh("cp /var/lib/vpcctl/state.json /run/older")
    vpc1.listen("vpc1-public", "80")
    vpc1.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    vpc1.sh("mv /run/older /var/lib/vpcctl/state.json")
    assert "port 8080/tcp to vpc1/public" in vpc1.do("restore --from-kernel").err
    vpc1.do("status")
    vpc1.reaches("internet", WEB)
    put_back(vpc1)


def reach_agrees_with_packets(published: Host, address: str, here: str) -> None:
    """From everywhere to three ports of the host's address; `here` is the address before a colon."""
    senders = {"internet": "internet", "host": "", "vpc1/public": "vpc1-public",
               "vpc1/private": "vpc1-private", "vpc2/public": "vpc2-public"}
    ports = (8080, 8081, 8082)
    for start, namespace in senders.items():
        found = published.probe(*((namespace, f"{here}:{port}") for port in ports), patience=1.0)
        for port, sent in zip(ports, found, strict=True):
            said = published.vpcctl(*f"reach --from {start} --to {address} --port {port} --json".split()).json
            # Nobody listens on 8082: the packet arrives, and is answered so.
            arrives = sent.verdict == "reached" or (sent.verdict == "refused"
                                                    and start in ("internet", "host"))
            assert (said["reach"]["verdict"] == "reachable") == arrives, (start, port, sent, said)


def test_reach_says_what_packets_do(published: Host) -> None:
    published.do("nat enable --vpc vpc1")
    published.do("firewall apply --vpc vpc1 --subnet public --policy", published.write("p", ONLY_OUTSIDE))
    reach_agrees_with_packets(published, UPLINK, UPLINK)
    assert published.do("reach --from internet --to vpc1/private --port 80").out.endswith("reachable\n")
    closed = published.vpcctl("reach", "--from", "internet", "--to", "vpc1/private", "--port", "81",
                              "--json").json
    published.listen("vpc1-private", "81")
    published.do(closed["reach"]["blocked_by"]["fix"].removeprefix("vpcctl "))
    published.reaches("internet", f"{UPLINK}:81")
    published.sh("iptables -F VPCCTL-PUBLISHED")
    closed = published.vpcctl("reach", "--from", "internet", "--to", "vpc1/private", "--port", "81",
                              "--json").json
    assert closed["reach"]["blocked_by"]["fix"] == "vpcctl restore"
    published.do("restore")
    published.reaches("internet", f"{UPLINK}:81")


def test_cleanup_leaves_nothing(published: Host) -> None:
    published.do("nat enable --vpc vpc1")
    published.sh(f"{CLEANUP} --yes; rm /var/lib/vpcctl/state.json.cleaned")


def test_a_dry_run_can_be_pasted(vpc1: Host) -> None:
    vpc1.listen("vpc1-public", "80")
    told = vpc1.do("publish add --vpc vpc1 --subnet public --port 8080:80 --dry-run").out
    vpc1.sh(told)
    vpc1.reaches("internet", WEB)
    vpc1.reaches("", "127.0.0.1:8080")
    # As recorded, with a port more.
    vpc1.sh(f"{CLEANUP} --yes; rm /var/lib/vpcctl/state.json.cleaned; sysctl -qw net.ipv4.ip_forward=0")


WAYS = ("nat:nat1", "blackhole", "instance:public/box", "")
"""What the route table of a machine with a published port leads the internet to; empty: it has no route."""


DNS = bytes.fromhex("000101000001000000000000076578616d706c6503636f6d0000010001")
"""A question for the address of example.com (RFC 1035)."""

FROM_PORT = "import socket; s = socket.socket(2, {}); s.settimeout(2); s.bind(('', {})); " \
            "s.connect(('8.8.8.8', {})); s.send({}); assert s.recv(99)"


def lead_out(host: Host, via: str, vpc: str = "vpc1") -> None:
    """The private subnet gets a table of its own, with that default route."""
    host.do(f"nat-gateway create --vpc {vpc} --subnet public --name nat1")
    host.do(f"instance add --vpc {vpc} --subnet public --name box --forwards")
    host.sh("sysctl -qw net.ipv4.ip_forward=1", f"{vpc}-public.box")
    host.do(f"route-table create --vpc {vpc} --name out")
    if via:
        host.do(f"route-table add-route --vpc {vpc} --name out --to 0.0.0.0/0 --via {via}")
    host.do(f"route-table associate --vpc {vpc} --subnet private --name out")


def publish_private(host: Host, vpc: str = "vpc1") -> None:
    host.listen(f"{vpc}-private", "80", "53/udp")
    host.do(f"publish add --vpc {vpc} --subnet private --port 8080:80")
    host.do(f"publish add --vpc {vpc} --subnet private --port 5353:53 --protocol udp")
    host.do(f"publish add --vpc {vpc} --subnet private --port 8054:54 --protocol udp")


@pytest.mark.parametrize("via", WAYS)
def test_answers_go_back_the_way_the_connection_came(vpc1: Host, via: str) -> None:
    vpc1.do("nat enable --vpc vpc1")
    lead_out(vpc1, via)
    publish_private(vpc1)
    for sender in ("internet", "", "vpc1-public"):
        assert all("vpc1-private" in one for one in seen(vpc1, sender, WEB, NAMES))
    assert "203.0.113.1" in seen(vpc1, "internet", WEB)[0]
    # ICMP errors go back, too, and closed ports are refused at once.
    assert vpc1.probe(("internet", f"{UPLINK}:8054/udp"))[0].verdict == "refused"
    for port in (8080, 5353):
        protocol = "udp" if port == 5353 else "tcp"
        told = vpc1.do(f"reach --from internet --to {UPLINK} --port {port} --protocol {protocol}").out
        assert told.endswith("reachable\n")
    # What the machine begins itself goes by its table, also from that port.
    gets_out = via in ("nat:nat1", "instance:public/box")
    vpc1.do("publish add --vpc vpc1 --subnet private --port 8055:55")
    begun = [vpc1.inside("vpc1-private", "python3", "-c", FROM_PORT.format(kind, port, far, asked))
             for kind, port, far, asked in ((1, 55, 80, b"GET / HTTP/1.0\r\n\r\n"), (2, 54, 53, DNS))]
    assert [one.code == 0 for one in begun] == [gets_out, gets_out], begun
    assert (vpc1.probe(("vpc1-private", "8.8.8.8:80"))[0].verdict == "reached") == gets_out
    assert vpc1.do("status").out == "in sync\n"


@pytest.mark.parametrize("lost", ["mangle -F PREROUTING", "mangle -F FORWARD", "raw -F PREROUTING"])
def test_what_leads_answers_back_may_be_lost(vpc1: Host, lost: str) -> None:
    vpc1.do("nat enable --vpc vpc1")
    lead_out(vpc1, "nat:nat1")
    publish_private(vpc1)
    vpc1.sh(f"iptables -t {lost}", "vpc1")
    assert "changed" in vpc1.vpcctl("status").out
    question = ("reach", "--from", "internet", "--to", "vpc1/private", "--port", "80", "--json")
    said = vpc1.vpcctl(*question).json["reach"]
    sent = vpc1.probe(("internet", WEB))[0].verdict
    assert (said["verdict"] == "reachable") == (sent == "reached")
    if said["verdict"] != "reachable":
        assert said["blocked_by"]["fix"] == "vpcctl restore"
    vpc1.do("restore")
    vpc1.reaches("internet", WEB, NAMES)


def test_answers_go_back_in_a_vpc_that_overlaps_another(vpc1: Host) -> None:
    vpc1.do("vpc create --name twin --cidr 10.0.0.0/16 --allow-overlap")
    vpc1.do("subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
    vpc1.do("subnet add --vpc twin --name private --cidr 10.0.2.0/24")
    vpc1.do("nat enable --vpc twin")
    lead_out(vpc1, "nat:nat1", "twin")
    publish_private(vpc1, "twin")
    for sender in ("internet", "", "twin-public"):
        assert all("twin-private" in one for one in seen(vpc1, sender, WEB, NAMES))
    vpc1.reaches("twin-private", "8.8.8.8:80")
    assert vpc1.do(f"reach --from internet --to {UPLINK} --port 8080").out.endswith("reachable\n")


def test_answers_go_back_past_the_table_of_a_middlebox(vpc1: Host) -> None:
    """The machine's packets go by a middlebox, and those of the middlebox by a NAT gateway."""
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("subnet add --vpc vpc1 --name mid --cidr 10.0.3.0/24 --bare")
    vpc1.do("instance add --vpc vpc1 --subnet mid --name box --forwards")
    vpc1.sh("sysctl -qw net.ipv4.ip_forward=1", "vpc1-mid.box")
    lead_out(vpc1, "instance:mid/box")
    vpc1.do("route-table create --vpc vpc1 --name mid")
    vpc1.do("route-table add-route --vpc vpc1 --name mid --to 0.0.0.0/0 --via nat:nat1")
    vpc1.do("route-table associate --vpc vpc1 --subnet mid --name mid")
    publish_private(vpc1)
    for sender in ("internet", "", "vpc1-public"):
        assert all("vpc1-private" in one for one in seen(vpc1, sender, WEB, NAMES))
    vpc1.reaches("vpc1-private", "8.8.8.8:80")
    assert vpc1.do(f"reach --from internet --to {UPLINK} --port 8080").out.endswith("reachable\n")



FOREIGN = {
    "its port": ("ip", "tcp dport 8080 dnat to 192.168.77.2:90"),
    "a set of ports": ("ip", "tcp dport { 80, 8080-8090 } redirect to :9"),
    "for some senders": ("ip", "ip saddr 192.0.2.0/24 tcp dport 8080 dnat to 192.168.77.2"),
    "all ports": ("ip", f"ip daddr {UPLINK} dnat to 192.168.77.2"),
    "all ports of a link": ("inet", "iifname eth0 meta nfproto ipv4 meta l4proto tcp dnat to 192.168.77.2"),
    "by a map": ("ip", "dnat to tcp dport map { 8080 : 192.168.77.2, 9090 : 192.168.77.3 }"),
    "by two": ("ip", f"dnat to ip daddr . tcp dport map {{ {UPLINK} . 8080 : 192.168.77.2 }}"),
    "by a jump": ("ip", "fib daddr type local jump more"),
    "by a verdict map": ("inet", "tcp dport vmap { 8080 : jump more }"),
}
"""Rules of nft that lead tcp port 8080 elsewhere."""

ELSE = ("udp dport 8080 dnat to 192.168.77.2", "tcp dport 8081 dnat to 192.168.77.2",
        "ip daddr 203.0.113.77 tcp dport 8080 dnat to 192.168.77.2", "iifname wg0 dnat to 192.168.77.2",
        "ip saddr 192.0.2.0/24 dnat to 192.168.77.2", "dnat to tcp dport map { 9090 : 192.168.77.3 }",
        "tcp dport vmap { 9090 : jump more }")
"""Those that don't, or not for clients from outside."""


def foreign(host: Host, family: str, rule: str, priority: int = -110) -> None:
    """A table of somebody else's with that rule, and a chain to which it may jump."""
    host.sh(f"nft -f - <<'E'\ntable {family} foreign {{\n"
            " chain more {\n ip protocol tcp dnat to 192.168.77.2:90\n }\n"
            f" chain pre {{ type nat hook prerouting priority {priority};\n {rule}\n }}\n}}\nE")


@pytest.mark.parametrize(("family", "rule"), FOREIGN.values(), ids=FOREIGN)
def test_a_port_that_a_rule_of_nft_leads_elsewhere_is_refused(vpc1: Host, family: str, rule: str) -> None:
    foreign(vpc1, family, rule)
    add = "publish add --vpc vpc1 --subnet public --port 8080:80"
    told = vpc1.refused(add, says="a rule of the host already leads tcp port 8080 elsewhere: nft chain").err
    assert f"nft chain {family} foreign " in told
    handle = told.partition(", handle ")[2].split()[0]
    assert f"# handle {handle}\n" in vpc1.sh("nft -a list ruleset")
    vpc1.sh(f"nft delete table {family} foreign")
    vpc1.do(add)
    vpc1.do("publish delete --port 8080")


@pytest.mark.parametrize("rule", ELSE)
def test_other_rules_of_nft_are_no_hindrance(vpc1: Host, rule: str) -> None:
    foreign(vpc1, "ip", rule)
    vpc1.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    vpc1.listen("vpc1-public", "80")
    vpc1.reaches("internet", WEB)
    vpc1.sh("nft delete table ip foreign")


BEHIND = -90
"""The priority of firewalld's chain, behind that of iptables."""


@pytest.mark.parametrize("rule", [FOREIGN["all ports"][1], FOREIGN["by a jump"][1]])
def test_a_rule_for_all_ports_behind_ours_is_no_hindrance(vpc1: Host, rule: str) -> None:
    foreign(vpc1, "ip", rule, BEHIND)
    vpc1.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    vpc1.listen("vpc1-public", "80")
    vpc1.listen("", "9090")
    vpc1.reaches("internet", WEB)
    # All other ports are still led to where the host has no way.
    assert vpc1.probe(("internet", f"{UPLINK}:9090"))[0].verdict == REFUSED
    vpc1.sh("nft delete table ip foreign")
    vpc1.reaches("internet", f"{UPLINK}:9090")


def test_a_rule_behind_ours_for_the_port_would_lose_it(vpc1: Host) -> None:
    foreign(vpc1, *FOREIGN["its port"], BEHIND)
    vpc1.refused("publish add --vpc vpc1 --subnet public --port 8080:80",
                 says="a rule of the host already leads tcp port 8080 elsewhere: nft chain ip foreign pre")
    vpc1.sh("nft delete table ip foreign")
