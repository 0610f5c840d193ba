"""The kernel once everything of a network is in it, for tests of what its marks tell."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tests.unit.listing import acl_table
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.blueprint.host import NAMESPACE_FILES
from vpcctl_lib.keeper import orders
from vpcctl_lib.keeper.orders import Orders
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.model import names
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import ACL_TABLE, GROUP_SET, ROUTES_SET, ROUTES_TABLE
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.resources import (
    Acls,
    Address,
    Chain,
    Collector,
    File,
    Guard,
    Hosts,
    Leases,
    Namespace,
    Neighbour,
    Port,
    Program,
    Rate,
    Relay,
    Resolver,
    Resource,
    Roster,
    Route,
    SingleRule,
    Steering,
    Watch,
    Whole6,
)
from vpcctl_lib.resources.forwarding6 import key_of
from vpcctl_lib.resources.guarded import OWN, RANGES, Member

T = TypeVar("T", bound=Resource)


class Made(Kernel):
    """The kernel once all of a network's resources are in it, as ip, nft and iptables-save would tell."""

    def __init__(self, topology: Topology) -> None:
        self._nats = [vpc.nat for vpc in topology.vpcs if vpc.nat]
        self._made: dict[type, list[Any]] = {}
        for one in blueprint(topology):
            self._made.setdefault(type(one), []).append(one)
        self.namespaces = {one.name for one in self.those(Namespace)}
        # Asked for as often as that of the real kernel, which reads each once, too.
        self.links = cache(self._links)  # type: ignore[method-assign]
        self.started = cache(self._started)
        self.chains = cache(self._chains)  # type: ignore[method-assign]

    def those(self, kind: type[T], namespace: str | None = None) -> list[T]:
        """Those of a kind, of all namespaces or one."""
        found = self._made.get(kind, [])
        return found if namespace is None else [one for one in found if one.namespace == namespace]

    def look(self, namespaces: Collection[str]) -> None:
        """All is known."""

    def setting(self, namespace: str, key: str) -> str | None:
        """As the files say, and whether links have a switch for IPv6 of their own."""
        if not namespace and key == key_of("all"):
            return None if self.those(Whole6) else "0"
        return super().setting(namespace, key)

    def _links(self, namespace: str) -> list[dict[str, Any]]:
        """Those that were set up, and on the host the uplinks of NAT."""
        uplinks = [{"ifname": nat.interface, "mtu": nat.mtu} for nat in self._nats if not namespace]
        return uplinks + [{"ifname": one.device, "ifalias": one.owner, "ifindex": number, "mtu": one.mtu,
                           **({"master": one.master} if one.master else {}),
                           "addr_info": self._addresses(namespace, one.device)}
                          for number, one in enumerate(self.those(Port, namespace), 1)]

    def _addresses(self, namespace: str, device: str) -> list[dict[str, Any]]:
        return [{"family": "inet6" if one.address.version == 6 else "inet", "local": str(one.address.ip),
                 "prefixlen": one.address.network.prefixlen}
                for one in self.those(Address, namespace) if one.device == device]

    def link(self, namespace: str, device: str) -> dict[str, Any] | None:
        """The link of that name."""
        return next((link for link in self.links(namespace) if link["ifname"] == device), None)

    def neighbours6(self, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Those that were entered."""
        return {(one.device, str(one.address)): {"lladdr": one.mac}
                for one in self.those(Neighbour, namespace) if one.address.version == 6}

    def queues(self, namespace: str) -> dict[str, list[dict[str, Any]]]:
        """The limits of links."""
        return {one.device: [{"kind": "tbf", "root": True, "options": {"rate": one.rate // 8},
                              "limit": one.limit}] for one in self.those(Rate, namespace)}

    def routes(self, namespace: str) -> list[dict[str, Any]]:
        """Those that were made."""
        return [{"dst": str(one.destination) if one.destination.prefixlen else "default", "dev": one.device,
                 **({"gateway": str(one.via)} if one.via else {})}
                for one in self.those(Route, namespace) if one.destination.version == 4]

    def _chains(self, namespace: str, family: Family = Family.INET) -> Saved:
        """Ours, and on the host the jumps to them."""
        lines = []
        for chain in (one for one in self.those(Chain, namespace) if one.family is family):
            for part in (chain, *chain.inner_chains()):
                lines += [f"*{part.table}", f":{part.name} {part.policy or '-'} [0:0]"]
                lines += [f"-A {part.name} {rule}" for rule in part.rules]
        for one in (one for one in self.those(SingleRule, namespace) if one.family is family):
            lines += [f"*{one.table}", f":{one.chain} ACCEPT [0:0]", f"-A {one.chain} {one.rule}"]
        return Saved("".join(f"{line}\n" for line in lines))

    def bridge_table(self, namespace: str, name: str) -> list[dict[str, Any]] | None:
        """The machines that a guard knows; or the network ACLs."""
        if name == ACL_TABLE:
            return next(map(acl_table, self.those(Acls, namespace)), None)
        if name == ROUTES_TABLE:
            tables = [table for one in self.those(Steering, namespace) for table in one.tables]
            return [item for one in tables for item in (
                {"chain": {"name": f"{ROUTES_SET}{one.name}"}},
                *({"rule": {"chain": f"{ROUTES_SET}{one.name}", "comment": words}} for words in one.words))]
        guards = self.those(Guard, namespace)
        members = [member for one in guards for member in one.machines if isinstance(member, Member)]
        return [{"set": {"name": OWN, "elem": [
            {"elem": {"val": {"concat": [one.device, one.mac, str(one.address)]}, "comment": one.comment}}
            for one in members]}}, {"set": {"name": RANGES, "elem": [
                {"elem": {"val": one.cidr.partition("/")[0],
                          "comment": f"{one.name} {one.cidr} {one.kind} {one.ipv6}".rstrip()}}
                for guard in guards for one in guard.ranges]}}]

    def ip_table(self, namespace: str, name: str, *_: object) -> list[dict[str, Any]] | None:
        """The groups that a router lists."""
        groups = [group for one in self.those(Roster, namespace) for group in one.groups]
        return [item for one in groups for item in (
            {"set": {"name": f"{GROUP_SET}{one.name}", "elem": list(one.ports)}},
            {"chain": {"name": f"{GROUP_SET}{one.name}"}},
            *({"rule": {"chain": f"{GROUP_SET}{one.name}", "comment": rule}} for rule in one.rules))]

    def keepers(self, _: Kernel, namespace: str) -> dict[str, tuple[None, Orders]]:
        """Those of the workloads, by mark, with the orders on their command lines."""
        return self.started(namespace)

    def _started(self, namespace: str) -> dict[str, tuple[None, Orders]]:
        kinds = (Program, Relay, Resolver, Collector)
        programs = [one for kind in kinds for one in self.those(kind, namespace)]
        found = {one.mark: orders.of(one.make()[0].command(Path("/state")).argv) for one in programs}  # type: ignore[attr-defined]
        return {mark: (None, told) for mark, told in found.items() if told}

    def write_files(self, folder: Path) -> None:
        """What stands in /etc/netns, and the names of machines."""
        hosts = [one.file for kind in (Hosts, Leases, Watch) for one in self.those(kind)]
        for one in (*self.those(File), *hosts):
            path = folder / Path(one.path).relative_to(names.FILES if one in hosts else NAMESPACE_FILES)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(one.content)
