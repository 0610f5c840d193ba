"""Virtual machines behind taps, by IPv6: the guest is a namespace with the kernel's own network stack."""

from __future__ import annotations

from typing import Any

import pytest
from frames import END, IPV6, ether, listen, names, send
from host import CHECKOUT, Host, Result
from pump import plugged
from reach_six import INTERNET6
from test_ipv6 import (
    HOST_END,
    OTHER,
    PUBLIC,
    ROUTER,
    ROUTERS,
    P,
    Q,
    forged,
    icmp,
    needs_force,
    udp,
)
from test_ipv6 import PRIVATE as NEIGHBOUR
from test_taps import rule

SPACE, MAC, ADDRESS, TAP_END = "vpc1-private.vm", "02:10:0a:00:02:04", f"{P}02::4", "fe80::1"
STATE = "/var/lib/vpcctl/state.json"
WHERE = "--vpc vpc1 --subnet private --name vm"
INSTANCE = "--vpc vpc1 --subnet private --instance vm"
WEB = f"[{ADDRESS}]:80"


def configured(host: Host) -> None:
    """The guest behind the tap, with what docs/containers.md says that it needs."""
    plugged(host, SPACE, MAC)
    host.sh(f"ip -6 addr add {ADDRESS}/128 dev eth0 nodad; "
            f"ip -6 route add default via {TAP_END} dev eth0 onlink", "guest")


@pytest.fixture
def virtual(vpc2: Host) -> Host:
    """A machine with a tap in the private subnet of a VPC with IPv6, and a peered VPC."""
    vpc2.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    vpc2.do(f"vpc set --name vpc2 --ipv6 {Q}00::/56")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    done = vpc2.do(f"instance attach {WHERE} --tap vm0")
    assert f"gateway 10.0.2.1, {ADDRESS}/128 and gateway {TAP_END}: ip netns exec {SPACE} " in done.err
    assert vpc2.do("status").out == "in sync\n"
    vpc2.sh("ip netns add guest; ip -n guest link set lo up")
    configured(vpc2)
    for space in ("vpc1-public", "vpc1-private", "vpc2-public", "guest", ""):
        vpc2.listen(space, "80", "81", address="::")
    return vpc2


def tidy(host: Host) -> None:
    host.sh("ip netns del guest")


def asked(host: Host, question: str) -> Result:
    """What reach says."""
    return host.vpcctl("reach", "-6", *question.split())


def apply(host: Host, **policy: list[dict[str, Any]]) -> None:
    host.do("firewall apply --vpc vpc1 --subnet private --policy", host.write("policy.json", policy))
    assert host.do("status").out == "in sync\n"


def test_a_guest_reaches_and_is_reached_as_any_machine(virtual: Host) -> None:
    virtual.reaches("guest", NEIGHBOUR, f"[{PUBLIC}]:80", OTHER, f"[{OTHER}]:80", ROUTER)
    for space in ("vpc1-public", "vpc1-private", "vpc2-public", ""):
        virtual.reaches(space, ADDRESS, WEB)
    # As the machine itself, and no way to the host.
    assert ADDRESS in virtual.reaches("guest", f"[{PUBLIC}]:80")[0].answer
    virtual.never_reaches("guest", HOST_END, f"[{HOST_END}]:80", INTERNET6, f"{P}01::77")
    for question in (f"--from vpc1/public --to {ADDRESS} --port 80 --probe",
                     "--from host --to vpc1/private/vm", "--from vpc1/private/vm --to vpc1/public",
                     "--from vpc1/private/vm --to vpc2/public --port 80"):
        assert asked(virtual, question).out.count("\nreachable") == 1
    assert asked(virtual, "--from vpc1/private/vm --to internet").code == 1
    virtual.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    virtual.never_reaches("guest", OTHER)
    virtual.never_reaches("vpc2-public", ADDRESS, WEB)
    assert asked(virtual, f"--from vpc1/private/vm --to {OTHER}").code == 1
    tidy(virtual)


