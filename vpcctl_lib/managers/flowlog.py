"""Flow logs: which packets are written down."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from vpcctl_lib.blueprint.flows import file
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.flows.names import FOLDER
from vpcctl_lib.flows.records import is_of
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import flowlogs
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.lookup import find_machine, find_subnet, find_vpc, nearest
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.workloads import logs


class FlowLogManager(Manager):
    """Creates and deletes flow logs, and reads their records."""

    def create(self, vpc_name: str, log: FlowLog) -> Change:
        """A log of a VPC, a subnet or a machine; repeating it changes nothing."""
        flowlogs.check_interval(log.interval)

        def decide(topology: Topology) -> Topology:
            vpc = _place(topology, vpc_name, log)
            existing = _of(vpc, log)
            if existing == log:
                return topology
            if existing:
                raise VpcctlError(
                    f"the flow log of {flowlogs.path(vpc_name, log)} already exists, with other settings",
                    f"delete it first: vpcctl flow-log delete {words(vpc_name, log)}")
            return topology.with_vpc(replace(vpc, flow_logs=(*vpc.flow_logs, log)))

        return self.change(decide)

    def delete(self, vpc_name: str, log: FlowLog) -> Change:
        """Without it, and without its records."""
        def has(topology: Topology) -> bool:
            vpc = topology.vpc(vpc_name)
            return vpc is not None and _of(vpc, log) is not None

        def decide(topology: Topology) -> Topology:
            if not has(topology) and self.was_finished(has):
                return topology
            vpc, existing = find_flow_log(topology, vpc_name, log)
            return topology.with_vpc(replace(vpc, flow_logs=tuple(
                one for one in vpc.flow_logs if one != existing)))

        return self.change(decide)

    def text(self, vpc_name: str, log: FlowLog) -> str:
        """All records in its format that are kept; empty if there is none yet."""
        path, takes = self._kept(vpc_name, log)
        try:
            found = logs.text(path, takes)
            # The collector may be in the middle of one.
            return found[:found.rfind("\n") + 1]
        except FileNotFoundError:
            return ""
        except PermissionError:
            raise _closed(path) from None

    def follow(self, vpc_name: str, log: FlowLog) -> Iterator[bytes]:
        """As `text`, then each new record, as long as the log exists; sometimes nothing."""
        path, takes = self._kept(vpc_name, log)
        while not os.path.lexists(path):
            if not self._has(vpc_name, log):
                return
            yield b""
        try:
            for part in logs.follow(path, takes):
                yield part
                if not part and not self._has(vpc_name, log):
                    return
        except PermissionError:
            raise _closed(path) from None
        except FileNotFoundError:
            # It was deleted with its log.
            return

    def _has(self, vpc_name: str, log: FlowLog) -> bool:
        vpc = self.state().topology.vpc(vpc_name)
        return vpc is not None and _of(vpc, log) is not None

    def _kept(self, vpc_name: str, log: FlowLog) -> tuple[Path, Callable[[bytes], bool]]:
        """Its file, and whether a part of it is in its format: it may have had another one before."""
        _, found = find_flow_log(self.state().topology, vpc_name, log)
        return self.context.store.folder / FOLDER / file(vpc_name, log), partial(is_of, found.format.value)


def _closed(path: Path) -> VpcctlError:
    return VpcctlError(f"can't read {path}: permission denied", "run it as root: sudo vpcctl …")


def _place(topology: Topology, vpc_name: str, log: FlowLog) -> Vpc:
    """The VPC; VpcctlError if the subnet or the machine does not exist."""
    vpc = find_vpc(topology, vpc_name)
    if log.subnet:
        _, subnet = find_subnet(topology, vpc_name, log.subnet)
        if log.instance:
            find_machine(subnet, Site(vpc_name, log.subnet, log.instance))
    return vpc


def _of(vpc: Vpc, log: FlowLog) -> FlowLog | None:
    """The log of the same."""
    return next((one for one in vpc.flow_logs if one.name == log.name), None)


def find_flow_log(topology: Topology, vpc_name: str, log: FlowLog) -> tuple[Vpc, FlowLog]:
    """The log of that place; VpcctlError if there is none."""
    vpc = _place(topology, vpc_name, log)
    found = _of(vpc, log)
    if found is None:
        raise VpcctlError(f"{flowlogs.path(vpc_name, log)} has no flow log", _instead(vpc, log))
    return vpc, found


def _instead(vpc: Vpc, log: FlowLog) -> str:
    """A hint: a log that has its records among others, the log that was probably meant, or how to make it."""
    wider = next((one for one in vpc.flow_logs if one.covers(log.subnet, log.instance)), None)
    if wider:
        return (f"its records are in that of {flowlogs.path(vpc.name, wider)}: "
                f"vpcctl flow-log show {words(vpc.name, wider)}")
    names = [flowlogs.path(vpc.name, one) for one in vpc.flow_logs]
    return nearest(flowlogs.path(vpc.name, log), names,
                   f"create it: vpcctl flow-log create {words(vpc.name, log)}")


def words(vpc_name: str, log: FlowLog) -> str:
    """The options that name a log."""
    return " ".join(f"--{name} {value}" for name, value in (
        ("vpc", vpc_name), ("subnet", log.subnet), ("instance", log.instance)) if value)
