"""The published ports of a machine whose record is lost, from the rules on the host and at its router."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address

from vpcctl_lib.errors import BadInput
from vpcctl_lib.firewall.policy_rules import options
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.publishing import checked
from vpcctl_lib.model.topology import Machine

Rule = dict[str, str]


def publishes(kernel: Kernel, machine: Machine, names: Names, notes: list[str]) -> Iterator[Publish]:
    """The ports of the host that lead to a machine."""
    mark = naming.publish_mark(*names)
    inner = _marked(kernel, names[0], "PREROUTING", mark)
    for rule in _marked(kernel, "", naming.HOST_PORTS, mark):
        try:
            yield checked(_publish(rule, inner))
        except (BadInput, KeyError, ValueError):
            where = "/".join(filter(None, names))
            notes.append(f"a published port of '{where}' can't be rebuilt: its rule is not vpcctl's")


def front(kernel: Kernel) -> IPv4Address | None:
    """The host's address outside, which machines get that use such ports."""
    told = (rule.get("--to-source", "") for chain in (naming.HOST_PUBLISHED, naming.HOST_ELASTIC_TO)
            for rule in _rules(kernel, "", chain))
    try:
        return next((IPv4Address(text) for text in told if text), None)
    except AddressValueError:
        return None


def _publish(rule: Rule, inner: list[Rule]) -> Publish:
    address, _, port = rule["--to-destination"].partition(":")
    if IPv4Address(address) in addressing.LINKS:
        # The host has no route to the machine: its router knows the port.
        port = next((one["--to-destination"].partition(":")[2] for one in inner
                     if (one["-p"], one["--dport"]) == (rule["-p"], port)), "")
    listen = IPv4Address(rule["-d"].removesuffix("/32")) if "-d" in rule else None
    return Publish(int(rule["--dport"]), int(port), Transport(rule["-p"]), listen)


def _marked(kernel: Kernel, space: str, chain: str, mark: str) -> list[Rule]:
    return [rule for rule in _rules(kernel, space, chain) if rule.get("--comment") == mark]


def _rules(kernel: Kernel, space: str, chain: str) -> list[Rule]:
    held = kernel.chain(space, "nat", chain)
    return [options(rule) for rule in held.rules] if held else []
