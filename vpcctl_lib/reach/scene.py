"""What a namespace has, read once when a packet first arrives there; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from ipaddress import IPv6Network
from typing import Any, Protocol, TypeVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.flows.names import TABLE as FLOW_TABLE
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.saves import incompatible, is_of_nft
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.naming import ACL_TABLE, BRIDGE_TABLE, GROUP_TABLE, ROUTES_TABLE
from vpcctl_lib.model.policies import Ports
from vpcctl_lib.reach.foreign import has_table, hooked, parse_foreign
from vpcctl_lib.reach.links import Link, Neighbour, parse_link, parse_neighbours, parse_stations, telling
from vpcctl_lib.reach.packet import Undecided
from vpcctl_lib.reach.ports import Guarded, Steered, parse_guard, parse_steered
from vpcctl_lib.reach.routes import Lookup, PolicyRule, Route
from vpcctl_lib.reach.tables import Tables, parse_save
from vpcctl_lib.resources.acl_table import Held as Edges
from vpcctl_lib.resources.acl_table import held_in
from vpcctl_lib.resources.counting import only_counts
from vpcctl_lib.resources.guard import is_whole, switched_by
from vpcctl_lib.resources.marking import Held as Groups
from vpcctl_lib.resources.marking import table_of

T = TypeVar("T")
HOST = ""
ASKERS = 4
"""Namespaces that are read in parallel: where there are rules, by a program."""

GUARD, ACLS, STEERING = ("bridge", BRIDGE_TABLE), ("bridge", ACL_TABLE), ("bridge", ROUTES_TABLE)
"""Our own tables of nft in the routers."""

FLOWS = ("inet", FLOW_TABLE)
"""That in machines which counts flows."""

READ = {Family.INET: (Reading.ROUTES, Reading.ROUTE_RULES, Reading.NEIGHBOURS),
        Family.INET6: (Reading.ROUTES6, Reading.ROUTE_RULES6, Reading.NEIGHBOURS6)}
"""What each family has of its own."""


@frozen
class Passage:
    """What matters only for packets that start, end or are forwarded here."""

    neighbours: tuple[Neighbour, ...] = ()
    tables: tuple[Tables, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Hooks at which something that is not modelled decides, and what it is."""

    guard: Guarded | None = None
    """Who may send through ports of the namespace's bridges; None without a guard."""

    switched: Mapping[Address, str] = field(default_factory=dict)
    """The MACs to which that guard redirects packets, by their destination address."""

    stations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The permanent MAC entries of the namespace's bridges: the ports of each MAC."""

    @cached_property
    def near(self) -> Mapping[tuple[str, Address], Neighbour]:
        """The table of neighbours by link and address."""
        return {(one.device, one.address): one for one in self.neighbours}

    marking: Groups | None = None
    """What our table for a machine in groups has; None without one."""

    acls: Edges | None = None
    """What our table with network ACLs has; None without one."""

    steered: Steered | None = None
    """What our table for route tables has; None without one."""


class Settings(Protocol):
    """Reads a kernel setting; None if it does not exist."""

    def __call__(self, key: str, /) -> str | None: ...


