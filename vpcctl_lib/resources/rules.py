"""What iptables holds: chains that we own whole, and single rules in chains that are others'."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from vpcctl_lib.kernel import Kernel, Words, words
from vpcctl_lib.operations import BUILTIN, Iptables, chain_lines
from vpcctl_lib.resources.base import MISSING, Facts, Fault, Operations, Place, Resource, changed, within


@dataclass(frozen=True)
class Chain(Resource):
    """A chain with all its rules: one of our own on the host, or a built-in one of our namespaces."""

    namespace: str
    table: str
    name: str
    rules: tuple[str, ...]
    policy: str = ""

    in_place = True

    @property
    def key(self) -> Hashable:
        """Where it is; its rules may change."""
        return ("chain", self.namespace, self.table, self.name)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    def _written(self, fresh: bool) -> Operations:
        lines = chain_lines(self.name, self.rules, self.policy, fresh)
        return tuple(Iptables(self.namespace, self.table, line) for line in lines)

    def make(self) -> Operations:
        """A chain of that name that is not ours is an error, never taken over."""
        return self._written(fresh=True)

    def change(self, old: Resource) -> Operations:
        """Emptied and filled again within one commit, so that no packet meets half of it."""
        return self._written(fresh=False)

    def unmake(self, facts: Facts) -> Operations:
        """A built-in chain is emptied and open again, one of ours is gone."""
        away = [f"-F {self.name}", f"-X {self.name}"]
        lines = chain_lines(self.name, ()) if self.name in BUILTIN else away
        return tuple(Iptables(self.namespace, self.table, line) for line in lines)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Its policy, and exactly its rules in their order."""
        held = kernel.chain(self.namespace, self.table, self.name)
        if held is None:
            return MISSING
        policy = self.policy or ("ACCEPT" if self.name in BUILTIN else "")
        if held.policy != policy:
            return changed(f"its policy is {held.policy or 'none'}, not {policy or 'none'}")
        shall = tuple(map(words, self.rules))
        return None if held.rules == shall else changed(_difference(held.rules, shall))

    def __str__(self) -> str:
        where = f"in {self.namespace}" if self.namespace else "on the host"
        return f"chain {self.name} of table {self.table} {where}"


def _difference(held: tuple[Words, ...], shall: tuple[Words, ...]) -> str:
    lost, more = len(set(shall) - set(held)), len(set(held) - set(shall))
    if lost or more:
        return f"{lost} of its {len(shall)} rules missing, {more} not ours"
    return "its rules are in another order or there twice"


@dataclass(frozen=True)
class SingleRule(Resource):
    """One rule in a chain that others use too; at its top, or at its end."""

    table: str
    chain: str
    rule: str
    top: bool = False

    def make(self) -> Operations:
        """Our jumps go to the top, before the policies of Docker and of other firewalls."""
        line = f"-I {self.chain} 1 {self.rule}" if self.top else f"-A {self.chain} {self.rule}"
        return (Iptables("", self.table, line),)

    def unmake(self, facts: Facts) -> Operations:
        """By its words, so that nobody else's rule can be meant."""
        return (Iptables("", self.table, f"-D {self.chain} {self.rule}"),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """In its chain; at the top, if that is its place."""
        held = kernel.chain("", self.table, self.chain)
        shall = words(self.rule)
        if held is None or shall not in held.rules:
            return MISSING
        return changed("other rules stand before it") if self.top and held.rules[0] != shall else None

    def __str__(self) -> str:
        return f"rule {self.chain} {self.rule} of table {self.table} on the host"
