"""Permanent entries for the machines on a bridge: its ports learn nothing, and ARP is not needed."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv4Address, IPv6Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.neighbours import Entry
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.addresses import needed
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, changed, on, within
from vpcctl_lib.resources.operation import Deed, Facts
from vpcctl_lib.resources.operations import Ip

SWITCHING = {"learning": False, "flood": False, "mcast_flood": False, "bcast_flood": False, "proxy_arp": True}
"""The flags of a port, as in ip-link(8): it learns no address and gets no frames for others; the bridge
answers ARP for the machines that it knows."""


@frozen
class Enter(Deed):
    """An entry to put into a namespace, or to delete there; one that is gone is deleted already."""

    namespace: str
    entry: Entry
    gone: bool = False

    needs_home = True

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Its namespace."""
        return ends | {self.namespace}

    def do(self) -> None:
        """As ip(8) and bridge(8) would."""
        try:
            netns.within(self.namespace, self.entry.delete if self.gone else self.entry.replace)
        except netns.Gone:
            if not self.gone:
                raise

    def __str__(self) -> str:
        device, mac, verb = self.entry.device, self.entry.mac, "del" if self.gone else "replace"
        if self.entry.address is None:
            return f"bridge -n {self.namespace} fdb {verb} {mac} dev {device} master static"
        rest = f"dev {device}" if self.gone else f"lladdr {mac} dev {device} nud permanent"
        return f"ip -n {self.namespace} neigh {verb} {self.entry.address} {rest}"


@frozen
class AtPort(Resource):
    """Something that a bridge knows about one of its ports."""

    namespace: str
    device: str
    bridge: str

    in_place = True

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the port."""
        return within(self.namespace, self.device)

    @property
    def stands_in(self) -> frozenset[Place]:
        """A recreated bridge knows nothing."""
        return self.homes | within(self.namespace, self.bridge)


@frozen
class Switching(AtPort):
    """How a bridge treats one of its ports."""

    @property
    def key(self) -> Hashable:
        """The port."""
        return ("switching", self.namespace, self.device)

    def make(self) -> Operations:
        """After the link became a port."""
        return (self._set(SWITCHING),)

    def _set(self, flags: dict[str, bool]) -> Ip:
        words = (word for flag, value in flags.items() for word in (flag, "on" if value else "off"))
        return Ip(self.namespace, ("link", "set", self.device, "type", "bridge_slave", *words))

    def unmake(self, facts: Facts) -> Operations:
        """Back to the defaults of a new port."""
        return (self._set({flag: not value for flag, value in SWITCHING.items()}),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Each flag."""
        link = kernel.link(self.namespace, self.device) or {}
        if link.get("master") != self.bridge:
            return MISSING
        held = link.get("linkinfo", {}).get("info_slave_data", {})
        wrong = [f"{flag} is {'off' if value else 'on'}" for flag, value in SWITCHING.items()
                 if held.get(flag) is not value]
        return changed("; ".join(wrong)) if wrong else None

    def __str__(self) -> str:
        return f"switching of port {self.device}{on(self.namespace)}"


@frozen
class Station(AtPort):
    """A machine's MAC at its bridge port, where it stays whatever frames arrive at other ports."""

    mac: str

    @property
    def key(self) -> Hashable:
        """The port: one machine is behind each."""
        return ("station", self.namespace, self.device)

    @property
    def _entry(self) -> Entry:
        return Entry(self.device, self.mac)

    def make(self) -> Operations:
        """Replaces a learned entry."""
        return (Enter(self.namespace, self._entry),)

    def change(self, old: Resource) -> Operations:
        """Nobody has the old address any more."""
        other = isinstance(old, Station) and old.mac != self.mac
        return (*(old.unmake({}) if other else ()), *self.make())

    def unmake(self, facts: Facts) -> Operations:
        """Forgotten."""
        return (Enter(self.namespace, self._entry, gone=True),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must be at its port, permanent."""
        held = kernel.stations(self.namespace).get((self.device, self.mac))
        if held is None:
            return MISSING
        return None if held.get("state") == "static" else changed(f"it is {held.get('state', 'learned')}")

    def __str__(self) -> str:
        return f"MAC {self.mac} at port {self.device}{on(self.namespace)}"


@frozen
class Neighbour(Resource):
    """A neighbour's permanent MAC: no question is sent, so nobody else can answer.

    It is exempt from the limit of the table that all namespaces share (gc_thresh3).
    """

    namespace: str
    device: str
    address: IPv4Address | IPv6Address
    mac: str

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link and the address."""
        return ("neighbour", self.namespace, self.device, self.address)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link, which forgets its neighbours with its last address (arp_ifdown)."""
        return within(self.namespace, self.device) | {needed(self.namespace, self.device, self.address)}

    def make(self) -> Operations:
        """Replaces what was learned."""
        return (Enter(self.namespace, Entry(self.device, self.mac, self.address)),)

    def unmake(self, facts: Facts) -> Operations:
        """Forgotten."""
        return (Enter(self.namespace, Entry(self.device, self.mac, self.address), gone=True),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must have that MAC, permanent."""
        found = kernel.neighbours if self.address.version == 4 else kernel.neighbours6
        held = found(self.namespace).get((self.device, str(self.address)))
        if held is None:
            return MISSING
        if held.get("lladdr") != self.mac:
            return changed(f"its MAC is {held.get('lladdr', 'unknown')}")
        return None if "PERMANENT" in held.get("state", ()) else changed("it is not permanent")

    def __str__(self) -> str:
        return f"neighbour {self.address} on {self.device}{on(self.namespace)}"
