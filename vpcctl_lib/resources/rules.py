"""What iptables holds: chains that we own whole, and single rules in chains that are others'."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import NOT_OF_IPTABLES, Kernel, Unreadable, Words, words
from vpcctl_lib.resources.base import (
    MISSING,
    Condition,
    Facts,
    Fault,
    Operations,
    Place,
    Resource,
    changed,
    unreadable,
    within,
)
from vpcctl_lib.resources.operations import BUILTIN, Iptables, Nft, chain_lines


@frozen
class Chain(Resource):
    """A chain with all its rules: one of our own on the host, or a built-in one of our namespaces."""

    namespace: str
    table: str
    name: str
    rules: tuple[str, ...]
    policy: str = ""
    inner: str = ""
    """Chains that only this one leads to, packed: ten thousand rules would be most of the record."""

    in_place = True

    @property
    def key(self) -> Hashable:
        """Where it is; its rules may change."""
        return ("chain", self.namespace, self.table, self.name)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    @property
    def is_policy(self) -> bool:
        """Whether it is part of a subnet's firewall; a router's chains have a policy of their own."""
        return bool(self.namespace) and self.table == "filter" and not self.policy

    def _written(self, fresh: bool, gone: tuple[str, ...] = ()) -> Operations:
        """All chains there before a rule leads to one, and none gone before the last that led to it."""
        inner = unpacked(self.inner)
        return self._lines([f":{name} - [0:0]" for name in inner],
                           chain_lines(self.name, self.rules, self.policy, fresh),
                           [f"-A {name} {rule}" for name, rules in inner.items() for rule in rules],
                           _removal(gone))

    def _lines(self, *parts: list[str]) -> Operations:
        return tuple(Iptables(self.namespace, self.table, line) for part in parts for line in part)

    def make(self) -> Operations:
        """A chain of that name that is not ours is an error, never taken over."""
        return self._written(fresh=True)

    def change(self, old: Resource) -> Operations:
        """Emptied and filled again within one commit, so that no packet meets half of it."""
        before = unpacked(old.inner) if isinstance(old, Chain) and old.inner != self.inner else {}
        kept = unpacked(self.inner) if before else {}
        return self._written(fresh=False, gone=tuple(name for name in before if name not in kept))

    def unmake(self, facts: Facts) -> Operations:
        """A built-in chain is emptied and open again, one of ours is gone."""
        own = chain_lines(self.name, ()) if self.name in BUILTIN else _removal((self.name,))
        return self._lines(own, _removal(tuple(unpacked(self.inner))))

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Its policy, and exactly its rules in their order; the same of the chains that it leads to."""
        try:
            held = kernel.chain(self.namespace, self.table, self.name)
        except Unreadable as error:
            return unreadable(error, self._table_away(kernel, error))
        if held is None:
            return MISSING
        policy = self.policy or ("ACCEPT" if self.name in BUILTIN else "")
        if held.policy != policy:
            return changed(f"its policy is {held.policy or 'none'}, not {policy or 'none'}")
        shall = tuple(map(words, self.rules))
        if held.rules != shall:
            return changed(_difference(held.rules, shall))
        return self._inner_fault(kernel)

    def _table_away(self, kernel: Kernel, error: Unreadable) -> Operations:
        """What makes room for our chains in a namespace of ours: nft can remove what iptables can't read."""
        if error.why != NOT_OF_IPTABLES or not kernel.has_tool("nft"):
            return ()
        # Added first, so that it is no failure if it has gone meanwhile.
        table = f"table ip {self.table}"
        return (Nft(self.namespace, f"add {table}\ndelete {table}\n"),)

    def inner_chains(self) -> list[Chain]:
        """The chains that only this one leads to."""
        return [Chain(self.namespace, self.table, name, rules)
                for name, rules in unpacked(self.inner).items()]

    def _inner_fault(self, kernel: Kernel) -> Fault | None:
        for chain in self.inner_chains():
            fault = chain.check(kernel, {})
            if fault:
                told = fault.detail or fault.condition.value
                return changed(f"chain {chain.name}, to which it leads: {told}")
        return None

    def __str__(self) -> str:
        where = f"in {self.namespace}" if self.namespace else "on the host"
        return f"chain {self.name} of table {self.table} {where}"


def packed(chains: Mapping[str, tuple[str, ...]]) -> str:
    """Chains by name as one short text."""
    lines = [f"{name} {rule}" for name, rules in chains.items() for rule in rules]
    if not lines:
        return ""
    # Imported late, here and below: only policies of very many rules have such chains.
    import zlib
    from base64 import b85encode

    return b85encode(zlib.compress("\n".join(lines).encode())).decode()


@lru_cache(maxsize=4)
def unpacked(text: str) -> Mapping[str, tuple[str, ...]]:
    """The chains that `packed` made short, each with at least one rule."""
    if not text:
        return {}
    import zlib
    from base64 import b85decode

    chains: dict[str, list[str]] = {}
    try:
        lines = zlib.decompress(b85decode(text)).decode().splitlines()
    except (ValueError, zlib.error):
        raise VpcctlError("the chains in the record are damaged",
                          "put a good copy of state.json in its place, or run cleanup.sh") from None
    for line in lines:
        name, _, rule = line.partition(" ")
        chains.setdefault(name, []).append(rule)
    return {name: tuple(rules) for name, rules in chains.items()}


def _removal(names: tuple[str, ...]) -> list[str]:
    """First all empty, since one may lead to another."""
    return [*(f"-F {name}" for name in names), *(f"-X {name}" for name in names)]


def _difference(held: tuple[Words, ...], shall: tuple[Words, ...]) -> str:
    lost, more = len(set(shall) - set(held)), len(set(held) - set(shall))
    if lost or more:
        return f"{lost} of its {len(shall)} rules missing, {more} not ours"
    return "its rules are in another order or there twice"


@frozen
class SingleRule(Resource):
    """One rule in a chain that others use too; at its top, or at its end."""

    table: str
    chain: str
    rule: str
    top: bool = False
    alike: int = 0
    """Which it is of several that say the same, where nobody should have made more than one."""

    def make(self) -> Operations:
        """Our jumps go to the top, before the policies of Docker and of other firewalls."""
        return self.put(1) if self.top else (Iptables("", self.table, f"-A {self.chain} {self.rule}"),)

    def put(self, number: int) -> Operations:
        """As the rule of that number of its chain."""
        return (Iptables("", self.table, f"-I {self.chain} {number} {self.rule}"),)

    def unmake(self, facts: Facts) -> Operations:
        """By its words, so that nobody else's rule can be meant."""
        return (Iptables("", self.table, f"-D {self.chain} {self.rule}"),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """In its chain; at the top, if that is its place."""
        held = kernel.chain("", self.table, self.chain)
        shall = words(self.rule)
        times = held.rules.count(shall) if held else 0
        if held is None or times == 0:
            return MISSING
        if times > 1:
            return Fault(Condition.CHANGED, f"it is there {times} times", self.unmake({}) * (times - 1))
        return changed("other rules stand before it") if self.top and held.rules[0] != shall else None

    def __str__(self) -> str:
        return f"rule {self.chain} {self.rule} of table {self.table} on the host"
