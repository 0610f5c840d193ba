"""What else on the host forwards packets, and so needs its `ip_forward`; pure except `look`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from functools import partial
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import saves, variants
from vpcctl_lib.kernel.crew import together
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.ruleset import OF_IPTABLES, Chain, Ruleset
from vpcctl_lib.kernel.run import Runner, has
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.model.topology import Variant

CABLES = frozenset({"veth", "tun", "wireguard", "vxlan", "geneve", "gre", "ipip"})
"""Kinds of links that lead to containers, virtual machines and other sites (ip-link(8))."""

DEFAULTS = frozenset({"default", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"})
"""A link with such a route is the host's own way out, such as a VPN, and nothing is behind it."""

TRANSLATING = frozenset({"MASQUERADE", "SNAT", "DNAT", "NETMAP"})
KINDS = frozenset({"masquerade", "snat", "dnat"})
_TARGET = re.compile(r" -[jg] (\S+)")
_ANSWERS = re.compile(r" -p icmp\b| --(ct)?state (RELATED|ESTABLISHED)(,(RELATED|ESTABLISHED))* ")
_OURS = re.compile(rf'--comment "?{MARK}| VPCCTL-')
_ODD = re.compile(rb"[^A-Za-z0-9 _./:,!=+@-]")


@frozen
class Seen:
    """What was read from the host: links and routes from `ip -j`, rules from iptables-save and nft."""

    links: tuple[Mapping[str, Any], ...] = ()
    routes: tuple[Mapping[str, Any], ...] = ()
    saved: tuple[str, ...] = ()
    tables: Ruleset = ()
    unread: tuple[str, ...] = field(default=())
    """What could not be read, which may need forwarding."""

    blind: bool = False
    """Whether iptables has its rules in nft's tables, and could not be read."""


def look(runner: Runner, must: bool = False) -> Seen:
    """Read all of it. VpcctlError if that fails, except for nft, which a kernel may not have.

    Rules of iptables that can't be read count as none, so that a delete still works, unless they must be
    read.
    """
    kernel = Kernel(runner)
    near = partial(kernel.read, "", Reading.LINKS, Reading.ROUTES)
    saved = (partial(variants.rules, runner, variant, must) for variant in Variant)
    (links, routes), (tables, unread), *rules = together(near, partial(_listed, kernel), *saved)
    blind = not any(rules) and variants.standard(runner) is Variant.NFT
    return Seen(tuple(filter(None, links)), tuple(routes), tuple(rules), tables, unread, blind)


def _listed(kernel: Kernel) -> tuple[Ruleset, tuple[str, ...]]:
    """What nft lists, and what it can't."""
    try:
        return (kernel.ruleset() if has("nft") else ()), ()
    except VpcctlError as error:
        return (), (f"what can't be read ({error.message})",)


def forwarders(seen: Seen) -> tuple[str, ...]:
    """Everything of others that needs forwarding, in the words of cleanup.sh."""
    found = (*_bridges(seen), *_cables(seen), *_rules(seen.saved), *_tables(seen), *seen.unread)
    return tuple(dict.fromkeys(map(_plain, found)))


def newcomers(seen: Seen, before: Collection[str]) -> tuple[str, ...]:
    """Those that were not there before: what worked without forwarding can continue without it.

    VpcctlError if something can't be read that could be read before.
    """
    lost = [one for one in map(_plain, seen.unread) if one not in before]
    if lost:
        raise VpcctlError(f"unknown whether others need the host's forwarding: {'; '.join(lost)}")
    return tuple(one for one in forwarders(seen) if one not in before)


def told(found: Collection[str]) -> str:
    """Two of them, and the number of others."""
    first, more = list(found)[:2], len(found) - 2
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def stays(key: str, ours: str, old: str, others: Collection[str]) -> str:
    """Why a setting is not put back, in one line, and how to do it anyway."""
    return (f"{key} stays {ours}, since others may need it: {told(others)}; "
            f"if none does, run: sysctl -w {key}={old}")


def written(found: Iterable[str]) -> str:
    """One text for the record, with each item between bars."""
    return "|".join(("", *found, ""))


