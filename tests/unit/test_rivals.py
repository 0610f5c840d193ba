"""Whose a thing is that stands where one of ours is to be, and how to go on."""

from __future__ import annotations

import sys
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from vpcctl_lib.engine.rivals import refusal
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources import (
    Address,
    Bridge,
    Chain,
    Folder,
    Ifb,
    Namespace,
    Port,
    Resource,
    Route,
    Veth,
)

ROUTE = Route("", IPv4Network("10.0.0.0/16"), "vpc-vpc1", IPv4Address("169.254.64.1"))
DEFAULT = Route("vpc1", IPv4Network("0.0.0.0/0"), "uplink", IPv4Address("169.254.64.0"), 7)


RUNNING: list[Program] = []
"""What runs in any namespace."""


class Held:
    """What a kernel holds."""

    def __init__(
        self, link: dict[str, Any] | None = None, routes: tuple[dict[str, Any], ...] = (), saved: str = ""
    ) -> None:
        self.held, self.lines, self.saved = link, routes, saved

    def link(self, namespace: str, device: str) -> dict[str, Any] | None:
        return self.held

    def routes(self, namespace: str) -> tuple[dict[str, Any], ...]:
        return self.lines

    def processes(self, namespaces: Collection[str]) -> list[tuple[str, Program]]:
        return [(space, one) for space in namespaces for one in RUNNING]

    def chains(self, namespace: str, family: Family = Family.INET) -> Saved:
        return Saved(self.saved)


class Program:
    """A process."""

    def __init__(self, name: str) -> None:
        self.name = name

    def program(self) -> str:
        return self.name


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """What runs in any namespace."""
    monkeypatch.setattr(sys.modules[__name__], "RUNNING", [])
    return RUNNING


def told(resource: Resource, kernel: object) -> tuple[str, str]:
    """The owner, and what removes it."""
    error = refusal(resource, kernel)  # type: ignore[arg-type]
    start = f"{resource} already exists, and vpcctl did not make it"
    assert error.message.startswith(start)
    assert error.hint.startswith("choose another name, or remove it: ")
    return error.message[len(start) :].removeprefix(": "), error.hint.partition(": ")[2]


def test_a_namespace_is_of_what_runs_in_it(programs: list[Program]) -> None:
    space = Namespace("vpc1", "vpcctl:vpc1")
    assert told(space, Held()) == ("", "ip netns del vpc1")
    programs += map(Program, ("nginx", "bash", "nginx"))
    assert told(space, Held()) == ("bash, nginx runs in it", "ip netns del vpc1")


@pytest.mark.parametrize(
    "resource",
    [
        Veth("", "vpc-a", "a", "uplink"),
        Port("", "vpc-a", "vpcctl:a"),
        Bridge("", "vpc-a", "02:00:00:00:00:01"),
    ],
)
@pytest.mark.parametrize(
    ("link", "owner"),
    [
        (None, ""),
        ({}, ""),
        ({"linkinfo": {"info_kind": "dummy"}}, "a dummy"),
        ({"ifalias": "lab"}, "with the alias 'lab'"),
        ({"linkinfo": {"info_kind": "veth"}, "ifalias": "lab"}, "a veth with the alias 'lab'"),
    ],
)
def test_a_link(resource: Resource, link: dict[str, Any] | None, owner: str) -> None:
    assert told(resource, Held(link)) == (owner, "ip link del vpc-a")


@pytest.mark.parametrize("resource", [Veth("vpc1", "pcx-a", "a", "pcx-vpc1"), Ifb("vpc1", "pcx-a"),
                                      Bridge("vpc1", "pcx-a", "02:00:00:00:00:01")])
def test_a_link_with_our_mark_may_be_adopted(resource: Resource) -> None:
    error = refusal(resource, Held({"ifalias": "vpcctl:vpc1+a"}))  # type: ignore[arg-type]
    assert error.message == f"{resource} bears vpcctl's mark, but is not in the record"
    assert error.hint == "adopt it: vpcctl restore --from-kernel; or remove it: ip -n vpc1 link del pcx-a"


