"""The counters of the rules that stay when a policy changes."""

from __future__ import annotations

from collections.abc import Iterable

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.kernel.saves import Saved, Words, appended, words
from vpcctl_lib.kernel.variants import counted
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import MARK

_NOTHING = "[0:0]"

Key = tuple[str, Words]


def now(runner: Runner, namespace: str, family: Family, lines: Iterable[str], table: str) -> dict[str, str]:
    """For lines of a restore file, the counters of the same rule in the namespace."""
    try:
        return kept(counted(runner, namespace, family, table), lines)
    except VpcctlError:
        # All begin at nothing: the rules themselves are worth more.
        return {}


def kept(held: Saved, lines: Iterable[str]) -> dict[str, str]:
    """For lines of a restore file, the counters of the same rule in what was saved with counters.

    A rule is the same at any position of its chain: its comment has its number, and is ignored.
    """
    before = {_key(chain, rule): counters for chain, rule, counters in held.counted()
              if counters not in ("", _NOTHING)}
    found = {line: before.get(_key(*rule)) for line in lines if before and (rule := appended(line))}
    return {line: counters for line, counters in found.items() if counters}


def _key(chain: str, rule: str) -> Key:
    return chain, frozenset(option for option in words(rule)
                            if not (option[0] == "--comment" and option[-1].startswith(MARK)))