@dataclass
class Namespace:
    """A namespace: empty if it does not exist."""

    name: str
    exists: bool = True
    family: Family = Family.INET
    """That of the packets which are followed: its addresses, routes, neighbours and rules are of it."""

    links: dict[str, Link] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    rules: list[PolicyRule] = field(default_factory=list)
    setting: Settings = lambda key: None
    passage: Callable[[], Passage] = Passage
    named: Callable[[int], str] = lambda number: ""
    """The name behind its number for another namespace; empty if it has none."""

    taken: Callable[[Lookup], tuple[str, str]] = lambda lookup: ("", "")
    """The link and the gateway that the kernel itself would choose; empty if it does not say."""

    @property
    def title(self) -> str:
        """Its name in messages."""
        return self.name or "host"

    @cached_property
    def by_index(self) -> Mapping[int, Link]:
        """Its links by number, by which the other ends of cables refer to them."""
        return {link.index: link for link in self.links.values()}

    def neighbour(self, device: str, address: Address) -> Neighbour | None:
        """The line of its table of neighbours."""
        return self.passage().near.get((device, address))

    @property
    def tables(self) -> tuple[Tables, ...]:
        """Its iptables rules; of both kinds, if both have rules."""
        return self.passage().tables

    @property
    def foreign(self) -> Mapping[str, str]:
        """Hooks at which something that is not modelled decides, and what it is."""
        return self.passage().foreign

    @property
    def guard(self) -> Guarded | None:
        """Who may send through the ports of its bridges; None if anybody may."""
        return self.passage().guard

    @property
    def switched(self) -> Mapping[Address, str]:
        """The MACs to which that guard sends packets, by their destination address."""
        return self.passage().switched

    @property
    def stations(self) -> Mapping[str, tuple[str, ...]]:
        """The permanent MAC entries of its bridges: the ports of each MAC."""
        return self.passage().stations

    @property
    def marking(self) -> Groups | None:
        """What our table for a machine in groups has; None without one."""
        return self.passage().marking

    @property
    def steered(self) -> Steered | None:
        """What our table for route tables has; None without one."""
        return self.passage().steered

    def number(self, key: str) -> int:
        """A setting as a number; one that this kernel lacks is 0."""
        return int(self.setting(key) or 0)

    def per_link(self, device: str, key: str) -> int:
        """A setting of one link."""
        return self.number(f"net/{self.family.net}/conf/{device}/{key}")

    def strictest(self, device: str, key: str) -> int:
        """IN_DEV_MAXCONF of include/linux/inetdevice.h: the higher of the link's value and that of `all`."""
        return max(self.per_link("all", key), self.per_link(device, key))

    @property
    def ports(self) -> Ports:
        """The ports from which the kernel chooses for a client."""
        first, last = (self.setting("net/ipv4/ip_local_port_range") or "32768 60999").split()
        return Ports(int(first), int(last))

    @cached_property
    def _addresses(self) -> frozenset[Address]:
        return frozenset(held.address for link in self.links.values() for held in link.addresses)

    def owns(self, address: Address) -> bool:
        """Whether a link, up or not, has the address."""
        return address in self._addresses


