"""A command that changes nothing says so and writes nothing; a description alone is a change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.engine.transaction import Transaction
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import State

POLICY = {"subnet": "10.0.1.0/24", "ingress": [
    {"port": 80, "protocol": "tcp", "action": "allow", "description": "the [web]"},
    {"port": "8000-8100", "protocol": "tcp", "action": "deny", "source": "10.0.0.0/16"}]}


@pytest.mark.parametrize(("change", "carried_out"), [({}, False), ({"description": "of the shop"}, True)])
def test_a_description_alone_is_a_change(prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         change: dict[str, str], carried_out: bool) -> None:
    applied: list[tuple[Plan, Topology]] = []

    def apply(_: Transaction, plan: Plan, before: State, topology: Topology) -> list[str]:
        applied.append((plan, topology))
        return []

    monkeypatch.setattr(Transaction, "apply", apply)
    (tmp_path / "policy.json").write_text(json.dumps({**POLICY, **change}))
    before = prepared.files()
    done = prepared(*["firewall", "apply", "--vpc", "vpc1", "--subnet", "public", "--policy", "policy.json"])
    assert (done.code, done.err) == (0, "")
    assert [(plan.steps, topology.vpcs[0].subnets[0].policy.description) for plan, topology in applied] == (
        [((), "of the shop")] if carried_out else [])
    assert ("unchanged" in done.out or "already" in done.out) is not carried_out
    assert prepared.files() == before
