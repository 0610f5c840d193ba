"""The values that a topology file has: how each is read, written back, and described to an editor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from vpcctl_lib.errors import VpcctlError, quoted
from vpcctl_lib.files import documents
from vpcctl_lib.files.attached_values import check_attached
from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import ByPath, Kind, Reading, Value, alone, or_a_path, read, reference, write
from vpcctl_lib.files.policy_values import LAST_PORT
from vpcctl_lib.kernel.users import check_user
from vpcctl_lib.model import acls, addressing, endpoints, groups
from vpcctl_lib.model.policies import Group
from vpcctl_lib.model.quantities import parse_bytes, parse_log_size, spelt
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, SubnetType
from vpcctl_lib.model.workloads import MOST_PROCESSES, Restart
from vpcctl_lib.workloads import upkeep

ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}"
CIDR = rf"{ADDRESS}/[0-9]{{1,2}}"
AUTO = "auto"
"""As NAT's interface: the way out, whichever link that is by then."""


def pattern(text: str) -> dict[str, object]:
    """The schema of a text that is wholly of that pattern."""
    return {"type": "string", "pattern": f"^{text}$"}


def choices(kinds: type[Enum]) -> list[object]:
    """What a file has for the members of an enumeration."""
    return [kind.value for kind in kinds]


def version(numbers: tuple[int, ...]) -> Value:
    """The version of the format, one of those."""
    def read(data: object, place: Place) -> int:
        # Not by value alone: for Python, true and 1.0 equal 1.
        if type(data) is not int or data not in numbers:
            raise place.refusal(f"{shown(data)} is not a version of the format",
                                f"write version: {numbers[0]}")
        return data

    return alone(read, int, {"enum": list(numbers)})


def _cidr(data: object, place: Place) -> IPv4Network:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not a CIDR", "write for example 10.0.0.0/16")
    return told(place, lambda: addressing.parse_network(data))


def _vpc_cidr(data: object, place: Place, here: Reading) -> IPv4Network:
    cidr = _cidr(data, place)
    here.warnings += told(place, lambda: addressing.check_vpc(cidr))
    return cidr


def _vpc_cidrs(data: object, place: Place, here: Reading) -> tuple[IPv4Network, ...]:
    if not isinstance(data, list):
        raise place.refusal(f"{shown(data)} is not a list of CIDRs", "write for example [10.1.0.0/16]")
    found: list[IPv4Network] = []
    for number, one in enumerate(data):
        found.append(_vpc_cidr(one, place.at(number), here))
        told(place.at(number), partial(addressing.check_secondary, found, here.found["cidr"]))
    return tuple(sorted(found))


def _subnet_cidr(data: object, place: Place, here: Reading) -> IPv4Network:
    cidr = _cidr(data, place)
    told(place, lambda: addressing.check_subnet(cidr, _around(here), ()))
    return cidr


def _around(subnet: Reading) -> tuple[IPv4Network, ...]:
    """The CIDRs of the VPC around a subnet."""
    return (subnet.outside("cidr"), *(subnet.outside("cidrs") or ()))


def networks(vpc: Reading) -> tuple[IPv4Network, ...]:
    """A VPC's CIDRs."""
    return (vpc.found["cidr"], *vpc.found.get("cidrs", ()))


def check_subnets(subnets: tuple[Subnet, ...], place: Place, vpc: Reading) -> None:
    """Refuse the first that overlaps one before it, at its place, and more than a bridge has ports."""
    if addressing.overlapping(subnet.cidr for subnet in subnets):
        others: list[tuple[str, IPv4Network]] = []
        for subnet in subnets:
            here = place.named(subnet.name).at("cidr")
            told(here, partial(addressing.check_subnet, subnet.cidr, networks(vpc), tuple(others)))
            others.append((subnet.name, subnet.cidr))
    told(place, lambda: endpoints.check_room(vpc.name, subnets))
    known = [group.name for group in vpc.found.get("groups", ())]
    edges = [acl.name for acl in vpc.found.get("acls", ())]
    for subnet in subnets:
        if subnet.acl:
            told(place.named(subnet.name).at("acl"), partial(acls.check_known, vpc.name, subnet.acl, edges))
        for machine in subnet.machines:
            here = place.named(subnet.name)
            here = here.at("instances").named(machine.name) if machine.name else here
            for name in machine.groups:
                told(here.at("groups"), partial(groups.check_known, vpc.name, name, known))


