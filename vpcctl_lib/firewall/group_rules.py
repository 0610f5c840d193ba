"""The rules of a machine in groups: what any of them allows, nothing else; pure.

iptables can't look up an address in a set of nft. So an nft chain, which sees a packet before iptables, looks
for the first rule whose group the far end is in, and writes that rule's number into the packet's mark. The
rule of iptables matches the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import EGRESS, INGRESS, Filter, default_line, filtered, tagged_line
from vpcctl_lib.firewall.marks import MASK, MOST, SHIFT, Test
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Action, Group, Rule, concerns, meet

EVERY = "groups:"
"""In the tag of the last rule: it is not one group's. No group has that name."""


@frozen
class Line:
    """A rule with its tag, such as `web:ingress[0]`; its number is 0 unless it is for a group's members."""

    tag: str
    rule: Rule
    number: int = 0


@frozen
class Direction:
    """All rules of one direction, and what nft has to test for them."""

    lines: tuple[Line, ...]

    def tests(self, family: Family = Family.INET) -> tuple[Test, ...]:
        """The tests of nft for packets of a family, in order."""
        return tuple(Test(one.rule.group, one.number, one.rule.protocol, one.rule.ports)
                     for one in self.lines if one.number and concerns(one.rule, family))


def incoming(groups: Sequence[Group]) -> Direction:
    """What may come in to a machine in these groups."""
    return _numbered((f"{group.name}:{INGRESS}[{number}]", rule) for group in groups
                     for number, rule in enumerate(group.policy.ingress))


def outgoing(groups: Sequence[Group]) -> Direction | None:
    """What may go out; None if one of them leaves that open."""
    if any(group.policy.egress is None for group in groups):
        return None
    return _numbered((f"{group.name}:{EGRESS}[{number}]", rule) for group in groups
                     for number, rule in enumerate(group.policy.egress or ()))


def _numbered(tagged: Iterable[tuple[str, Rule]]) -> Direction:
    """The lowest number for each that no other rule has which can match the same packet."""
    found: list[Line] = []
    for tag, rule in tagged:
        taken = {one.number for one in found if one.number and meet(one.rule, rule)} if rule.group else ()
        number = next(one for one in range(1, len(taken) + 2) if one not in taken) if rule.group else 0
        found.append(Line(tag, rule, number))
    return Direction(tuple(found))


def check(direction: Direction, where: object) -> None:
    """Refuse more rules for groups than the mark has numbers for."""
    if any(one.number > MOST for one in direction.lines):
        raise VpcctlError(f"{where} would have too many rules that name groups for the same ports: "
                          f"at most {MOST} are possible", "use fewer groups, or CIDRs in place of groups")


def ingress_filter(direction: Direction, family: Family = Family.INET) -> Filter:
    """INPUT of a family."""
    return _filter(INGRESS, direction, family)


def egress_filter(direction: Direction, family: Family = Family.INET) -> Filter:
    """OUTPUT."""
    return _filter(EGRESS, direction, family)


def _filter(name: str, direction: Direction, family: Family) -> Filter:
    """The rules for addresses, which may be many, come first: all allow, so that their order is free."""
    lines = [one for one in direction.lines if concerns(one.rule, family)]
    plain = [one for one in lines if not one.number]
    marked = [tagged_line(name, one.tag, one.rule, f"-m mark --mark {one.number << SHIFT:#x}/{MASK:#x}")
              for one in lines if one.number]
    texts = [tagged_line(name, one.tag, one.rule) for one in plain]
    return filtered(name, [one.rule for one in plain], texts,
                    (*marked, default_line(name, Action.DENY, EVERY)), family)
