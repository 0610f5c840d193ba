"""Who is where on a bridge, told for good: its ports learn nothing, and nobody has to ask."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv4Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.addresses import addressed
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, changed, on, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Fdb, Ip

SWITCHING = {"learning": False, "flood": False, "mcast_flood": False, "bcast_flood": False, "proxy_arp": True}
"""How a port switches, in the words of ip-link(8): it learns no address and gets no frame that is not for it;
the bridge answers ARP for the machines that it knows."""


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
        """A bridge that is made anew knows nothing."""
        return self.homes | within(self.namespace, self.bridge)


@frozen
class Switching(AtPort):
    """How a bridge treats one of its ports."""

    @property
    def key(self) -> Hashable:
        """The port."""
        return ("switching", self.namespace, self.device)

    def make(self) -> Operations:
        """Once the link is a port."""
        return (self._set(SWITCHING),)

    def _set(self, flags: dict[str, bool]) -> Ip:
        words = (word for flag, value in flags.items() for word in (flag, "on" if value else "off"))
        return Ip(self.namespace, ("link", "set", self.device, "type", "bridge_slave", *words))

    def unmake(self, facts: Facts) -> Operations:
        """As a new port is."""
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
    """A machine's MAC at its bridge port, where it stays whatever frames come from elsewhere."""

    mac: str

    @property
    def key(self) -> Hashable:
        """The port: one machine is behind each."""
        return ("station", self.namespace, self.device)

    def _words(self, verb: str) -> Fdb:
        return Fdb(self.namespace, ("fdb", verb, self.mac, "dev", self.device, "master", "static"))

    def make(self) -> Operations:
        """In the place of an entry that was learned."""
        return (self._words("replace"),)

    def change(self, old: Resource) -> Operations:
        """The old address is nobody's any more."""
        other = isinstance(old, Station) and old.mac != self.mac
        return (*(old.unmake({}) if other else ()), *self.make())

    def unmake(self, facts: Facts) -> Operations:
        """Forgotten."""
        return (self._words("del"),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """At its port, for good."""
        held = kernel.stations(self.namespace).get((self.device, self.mac))
        if held is None:
            return MISSING
        return None if held.get("state") == "static" else changed(f"it is {held.get('state', 'learned')}")

    def __str__(self) -> str:
        return f"MAC {self.mac} at port {self.device}{on(self.namespace)}"


@frozen
class Neighbour(Resource):
    """A neighbour's MAC that is known for good: nobody is asked, and nobody else can answer.

    It does not count where the table that all namespaces share is full (gc_thresh3).
    """

    namespace: str
    device: str
    address: IPv4Address
    mac: str

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link and the address."""
        return ("neighbour", self.namespace, self.device, self.address)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link, which forgets its neighbours with its last address (arp_ifdown)."""
        return within(self.namespace, self.device) | {addressed(self.namespace, self.device)}

    def make(self) -> Operations:
        """In the place of what was learned."""
        return (Ip(self.namespace, ("neigh", "replace", str(self.address), "lladdr", self.mac,
                                    "dev", self.device, "nud", "permanent")),)

    def unmake(self, facts: Facts) -> Operations:
        """Forgotten."""
        return (Ip(self.namespace, ("neigh", "del", str(self.address), "dev", self.device)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Known by that MAC, for good."""
        held = kernel.neighbours(self.namespace).get((self.device, str(self.address)))
        if held is None:
            return MISSING
        if held.get("lladdr") != self.mac:
            return changed(f"its MAC is {held.get('lladdr', 'unknown')}")
        return None if "PERMANENT" in held.get("state", ()) else changed("it is not permanent")

    def __str__(self) -> str:
        return f"neighbour {self.address} on {self.device}{on(self.namespace)}"
