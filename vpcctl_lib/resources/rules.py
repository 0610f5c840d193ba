"""What iptables holds: chains that we own whole, and single rules in chains that are others'."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from vpcctl_lib.operations import BUILTIN, Iptables, chain_lines
from vpcctl_lib.resources.base import Facts, Operations, Place, Resource, within


@dataclass(frozen=True)
class Chain(Resource):
    """A chain with all its rules: one of our own on the host, or a built-in one of our namespaces."""

    namespace: str
    table: str
    name: str
    rules: tuple[str, ...]
    policy: str = ""

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
