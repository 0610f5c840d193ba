"""A host whose tests of IPv4 are done by IPv6: each address they name is that of the same machine there."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from host import UPLINK, UPLINK6, Answer, Host, Question, Result
from reach_six import INTERNET6

PREFIXES = {"10.0.0.0/16": "fd12:3456:789a:1", "172.16.0.0/16": "fd12:3456:789a:2",
            "192.168.0.0/16": "fd12:3456:789a:3"}
"""By the CIDR of a VPC, its prefix without the last two digits: those of its subnets' numbers."""

CABLES = tuple(PREFIXES.values())
"""In the order in which VPCs with NAT get their cables to the host."""

HOSTS = {UPLINK: UPLINK6, "8.8.8.8": INTERNET6}
SERVED = re.compile(r"8\.8\.8\.8(:80)?")
"""What the simulated internet serves by IPv6 as well."""

ADDRESS = r"\d+\.\d+\.\d+\.\d+"
TOOLS = ((r"\biptables", "ip6tables"), (r"\bip (route|rule|addr)\b", r"ip -6 \1"),
         (r"net\.ipv4\.ip_forward\b", "net.ipv6.conf.all.forwarding"), (r"net\.ipv4\.conf", "net.ipv6.conf"),
         # No Docker has rules of IPv6 there.
         (r"DOCKER-USER", "FORWARD"), (r"via 169\.254\.64\.[02]", "via fe80::1 dev uplink"),
         (r"169\.254\.64\.0/18", "fe80::/64"))


def address(text: str) -> str:
    """The address of IPv6 of the same machine, router or host."""
    if text in HOSTS:
        return HOSTS[text]
    one = IPv4Address(text)
    if one in IPv4Network("169.254.64.0/18"):
        # A router's end of the cable has no address there that anybody else could send to.
        return f"{CABLES[(int(one) - int(IPv4Address('169.254.64.0'))) // 2]}00::2"
    prefix = next(prefix for cidr, prefix in PREFIXES.items() if one in IPv4Network(cidr))
    _, _, subnet, number = text.split(".")
    return f"{prefix}{int(subnet):02x}::{int(number):x}"


def network(text: str) -> str:
    """The prefix of the same VPC or subnet, or the same address alone."""
    if text in PREFIXES:
        return f"{PREFIXES[text]}00::/56"
    one, _, length = text.partition("/")
    found = address(one)
    return f"{found}/128" if length == "32" else f"{found.rpartition('::')[0]}::/64"


def target(text: str) -> str:
    """The same of `10.0.1.2`, `10.0.1.2:80` and `10.0.1.2:53/udp`."""
    one, colon, rest = text.partition(":")
    return f"[{address(one)}]:{rest}" if colon else address(one)


def script(text: str, namespace: str = "") -> str:
    """The same commands by IPv6, in a namespace."""
    # The first of two peers, by name, has the first address of their cable.
    text = re.sub(rf"via {ADDRESS} dev pcx-(\w+)",
                  lambda found: f"via fe80::{1 + (namespace < found[1])} dev pcx-{found[1]}", text)
    for old, new in TOOLS:
        text = re.sub(old, new, text)
    text = re.sub(rf"{ADDRESS}/\d+", lambda found: network(found[0]), text)
    return re.sub(ADDRESS, lambda found: address(found[0]), text)


class Sixth:
    """The host; what it is asked by IPv4 is asked by IPv6."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def do(self, line: str, *words: str) -> Result:
        """As Host has it; each new VPC has a prefix."""
        made = re.match(rf"vpc create .*--cidr ({ADDRESS}/\d+)", line)
        return self._host.do(line, *words, *(["--ipv6", network(made[1])] if made else []))

    def run(self, *argv: str, **how: str) -> Result:
        """As Host has it, with the tools of IPv6."""
        return self._host.run(*(script(word) for word in argv), **how)

    def sh(self, text: str, namespace: str = "") -> str:
        """As Host has it."""
        return self._host.sh(script(text, namespace), namespace)

    def listen(self, namespace: str, *ports: str, **how: str) -> int:
        """As Host has it."""
        where = address(how["address"]) if how else "::"
        return self._host.listen(namespace, *ports, address=where)

    def probe(self, *questions: Question, patience: float = 5.0, source: str = "") -> list[Answer]:
        """As Host has it."""
        return self._host.probe(*((where, target(one)) for where, one in questions), patience=patience,
                                source=address(source) if source else "")

    def reaches(self, namespace: str, *targets: str) -> list[Answer]:
        """As Host has it, but for names: the simulated internet has no server for them by IPv6."""
        served = [one for one in targets if not one.startswith("8.8.8.8") or SERVED.fullmatch(one)]
        return self._host.reaches(namespace, *map(target, served))

    def never_reaches(self, namespace: str, *targets: str) -> None:
        """As Host has it."""
        self._host.never_reaches(namespace, *map(target, targets))

    def none_reach(self, *questions: Question) -> None:
        """As Host has it."""
        self._host.none_reach(*((where, target(one)) for where, one in questions))

    def no_forgery_arrives(self, namespace: str, *targets: str, source: str, at: str, witness: str) -> None:
        """As Host has it."""
        self._host.no_forgery_arrives(namespace, *map(target, targets), source=address(source), at=at,
                                      witness=witness)


FAMILIES = ("ipv4", "ipv6")


def by(family: str, host: Host) -> Host:
    """The host for tests of a family; its VPCs get prefixes."""
    if family == "ipv4":
        return host
    if not Path("/proc/sys/net/ipv6/conf/all/force_forwarding").exists():
        pytest.skip("NOT TRIED: forwarding IPv6 by single links needs Linux 6.17")
    for vpc in host.do("vpc list --json").json["vpcs"]:
        host.do(f"vpc set --name {vpc['name']} --ipv6 {network(vpc['cidr'])}")
    return Sixth(host)  # type: ignore[return-value]
