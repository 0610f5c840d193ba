"""Things that are ours by their mark or their place, and not in the record.

On the host, our mark tells: rules, chains and files. A router is ours as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from pathlib import Path

from vpcctl_lib.blueprint.host import NAMESPACE_FILES
from vpcctl_lib.kernel.proc import names_of_links
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.saves import Words, words
from vpcctl_lib.model import flowlogs, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.names import FILES
from vpcctl_lib.model.naming import HOST_CHAINS, MARK
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources import Chain, File, Folder, Resource, SingleRule
from vpcctl_lib.resources.base import SharedChain
from vpcctl_lib.resources.host import text_of
from vpcctl_lib.resources.operations import HOST
from vpcctl_lib.resources.rules import is_ours, mark_of

CABLE = "vpc-"
"""How the name of the host's end of each VPC's cable begins."""


def strays(kernel: Kernel, ledger: Iterable[Entry]) -> list[Resource]:
    """All of them, each as the resource that it would be if recorded; those that others need come first."""
    # Imported late: only `status` and `restore` look there.
    from vpcctl_lib.engine.intruders import intruders

    recorded = [entry.resource for entry in ledger]
    keys = {one.key for one in recorded}
    families = _families(recorded)
    return [*(chain for family in families for chain in _chains(kernel, family, keys)),
            *(rule for family in families for rule in _rules(kernel, family, recorded)), *_files(keys),
            *intruders(kernel, recorded)]


def _families(recorded: Iterable[Resource]) -> list[Family]:
    """IPv4's rules, and IPv6's if the record has some: a host without them need not have the tools."""
    known = {Family.INET, *(one.filters for one in recorded)}
    return [family for family in Family if family in known]


def _chains(kernel: Kernel, family: Family, keys: Collection[Hashable]) -> Iterator[Chain]:
    """Our chains in a table where the record has none, each after those that it leads to."""
    held = kernel.chains(HOST, family)
    found = [Chain(HOST, table, name, tuple(held.lines((table, name))), family=family)
             for table, name in held if name in HOST_CHAINS]
    yield from _led_first([one for one in found if one.key not in keys and is_ours(one.rules)])


def _led_first(chains: Sequence[Chain]) -> Iterator[Chain]:
    """Chains in an order in which they can be made; the kernel has none that lead back to themselves."""
    left = list(chains)
    while left:
        names = {(one.table, one.name) for one in left}
        ready = [one for one in left
                 if not any((one.table, name) in names for name in _targets(one.rules))] or left
        yield from ready
        left = [one for one in left if one not in ready]


def _targets(rules: Iterable[str]) -> set[str]:
    return {option[-1] for rule in rules for option in words(rule) if option[0] in ("-j", "-g")}


def _rules(kernel: Kernel, family: Family, recorded: Sequence[Resource]) -> Iterator[SingleRule]:
    """Rules in shared chains: ours only if table, chain and the whole rule are recorded."""
    known: dict[SharedChain, set[Words]] = {}
    for slot in filter(None, (one.slot for one in recorded)):
        known.setdefault(slot.place, set()).add(slot.rule)
    held = kernel.chains(HOST, family)
    for table, name in held:
        if name in HOST_CHAINS:
            continue
        alike = Counter[str]()
        for rule in held.lines((table, name)):
            if _is_ours(rule) and words(rule) not in known.get((family, table, name), ()):
                yield SingleRule(table, name, rule, alike=alike[rule], family=family)
                alike[rule] += 1


def _is_ours(rule: str) -> bool:
    if MARK not in rule and "VPCCTL-" not in rule:
        return False
    leads = any(option[0] in ("-j", "-g") and option[-1] in HOST_CHAINS for option in words(rule))
    return leads or bool(mark_of(rule))


def _files(keys: Collection[Hashable]) -> Iterator[Resource]:
    for path in sorted((*Path(NAMESPACE_FILES).glob("*/resolv.conf"), *Path(FILES).glob("*/hosts"),
                        *Path(flowlogs.folder()).glob("*"))):
        file = File(str(path), text_of(path) or "")
        known = {file.key, ("hosts", file.path)} & set(keys)
        if re.match(rf"# {MARK}", file.content) and not known:
            yield Folder(str(path.parent))
            yield file


def cables(state: State) -> set[str]:
    """The host's ends of the VPCs' cables, as recorded."""
    if state.parts:
        # The topology says the same as a ledger that follows from it, and need not be decoded.
        return {naming.device(CABLE, vpc.name) for vpc in state.topology.vpcs}
    return {device for entry in state.ledger for space, device in entry.resource.places if space == HOST}


def strange_cables(kernel: Kernel, recorded: Collection[str]) -> list[str]:
    """The host's links with our mark that our rules protect and that are not in the record.

    Rewriting the host's chains from the record would remove that protection.
    """
    names = [name for name in names_of_links() if name.startswith(CABLE) and name not in recorded]
    # Most hosts have none that is not recorded, and nothing need be asked.
    found = [name for name in names if is_marked(kernel, HOST, name)]
    if not found:
        return []
    rules = [rule for place, chain in kernel.chains(HOST).items() if place[1] in HOST_CHAINS
             for rule in chain.rules]
    return [name for name in found if any(("-i", name) in rule or ("-o", name) in rule for rule in rules)]


def is_marked(kernel: Kernel, namespace: str, device: str) -> bool:
    """Whether a link bears our mark; its lo stands for a namespace."""
    link = kernel.link(namespace, device)
    return bool(link and link.get("ifalias", "").startswith(MARK))
