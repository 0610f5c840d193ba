"""The published ports of a machine whose record is lost, from the rules on the host and at its router."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain

from vpcctl_lib.engine.found_prefixes import prefix
from vpcctl_lib.errors import BadInput
from vpcctl_lib.firewall.policy_rules import options
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.publishing import checked
from vpcctl_lib.model.topology import Machine

Rule = dict[str, str]


def publishes(kernel: Kernel, machine: Machine, names: Names, notes: list[str]) -> Iterator[Publish]:
    """The ports of the host that lead to a machine; rules of both families have one at all addresses."""
    mark = naming.publish_mark(*names)
    inner = _marked(kernel, names[0], "PREROUTING", mark)
    found: dict[Publish, None] = {}
    families = Family if prefix(kernel, names[0]) else (Family.INET,)
    for rule in chain.from_iterable(_marked(kernel, "", naming.HOST_PORTS, mark, one) for one in families):
        try:
            found[checked(_publish(rule, inner))] = None
        except (BadInput, KeyError, ValueError):
            where = "/".join(filter(None, names))
            notes.append(f"a published port of '{where}' can't be rebuilt: its rule is not vpcctl's")
    yield from found


def front(kernel: Kernel) -> IPv4Address | None:
    """The host's address outside, which machines get that use such ports."""
    told = (rule.get("--to-source", "") for chain in (naming.HOST_PUBLISHED, naming.HOST_ELASTIC_TO)
            for rule in _rules(kernel, "", chain))
    try:
        return next((IPv4Address(text) for text in told if text), None)
    except AddressValueError:
        return None


def front6(kernel: Kernel) -> IPv6Address | None:
    """The same of IPv6."""
    told = (rule.get("--to-source", "") for rule in _rules(kernel, "", naming.HOST_PUBLISHED, Family.INET6))
    try:
        return next((IPv6Address(text) for text in told if text), None)
    except AddressValueError:
        return None


def entrances(kernel: Kernel) -> tuple[str, ...]:
    """The links by which IPv6 comes to such ports."""
    return tuple(rule["-i"] for rule in _rules(kernel, "", naming.HOST_PUBLISH, Family.INET6)
                 if rule.get("--comment") == naming.host_mark() and "-i" in rule)


def _publish(rule: Rule, inner: list[Rule]) -> Publish:
    address, _, port = rule["--to-destination"].rpartition(":")
    goal = ip_address(address.strip("[]"))
    if isinstance(goal, IPv4Address) and goal in addressing.LINKS:
        # The host has no route to the machine: its router knows the port.
        port = next((one["--to-destination"].partition(":")[2] for one in inner
                     if (one["-p"], one["--dport"]) == (rule["-p"], port)), "")
    at = ip_network(rule["-d"]) if "-d" in rule else None
    if at and at.num_addresses > 1:
        raise ValueError(f"{at} is not an address")
    listen = at.network_address if at else None
    return Publish(int(rule["--dport"]), int(port), Transport(rule["-p"]), listen)


def _marked(kernel: Kernel, space: str, chain: str, mark: str, family: Family = Family.INET) -> list[Rule]:
    return [rule for rule in _rules(kernel, space, chain, family) if rule.get("--comment") == mark]


def _rules(kernel: Kernel, space: str, chain: str, family: Family = Family.INET) -> list[Rule]:
    held = kernel.chain(space, "nat", chain, family)
    return [options(rule) for rule in held.rules] if held else []
