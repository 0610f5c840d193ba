"""The DNS of a VPC whose record is lost: from its server's command, which only root of the host can give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vpcctl_lib.engine.keepers import keepers
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import names, naming, resolving
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.names import Addresses, Dhcp, Dns, Record
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources.host import text_of

LOCAL, CNAME = "--local=/", "--cname="
RANGE, NTP = "--dhcp-range=", "--dhcp-option=option:ntp-server,"


def dns(kernel: Kernel, vpc: Vpc, _: Names, notes: list[str]) -> Iterator[Dns]:
    """The DNS of a VPC, if its server runs; its records, as far as its files have them."""
    try:
        found = {mark: given.program for mark, (_, given) in keepers(kernel, vpc.name).items()}
    except Unreadable:
        return
    command = found.get(f"{vpc.name}/dns", ())
    if not command and text_of(Path(names.folder(vpc.name), "hosts")) is None:
        return
    try:
        yield _dns(vpc, command, found.get(f"{vpc.name}/relay", ()))
    except (VpcctlError, StopIteration):
        notes.append(f"the DNS of VPC '{vpc.name}' can't be rebuilt, since its server does not run as vpcctl "
                     f"starts it: vpcctl dns enable --vpc {vpc.name}")


def _dns(vpc: Vpc, command: tuple[str, ...], relay: tuple[str, ...]) -> Dns:
    told = next(word.removeprefix(LOCAL).strip("/") for word in command if word.startswith(LOCAL))
    domain = names.parse_domain(told)
    chosen = "" if domain == names.domain(vpc.name, Dns()) else domain
    found = Dns(chosen, _servers(relay))
    taken = {name for name, _, _ in resolving.machines(vpc)}
    records = (*_addressed(vpc, domain, taken), *_aliases(command, domain))
    names.check_records(records, taken)
    return Dns(found.domain, found.forward, records)


def dhcp(kernel: Kernel, vpc: Vpc, _: Names, notes: list[str]) -> Iterator[Dhcp]:
    """The DHCP of a VPC, if its server runs, and does that."""
    try:
        given = keepers(kernel, vpc.name).get(f"{vpc.name}/dns")
    except Unreadable:
        return
    words = given[1].program if given else ()
    ranges = [word.rpartition(",")[2] for word in words if word.startswith(RANGE)]
    told = next((word.removeprefix(NTP) for word in words if word.startswith(NTP)), "")
    try:
        if ranges and vpc.dns:
            seconds = names.parse_lease(f"{ranges[0]}s")
            ntp = tuple(map(parse_address, told.split(","))) if told else ()
            yield Dhcp(ntp, None if seconds == names.LEASE else seconds)
    except VpcctlError:
        notes.append(f"the DHCP of VPC '{vpc.name}' can't be rebuilt: vpcctl dhcp enable --vpc {vpc.name}")


def _servers(relay: tuple[str, ...]) -> Addresses:
    """What comes after the program's text and its port."""
    place = relay.index("-c") + 3 if "-c" in relay else len(relay)
    return tuple(map(names.parse_address, relay[place:]))


def _addressed(vpc: Vpc, domain: str, taken: set[str]) -> list[Record]:
    """The names in its file that are no machine's."""
    text = text_of(Path(names.folder(vpc.name), "hosts")) or ""
    if not text.startswith(f"# {naming.owner(vpc.name)}\n"):
        return []
    found: dict[str, Record] = {}
    for words in map(str.split, text.splitlines()[1:]):
        if len(words) == 2 and (name := names.parse_name(words[1], domain)) not in taken:
            before = found.get(name, Record(name))
            found[name] = Record(name, (*before.addresses, names.parse_address(words[0])))
    return [*found.values()]


def _aliases(command: tuple[str, ...], domain: str) -> list[Record]:
    pairs = (word.removeprefix(CNAME).partition(",") for word in command if word.startswith(CNAME))
    return [Record(names.parse_name(name, domain), cname=names.parse_name(target, domain))
            for name, _, target in pairs]