@needs_force
def test_route_tables_and_published_ports_hold_for_it(virtual: Host) -> None:
    virtual.do("nat enable --vpc vpc1")
    virtual.never_reaches("guest", INTERNET6)
    virtual.do("route-table add-route --vpc vpc1 --name main --to ::/0 --via egress-only")
    assert "your address: 2001:db8::2" in virtual.sh(f"curl -s -m 2 -g http://[{INTERNET6}]/", "guest")
    assert asked(virtual, f"--from vpc1/private/vm --to {INTERNET6}").code == 0
    virtual.sh(f"ip -n internet -6 route add {P}00::/56 via 2001:db8::2")
    virtual.never_reaches("internet", ADDRESS, WEB)
    virtual.sh(f"ip -n internet -6 route del {P}00::/56 via 2001:db8::2")
    virtual.do(f"publish add {INSTANCE} --port 8080:80")
    assert "2001:db8::1" in virtual.reaches("internet", "[2001:db8::2]:8080")[0].answer
    assert asked(virtual, "--from internet --to vpc1/private/vm --port 80").code == 0
    assert virtual.do("status").out == "in sync\n"
    virtual.do(f"publish delete {INSTANCE} --port 8080")
    virtual.do("nat disable --vpc vpc1")
    virtual.never_reaches("guest", INTERNET6)
    tidy(virtual)


def test_the_owner_of_a_guest_is_told_what_it_must_set(vpc1: Host) -> None:
    fourth, sixth = "10.0.2.4/24 and gateway 10.0.2.1", f"{ADDRESS}/128 and gateway {TAP_END}"
    vpc1.do(f"instance attach {WHERE} --tap vm0")
    assert f"\nGuest:     must set {fourth}\n" in vpc1.do(f"instance show {WHERE}").out
    done = vpc1.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    assert done.err == f"vpcctl: set in the guest of vpc1/private/vm: {sixth}\n"
    assert f"\nGuest:     must set {fourth}, {sixth}\n" in vpc1.do(f"instance show {WHERE}").out
    assert vpc1.do(f"instance show {WHERE} --json").json["instance"]["guest"] == [
        {"addresses": ["10.0.2.4/24"], "gateway": "10.0.2.1"},
        {"addresses": [f"{ADDRESS}/128"], "gateway": TAP_END}]
    assert not vpc1.do(f"vpc set --name vpc1 --ipv6 {P}00::/56").err
    vpc1.do("instance add --vpc vpc1 --subnet private --name db")
    plain = vpc1.do("instance show --vpc vpc1 --subnet private --name db --json").json["instance"]
    assert plain["guest"] is None
    vpc1.do(f"instance detach {WHERE}")


def test_its_policy_decides_out_of_its_reach(virtual: Host) -> None:
    apply(virtual, ingress=[rule(80, source=f"{P}01::/64")], egress=[rule(80)])
    virtual.reaches("vpc1-public", WEB)
    virtual.never_reaches("vpc1-public", ADDRESS, f"[{ADDRESS}]:81")
    virtual.none_reach(*((space, target) for space in ("vpc2-public", "") for target in (ADDRESS, WEB)))
    virtual.reaches("guest", f"[{PUBLIC}]:80")
    virtual.never_reaches("guest", f"[{PUBLIC}]:81", PUBLIC, OTHER)
    told = asked(virtual, "--from vpc1/private/vm --to vpc1/public --port 81 --json").json["reach"]
    found = told["blocked_by"]
    assert (found["code"], found["where"]) == ("FIREWALL_DENY", SPACE)
    virtual.sh(f"export PATH={CHECKOUT}:$PATH; {found['fix']}")
    virtual.reaches("guest", f"[{PUBLIC}]:81")
    shown = virtual.do(f"firewall show {INSTANCE} --json").json["firewall"]
    assert shown["counters"]["ingress[0]"]["packets"] >= 1
    virtual.do("firewall clear --vpc vpc1 --subnet private")
    virtual.reaches("vpc2-public", ADDRESS, WEB)
    tidy(virtual)


def test_groups_and_acls_know_it_by_its_address(virtual: Host) -> None:
    for name in ("web", "db"):
        virtual.do(f"group create --vpc vpc1 --name {name}")
    policy = virtual.write("db.json", {"ingress": [rule(80, source="group:web")]})
    virtual.do(f"group apply --vpc vpc1 --name db --policy {policy}")
    virtual.do("group join --vpc vpc1 --subnet public --name db")
    virtual.never_reaches("guest", f"[{PUBLIC}]:80")
    virtual.do(f"group join {INSTANCE} --name web")
    virtual.reaches("guest", f"[{PUBLIC}]:80")
    virtual.never_reaches("vpc1-public", ADDRESS, WEB)
    policy = virtual.write("web.json", {"ingress": [rule(protocol="icmpv6", source="group:db")]})
    virtual.do(f"group apply --vpc vpc1 --name web --policy {policy}")
    virtual.reaches("vpc1-public", ADDRESS)
    virtual.never_reaches("vpc1-private", ADDRESS)
    virtual.do(f"group leave {INSTANCE} --name web")
    virtual.reaches("guest", OTHER)
    virtual.do("acl create --vpc vpc1 --name none")
    virtual.do("acl associate --vpc vpc1 --subnet private --name none")
    virtual.never_reaches("guest", PUBLIC, OTHER)
    virtual.never_reaches("vpc2-public", ADDRESS)
    virtual.reaches("guest", NEIGHBOUR)
    tidy(virtual)


