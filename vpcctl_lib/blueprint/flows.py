"""Flow logs: what counts in machines' namespaces, the collector, and its orders; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vpcctl_lib.blueprint.names import ALWAYS
from vpcctl_lib.firewall import sure
from vpcctl_lib.firewall.filter_rules import EGRESS, INGRESS
from vpcctl_lib.flows import config
from vpcctl_lib.flows.config import Log
from vpcctl_lib.flows.names import FOUR, IN, NETWORK, OUT, SIX
from vpcctl_lib.kernel.users import HOST
from vpcctl_lib.model import flowlogs, naming
from vpcctl_lib.model.endpoints import Endpoint, Stand
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.names import FILES
from vpcctl_lib.model.topology import Subnet, Vpc
from vpcctl_lib.resources import Collector, Counting, FlowFile, Folder, Namespace, Port, Resource, Watch
from vpcctl_lib.resources.counting import ENDS, GATEWAY, LINK, Sure

if TYPE_CHECKING:
    from vpcctl_lib.blueprint.groups import Groups

OWNER = naming.MARK + "flow.logs"
"""The mark of what belongs to all of them; no VPC has a dot in its name."""

PROGRAM = "flow.logs/collector"


def counting(vpc: Vpc, one: Endpoint, groups: Groups | None) -> Iterator[Resource]:
    """The table in a machine's namespace."""
    stand = GATEWAY if one.translates else LINK if one.stand is Stand.LINK else ENDS
    judged = tuple(_judged(vpc, one, groups))
    # Beside the rules of others, nothing is sure.
    yield Counting(one.namespace, one.interface, stand, _families(one), bool(one.attached),
                   tuple(held.way for held in judged), judged if stand == ENDS else ())


def _judged(vpc: Vpc, one: Endpoint, groups: Groups | None) -> Iterator[Sure]:
    """The directions in which rules in its namespace decide, and what they surely let pass."""
    if one.groups and groups:
        into, out = groups.directions(vpc, one.groups)
        yield Sure(IN, sure.by_groups(INGRESS, into))
        if out is not None:
            yield Sure(OUT, sure.by_groups(EGRESS, out))
    elif one.policy:
        yield Sure(IN, sure.by_policy(INGRESS, one.policy))
        if one.policy.egress is not None:
            yield Sure(OUT, sure.by_policy(EGRESS, one.policy))


def _families(one: Endpoint) -> str:
    return FOUR + SIX if one.ipv6 else FOUR


def covered(vpc: Vpc, subnet: str, machine: str) -> bool:
    """Whether some log is of a machine."""
    return any(log.covers(subnet, machine) for log in vpc.flow_logs)


def line(_: Vpc, __: Subnet, one: Endpoint) -> str:
    """The collector's orders for a machine."""
    decides = "group" if one.groups else "policy" if one.policy else ""
    return config.machine_line(config.Machine(
        str(one.site), flowlogs.interface(str(one.site)), one.namespace, one.port, _families(one), decides,
        tuple(str(address.ip) for address in one.addresses)))


def watch(lines: Sequence[str], vpc: str, logs: Sequence[FlowLog], acls: str) -> Iterator[Resource]:
    """Its orders for a VPC. The lines are the machines."""
    orders = (*(config.log_line(_log(vpc, log)) for log in logs), config.end_line(acls))
    yield Watch(f"{flowlogs.folder()}/{vpc}", naming.owner(vpc), "\n".join(lines), orders)


def _log(vpc: str, log: FlowLog) -> Log:
    return Log(file(vpc, log), log.subnet, log.instance, log.traffic.value, log.interval, log.format.value)


def file(vpc: str, log: FlowLog) -> str:
    """The name of a log's file; no name has a dot."""
    return f"{flowlogs.path(vpc, log).replace('/', '.')}.log"


def files(log: FlowLog, vpc: str) -> Iterator[Resource]:
    """A log's file."""
    yield FlowFile(file(vpc, log))


def folders(has_folder: bool) -> Iterator[Resource]:
    """The folder of the collector's orders, in one that DNS may have made."""
    if not has_folder:
        yield Folder(FILES)
    yield Folder(flowlogs.folder())


def network(_: None) -> Iterator[Resource]:
    """The collector's namespace."""
    yield Namespace(NETWORK, OWNER)
    yield Port(NETWORK, "lo", OWNER)


def collector(_: None) -> Iterator[Resource]:
    """The collector."""
    yield Collector(NETWORK, PROGRAM, f"logs/{PROGRAM}.log", number=HOST, upkeep=ALWAYS)
