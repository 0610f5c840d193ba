"""What a sandbox's host was like before a lesson: what was set by hand meanwhile is put back."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns, nftables, proc, variants
from vpcctl_lib.kernel.ruleset import OF_IPTABLES
from vpcctl_lib.kernel.run import Command, Runner
from vpcctl_lib.model.addressing import Family

DROPPED = "*{table}\nCOMMIT\n"
"""For iptables-restore: the table without any rule."""

SETTINGS = ("net/ipv4", "net/ipv6")
ROUNDS = 3
"""How often settings are compared: some, such as ip_forward, change others."""


@frozen
class Baseline:
    """A host's namespaces, rules, tables of nft and settings."""

    namespaces: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """What iptables-save and ip6tables-save printed."""

    tables: tuple[str, ...] = ()
    """Those of nft, without those of iptables."""

    settings: Mapping[str, str] | None = None
    """What may be written below `SETTINGS`; None if nothing was read."""


def look(runner: Runner) -> Baseline:
    """What there is now."""
    return Baseline(tuple(sorted(netns.names())), tuple(_rules(runner, one) for one in _families()),
                    tuple(_tables()), dict(_settings()))


def read(found: Mapping[str, Any]) -> Baseline:
    """One from JSON; TypeError or AttributeError if it is none."""
    one = Baseline(**found)
    return Baseline(tuple(one.namespaces), tuple(one.rules), tuple(one.tables), one.settings)


def put_back_rules(runner: Runner, before: Baseline) -> None:
    """iptables' rules as they were, and no table of nft that was not there."""
    for family, rules in zip(_families(), before.rules, strict=False):
        there = _names(rules)
        added = (table for table in _names(_rules(runner, family)) if table not in there)
        if text := rules + "".join(DROPPED.format(table=table) for table in added):
            runner.change(Command((f"{family.tool}-restore",), text))
    for table in _tables():
        if table not in before.tables:
            runner.change(Command(("nft", "delete", "table", *shlex.split(table))))


def put_back_rest(runner: Runner, before: Baseline) -> None:
    """No namespace that was not there, and settings as they were; VpcctlError if one can't be set back."""
    for name in sorted(netns.names() - set(before.namespaces)):
        runner.change(Command(("ip", "netns", "del", name)))
    for _ in range(ROUNDS):
        now, were = dict(_settings()), before.settings or {}
        other = {key: value for key, value in were.items() if now.get(key, value) != value}
        for key, value in other.items():
            runner.change(Command(("sysctl", "-qw", f"{key}={value}")))
        if not other:
            return
    raise VpcctlError(f"what was set by hand can't be set back: {', '.join(sorted(other))}",
                      "exit the sandbox, and start the next lesson outside")


def _families() -> list[Family]:
    return [Family.INET, Family.INET6] if netns.have_ipv6() else [Family.INET]


def _rules(runner: Runner, family: Family) -> str:
    return variants.rules(runner, variants.standard(runner, family), family=family)


def _names(rules: str) -> list[str]:
    """The tables in what iptables-save printed."""
    return [line[1:] for line in rules.splitlines() if line.startswith("*")]


def _tables() -> list[str]:
    """The tables of nft by family and name, which iptables does not know."""
    return [shlex.join(one) for one in nftables.tables()
            if one[0] not in ("ip", "ip6") or one[1] not in OF_IPTABLES]


def _settings() -> Iterator[tuple[str, str]]:
    """All that may be written and read, by its key as sysctl(8) takes it."""
    for top in SETTINGS:
        for folder, _, names in os.walk(proc.SYSCTLS / top):
            for name in names:
                path = os.path.join(folder, name)
                # Some, such as stable_secret, can't be read before they are set.
                with suppress(OSError):
                    if os.stat(path).st_mode & 0o200:
                        with open(path) as file:
                            yield os.path.relpath(path, proc.SYSCTLS), file.read().strip()
