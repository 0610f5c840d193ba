"""Topology files: what is in them that can't be is told with its place, before anything is asked or done."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from vpcctl_lib import documents
from vpcctl_lib.model import Policy, Subnet, Topology, Vpc, Workload
from vpcctl_lib.state import State
from vpcctl_lib.topology_file import to_document

ODD = ("echo", "1e5", "12e34567", "1E5", "-1e5", "1e+5", "NaN", "Infinity", "-Infinity", "80", "a\x85b")
NUMBERS = Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(
    Subnet("a", IPv4Network("10.0.1.0/24"), policy=Policy(description="1e5"),
           workloads=(Workload("worker", ODD),)),)),))


def test_what_looks_like_a_number_is_exported_as_text(vpcctl: Any, tmp_path: Path) -> None:
    vpcctl.folder.mkdir()
    vpcctl.store.save(State(NUMBERS, ()))
    file = tmp_path / "export.yaml"
    file.write_text(vpcctl("export").out)
    assert documents.read(file).data == to_document(NUMBERS)
    assert vpcctl("apply", "--dry-run", "-f", str(file)).code == 0