def read(text: str) -> frozenset[str]:
    """The items in the text that `written` returned."""
    return frozenset(filter(None, text.split("|")))


def _plain(text: str) -> str:
    """Without characters that are special in JSON, in a shell or on a terminal."""
    return _ODD.sub(b"?", text.encode()).decode()


def _is_ours(link: Mapping[str, Any]) -> bool:
    return str(link.get("ifalias", "")).startswith(MARK)


def _kind(link: Mapping[str, Any]) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


def _bridges(seen: Seen) -> Iterator[str]:
    """Those with a port."""
    used = {link["master"] for link in seen.links if "master" in link and not _is_ours(link)}
    yield from (f"bridge {link['ifname']}" for link in seen.links
                if _kind(link) == "bridge" and link["ifname"] in used and not _is_ours(link))


def _cables(seen: Seen) -> Iterator[str]:
    """Those with a route to something behind them."""
    behind: dict[str, set[str]] = {}
    for route in seen.routes:
        if "dev" in route and route.get("type", "unicast") == "unicast":
            behind.setdefault(route["dev"], set()).add(route["dst"])
    yield from (f"link {link['ifname']}" for link in seen.links
                if _kind(link) in CABLES and "master" not in link and not _is_ours(link)
                and (ways := behind.get(link["ifname"])) and not ways & DEFAULTS)


def _rules(saved: Iterable[str]) -> Iterator[str]:
    """Rules that translate, and rules that accept in FORWARD or in a chain that it leads to."""
    for text in saved:
        for table, rules in _by_table(text).items():
            if table == "nat":
                found = [rule for rule in rules if _target(rule) in TRANSLATING and _chain(rule) != "OUTPUT"]
            elif table == "filter":
                reached = _reached(rules)
                found = [rule for rule in rules if _target(rule) == "ACCEPT" and _chain(rule) in reached
                         and not _ANSWERS.search(f"{rule} ")]
            else:
                found = []
            yield from (f"rule {rule} of table {table}" for rule in found)


def _by_table(text: str) -> dict[str, list[str]]:
    """The rules of others, without `-A`, by table."""
    lines = {table: [f"{name} {rule}".strip() for name, chain in chains.items() for rule in chain.rules]
             for table, chains in saves.tables(text).items()}
    return {table: [line for line in found if not _OURS.search(f" {line}")]
            for table, found in lines.items()}


def _chain(rule: str) -> str:
    return rule.split(" ", 1)[0]


def _target(rule: str) -> str:
    """The last match, because a comment may contain something that looks like one."""
    return next(reversed(_TARGET.findall(rule)), "")


def _reached(rules: Collection[str]) -> frozenset[str]:
    """The chains that forwarded packets may reach."""
    leads: dict[str, set[str]] = {}
    for rule in rules:
        leads.setdefault(_chain(rule), set()).add(_target(rule))
    reached, ahead = {"FORWARD"}, ["FORWARD"]
    while ahead:
        fresh = leads.get(ahead.pop(), set()) - reached
        reached |= fresh
        ahead += fresh
    return frozenset(reached)


def _tables(seen: Seen) -> Iterator[str]:
    """The tables of nft that translate, or accept forwarded packets."""
    known = {("ip", name) for name in OF_IPTABLES} if seen.blind or any(seen.saved) else set()
    yield from (f"nft table {table.family} {table.name}" for table in seen.tables
                if table.family in ("ip", "inet") and (table.family, table.name) not in known
                and any(_passes_on(chain) for chain in table.chains.values()))


def _passes_on(chain: Chain) -> bool:
    """Whether it translates or, at the hook forward, may accept more than answers."""
    for rule in chain.rules:
        words = frozenset(_keys(rule.statements))
        answers = "established" in words or "icmp" in words
        if words & KINDS or (chain.hook == "forward" and not answers
                             and words & {"accept", "jump", "goto", "vmap"}):
            return True
    return False


def _keys(part: Any) -> Iterator[str]:
    """All words in it: the keys and values of the JSON."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield key
            yield from _keys(value)
    elif isinstance(part, (list, tuple)):
        for one in part:
            yield from _keys(one)
    elif isinstance(part, str):
        yield part
