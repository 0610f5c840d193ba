"""How much the collector of flow logs has written, and what found no room, since its first start."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vpcctl_lib.flows.names import SAVED

KEY = "totals"
"""Where they are among what is kept; a machine's place has a slash."""


@dataclass
class Totals:
    """Counters that only grow."""

    records: dict[str, int] = field(default_factory=dict)
    """By a log's file: those that were written."""

    skipped: dict[str, int] = field(default_factory=dict)
    """By a log's file: those among them that say that something is missing."""

    lost: dict[str, int] = field(default_factory=dict)
    """By machine, or by VPC of what its network ACLs dropped: packets for which a set had no room."""

    def wrote(self, file: str, records: int, is_skipped: bool) -> None:
        """A machine's records of an interval."""
        self.records[file] = self.records.get(file, 0) + records
        self.skipped[file] = self.skipped.get(file, 0) + is_skipped

    def lose(self, what: str, packets: int) -> None:
        """Packets without room."""
        if packets:
            self.lost[what] = self.lost.get(what, 0) + packets

    def forget(self, *names: str) -> None:
        """What belongs to logs or machines that are gone: others of their names begin at 0."""
        for held in (self.records, self.skipped, self.lost):
            for name in names:
                held.pop(name, None)


class Reading(NamedTuple):
    """What a collector had counted, and when it last read the kernel's counters, in seconds since 1970."""

    when: float
    totals: Totals


def saved(totals: Totals) -> dict[str, Any]:
    """Totals as JSON has them."""
    return asdict(totals)


def restored(found: Mapping[str, Any]) -> Totals:
    """Totals from JSON; AttributeError, TypeError or ValueError if it is none."""
    return Totals(*({str(name): int(number) for name, number in found.get(part, {}).items()}
                    for part in ("records", "skipped", "lost")))


def read(folder: Path) -> Reading | None:
    """What a collector has kept there; None if it has kept nothing yet, or something else is there."""
    try:
        # The folder is the collector's, and we are root: neither a link nor a pipe is followed.
        file = os.open(folder / SAVED, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(file) as held:
        try:
            found = json.load(held)
            return Reading(os.fstat(held.fileno()).st_mtime, restored(found.get(KEY, {})))
        except (OSError, ValueError, TypeError, AttributeError):
            return None