def check_groups(found: tuple[Group, ...], place: Place, vpc: Reading) -> None:
    """Refuse a rule that names a group of this VPC which the file does not have."""
    known = [group.name for group in found]
    for group in found:
        for rule, one in groups.rules_of(group.policy):
            of = groups.called(vpc.name, one.group)
            if one.group and of.vpc == vpc.name:
                told(place.named(group.name), partial(groups.check_known, vpc.name, of.name, known, rule))


def _groups(data: object, place: Place) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise place.refusal(f"{shown(data)} is not a list of groups", "write for example [web]")
    return tuple(sorted(set(data)))


def _acl_name(data: object, place: Place) -> str:
    if not isinstance(data, str) or not data:
        raise place.refusal(f"{shown(data)} is not a network ACL's name", "write for example web")
    return data


def _addresses(data: object, place: Place) -> tuple[IPv4Address, ...]:
    if not isinstance(data, list):
        return (_address(data, place),)
    return tuple(_address(one, place.at(number)) for number, one in enumerate(data))


def _address(data: object, place: Place) -> IPv4Address:
    try:
        if isinstance(data, str):
            return IPv4Address(data)
    except AddressValueError:
        pass
    raise place.refusal(f"{shown(data)} is not an IPv4 address", "write for example 10.0.1.10")


def check_machines(machines: tuple[Machine, ...], place: Place, subnet: Reading) -> None:
    """Refuse the first address that no machine there can have, or that one before it has."""
    own = () if subnet.found.get("bare") else (addressing.instance(subnet.found["cidr"]),)
    taken = dict.fromkeys(own, addressing.owner(""))
    for machine in machines:
        check_attached(machine, place.named(machine.name))
        here = place.named(machine.name).at("address")
        # A file has IPv4 addresses only.
        for address in (one for one in machine.addresses if isinstance(one, IPv4Address)):
            told(here, partial(addressing.check_address, address, subnet.found["cidr"],
                               subnet.outside("cidr"), taken))
            taken[address] = addressing.owner(machine.name)


def _flag(data: object, place: Place) -> bool:
    if not isinstance(data, bool):
        raise place.refusal(f"{shown(data)} is neither true nor false", "write true or false")
    return data


def _no_overlap(data: object, place: Place) -> bool:
    """Whether the host may have a route to the VPC: not where the VPC may overlap one."""
    return not _flag(data, place)


def _bare(data: object, place: Place, subnet: Reading) -> bool:
    bare = _flag(data, place)
    if bare and subnet.found.get("workloads"):
        raise place.refusal("a bare subnet has no machine of its own, which could run workloads",
                            "give them to one of its instances")
    if bare and subnet.found.get("groups"):
        raise place.refusal("a bare subnet has no machine of its own, which could be in groups",
                            "give them to its instances")
    if bare and subnet.found.get("publish"):
        raise place.refusal("a bare subnet has no machine of its own, to which ports could lead",
                            "give them to one of its instances")
    return bare


def _type(data: object, place: Place) -> SubnetType:
    kinds = [kind.value for kind in SubnetType]
    if data not in kinds:
        raise place.refusal(f"{shown(data)} is not a type of subnet", f"use one of: {', '.join(kinds)}")
    return SubnetType(data)


def _uplink(data: object, place: Place) -> tuple[str, bool]:
    """The interface, empty for the way out, and whether it follows that."""
    if not isinstance(data, str) or not data:
        raise place.refusal(f"{shown(data)} is not an interface", "write for example eth0")
    return ("", True) if data == AUTO else (data, False)


def or_flag(kind: Kind) -> Value:
    """NAT of that kind, or true for the way out and false for none."""
    def read_nat(data: object, place: Place, here: Reading) -> Any:
        if isinstance(data, bool):
            return Nat("") if data else None
        return read(kind, data, place, here)

    schema = {"anyOf": [{"type": "boolean"}, reference(kind)]}
    return Value(read_nat, lambda nat: write(kind, nat), schema, (kind,))


