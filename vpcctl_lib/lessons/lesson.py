"""What a lesson consists of."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen


@frozen
class Ask:
    """A question that a real packet answers, and the answer that a repaired network gives."""

    start: str
    """A machine (VPC/SUBNET or VPC/SUBNET/NAME), host or internet."""

    target: str
    """The same, or an address, or a name that the sender looks up."""

    port: int = 0
    """A port of TCP; 0 is a ping."""

    wanted: bool = True
    says: str = ""
    """What is in the answer of a web server."""

    six: bool = False
    """By IPv6."""


@frozen
class Lesson:
    """A network with a fault, and how one finds and repairs it."""

    name: str
    title: str
    about: str
    """What it teaches, in a line."""

    symptom: str
    """What a colleague reports."""

    task: str
    network: str
    """A topology file, which may have mistakes of its own."""

    asks: tuple[Ask, ...]
    hints: tuple[str, ...]
    """Each says more than the one before."""

    solution: str
    """Lines for a shell of the sandbox."""

    why: str
    prepare: tuple[str, ...] = ()
    """Commands on the host before the network is built."""

    fault: tuple[str, ...] = ()
    """Commands on the host once it is built, which nobody sees and no log has."""

    needs: tuple[str, ...] = ()
    """Programs that the host must have."""


def reaches(start: str, target: str, port: int = 0, says: str = "", six: bool = False) -> Ask:
    """It must be answered."""
    return Ask(start, target, port, says=says, six=six)


def never(start: str, target: str, port: int = 0, six: bool = False) -> Ask:
    """No packet may arrive."""
    return Ask(start, target, port, wanted=False, six=six)
