"""The flow logs of a VPC whose record is lost: from the orders of their collector, which only root writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vpcctl_lib.blueprint.flows import file
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.flows.config import Log, parsed
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model import flowlogs, naming
from vpcctl_lib.model.flowlogs import FlowLog, Form, Traffic
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources.host import text_of


def flow_logs(_: Kernel, vpc: Vpc, __: Names, notes: list[str]) -> Iterator[FlowLog]:
    """The flow logs of a VPC, as far as a person could have created them."""
    text = text_of(Path(flowlogs.folder(), vpc.name))
    if text is None:
        return
    watched = parsed(text) if text.startswith(f"# {naming.owner(vpc.name)}\n") else None
    try:
        if watched is None:
            raise ValueError(text)
        yield from [_flow_log(vpc, log) for log in watched.logs]
    except (ValueError, VpcctlError):
        notes.append(f"the flow logs of VPC '{vpc.name}' can't be rebuilt: the orders of their collector "
                     f"are not vpcctl's; create them again: vpcctl flow-log create --vpc {vpc.name}")


def _flow_log(vpc: Vpc, log: Log) -> FlowLog:
    found = FlowLog(log.subnet, log.instance, Traffic(log.traffic), flowlogs.check_interval(log.interval),
                    Form(log.format))
    subnet = vpc.subnet(found.subnet)
    is_known = not found.subnet or subnet and (not found.instance or subnet.machine(found.instance))
    if not is_known or log.file != file(vpc.name, found):
        raise ValueError(log)
    return found
