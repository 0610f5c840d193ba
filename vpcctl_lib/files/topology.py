"""The topology file: from YAML to what it asks for, and today's topology as such a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import TypeVar

from vpcctl_lib.errors import VpcctlError, quoted
from vpcctl_lib.files import policy, upkeep
from vpcctl_lib.files.documents import Document, Place, shown
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.users import check_user
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.lookup import close
from vpcctl_lib.model.quantities import parse_bytes, spelt
from vpcctl_lib.model.topology import (
    MOST_PROCESSES,
    Machine,
    Peering,
    Policy,
    Subnet,
    SubnetType,
    Topology,
    Vpc,
    Workload,
)

VERSION = 1
RUN_ONLY = ("user", "env", "workdir", "stop_signal")
SHARED = ("pids", "memory", *upkeep.SHARED)
"""The keys of programs, and those that web servers have, too."""

T = TypeVar("T")


@frozen
class Wanted:
    """A VPC as the file asks for it; `interface` is None without NAT, empty for the way out."""

    name: str
    cidr: IPv4Network
    interface: str | None
    allow_overlap: bool
    subnets: tuple[Subnet, ...]
    place: Place


@frozen
class TopologyFile:
    """All that a file asks for."""

    vpcs: tuple[Wanted, ...]
    peerings: tuple[tuple[Peering, Place], ...]
    warnings: tuple[str, ...]


class Reader:
    """Reads one document; policies that it names by path are looked for in that folder."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._folder = folder
        self._document = document
        self._warnings: list[str] = []

    def read(self) -> TopologyFile:
        """What the file asks for; BadInput with file, line and place where it can't be right."""
        top = self._document.top
        entries = _mapping(self._document.data, top, "a topology", ("version", "vpcs", "peerings"))
        _check_version(entries.get("version"), top.at("version"))
        vpcs = _mapping(_given(entries, "vpcs", {}), top.at("vpcs"), "VPCs by name")
        found = tuple(self._vpc(name, data, top.at("vpcs").named(name)) for name, data in vpcs.items())
        return TopologyFile(found, self._peerings(_given(entries, "peerings", []), top.at("peerings")),
                            tuple(self._warnings))

    def _vpc(self, name: str, data: object, place: Place) -> Wanted:
        told(place, lambda: naming.check_name(name, "VPC"))
        entries = _mapping(data, place, "a VPC", ("cidr", "nat", "subnets", "allow_overlap"))
        cidr = _cidr(entries, place)
        self._warnings += told(place.at("cidr"), lambda: addressing.check_vpc(cidr))
        interface = _interface(entries.get("nat"), place.at("nat"))
        overlap = _flag(entries.get("allow_overlap", False), place.at("allow_overlap"))
        subnets = self._subnets(_given(entries, "subnets", {}), cidr, place.at("subnets"))
        told(place.at("subnets"), lambda: addressing.check_count(name, len(subnets)))
        return Wanted(name, cidr, interface, overlap, subnets, place)

    def _subnets(self, data: object, vpc: IPv4Network, place: Place) -> tuple[Subnet, ...]:
        entries = _mapping(data, place, "subnets by name")
        found = [self._subnet(name, one, vpc, place.named(name)) for name, one in entries.items()]
        if addressing.overlapping(subnet.cidr for subnet in found):
            _refuse_overlap(found, vpc, place)
        return tuple(found)

    def _subnet(self, name: str, data: object, vpc: IPv4Network, place: Place) -> Subnet:
        told(place, lambda: naming.check_name(name, "subnet"))
        entries = _mapping(data, place, "a subnet", ("cidr", "type", "firewall", "workloads"))
        cidr = _cidr(entries, place)
        told(place.at("cidr"), lambda: addressing.check_subnet(cidr, vpc, ()))
        kinds = [kind.value for kind in SubnetType]
        kind = entries.get("type", SubnetType.PRIVATE.value)
        if kind not in kinds:
            raise place.at("type").refusal(f"{shown(kind)} is no type of subnet", f"use {' or '.join(kinds)}")
        workloads = _mapping(_given(entries, "workloads", {}), place.at("workloads"), "workloads by name")
        own = Machine(workloads=tuple(_workload(key, one, place.at("workloads").named(key))
                                      for key, one in workloads.items()))
        return Subnet(name, cidr, SubnetType(kind), self._policy(entries, cidr, place.at("firewall")), (own,))

    def _policy(self, entries: Mapping[str, object], cidr: IPv4Network, place: Place) -> Policy | None:
        data = entries.get("firewall")
        if data is None:
            return None
        if data == "":
            raise place.refusal('"" is no path', "name a policy's file, or write the policy here")
        if isinstance(data, str):
            return told(place, lambda: _load(self._folder / data, cidr))
        return policy.parse(data, place, cidr)

    def _peerings(self, data: object, place: Place) -> tuple[tuple[Peering, Place], ...]:
        if not isinstance(data, list):
            raise place.refusal(f"{shown(data)} is no list of peerings", "write - [vpc1, vpc2]")
        return tuple((_pair(pair, place.at(number)), place.at(number)) for number, pair in enumerate(data))


