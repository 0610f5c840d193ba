"""What a host must have for network ACLs and flow logs."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.flows import reading
from vpcctl_lib.kernel import guarding
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.needing import check_needs
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.policies import Acl
from vpcctl_lib.model.topology import Topology, Vpc

PLAIN = Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16")),), guarded=True)
LOGGED = PLAIN.with_vpc(replace(PLAIN.vpcs[0], flow_logs=(FlowLog(),)))
EDGED = PLAIN.with_vpc(replace(PLAIN.vpcs[0], acls=(Acl("edge"),)))


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(reading, "is_possible", lambda: False)
    monkeypatch.setattr(guarding, "missing", lambda _: "not found")


def refusal(before: Topology, after: Topology) -> VpcctlError:
    with pytest.raises(VpcctlError) as refused:
        check_needs(Runner(), before, after)
    return refused.value


@pytest.mark.parametrize(("topology", "what"), [(EDGED, "network ACLs"), (LOGGED, "flow logs")])
def test_without_nft_they_are_refused(topology: Topology, what: str) -> None:
    error = refusal(PLAIN, replace(topology, guarded=False))
    assert error.message == f"VPC 'vpc1' can't have {what}: nft not found"
    check_needs(Runner(), PLAIN, replace(PLAIN, guarded=False))


def test_a_kernel_that_sets_no_counter_back_is_refused_once(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(PLAIN, LOGGED)
    assert (error.message.rpartition(": ")[2], error.hint) == (
        "this kernel can't set a counter back as it is read", "use Linux 6.5 or later")
    # What is there works; and whoever takes logs away is never kept from it.
    check_needs(Runner(), LOGGED, LOGGED)
    check_needs(Runner(), LOGGED, PLAIN)
    check_needs(Runner(), PLAIN, EDGED)
    # A plain user's dry run can't ask.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check_needs(Runner(), PLAIN, LOGGED)
