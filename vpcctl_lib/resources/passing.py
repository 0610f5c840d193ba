"""How plain copies get to a machine: an nft table that sends on what comes in at a link, for a foreign MAC.

Its kernel takes no frame for a MAC that is not its own: so a copy is only a copy, whatever it contains.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.naming import MIRROR_TABLE
from vpcctl_lib.resources.base import MISSING, Fault, Place, changed, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table, head

CHAIN = "copies"
HOOK = {"type": "filter", "hook": "ingress", "prio": 0, "policy": "drop"}


@frozen
class Passing(Table):
    """Nothing else comes in there."""

    device: str
    port: str
    """The machine's port of the bridge."""

    mac: str
    """The MAC that its copies are for."""

    apart = ""
    unasked = False

    @property
    def _name(self) -> str:
        return MIRROR_TABLE + self.device

    @property
    def removal(self) -> str:
        """The script that deletes it, whether it exists or not."""
        return head("netdev", self._name)

    @property
    def key(self) -> Hashable:
        """The link."""
        return ("passing", self.namespace, self.device)

    @property
    def stands_in(self) -> frozenset[Place]:
        """Both links: the kernel has their numbers in it."""
        return self.homes | within(self.namespace, self.device) | within(self.namespace, self.port)

    @property
    def rest(self) -> object:
        """All of it."""
        return self

    def moved(self, old: Any) -> str:
        """Nothing can be moved."""
        return ""

    def text(self) -> str:
        """The table in nft's syntax."""
        return (f'table netdev {self._name} {{\n\tchain {CHAIN} {{\n\t\ttype filter hook ingress device '
                f'"{self.device}" priority 0; policy drop;\n\t\tether daddr set {self.mac} '
                f'fwd to "{self.port}"\n\t}}\n}}\n')

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have exactly our chain and rule; after one of the links was lost, it has not."""
        listed = kernel.bridge_table(self.namespace, self._name, "netdev")
        if listed is None:
            return MISSING
        chains = [item["chain"] for item in listed if "chain" in item]
        held = [(chain["name"], chain.get("dev", self.device), {key: chain.get(key) for key in HOOK})
                for chain in chains]
        rules = [item["rule"]["expr"] for item in listed if "rule" in item]
        kinds = {kind for item in listed for kind in item}
        whole = held == [(CHAIN, self.device, HOOK)] and rules == [self._rule] \
            and kinds <= {"metainfo", "table", "chain", "rule"}
        return None if whole else changed("its rules differ")

    @property
    def _rule(self) -> list[dict[str, Any]]:
        """As nft lists it in JSON (libnftables-json(5))."""
        destination = {"payload": {"protocol": "ether", "field": "daddr"}}
        return [{"mangle": {"key": destination, "value": self.mac}}, {"fwd": {"dev": self.port}}]

    def __str__(self) -> str:
        return f"way of copies from {self.device} to {self.port} in {self.namespace}"
