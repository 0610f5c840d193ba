"""The one reader of the kernel: links, addresses, routes, rules, settings, sockets; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns, proc
from vpcctl_lib.kernel.answers import by_address, by_link, by_mac, of_table, parsed
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.run import TIMEOUT_SECONDS, Runner, has
from vpcctl_lib.kernel.saves import HeldChain, Saved
from vpcctl_lib.model.addressing import Family

if TYPE_CHECKING:
    from vpcctl_lib.kernel.numbers import Numbers
    from vpcctl_lib.kernel.processes import Process
    from vpcctl_lib.kernel.ruleset import Ruleset
    from vpcctl_lib.kernel.ways import Question, Ways

T = TypeVar("T")
NOT_OF_IPTABLES = "nft made something in it that iptables can't show"

LOOKERS = 4
"""Programs that read rules in parallel."""

LOOKS = 2
"""How often a namespace is read before a failure is final: it may have been recreated meanwhile."""

NEIGHBOUR_TABLE = ("ip", "-j", "-s", "-4", "ntable", "show", "name", "arp_cache")


class Reading(Enum):
    """What a namespace can be asked for, and the command that would print the same."""

    LINKS = ("ip", "-j", "-d", "addr", "show")
    MAIN_ROUTES = ("ip", "-j", "-4", "route", "show", "table", "main")
    ROUTES = ("ip", "-j", "-d", "-4", "route", "show", "table", "all")
    ROUTE_RULES = ("ip", "-j", "-d", "-4", "rule", "show")
    NEIGHBOURS = ("ip", "-j", "-4", "neigh", "show")
    ROUTES6 = ("ip", "-j", "-d", "-6", "route", "show", "table", "all")
    ROUTE_RULES6 = ("ip", "-j", "-d", "-6", "rule", "show")
    MAIN_ROUTES6 = ("ip", "-j", "-6", "route", "show", "table", "main")
    NEIGHBOURS6 = ("ip", "-j", "-6", "neigh", "show")
    STATIONS = ("bridge", "-j", "fdb", "show")
    QUEUES = ("tc", "-j", "qdisc", "show")
    CHAINS = ("nft", "-j", "list", "chains")


class Unreadable(VpcctlError):
    """Something in a namespace can't be read; root inside can cause that."""

    def __init__(self, namespace: str, what: str, why: str) -> None:
        super().__init__(f"the {what} of {namespace or 'the host'} can't be read: {why}")
        self.namespace = namespace
        self.what = what
        self.why = why


@dataclass
class View:
    """The links and routes of one namespace."""

    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    routes: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""
    """Why its links and routes can't be read."""

    parts: dict[Reading, Any] = field(default_factory=dict)
    """What else was asked for so far."""


