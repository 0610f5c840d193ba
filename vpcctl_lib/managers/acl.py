"""Network ACLs: their rules, and the subnets that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.acl_nft import Direction, counted
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.managers.base import Change, need_root, standing
from vpcctl_lib.managers.named import NamedManager
from vpcctl_lib.model import acls, naming
from vpcctl_lib.model.acls import find_acl
from vpcctl_lib.model.lookup import find_subnet, find_vpc
from vpcctl_lib.model.policies import Acl
from vpcctl_lib.model.topology import Subnet, Topology

NO_WAY_OUT = "no egress rule: nothing gets out of a subnet that has it, nor an answer to what comes in"


@frozen
class Listed:
    """An ACL with the subnets that have it."""

    vpc: str
    acl: Acl
    subnets: tuple[str, ...]


@frozen
class Counted:
    """An ACL, and the packets and bytes of each rule (`ingress 100`, `egress *`)."""

    listed: Listed
    counters: Mapping[str, tuple[int, int]]


class AclManager(NamedManager):
    """Creates ACLs, changes their rules, gives them to subnets, lists and deletes them."""

    def create(self, vpc_name: str, name: str) -> Change:
        """An ACL that denies everything; repeating it changes nothing."""
        return self.created(vpc_name, Acl(name))

    def apply(self, vpc_name: str, name: str, file: Path) -> Change:
        """The rules of the file instead of those in force; a wrong file changes nothing."""
        # Imported late: only this verb reads a file.
        from vpcctl_lib.files.acl import load

        def decide(topology: Topology) -> Topology:
            vpc, _ = find_acl(topology, vpc_name, name)
            new = load(file, name)
            if new.ingress and not new.egress:
                self.warn(NO_WAY_OUT)
            return topology.with_vpc(vpc.with_acl(new))

        return self.change(decide)

    def delete(self, vpc_name: str, name: str) -> Change:
        """Delete an ACL that no subnet has."""
        return self.deleted(vpc_name, Acl, name, lambda topology: acls.check_unused(
            find_acl(topology, vpc_name, name)[0], name))

    def associate(self, vpc_name: str, subnet: str, name: str) -> Change:
        """A subnet with that ACL, in the place of the one that it has."""
        def new(topology: Topology, _: Subnet) -> str:
            find_acl(topology, vpc_name, name)
            return name

        return self._give(vpc_name, subnet, new)

    def dissociate(self, vpc_name: str, subnet: str, name: str | None = None) -> Change:
        """A subnet without an ACL, so that everything passes; refused if another one than that is there."""
        def new(topology: Topology, found: Subnet) -> str:
            if name is not None:
                find_acl(topology, vpc_name, name)
            if found.acl and name not in (None, found.acl):
                raise VpcctlError(f"subnet '{vpc_name}/{subnet}' has network ACL '{found.acl}', not '{name}'",
                                  f"vpcctl acl dissociate --vpc {vpc_name} --subnet {subnet}")
            return ""

        return self._give(vpc_name, subnet, new)

    def _give(self, vpc_name: str, subnet: str, new: Callable[[Topology, Subnet], str]) -> Change:
        def decide(topology: Topology) -> Topology:
            vpc, found = find_subnet(topology, vpc_name, subnet)
            return topology.with_vpc(vpc.with_subnet(replace(found, acl=new(topology, found))))

        return self.change(decide)

    def list(self, vpc_name: str | None = None) -> list[Listed]:
        """All ACLs, or those of one VPC."""
        topology = self.state().topology
        vpcs = [find_vpc(topology, vpc_name)] if vpc_name else topology.vpcs
        return [listed(topology, vpc.name, one.name) for vpc in vpcs for one in vpc.acls]

    def show(self, vpc_name: str, name: str) -> Counted:
        """An ACL, with the kernel's counters."""
        found = listed(self.state().topology, vpc_name, name)
        need_root()
        rules = Kernel(self.runner).bridge_table(standing(vpc_name), naming.ACL_TABLE)
        if rules is None:
            raise VpcctlError(f"the network ACLs of VPC '{vpc_name}' are recorded, but missing",
                              "bring them back: sudo vpcctl restore")
        counters = {}
        for direction in Direction:
            mine = [one["rule"] for one in rules
                    if one.get("rule", {}).get("chain", "").partition(".")[0] == direction.chain(name)]
            counters.update({f"{direction.word} {number}": value for number, value in counted(mine).items()})
        return Counted(found, counters)


def listed(topology: Topology, vpc_name: str, name: str) -> Listed:
    """An ACL with its subnets."""
    vpc, acl = find_acl(topology, vpc_name, name)
    return Listed(vpc.name, acl, tuple(acls.users(vpc, name)))
