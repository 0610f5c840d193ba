"""The questions of a lesson, asked with real packets."""

from __future__ import annotations

import socket
from enum import Enum
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns, proc
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.lookups import address_of
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.lessons.lesson import Ask
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.reach.probe import Result, send
from vpcctl_lib.reach.question import INTERNET, Outside

AT_ONCE = 16
PATIENCE_SECONDS = 3.0
"""For what must be answered. A neighbour that answers for an elastic address may take almost a second."""

SILENCE_SECONDS = 1.5
"""For what must not arrive."""

ANSWER_BYTES = 65536


class Outcome(Enum):
    """What became of a question."""

    ANSWERED = "answered"
    ANOTHER = "another answer"
    REFUSED = "refused there"
    REJECTED = "rejected on the way"
    SILENCE = "no answer"
    NAMELESS = "the name is unknown"
    MISSING = "it is missing"


OUTCOMES = {Result.ANSWERED: Outcome.ANSWERED, Result.REFUSED: Outcome.REFUSED,
            Result.REJECTED: Outcome.REJECTED, Result.SILENCE: Outcome.SILENCE}
LOST = (Outcome.REJECTED, Outcome.SILENCE, Outcome.NAMELESS)
"""No packet arrived. A refusal comes from the target itself, as nothing listens there."""


@frozen
class Finding:
    """A question with what became of it."""

    ask: Ask
    outcome: Outcome

    @property
    def is_right(self) -> bool:
        """Whether it is what was wanted."""
        return self.outcome is Outcome.ANSWERED if self.ask.wanted else self.outcome in LOST


def findings(asks: tuple[Ask, ...], topology: Topology, runner: Runner) -> list[Finding]:
    """All of them, several at once; in their order."""
    return each(lambda ask: Finding(ask, _asked(ask, topology, runner)), asks, AT_ONCE)


def _asked(ask: Ask, topology: Topology, runner: Runner) -> Outcome:
    try:
        start = "" if ask.start == Outside.HOST.value else ask.start
        if start == Outside.INTERNET.value:
            return _from_outside(f"{ask.target}:{ask.port}")
        namespace = _endpoint_namespace(topology, start) if start else ""
        address = _address(ask, topology, runner, namespace)
        if address is None:
            return Outcome.NAMELESS
        return _sent(ask, namespace, address)
    except (VpcctlError, netns.Gone):
        return Outcome.MISSING


def _endpoint_namespace(topology: Topology, place: str) -> str:
    return find_endpoint(topology, _site(place)).namespace


def _site(place: str) -> Site:
    vpc, subnet, *machine = place.split("/")
    return Site(vpc, subnet, *machine)


def _address(ask: Ask, topology: Topology, runner: Runner, namespace: str) -> Address | None:
    """Where the packets go; None if the sender does not know the name."""
    family = Family.INET6 if ask.six else Family.INET
    if ask.target == Outside.INTERNET.value:
        return INTERNET[family]
    if "/" in ask.target:
        return find_endpoint(topology, _site(ask.target)).at(family)
    if ask.target[0].isdigit():
        return ip_address(ask.target)
    found = address_of(runner, namespace, ask.target)
    return ip_address(found) if found else None


def _sent(ask: Ask, namespace: str, address: Address) -> Outcome:
    patience = PATIENCE_SECONDS if ask.wanted else SILENCE_SECONDS
    if ask.says:
        return _read(ask, namespace, address)
    ping = Protocol.ICMPV6 if ask.six else Protocol.ICMP
    return OUTCOMES[send(namespace, address, Protocol.TCP if ask.port else ping, ask.port or None, patience)]


def _read(ask: Ask, namespace: str, address: Address) -> Outcome:
    """Open a page, and compare what it says."""
    try:
        page = _page(namespace, str(address), ask.port, "/", PATIENCE_SECONDS)
    except (OSError, HTTPException):
        return Outcome.SILENCE
    return Outcome.ANSWERED if ask.says in page else Outcome.ANOTHER


def _from_outside(target: str) -> Outcome:
    """Have the simulated internet try it."""
    internet = str(INTERNET[Family.INET])
    try:
        said = _page("", internet, 80, f"/knock/{target}", 2 * PATIENCE_SECONDS).strip()
    except (OSError, HTTPException):
        return Outcome.MISSING
    return next((one for one in Outcome if said == f"{target}: {one.value}"), Outcome.MISSING)


def _page(namespace: str, address: str, port: int, path: str, patience: float) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with proc.visit(namespace, lambda: socket.socket(family, socket.SOCK_STREAM)) as opened:
        opened.settimeout(patience)
        opened.connect((address, port))
        connection = HTTPConnection(address, port)
        connection.sock = opened
        connection.request("GET", path)
        return connection.getresponse().read(ANSWER_BYTES).decode(errors="replace")
