"""The elastic addresses of a host whose record is lost, and their pools, from the marks of its rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.policy_rules import options
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model import elastic, naming
from vpcctl_lib.model.addressing import parse_network
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.outside import Elastic, Pool
from vpcctl_lib.model.topology import Topology

_EIP = re.compile(rf"{naming.MARK}(?P<place>[^~]*)~eip")
_POOL = re.compile(rf"{naming.MARK}~pool~(?P<interface>[^~]+)")


def pools(kernel: Kernel, topology: Topology, _: Names, notes: list[str]) -> Iterator[Pool]:
    """The pools, as far as a person could have added them."""
    for mark, text in _marks(kernel, _POOL):
        try:
            pool = Pool(parse_network(text), mark["interface"])
            elastic.check_pool(topology, pool.cidr)
        except VpcctlError:
            notes.append("a pool of elastic addresses can't be rebuilt: its mark is not vpcctl's")
            continue
        topology = replace(topology, pools=(*topology.pools, pool))
        yield pool


def eips(kernel: Kernel, topology: Topology, _: Names, notes: list[str]) -> Iterator[Elastic]:
    """The addresses, as far as their machines and pools are known."""
    for mark, text in _marks(kernel, _EIP):
        try:
            found = Elastic(IPv4Address(text.removesuffix("/32")), *filter(None, mark["place"].split("/")))
        except (ValueError, TypeError):
            found = None
        is_known = found and (not found.vpc or elastic.held(topology, found))
        if found and is_known and elastic.pool_of(topology, found.address):
            yield found
        else:
            notes.append("an elastic address can't be rebuilt: its mark is not vpcctl's, or its machine is "
                         "missing")


def _marks(kernel: Kernel, kind: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str]]:
    """The marks of that kind among the rules, each with what its rule is for."""
    held = kernel.chain("", "filter", naming.HOST_ELASTIC_TO)
    for rule in map(options, held.rules) if held else ():
        mark = kind.fullmatch(rule.get("--comment", ""))
        if mark:
            yield mark, rule.get("-d", "")
