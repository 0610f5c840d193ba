"""Routes to NAT gateways and middleboxes that a VPC's bridge follows by itself, past the router; pure.

They are of IPv4: the router leads what is of IPv6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.routing import EVERYWHERE
from vpcctl_lib.model.tables import SHIFT
from vpcctl_lib.resources.expressions import (
    ACCEPT,
    RETURN,
    Expression,
    beyond,
    field,
    match,
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
        return f"{there}ether daddr set {self.mac} accept" if self.mac else f"{there}return"

    @property
    def expression(self) -> Expression:
        """The same as nft lists it."""
        turned = [setting(field("ether", "daddr"), self.mac), ACCEPT] if self.mac else [RETURN]
        return [*networks("daddr", "==", (self.target,)), *turned]


@frozen
class Chains:
    """The chains of tables, each of which the packets to the outside of its subnets meet."""

    inside: Networks
    """The VPC's addresses of IPv4."""

    has_ipv6: bool
    numbers: Sequence[int]
    """Those of the tables."""

    hops: Sequence[Hop] = ()

    def rules(self) -> Mapping[str, list[str]]:
        """By name. What bears others' addresses is routed: the router knows what it refuses."""
        first = [*(("ether type != ip return",) if self.has_ipv6 else ()),
                 f"{beyond('saddr', self.inside)} return", *(f"ip daddr {one} return" for one in ROUTED)]
        return {chain(number): [f"meta mark set {number << SHIFT:#010x}", *(first if found else ()),
                                *(one.rule for one in found)] for number, found in self._by_table.items()}

    def listed(self) -> Mapping[str, list[Expression]]:
        """The same as nft lists them."""
        other = [match("!=", field("ether", "type"), "ip"), RETURN]
        first = [*([other] if self.has_ipv6 else ()), [*networks("saddr", "!=", self.inside), RETURN],
                 *([*networks("daddr", "==", (one,)), RETURN] for one in ROUTED)]
        return {chain(number): [[setting(meta("mark"), number << SHIFT)], *(first if found else ()),
                                *(one.expression for one in found)]
                for number, found in self._by_table.items()}

    @property
    def _by_table(self) -> Mapping[int, list[Hop]]:
        return {number: [one for one in self.hops if one.number == number] for number in self.numbers}


def chain(number: int) -> str:
    """The name of a table's chain."""
    return f"{VIA}{number}"


def held(listed: Sequence[Mapping[str, Any]]) -> Mapping[str, list[Expression]]:
    """The rules of the chains of tables in a table that nft has listed."""
    found: dict[str, list[Expression]] = {
        item["chain"]["name"]: [] for item in listed if item.get("chain", {}).get("name", "").startswith(VIA)}
    for item in listed:
        if item.get("rule", {}).get("chain") in found:
            found[item["rule"]["chain"]].append(item["rule"]["expr"])
    return found


def numbers_of(listed: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Those of the tables; none if a chain has another name."""
    try:
        return tuple(sorted(int(name.removeprefix(VIA)) for name in held(listed)))
    except ValueError:
        return ()


def hops_of(listed: Sequence[Mapping[str, Any]]) -> tuple[Hop, ...]:
    """The routes in it; none if a rule is of another form."""
    found = held(listed)
    try:
        return tuple(_hop(number, rule) for number in numbers_of(listed)
                     for rule in _routes(found[chain(number)]))
    except (LookupError, TypeError, ValueError):
        return ()


def _routes(rules: Sequence[Expression]) -> Sequence[Expression]:
    """Those behind the first ones: the mark, and what is routed."""
    return rules[2 + len(ROUTED) + (_is_other(rules[1]) if len(rules) > 1 else 0):]


def _is_other(rule: Expression) -> bool:
    return bool(rule[0]["match"]["left"]["payload"] == {"protocol": "ether", "field": "type"})


def _hop(number: int, rule: Expression) -> Hop:
    target: IPv4Network = EVERYWHERE
    mac = ""
    for part in rule:
        if "mangle" in part:
            mac = str(part["mangle"]["value"])
        elif "match" in part:
            target = IPv4Network(read(part["match"]["right"]))
    return Hop(number, target, mac)