def test_what_is_in_a_namespace_is_removed_there() -> None:
    assert told(Veth("vpc1", "s-a", "vpc1-a", "eth0"), Held())[1] == "ip -n vpc1 link del s-a"
    assert told(Address("vpc1", "br", IPv4Interface("10.0.0.1/16")), Held()) == (
        "",
        "ip -n vpc1 addr del 10.0.0.1/16 dev br",
    )
    assert (
        told(Address("", "br", IPv4Interface("10.0.0.1/16")), Held())[1] == "ip addr del 10.0.0.1/16 dev br"
    )
    assert (
        told(Chain("vpc1", "filter", "INPUT", ()), Held())[1]
        == "ip netns exec vpc1 iptables -t filter -F INPUT"
    )
    assert told(Chain("", "nat", "USER", ()), Held())[1] == "iptables -t nat -F USER"


@pytest.mark.parametrize(
    ("routes", "owner", "removal"),
    [
        ((), "", "ip route del 10.0.0.0/16"),
        (
            ({"dst": "10.0.0.0/16", "gateway": "192.0.2.9", "dev": "eth0", "protocol": "dhcp"},),
            "it leads via 192.0.2.9 dev eth0, made by a DHCP client",
            "ip route del 10.0.0.0/16 via 192.0.2.9 dev eth0",
        ),
        (
            ({"dst": "10.0.0.0/16", "dev": "tun0"},),
            "it leads dev tun0, made by ip route add",
            "ip route del 10.0.0.0/16 dev tun0",
        ),
        (
            ({"dst": "10.0.0.0/16", "dev": "tun0", "protocol": "babel"},),
            "it leads dev tun0, made by babel",
            "ip route del 10.0.0.0/16 dev tun0",
        ),
        # Another's is none of these two.
        (
            ({"dst": "10.1.0.0/16", "dev": "a"}, {"dst": "10.0.0.0/16", "dev": "b", "metric": 9}),
            "",
            "ip route del 10.0.0.0/16",
        ),
    ],
)
def test_a_route(routes: tuple[dict[str, Any], ...], owner: str, removal: str) -> None:
    assert told(ROUTE, Held(routes=routes)) == (owner, removal)


def test_a_default_route_of_its_metric() -> None:
    routes = (
        {"dst": "default", "dev": "a"},
        {"dst": "default", "dev": "b", "metric": 7, "protocol": "static"},
    )
    assert told(DEFAULT, Held(routes=routes)) == (
        "it leads dev b, made by a configuration of the host",
        "ip -n vpc1 route del default dev b",
    )


def test_a_chain_of_our_name_is_a_leftover_if_it_is_empty_or_marked() -> None:
    chain = Chain("", "filter", "VPCCTL-FORWARD", ())
    rule = '-A VPCCTL-FORWARD -m comment --comment "vpcctl:a" -j DROP'
    ours = f"*filter\n:VPCCTL-FORWARD - [0:0]\n{rule}\nCOMMIT\n"
    for saved in ("*filter\n:VPCCTL-FORWARD - [0:0]\nCOMMIT\n", ours):
        error = refusal(chain, Held(saved=saved))  # type: ignore[arg-type]
        assert error.message == f"{chain} already exists: an earlier VPC left it, and it is not recorded"
        assert error.hint == "remove it: vpcctl restore"
    others = ours.replace('-m comment --comment "vpcctl:a" ', "")
    assert told(chain, Held(saved=others))[1] == "iptables -t filter -F VPCCTL-FORWARD"
    assert told(Chain("vpc1", "filter", "VPCCTL-FORWARD", ()), Held(saved=ours))[0] == ""
    assert told(Chain("", "filter", "USER", ()), Held())[0] == ""


def test_what_cannot_be_asked_is_somebody_s_all_the_same() -> None:
    class Blind(Held):
        def link(self, namespace: str, device: str) -> None:
            raise VpcctlError("no answer")

    class Unreadable(Held):
        def link(self, namespace: str, device: str) -> None:
            raise PermissionError("no answer")

    assert refusal(Veth("", "vpc-a", "a", "uplink"), Unreadable()).hint  # type: ignore[arg-type]
    error = refusal(Veth("", "vpc-a", "a", "uplink"), Blind())  # type: ignore[arg-type]
    assert error.message.endswith("already exists, and vpcctl did not make it")
    assert error.hint == "rename or remove one of the two"
    assert refusal(Folder("/etc/netns"), Held()).hint == "rename or remove one of the two"  # type: ignore[arg-type]
