"""Transactions on a kernel that is only simulated: every plan comes out right, and every failure is undone.

The simulation knows what `ip`, `bridge`, `nft`, `iptables-restore` and `sysctl` do with the few words that
plans use, and refuses what the kernel would refuse: a second of the same name, a thing in a namespace that is
not there.
"""

from __future__ import annotations

import copy
import os
import random
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dear import DEAR
from tests.topologies import topologies
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine import inspection, rule_order, transaction
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.transaction import Transaction
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.interrupts import Interrupted, Interrupts
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.kernel.saves import HeldChain, words
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Policy
from vpcctl_lib.model.topology import OWN, Machine, Subnet, Topology, Vpc
from vpcctl_lib.record import store as store_module
from vpcctl_lib.record.ledger import Entry, State, Verb
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import (
    MISSING,
    Bridge,
    Chain,
    Fault,
    File,
    Folder,
    Forwarding,
    Guard,
    Marking,
    Namespace,
    Neighbour,
    Port,
    Program,
    Resource,
    Roster,
    Settings,
    SingleRule,
    Station,
    Steering,
    Switching,
    Tap,
    Veth,
    leaving,
)
from vpcctl_lib.resources.announced import Announced, Answer
from vpcctl_lib.resources.attached import Adopt, Attached
from vpcctl_lib.resources.copying import Copying
from vpcctl_lib.resources.forwarding6 import EVERYWHERE, Forwarding6
from vpcctl_lib.resources.hooks import Hooks
from vpcctl_lib.resources.hosts import Hosts
from vpcctl_lib.resources.ifb import Ifb
from vpcctl_lib.resources.ipv6 import Ipv6
from vpcctl_lib.resources.localnet import Localnet
from vpcctl_lib.resources.loop import Loop
from vpcctl_lib.resources.neighbours import SWITCHING, Enter
from vpcctl_lib.resources.operations import BUILTIN, Ip, Ip6, Make, Remove, Set
from vpcctl_lib.resources.passing import Passing
from vpcctl_lib.resources.processes import EmptyNamespaces, Start, Stop
from vpcctl_lib.resources.putback import PutBack
from vpcctl_lib.resources.rate import Rate
from vpcctl_lib.resources.redirect import Redirect
from vpcctl_lib.resources.traffic import Tc
from vpcctl_lib.resources.vxlan import Vxlan
from vpcctl_lib.resources.whole6 import SendOn, Whole6

RESTORES = {f"{family.tool}-restore": family for family in Family}
EMPTY = Topology()
BUSY = "RTNETLINK answers: Device or resource busy"
Place = tuple[str, ...]
Table = tuple[str, dict[str, set[str]], dict[str, list[str]]]
SCRIPT = re.compile(r"table (?P<gone>\w+ \S+)\ndelete table (?P=gone)\n"
                    r"|table (?P<made>\w+ \S+) \{\n.*?\n\}\n"
                    r"|(?P<verb>add|delete) element (?P<table>\w+ \S+) (?P<set>\S+) \{ (?P<held>.*?) \}\n"
                    r"|(?P<change>flush chain|delete chain|add chain|add rule) "
                    r"(?P<within>\w+ \S+) (?P<chain>\S+)(?: (?P<rule>[^\n]+))?\n",
                    re.DOTALL)
"""The parts of a script for nft."""

ELEMENTS = r"\t\telements = \{\n(.*?)\n\t\t\}\n"
CHAIN = r"\tchain (\S+) \{\n(.*?)\t\}\n"


class Refused(Exception):
    """What a tool says when it does not do its work."""


def taken_apart(table: str) -> Table:
    """A table of nft: all but the elements and the rules, the elements by set, and the rules by chain."""
    sets: dict[str, set[str]] = {}
    for name, body in re.findall(r"\t(?:set|map) (\S+) \{\n(.*?\n)\t\}\n", table, re.DOTALL):
        held = "".join(re.findall(ELEMENTS, body, re.DOTALL)).split(",\n")
        sets[name] = {element.strip() for element in held} - {""}
    chains = {name: body.splitlines() for name, body in re.findall(CHAIN, table, re.DOTALL)}
    rest = re.sub(CHAIN, "", re.sub(ELEMENTS, "", table, flags=re.DOTALL), flags=re.DOTALL)
    return rest, sets, chains


def change_chain(table: Table, part: re.Match[str]) -> None:
    """A chain goes only when it is empty and nothing leads to it."""
    _, sets, chains = table
    name, change = part["chain"], part["change"]
    need(change == "add chain" or name in chains, "No such file or directory")
    if change == "add chain":
        chains.setdefault(name, [])
    elif change == "add rule":
        chains[name].append(f"\t\t{part['rule']}")
    elif change == "flush chain":
        chains[name].clear()
    else:
        ways = [one for held in (*sets.values(), *chains.values()) for one in held]
        leads = re.compile(rf"(jump|goto) {re.escape(name)}( |$)")
        need(not chains[name] and not any(map(leads.search, ways)), "Device or resource busy")
        del chains[name]