SPOOFED = {"another's address", "the router's address", "a free address", "link-local", "no address",
           "an address outside", "a peer's", "mapped", "a VLAN tag"}
"""What the guest's own namespace holds back, guarded ports or not; the rest gets no further than its port."""

PORT = ("vpc1", "i-private.vm")


@pytest.mark.parametrize("where", [PORT, ("vpc1-public", "eth0")], ids=["its-port", "neighbour"])
def test_a_guest_sends_as_nobody_else(virtual: Host, where: tuple[str, str]) -> None:
    ear = listen(virtual, *where)
    frames = forged(ROUTERS, PUBLIC, ADDRESS, MAC)
    # It goes on with the machine's own MAC.
    honest = {"another's MAC": frames.pop("another's MAC")}
    last = ether(MAC, ROUTERS, IPV6, udp(ADDRESS, PUBLIC, END))
    lies = [frame for name, frame in frames.items() if where != PORT or name in SPOOFED]
    send(virtual, "guest", [*lies, *honest.values(), last])
    assert names(virtual, ear) == list(honest)
    tidy(virtual)


def test_a_guest_takes_few_places_among_the_neighbours_that_all_share(virtual: Host) -> None:
    """Whoever asks is remembered, so few may ask: 1 a second, and 5 at once."""
    asking = [ether(MAC, ROUTERS, IPV6, icmp(f"fe80::{number:x}", "ff02::1:ff00:1", 135, bytes(4) + bytes(
        (0xFE, 0x80, *bytes(13), 1)) + bytes((1, 1)) + bytes.fromhex(MAC.replace(":", ""))))
        for number in range(16, 1016)]
    send(virtual, "guest", asking)
    held = virtual.sh("ip -6 neigh show dev vm0 nud all", SPACE).splitlines()
    assert 2 <= len(held) <= 12, held
    # Its own questions count for nobody.
    virtual.sh("ip -6 neigh flush dev eth0", "guest")
    virtual.reaches("guest", NEIGHBOUR)
    tidy(virtual)


ASK = "import socket; socket.create_connection(('{}', 80, 0, socket.if_nametoindex('eth0')), 1)"


def test_a_guest_finds_nothing_in_its_namespace(virtual: Host) -> None:
    virtual.listen(SPACE, "80", "53/udp", address="::")
    # It asks for the router's MAC from its link-local address, too.
    virtual.sh("ip -6 neigh flush dev eth0", "guest")
    assert virtual.inside("guest", "ping", "-6", "-c1", "-W1", f"{TAP_END}%eth0").code != 0
    assert ROUTERS in virtual.sh(f"ip -6 neigh show {TAP_END} dev eth0", "guest")
    assert virtual.inside("guest", "python3", "-c", ASK.format(TAP_END)).code != 0
    for group in ("ff02::1", "ff02::2"):
        heard = virtual.inside("guest", "ping", "-6", "-c2", "-i0.3", "-W1", f"{group}%eth0").out
        assert f"from {TAP_END}%" not in heard
    assert virtual.sh("ip -6 -o addr show scope global", SPACE) == ""
    virtual.reaches(SPACE, "[::1]:80")
    tidy(virtual)


LOSSES = {"tap": "ip link del vm0", "route": f"ip -6 route del {ADDRESS}",
          "route ::/0": "ip -6 route del default", "link": "ip link set vm0 down",
          "neighbour": f"ip -6 neigh del {ADDRESS} dev vm0",
          "address": f"ip -6 addr del {TAP_END}/64 dev vm0", "PREROUTING": "ip6tables -t raw -F",
          "forwarding": "sysctl -qw net.ipv6.conf.all.forwarding=0",
          "IPv6 on vm0": "sysctl -qw net.ipv6.conf.vm0.disable_ipv6=1",
          "an MTU below 1280": "ip link set vm0 mtu 1200"}


