"""Routes to NAT gateways and middleboxes that a VPC's bridge follows by itself, past the router; pure.

They are of IPv4: the router leads what is of IPv6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.routing import EVERYWHERE
from vpcctl_lib.model.tables import SHIFT
from vpcctl_lib.resources.expressions import (
    ACCEPT,
    Expression,
    beyond,
    field,
    meta,
    networks,
    plain,
    read,
    setting,
)

VIA = "via-"
"""The beginning of the names of chains, each for a table."""

ROUTED = (IPv4Network("169.254.0.0/16"), IPv4Network("224.0.0.0/3"))
"""What is always for the router: its own addresses besides the gateway's, and those of many at once."""

Networks = Sequence[IPv4Network]


@frozen
class Hop:
    """A route of a table: its packets are switched to the machine with that MAC; without one, routed."""

    number: int
    """That of the table."""

    target: IPv4Network
    mac: str = ""

    @property
    def rule(self) -> str:
        """The rule for packets to the outside of the table's subnets."""
        there = f"ip daddr {plain(self.target)} " if self.target.prefixlen else ""
        return f"{there}ether daddr set {self.mac} accept" if self.mac else f"{there}accept"

    @property
    def expression(self) -> Expression:
        """The same as nft lists it."""
        turned = [setting(field("ether", "daddr"), self.mac)] if self.mac else []
        return [*networks("daddr", "==", (self.target,)), *turned, ACCEPT]


def by_table(hops: Sequence[Hop]) -> Mapping[int, list[Hop]]:
    """Those of each table, by its number."""
    return {number: [one for one in hops if one.number == number]
            for number in sorted({one.number for one in hops})}


def leads(hops: Sequence[Hop]) -> Iterator[str]:
    """What leads packets to the outside to the chains of their tables, if there are any."""
    verdicts = ", ".join(f"{number << SHIFT:#010x} : jump {VIA}{number}" for number in by_table(hops))
    if verdicts:
        yield f"meta mark vmap {{ {verdicts} }}"


def chains(inside: Networks, hops: Sequence[Hop]) -> Mapping[str, list[str]]:
    """The chains of tables. What bears others' addresses is routed: the router knows what it refuses."""
    first = [f"{beyond('saddr', inside)} accept", *(f"ip daddr {one} accept" for one in ROUTED)]
    return {f"{VIA}{number}": [*first, *(one.rule for one in found)]
            for number, found in by_table(hops).items()}


def leads_listed(hops: Sequence[Hop]) -> Iterator[dict[str, Any]]:
    """What `leads` gives, as nft lists it."""
    verdicts = [[number << SHIFT, {"jump": {"target": f"{VIA}{number}"}}] for number in by_table(hops)]
    if verdicts:
        yield {"vmap": {"key": meta("mark"), "data": {"set": verdicts}}}


def chains_listed(inside: Networks, hops: Sequence[Hop]) -> Mapping[str, list[Expression]]:
    """What `chains` gives, as nft lists it."""
    first = [[*networks("saddr", "!=", inside), ACCEPT],
             *([*networks("daddr", "==", (one,)), ACCEPT] for one in ROUTED)]
    return {f"{VIA}{number}": [*first, *(one.expression for one in found)]
            for number, found in by_table(hops).items()}


def held(listed: Sequence[Mapping[str, Any]]) -> Mapping[str, list[Expression]]:
    """The rules of the chains of tables in a table that nft has listed."""
    found: dict[str, list[Expression]] = {
        item["chain"]["name"]: [] for item in listed if item.get("chain", {}).get("name", "").startswith(VIA)}
    for item in listed:
        if item.get("rule", {}).get("chain") in found:
            found[item["rule"]["chain"]].append(item["rule"]["expr"])
    return found


def hops_of(listed: Sequence[Mapping[str, Any]]) -> tuple[Hop, ...]:
    """The routes in it; none if a rule is of another form."""
    try:
        found = {int(name.removeprefix(VIA)): rules for name, rules in held(listed).items()}
        return tuple(_hop(number, rule) for number in sorted(found)
                     for rule in found[number][1 + len(ROUTED):])
    except (LookupError, TypeError, ValueError):
        return ()


def _hop(number: int, rule: Expression) -> Hop:
    target: IPv4Network = EVERYWHERE
    mac = ""
    for part in rule:
        if "mangle" in part:
            mac = str(part["mangle"]["value"])
        elif "match" in part:
            target = IPv4Network(read(part["match"]["right"]))
    return Hop(number, target, mac)