def _load(path: Path, cidr: IPv4Network) -> Policy:
    """The policy in a file that this one names; an error shows nothing of it.

    Whoever wrote the name need not be allowed to read the file.
    """
    try:
        return policy.load(path, cidr)
    except VpcctlError as error:
        raise error.withholding() from None


def told(place: Place, check: Callable[[], T]) -> T:
    """What the check returns; what it refuses is refused with file, line and place."""
    try:
        return check()
    except VpcctlError as error:
        raise placed(error, place) from None


def placed(error: VpcctlError, place: Place) -> VpcctlError:
    """The same error with file, line and place."""
    refusal = place.refusal(*error.told)
    refusal.code = error.code
    return refusal


def _refuse_overlap(subnets: Sequence[Subnet], vpc: IPv4Network, place: Place) -> None:
    """The first that overlaps one before it is refused at its place."""
    others: list[tuple[str, IPv4Network]] = []
    for subnet in subnets:
        here = place.named(subnet.name).at("cidr")
        told(here, partial(addressing.check_subnet, subnet.cidr, vpc, tuple(others)))
        others.append((subnet.name, subnet.cidr))


def _check_version(data: object, place: Place) -> None:
    # Not by value alone: to Python, true and 1.0 are 1.
    if type(data) is not int or data != VERSION:
        raise place.refusal(f"{shown(data)} is no version of the format", f"write version: {VERSION}")


def _given(entries: Mapping[str, object], key: str, otherwise: object) -> object:
    """What stands after the key; a key with nothing after it is as good as none."""
    found = entries.get(key)
    return otherwise if found is None else found


def _mapping(data: object, place: Place, what: str, keys: Sequence[str] = (),
             hint: str = "write a mapping of keys to values") -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise place.refusal(f"{shown(data)} is not {what}", hint)
    for key in data if keys else ():
        if key not in keys:
            meant = close(str(key), keys)
            known = f"there is: {', '.join(keys)}"
            hint = quoted(f"did you mean {meant}?", known) if meant else known
            raise place.named(str(key)).refusal(f"{shown(key)} is no key of {what}", hint)
    return data


def _cidr(entries: Mapping[str, object], place: Place) -> IPv4Network:
    if "cidr" not in entries:
        raise place.refusal("it has no cidr", "add for example cidr: 10.0.0.0/16")
    text = entries["cidr"]
    if not isinstance(text, str):
        raise place.at("cidr").refusal(f"{shown(text)} is not a CIDR", "write for example 10.0.0.0/16")
    return told(place.at("cidr"), lambda: addressing.parse_network(text))


def _flag(data: object, place: Place) -> bool:
    if not isinstance(data, bool):
        raise place.refusal(f"{shown(data)} is neither true nor false", "write true or false")
    return data


def _interface(data: object, place: Place) -> str | None:
    """The uplink: None for no NAT, empty for the way out."""
    if data is None or isinstance(data, bool):
        return "" if data else None
    entries = _mapping(data, place, "NAT", ("interface",), "write true, or {interface: eth0}")
    interface = entries.get("interface")
    if not isinstance(interface, str) or not interface:
        raise place.at("interface").refusal(f"{shown(interface)} is no interface", "write for example eth0")
    return interface


def _workload(name: str, data: object, place: Place) -> Workload:
    told(place, lambda: naming.check_name(name, "workload"))
    entries = _mapping(data, place, "a workload", ("webserver", "run", *RUN_ONLY, *SHARED))
    if ("webserver" in entries) == ("run" in entries):
        raise place.refusal("it must have one of webserver and run",
                            "write {webserver: 80} or {run: [sleep, infinity]}")
    if "run" not in entries:
        given = [key for key in RUN_ONLY if key in entries]
        if given:
            raise place.at(given[0]).refusal(f"a web server has no {given[0]}", "leave it out, or use run")
        found = _webserver(name, entries["webserver"], place)
    else:
        found = _program(name, entries["run"], place.at("run"))
    return replace(found, user=_user(entries.get("user", ""), place.at("user")),
                   pids=_processes(entries.get("pids"), place.at("pids")),
                   memory=_memory(entries.get("memory"), place.at("memory")),
                   upkeep=upkeep.read(entries, place))


