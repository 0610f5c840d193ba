"""What a NAT gateway has beyond any other machine: its rules; pure."""

from __future__ import annotations

from collections.abc import Iterator

from vpcctl_lib.firewall.route_rules import gateway_forward, gateway_input, gateway_nat
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import Chain, Resource


def inside(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """It sends on what its VPC's machines send to the outside, and lets nothing else in."""
    yield Chain(one.namespace, "filter", "INPUT", gateway_input(), policy="DROP")
    yield Chain(one.namespace, "filter", "FORWARD", gateway_forward(vpc), policy="DROP")
    yield Chain(one.namespace, "nat", "POSTROUTING", gateway_nat(vpc))
