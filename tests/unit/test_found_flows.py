"""The flow logs of a lost record: from orders that a person could have given, and from no others."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.blueprint import flows
from vpcctl_lib.engine.found_flows import flow_logs
from vpcctl_lib.model import names
from vpcctl_lib.model.flowlogs import FlowLog, Form, Traffic
from vpcctl_lib.model.topology import Machine, Subnet, Vpc

WEB = Machine("web1", (IPv4Address("10.0.1.4"),))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(
    Subnet("web", IPv4Network("10.0.1.0/24"), machines=(WEB,)),))
LOGS = (FlowLog(), FlowLog("web", "", Traffic.ACCEPT, 10),
        FlowLog("web", "web1", Traffic.REJECT, 600, Form.JSON))
LOST = ("the flow logs of VPC 'vpc1' can't be rebuilt: the orders of their collector are not vpcctl's; "
        "create them again: vpcctl flow-log create --vpc vpc1")


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the VPC's orders."""
    monkeypatch.setattr(names, "FILES", str(tmp_path))
    file = tmp_path / "flow.logs" / "vpc1"
    file.parent.mkdir()
    return file


def written(*logs: FlowLog) -> str:
    """The orders as vpcctl writes them."""
    (watch,) = flows.watch((), "vpc1", logs, "")
    content: str = watch.file.content  # type: ignore[attr-defined]
    return content


def read() -> tuple[list[FlowLog], list[str]]:
    """The logs that are found, and what is noted."""
    kernel: Any = None
    notes: list[str] = []
    found = [*flow_logs(kernel, VPC, frozenset(), notes)]
    return found, notes


def test_without_orders_there_are_no_logs(orders: Path) -> None:
    assert read() == ([], [])


def test_the_logs_are_those_that_were_written(orders: Path) -> None:
    orders.write_text(written(*LOGS))
    assert read() == ([*LOGS], [])


@pytest.mark.parametrize("log", [FlowLog("gone"), FlowLog("web", "gone")], ids=["subnet", "machine"])
def test_a_log_of_what_is_not_there_is_noted(orders: Path, log: FlowLog) -> None:
    orders.write_text(written(LOGS[0], log))
    assert read() == ([], [LOST])


@pytest.mark.parametrize(("old", "new"), [
    ("# vpcctl:vpc1\n", "# vpcctl:vpc2\n"), ("# vpcctl:vpc1\n", ""), ('["end"', '["more"'),
    ("vpc1.log", "vpc2.log"), (json.dumps("all"), json.dumps("some")), (" 60", " 601"), ("v2", "v3")])
def test_orders_that_vpcctl_would_not_give_are_noted(orders: Path, old: str, new: str) -> None:
    text = written(LOGS[0])
    assert old in text
    orders.write_text(text.replace(old, new))
    assert read() == ([], [LOST])
