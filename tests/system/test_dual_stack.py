"""docs/examples/dual-stack.yaml: two VPCs with both families from one file, by names, and by real packets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from host import CHECKOUT, Host
from neighbours import IMAGE
from test_containers import bash
from test_docker_driver import HTTPD, dockered, joined
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
    """What a web server says; empty if nothing comes. The host has no name, a container `docker-…`."""
    words = f"curl -{family} -s -m 2 http://{url}/"
    if space.startswith("docker-"):
        return host.run("docker", "exec", space, *words.split()).out
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


CURL = f"""{IMAGE}
program=$(command -v curl)
for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
    mkdir -p "/run/image$(dirname "$file")" && cp -L "$file" "/run/image$file"
done
tar -C /run/image -cf /run/image.tar .
"""
"""An image with curl and its libraries."""

SHOP, DESK = "docker-shop", "docker-desk"
NETWORK = "docker network create -d vpcctl --ipam-driver null"
START = "docker run -d --name {0} --dns 169.254.169.253 --network name={1},driver-opt=name={1} " + HTTPD
THERE = {f"{SHOP}.front.shop.internal": ("10.40.1.5", "fd40:0:0:101::5"),
         f"{DESK}.desk.care.internal": ("10.50.1.6", "fd50:0:0:101::6")}


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Host]:
    """The file beside a real Docker, with a container in each VPC, one of them among the web servers."""
    with dockered(tmp_path, CURL) as host:
        host.do(f"apply -f {CHECKOUT}/docs/examples/dual-stack.yaml")
        bash(host, f"{NETWORK} -o vpc=shop -o subnet=front -o groups=web shop\n"
                   f"{NETWORK} -o vpc=care -o subnet=desk desk\n"
                   f"{START.format(SHOP, 'shop')}\n{START.format(DESK, 'desk')}\n{joined(host, 2)}")
        # Docker puts its own rules before ours when it makes a network.
        host.do("restore")
        yield host
        bash(host, f"docker rm -f {SHOP} {DESK}; docker network rm shop desk")
        for vpc in ("shop", "care"):
            host.do(f"vpc delete --name {vpc}")


@needs_force
def test_containers_of_docker_have_names_and_both_families(containers: Host) -> None:
    listed = containers.do("instance list --json").json["instances"]
    shown = {one["name"]: one["addresses"] for one in listed}
    for name, addresses in THERE.items():
        assert shown[name.partition(".")[0]] == list(addresses)
    allowed = {(SHOP, f"{WEB_NAME}:80"), (SHOP, f"{DB_NAME}:5432"), (DESK, f"{WEB_NAME}:80")}
    for space, url, family in product((SHOP, DESK), (
            f"{WEB_NAME}:80", f"{WEB_NAME}:81", f"{DB_NAME}:5432", f"{DB_NAME}:81", f"{ADMIN_NAME}:80"),
            FAMILIES):
        found = page(containers, space, url, family)
        assert bool(found) is ((space, url) in allowed), (space, url, family)
        name, _, port = url.partition(":")
        assert not found or f"address {ADDRESSES[name, family]}, port {port}" in found
    shop, desk = THERE
    for space, url, family in product((WEB, DB, ADMIN, GUEST, DESK, ""), (shop, desk), FAMILIES):
        # Docker leaves `lo` without IPv6, by which a machine reaches itself.
        if (space, url) != (DESK, desk):
            assert page(containers, space, url, family), (space, url, family)
    containers.do("status")


@needs_force
def test_who_reaches_containers_from_outside_and_where_they_get(containers: Host) -> None:
    for url, family in (("8.8.8.8", 4), ("[2001:4860:4860::8888]", 6)):
        own = "203.0.113.2" if family == 4 else "2001:db8::2"
        assert f"your address: {own}" in page(containers, SHOP, url, family)
        assert not page(containers, DESK, url, family)
    for address in (address for both in THERE.values() for address in both):
        containers.none_reach(("internet", f"[{address}]:80" if ":" in address else f"{address}:80"))
    containers.do("peer delete --vpc1 care --vpc2 shop")
    for family in FAMILIES:
        assert not page(containers, DESK, WEB_NAME, family)
        assert not page(containers, GUEST, THERE[f"{SHOP}.front.shop.internal"][family == 6], family)
        assert page(containers, SHOP, WEB_NAME, family)