@dataclass
class Simulation:
    """What a kernel, its files and its processes hold; the operation number `fail_at` fails, once."""

    settings: Path
    namespaces: set[str] = field(default_factory=lambda: {""})
    adopted: set[str] = field(default_factory=set)
    """Names for namespaces of others, which lose only the name."""
    links: dict[Place, dict[str, Any]] = field(default_factory=lambda: {
        ("", "eth0"): {}, ("", "wg0"): {}})
    dual: set[Place] = field(default_factory=set)
    """Links with IPv6."""
    lines: set[tuple[Place, Place]] = field(default_factory=set)
    """Addresses and routes, each with its link."""
    pinned: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    """Neighbours by namespace, "neigh", link and address; MACs by namespace, "fdb", port and address."""
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    """Tables of nft by namespace, and family with name: all but the elements, and the elements by set."""
    queues: dict[Place, str] = field(default_factory=dict)
    """What tc did: by namespace, link and "root" or "clsact"; filters by direction and number behind that."""
    chains: dict[Place, list[str]] = field(default_factory=dict)
    policies: dict[Place, str] = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    forward6: str = "0"
    """Whether the host forwards all of IPv6."""

    fail_at: int = 0
    operations: int = 0
    notes: list[str] = field(default_factory=list)
    evidence: set[Path] = field(default_factory=set)

    def portrait(self) -> dict[str, Any]:
        """All there is."""
        builtin = {place for place in self.chains if place[2] in BUILTIN and not self.chains[place]}
        return copy.deepcopy({
            "namespaces": self.namespaces, "links": self.links, "lines": self.lines, "files": self.files,
            "pinned": self.pinned, "tables": self.tables, "queues": self.queues,
            "chains": {place: rules for place, rules in self.chains.items() if place not in builtin},
            "policies": {place: policy for place, policy in self.policies.items() if policy != "ACCEPT"},
            # The host's own ends keep it until they go.
            "dual": {place for place in self.dual if place[0]},
            "programs": self.programs, "forward": (self.settings / "ip_forward").read_text().strip(),
            "forward6": self.forward6,
        })

    # The runner.

    def ask(self, argv: tuple[str, ...], namespace: str = "", stdin: str = "") -> Outcome:
        """No rule has counted anything."""
        return Outcome(Command(argv, stdin, namespace), 0, "", "", 0.0)

    def change(self, command: Command) -> Outcome:
        """Run a command as its tool would."""
        argv, namespace = list(command.argv), command.namespace
        if argv[0] in ("ip", "bridge", "tc"):
            told = self.ip(namespace, argv[1:], command.stdin)
        elif argv[0] == "nft":
            told = self.nft(namespace, command.stdin)
        elif argv[0] in RESTORES:
            told = self.restore(namespace, command.stdin, RESTORES[argv[0]])
        else:
            assert argv[:4] == ["sysctl", "-q", "-e", "-w"]
            told = self.sysctl(argv[4:])
        return Outcome(command, 1 if told else 0, "", told, 0.0)

    def count(self) -> None:
        self.operations += 1
        if self.operations == self.fail_at:
            raise Refused(BUSY)

    def ip(self, namespace: str, words: list[str], stdin: str) -> str:
        one = " ".join(word for word in words if word != "-6")
        lines = stdin.splitlines() if "-batch" in words else [one]
        if "-6" in words:
            # Only rules don't say of which family they are.
            lines = [re.sub("^rule ", "rule6 ", line) for line in lines]
        return "\n".join(self.told(namespace, lines, "-force" in words))

    def told(self, namespace: str, lines: list[str], force: bool) -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            try:
                self.count()
                need(namespace in self.namespaces, f'Cannot open network namespace "{namespace}"')
                self.do(namespace, line.split())
            except Refused as error:
                yield f"{error}\nCommand failed -:{number}"
                if not force:
                    return

    def do(self, namespace: str, words: list[str]) -> None:
        kind, verb, *rest = words
        if kind == "netns":
            self.netns(verb, rest[0])
        elif kind == "link":
            getattr(self, f"link_{verb}")(namespace, rest)
        elif kind == "tuntap":
            self.link_add(namespace, rest[1:])
        elif kind in ("qdisc", "filter"):
            self.queue(namespace, kind, verb, rest[1], rest[2:])
        elif kind in ("neigh", "fdb"):
            self.pin(namespace, kind, verb, rest)
        elif kind in ("rule", "rule6"):
            self.put(verb, ((namespace, "lo"), (kind, *rest)))
        elif "table" in rest:
            self.way(namespace, verb, rest)
        else:
            place = (namespace, rest[rest.index("dev") + 1])
            need(place in self.links, f'Cannot find device "{place[1]}"')
            if verb == "flush":
                assert rest[-3:] == ["scope", "link", "-nodad"], "none of these has such addresses"
                return
            self.put(verb, (place, (kind, *without_flags(rest))))
            if kind == "addr" and verb == "del":
                self.bare(place)

    def queue(self, namespace: str, kind: str, verb: str, device: str, words: list[str]) -> None:
        """Filters go with the queueing discipline that they hang at, and that with its link."""
        need((namespace, device) in self.links, f'Cannot find device "{device}"')
        place = (namespace, device, words[0])
        if kind == "filter":
            need((namespace, device, "clsact") in self.queues, "Error: Cannot find specified filter chain.")
            place = (namespace, device, "clsact", words[0], words[words.index("pref") + 1])
            held = {words[number + 1] for number, word in enumerate(words) if word == "dev"}
            need(all((namespace, to) in self.links for to in held), "Cannot find device")
        need(verb != "del" or place in self.queues, "Error: Invalid handle.")
        need(verb != "add" or place not in self.queues, "File exists")
        self.queues[place] = " ".join(words)
        if verb == "del":
            self.queues = {at: what for at, what in self.queues.items() if at[:len(place)] != place}

    def bare(self, place: Place) -> None:
        """The last address takes all routes of IPv4 along (fib_disable_ip in net/ipv4/fib_frontend.c)."""
        held = {line for line in self.lines if line[0] == place and ":" not in line[1][1]}
        if place[1] != "lo" and not any(words[0] == "addr" for _, words in held):
            self.lines -= held

    def put(self, verb: str, line: tuple[Place, Place]) -> None:
        need((line in self.lines) == (verb == "del"), "RTNETLINK answers: "
             + ("No such process" if verb == "del" else "File exists"))
        self.lines ^= {line}

    def way(self, namespace: str, verb: str, words: list[str]) -> None:
        """A route of a table: of two to one destination only the metric differs."""
        place = (namespace, words[words.index("dev") + 1] if "dev" in words else "lo")
        need(place in self.links, f'Cannot find device "{place[1]}"')
        key = way_of(words)
        held = {line for line in self.lines if line[0][0] == namespace and line[1][:4] == key}
        if verb == "replace":
            self.lines -= held
        need(verb != "add" or not held, "RTNETLINK answers: File exists")
        self.put("del" if verb == "del" else "add", (place, (*key, *words)))

    def pin(self, namespace: str, kind: str, verb: str, words: list[str]) -> None:
        address, device = words[0], words[words.index("dev") + 1]
        need((namespace, device) in self.links, f'Cannot find device "{device}"')
        need(kind == "neigh" or "master" in self.links[namespace, device], "Operation not supported")
        place = (namespace, kind, device, address)
        if verb == "replace":
            self.pinned[place] = " ".join(words)
        else:
            need(place in self.pinned, "RTNETLINK answers: No such file or directory")
            del self.pinned[place]

    def nft(self, namespace: str, text: str) -> str:
        """Tables that are deleted and made, and changes of elements: all of a script, or none."""
        held = copy.deepcopy(self.tables)
        try:
            self.count()
            need(namespace in self.namespaces, f'Cannot open network namespace "{namespace}"')
            parts = list(SCRIPT.finditer(text))
            assert "".join(part[0] for part in parts) == text, text
            for part in parts:
                self.step(namespace, part)
        except Refused as error:
            self.tables = held
            return str(error)
        return ""

    def step(self, namespace: str, part: re.Match[str]) -> None:
        """One table, one chain, or the elements of one set."""
        if part["gone"]:
            self.tables.pop((namespace, part["gone"]), None)
        elif part["made"]:
            need((namespace, part["made"]) not in self.tables, "File exists")
            self.tables[namespace, part["made"]] = taken_apart(part[0])
        elif part["change"]:
            need((namespace, part["within"]) in self.tables, "No such file or directory")
            change_chain(self.tables[namespace, part["within"]], part)
        else:
            need((namespace, part["table"]) in self.tables, "No such file or directory")
            held = self.tables[namespace, part["table"]][1][part["set"]]
            for element in part["held"].split(", "):
                need(part["verb"] == "add" or element in held, "No such file or directory")
                (held.add if part["verb"] == "add" else held.remove)(element)

    def netns(self, verb: str, name: str) -> None:
        if verb == "add":
            need(name not in self.namespaces, "File exists")
            self.namespaces.add(name)
            self.links[name, "lo"] = {}
            return
        need(name in self.namespaces, "No such file or directory")
        need(name not in self.programs.values(), "a process lives in it")
        self.namespaces.remove(name)
        if name in self.adopted:
            self.adopted.remove(name)
            assert not [place for place in self.links if place[0] == name], "a link of ours stays"
            assert not [chain for chain, rules in self.chains.items() if chain[0] == name
                        and (rules or chain[2] not in BUILTIN)], "rules of ours stay"
        for place in [place for place in self.links if place[0] == name]:
            self.drop(place)
        for held in [place for place in self.tables if place[0] == name]:
            del self.tables[held]
        for table in (self.chains, self.policies):
            for chain in [chain for chain in table if chain[0] == name]:
                del table[chain]

    def drop(self, place: Place) -> None:
        """A link goes with its addresses, its routes and its other end."""
        gone = self.links.pop(place, None)
        self.dual.discard(place)
        self.queues = {at: what for at, what in self.queues.items() if at[:2] != place}
        self.lines = {line for line in self.lines if line[0] != place}
        self.forget(place)
        for at, other in self.links.items():
            if other.get("master") == place[1] and place[1].startswith("br-"):
                for flag in ("master", *SWITCHING):
                    other.pop(flag, None)
                self.forget(at)
        if gone and "peer" in gone:
            self.drop(gone["peer"])

    def forget(self, at: Place) -> None:
        """What is pinned to a link that goes."""
        self.pinned = {place: pinned for place, pinned in self.pinned.items() if (place[0], place[2]) != at}

    def link_add(self, namespace: str, words: list[str]) -> None:
        device = words[0]
        ends = [(namespace, device)]
        if "peer" in words:
            far = words[words.index("netns") + 1] if "netns" in words else namespace
            ends.append((far, words[words.index("name") + 1]))
        for end in ends:
            need(end[0] in self.namespaces, "Invalid netns value")
            need(end not in self.links, "RTNETLINK answers: File exists")
        for end, other in zip(ends, reversed(ends), strict=True):
            self.links[end] = {"peer": other} if len(ends) > 1 else \
                {"mac": words[words.index("address") + 1]} if "address" in words else {}

    def link_del(self, namespace: str, words: list[str]) -> None:
        if words[0] == "group":
            for place in [place for place, link in self.links.items()
                          if place[0] == namespace and link.get("group") == words[1]]:
                self.drop(place)
            return
        need((namespace, words[0]) in self.links, f'Cannot find device "{words[0]}"')
        self.drop((namespace, words[0]))

    def link_set(self, namespace: str, words: list[str]) -> None:
        device, *rest = words
        need((namespace, device) in self.links, f'Cannot find device "{device}"')
        options = [word for word in rest if word != "up"] + (["up", "yes"] if "up" in rest else [])
        found = dict(zip(options[::2], options[1::2], strict=True))
        if found.pop("type", "") == "bridge_slave":
            need("master" in self.links[namespace, device], "Operation not supported")
            held = self.links[namespace, device]
            for flag, value in found.items():
                if (value == "on") == SWITCHING[flag]:
                    held[flag] = value
                else:
                    held.pop(flag, None)
            return
        need("master" not in found or (namespace, found["master"]) in self.links, "Cannot find device")
        if found.get("mtu") == "1500":
            del found["mtu"]
            self.links[namespace, device].pop("mtu", None)
        self.links[namespace, device].update(found)

    def link_property(self, namespace: str, words: list[str]) -> None:
        verb, _, device, _, name = words
        need((namespace, device) in self.links, f'Cannot find device "{device}"')
        names = self.links[namespace, device].setdefault("altnames", set())
        need((name in names) == (verb == "del"), "RTNETLINK answers: "
             + ("No such file or directory" if verb == "del" else "File exists"))
        names ^= {name}

    def sysctl(self, words: list[str]) -> str:
        try:
            for word in words:
                self.count()
                if word.startswith("net.ipv4.ip_forward="):
                    (self.settings / "ip_forward").write_text(word[-1])
        except Refused as error:
            return str(error)
        return ""

    def restore(self, namespace: str, text: str, family: Family) -> str:
        """Table by table: what fails in one changes nothing of it."""
        if namespace not in self.namespaces:
            return "No such file or directory"
        held, table = self.rules(), ""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                self.count()
                if line.startswith("*"):
                    table = line[1:] + family.suffix
                elif line == "COMMIT":
                    held = self.rules()
                else:
                    self.rule((namespace, table), line)
            except Refused as error:
                self.chains, self.policies = held
                return f"{family.tool}-restore: line {number} failed: {error}"
        return ""

    def rules(self) -> tuple[dict[Place, list[str]], dict[Place, str]]:
        """A copy of them, and of the policies of chains."""
        return {place: [*rules] for place, rules in self.chains.items()}, {**self.policies}

    def rule(self, where: Place, line: str) -> None:
        verb, name, rest = re.fullmatch(r"(:|-\w )(\S+) ?(.*)", line).groups()  # type: ignore[union-attr]
        place = (*where, name)
        if name in BUILTIN:
            self.chains.setdefault(place, [])
        there = place in self.chains
        need(verb == ":" or there == (verb != "-N "), "File exists" if there else "No such file or directory")
        if verb == ":" and name in BUILTIN:
            self.policies[place] = rest.split()[0]
        elif verb in (":", "-N ", "-F "):
            self.chains[place] = []
        elif verb == "-X ":
            users = [rule for at, rules in self.chains.items() if at[:2] == where for rule in rules
                     if rule.endswith(f"-j {name}")]
            need(not self.chains[place] and not users, "Device or resource busy")
            del self.chains[place]
        elif verb == "-D ":
            need(rest in self.chains[place], "RULE_DELETE failed (No such file or directory)")
            self.chains[place].remove(rest)
        elif verb == "-I ":
            number, _, rule = rest.partition(" ")
            need(int(number) <= len(self.chains[place]) + 1, "Index of insertion too big")
            self.chains[place].insert(int(number) - 1, rule)
        else:
            self.chains[place].append(rest)

    # The desk.

    def carry_out(self, operation: object) -> Mapping[str, str]:
        """Do what is not a command."""
        self.operations += 1
        if self.operations == self.fail_at:
            raise VpcctlError("/etc/netns: Read-only file system")
        if isinstance(operation, Make):
            self.files.setdefault(str(operation.path), operation.content)
            self.files[str(operation.path)] = operation.content
        elif isinstance(operation, Remove):
            path = str(operation.path)
            if not any(file.startswith(f"{path}/") for file in self.files):
                self.files.pop(path, None)
        elif isinstance(operation, Set):
            if operation.namespace in self.namespaces:
                self.switch_ipv6(operation)
            elif not operation.gone_is_fine:
                raise VpcctlError(f"{operation.namespace}: No such file or directory")
        elif isinstance(operation, Adopt):
            assert operation.namespace not in self.namespaces
            self.namespaces.add(operation.namespace)
            self.adopted.add(operation.namespace)
        elif isinstance(operation, EmptyNamespaces):
            assert not self.adopted.intersection(operation.namespaces)
            self.programs = {mark: where for mark, where in self.programs.items()
                             if where not in operation.namespaces}
        elif isinstance(operation, Start):
            assert operation.mark not in self.programs
            assert operation.namespace in self.namespaces
            self.programs[operation.mark] = operation.namespace
            return {"pid": "7"}
        elif isinstance(operation, Stop):
            self.programs.pop(operation.mark, None)
        elif isinstance(operation, Answer):
            place = ("", "proxy", operation.device, str(operation.address))
            self.pinned.pop(place, "")
            if not operation.gone:
                self.pinned[place] = str(operation)
        elif isinstance(operation, PutBack) and operation.key == EVERYWHERE:
            self.forward6 = operation.old
        elif isinstance(operation, PutBack):
            (self.settings / "ip_forward").write_text(operation.old)
        elif isinstance(operation, SendOn):
            self.forward6 = "1"
        return {}

    def switch_ipv6(self, operation: Set) -> None:
        """Off takes all of IPv6 from a link (addrconf_ifdown in net/ipv6/addrconf.c)."""
        for key, value in operation.values:
            if not key.endswith(".disable_ipv6"):
                continue
            place = (operation.namespace, key.split(".")[3])
            self.dual = self.dual | {place} if value == "0" else self.dual - {place}
            if value == "1":
                self.lines = {line for line in self.lines if line[0][0] != place[0]
                              or ":" not in line[1][1] or place[1] not in ("all", line[0][1])}

    # What the kernel would answer to a look at it.

    def chain(
        self, namespace: str, table: str, name: str, family: Family = Family.INET
    ) -> HeldChain | None:
        """A chain of a table."""
        rules = self.chains.get((namespace, table + family.suffix, name))
        return None if rules is None else HeldChain("", tuple(map(words, rules)))

    def inspect(self, entries: Iterable[Entry]) -> dict[Hashable, Fault]:
        """The faults of these resources, as far as they can be there or not."""
        return {entry.resource.key: MISSING for entry in entries if not self.has(entry.resource)}

    def has(self, resource: Resource) -> bool:
        if isinstance(resource, (Attached, Namespace)):
            return resource.name in self.namespaces
        if isinstance(resource, (Veth, Bridge, Tap)):
            return (resource.namespace, resource.device) in self.links
        if isinstance(resource, Port):
            return "alias" in self.links.get((resource.namespace, resource.device), {})
        if isinstance(resource, Chain):
            place = (resource.namespace, resource.table + resource.family.suffix, resource.name)
            return self.chains.get(place) == list(resource.rules)
        if isinstance(resource, SingleRule):
            place = (resource.namespace, resource.table + resource.family.suffix, resource.chain)
            return resource.rule in self.chains.get(place, [])
        if isinstance(resource, (File, Folder, Hosts)):
            return resource.path in self.files
        if isinstance(resource, Program):
            return resource.mark in self.programs
        if isinstance(resource, Forwarding):
            return (self.settings / "ip_forward").read_text().strip() == "1"
        if isinstance(resource, Settings):
            return (resource.namespace, resource.device or "lo") in self.links
        if isinstance(resource, (Guard, Marking, Passing, Roster, Steering)):
            text = resource.text()
            name = " ".join(text.split()[1:3])
            return self.tables.get((resource.namespace, name)) == taken_apart(text)
        if isinstance(resource, Switching):
            return "learning" in self.links.get((resource.namespace, resource.device), {})
        if isinstance(resource, Station):
            return (resource.namespace, "fdb", resource.device, resource.mac) in self.pinned
        if isinstance(resource, Neighbour):
            held = self.pinned.get((resource.namespace, "neigh", resource.device, str(resource.address)), "")
            return resource.mac in held
        if isinstance(resource, Announced):
            return ("", "proxy", resource.device, str(resource.address)) in self.pinned
        if isinstance(resource, Ipv6):
            return (resource.namespace, resource.device) in self.dual
        if isinstance(resource, Whole6):
            return self.forward6 == "1"
        if isinstance(resource, (Forwarding6, Localnet)):
            return ("", resource.device) in self.links
        if isinstance(resource, (Hooks, Rate, Redirect, Copying)):
            found = [operation.words for operation in resource.make() if isinstance(operation, Tc)]
            return all(" ".join(words[4:]) in self.queues.values() for words in found)
        if isinstance(resource, (Ifb, Loop, Vxlan)):
            return (resource.namespace, resource.device) in self.links
        (operation,) = resource.make()
        assert isinstance(operation, Ip)
        kind, verb, *words = operation.words
        if verb == "property":
            return words[-1] in self.links.get((operation.namespace, words[2]), {}).get("altnames", ())
        if kind == "rule":
            kind += "6" if isinstance(operation, Ip6) else ""
            return ((operation.namespace, "lo"), (kind, *words)) in self.lines
        if "table" in words:
            return any(line == (*way_of(words), *words) for place, line in self.lines
                       if place[0] == operation.namespace)
        return ((operation.namespace, words[words.index("dev") + 1]),
                (kind, *without_flags(words))) in self.lines


