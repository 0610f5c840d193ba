"""What the collector is to read and to write: a file for each VPC, a line for each machine and log; pure."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

MACHINE, LOG, END = "machine", "log", "end"
JSON = "json"


class Log(NamedTuple):
    """A flow log."""

    file: str
    """The name of its file in the folder for them."""

    subnet: str
    instance: str
    traffic: str
    interval: int
    format: str

    def covers(self, site: str) -> bool:
        """Whether a machine of its VPC is among those that it is of."""
        _, subnet, machine, *_ = (*site.split("/"), "", "")
        return self.subnet in ("", subnet) and self.instance in ("", machine)


class Machine(NamedTuple):
    """A machine that some log is of."""

    site: str
    """VPC/SUBNET or VPC/SUBNET/NAME."""

    interface: str
    namespace: str
    port: str
    """That of its VPC's bridge."""

    families: str
    """4, or 46."""

    decides: str
    """`group` or `policy`; empty if it is open."""

    addresses: tuple[str, ...] = ()


class Watched(NamedTuple):
    """What is asked for in a VPC."""

    logs: tuple[Log, ...]
    machines: tuple[Machine, ...]
    acls: str
    """The table of the VPC's network ACLs, if there is one."""


def machine_line(machine: Machine) -> str:
    """A machine's line."""
    return json.dumps([MACHINE, *machine])


def log_line(log: Log) -> str:
    """A log's line."""
    return json.dumps([LOG, *log])


def end_line(acls: str) -> str:
    """The last line: without it, the file is being written."""
    return json.dumps([END, acls])


def parsed(text: str) -> Watched | None:
    """What a file says; None if it is not whole."""
    logs, machines = list[Log](), list[Machine]()
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        try:
            kind, *values = json.loads(line)
            if kind == END:
                return Watched(tuple(logs), tuple(machines), str(values[0]))
            _take(kind, values, logs, machines)
        except (ValueError, TypeError, IndexError):
            return None
    return None


def _take(kind: str, values: list[Any], logs: list[Log], machines: list[Machine]) -> None:
    if kind == LOG:
        logs.append(Log(*values))
    elif kind == MACHINE:
        machine = Machine(*values)
        machines.append(machine._replace(addresses=tuple(machine.addresses)))
