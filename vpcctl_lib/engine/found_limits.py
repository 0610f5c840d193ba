"""The bandwidth of a machine whose record is lost, from the queue at its port of the bridge."""

from __future__ import annotations

from vpcctl_lib.errors import BadInput
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model import naming
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.quantities import parse_rate, rate_spelt
from vpcctl_lib.resources.rate import rate_of


def bandwidth(kernel: Kernel, site: Site, notes: list[str]) -> str:
    """What it may send and get, if the link where it waits bears its mark; empty if it has no limit."""
    queue = naming.shaper(site.subnet, site.machine)
    link = kernel.link(site.vpc, queue)
    if link is None or link.get("ifalias") != naming.shaper_owner(*site):
        return ""
    rate = rate_of(kernel, site.vpc, naming.port(site.subnet, site.machine)) \
        or rate_of(kernel, site.vpc, queue)
    try:
        return parse_rate(rate_spelt(rate or 0))
    except BadInput:
        notes.append(f"the bandwidth of '{site}' is unknown: it has no limit now")
        return ""