def way_of(words: Sequence[str]) -> tuple[str, str, str, str]:
    """What no other route has."""
    destination = words[1] if words[0] == "blackhole" else words[0]
    metric = words[words.index("metric") + 1] if "metric" in words else ""
    return "way", words[words.index("table") + 1], destination, metric


def without_flags(words: Sequence[str]) -> list[str]:
    """An address is the same one whatever flags it has."""
    return [word for word in words if word not in ("nodad", "noprefixroute")]


def need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Refused(otherwise)


class Shuffled:
    """Does tasks in a random one of the orders that are allowed, as no two runs of a real crew are alike."""

    def __init__(self, _: int) -> None:
        pass

    def work(self, tasks: Iterable[tuple[Callable[[], None], frozenset[int]]]) -> None:
        """All of them, up to the first failure."""
        waiting = dict(enumerate(tasks))
        dice = random.Random(len(waiting))  # noqa: S311 - picks an order
        while waiting:
            number = dice.choice([number for number, (_, others) in waiting.items()
                                  if not others & waiting.keys()])
            waiting.pop(number)[0]()


@pytest.fixture(scope="module")
def patched(bare_host: Path) -> Iterator[Path]:
    """Transactions take the simulation for their desk, which is also their runner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transaction, "Desk", lambda runner, _: runner)
        patch.setattr(transaction, "Kernel", lambda runner: runner)
        patch.setattr(rule_order, "Kernel", lambda runner: runner)
        patch.setattr(inspection, "inspect", lambda kernel, entries: kernel.inspect(entries))
        patch.setattr(transaction, "Crew", Shuffled)
        patch.setattr(os, "fsync", lambda _: None)
        yield bare_host


class Host:
    """A simulated kernel with its record."""

    def __init__(self, settings: Path) -> None:
        (settings / "ip_forward").write_text("0")
        self.kernel = Simulation(settings)
        self.store = Store(settings)
        self.store.save(State())

    def become(self, topology: Topology) -> None:
        """As a manager would: from the record to the topology."""
        self.have(blueprint(topology), topology)

    def have(self, wanted: Sequence[Resource], topology: Topology = EMPTY,
             parts: tuple[int, ...] = ()) -> list[str]:
        """From the record to these resources. Returns the notes."""
        before = self.store.load()
        plan = replace(difference(before.ledger, wanted), parts=parts)
        runner: Any = self.kernel
        return Transaction(runner, self.store).apply(plan, before, topology)

    def add_rules_of_others(self) -> None:
        """Between ours and behind them."""
        for table, chain in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
            rules = self.kernel.chains.setdefault(("", table, chain), [])
            rules.insert(len(rules) // 2, "-s 192.0.2.1/32 -j ACCEPT")
            rules.append("-s 192.0.2.2/32 -j ACCEPT")


def unordered(portrait: dict[str, Any]) -> dict[str, Any]:
    """With the rules of chains that are not ours in any order."""
    return {**portrait, "chains": {place: rules if place[0] or "VPCCTL" in place[2] else sorted(rules)
                                   for place, rules in portrait["chains"].items()}}


@given(one=topologies(), other=topologies())
@DEAR
def test_any_topology_becomes_any_other_as_if_made_at_once(
        patched: Path, one: Topology, other: Topology) -> None:
    host = Host(patched)
    host.become(other)
    fresh, recorded = host.kernel.portrait(), host.store.load()
    host = Host(patched)
    empty = host.kernel.portrait()
    host.become(one)
    host.become(other)
    assert unordered(host.kernel.portrait()) == unordered(fresh)
    assert host.store.load().topology == recorded.topology
    assert [entry.resource for entry in host.store.load().ledger] == blueprint(other)
    assert not any(entry.under_way for entry in host.store.load().ledger)
    host.become(Topology())
    assert host.kernel.portrait() == empty
    assert host.store.load() == State()


@given(one=topologies(), other=topologies(), data=st.data())
@DEAR
def test_a_failure_anywhere_leaves_everything_as_it_was(
        patched: Path, one: Topology, other: Topology, data: st.DataObject) -> None:
    host = Host(patched)
    host.become(one)
    host.add_rules_of_others()
    before, recorded = host.kernel.portrait(), host.store.load()
    rehearsal = Host(patched)
    rehearsal.become(one)
    rehearsal.add_rules_of_others()
    first = rehearsal.kernel.operations
    rehearsal.become(other)
    steps, after = rehearsal.kernel.operations - first, rehearsal.kernel.portrait()
    (patched / "ip_forward").write_text(str(before["forward"]))
    host.store.save(recorded)
    if not steps:
        return
    host.kernel.fail_at = host.kernel.operations + data.draw(st.integers(1, steps))
    try:
        host.become(other)
    except VpcctlError as error:
        told = error.message
    else:
        # A table that could not be emptied in one go was emptied rule by rule.
        assert host.kernel.portrait() == after
        return
    assert re.search("busy|Read-only", told)
    assert "could not be undone" not in told
    assert host.kernel.portrait() == before
    assert host.store.load() == recorded


def test_a_signal_is_obeyed_between_two_commands(patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, calls = Host(patched), 0
    empty = host.kernel.portrait()

    def check(_: Interrupts) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Interrupted(15)

    monkeypatch.setattr(Interrupts, "check", check)
    with pytest.raises(Interrupted) as caught:
        host.become(Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16")),)))
    assert caught.value.code == 143
    assert caught.value.message == "interrupted (SIGTERM); everything was put back as it was"
    assert host.kernel.portrait() == empty
    assert host.store.load() == State()


def test_what_nobody_thought_of_is_undone_too(patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(patched)
    empty, change = host.kernel.portrait(), host.kernel.change

    def failing(command: Command) -> Outcome:
        if command.argv[0] == "iptables-restore":
            raise ZeroDivisionError
        return change(command)

    monkeypatch.setattr(host.kernel, "change", failing)
    with pytest.raises(ZeroDivisionError):
        host.become(Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16")),)))
    assert host.kernel.portrait() == empty
    assert host.store.load() == State()


def test_what_could_not_be_undone_is_told_beside_what_nobody_thought_of(
        patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(patched)
    change = host.kernel.change

    def failing(command: Command) -> Outcome:
        if command.argv[0] == "iptables-restore":
            raise ZeroDivisionError
        if "del" in str(command):
            return Outcome(command, 1, "", BUSY, 0.0)
        return change(command)

    monkeypatch.setattr(host.kernel, "change", failing)
    with pytest.raises(RuntimeError, match="^this could not be undone: .*busy") as caught:
        host.become(Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16")),)))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert all(entry.under_way for entry in host.store.load().ledger)


def test_what_may_come_to_be_is_written_down_before_the_first_command(
        patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, change, seen = Host(patched), Simulation.change, []
    one, other = (Topology((Vpc(name, IPv4Network("10.0.0.0/16")),)) for name in ("vpc1", "vpc2"))
    host.become(one)
    held = {entry.resource.key for entry in host.store.load().ledger}

    def watched(simulation: Simulation, command: Command) -> Outcome:
        seen.append(host.store.load())
        return change(simulation, command)

    monkeypatch.setattr(Simulation, "change", watched)
    host.become(other)
    wanted = {resource.key for resource in blueprint(other)}
    assert seen, "something was changed"
    for state in seen:
        assert (state.topology, state.previous) == (other, one)
        assert {entry.resource.key for entry in state.ledger} == held | wanted
        under_way = {entry.resource.key: entry.under_way for entry in state.ledger if entry.under_way}
        assert {key for key, verb in under_way.items() if verb is Verb.UNMAKE} == held - wanted
        assert {key for key, verb in under_way.items() if verb is Verb.MAKE} == wanted - held
    assert host.store.load().previous is None


def test_a_topology_that_takes_no_step_is_recorded_all_the_same(patched: Path) -> None:
    host = Host(patched)
    vpc = Vpc("vpc1", IPv4Network("10.0.0.0/16"),
              subnets=(Subnet("web", IPv4Network("10.0.1.0/24"), policy=Policy(description="one")),))
    host.become(Topology((vpc,)))
    changes = host.kernel.operations
    said = replace(vpc, subnets=(replace(vpc.subnets[0], policy=Policy(description="two")),))
    host.become(Topology((said,)))
    assert host.kernel.operations == changes
    assert host.store.load().topology == Topology((said,))


def test_a_record_says_which_part_of_the_blueprint_each_entry_is_of(
        patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MANY", 1)
    host = Host(patched)
    host.have(rules(*Family), parts=(1, 3))
    assert host.store.load().parts == (1, 3)


STAYS = "chain VPCCTL-IN of table mangle in guest stays there, empty: its owner has rules that lead to it"


@pytest.mark.parametrize(("busy", "notes"), [((1,), []), ((1, 3, 4), [STAYS])])
def test_what_stays_in_a_namespace_of_others_is_a_note_and_no_failure(
        patched: Path, monkeypatch: pytest.MonkeyPatch, busy: Collection[int], notes: list[str]) -> None:
    """First all lines at once, then those that empty the chain, then the removal, with jumps and without."""
    host, calls, restore = Host(patched), 0, Simulation.restore
    host.kernel.namespaces.add("guest")
    host.have([Chain("guest", "mangle", "VPCCTL-IN", ("-j DROP",))])

    def refusing(simulation: Simulation, namespace: str, text: str, family: Family) -> str:
        nonlocal calls
        calls += 1
        return BUSY if calls in busy else restore(simulation, namespace, text, family)

    monkeypatch.setattr(Simulation, "restore", refusing)
    monkeypatch.setattr(leaving, "left_over", lambda *_: [])
    assert host.have(()) == notes
    assert host.store.load() == State()


PORT = Station("vpc1", "s-web", "br-vpc1", "02:00:00:00:00:01")
NO_DEVICE = 'Cannot find device "s-web"'


@pytest.mark.parametrize(("held", "kind", "says", "fails"), [
    (PORT, Enter, NO_DEVICE, False), (PORT, Enter, "Operation not permitted", True),
    (Folder("/etc/netns/vpc1"), Remove, "/etc/netns: No such file or directory", True)])
def test_only_what_a_link_knows_goes_with_it(patched: Path, monkeypatch: pytest.MonkeyPatch, held: Resource,
                                             kind: type, says: str, fails: bool) -> None:
    host, carry_out = Host(patched), Simulation.carry_out
    host.have([held])

    def failing(simulation: Simulation, operation: object) -> Mapping[str, str]:
        if isinstance(operation, kind):
            raise VpcctlError(says)
        return carry_out(simulation, operation)

    monkeypatch.setattr(Simulation, "carry_out", failing)
    if fails:
        with pytest.raises(VpcctlError, match=says):
            host.have(())
    else:
        assert host.have(()) == []
        assert host.store.load() == State()


def rules(*families: Family) -> list[Resource]:
    """The same chain and the same jump to it in each family's table."""
    return [one for family in families for one in (
        Chain("", "filter", "VPCCTL-FORWARD", ("-i vpc-vpc1 -j ACCEPT",), family=family),
        SingleRule("filter", "FORWARD", "-j VPCCTL-FORWARD", top=True, family=family))]


