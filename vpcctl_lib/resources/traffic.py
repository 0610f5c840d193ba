"""What tc(8) does: lines of a batch, and the filters that they add to a link."""

from __future__ import annotations

from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.resources.operation import Line
from vpcctl_lib.resources.operations import IpBatch


class TcBatch(IpBatch):
    """Steps as one `tc -batch`."""

    name = "tc"


@frozen
class Tc(Line):
    """One `tc` command in a namespace."""

    namespace: str
    words: tuple[str, ...]
    tool = TcBatch

    def __str__(self) -> str:
        return " ".join(self.words)


@frozen
class Match:
    """32 bits of a packet, counted from its network header; the link's own header is before it."""

    offset: int
    mask: int
    value: int

    @property
    def words(self) -> tuple[str, ...]:
        """As tc-u32(8) has it."""
        return ("match", "u32", f"{self.value:#x}", f"{self.mask:#x}", "at", str(self.offset))


ANY = Match(0, 0, 0)
"""In every packet."""


Deed = tuple[str, str, str]
"""`mirror` or `redirect`, the link, and what then becomes of the packet."""


def copied(*devices: str) -> tuple[Deed, ...]:
    """A copy to each link; then the packet meets the next filter.

    `pipe`, which is tc's own choice, leads to the next deed, and after the last one past all filters.
    """
    return tuple(("mirror", one, "continue" if one == devices[-1] else "pipe") for one in devices)


def led(device: str) -> tuple[Deed, ...]:
    """The packet itself to a link: it meets no further filter here."""
    return (("redirect", device, "stolen"),)


@frozen
class Filter:
    """What is done with packets of a link: a copy, or the packet itself, goes to another link."""

    direction: str
    """What comes in (ingress), or goes out (egress)."""

    pref: int
    """Lower ones come first; the first that matches and lets the packet end here is the last."""

    matches: tuple[Match, ...] = (ANY,)
    deeds: tuple[Deed, ...] = ()
    """None: the packet meets no further filter."""

    protocol: str = "all"

    def added(self, device: str) -> tuple[str, ...]:
        """The words of tc that add it."""
        matches = (word for match in self.matches for word in match.words)
        # tc takes no word for what becomes of a packet that is led elsewhere.
        deeds = (word for deed, to, then in self.deeds for word in (
            "action", "mirred", "egress", deed, "dev", to, *((then,) if deed == "mirror" else ())))
        # With a handle of its own: without one, the kernel adds the same filter once more.
        return ("filter", "add", "dev", device, self.direction, "pref", str(self.pref), "protocol",
                self.protocol, "handle", "::1", "u32", *matches,
                *(deeds if self.deeds else ("flowid", "1:1")))

    def deleted(self, device: str) -> tuple[str, ...]:
        """Those that delete it."""
        return ("filter", "del", "dev", device, self.direction, "pref", str(self.pref))

    @classmethod
    def of(cls, said: dict[str, Any]) -> Filter:
        """One as the kernel has it."""
        return cls(said["direction"], said["pref"], tuple(Match(*one) for one in said["matches"]),
                   tuple((deed, to, then) for deed, to, then in said["actions"]), said["protocol"])


def clsact(queues: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The queueing discipline with the filters among those of a link; None if it has none."""
    return next((one for one in queues if one["kind"] == "clsact"), None)
