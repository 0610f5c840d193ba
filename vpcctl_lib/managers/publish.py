"""Ports of the host that lead to machines."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import publishing
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_machine, find_subnet, nearest
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.publishing import Published
from vpcctl_lib.model.topology import Machine, Topology


class PublishManager(Manager):
    """Publishes ports, and takes them back."""

    def add(self, site: Site, publish: Publish) -> Change:
        """Lead a port of the host to a machine; repeating it changes nothing."""
        publishing.checked(publish)

        def decide(topology: Topology) -> Topology:
            _, subnet = find_subnet(topology, site.vpc, site.subnet)
            machine = find_machine(subnet, site)
            if publish in machine.publishes:
                return topology
            return _with(topology, site, replace(machine, publishes=(*machine.publishes, publish)))

        return self.change(decide)

    def delete(self, publish: Publish, whole: bool, site: Site | None) -> Change:
        """Take a port back, and end its connections; if not `whole`, to whichever port it leads."""
        def meant(topology: Topology) -> Published | None:
            return next((one for one in publishing.published(topology) if site in (None, one.site)
                         and (one.publish == publish if whole else one.publish.name == publish.name)), None)

        def decide(topology: Topology) -> Topology:
            found = meant(topology)
            if found is None:
                if self.was_finished(lambda before: meant(before) is not None):
                    return topology
                raise _unknown(topology, publish, site)
            _, subnet = find_subnet(topology, found.site.vpc, found.site.subnet)
            machine = find_machine(subnet, found.site)
            kept = tuple(one for one in machine.publishes if one != found.publish)
            return _with(topology, found.site, replace(machine, publishes=kept))

        return self.change(decide)


def _with(topology: Topology, site: Site, machine: Machine) -> Topology:
    vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
    return topology.with_vpc(vpc.with_subnet(subnet.with_machine(machine)))


def _unknown(topology: Topology, publish: Publish, site: Site | None) -> VpcctlError:
    found = [one for one in publishing.published(topology) if site in (None, one.site)]
    where = f" to {site}" if site else ""
    # One at another address of the host, or of the other protocol, is meant before another port.
    same = [one for one in found if one.publish.port == publish.port]
    names = [one.publish.name for one in same or found]
    return VpcctlError(f"no port {publish.name} of the host leads{where or ' to a machine'}",
                       nearest(publish.name, names, "see: vpcctl publish list"))
