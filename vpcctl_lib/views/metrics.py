"""Measurements as OpenMetrics text; pure (the OpenMetrics specification 1.0, prometheus.io)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vpcctl_lib import __version__
from vpcctl_lib.model.endpoints import Site

if TYPE_CHECKING:
    from vpcctl_lib.kernel.traffic import Traffic
    from vpcctl_lib.managers.metrics import Collected, Fill, Measured

GAUGE, COUNTER = "gauge", "counter"
PREFIX = "vpcctl_"
Labels = Mapping[str, str]


class Metric(NamedTuple):
    """A metric family: its name without `vpcctl_` and a counter's `_total`, and its samples."""

    name: str
    kind: str
    about: str
    samples: tuple[tuple[Labels, float], ...]
    unit: str = ""


def text(measured: Measured) -> str:
    """All of it, as a scraper reads it."""
    return "\n".join((*(line for one in metrics(measured) for line in _lines(one)), "# EOF"))


def values(measured: Measured) -> list[dict[str, Any]]:
    """All of it as plain values."""
    return [{"name": f"{PREFIX}{one.name}", "type": one.kind, "unit": one.unit, "help": one.about,
             "samples": [{"labels": dict(labels), "value": value} for labels, value in one.samples]}
            for one in metrics(measured)]


def metrics(measured: Measured) -> Iterator[Metric]:
    """The metric families, in the order in which they are printed."""
    yield from _things(measured)
    yield from _traffic("machine", "a machine, counted at the VPC's switch",
                        ((_site(one), traffic) for one, traffic in measured.machines.items()))
    yield from _traffic("uplink", "a VPC's router, at its cable to the host",
                        (({"vpc": one}, traffic) for one, traffic in measured.uplinks.items()))
    yield Metric("refused_packets", COUNTER, "Packets that a policy, groups or a network ACL refused.",
                 tuple(({"vpc": one.vpc, "subnet": one.subnet, "instance": one.machine, "by": one.by,
                         "direction": one.direction}, one.packets) for one in measured.refused), "packets")
    yield Metric("nat_connections", GAUGE, "Connections of a VPC that the host translates.",
                 tuple(({"vpc": name}, number) for name, number in measured.translated.items()))
    yield from _fill("connection_tracking", "the host's table of connections", measured.connections)
    yield from _fill("neighbour_table", "the table of IPv4 neighbours, which all machines share",
                     measured.neighbours)
    if measured.flow_logs:
        yield from _flow_logs(measured.flow_logs)
    yield _one("scrape_duration_seconds", "How long it took to read all of this.", round(measured.seconds, 3),
               "seconds")


def _things(measured: Measured) -> Iterator[Metric]:
    topology, status = measured.topology, measured.status
    yield Metric("build_info", GAUGE, "The version of vpcctl.", (({"version": __version__}, 1),))
    yield _one("vpcs", "VPCs.", len(topology.vpcs))
    yield Metric("machines", GAUGE, "Machines of a subnet.", tuple(
        ({"vpc": vpc.name, "subnet": subnet.name}, len(subnet.machines))
        for vpc in topology.vpcs for subnet in vpc.subnets))
    yield Metric("workload_up", GAUGE, "Whether a workload runs.", tuple(
        ({**_site(one.site), "workload": one.workload.name}, int(one.pid is not None))
        for one in measured.workloads))
    yield _one("in_sync", "Whether all is as recorded and no VPC's packets are known to be lost: "
               "the exit code of vpcctl status.", int(status.in_sync))
    conditions = [one.condition for one in status.findings]
    yield Metric("drift", GAUGE, "Things that are not as recorded, as vpcctl status lists them.", tuple(
        ({"condition": one}, conditions.count(one)) for one in sorted(set(conditions))))


def _flow_logs(found: Collected) -> Iterator[Metric]:
    yield _one("flow_log_last_reading_timestamp_seconds", "When the collector of flow logs last read the "
               "kernel's counters.", round(found.when, 3), "seconds")
    labels = [_site(Site(one.vpc, one.log.subnet, one.log.instance)) for one in found.logs]
    yield Metric("flow_log_records", COUNTER, "Records that were written to a flow log.",
                 tuple(zip(labels, (one.records for one in found.logs), strict=True)))
    yield Metric("flow_log_skipped_records", COUNTER, "SKIPDATA records of a flow log: something is missing.",
                 tuple(zip(labels, (one.skipped for one in found.logs), strict=True)))
    yield Metric("flow_log_lost_packets", COUNTER, "Packets in no record: there were too many flows.",
                 tuple((_site(site), packets) for site, packets in found.lost.items()), "packets")


def _traffic(name: str, what: str, held: Iterable[tuple[Labels, Traffic]]) -> Iterator[Metric]:
    pairs = tuple(held)
    for unit in ("bytes", "packets"):
        for way, half in (("receive", "received"), ("transmit", "sent")):
            yield Metric(f"{name}_{way}_{unit}", COUNTER, f"{unit.capitalize()} {half} by {what}.", tuple(
                (labels, getattr(getattr(traffic, half), unit)) for labels, traffic in pairs), unit)


def _fill(name: str, what: str, fill: Fill) -> Iterator[Metric]:
    yield _one(f"{name}_entries", f"Entries of {what}.", fill.entries)
    yield _one(f"{name}_limit", f"The most entries of {what}; 0 if there is no limit.", fill.limit)


def _one(name: str, about: str, value: float, unit: str = "") -> Metric:
    return Metric(name, GAUGE, about, (({}, value),), unit)


def _site(site: Site) -> Labels:
    return {"vpc": site.vpc, "subnet": site.subnet, "instance": site.machine}


def _lines(metric: Metric) -> Iterator[str]:
    name = f"{PREFIX}{metric.name}"
    yield f"# HELP {name} {metric.about}"
    yield f"# TYPE {name} {metric.kind}"
    if metric.unit:
        yield f"# UNIT {name} {metric.unit}"
    sample = f"{name}_total" if metric.kind == COUNTER else name
    for labels, value in metric.samples:
        yield f"{sample}{_labelled(labels.items())} {value}"


def _labelled(labels: Iterable[tuple[str, str]]) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
