"""Links in namespaces: cables, bridges, and the settings of each link."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.proc import described, names_of_links
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.resources import owners
from vpcctl_lib.resources.base import (
    CABLES,
    MISSING,
    Condition,
    Fault,
    Operations,
    Place,
    Resource,
    Taken,
    changed,
    on,
    within,
)
from vpcctl_lib.resources.namespaces import GROUP, LOOPBACK
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Ip
from vpcctl_lib.resources.owners import Owner

DEFAULT_MTU = 1500
IPV6_MTU = 1280
"""RFC 8200, section 5: a smaller link can't have IPv6, and Linux refuses to set anything of IPv6 there."""

FORWARDING, LISTENING = "3", "1"
"""What a bridge does with the frames of a port: BR_STATE_… of linux/if_bridge.h. Without STP, it makes any
other state FORWARDING by itself (br_make_forwarding in net/bridge/br_stp.c)."""


def _described(device: str) -> str:
    told = described(device)
    return f": it is {told}" if told else ""


@frozen
class Link(Resource):
    """A link, or the settings of one."""

    namespace: str
    device: str

    def owner_found(self, kernel: Kernel) -> Owner:
        """The link with its name."""
        return owners.of_link(self.namespace, self.device, kernel)


@frozen
class Single(Link):
    """A link that is made in one namespace, and stays there."""

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    @property
    def places(self) -> frozenset[Place]:
        """What is at the link goes with it."""
        return frozenset({(self.namespace, self.device)})

    def unmake(self, facts: Facts) -> Operations:
        """Gone, also for a program that has it open."""
        return (Ip(self.namespace, ("link", "del", self.device)),)


