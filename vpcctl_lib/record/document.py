"""The record on disk, and the topology in it: all that a read-only command needs."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import disk
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.codec import Misfit, decode
from vpcctl_lib.record.trust import DEFAULT_FOLDER as DEFAULT_FOLDER
from vpcctl_lib.record.trust import check_file

FILE = "state.json"
VERSION = 8

TOPOLOGIES = ("topology", "previous")


def _machined(topology: dict[str, Any]) -> dict[str, Any]:
    """A topology of version 3 with the workloads of each subnet in its own machine."""
    return {**topology, "vpcs": [{**vpc, "subnets": [_with_machine(one) for one in vpc.get("subnets", ())]}
                                 for vpc in topology.get("vpcs", ())]}


def _with_machine(subnet: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in subnet.items() if key != "workloads"}
    return {**kept, "machines": [{"workloads": subnet["workloads"]}]} if subnet.get("workloads") else kept


Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {
    # 2 records which iptables has the rules; if that is unknown, the next change finds out.
    1: lambda data: data,
    # 3 records whether ports are guarded, and has MACs, neighbours, settings: the next change makes them.
    2: lambda data: data,
    # 4 has machines: those of a subnet have what the subnet had.
    3: lambda data: {**data, **{key: _machined(data[key]) for key in TOPOLOGIES if data.get(key)}},
    # 5 has machines that forward, subnets without machines, and rules of IPv6.
    4: lambda data: data,
    # 6 has groups, and machines in namespaces that others made.
    5: lambda data: data,
    # 7 has network ACLs, elastic addresses and published ports.
    6: lambda data: data,
    # 8 has flow logs, mirrors and limits of bandwidth.
    7: lambda data: data,
}
"""From each older version to the next; a record goes through them one after the other."""


def topology(folder: Path) -> Topology:
    """The topology that is fully in place; VpcctlError if the record can't be read or understood.

    The ledger is not decoded: it is most of the file, and its kinds need most of the program.
    """
    file = folder / FILE
    data = read(file)
    try:
        if data is None:
            return Topology()
        place = "previous" if data.get("previous") is not None else "topology"
        return decode(Topology, data.get(place), place)
    except Misfit as error:
        raise damaged(file, str(error)) from None


def read(file: Path) -> dict[str, Any] | None:
    """The document, in a version that we know; None if there is none."""
    found = text(file)
    return None if found is None else parse(file, found)


def text(file: Path) -> str | None:
    """The text of the record; None if there is none."""
    found = content(file)
    return None if found is None else decoded(file, found)


def decoded(file: Path, found: bytes) -> str:
    """The text of a record; VpcctlError if it is none."""
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise damaged(file, str(error)) from None


def content(file: Path) -> bytes | None:
    """The record as it is on disk; None if there is none."""
    try:
        return disk.read_own(file, check_file)
    except FileNotFoundError:
        if backup(file).exists():
            raise Damaged(f"{file} is missing, but its backup exists", _way_on(file)) from None
        return None
    except PermissionError:
        raise VpcctlError(f"can't read {file}: permission denied", "run it as root: sudo vpcctl …") from None
    except NotADirectoryError:
        raise VpcctlError(f"{file.parent} is not a folder", "name a folder with --state-dir") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise VpcctlError(f"{file} is a symbolic link, which vpcctl does not follow",
                              "put the file itself there, or name its folder with --state-dir") from None
        raise damaged(file, str(error)) from None


def parse(file: Path, text: str) -> dict[str, Any]:
    """The document in a record's text, migrated to today's version."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(file, str(error)) from None
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise VpcctlError(f"{file} has version {version}; this vpcctl knows up to {VERSION}",
                          "use the newer vpcctl that wrote it; nothing was changed")
    if type(version) is not int or version not in (*MIGRATIONS, VERSION):
        raise damaged(file, "its version is unknown")
    return _migrated(file, dict(data), version)


def _migrated(file: Path, data: dict[str, Any], version: int) -> dict[str, Any]:
    """The document in today's version; the file itself changes with the next save."""
    try:
        for step in range(version, VERSION):
            data = MIGRATIONS[step](data)
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(file, f"it is not a record of version {version}: {error}") from None
    return data


def backup(file: Path) -> Path:
    """The path of the copy of the last good record."""
    return file.with_name(f"{file.name}.bak")


class Damaged(VpcctlError):
    """The record is lost: missing, or damaged."""


def damaged(file: Path, why: str) -> VpcctlError:
    """The error for a record that can't be understood."""
    return Damaged(f"{file} is damaged: {why}", f"nothing was changed; {_way_on(file)}")


def _way_on(file: Path) -> str:
    """What brings back a lost record: its backup, the marks in the kernel, or a clean start."""
    copy = f"restore the last good one: cp {backup(file)} {file}; or " if backup(file).exists() else ""
    return (f"{copy}rebuild it from the marks in the kernel: vpcctl restore --from-kernel; or remove "
            "everything that bears a mark: cleanup.sh")
