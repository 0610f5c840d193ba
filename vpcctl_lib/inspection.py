"""The kernel held against the record: what is missing, what is changed, what bears our mark unrecorded."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vpcctl_lib.blueprint import NAMESPACE_FILES
from vpcctl_lib.kernel import Kernel
from vpcctl_lib.naming import HOST_CHAINS, MARK
from vpcctl_lib.resources import Fault, Namespace, Resource
from vpcctl_lib.resources.host import text_of
from vpcctl_lib.state import Entry


@dataclass(frozen=True)
class Finding:
    """One thing that is not as recorded."""

    condition: str
    what: str
    detail: str = ""


def inspect(kernel: Kernel, entries: Iterable[Entry]) -> dict[Hashable, Fault]:
    """The faults of these resources, by key."""
    entries = list(entries)
    kernel.look({place for entry in entries for place, _ in (*entry.resource.homes, *entry.resource.places)})
    faults = ((entry.resource.key, entry.resource.check(kernel, entry.found)) for entry in entries)
    return {key: fault for key, fault in faults if fault is not None}


def findings(kernel: Kernel, ledger: Sequence[Entry], wanted: Sequence[Resource]) -> list[Finding]:
    """All that `status` tells, in the order of the ledger; empty when in sync."""
    faults = inspect(kernel, ledger)
    owned = {entry.resource.key for entry in ledger}
    return [*_recorded(ledger, faults),
            *(Finding("missing", str(resource), "not recorded as made") for resource in wanted
              if resource.key not in owned),
            *unrecorded(kernel, ledger)]


def _recorded(ledger: Sequence[Entry], faults: dict[Hashable, Fault]) -> Iterator[Finding]:
    for entry in ledger:
        fault = faults.get(entry.resource.key)
        if entry.under_way:
            state = fault.condition.value if fault else "there"
            detail = f"a command that was to {entry.under_way.value} it was cut short; it is {state}"
            yield Finding("half-made", str(entry.resource), detail)
        elif fault:
            yield Finding(fault.condition.value, str(entry.resource), fault.detail)


def unrecorded(kernel: Kernel, ledger: Sequence[Entry]) -> Iterator[Finding]:
    """What bears our mark though the record does not know it."""
    ours = {entry.resource.name for entry in ledger if isinstance(entry.resource, Namespace)}
    places = {place for entry in ledger for place in entry.resource.homes | entry.resource.places}
    kernel.look(kernel.namespaces)
    for namespace in sorted(kernel.namespaces - ours):
        if _mark(kernel, namespace, "lo"):
            yield Finding("unrecorded", f"namespace {namespace}", "it bears vpcctl's mark")
    for namespace in ("", *sorted(ours & kernel.namespaces)):
        where = f"in {namespace}" if namespace else "on the host"
        for link in kernel.links(namespace):
            if (namespace, link["ifname"]) not in places and link["ifname"] != "lo" \
                    and link.get("ifalias", "").startswith(MARK):
                yield Finding("unrecorded", f"link {link['ifname']} {where}", link["ifalias"])
    yield from _rules(kernel, ledger)
    yield from _files(ledger)


def _mark(kernel: Kernel, namespace: str, device: str) -> bool:
    link = kernel.link(namespace, device)
    return link is not None and bool(link.get("ifalias", "").startswith(MARK))


def _rules(kernel: Kernel, ledger: Sequence[Entry]) -> Iterator[Finding]:
    """Marked rules of the host's built-in chains, and chains of our names."""
    recorded = {str(entry.resource) for entry in ledger}
    names = {entry.resource.key for entry in ledger}
    for (table, name), chain in kernel.chains("").items():
        if name in HOST_CHAINS:
            if ("chain", "", table, name) not in names:
                yield Finding("unrecorded", f"chain {name} of table {table} on the host")
            continue
        for rule in chain.rules:
            marks = [option[1] for option in rule if option[0] == "--comment" and option[1].startswith(MARK)]
            known = any(mark in text and f"rule {name} " in text for mark in marks for text in recorded)
            if marks and not known:
                yield Finding("unrecorded", f"rule of {name}, table {table} on the host", marks[0])


def _files(ledger: Sequence[Entry]) -> Iterator[Finding]:
    recorded = {str(entry.resource) for entry in ledger}
    for path in sorted(Path(NAMESPACE_FILES).glob("*/resolv.conf")):
        first = (text_of(path) or "").partition("\n")[0]
        if re.match(rf"# {MARK}", first) and f"file {path}" not in recorded:
            yield Finding("unrecorded", f"file {path}", first)
