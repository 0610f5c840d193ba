"""NAT: the way of public subnets to the internet."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.interrupts import Interrupts
from vpcctl_lib.managers import packets
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.managers.packets import Asked, Uplinks
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Nat, Topology, Vpc

AUTO = "auto"
"""Instead of an interface: the way out, even if it changes."""


class NatManager(Manager):
    """Enables and disables NAT for a VPC."""

    def enable(self, vpc_name: str, interface: str | None) -> Change:
        """Enable NAT out of that interface, by default the one that packets leave by; `auto` follows it."""
        def decide(topology: Topology) -> Topology:
            vpc = find_vpc(topology, vpc_name)
            return topology.with_vpc(replace(vpc, nat=self.uplink(topology, vpc, interface)))

        return self.looked_after(self.change(decide), (vpc_name,))

    def uplink(self, topology: Topology, vpc: Vpc, interface: str | None) -> Nat:
        """NAT's facts about that interface, or about the way out; only reads."""
        uplinks = Uplinks(Asked(self.runner, self.host))
        named = None if interface == AUTO else interface
        nat = uplinks.nat(topology, vpc, named, follows=interface == AUTO)
        for warning in uplinks.warnings:
            self.warn(f"VPC '{vpc.name}': {warning}" if f"'{vpc.name}'" not in warning else warning)
        return nat

    def looked_after(self, change: Change, names: tuple[str, ...]) -> Change:
        """The change, with warnings about what stops packets of these VPCs or their answers."""
        if change.commands is not None:
            return change
        # The work is done and recorded: a signal now does not undo it.
        with Interrupts():
            try:
                passages = packets.look(Asked(self.runner), change.topology)
            except VpcctlError as error:
                unknown = f"unknown whether packets leave: {error.message}"
                return replace(change, notes=(*change.notes, unknown))
        more = packets.warnings([one for one in passages if one.vpc in names])
        return replace(change, notes=tuple(dict.fromkeys((*change.notes, *more))))

    def disable(self, vpc_name: str) -> Change:
        """Disable NAT; without NAT nothing changes."""
        return self.change_vpc(vpc_name, lambda vpc: replace(vpc, nat=None))
