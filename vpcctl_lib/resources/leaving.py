"""What is ours in somebody else's namespace goes as far as its owner lets it, which holds up no change."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.kernel.sayings import sentence
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import POLICY_IN, POLICY_OUT, POLICY_TABLE
from vpcctl_lib.resources.nftables import Nft, NftBatch
from vpcctl_lib.resources.operations import Iptables, RestoreBatch

_OWN = re.compile(rf"({POLICY_IN}|{POLICY_OUT})(-[A-Z0-9]+)?")
_JUMP = re.compile(rf"-[io] \S+ -j ({POLICY_IN}|{POLICY_OUT})")
_REMOVAL = "-X "
_LEADING = ("PREROUTING", "POSTROUTING", "INPUT", "OUTPUT")
"""The chains with jumps to ours; an older vpcctl had them in the last two."""


class LeavingBatch(RestoreBatch):
    """The removal of rules and chains; a chain that a rule of the owner's leads to stays, empty."""

    def salvage(self, runner: Runner, why: str) -> str:
        """What empties our chains, then what removes them; then also rules of ours that are one too many."""
        names = frozenset(step.line.removeprefix(_REMOVAL) for step in self._lines(True))
        if not self._failure(runner, self._lines(False)):
            why = self._failure(runner, self._lines(True)) and self._without_jumps(runner, names)
            return why and f"{self._told(names)} stays there, empty: its owner has rules that lead to it"
        return f"{self._told(names)} can't be removed: {why}"

    def _lines(self, removals: bool) -> list[Iptables]:
        return [step for step in self.steps if step.line.startswith(_REMOVAL) == removals]

    def _failure(self, runner: Runner, lines: Sequence[Iptables]) -> str:
        outcome = runner.change(RestoreBatch(lines).command()) if lines else None
        return outcome.reason() if outcome and outcome.status else ""

    def _without_jumps(self, runner: Runner, names: Collection[str]) -> str:
        """A second rule that leads there is ours as well: from before the record was lost."""
        try:
            jumps = [one for one in left_over(Kernel(runner), self.namespace) if one.line.startswith("-D ")
                     and one.line.rpartition(" ")[2] in names]
        except VpcctlError as error:
            return error.message
        return self._failure(runner, [*jumps, *self._lines(True)])

    def _told(self, names: Iterable[str]) -> str:
        what = f"chain {', '.join(sorted(names))}" if names else "a rule of vpcctl's"
        return f"{what} of table {self.steps[0].table} in {self.namespace}"


@frozen
class Leave(Iptables):
    """One line of a file for iptables-restore that removes something of ours there."""

    tool = LeavingBatch


class LeavingTable(NftBatch):
    """The removal of a table."""

    def salvage(self, runner: Runner, why: str) -> str:
        """Nothing more can be done: its owner can make it somebody's own."""
        return f"the {self.steps[0].apart}' table in {self.namespace} can't be removed: {why}"


@frozen
class LeaveTable(Nft):
    """A script that removes a table of ours there."""

    tool = LeavingTable


def leaving(lines: Iterable[Iptables]) -> tuple[Leave, ...]:
    """The same lines, which then hold up nothing."""
    return tuple(Leave(one.namespace, one.table, one.line, one.family) for one in lines)


def left_over(kernel: Kernel, namespace: str) -> list[Leave]:
    """What removes our rules there: somebody unmounted our name, and with it went all knowledge of them."""
    chains, = kernel.read(namespace, Reading.CHAINS)
    return [line for family in Family for line in _left_of(kernel, namespace, chains, family)]


def _left_of(kernel: Kernel, namespace: str, chains: list[dict[str, Any]], family: Family) -> list[Leave]:
    texts = kernel.both_kinds(namespace, chains, family)
    held = Saved("".join(texts[:1]))
    ours = [name for table, name in held if table == POLICY_TABLE and _OWN.fullmatch(name)]
    jumps = [f"-D {chain} {rule}" for chain in _LEADING
             for rule in held.lines((POLICY_TABLE, chain)) if _JUMP.fullmatch(rule)]
    lines = [*jumps, *(f"-F {name}" for name in ours), *(f"{_REMOVAL}{name}" for name in ours)]
    return [Leave(namespace, POLICY_TABLE, line, family) for line in lines]


def leave(runner: Runner, lines: Sequence[Leave]) -> str:
    """Remove what is left over; what stays, for a note."""
    families = ([one for one in lines if one.family is family] for family in Family)
    return "; ".join(filter(None, (_leave(runner, LeavingBatch(some)) for some in families if some)))


def _leave(runner: Runner, batch: LeavingBatch) -> str:
    outcome = runner.change(batch.command())
    return batch.salvage(runner, sentence(outcome.stderr)) if outcome.status else ""
