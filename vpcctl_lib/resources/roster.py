"""The groups of a VPC as its router has them: nothing uses it, but a lost record is rebuilt from it.

A machine's own namespace has only what all its groups together allow, and its root can change that.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import GROUP_SET, GROUP_TABLE
from vpcctl_lib.resources.base import MISSING, Fault, changed
from vpcctl_lib.resources.marking import APART, HEAD, elements
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table


@frozen
class Listed:
    """A group: its rules, each in words of its own, and the ports of its members."""

    name: str
    rules: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()


@frozen
class Roster(Table):
    """An nft table without hooks: for each group a chain with a comment for each rule, and a set of ports."""

    groups: tuple[Listed, ...] = ()

    head = HEAD
    apart = APART

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("roster", self.namespace)

    @property
    def ip_table(self) -> tuple[str, str, Family]:
        """The namespace, our name, and the family."""
        return (self.namespace, GROUP_TABLE, Family.INET)

    @property
    def rest(self) -> object:
        """The groups with their rules."""
        return [(one.name, one.rules) for one in self.groups]

    def moved(self, old: Any) -> str:
        """Ports that came and that went."""
        return "".join(_moved(before, one) for before, one in zip(old.groups, self.groups, strict=True))

    def text(self) -> str:
        """The table in nft's syntax."""
        return f"table ip {GROUP_TABLE} {{\n{''.join(map(_written, self.groups))}}}\n"

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must list the same groups, rules and members."""
        listed = kernel.ip_table(*self.ip_table)
        if listed is None:
            return MISSING
        held, shall = ({one.name: (one.rules, frozenset(one.ports)) for one in groups}
                       for groups in (listed_in(listed), self.groups))
        wrong = [name for name in {**shall, **held} if held.get(name) != shall.get(name)]
        return changed(f"what it says of {', '.join(wrong)} differs") if wrong else None

    def __str__(self) -> str:
        return f"list of the groups in {self.namespace}"


def _written(one: Listed) -> str:
    rules = "".join(f'\t\tcontinue comment "{rule}"\n' for rule in one.rules)
    ports = elements([f'"{port}"' for port in one.ports])
    return (f"\tset {GROUP_SET}{one.name} {{\n\t\ttype ifname\n{ports}\t}}\n"
            f"\tchain {GROUP_SET}{one.name} {{\n{rules}\t}}\n")


def _quoted(ports: tuple[str, ...]) -> str:
    return ", ".join(f'"{port}"' for port in ports)


def _moved(old: Listed, new: Listed) -> str:
    steps = (("delete", old.ports, new.ports), ("add", new.ports, old.ports))
    found = ((verb, tuple(port for port in ports if port not in frozenset(others)))
             for verb, ports, others in steps)
    return "".join(f"{verb} element ip {GROUP_TABLE} {GROUP_SET}{new.name} {{ {_quoted(ports)} }}\n"
                   for verb, ports in found if ports)


def listed_in(listed: list[dict[str, Any]]) -> tuple[Listed, ...]:
    """The groups in a table that nft has listed, in its order."""
    rules: dict[str, list[str]] = {item["chain"]["name"]: [] for item in listed if "chain" in item}
    for item in listed:
        if "rule" in item:
            rules.setdefault(str(item["rule"].get("chain")), []).append(str(item["rule"].get("comment", "")))
    ports: Mapping[str, tuple[str, ...]] = {
        item["set"]["name"]: tuple(map(str, item["set"].get("elem", ()))) for item in listed if "set" in item}
    return tuple(Listed(name.removeprefix(GROUP_SET), tuple(found), ports.get(name, ()))
                 for name, found in rules.items() if name.startswith(GROUP_SET))
