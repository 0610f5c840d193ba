"""The kernel compared with the record: what is missing, changed, or marked as ours but not recorded."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from vpcctl_lib.engine.strays import strays
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.resources import Condition, Fault, Place, Resource
from vpcctl_lib.resources.base import unreadable

TAKE_UP = "adopt it: vpcctl restore --from-kernel"


@frozen
class Finding:
    """One thing that is not as recorded."""

    condition: str
    what: str
    detail: str = ""


def inspect(kernel: Kernel, entries: Iterable[Entry]) -> dict[Hashable, Fault]:
    """The faults of these resources, by key."""
    entries = list(entries)
    kernel.look({place for entry in entries for place, _ in (*entry.resource.homes, *entry.resource.places)})
    kernel.look_at_tables([place for entry in entries if (place := entry.resource.ip_table)])
    kernel.look_at_rules({rules for entry in entries if (rules := entry.resource.rules_at)})
    # One thread for all namespaces: settings are read there.
    faults = netns.apart(lambda: [(entry.resource.key, _fault(kernel, entry)) for entry in entries])
    found = {key: fault for key, fault in faults if fault is not None}
    is_whole = all(fault.condition is not Condition.GONE for fault in found.values())
    return found if is_whole else _with_gone(entries, found)


def _with_gone(entries: Iterable[Entry], faults: dict[Hashable, Fault]) -> dict[Hashable, Fault]:
    """The faults, where what is in a gone namespace, or on a cable to one, has no other fault than that."""
    away: dict[Place, Fault] = {}
    found = dict(faults)
    for entry in entries:
        one = entry.resource
        fault = faults.get(one.key)
        if fault is None or fault.condition is not Condition.GONE:
            fault = next((away[place] for place in one.stands_in if place in away), None)
        if fault and one.key in faults:
            found[one.key] = fault
            away.update(dict.fromkeys(one.places, fault))
    return found


def _fault(kernel: Kernel, entry: Entry) -> Fault | None:
    """An unreadable namespace is a fault only of its own resources; an unreadable host concerns all."""
    try:
        return entry.resource.check(kernel, entry.found)
    except Unreadable as error:
        if not error.namespace:
            raise
        return unreadable(error)


def owners(topology: Topology, ledger: Iterable[Entry]) -> dict[Hashable, str]:
    """For each resource, the machine's namespace whose root can break it; empty for the host and the routers.

    A machine's cable belongs to the machine: deleting one end deletes both.
    """
    spaces = {one.namespace: (one.site.vpc, one.port) for one in endpoints.everywhere(topology)}
    ports = {port: space for space, port in spaces.items()}
    found: dict[Hashable, str] = {}
    for entry in ledger:
        places = entry.resource.homes | entry.resource.places
        mine = (ports.get(place) or (place[0] if place[0] in spaces else "") for place in places)
        found[entry.resource.key] = next(filter(None, mine), "")
    return found


def findings(kernel: Kernel, ledger: Sequence[Entry], wanted: Sequence[Resource],
             faults: dict[Hashable, Fault]) -> list[Finding]:
    """All differences that `status` reports, in the order of the ledger; empty when in sync.

    `faults` is what `inspect` found for the ledger.
    """
    owned = {entry.resource.key for entry in ledger}
    return [*_recorded(ledger, faults),
            *(Finding("missing", str(resource), "not recorded as made") for resource in wanted
              if resource.key not in owned),
            *unrecorded(kernel, ledger)]


def _recorded(ledger: Sequence[Entry], faults: dict[Hashable, Fault]) -> Iterator[Finding]:
    told: set[Fault] = set()
    for entry in ledger:
        fault = faults.get(entry.resource.key)
        if fault and fault.whole and not entry.under_way:
            if fault not in told:
                yield Finding(fault.condition.value, fault.whole, fault.detail)
            told.add(fault)
        elif entry.under_way:
            state = fault.condition.value if fault else "there"
            detail = f"an interrupted command was to {entry.under_way.value} it; it is {state}"
            yield Finding("half-made", str(entry.resource), detail)
        elif fault:
            yield Finding(fault.condition.value, str(entry.resource), fault.detail)


def unrecorded(kernel: Kernel, ledger: Sequence[Entry]) -> Iterator[Finding]:
    """What bears our mark and is not in the record."""
    yield from kept_apart(kernel, ledger)
    for what, why in filter(None, (stray.unrecorded() for stray in strays(kernel, ledger))):
        detail = "it is not in the record: vpcctl restore removes it"
        yield Finding("unrecorded", what, f"{why}: {detail}" if why else detail)


def kept_apart(kernel: Kernel, ledger: Sequence[Entry]) -> Iterator[Finding]:
    """Namespaces and links that bear our mark and are not recorded; programs may run in them.

    `restore` removes none of them: they may be all that is left of a VPC.
    """
    ours = {entry.resource.space for entry in ledger}
    guests = {entry.resource.guest for entry in ledger}
    places = {place for entry in ledger for place in entry.resource.places}
    kernel.look(kernel.namespaces)
    for namespace in sorted(kernel.namespaces - ours - guests):
        if any(link["ifname"] == "lo" and _is_marked(link) for link in _readable(kernel, namespace)):
            yield Finding("unrecorded", f"namespace {namespace}",
                          f"it bears vpcctl's mark; {TAKE_UP}, or remove it: ip netns del {namespace}")
    for namespace in ("", *sorted(ours & kernel.namespaces)):
        where = f"in {namespace}" if namespace else "on the host"
        for link in _readable(kernel, namespace):
            if (namespace, link["ifname"]) not in places and link["ifname"] != "lo" and _is_marked(link):
                away = f"ip {f'-n {namespace} ' if namespace else ''}link del {link['ifname']}"
                yield Finding("unrecorded", f"link {link['ifname']} {where}",
                              f"{link['ifalias']}; {TAKE_UP}, or remove it: {away}")


def _readable(kernel: Kernel, namespace: str) -> list[dict[str, Any]]:
    """The links of a namespace; none if it can't be read, which the faults of its resources report."""
    try:
        return kernel.links(namespace)
    except Unreadable:
        if not namespace:
            raise
        return []


def _is_marked(link: dict[str, Any]) -> bool:
    return bool(link.get("ifalias", "").startswith(MARK))