def _user(data: object, place: Place) -> str:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is no user's name", "write for example postgres")
    told(place, lambda: check_user(data))
    return data


def _processes(data: object, place: Place) -> int | None:
    if data is None or (type(data) is int and 1 <= data <= MOST_PROCESSES):
        return data
    raise place.refusal(f"{shown(data)} is no number of processes",
                        f"write a number from 1 to {MOST_PROCESSES}")


def _memory(data: object, place: Place) -> int | None:
    if data is None:
        return None
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is no amount of memory", "write for example 64M")
    return told(place, lambda: parse_bytes(data))


def _webserver(name: str, port: object, place: Place) -> Workload:
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise place.at("webserver").refusal(f"{shown(port)} is not a port", "write a number from 1 to 65535")
    if name != f"webserver-{port}":
        raise place.refusal(f"a web server's name is webserver-PORT, not {quoted(name)}",
                            f"call it webserver-{port}")
    return Workload(name, port=port)


def _program(name: str, argv: object, place: Place) -> Workload:
    if not isinstance(argv, list) or not argv:
        raise place.refusal(f"{shown(argv)} is no command", "write a list of words: [sleep, infinity]")
    return Workload(name, tuple(_word(word, place.at(number)) for number, word in enumerate(argv)))


def _word(data: object, place: Place) -> str:
    """A word of a command; a whole number may go without quotes, as it is read as it was written."""
    if isinstance(data, str) and "\0" in data:
        raise place.refusal(f"{shown(data)} holds a NUL", "leave it out: no program can be given one")
    if isinstance(data, str) or type(data) is int:
        return str(data)
    if isinstance(data, (list, Mapping)):
        raise place.refusal(f"{shown(data)} is no word", "write all words in one list: [sleep, infinity]")
    # How a fraction was written is not known here: 1e3 has become 1000.0.
    quoted = "" if isinstance(data, float) else f': "{shown(data)}"'
    raise place.refusal(f"{shown(data)} is no word", f"write it in quotes{quoted}")


def _pair(data: object, place: Place) -> Peering:
    if not isinstance(data, list) or len(data) != 2 or not all(isinstance(name, str) for name in data):
        raise place.refusal(f"{shown(data)} is no pair of VPCs", "write [vpc1, vpc2]")
    return Peering.between(*data)


def to_document(topology: Topology) -> dict[str, object]:
    """The topology as a file would hold it; reading it back asks for the same."""
    vpcs = {vpc.name: _vpc_document(vpc) for vpc in topology.vpcs}
    document: dict[str, object] = {"version": VERSION, "vpcs": vpcs}
    if topology.peerings:
        document["peerings"] = [[peering.vpc1, peering.vpc2] for peering in topology.peerings]
    return document


def _vpc_document(vpc: Vpc) -> dict[str, object]:
    document: dict[str, object] = {"cidr": str(vpc.cidr)}
    if not vpc.routed:
        document["allow_overlap"] = True
    if vpc.nat:
        document["nat"] = {"interface": "auto" if vpc.nat.follows else vpc.nat.interface}
    if vpc.subnets:
        document["subnets"] = {subnet.name: _subnet_document(subnet) for subnet in vpc.subnets}
    return document


def _subnet_document(subnet: Subnet) -> dict[str, object]:
    document: dict[str, object] = {"cidr": str(subnet.cidr), "type": subnet.type.value}
    if subnet.policy is not None:
        document["firewall"] = policy.to_document(subnet.policy)
    own = subnet.machine()
    if own and own.workloads:
        document["workloads"] = {workload.name: _workload_document(workload) for workload in own.workloads}
    return document


def _workload_document(workload: Workload) -> dict[str, object]:
    document: dict[str, object] = (
        {"webserver": workload.port} if workload.port else {"run": list(workload.argv)})
    if workload.user:
        document["user"] = workload.user
    if workload.pids is not None:
        document["pids"] = workload.pids
    if workload.memory is not None:
        document["memory"] = spelt(workload.memory)
    return {**document, **upkeep.to_document(workload.upkeep)}
