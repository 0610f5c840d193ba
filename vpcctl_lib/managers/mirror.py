"""Copies of machines' packets for other machines."""

from __future__ import annotations

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import addressing, mirroring
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_machine, find_subnet, nearest
from vpcctl_lib.model.mirroring import Mirrored
from vpcctl_lib.model.mirrors import PORT, Mirror
from vpcctl_lib.model.topology import Topology


class MirrorManager(Manager):
    """Creates mirrors, and deletes them."""

    def create(self, site: Site, to: str, vni: int = 0, plain: bool = False) -> Change:
        """Have a machine's packets copied to another one; repeating it changes nothing."""
        def decide(topology: Topology) -> Topology:
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            mirrors = find_machine(subnet, site).mirrors
            there = next((one for one in mirrors if one.to == to), None)
            if there is not None:
                _check_same(site, there, vni, plain)
                return topology
            wanted = mirroring.with_mirrors(vpc, site, (*mirrors, Mirror(to, vni, plain)))
            changed = mirroring.settled(topology, topology.with_vpc(wanted))
            mirroring.check(topology, changed)
            self._tell_of_deaf(changed, site, to)
            return changed

        return self.change(decide)

    def _tell_of_deaf(self, topology: Topology, site: Site, to: str) -> None:
        vpc, _ = find_subnet(topology, site.vpc, site.subnet)
        one = next(one for one in mirroring.in_vpc(vpc) if (one.site, one.mirror.to) == (site, to))
        why = mirroring.deaf(topology, one)
        if why:
            self.warn(f"programs in {one.target} will get no copies: {why} UDP {PORT} in from the router "
                      f"({addressing.gateway(vpc.cidr)}/32); tcpdump sees them")

    def delete(self, site: Site, to: str | None) -> Change:
        """Copy no more to that machine; which one, if there is only one, need not be said."""
        def decide(topology: Topology) -> Topology:
            if not _meant(topology, site, to) and self.was_finished(
                    lambda before: bool(_meant(before, site, to))):
                return topology
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            mirrors = find_machine(subnet, site).mirrors
            found = _meant(topology, site, to)
            if not found:
                raise _unknown(site, mirrors, to)
            if len(found) > 1:
                raise VpcctlError(f"several machines get a copy of the packets of {site}: "
                                  f"{', '.join(one.to for one in found)}",
                                  f"name one: {Mirrored(site, found[0]).deletion}")
            kept = tuple(one for one in mirrors if one not in found)
            return topology.with_vpc(mirroring.with_mirrors(vpc, site, kept))

        return self.change(decide)


def _meant(topology: Topology, site: Site, to: str | None) -> list[Mirror]:
    vpc = topology.vpc(site.vpc)
    return [one for one in mirroring.mirrors_of(vpc, site) if to in (None, one.to)] if vpc else []


def _check_same(site: Site, there: Mirror, vni: int, plain: bool) -> None:
    """Refuse to create a mirror that already exists in another form."""
    if there.plain != plain or vni not in (0, there.vni):
        raise VpcctlError(f"{there.to} already gets a copy of the packets of {site} ({there.how})",
                          f"delete that mirror first: {Mirrored(site, there).deletion}")


def _unknown(site: Site, mirrors: tuple[Mirror, ...], to: str | None) -> VpcctlError:
    names = [one.to for one in mirrors]
    what = f"{to} gets no copy" if to else "no machine gets a copy"
    return VpcctlError(f"{what} of the packets of {site}",
                       nearest(to or "", names, "see: vpcctl mirror list"))
