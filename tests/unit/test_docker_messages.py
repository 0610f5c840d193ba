"""What Docker tells its network driver, and what is remembered of it."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.runtimes import docker_messages
from vpcctl_lib.runtimes.docker_book import Book, Network, Plug, Shelf
from vpcctl_lib.runtimes.docker_messages import GENERIC, PORTS, Wish
from vpcctl_lib.runtimes.values import object_in

NO_POOL = [{"AddressSpace": "null", "Pool": "0.0.0.0/0", "Gateway": "0.0.0.0/0", "AuxAddresses": {}}]
APP = Network("vpc1", "public", ("web",))


def network(pools: Any = NO_POOL, /, **options: str) -> Network:
    """The network of such a request."""
    given = {"com.docker.network.enable_ipv6": False, GENERIC: options}
    request = {"NetworkID": "n", "Options": given, "IPv4Data": pools, "IPv6Data": []}
    docker_messages.check_pool(request, IPv4Network("10.0.1.0/24"))
    return docker_messages.network(request)


def wish(interface: Any = None, /, **options: Any) -> Wish:
    """What a container asks for with such options."""
    return docker_messages.wish({"Options": options, "Interface": interface or {}}, APP)


def test_a_network_stands_for_a_subnet() -> None:
    assert network(vpc="vpc1", subnet="public") == Network("vpc1", "public")
    own = [{"AddressSpace": "vpcctl", "Pool": "10.0.1.0/24", "Gateway": "10.0.0.1/16"}]
    assert network(own, vpc="vpc1", subnet="public") == Network("vpc1", "public")
    assert network(vpc="vpc1", subnet="public", groups="web,data") == Network("vpc1", "public",
                                                                              ("web", "data"))


@pytest.mark.parametrize(("pools", "options", "says"), [
    (NO_POOL, {"vpc": "vpc1"}, "no option 'subnet'"),
    (NO_POOL, {"subnet": "public"}, "no option 'vpc'"),
    (NO_POOL, {"vpc": "v", "subnet": "s", "group": "web"}, "no option 'group'"),
    ([{"AddressSpace": "vpcctl", "Pool": "10.0.2.0/24"}], {"vpc": "v", "subnet": "s"}, "CIDR is 10.0.1.0/24"),
    ([{"Pool": "172.18.0.0/16"}], {"vpc": "v", "subnet": "s"}, "addresses of 172.18.0.0/16"),
])
def test_a_network_that_can_not_be_is_refused(pools: Any, options: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        network(pools, **options)


def test_a_container_may_have_wishes() -> None:
    nine = IPv4Address("10.0.1.9")
    assert wish() == Wish(None, ("web",), "")
    assert wish(address="10.0.1.9", groups="data", name="db1") == Wish(nine, ("data",), "db1")
    assert wish({"Address": "10.0.1.9/24"}) == Wish(nine, ("web",), "")
    port = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}
    given = [port, {**port, "HostIP": "::"}, {**port, "Proto": 17, "HostIP": "127.0.0.1"}]
    assert wish(**{PORTS: given}).ports == ("8080:80/tcp", "127.0.0.1:8080:80/udp")
    assert wish(**{PORTS: [], "com.docker.network.endpoint.exposedports": [{"Port": 80}]}) == wish()


@pytest.mark.parametrize(("interface", "options", "says"), [
    ({}, {PORTS: [{"Proto": 6, "Port": 80, "HostPort": 0}]}, "no port of the host is said"),
    ({}, {PORTS: [{"Proto": 132, "Port": 80, "HostPort": 80}]}, "not a published port"),
    ({"Address": "10.0.1.9/24"}, {"address": "10.0.1.8"}, "two addresses"),
    ({}, {"address": "10.0.1"}, "not an IPv4 address"),
    ({}, {"name": "Web"}, "can't be a machine name"),
])
def test_what_a_container_can_not_have_is_refused(interface: Any, options: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        wish(interface, **options)


def test_another_mac_is_refused() -> None:
    docker_messages.check_mac({"Interface": {"MacAddress": "02:10:0A:00:01:04"}}, "02:10:0a:00:01:04")
    docker_messages.check_mac({"Interface": None}, "02:10:0a:00:01:04")
    with pytest.raises(BadInput, match="follows from its address"):
        docker_messages.check_mac({"Interface": {"MacAddress": "02:10:0a:00:01:05"}}, "02:10:0a:00:01:04")


def test_docker_is_told_what_our_own_routes_are() -> None:
    found = docker_messages.joined(Vpc("vpc1", IPv4Network("10.0.0.0/16")), "vpcd0")
    assert found["InterfaceName"] == {"SrcName": "vpcd0", "DstPrefix": "eth"}
    assert found["Gateway"] == "10.0.0.1"
    assert [(one["Destination"], one.get("NextHop")) for one in found["StaticRoutes"]] == [
        ("10.0.0.1/32", None), ("10.0.0.0/16", "10.0.0.1")]


@pytest.mark.parametrize("body", [b"[]", b"{", b'"x"', b"[" * 100000, b"\xff"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        object_in(body)


def test_the_book_is_kept(tmp_path: Path) -> None:
    plug = Plug("vpc1", "public", "docker-1", "10.0.1.4", ("web",), ports=("8080:80/tcp",))
    book = Book().with_network("n", APP).with_plug("e", plug).with_plug("f", plug.at("/run/x", True))
    book = book.with_reserved("vpc1/public", IPv4Address("10.0.1.4"))
    shelf = Shelf(tmp_path)
    assert shelf.read() == Book()
    with shelf.locked():
        shelf.write(book)
    assert Shelf(tmp_path).read() == book
    four, nine = IPv4Address("10.0.1.4"), IPv4Address("10.0.1.9")
    book = book.with_reserved("vpc1/public", nine)
    assert book.taken("vpc1", "public") == {four, nine}
    assert book.taken("vpc1", "public", nine) == {four}
    assert book.taken("vpc1", "private") == set()
    book = book.without_reserved("vpc1/public", "10.0.1.4").without_reserved("vpc1/public", "10.0.1.9")
    assert book.without_plug("e").without_plug("f").without_network("n") == Book()
    assert (tmp_path / "docker.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"version": 2, "networks": {}, "plugs": {}}', '{"version": 1}',
    json.dumps({"version": 1, "networks": {}, "plugs": {"e": {"vpc": "v", "subnet": "s", "machine": "m",
                                                               "address": "x", "groups": []}}}),
    json.dumps({"version": 1, "networks": {}, "plugs": {"e": {"more": 1, "groups": []}}}),
])
def test_a_damaged_book_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "docker.json").write_text(text)
    with pytest.raises(VpcctlError, match="can't be read"):
        Shelf(tmp_path).read()