def test_each_family_has_its_own_rules(patched: Path) -> None:
    host = Host(patched)
    empty = host.kernel.portrait()
    host.have(rules(*Family))
    made = {("", "filter", "VPCCTL-FORWARD"): ["-i vpc-vpc1 -j ACCEPT"],
            ("", "filter", "FORWARD"): ["-j VPCCTL-FORWARD"]}
    sixth = {(space, f"{table} of ip6tables", name): held for (space, table, name), held in made.items()}
    assert host.kernel.portrait()["chains"] == made | sixth
    host.have(rules(Family.INET))
    assert host.kernel.portrait()["chains"] == made
    host.have(rules(Family.INET6))
    assert host.kernel.portrait()["chains"] == sixth
    host.have(())
    assert host.kernel.portrait() == empty


def test_a_failure_puts_the_rules_of_ipv6_back_in_their_places(patched: Path) -> None:
    host = Host(patched)
    host.have(rules(*Family))
    place = ("", "filter of ip6tables", "FORWARD")
    # Another order than that of IPv4: what goes back to its place has been read from its own table.
    host.kernel.chains[place][:0] = ["-s fd00:1::/64 -j ACCEPT", "-s fd00:2::/64 -j ACCEPT"]
    before, recorded = host.kernel.portrait(), host.store.load()
    went = host.kernel.operations
    host.have(())
    steps = host.kernel.operations - went
    for number in range(1, steps + 1):
        again = Host(patched)
        again.have(rules(*Family))
        again.kernel.chains[place][:0] = before["chains"][place][:2]
        again.kernel.fail_at = again.kernel.operations + number
        told = ""
        try:
            again.have(())
        except VpcctlError as error:
            told = error.message
        # What could not be emptied in one go was emptied rule by rule, and nothing failed.
        assert again.kernel.portrait() == (before if told else host.kernel.portrait()), number
        assert "could not be undone" not in told
        assert again.store.load() == (recorded if told else host.store.load())


def with_machine(machine: Machine) -> Topology:
    """A VPC with one machine beside its subnet's own."""
    subnet = Subnet("web", IPv4Network("10.0.1.0/24"), machines=(OWN, machine))
    return Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(subnet,)),))


VIRTUAL = with_machine(Machine("vm", (IPv4Address("10.0.1.4"),), tap="tap0"))
PLAIN = with_machine(Machine("vm", (IPv4Address("10.0.1.5"),)))


def test_a_failure_gives_a_machine_its_routes_back(patched: Path) -> None:
    # A link with a tap behind it has routes and no address: one that comes and goes again takes them along.
    host = Host(patched)
    host.become(VIRTUAL)
    before, went = host.kernel.portrait(), host.kernel.operations
    host.become(PLAIN)
    for number in range(1, host.kernel.operations - went + 1):
        again = Host(patched)
        again.become(VIRTUAL)
        again.kernel.fail_at = again.kernel.operations + number
        with pytest.raises(VpcctlError) as caught:
            again.become(PLAIN)
        assert "could not be undone" not in caught.value.message
        assert again.kernel.portrait() == before, number