class Kernel:
    """The kernel as it was when first read, unless a method says that it reads now."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._views: dict[str, View] = {}
        self._rules: dict[tuple[str, Family], Saved] = {}
        self._tables: dict[tuple[str, str, Family], list[dict[str, Any]] | None] = {}
        self._alike: dict[tuple[str, str, bytes | None], list[dict[str, Any]] | None] = {}

    @cached_property
    def namespaces(self) -> set[str]:
        """The names of all namespaces."""
        return set(netns.names())

    def look(self, namespaces: Collection[str]) -> None:
        """Read many namespaces at once; those that do not exist have nothing."""
        wanted = [name for name in namespaces if name not in self._views]
        if wanted:
            netns.aside(lambda: self._views.update((name, self._view(name)) for name in wanted))

    def look_at_rules(self, places: Collection[tuple[str, Family]]) -> None:
        """Read the rules of many namespaces at once; `chain` reports those that can't be read."""
        def ask(place: tuple[str, Family]) -> None:
            with suppress(Unreadable):
                self.chains(*place)

        each(ask, places, LOOKERS)

    def _of(self, namespace: str) -> View:
        if namespace not in self._views:
            self._views[namespace] = self._view(namespace)
        view = self._views[namespace]
        if view.failure:
            raise Unreadable(namespace, "links", view.failure)
        return view

    def _view(self, namespace: str) -> View:
        if namespace and namespace not in self.namespaces:
            return View()
        for _ in range(LOOKS):
            try:
                return self._seen(namespace)
            except VpcctlError as failed:
                failure = failed.message
            if namespace and not netns.exists(namespace):
                # Others delete theirs while we look, and another vpcctl may delete ours.
                self.namespaces.discard(namespace)
                return View()
        return View(failure=failure)

    def _seen(self, namespace: str) -> View:
        # /sys does not tell namespaces apart from outside; netlink asks the right one.
        links, routes = self.read(namespace, Reading.LINKS, Reading.MAIN_ROUTES)
        return View({link["ifname"]: link for link in links if link}, routes)

    def read(self, namespace: str, *readings: Reading) -> list[list[dict[str, Any]]]:
        """What a namespace answers now to several questions; VpcctlError if it can't be read."""
        try:
            return proc.visit(namespace, lambda: answers(readings))
        except OSError as error:
            raise VpcctlError(str(error) if isinstance(error, netns.Gone) else error.strerror or str(error)) \
                from None

    def numbers(self, namespace: str, first: Collection[str] = ()) -> Numbers:
        """The numbers by which a namespace knows others; of several names of one, that among the first."""
        # Imported late: only `reach` follows cables.
        from vpcctl_lib.kernel.numbers import Numbers

        return Numbers(namespace, self.namespaces, first)

    def neighbour_table(self) -> dict[str, Any]:
        """The size of the table of neighbours and its limits, as `ip -s ntable` shows them."""
        found: list[dict[str, Any]] = parsed(self._runner.ask(NEIGHBOUR_TABLE))
        return next(iter(found), {})

    def link(self, namespace: str, device: str) -> dict[str, Any] | None:
        """The link as `ip -j -d addr` shows it, or None."""
        return self._of(namespace).links.get(device)

    def links(self, namespace: str) -> list[dict[str, Any]]:
        """All links of a namespace."""
        return list(self._of(namespace).links.values())

    def routes(self, namespace: str) -> list[dict[str, Any]]:
        """The routes of the main table."""
        return self._of(namespace).routes

    def chain(self, namespace: str, table: str, name: str, family: Family = Family.INET) -> HeldChain | None:
        """A chain with its rules, or None; Unreadable if iptables can't read its table."""
        saved = self.chains(namespace, family)
        if namespace and table in saved.unreadable:
            raise Unreadable(namespace, f"table {table}", NOT_OF_IPTABLES)
        return saved.get((table, name))

    def chains(self, namespace: str, family: Family = Family.INET) -> Saved:
        """All chains of all tables of a namespace and family that can be read."""
        if (namespace, family) not in self._rules:
            self._rules[namespace, family] = self._saved(namespace, f"{family.tool}-save")
        return self._rules[namespace, family]

    def has_tool(self, name: str) -> bool:
        """Whether a program of that name is there."""
        return has(name)

    def _saved(self, namespace: str, tool: str) -> Saved:
        if namespace and namespace not in self.namespaces:
            return Saved("")
        for _ in range(LOOKS):
            outcome = self._runner.ask((tool,), namespace)
            if namespace and not netns.exists(namespace):
                # Somebody deleted it while we looked.
                return Saved("")
            if outcome.status == 0:
                return Saved(outcome.stdout)
            if outcome.milliseconds >= TIMEOUT_SECONDS * 1000:
                break
        raise Unreadable(namespace, "rules", f"{tool} failed: {outcome.reason()}")

    def setting(self, namespace: str, key: str) -> str | None:
        """A setting of a namespace now; None if this kernel, or this host now, does not have it."""
        return proc.setting(key, namespace)

    def settings(self, namespace: str, keys: Iterable[str]) -> dict[str, str]:
        """Settings of a namespace now, as far as this kernel has them, all read in one visit."""
        try:
            return proc.visit(namespace, lambda: proc.settings(keys))
        except netns.Gone:
            return {}

    def both_kinds(self, namespace: str, chains: Iterable[dict[str, Any]],
                   family: Family = Family.INET) -> list[str]:
        """What a family's iptables-save prints now, with counters; of both kinds, if both have rules.

        Where neither has a table, by the chains of nft that are there, no program is started.
        """
        if not any(one["chain"]["family"] == family.nft for one in chains if "chain" in one) \
                and not proc.may_have_legacy(namespace, family):
            return []
        first, other = self._text(namespace, f"{family.tool}-save"), f"{family.tool}-legacy-save"
        if "(legacy)" in first or not proc.legacy_tables(namespace, family) or not self.has_tool(other):
            return [first]
        return [first, self._text(namespace, other)]

    def _text(self, namespace: str, tool: str) -> str:
        outcome = self._runner.ask((tool, "-c"), namespace)
        if outcome.status != 0:
            raise VpcctlError(f"{outcome.command} failed: {outcome.reason()}")
        return outcome.stdout

    @cached_property
    def proxied(self) -> frozenset[tuple[str, str]]:
        """Each link of the host with an address that it answers ARP for there, as for a machine behind it."""
        answers = parsed(self._runner.ask(("ip", "-j", "-4", "neigh", "show", "proxy")))
        return frozenset((one["dev"], one["dst"]) for one in answers if "dst" in one)

    def taken(self, namespace: str, packet: Iterable[str]) -> dict[str, Any]:
        """The route that the kernel now takes for a packet, as `ip route get` shows it; empty if none."""
        outcome = self._runner.ask(("ip", "-j", "route", "get", *packet), namespace)
        answers: list[dict[str, Any]] = parsed(outcome) if outcome.status == 0 else []
        return answers[0] if answers else {}

    def ways(self, questions: Iterable[Question]) -> Ways:
        """The ways that the host's kernel now takes for packets; all questions go to one `ip -batch`."""
        # Imported late, here and below: most changes ask neither.
        from vpcctl_lib.kernel import ways

        asked = tuple(dict.fromkeys(questions))
        if not asked:
            return {}
        try:
            outcome = self._runner.ask(("ip", "-j", "-force", "-batch", "-"),
                                       stdin="".join(f"{question}\n" for question in asked))
        except VpcctlError as error:
            return ways.unknown(asked, error.message)
        return ways.answers(asked, outcome)

    def ruleset(self) -> Ruleset:
        """All tables of nft on the host, read once for each command; VpcctlError if they can't be read."""
        from vpcctl_lib.kernel import ruleset

        listed = parsed(self._runner.ask_once(ruleset.LISTING), ruleset.NOTHING)
        lacking = ruleset.lacks_devices(listed)
        return ruleset.read(listed, self._runner.ask_once(ruleset.DEVICES).stdout if lacking else "")

    def nft_table(self, namespace: str, family: str, name: str) -> list[dict[str, Any]]:
        """The content of a table of nft now; VpcctlError if there is none."""
        outcome = self._runner.ask(("nft", "-j", "list", "table", family, name), namespace)
        listed: list[dict[str, Any]] = parsed(outcome, "{}").get("nftables", [])
        return listed

    def process(self, facts: Mapping[str, str]) -> Process | None:
        """The process of these recorded facts, if it still runs now."""
        # Imported late, here and below: most changes touch no process.
        from vpcctl_lib.kernel import processes

        return processes.recognise(facts)

    def guest(self, container: str, path: str) -> str:
        """Where a container's namespace is now, or the path itself; VpcctlError if it does not run."""
        if not container:
            return path
        from vpcctl_lib.kernel.containers import find

        return f"/proc/{find(self._runner, container).pid}/ns/net"

    def processes(self, namespaces: Collection[str]) -> list[tuple[str, Process]]:
        """All processes in these namespaces now, each with its namespace."""
        from vpcctl_lib.kernel import processes

        return processes.by_namespace(namespaces)

    def is_inside(self, process: Process, namespace: str) -> bool:
        """Whether a process is in a namespace now."""
        from vpcctl_lib.kernel import processes

        return processes.inside_of(process, namespace)

    def all_routes(self, namespace: str, family: Family = Family.INET) -> list[dict[str, Any]]:
        """The routes of all tables."""
        what = ("routes", Reading.ROUTES) if family is Family.INET else ("routes of IPv6", Reading.ROUTES6)
        return self._part(namespace, *what, list)

    def route_rules(self, namespace: str, family: Family = Family.INET) -> list[dict[str, Any]]:
        """The lines of `ip rule`."""
        reading = Reading.ROUTE_RULES if family is Family.INET else Reading.ROUTE_RULES6
        return self._part(namespace, "routing rules", reading, list)

    def neighbours(self, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The neighbours of a namespace by link and address, as `ip -j neigh` shows them."""
        return self._part(namespace, "neighbours", Reading.NEIGHBOURS, by_address)

    def routes6(self, namespace: str) -> list[dict[str, Any]]:
        """The routes of IPv6 of the main table."""
        return self._part(namespace, "routes of IPv6", Reading.MAIN_ROUTES6, list)

    def neighbours6(self, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The same of IPv6."""
        return self._part(namespace, "neighbours of IPv6", Reading.NEIGHBOURS6, by_address)

    def stations(self, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The MAC entries of a namespace's bridges, by port and MAC, as `bridge -j fdb` shows them."""
        return self._part(namespace, "bridges", Reading.STATIONS, by_mac)

    def queues(self, namespace: str) -> dict[str, list[dict[str, Any]]]:
        """The queueing disciplines of each link, as `tc -j qdisc` shows them, with their filters."""
        return self._part(namespace, "queueing disciplines", Reading.QUEUES, by_link)

    def bridge_table(self, namespace: str, name: str, family: str = "bridge") -> list[dict[str, Any]] | None:
        """The content of an nft table of family bridge, None if there is none; Unreadable without nft."""
        return self._table(namespace, family, name)

    def ip_table(self, namespace: str, name: str,
                 family: Family = Family.INET) -> list[dict[str, Any]] | None:
        """The content of an nft table of ip or ip6, None if there is none; Unreadable without nft."""
        if (place := (namespace, name, family)) not in self._tables:
            self._tables[place] = self._table(namespace, family.nft, name)
        return self._tables[place]

    def flow_table(self, namespace: str, family: str, name: str) -> list[dict[str, Any]] | None:
        """The content of a table that counts flows, less what is counted; None if there is none."""
        # Those of many machines are the same, and listed once: each start of nft takes some milliseconds.
        from vpcctl_lib.kernel import nftables

        try:
            alike = family, name, nftables.content(namespace, family, name)
        except OSError as error:
            raise Unreadable(namespace, f"nft table {name}", error.strerror or str(error)) from None
        if alike not in self._alike:
            self._alike[alike] = self._table(namespace, family, name, "-t") if alike[-1] is not None else None
        return self._alike[alike]

    def look_at_tables(self, places: Collection[tuple[str, str, Family]]) -> None:
        """Read many of them at once, each in its namespace; `ip_table` reports those that can't be read."""
        def ask(place: tuple[str, str, Family]) -> None:
            with suppress(Unreadable):
                self.ip_table(*place)

        each(ask, places, LOOKERS)

    def _table(self, namespace: str, family: str, name: str, *how: str) -> list[dict[str, Any]] | None:
        if not self._is_there(namespace):
            return None
        if not self.has_tool("nft"):
            raise Unreadable(namespace, f"nft table {name}",
                             "nft not found; install it: apt-get install nftables")
        outcome = self._runner.ask(("nft", "-j", *how, "list", "table", family, name), namespace)
        return of_table(outcome) if outcome.status == 0 else None

    def _part(self, namespace: str, what: str, reading: Reading,
              shape: Callable[[list[dict[str, Any]]], T]) -> T:
        """What it was asked for, in that shape, read once."""
        parts = self._of(namespace).parts
        if reading not in parts:
            try:
                parts[reading] = shape(self.read(namespace, reading)[0] if self._is_there(namespace) else [])
            except VpcctlError as failed:
                raise Unreadable(namespace, what, failed.message) from None
        found: T = parts[reading]
        return found

    def _is_there(self, namespace: str) -> bool:
        return not namespace or namespace in self.namespaces


def counted(runner: Runner, namespace: str, family: Family = Family.INET, table: str = "filter") -> Saved:
    """The rules of a namespace's table with their current counters; VpcctlError if they can't be read."""
    outcome = runner.ask((f"{family.tool}-save", "-c", "-t", table), namespace)
    if outcome.status != 0:
        raise VpcctlError(f"can't read the rules of {namespace}: {outcome.reason()}")
    return Saved(outcome.stdout)


def answers(readings: Iterable[Reading]) -> list[list[dict[str, Any]]]:
    """What the namespace of the calling thread answers to each question; OSError if it doesn't."""
    # Imported late: commands that only change the record ask nothing.
    from vpcctl_lib.kernel import network

    return network.answers([one.name.lower() for one in readings])