def or_path(kind: Kind) -> Value:
    """A policy of that kind, or the path of its file."""
    def read_policy(data: object, place: Place, here: Reading) -> Any:
        if isinstance(data, str):
            return from_path(kind)(data, place, here, "")
        return read(kind, data, place, here)

    return Value(read_policy, lambda policy: write(kind, policy), or_a_path(kind), (kind,))


def from_path(kind: Kind) -> ByPath:
    """A thing of that kind in a file of its own."""
    def read_file(path: str, place: Place, here: Reading, name: str) -> Any:
        if not path:
            raise place.refusal('"" is not a path', "name a policy's file, or write the policy here")
        return told(place, lambda: _load(kind, here.folder / path, here, name))

    return read_file


def _load(kind: Kind, path: Path, here: Reading, name: str) -> Any:
    """The policy in a file that this one names; an error shows nothing of it.

    The author of the name may not be allowed to read the file.
    """
    try:
        document = documents.read(path)
        return read(kind, document.data, document.top, here, name)
    except VpcctlError as error:
        raise error.withholding() from None


def _peerings(data: object, place: Place) -> tuple[Peering, ...]:
    if not isinstance(data, list):
        raise place.refusal(f"{shown(data)} is not a list of peerings", "write - [vpc1, vpc2]")
    return tuple(_pair(pair, place.at(number)) for number, pair in enumerate(data))


def _pair(data: object, place: Place) -> Peering:
    if not isinstance(data, list) or len(data) != 2 or not all(isinstance(name, str) for name in data):
        raise place.refusal(f"{shown(data)} is not a pair of VPCs", "write [vpc1, vpc2]")
    return Peering.between(*data)


def _webserver(data: object, place: Place, here: Reading) -> int:
    if not isinstance(data, int) or isinstance(data, bool) or not 1 <= data <= LAST_PORT:
        raise place.refusal(f"{shown(data)} is not a port", f"write a number from 1 to {LAST_PORT}")
    if here.name != f"webserver-{data}":
        raise here.place.refusal(f"a web server's name is webserver-PORT, not {quoted(here.name)}",
                                 f"call it webserver-{data}")
    return data


def _program(data: object, place: Place) -> tuple[str, ...]:
    if not isinstance(data, list) or not data:
        raise place.refusal(f"{shown(data)} is not a command", "write a list of words: [sleep, infinity]")
    return tuple(_word(word, place.at(number)) for number, word in enumerate(data))


def _word(data: object, place: Place) -> str:
    """A word of a command; a whole number needs no quotes, because it is read as written."""
    if isinstance(data, str) and "\0" in data:
        raise place.refusal(f"{shown(data)} contains a NUL", "leave it out: an argument can't contain one")
    if isinstance(data, str) or type(data) is int:
        return str(data)
    if isinstance(data, (list, Mapping)):
        raise place.refusal(f"{shown(data)} is not a word", "write all words in one list: [sleep, infinity]")
    # The original form of a fraction is lost: 1e3 has become 1000.0.
    in_quotes = "" if isinstance(data, float) else f': "{shown(data)}"'
    raise place.refusal(f"{shown(data)} is not a word", f"write it in quotes{in_quotes}")


def _user(data: object, place: Place) -> str:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not a user's name", "write for example postgres")
    told(place, lambda: check_user(data))
    return data


def _processes(data: object, place: Place) -> int:
    if type(data) is int and 1 <= data <= MOST_PROCESSES:
        return data
    raise place.refusal(f"{shown(data)} is not a number of processes",
                        f"write a number from 1 to {MOST_PROCESSES}")


def _memory(data: object, place: Place) -> int:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not an amount of memory", "write for example 64M")
    return told(place, lambda: parse_bytes(data))


def _log_size(data: object, place: Place) -> int:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not the size of a log", "write for example 10M")
    return told(place, lambda: parse_log_size(data))


def _environment(data: object, place: Place) -> tuple[str, ...]:
    if not isinstance(data, Mapping):
        raise place.refusal(f"{shown(data)} is not variables by name", "write {PORT: 8080}")
    found = {str(name): _variable(value, place.named(str(name))) for name, value in data.items()}
    for name, value in found.items():
        told(place.named(name), partial(upkeep.check_variable, name, value))
    return upkeep.environment(found)


