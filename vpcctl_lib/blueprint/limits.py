"""How fast a machine may send and get: at its port of the bridge, where it has no say; pure."""

from __future__ import annotations

from collections.abc import Iterator

from vpcctl_lib.model import naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.quantities import bits
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import Ifb, Port, Rate, Redirect, Resource


def limits(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """What goes to it waits at its port; what comes from it, in a link of its own."""
    rate, queue = bits(one.bandwidth), naming.shaper(one.site.subnet, one.site.machine)
    yield Rate(vpc.name, one.port, rate)
    yield Ifb(vpc.name, queue)
    yield Port(vpc.name, queue, naming.shaper_owner(*one.site))
    yield Rate(vpc.name, queue, rate)
    yield Redirect(vpc.name, one.port, queue)
