"""docs/examples/dual-stack.yaml: two VPCs with both families from one file, by names, and by real packets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from host import CHECKOUT, Host
from test_ipv6 import needs_force

WEB, DB, ADMIN, GUEST = "shop-front.web1", "shop-back.db", "care-desk.admin", "care-desk.guest"
BOX = "shop-front.box"
WEB_NAME, DB_NAME = "web1.front.shop.internal", "db.back.shop.internal"
ADMIN_NAME = "admin.desk.care.internal"
FAMILIES = (4, 6)
ADDRESSES = {(WEB_NAME, 4): "10.40.1.4", (WEB_NAME, 6): "fd40:0:0:101::4",
             (DB_NAME, 4): "10.40.2.4", (DB_NAME, 6): "fd40:0:0:102::4"}
AT_THE_HOST = "mount --bind {} /etc/resolv.conf && {}"
"""The host itself asks its own servers: here, those of a VPC."""


@pytest.fixture
def network(host: Host) -> Iterator[Host]:
    """All of the file, and a namespace that somebody else made, as a container's is, in the web's group."""
    host.do(f"apply -f {CHECKOUT}/docs/examples/dual-stack.yaml")
    host.sh("ip netns add box")
    host.do("instance attach --vpc shop --subnet front --name box --netns /run/netns/box --group web")
    yield host
    host.do("instance detach --vpc shop --subnet front --name box")
    host.sh("ip netns delete box; rm -rf /run/mount")


def page(host: Host, space: str, url: str, family: int) -> str:
    """What a web server says; empty if nothing comes. The empty namespace is the host."""
    words = f"curl -{family} -s -m 2 http://{url}/"
    if not space:
        servers = host.write("resolv.conf", "nameserver 10.40.0.1\n")
        words = f"unshare -m sh -c '{AT_THE_HOST.format(servers, words)}'"
    return host.inside(space, "sh", "-c", words).out if space else host.run("sh", "-c", words).out


@needs_force
def test_names_lead_to_both_families_and_groups_acls_and_tables_decide_in_both(network: Host) -> None:
    allowed = {(WEB, f"{WEB_NAME}:80"), (WEB, f"{DB_NAME}:5432"), (BOX, f"{WEB_NAME}:80"),
               (BOX, f"{DB_NAME}:5432"), (DB, f"{WEB_NAME}:80"), (DB, f"{DB_NAME}:5432"),
               (ADMIN, f"{WEB_NAME}:80"), (ADMIN, f"{DB_NAME}:5432"), (GUEST, f"{WEB_NAME}:80"),
               ("", f"{WEB_NAME}:80"), (ADMIN, f"{ADMIN_NAME}:80"), (DB, f"{DB_NAME}:81"),
               (WEB, f"{WEB_NAME}:81")}
    for space, (name, port), family in product(
            (WEB, BOX, DB, ADMIN, GUEST, ""),
            ((WEB_NAME, 80), (WEB_NAME, 81), (DB_NAME, 5432), (DB_NAME, 81), (ADMIN_NAME, 80)), FAMILIES):
        found = page(network, space, f"{name}:{port}", family)
        shall = (space, f"{name}:{port}") in allowed
        assert bool(found) is shall, (space, name, port, family)
        if shall and (name, family) in ADDRESSES:
            assert f"address {ADDRESSES[name, family]}, port {port}" in found
    network.do("status")


@needs_force
def test_who_gets_out_and_who_is_left_alone(network: Host) -> None:
    out = {(WEB, "8.8.8.8", 4), (BOX, "8.8.8.8", 4), *((space, "[2001:4860:4860::8888]", 6)
                                                      for space in (WEB, BOX, DB))}
    for space, (url, family) in product((WEB, BOX, DB, ADMIN, GUEST), (
            ("8.8.8.8", 4), ("[2001:4860:4860::8888]", 6))):
        found = page(network, space, url, family)
        assert ("your address: " in found) is ((space, url, family) in out), (space, url)
        assert not found or f"your address: {'203.0.113.2' if family == 4 else '2001:db8::2'}" in found
    # Nobody outside, and no machine, reaches what is not for it: the host, or other VPCs' routers.
    network.none_reach(*(("internet", f"[{address}]:80" if ":" in address else f"{address}:80")
                         for address in ADDRESSES.values()))
    network.none_reach(*((space, address) for space in (WEB, DB, ADMIN, GUEST) for address in (
        "203.0.113.2", "2001:db8::2", "fd40:0:0:100::2", "fd50:0:0:100::2", "169.254.64.0")))


@needs_force
def test_without_the_peering_the_two_are_apart(network: Host) -> None:
    network.do("peer delete --vpc1 care --vpc2 shop")
    for space, family in product((ADMIN, GUEST), FAMILIES):
        address = ADDRESSES[WEB_NAME, family]
        assert not page(network, space, f"[{address}]" if family == 6 else address, family)
        assert not page(network, space, WEB_NAME, family)
    assert page(network, WEB, f"{DB_NAME}:5432", 6)


def test_it_comes_back_as_it_was(network: Host) -> None:
    before = network.do("export").out
    network.sh("ip6tables -F VPCCTL-FORWARD; iptables -F VPCCTL-FORWARD")
    network.sh("ip -6 route flush table main; ip netns exec shop-back.db ip6tables -F", "shop")
    network.do("restore")
    network.do("status")
    assert page(network, WEB, f"{DB_NAME}:5432", 6)
    network.never_reaches(GUEST, "[fd40:0:0:102::4]:5432", "10.40.2.4:5432")
    assert network.do("export").out == before
