"""Flow logs as plain values; pure."""

from __future__ import annotations

from typing import Any

from vpcctl_lib.blueprint.flows import file
from vpcctl_lib.flows.names import FOLDER, TABLE
from vpcctl_lib.model import endpoints, flowlogs
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.topology import Vpc

View = dict[str, Any]


def flow_log(vpc: Vpc, log: FlowLog) -> View:
    """A log, and the machines that it is of, each with the id of its interface."""
    machines = [one.site for one in endpoints.in_vpc(vpc) if log.covers(one.site.subnet, one.site.machine)]
    return {"vpc": vpc.name, "subnet": log.subnet or None, "instance": log.instance or None,
            "id": flowlogs.identity(vpc.name, log), "traffic": log.traffic.value, "interval": log.interval,
            "format": log.format.value, "file": f"{FOLDER}/{file(vpc.name, log)}",
            "interfaces": [{"id": flowlogs.interface(str(site)), "machine": str(site)} for site in machines]}


def see(vpc: Vpc) -> View:
    """The command that shows what is counted, at the first machine that a log is of."""
    sites = (one.site for one in endpoints.in_vpc(vpc)
             for log in vpc.flow_logs if log.covers(one.site.subnet, one.site.machine))
    first = next(sites, None)
    return {"flow_logs": f"ip netns exec {first.namespace} nft list table inet {TABLE}"} if first else {}


def flow_logs(vpc: Vpc) -> list[View]:
    """All logs of a VPC."""
    return [flow_log(vpc, log) for log in vpc.flow_logs]
