"""Copies of a machine's packets for another machine, as frozen values; pure."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen

PORT = 4789
"""That of VXLAN (RFC 7348, section 5)."""

LAST_VNI = (1 << 24) - 1


@frozen
class Mirror:
    """A copy of all that a machine sends and gets, for another machine of its VPC."""

    to: str
    """The machine that gets it: SUBNET/NAME, or SUBNET for a subnet's own machine."""

    vni: int = 0
    """What tells its packets from those of the VPC's other mirrors; 0 until a free one is found."""

    plain: bool = False
    """Whether the frames come as they are, but for the MAC that they are for; else inside of VXLAN."""

    @property
    def how(self) -> str:
        """The way in which the copies come, in words."""
        return f"plain, number {self.vni}" if self.plain else f"VXLAN, UDP {PORT}, VNI {self.vni}"
