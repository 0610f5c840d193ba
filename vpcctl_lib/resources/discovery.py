"""How a virtual machine behind a tap asks for its address: an nft table that carries DHCP past its namespace.

Its namespace routes, and no router passes on a broadcast. So the guest's questions go to the bridge as they
are, and the answers to the guest, before any other rule sees them.
"""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.naming import TAP_TABLE
from vpcctl_lib.resources.base import MISSING, Fault, Place, changed, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table, head

NOBODY, EVERYBODY = str(IPv4Address(0)), str(IPv4Address(2**32 - 1))
CLIENT, SERVER = 68, 67
ASKED, ANSWERED = "asked", "answered"
HOOK = {"type": "filter", "hook": "ingress", "prio": 0, "policy": "accept"}

FRAME = {"payload": {"protocol": "ether", "field": "type"}}

Expression = list[dict[str, Any]]


@frozen
class Discovery(Table):
    """Only a client's packets from the guest's own MAC and address pass, and only the router's answers."""

    device: str
    """The tap."""

    interface: str
    """The namespace's link to the bridge."""

    mac: str
    """The guest's."""

    address: IPv4Address
    router: IPv4Address

    head = head("netdev", TAP_TABLE)
    # It names both links, so it waits until they exist.
    apart = ""

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("discovery", self.namespace)

    @property
    def stands_in(self) -> frozenset[Place]:
        """Both links: the kernel has their numbers in it."""
        return self.homes | within(self.namespace, self.device) | within(self.namespace, self.interface)

    @property
    def rest(self) -> object:
        """All of it."""
        return self

    def moved(self, old: Any) -> str:
        """Nothing can be moved."""
        return ""

    def text(self) -> str:
        """The table in nft's syntax."""
        # By the type that stands in the frame itself (`ether type`): a frame with a VLAN tag does not pass.
        questions = (f"ether type ip ether saddr {self.mac} ip saddr {{ {NOBODY}, {self.address} }} "
                     f"ip daddr {{ {EVERYBODY}, {self.router} }} udp sport {CLIENT} udp dport {SERVER}")
        answers = (f"ether type ip ip saddr {self.router} ip daddr {self.address} "
                   f"udp sport {SERVER} udp dport {CLIENT}")
        return (f"table netdev {TAP_TABLE} {{\n{_chain(ASKED, self.device, questions, self.interface)}"
                f"{_chain(ANSWERED, self.interface, answers, self.device)}}}\n")

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have exactly our chains and rules; after one of the links was lost, it has not."""
        listed = kernel.bridge_table(self.namespace, TAP_TABLE, "netdev")
        if listed is None:
            return MISSING
        return None if self._is_whole(listed) else changed("its rules differ")

    def _is_whole(self, listed: list[dict[str, Any]]) -> bool:
        chains = {item["chain"]["name"]: item["chain"] for item in listed if "chain" in item}
        held = [(name, chain.get("dev", self._devices.get(name)), {key: chain.get(key) for key in HOOK})
                for name, chain in chains.items()]
        rules = [(item["rule"]["chain"], _plain(item["rule"]["expr"])) for item in listed if "rule" in item]
        shall = [(name, device, HOOK) for name, device in self._devices.items()]
        kinds = {kind for item in listed for kind in item}
        return held == shall and rules == self._rules() and kinds <= {"metainfo", "table", "chain", "rule"}

    @property
    def _devices(self) -> dict[str, str]:
        """The link of each chain; not every nft lists it."""
        return {ASKED: self.device, ANSWERED: self.interface}

    def _rules(self) -> list[tuple[str, Expression]]:
        """As nft lists them in JSON (libnftables-json(5)); it leaves out what `ip` implies."""
        sources, targets = sorted((NOBODY, str(self.address))), sorted((EVERYBODY, str(self.router)))
        return [
            (ASKED, [_match("ether", "saddr", self.mac), _match("ip", "saddr", sources),
                     _match("ip", "daddr", targets), _match("udp", "sport", CLIENT),
                     _match("udp", "dport", SERVER), {"fwd": {"dev": self.interface}}]),
            (ANSWERED, [_match("ip", "saddr", str(self.router)), _match("ip", "daddr", str(self.address)),
                        _match("udp", "sport", SERVER), _match("udp", "dport", CLIENT),
                        {"fwd": {"dev": self.device}}]),
        ]

    def __str__(self) -> str:
        return f"way of DHCP through {self.namespace}"


def _chain(name: str, device: str, matches: str, target: str) -> str:
    return (f'\tchain {name} {{\n\t\ttype filter hook ingress device "{device}" priority 0; policy accept;\n'
            f'\t\t{matches} fwd to "{target}"\n\t}}\n')


def _match(protocol: str, field: str, right: object) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}},
                      "right": right}}


def _plain(expression: Expression) -> Expression:
    """Without the order in which nft lists a set, and without the type of the frame, which few list."""
    return [_sorted(part) for part in expression if part.get("match", {}).get("left") != FRAME]


def _sorted(part: dict[str, Any]) -> dict[str, Any]:
    match = part.get("match", {})
    held = match.get("right", {})
    if not isinstance(held, dict) or "set" not in held:
        return part
    return {"match": {**match, "right": sorted(map(str, held["set"]))}}
