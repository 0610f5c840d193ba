"""What is known of a machine's flows and not written yet; pure.

A packet is rejected if it came to the rules and not behind them. The two are read one after the other, so a
packet in between makes the second number too large: the difference is carried to the next reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vpcctl_lib.flows.names import IN, KEY_BYTES, OUT

Flow = tuple[str, bytes]
"""Its direction, as seen from the machine, and the key of its element."""

Count = tuple[int, int]
"""Packets and bytes."""

Counts = Mapping[bytes, Count]
NONE: Count = (0, 0)


@dataclass
class Tally:
    """Packets and bytes of a flow, by what became of them."""

    accepted: Count = NONE
    refused: Count = NONE
    """By the rules in the machine's namespace."""

    denied: Count = NONE
    """By the network ACL at its subnet's edge."""

    def add(self, other: Tally) -> None:
        """Another one's, too."""
        self.accepted = plus(self.accepted, other.accepted)
        self.refused = plus(self.refused, other.refused)
        self.denied = plus(self.denied, other.denied)

    @property
    def rejected(self) -> Count:
        """All that did not pass."""
        return plus(self.refused, self.denied)


def plus(one: Count, other: Count) -> Count:
    """Their sum."""
    return one[0] + other[0], one[1] + other[1]


def minus(one: Count, other: Count) -> Count:
    """Their difference."""
    return one[0] - other[0], one[1] - other[1]


def settled(count: Count) -> tuple[Count, Count]:
    """What is certain of a difference, and what is carried to the next reading."""
    return (count, NONE) if count[0] > 0 and count[1] > 0 else (NONE, count)


@dataclass
class Interval:
    """What has come since its begin, in seconds since 1970."""

    since: float
    flows: dict[Flow, Tally] = field(default_factory=dict)
    skipped: bool = False
    """Whether something is missing in it."""


@dataclass
class Account:
    """One machine's."""

    intervals: dict[int, Interval] = field(default_factory=dict)
    """By length: logs of the same length have the same records."""

    read: float = 0.0
    """When it was last read."""

    handle: int | None = None
    """The kernel's of the table that was read."""

    space: str = ""
    """What tells its namespace from earlier ones of that name, in which a table had the same number."""

    carried: dict[Flow, tuple[Count, Count]] = field(default_factory=dict)
    """Of what is accepted and of what is refused, what the next reading has to set right."""

    denied: dict[Flow, Count] = field(default_factory=dict)
    """What an ACL has dropped since the last reading."""

    missing: int | None = 0
    """Of the packets that were to pass, what the next reading has to set right; None if that is not known."""

    def deny(self, direction: str, key: bytes, count: Count) -> None:
        """An ACL has dropped so much of a flow."""
        self.denied[direction, key] = plus(self.denied.get((direction, key), NONE), count)

    def take(self, seen: Mapping[str, Counts], passed: Mapping[str, Counts],
             free: Mapping[str, Counts]) -> None:
        """By direction, since the last reading: what came to rules, behind them, and where there are none."""
        before, self.carried = self.carried, {}
        for direction in (IN, OUT):
            keys = {*seen[direction], *passed[direction], *free[direction],
                    *(key for way, key in self.denied if way == direction)}
            for key in keys:
                flow = (direction, key)
                tally = self._tally(flow, before.get(flow, (NONE, NONE)), seen[direction].get(key, NONE),
                                    passed[direction].get(key, NONE), free[direction].get(key, NONE))
                for interval in self.intervals.values():
                    interval.flows.setdefault(flow, Tally()).add(tally)
        self.denied = {}

    def _tally(self, flow: Flow, before: tuple[Count, Count], seen: Count, passed: Count,
               free: Count) -> Tally:
        denied = self.denied.get(flow, NONE)
        through = plus(passed, free)
        # What an ACL drops on the way out has passed the machine's own rules.
        through = minus(through, denied) if flow[0] == OUT else through
        accepted, more = settled(plus(before[0], through))
        refused, less = settled(plus(before[1], minus(seen, passed)))
        if more != NONE or less != NONE:
            self.carried[flow] = (more, less)
        return Tally(accepted, refused, denied)

    def miss(self, packets: int) -> None:
        """So many were to pass and have not: something else than the rules took them, of whatever flow."""
        if self.missing is not None and self.missing + packets > 0:
            self.skip()
            self.missing = 0
        else:
            self.missing = 0 if self.missing is None else self.missing + packets

    def skip(self) -> None:
        """Something could not be read, or was lost."""
        for interval in self.intervals.values():
            interval.skipped = True

    def found(self, space: str, handle: int) -> None:
        """Where it was read: if not where it was before, what was counted there is lost."""
        if self.space not in ("", space) or self.handle not in (None, handle):
            self.lose()
        self.space, self.handle = space, handle

    def lose(self) -> None:
        """A set had no room: what is carried can't be set right any more."""
        self.skip()
        self.carried = {}
        self.missing = None


def due(interval: Interval, length: int, now: float) -> bool:
    """Whether an interval is over: intervals end when the clock shows a multiple of their length."""
    return now // length > interval.since // length


def saved(account: Account) -> dict[str, Any]:
    """An account as JSON has it."""
    return {"read": account.read, "handle": account.handle, "space": account.space,
            "intervals": [[length, one.since, one.skipped, list(_saved_flows(one.flows))]
                          for length, one in account.intervals.items()],
            "carried": [[way, key.hex(), *counts] for (way, key), counts in account.carried.items()],
            "denied": [[way, key.hex(), count] for (way, key), count in account.denied.items()],
            "missing": account.missing}


def _saved_flows(flows: Mapping[Flow, Tally]) -> Iterator[list[Any]]:
    for (way, key), tally in flows.items():
        yield [way, key.hex(), tally.accepted, tally.refused, tally.denied]


def restored(found: Mapping[str, Any]) -> Account:
    """An account from JSON; LookupError, TypeError or ValueError if it is none."""
    account = Account(read=float(found["read"]), handle=found["handle"], space=str(found.get("space", "")))
    for length, since, skipped, flows in found["intervals"]:
        held = {(str(way), bytes.fromhex(key)): Tally(*(_count(count) for count in counts))
                for way, key, *counts in flows if _is_key(key)}
        account.intervals[int(length)] = Interval(float(since), held, bool(skipped))
    account.carried = {(str(way), bytes.fromhex(key)): (_count(one), _count(other))
                       for way, key, one, other in found["carried"] if _is_key(key)}
    account.denied = {(str(way), bytes.fromhex(key)): _count(count)
                      for way, key, count in found["denied"] if _is_key(key)}
    # An earlier collector did not know of it.
    missing = found.get("missing", 0)
    account.missing = None if missing is None else int(missing)
    return account


def _is_key(text: str) -> bool:
    """Whether it can be read: an earlier collector kept whatever it found in a set."""
    return len(text) // 2 in KEY_BYTES.values()


def _count(found: Any) -> Count:
    packets, size = found
    return int(packets), int(size)