def _variable(data: object, place: Place) -> str:
    """Text; a whole number needs no quotes, because it is read as written."""
    if isinstance(data, str) or type(data) is int:
        return str(data)
    raise place.refusal(f"{shown(data)} is not text", "write it in quotes")


def _text(example: str, parse: Callable[[str], str]) -> Callable[[object, Place], str]:
    def read(data: object, place: Place) -> str:
        text = str(data) if type(data) is int else data
        if not isinstance(text, str) or not text:
            raise place.refusal(f"{shown(text)} is not valid here", f"write for example {example}")
        return told(place, lambda: parse(text))

    return read


def _workdir(path: str) -> str:
    upkeep.check_workdir(path)
    return path


def _timeout(data: object, place: Place) -> int:
    if not isinstance(data, str) and type(data) is not int:
        raise place.refusal(f"{shown(data)} is not a time", "write for example 10s or 2m")
    return told(place, lambda: upkeep.parse_seconds(str(data)))


def _restart(data: object, place: Place) -> Restart:
    kinds = [kind.value for kind in Restart]
    # Other programs write YAML's `no` as false.
    if data is False:
        return Restart.NO
    if data not in kinds:
        raise place.refusal(f"{shown(data)} is not a way to restart", f"use one of: {', '.join(kinds)}")
    return Restart(data)


def _value(choice: Any) -> object:
    return choice.value


_AMOUNT: dict[str, object] = pattern(r"[0-9]{1,12}[KMGTkmgt]?")
_INTERFACE = {"type": "string", "minLength": 1}
_NUMBER_OR_TEXT = {"type": ["string", "integer"]}

VPC_CIDR = Value(_vpc_cidr, str, pattern(rf"\s*{CIDR}\s*"))
VPC_CIDRS = Value(_vpc_cidrs, lambda found: list(map(str, found)),
                  {"type": "array", "items": pattern(rf"\s*{CIDR}\s*"), "uniqueItems": True})
SUBNET_CIDR = Value(_subnet_cidr, str, pattern(rf"\s*{CIDR}\s*"))
ADDRESSES = alone(_addresses, lambda found: str(found[0]) if len(found) == 1 else list(map(str, found)), {
    "anyOf": [pattern(ADDRESS), {"type": "array", "items": pattern(ADDRESS)}]})
GROUPS = alone(_groups, list, {"type": "array", "items": {"$ref": "#/definitions/name"}, "uniqueItems": True})
ACL_NAME = alone(_acl_name, str, {"$ref": "#/definitions/name"})
FLAG = alone(_flag, bool, {"type": "boolean"})
BARE = Value(_bare, bool, {"type": "boolean"})
NO_OVERLAP = alone(_no_overlap, lambda routed: not routed, {"type": "boolean"})
TYPE = alone(_type, _value, {"enum": choices(SubnetType)})
UPLINK = alone(_uplink, lambda interface, follows: AUTO if follows else interface, _INTERFACE)
PEERINGS = alone(
    _peerings, lambda found: [[one.vpc1, one.vpc2] for one in found],
    {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}},
    (Peering,))
WEBSERVER = Value(_webserver, int, {"type": "integer", "minimum": 1, "maximum": LAST_PORT})
PROGRAM = alone(_program, list, {"type": "array", "items": _NUMBER_OR_TEXT, "minItems": 1})
USER = alone(_user, str, {"type": "string"})
PROCESSES = alone(_processes, int, {"type": "integer", "minimum": 1, "maximum": MOST_PROCESSES})
MEMORY = alone(_memory, spelt, _AMOUNT)
LOG_SIZE = alone(_log_size, spelt, _AMOUNT)
ENVIRONMENT = alone(_environment, upkeep.variables, {
    "type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": _NUMBER_OR_TEXT})
WORKDIR = alone(_text("/srv", _workdir), str, {"type": "string", "pattern": "^/"})
SIGNAL = alone(_text("INT", upkeep.parse_signal), str, _NUMBER_OR_TEXT)
TIMEOUT = alone(_timeout, lambda seconds: f"{seconds}s", {"anyOf": [
    pattern(upkeep.TIME.pattern), {"type": "integer", "minimum": 0, "maximum": upkeep.LONGEST_STOP}]})
RESTART = alone(_restart, _value, {"enum": [*choices(Restart), False]})
