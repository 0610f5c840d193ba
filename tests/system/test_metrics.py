"""Measurements against real packets, as the parsers of Prometheus read them."""

from __future__ import annotations

import time

import pytest
from host import Host
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict

PUBLIC, DB = "vpc1-public", "vpc1-db"
MACHINE = {"vpc": "vpc1", "subnet": "public", "instance": ""}
SIZE = 56 + 8 + 20 + 14
"""Of ping's packet on the cable: its data, ICMP, IP, Ethernet."""


class Seen:
    """The samples of one answer."""

    def __init__(self, host: Host) -> None:
        self.text = host.do("metrics").out
        self._samples = [one for family in strict(self.text) for one in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The one sample of that name with these labels."""
        found = [one.value for one in self._samples
                 if one.name == f"vpcctl_{name}" and labels.items() <= one.labels.items()]
        assert len(found) == 1, (name, labels, self.text)
        return float(found[0])


@pytest.fixture
def host_with_nat(host: Host) -> Host:
    """A public subnet, and a private one with a policy."""
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
    host.do("subnet add --vpc vpc1 --name db --cidr 10.0.2.0/24")
    host.do("nat enable --vpc vpc1")
    host.do("firewall allow --vpc vpc1 --subnet db --protocol tcp --port 80")
    return host


def ping(host: Host, namespace: str, target: str, count: int) -> int:
    """How many answers came."""
    done = host.inside(namespace, "ping", "-c", str(count), "-i", "0.01", "-W", "1", target)
    return int(done.out.split(" received")[0].rsplit(", ", 1)[1])


def test_traffic_is_what_was_sent_to_the_packet(host_with_nat: Host) -> None:
    host = host_with_nat
    # The router and the host ask for each other's MACs once.
    host.reaches(PUBLIC, "8.8.8.8")
    before = Seen(host)
    assert ping(host, PUBLIC, "8.8.8.8", 20) == 20
    after = Seen(host)
    grown = {name: after(f"{name}_total", **labels) - before(f"{name}_total", **labels)
             for where, labels in (("machine", MACHINE), ("uplink", {"vpc": "vpc1"}))
             for name in (f"{where}_{way}_{unit}" for way in ("receive", "transmit")
                          for unit in ("bytes", "packets"))}
    assert grown == {name: 20 * SIZE if name.endswith("bytes") else 20 for name in grown}
    assert len(grown) == 8
    assert after("nat_connections", vpc="vpc1") == before("nat_connections", vpc="vpc1") + 1
    assert after("connection_tracking_entries") >= 1
    assert after("connection_tracking_limit") > 1
    assert after("neighbour_table_limit") >= 1


def test_refusals_are_counted_where_they_happen(host_with_nat: Host) -> None:
    host = host_with_nat
    policy = {"vpc": "vpc1", "subnet": "db", "by": "policy", "direction": "ingress"}
    acl = {"vpc": "vpc1", "by": "acl edge", "direction": "ingress"}
    assert Seen(host)("refused_packets_total", **policy) == 0
    assert ping(host, PUBLIC, "10.0.2.2", 3) == 0
    host.listen(DB, "80")
    host.reaches(PUBLIC, "10.0.2.2:80")
    assert Seen(host)("refused_packets_total", **policy) == 3
    host.do("acl create --vpc vpc1 --name edge")
    host.do("acl associate --vpc vpc1 --subnet db --name edge")
    assert ping(host, PUBLIC, "10.0.2.2", 2) == 0
    seen = Seen(host)
    assert seen("refused_packets_total", **acl) == 2
    assert seen("refused_packets_total", **policy) == 3


def test_groups_that_refuse_are_named(host_with_nat: Host) -> None:
    host = host_with_nat
    host.do("group create --vpc vpc1 --name data")
    host.do("group join --vpc vpc1 --subnet db --name data")
    assert ping(host, PUBLIC, "10.0.2.2", 4) == 0
    assert Seen(host)("refused_packets_total", subnet="db", by="groups", direction="ingress") == 4


def test_drift_and_dead_workloads_show(host_with_nat: Host) -> None:
    host = host_with_nat
    host.do("deploy webserver --vpc vpc1 --subnet db --port 80")
    web = {"subnet": "db", "workload": "webserver-80"}
    seen = Seen(host)
    assert (seen("in_sync"), seen("workload_up", **web), seen("machines", subnet="db")) == (1, 1, 1)
    host.sh(f"kill -KILL {host.do('deploy list --json').json['workloads'][0]['pid']}")
    host.sh("ip netns del vpc1-public")
    host.wait_until(lambda: Seen(host)("workload_up", **web) == 0, "the workload's end shows")
    seen = Seen(host)
    assert seen("in_sync") == 0
    found = [one["condition"] for one in host.vpcctl("status", "--json").json["status"]["findings"]]
    assert found
    for condition in set(found):
        assert seen("drift", condition=condition) == found.count(condition)
    host.do("restore")
    assert Seen(host)("in_sync") == 1


def test_overlapping_vpcs_are_told_apart(host_with_nat: Host) -> None:
    host = host_with_nat
    host.do("vpc create --name vpc2 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc2 --name public --cidr 10.0.1.0/24 --type public")
    host.do("nat enable --vpc vpc2")
    assert ping(host, "vpc2-public", "8.8.8.8", 1) == 1
    seen = Seen(host)
    assert (seen("nat_connections", vpc="vpc1"), seen("nat_connections", vpc="vpc2")) == (0, 1)


def test_node_exporters_format_reads_it_too(host_with_nat: Host) -> None:
    """Its textfile collector reads Prometheus's older text format, in which a comment is anything after #."""
    names = {one.name for family in parser.text_string_to_metric_families(Seen(host_with_nat).text)
             for one in family.samples}
    assert {"vpcctl_in_sync", "vpcctl_machine_receive_bytes_total"} <= names


def test_flow_logs_show_what_is_written_and_what_is_lost(host_with_nat: Host) -> None:
    host = host_with_nat
    assert "flow_log" not in host.do("metrics").out
    host.do("flow-log create --vpc vpc1 --interval 1")
    host.do("flow-log create --vpc vpc1 --subnet db --interval 600")
    whole, db = {"vpc": "vpc1", "subnet": "", "instance": ""}, {"vpc": "vpc1", "subnet": "db", "instance": ""}

    def lines() -> int:
        return len(host.do("flow-log show --vpc vpc1").out.splitlines())

    def agrees() -> bool:
        before, seen, after = lines(), Seen(host), lines()
        return 0 < before == after == seen("flow_log_records_total", **whole)

    host.wait_until(lambda: "flow_log_records_total" in host.do("metrics").out, "something is written")
    host.wait_until(agrees, "the number of records is that of the lines")
    seen = Seen(host)
    assert seen("flow_log_records_total", **db) == 0, "nothing is written yet"
    assert 0 <= time.time() - seen("flow_log_last_reading_timestamp_seconds") < 15
    assert seen("flow_log_skipped_records_total", **whole) == 0
    assert seen("flow_log_lost_packets_total", **db) == 0
    # A set with room for two flows, of six.
    table = host.sh("nft list table inet vpcctl-flows", DB).replace("size 65536", "size 2")
    host.sh(f"nft -f - <<'EOF'\ndelete table inet vpcctl-flows\n{table}\nEOF", DB)
    host.wait_until(lambda: Seen(host)("flow_log_skipped_records_total", **whole) > 0, "it was made again")
    for port in range(1, 7):
        host.inside(PUBLIC, "bash", "-c", f"echo >/dev/udp/10.0.2.2/{port}")
    host.wait_until(lambda: Seen(host)("flow_log_lost_packets_total", **db) >= 4, "packets are lost")
    seen = Seen(host)
    assert seen("flow_log_lost_packets_total", vpc="vpc1", subnet="public") == 0
    # Who ends it does not set it back.
    host.sh("ip netns pids vpcctl.flow-logs | tail -n 1 | xargs kill -9")
    host.wait_until(agrees, "it goes on")
    assert Seen(host)("flow_log_lost_packets_total", **db) == seen("flow_log_lost_packets_total", **db)
    host.do("restore")
