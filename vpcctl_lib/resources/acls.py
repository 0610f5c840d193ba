"""The network ACLs of a VPC: an nft table of family bridge, asked at the edges of subnets.

A packet that is switched from one subnet to another meets the ACL of the first, and then that of the second.
One to the router meets only the first, one from it only the second.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network

from vpcctl_lib.firewall.acl_nft import text
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.naming import ACL_TABLE, BRIDGE_TABLE
from vpcctl_lib.resources import denied
from vpcctl_lib.resources.acl_table import (
    PRIORITY,
    SETS,
    Edge,
    Held,
    Item,
    Listed,
    held_in,
    hooks_of,
    lines_of,
)
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, changed, within
from vpcctl_lib.resources.nftables import Nft
from vpcctl_lib.resources.operation import Facts

HEAD = f"table bridge {ACL_TABLE}\ndelete table bridge {ACL_TABLE}\n"
"""Deletes an existing table; the first line creates one if there is none."""


@frozen
class Acls(Resource):
    """The table, changed atomically: there is no moment without its rules, nor one in which all is denied."""

    namespace: str
    gateway: IPv4Address
    acls: tuple[Listed, ...] = ()
    edges: tuple[Edge, ...] = ()
    resolvers: tuple[IPv4Address, ...] = ()
    """Where the VPC's DNS answers: to ask there, and to be answered, is always allowed."""
    prefix: IPv6Network | None = None
    """The VPC's, if it has IPv6."""
    counted: bool = False
    """Whether what is dropped is counted, by flow."""

    in_place = True
    unasked = True

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("acls", self.namespace)

    @property
    def _is_dual(self) -> bool:
        return self.prefix is not None

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    @property
    def near(self) -> tuple[IPv4Address, ...]:
        """The router's addresses to which, and from which, everything passes."""
        return (self.gateway, *self.resolvers)

    def make(self) -> Operations:
        """Loads all of it at once."""
        return (self._script(HEAD + self.text()),)

    def unmake(self, facts: Facts) -> Operations:
        """Gone."""
        return (self._script(HEAD),)

    def change(self, old: Resource) -> Operations:
        """Only the ACLs and subnets that differ: the counters of the others go on."""
        if not isinstance(old, Acls) or (old.near, old.prefix, old.counted) != (
                self.near, self.prefix, self.counted):
            return self.make()
        both = frozenset(old.acls) & frozenset(self.acls)
        before, after = (self._all_chains(one for one in acls if one not in both)
                         for acls in (old.acls, self.acls))
        text = "".join((
            *(_moved("delete", name, old, self) for name in SETS),
            *(f"flush chain bridge {ACL_TABLE} {name}\n" for name in before),
            *(f"delete chain bridge {ACL_TABLE} {name}\n" for name in before if name not in after),
            *(f"add chain bridge {ACL_TABLE} {name}\n" for name in after),
            *(f"add rule bridge {ACL_TABLE} {name} {line}\n" for name, lines in after.items()
              for line in lines),
            *(_moved("add", name, self, old) for name in SETS)))
        return (self._script(text, lambda: HEAD + self.text()),) if text else ()

    def repair(self, old: Resource) -> Operations:
        """The whole table, whatever is there."""
        return self.make()

    def _script(self, text: str, whole: Callable[[], str] | None = None) -> Nft:
        # In one command with the guard's: a machine that it lets in has its ACL from the start.
        return Nft(self.namespace, text, BRIDGE_TABLE, whole)

    def elements(self, name: str) -> dict[str, None]:
        """The elements of a set or map."""
        return dict.fromkeys(element for edge in self.edges for element in edge.elements(name))

    def text(self) -> str:
        """The table in nft's syntax."""
        held = "".join(f"\t{kind} {name} {{\n\t\t{type_}\n{_listed(self.elements(name))}\t}}\n"
                       for name, (kind, type_) in SETS.items())
        inner = "".join(f"\tchain {name} {{\n{_body(lines)}\t}}\n"
                        for name, lines in self._all_chains(self.acls).items())
        hook = f"priority {PRIORITY}; policy accept;"
        hooks = "".join(f"\tchain {name} {{\n\t\ttype filter hook {name} {hook}\n{_body(lines)}\t}}\n"
                        for name, lines in hooks_of(self.near, self.prefix).items())
        counted = denied.text(self._is_dual) if self.counted else ""
        return f"table bridge {ACL_TABLE} {{\n{counted}{inner}{held}{hooks}}}\n"

    def _all_chains(self, acls: Iterable[Listed]) -> dict[str, tuple[str, ...]]:
        found = {name: lines for one in acls for name, lines in _chains_of(one, self._is_dual).items()}
        if not self.counted:
            return found
        return {name: tuple(denied.counting(line, name) for line in lines) for name, lines in found.items()}

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have exactly our chains, rules and subnets."""
        listed = kernel.bridge_table(self.namespace, ACL_TABLE)
        if listed is None:
            return MISSING
        wrong = self._wrong(listed)
        return changed("; ".join(wrong)) if wrong else None

    def _wrong(self, listed: Sequence[Item]) -> list[str]:
        held = held_in(listed)
        if held is None:
            return ["something in it is not vpcctl's"]
        return self.differs(held)

    def differs(self, held: Held) -> list[str]:
        """How what a table has differs from this."""
        return [*self._differing(held)]

    def _differing(self, held: Held) -> Iterator[str]:
        if held.near != self.near:
            yield f"what is always allowed is {', '.join(map(str, held.near))}"
        if held.prefix != self.prefix:
            yield f"its IPv6 prefix is {held.prefix or 'missing'}"
        if held.counted is not self.counted:
            yield f"what is dropped is {'' if held.counted else 'not '}counted"
        shall = {one.name: one for one in self.acls}
        there = {one.name: one for one in held.acls}
        for name in {**shall, **there}:
            if shall.get(name) != there.get(name):
                yield f"the rules of ACL '{name}' differ" if name in shall and name in there else \
                    f"ACL '{name}' is {'missing' if name in shall else 'not ours'}"
        for name in SETS:
            if held.sets[name] != frozenset(self.elements(name)):
                yield f"its subnets differ ({name})"

    def __str__(self) -> str:
        return f"network ACLs in {self.namespace}"


@lru_cache(maxsize=512)
def _chains_of(one: Listed, dual: bool) -> Mapping[str, tuple[str, ...]]:
    return {name: tuple(text(line, direction, name) for line in lines)
            for direction, found in lines_of(one, dual).items() for name, lines in found.items()}


def _body(lines: Sequence[str]) -> str:
    return "".join(f"\t\t{line}\n" for line in lines)


def _listed(held: Mapping[str, None]) -> str:
    lines = ",\n".join(f"\t\t\t{element}" for element in held)
    return f"\t\telements = {{\n{lines}\n\t\t}}\n" if lines else ""


def _moved(verb: str, name: str, one: Acls, other: Acls) -> str:
    """The command for the elements of a set that only the first has."""
    there = other.elements(name)
    found = [element for element in one.elements(name) if element not in there]
    return f"{verb} element bridge {ACL_TABLE} {name} {{ {', '.join(found)} }}\n" if found else ""
