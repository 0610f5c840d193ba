"""The packet's mark between nft, which knows who is in a group, and iptables, which decides; pure."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.policies import Ports, Protocol

SHIFT, MASK = 24, 0xFF000000
"""The bits of the mark that have the number. Many rules use the others (`decision_tree.NOTES`)."""

MOST = MASK >> SHIFT
"""The most rules for groups of which one packet can match several."""


@frozen
class Test:
    """A rule for the members of a group, as nft tests it: the first that matches sets the number."""

    group: str
    number: int
    protocol: Protocol = Protocol.ALL
    ports: Ports | None = None
