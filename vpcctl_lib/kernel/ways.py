"""The way of a packet, by the kernel itself (`ip route get … fibmatch`); pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.answers import lenient
from vpcctl_lib.kernel.run import Outcome

EVERYWHERE = IPv4Network("0.0.0.0/0")
_FAILED = re.compile(r"Command failed -:(\d+)")

UNKNOWN = "unknown"
REFUSED = "refused"
"""Kinds that lead nowhere: the kernel was not asked, or has no route, or one that refuses."""


@frozen
class Question:
    """The destination; with a source and a link for a packet that came in by it, else for the host's own."""

    destination: IPv4Address
    source: IPv4Address | None = None
    incoming: str = ""

    def __str__(self) -> str:
        origin = f" from {self.source} iif {self.incoming}" if self.source else ""
        return f"route get {self.destination}{origin} fibmatch"


@frozen
class Hop:
    """A link that a route leads to, and the gateway there."""

    device: str
    gateway: str = ""


@frozen
class Way:
    """The route that a packet takes: `unicast`, `local`, or one of the kinds that lead nowhere."""

    kind: str = "unicast"
    hops: tuple[Hop, ...] = ()
    network: IPv4Network = EVERYWHERE
    table: str = "main"
    failure: str = ""

    @property
    def devices(self) -> tuple[str, ...]:
        """The links that it may take; several if the route has several next hops."""
        return tuple(dict.fromkeys(hop.device for hop in self.hops))

    def __str__(self) -> str:
        """As ip-route(8) shows it."""
        if self.failure:
            return self.failure
        where = "default" if self.network == EVERYWHERE else str(self.network).removesuffix("/32")
        kind = "" if self.kind == "unicast" else f"{self.kind} "
        table = "" if self.table == "main" else f" table {self.table}"
        return f"{kind}{where} dev {' and '.join(self.devices) or 'none'}{table}"


Ways = Mapping[Question, Way]


def unknown(asked: Iterable[Question], why: str) -> Ways:
    """The answers where the kernel could not be asked."""
    return dict.fromkeys(asked, Way(UNKNOWN, failure=why))


def answers(asked: Sequence[Question], outcome: Outcome) -> Ways:
    """The answers of `ip -force -batch`, by question: failures are on standard error with their line."""
    refused = dict(_refusals(outcome.stderr))
    told = _documents(outcome.stdout)
    found: dict[Question, Way] = {}
    for number, question in enumerate(asked, 1):
        if number in refused:
            found[question] = Way(REFUSED, failure=refused[number])
        else:
            found[question] = next(told, Way(UNKNOWN, failure=f"{question}: {outcome.reason()}"))
    return found


def _refusals(stderr: str) -> Iterator[tuple[int, str]]:
    said = ""
    for line in stderr.splitlines():
        failed = _FAILED.match(line)
        if failed:
            yield int(failed[1]), said
        else:
            said = line.removeprefix("RTNETLINK answers: ").strip()


def _documents(stdout: str) -> Iterator[Way]:
    """Each answer is a document on a line of its own; stops at the first line that is not one."""
    for line in filter(None, map(str.strip, stdout.splitlines())):
        try:
            routes = lenient(line)
            if routes:
                yield _way(routes[0])
        except (ValueError, LookupError, TypeError, AttributeError):
            return


def _way(route: dict[str, Any]) -> Way:
    hops = [one for one in route.get("nexthops", (route,)) if "dev" in one]
    network = EVERYWHERE if route["dst"] == "default" else IPv4Network(route["dst"])
    return Way(route.get("type", "unicast"), tuple(_hop(one) for one in hops), network,
               str(route.get("table", "main")))


def _hop(hop: dict[str, Any]) -> Hop:
    return Hop(str(hop["dev"]), str(hop.get("gateway") or hop.get("via", {}).get("host", "")))