CLOSED = {"route ::/0": "NO_ROUTE", "address": "NO_ADDRESS"}
"""What reach says of some of them, both ways."""


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_told_and_restored(virtual: Host, loss: str) -> None:
    virtual.sh(LOSSES[loss], SPACE)
    told = virtual.vpcctl("status")
    assert told.code == 1
    assert loss in told.out, told.out
    assert SPACE in told.out
    if loss in CLOSED:
        for question in ("--from vpc1/public --to vpc1/private/vm",
                         "--from vpc1/private/vm --to vpc1/public"):
            assert f'"code": "{CLOSED[loss]}"' in asked(virtual, f"{question} --json").out
        virtual.never_reaches("vpc1-public", ADDRESS)
    virtual.do("restore")
    assert virtual.do("status").out == "in sync\n"
    if loss == "tap":
        # The guest's card went with its tap.
        configured(virtual)
    virtual.reaches("guest", PUBLIC)
    virtual.reaches("vpc1-public", ADDRESS)
    ear = listen(virtual, *PORT)
    send(virtual, "guest", [ether(MAC, ROUTERS, IPV6, udp(source, PUBLIC, name))
                            for source, name in ((NEIGHBOUR, "another's"), (ADDRESS, END))])
    assert names(virtual, ear) == []
    tidy(virtual)


def test_a_guest_that_is_off_is_no_damage(virtual: Host) -> None:
    virtual.sh("for pid in $(ip netns pids guest); do "
               "! grep -qs pump.py /proc/$pid/cmdline || kill $pid; done")
    virtual.wait_until(lambda: "NO-CARRIER" in virtual.sh("ip link show vm0", SPACE), "it is off")
    assert virtual.do("status").out == "in sync\n"
    told = asked(virtual, "--from vpc1/public --to vpc1/private/vm --json").json["reach"]
    found = told["blocked_by"]
    assert (found["code"], found["rule"]) == ("LINK_DOWN", "no virtual machine has opened tap vm0")
    configured(virtual)
    virtual.reaches("vpc1-public", ADDRESS)
    assert virtual.do("status").out == "in sync\n"
    tidy(virtual)


def test_a_living_vpc_gets_and_loses_it(virtual: Host) -> None:
    virtual.sh("ip addr add 10.0.2.4/32 dev eth0; ip route add 10.0.2.1 dev eth0; "
               "ip route add default via 10.0.2.1", "guest")
    virtual.reaches("guest", "10.0.1.2")
    virtual.do("vpc set --name vpc1 --no-ipv6")
    every = "sysctl -a --pattern 'net[.]ipv6[.]'; ip -6 addr; ip -6 route; ip6tables-save -c"
    before = virtual.sh(every, SPACE)
    assert "fd12" not in before
    assert "fe80" not in before
    virtual.never_reaches("guest", PUBLIC)
    virtual.reaches("guest", "10.0.1.2")
    virtual.paste(virtual.do(f"vpc set --name vpc1 --ipv6 {P}00::/56 --dry-run").out)
    virtual.sh(f"rm {STATE} {STATE}.bak")
    virtual.do("restore --from-kernel")
    assert virtual.do("status").out == "in sync\n"
    virtual.reaches("guest", PUBLIC, "10.0.1.2")
    virtual.reaches("vpc1-public", ADDRESS, "10.0.2.4")
    virtual.do("vpc set --name vpc1 --no-ipv6")
    virtual.never_reaches("guest", PUBLIC)
    virtual.reaches("guest", "10.0.1.2")
    assert virtual.do("status").out == "in sync\n"
    tidy(virtual)


def test_a_lost_record_has_it_again(virtual: Host) -> None:
    apply(virtual, ingress=[rule(80)])
    before = virtual.do("export").out
    assert "            tap: vm0\n" in before
    virtual.sh(f"rm {STATE} {STATE}.bak")
    virtual.do("restore --from-kernel")
    assert virtual.do("export").out == before
    assert virtual.do("status").out == "in sync\n"
    virtual.reaches("vpc1-public", WEB)
    virtual.never_reaches("vpc1-public", ADDRESS)
    tidy(virtual)


def test_its_name_leads_to_both_of_its_addresses(virtual: Host) -> None:
    virtual.do("dns enable --vpc vpc1")
    virtual.sh("ip addr add 10.0.2.4/32 dev eth0; ip route add 10.0.2.1 dev eth0; "
               "ip route add default via 10.0.2.1", "guest")
    for space in ("vpc1-public", "guest"):
        answer = virtual.sh("busybox nslookup vm.private.vpc1.internal 169.254.169.253", space)
        assert f"Address: {ADDRESS}\n" in answer
        assert "Address: 10.0.2.4\n" in answer
    tidy(virtual)
