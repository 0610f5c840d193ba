"""Flow logs: which machines' packets are written down, how often and in which form; pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from vpcctl_lib.errors import BadInput
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import names, naming

SHORTEST, USUAL, LONGEST = 1, 60, 600
"""Seconds of an interval. AWS has one minute and ten ("Flow logs basics", aggregation interval)."""

ACCOUNT = "000000000000"
"""The account in each record: there is only one."""

WHOLE = "*"
"""The name of the log of a whole VPC; no subnet is called so."""

HEX = 17
"""The digits of AWS's ids."""


class Traffic(Enum):
    """Which packets a log has records of."""

    ALL = "all"
    ACCEPT = "accept"
    REJECT = "reject"


class Form(Enum):
    """How a record is written."""

    V2 = "v2"
    JSON = "json"


@frozen
class FlowLog:
    """A log of a whole VPC, of a subnet in it, or of one machine; no two are of the same."""

    subnet: str = ""
    instance: str = ""
    traffic: Traffic = Traffic.ALL
    interval: int = USUAL
    """Seconds."""

    format: Form = Form.V2

    @property
    def name(self) -> str:
        """What it is of, as seen from its VPC."""
        return "/".join(filter(None, (self.subnet, self.instance))) or WHOLE

    @property
    def how(self) -> str:
        """What it has, how often, and as what, in words."""
        return f"{self.traffic.value}, every {self.interval} s, as {self.format.value}"

    def covers(self, subnet: str, machine: str) -> bool:
        """Whether a machine is among those that it is of."""
        return self.subnet in ("", subnet) and self.instance in ("", machine)


def without(logs: Iterable[FlowLog], subnet: str, machine: str) -> tuple[FlowLog, ...]:
    """Those that are not of that machine alone."""
    return tuple(one for one in logs if not machine or (one.subnet, one.instance) != (subnet, machine))


def folder() -> str:
    """The folder with the collector's orders, a file for each VPC; no VPC has a dot in its name."""
    return f"{names.FILES}/flow.logs"


def path(vpc: str, log: FlowLog) -> str:
    """What a log is of, in one word."""
    return "/".join(filter(None, (vpc, log.subnet, log.instance)))


def identity(vpc: str, log: FlowLog) -> str:
    """The id of a log: always the same for the same place."""
    return f"fl-{_digits(path(vpc, log))}"


def interface(site: str) -> str:
    """The id of a machine's interface: always the same for a machine of that place."""
    return f"eni-{_digits(site)}"


def _digits(text: str) -> str:
    return naming.digest(text).hex()[:HEX]


def check_interval(seconds: int) -> int:
    """Refuse an interval that is too short or too long."""
    if not SHORTEST <= seconds <= LONGEST:
        raise BadInput(f"an interval of {seconds} seconds is not possible",
                       f"use {SHORTEST} to {LONGEST}")
    return seconds
