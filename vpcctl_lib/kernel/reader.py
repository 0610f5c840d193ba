"""What the kernel has, read once for each namespace and kept for one look; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.answers import parsed
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.run import TIMEOUT_SECONDS, Outcome, Runner, has
from vpcctl_lib.kernel.saves import HeldChain, Saved
from vpcctl_lib.model.addressing import Family

NOT_OF_IPTABLES = "nft made something in it that iptables can't show"

LOOKERS = 4
"""Namespaces that are read in parallel; starting `ip` takes the time."""

LOOKS = 2
"""How often a namespace is read before a failure is final: it may have been recreated meanwhile."""


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

    neighbours: dict[tuple[str, str], dict[str, Any]] | None = None
    stations: dict[tuple[str, str], dict[str, Any]] | None = None


class Kernel:
    """The kernel as it was when first read."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._views: dict[str, View] = {}
        self._rules: dict[tuple[str, Family], Saved] = {}
        self.namespaces = set(netns.names())

    def look(self, namespaces: Collection[str]) -> None:
        """Read many namespaces at once; those that do not exist have nothing."""
        wanted = [name for name in namespaces if name not in self._views]
        self._views.update(zip(wanted, each(self._view, wanted, LOOKERS), strict=True))

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
            except _Failed as failed:
                failure = failed
            if namespace and not netns.exists(namespace):
                # Others delete theirs while we look, and another vpcctl may delete ours.
                self.namespaces.discard(namespace)
                return View()
            if failure.late:
                break
        return View(failure=failure.message)

    def _seen(self, namespace: str) -> View:
        # /sys does not tell namespaces apart from outside; ip asks the right one over netlink.
        links = self._json(namespace, "ip", "-j", "-d", "addr", "show")
        routes = self._json(namespace, "ip", "-j", "-4", "route", "show", "table", "main")
        return View({link["ifname"]: link for link in links if link}, routes)

    def _json(self, namespace: str, *argv: str) -> list[dict[str, Any]]:
        outcome = self._runner.ask(argv, namespace)
        try:
            found: list[dict[str, Any]] = parsed(outcome)
        except VpcctlError as error:
            raise _Failed(error, outcome) from None
        return found

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
        """A kernel setting of a namespace; None if this kernel, or this host now, does not have it."""
        path = Path("/proc/sys") / key.replace(".", "/")
        try:
            return (netns.within(namespace, path.read_text) if namespace else path.read_text()).strip()
        except FileNotFoundError:
            return None

    def settings(self, namespace: str, keys: Iterable[str]) -> dict[str, str]:
        """Kernel settings of a namespace, as far as this kernel has them, all read in one visit."""
        def read() -> dict[str, str]:
            texts = ((key, _read(f"/proc/sys/{key.replace('.', '/')}")) for key in keys)
            return {key: " ".join(text.split()) for key, text in texts if text is not None}

        try:
            return netns.within(namespace, read) if namespace else read()
        except netns.Gone:
            return {}

    def neighbours(self, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The neighbours of a namespace by link and address, as `ip -j neigh` shows them."""
        view = self._of(namespace)
        if view.neighbours is None:
            asked = ("ip", "-j", "-4", "neigh", "show")
            found = self._part(namespace, "neighbours", *asked)
            view.neighbours = {(one["dev"], one["dst"]): one for one in found}
        return view.neighbours

    def stations(self, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The MAC entries of a namespace's bridges, by port and MAC, as `bridge -j fdb` shows them."""
        view = self._of(namespace)
        if view.stations is None:
            found = self._part(namespace, "bridges", "bridge", "-j", "fdb", "show")
            view.stations = {(one["ifname"], one["mac"]): one for one in found if "master" in one}
        return view.stations

    def bridge_table(self, namespace: str, name: str) -> list[dict[str, Any]] | None:
        """The content of an nft table of family bridge, None if there is none; Unreadable without nft."""
        if not self._is_there(namespace):
            return None
        if not self.has_tool("nft"):
            raise Unreadable(namespace, f"nft table {name}",
                             "nft not found; install it: apt-get install nftables")
        outcome = self._runner.ask(("nft", "-j", "list", "table", "bridge", name), namespace)
        if outcome.status != 0:
            return None
        listed: list[dict[str, Any]] = parsed(outcome, "{}")["nftables"]
        return listed

    def _part(self, namespace: str, what: str, *argv: str) -> list[dict[str, Any]]:
        try:
            return self._json(namespace, *argv) if self._is_there(namespace) else []
        except _Failed as failed:
            raise Unreadable(namespace, what, failed.message) from None

    def _is_there(self, namespace: str) -> bool:
        return not namespace or namespace in self.namespaces


def counted(runner: Runner, namespace: str, family: Family = Family.INET) -> Saved:
    """The filter rules of a namespace with their current counters; VpcctlError if they can't be read."""
    outcome = runner.ask((f"{family.tool}-save", "-c", "-t", "filter"), namespace)
    if outcome.status != 0:
        raise VpcctlError(f"can't read the rules of {namespace}: {outcome.reason()}")
    return Saved(outcome.stdout)


class _Failed(VpcctlError):
    """A command that failed; `late` if it timed out."""

    def __init__(self, error: VpcctlError, outcome: Outcome) -> None:
        super().__init__(error.message)
        self.late = outcome.milliseconds >= TIMEOUT_SECONDS * 1000


def _read(path: str) -> str | None:
    """A file below /proc; None if there is none. With plain system calls: `status` reads thousands."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(file, 4096).decode()
        finally:
            os.close(file)
    except FileNotFoundError:
        # A link's settings vanish with it, even from an open file (grab_header in fs/proc/proc_sysctl.c).
        return None