@frozen
class Veth(Link):
    """A cable between two namespaces; it goes with either of its ends."""

    peer_namespace: str
    peer_device: str

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses a name that somebody else's link on the host has."""
        if self.namespace == HOST and self.device in names_of_links():
            told = f"link '{self.device}' already exists, and vpcctl did not make it{_described(self.device)}"
            raise Taken(told, "choose another name, or rename the link; to see what made it: "
                              f"ip -d link show {self.device}", (HOST, self.device))
        return {}

    @property
    def ends(self) -> frozenset[str]:
        """The namespaces that it joins."""
        return frozenset({self.namespace, self.peer_namespace})

    @property
    def places(self) -> frozenset[Place]:
        """Addresses and routes at its ends go with it."""
        return frozenset({(self.namespace, self.device), (self.peer_namespace, self.peer_device)})

    @property
    def goes_with(self) -> frozenset[Place]:
        """The group of either end."""
        return frozenset((namespace, CABLES) for namespace in self.ends)

    @property
    def cable_of(self) -> str:
        """Its first end's."""
        return self.namespace

    @property
    def stands_in(self) -> frozenset[Place]:
        """It is unmade explicitly, but goes with the namespace of either end."""
        return self.homes | {(namespace, "") for namespace in self.ends}

    def make(self) -> Operations:
        """Both ends appear in their places at once."""
        peer = ("peer", "name", self.peer_device, "netns", self.peer_namespace)
        return (Ip(self.namespace, ("link", "add", self.device, "type", "veth", *peer)),)

    def unmake(self, facts: Facts) -> Operations:
        """Explicitly, because the end of a namespace removes its cables only some time later."""
        return (Ip(self.namespace, ("link", "del", self.device)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Both ends must be in their places, and belong to each other."""
        near = kernel.link(self.namespace, self.device)
        if near is None:
            return self._halved(kernel)
        far = kernel.link(self.peer_namespace, self.peer_device)
        if far is not None and _leads_to(near, far) and _leads_to(far, near):
            return None
        if not near.get("ifalias", "").startswith(MARK):
            return Fault(Condition.FOREIGN, "it does not bear vpcctl's mark")
        gone = f"its other end, {self.peer_device}, is missing"
        if far is None:
            return changed(gone)
        away = Ip(self.peer_namespace, ("link", "del", self.peer_device))
        return Fault(Condition.CHANGED, f"{gone}: another link has its name", (away,))

    def _halved(self, kernel: Kernel) -> Fault:
        """The near end was renamed or moved, or its namespace deleted and the far end about to follow."""
        if kernel.link(self.peer_namespace, self.peer_device) is None:
            return MISSING
        away = Ip(self.peer_namespace, ("link", "del", self.peer_device))
        return Fault(Condition.CHANGED, f"its end {self.device} is missing", (away,))

    def __str__(self) -> str:
        return f"cable {self.device}{on(self.namespace)} to {self.peer_device}{on(self.peer_namespace)}"


def _leads_to(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a link's other end has the number of that one (IFLA_LINK)."""
    return bool(one.get("link_index") == other.get("ifindex"))


@frozen
class Bridge(Link):
    """A switch with a fixed MAC: otherwise it uses the lowest of its ports', which changes with the ports."""

    mac: str

    @property
    def homes(self) -> frozenset[Place]:
        """The VPC's namespace."""
        return within(self.namespace)

    @property
    def places(self) -> frozenset[Place]:
        """Its addresses go with it."""
        return frozenset({(self.namespace, self.device)})

    def make(self) -> Operations:
        """Down at first; its `Port` brings it up."""
        return (Ip(self.namespace, ("link", "add", self.device, "address", self.mac, "type", "bridge")),)

    def unmake(self, facts: Facts) -> Operations:
        """Its ports leave it by themselves."""
        return (Ip(self.namespace, ("link", "del", self.device)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """There must be a bridge with that MAC."""
        link = kernel.link(self.namespace, self.device)
        if link is None:
            return MISSING
        return None if link.get("address") == self.mac else changed(f"its MAC is {link.get('address')}")

    def __str__(self) -> str:
        return f"bridge {self.device}{on(self.namespace)}"


@frozen
class Port(Link):
    """The settings of an existing link: marked, up, without IPv6 addresses, perhaps a bridge port."""

    owner: str
    master: str = ""
    mtu: int = 1500
    mac: str = ""

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link."""
        return ("port", self.namespace, self.device)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    @property
    def stands_in(self) -> frozenset[Place]:
        """A bridge that goes releases its ports."""
        return self.homes | within(self.namespace, self.master)

    def make(self) -> Operations:
        """The mark first, so that our link is recognisable as early as possible."""
        return self._set((*self._address, *(() if self.mtu == DEFAULT_MTU else ("mtu", str(self.mtu)))))

    def prepared(self, in_use: bool) -> Operations:
        """As `make`, but nothing passes before `opened`; what is `in_use` has a carrier.

        Without one, the kernel would drop what waits for a neighbour (arp_evict_nocarrier).
        """
        if not in_use:
            return self._set(state="down")
        return (*self._set(), self._link("type", "bridge_slave", "state", LISTENING))

    def opened(self, in_use: bool) -> Operations:
        """What lets packets pass, when all else is made."""
        return (self._link(*(("type", "bridge_slave", "state", FORWARDING) if in_use else ("up",))),)

    @property
    def _address(self) -> tuple[str, ...]:
        return ("address", self.mac) if self.mac else ()

    def _set(self, words: tuple[str, ...] = (), state: str = "up") -> Operations:
        ipv6: tuple[str, ...] = ()
        if self.device != LOOPBACK:
            group = ("group", GROUP) if self.namespace != HOST else ()
            master = ("master", self.master) if self.master else ()
            words = (*group, *words, *master)
            ipv6 = ("addrgenmode", "none") if self.mtu >= IPV6_MTU else ()
        return (self._link("alias", self.owner), self._link(*words, state, ipv6=ipv6))

    def _link(self, *words: str, ipv6: tuple[str, ...] = ()) -> Ip:
        return Ip(self.namespace, ("link", "set", self.device, *words), ipv6)

    def change(self, old: Resource) -> Operations:
        """Sets everything again; normally only the MTU of our link changes, and its MAC once.

        A link that was too small for IPv6 gets an IPv6 address when it grows: not ours, which all have the
        flag `nodad`. The MAC is set only if it differs, because the kernel then forgets all neighbours
        (neigh_changeaddr).
        """
        if self.device == LOOPBACK:
            return self._set()
        flush = Ip(self.namespace, ("addr", "flush", "dev", self.device, "scope", "link", "-nodad"))
        address = self._address if isinstance(old, Port) and old.mac != self.mac else ()
        return (self._link("mtu", str(self.mtu)), *self._set(address), flush)

    def unmake(self, facts: Facts) -> Operations:
        """Nothing: it goes with the link."""
        return ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The link must be marked, up, plugged in, and have the right MTU."""
        link = kernel.link(self.namespace, self.device)
        if link is None:
            return MISSING
        found = {"alias": link.get("ifalias", ""), "master": link.get("master", ""), "mtu": link["mtu"],
                 "state": "up" if "UP" in link["flags"] else "down"}
        if self.mac:
            found["MAC"] = link.get("address", "")
        shall = {"alias": self.owner, "master": self.master,
                 "mtu": link["mtu"] if self.device == LOOPBACK else self.mtu, "state": "up", "MAC": self.mac}
        wrong = [f"its {what} is {found[what] or 'none'}, not {shall[what] or 'none'}"
                 for what in found if found[what] != shall[what]]
        remedy = (self._link(*self._address),) if self.mac and found["MAC"] != self.mac else ()
        return Fault(Condition.CHANGED, "; ".join(wrong), remedy) if wrong else None

    def __str__(self) -> str:
        return f"link {self.device}{on(self.namespace)}"


@frozen
class Altname(Resource):
    """The full name of a link whose kernel name is shortened."""

    namespace: str
    device: str
    name: str

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    def _words(self, verb: str) -> Operations:
        return (Ip(self.namespace, ("link", "property", verb, "dev", self.device, "altname", self.name)),)

    def make(self) -> Operations:
        """In addition to the kernel name: every ip command accepts either."""
        return self._words("add")

    def unmake(self, facts: Facts) -> Operations:
        """The kernel name stays."""
        return self._words("del")

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The link must have it."""
        link = kernel.link(self.namespace, self.device)
        return None if link and self.name in link.get("altnames", ()) else MISSING

    def __str__(self) -> str:
        return f"name {self.name} of {self.device}{on(self.namespace)}"
