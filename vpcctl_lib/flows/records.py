"""Records of flows, as lines: AWS's version 2, or JSON; pure.

The fields and their order are those of AWS ("Flow log records", the default format).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from vpcctl_lib.flows.accounts import NONE, Flow, Interval, Tally
from vpcctl_lib.flows.config import JSON, Log, Machine
from vpcctl_lib.flows.names import IN

VERSION = "2"
ACCOUNT = "000000000000"
FIELDS = ("version", "account_id", "interface_id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol",
          "packets", "bytes", "start", "end", "action", "log_status")
ACCEPT, REJECT = "ACCEPT", "REJECT"
OK, NODATA, SKIPDATA = "OK", "NODATA", "SKIPDATA"
UNKNOWN = "-"
NOBODY = (UNKNOWN,) * 7
"""In the place of a flow and its counts."""

DIRECTIONS = {True: "ingress", False: "egress"}
_ACL = "acl"
_ASKED = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}
"""Protocols that `vpcctl reach` knows."""

Owners = Mapping[str, str]
"""By address, the machine that has it."""


class Ends(NamedTuple):
    """What an element's key says."""

    source: str
    destination: str
    sport: int
    dport: int
    protocol: int


def ends(key: bytes) -> Ends:
    """The parts of a key; each is padded to four bytes (nft(8), concatenations)."""
    size = (len(key) - 12) // 2
    protocol, sport, dport = key[2 * size], key[2 * size + 4:2 * size + 6], key[2 * size + 8:2 * size + 10]
    return Ends(_address(key[:size]), _address(key[size:2 * size]), int.from_bytes(sport, "big"),
                int.from_bytes(dport, "big"), protocol)


def _address(value: bytes) -> str:
    return ".".join(map(str, value)) if len(value) == 4 else str(IPv6Address(value))


def is_of(form: str, first: bytes) -> bool:
    """Whether records that begin with these bytes are of a format; so are none."""
    return not first or (first[:1] == b"{") == (form == JSON)


def lines(log: Log, machine: Machine, interval: Interval, end: float, owners: Owners) -> Iterator[str]:
    """The records of a machine in a log, for an interval that ends then."""
    times = (int(interval.since), int(end))
    if interval.skipped:
        yield _line(log, machine, NOBODY, times, UNKNOWN, SKIPDATA)
    elif not interval.flows:
        yield _line(log, machine, NOBODY, times, UNKNOWN, NODATA)
    for flow, tally in interval.flows.items():
        found = ends(flow[1])
        if tally.accepted != NONE and log.traffic != "reject":
            yield _line(log, machine, (*found, *tally.accepted), times, ACCEPT, OK, _more(machine, flow))
        if tally.rejected != NONE and log.traffic != "accept":
            more = {**_more(machine, flow), "refused_by": _refusers(machine, tally),
                    "ask": _question(machine, flow, found, owners)} if log.format == JSON else {}
            yield _line(log, machine, (*found, *tally.rejected), times, REJECT, OK, more)


def _line(log: Log, machine: Machine, found: tuple[Any, ...], times: tuple[int, int], action: str,
          status: str, more: Mapping[str, Any] | None = None) -> str:
    words = (VERSION, ACCOUNT, machine.interface, *found, *times, action, status)
    if log.format != JSON:
        return " ".join(map(str, words))
    values = {name: None if word == UNKNOWN else word for name, word in zip(FIELDS, words, strict=True)}
    return json.dumps({**values, "version": int(VERSION), "machine": machine.site, **(more or {})})


def _more(_: Machine, flow: Flow) -> dict[str, Any]:
    return {"direction": DIRECTIONS[flow[0] == IN]}


def _refusers(machine: Machine, tally: Tally) -> list[str]:
    """What refused packets of a flow."""
    mine, others = tally.refused != NONE, tally.denied != NONE
    return [*([machine.decides] if mine and machine.decides else []), *([_ACL] if others else [])]


def _question(machine: Machine, flow: Flow, found: Ends, owners: Owners) -> str | None:
    """The command that explains it; None if it can't be asked so."""
    source = machine.site if flow[0] != IN else owners.get(found.source)
    # A machine's name would stand for its IPv4 address.
    target = found.destination if ":" in found.destination else \
        machine.site if flow[0] == IN else owners.get(found.destination, found.destination)
    protocol = _ASKED.get(found.protocol)
    if not source or not protocol or protocol != "icmp" and not found.dport:
        return None
    port = f" --port {found.dport}" if protocol != "icmp" else ""
    return f"vpcctl reach --from {source} --to {target} --protocol {protocol}{port}"
