"""What the tables that count flows are called, and what is in them; pure.

A set has an element for each flow, with a counter: what it names is its direction, as seen from the machine,
and where it stands: before the rules that may refuse a packet (`seen`), behind them (`ok`), or where there
are none (`open`). All sets are always there, so that a change of rules loses nothing.
"""

from __future__ import annotations

TABLE = "vpcctl-flows"
"""The table of family inet in a machine's namespace."""

NETWORK = "vpcctl.flow-logs"
"""The network namespace of the collector, in which nothing is; no VPC or machine has one of that name."""

FOLDER = "flow-logs"
"""Where the records are, below the state folder."""

SAVED = ".saved"
"""The file there with what is not written yet."""

UNDER_WAY = ".under-way"
"""The file there that says what is just being read or written."""

IN, OUT = "in", "out"
SEEN, OK, OPEN = "seen", "ok", "open"
REFUSED = "refused"
"""In the table of network ACLs in a router: what an ACL has dropped, with the port of the machine."""

BEFORE, BEHIND = "before", "behind"
"""The ends of the names of two counters of a direction: packets that the rules surely let pass, and those of
them that have passed. Such a packet is counted once by its flow, in `open`, which takes less time."""

LOST = "lost"
"""A counter: packets of flows for which a set had no room."""

FOUR, SIX = "4", "6"
"""The end of a set's name: its family."""

KEY_BYTES = {FOUR: 20, SIX: 44}
"""The bytes of a key in a machine's sets: two addresses, the protocol and two ports, of four bytes each."""

ROOM = 65536
"""The most flows in a set of a machine: an element takes some 200 bytes, and 24 more for each processor."""

LIVES = 60
"""Seconds after its last packet until a flow leaves a set: several times `READ`."""

READ = 10
"""The longest time in seconds between two readings of a machine, whatever the interval of its logs."""


def machine_set(direction: str, place: str, family: str) -> str:
    """The name of a set in a machine's namespace."""
    return f"{direction}-{place}{family}"


def sure_counter(direction: str, end: str) -> str:
    """The name of a counter of what surely passes."""
    return f"{direction}-{end}"


REFUSED_LOST = f"{REFUSED}-{LOST}"

KINDS = {"tcp": 6, "udp": 17, "other": 0}
"""nft joins at most five parts to a key (concat_subtype_add): with a port of the bridge, the protocol is left
out, and each has sets of its own. Those that are neither of the first two have no ports."""


def refused_sets(direction: str, families: str) -> dict[str, int]:
    """The names of the sets in the table of network ACLs, each with its protocol; 0: that is in its keys."""
    return {f"{REFUSED}-{direction}{family}-{kind}": number for family in families
            for kind, number in KINDS.items()}
