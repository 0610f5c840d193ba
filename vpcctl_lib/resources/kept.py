"""What the rules of a policy that stay have counted; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vpcctl_lib.kernel.reader import Words, words
from vpcctl_lib.model.naming import MARK

_COUNTED = re.compile(r"^(\[\d+:\d+\]) -A (\S+) ?(.*)$", re.MULTILINE)
_NOTHING = "[0:0]"

Key = tuple[str, Words]


def kept(listing: str, lines: Iterable[str]) -> dict[str, str]:
    """For lines of a restore file the counters of the same rule, out of `iptables-save -c`.

    A rule is the same in its chain wherever it stands there: its comment has its number, and does not count.
    """
    before = {_key(chain, rule): counters for counters, chain, rule in _COUNTED.findall(listing)
              if counters != _NOTHING}
    found = {line: before.get(_key(*(*line.split(" ", 2)[1:], "")[:2])) for line in lines
             if before and line.startswith("-A ")}
    return {line: counters for line, counters in found.items() if counters}


def _key(chain: str, rule: str) -> Key:
    return chain, frozenset(option for option in words(rule)
                            if not (option[0] == "--comment" and option[-1].startswith(MARK)))
