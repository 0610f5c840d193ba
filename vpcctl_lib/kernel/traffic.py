"""How much each link of a namespace has carried since it was made."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.proc import NETWORK

_COLUMNS = 16
"""Of a line of /proc/net/dev (proc_pid_net(5)): eight for what came in, eight for what went out."""


@frozen
class Flow:
    """One direction of a link."""

    bytes: int
    packets: int
    dropped: int


@frozen
class Traffic:
    """Both directions of a link, as its own namespace sees them."""

    received: Flow
    sent: Flow


def carried() -> dict[str, Traffic]:
    """The traffic of each link in the calling thread's namespace."""
    lines = (NETWORK / "dev").read_text(errors="surrogateescape").splitlines()[2:]
    return dict(map(_line, lines))


def _line(text: str) -> tuple[str, Traffic]:
    # A link's name may have colons in it, the numbers have none.
    name, _, rest = text.rpartition(":")
    numbers = [int(one) for one in rest.split()]
    if len(numbers) != _COLUMNS:
        raise ValueError(f"/proc/net/dev has another format: {text!r}")
    return name.strip(), Traffic(_flow(numbers[:8]), _flow(numbers[8:]))


def _flow(numbers: list[int]) -> Flow:
    """Bytes, packets, errors and dropped ones lead each half."""
    return Flow(numbers[0], numbers[1], numbers[3])