class Scene:
    """All namespaces, each as it was when first read."""

    def __init__(self, kernel: Kernel, ours: Collection[str] = (), family: Family = Family.INET) -> None:
        """For packets of one family. `ours` are names that we gave: others' namespaces have more names."""
        self._kernel, self._ours = kernel, ours
        self.family = family
        self._known: dict[str, Namespace] = {}
        self._concluded: dict[Hashable, Any] = {}
        self.elastic: Collection[Address] = ()
        self.outward: Collection[IPv6Network] = ()
        """Prefixes of VPCs to which the world outside leads packets: they leave as they are."""

        self.taps: Mapping[str, str] = {}
        """By namespace, the tap behind which its virtual machine is."""

    @property
    def names(self) -> Collection[str]:
        """The names of all namespaces."""
        return self._kernel.namespaces

    def of(self, name: str) -> Namespace:
        """The namespace of that name; the empty name is the host."""
        if name not in self._known:
            self._known[name] = self._told(name, lambda: self._load(name))
        return self._known[name]

    def look(self, names: Collection[str]) -> None:
        """Read what matters for packets that start in these; programs for it run in parallel."""
        # In order, so that what is reported does not depend on who was first.
        found = [namespace for name in names if (namespace := self._of_or_none(name))]
        each(_pass, found, ASKERS)

    def _of_or_none(self, name: str) -> Namespace | None:
        try:
            return self.of(name)
        except Undecided:
            # The next question about it reports why.
            return None

    def _told(self, name: str, ask: Callable[[], T]) -> T:
        """What it has; raises Undecided if that can't be read."""
        try:
            return ask()
        except (VpcctlError, ValueError, LookupError, TypeError) as error:
            # Root in there can make tools print what nobody understands; the host's failure concerns all.
            if name == HOST:
                raise
            raise Undecided(name, f"it can't be read: {error}") from None

    def answers(self, device: str, address: Address) -> bool:
        """Whether the host answers ARP on a link for one of those elastic addresses, which it has not."""
        return address in self.elastic and (device, str(address)) in self._kernel.proxied

    def is_known_outside(self, device: str, address: Address) -> bool:
        """Whether answers to an address find their way back to the host by a link."""
        return self.of(HOST).owns(address) or self.answers(device, address) \
            or any(address in prefix for prefix in self.outward)

    def once(self, key: Hashable, conclude: Callable[[], T]) -> T:
        """What follows from what was read, concluded once."""
        if key not in self._concluded:
            self._concluded[key] = conclude()
        found: T = self._concluded[key]
        return found

    def known(self) -> list[Namespace]:
        """The namespaces that were read so far."""
        return list(self._known.values())

    def _load(self, name: str) -> Namespace:
        if name and name not in self.names:
            return Namespace(name, exists=False)
        of_routes, of_rules, _ = READ[self.family]
        links, routes, rules, queues = self._kernel.read(name, Reading.LINKS, of_routes, of_rules,
                                                         Reading.QUEUES)
        queues = telling(links, queues) if any("filters" in one for one in queues) else queues
        found = [parse_link(one, queues, self.family) for one in links if one]
        # A broadcast in a VPC reaches all of its subnets, and one answers: the others are read later.
        return Namespace(
            name, True, self.family, {link.name: link for link in found},
            [Route.parse(route, self.family) for route in routes], [PolicyRule.parse(rule) for rule in rules],
            cache(lambda key: self._kernel.setting(name, key) or None),
            cache(lambda: self._told(name, lambda: self._passage(name))),
            self._kernel.numbers(name, self._ours).name,
            cache(lambda lookup: self._taken(name, lookup)))

    def _taken(self, name: str, lookup: Lookup) -> tuple[str, str]:
        """The answer of `ip route get` for a packet: the kernel chooses among several next hops."""
        route = self._kernel.taken(name, lookup.words())
        return route.get("dev", ""), route.get("gateway", "")

    def _passage(self, name: str) -> Passage:
        of_neighbours, marks = READ[self.family][2], (self.family.nft, GROUP_TABLE)
        near, chains, stations = self._kernel.read(name, of_neighbours, Reading.CHAINS, Reading.STATIONS)
        tables = self._tables(name, chains)
        guard = self._guard(name) if has_table(chains, *GUARD) else None
        marking = table_of(self._kernel.nft_table(name, *marks), self.family) \
            if has_table(chains, *marks) else None
        acls = held_in(self._kernel.nft_table(name, *ACLS)) if has_table(chains, *ACLS) else None
        steered = self._steered(name) if has_table(chains, *STEERING) else None
        ours = {GUARD: guard is not None, marks: marking is not None, ACLS: acls is not None,
                STEERING: steered is not None,
                FLOWS: has_table(chains, *FLOWS) and only_counts(self._kernel.flow_table(name, *FLOWS))}
        foreign = parse_foreign(chains, [place for place, whole in ours.items() if whole], self.family)
        led = switched_by(guard, self.family) if guard else {}
        return Passage(tuple(parse_neighbours(near)), tuple(tables[0]), {**foreign, **tables[1]},
                       parse_guard(guard) if guard else None, led,
                       parse_stations(stations), marking, acls, steered)

    def _tables(self, name: str, chains: list[dict[str, Any]]) -> tuple[list[Tables], dict[str, str]]:
        """The output of the family's iptables-save; of both kinds, if both have rules."""
        texts = self._kernel.both_kinds(name, chains, self.family)
        awake = hooked(chains, self.family)
        odd = [table for one in texts for table in incompatible(one) if table in awake]
        saved = [{table: held for table, held in parse_save(one).items() if table in awake}
                 if is_of_nft(one) else parse_save(one) for one in texts]
        return saved, {"*": f"nft rules in table {odd[0]}"} if odd else {}

    def _guard(self, name: str) -> list[dict[str, Any]] | None:
        """Our own table of family bridge, if it has our rules and no others."""
        listed = self._kernel.nft_table(name, *GUARD)
        return listed if is_whole(listed) else None

    def _steered(self, name: str) -> Steered | None:
        """Our own table for route tables, if it has our rules and no others."""
        return parse_steered(self._kernel.nft_table(name, *STEERING))


def _pass(namespace: Namespace) -> None:
    with suppress(Undecided):
        namespace.passage()


