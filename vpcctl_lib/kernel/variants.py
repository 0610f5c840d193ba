"""The two iptables of a host, nf_tables and legacy: each knows only its own rules, and packets meet both."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.proc import legacy_tables
from vpcctl_lib.kernel.run import Runner, has, located, need
from vpcctl_lib.kernel.saves import Saved, is_in_use
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.topology import Variant

PARTS = ("", "-save", "-restore")
"""The ends of the names of one family's tools."""


def standard(runner: Runner, family: Family = Family.INET) -> Variant:
    """The one behind `iptables-restore`, which writes our rules; `iptables` alone may be a wrapper."""
    restore = f"{family.tool}-restore"
    need(restore)
    # Debian's alternatives lead to xtables-nft-multi or xtables-legacy-multi; a wrapper has to be asked.
    program = os.path.basename(os.path.realpath(located(restore) or ""))
    for variant in Variant:
        if variant.value in program:
            return variant
    return Variant.NFT if "nf_tables" in runner.ask((restore, "--version")).stdout else Variant.LEGACY


def names(runner: Runner, variant: Variant | None) -> Mapping[str, str]:
    """The names of that variant's tools, if they differ from the usual ones: on Debian, each family chooses.

    A host may lack those of IPv6.
    """
    if variant is None:
        return {}
    others = (family for family in Family
              if (family is Family.INET or has(f"{family.tool}-restore"))
              and variant is not standard(runner, family))
    return {f"{family.tool}{part}": _name(variant, f"{family.tool}{part}")
            for family in others for part in PARTS}


def needed(names: Mapping[str, str]) -> list[str]:
    """Those of these tools that every change needs: IPv6's only if it has a rule of IPv6."""
    return [name for tool, name in names.items() if not tool.startswith(Family.INET6.tool)]


def _name(variant: Variant, tool: str) -> str:
    return tool.replace("tables", f"tables-{variant.value}")


def rules(runner: Runner, variant: Variant, must: bool = False, family: Family = Family.INET) -> str:
    """The output of that variant's iptables-save on the host; empty if there are no rules, or no such tool.

    It is also empty if the tool fails; with `must`, a failure is a VpcctlError.
    """
    usual = f"{family.tool}-save"
    tool = usual if variant is standard(runner, family) else _name(variant, usual)
    if not has(tool) or (variant is Variant.LEGACY and not legacy_tables(family=family)):
        return ""
    outcome = runner.ask((tool,))
    if must and outcome.status != 0:
        raise VpcctlError(f"{tool} failed: {outcome.reason()}")
    return outcome.stdout


def counted(runner: Runner, namespace: str, family: Family = Family.INET, table: str = "filter") -> Saved:
    """The rules of a namespace's table with their current counters; VpcctlError if they can't be read."""
    outcome = runner.ask((f"{family.tool}-save", "-c", "-t", table), namespace)
    if outcome.status != 0:
        raise VpcctlError(f"can't read the rules of {namespace}: {outcome.reason()}")
    return Saved(outcome.stdout)


def choose(runner: Runner) -> Variant:
    """The one in use on this host: the usual one, unless only the other has rules."""
    usual = standard(runner)
    other = usual.other
    if is_in_use(rules(runner, other)) and not is_in_use(rules(runner, usual)):
        return other
    return usual


def warnings(runner: Runner, ours: Variant) -> list[str]:
    """The warning if the other one, without our rules, also has rules."""
    if not is_in_use(rules(runner, ours.other)):
        return []
    save, other = (_name(variant, "iptables-save") for variant in (ours, ours.other))
    return [f"both kinds of iptables have rules here, and packets must pass both: vpcctl's are in {save}; "
            f"if packets are lost, see {other}"]


def marked(runner: Runner, mark: str) -> Variant:
    """The one whose rules on the host bear our mark; the one in use if neither's do."""
    found = [variant for variant in Variant if mark in rules(runner, variant)]
    return found[0] if found else choose(runner)
