"""Commands that a person runs in a subnet."""

from __future__ import annotations

from shutil import which

from vpcctl_lib import naming
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.lookup import find_subnet
from vpcctl_lib.managers.base import Manager, need_root
from vpcctl_lib.run import need, search_path

NOT_FOUND = 127
"""What a shell returns for a command that it can't find (POSIX, 2.8.2)."""


class ExecManager(Manager):
    """Runs commands in subnets."""

    def run(self, vpc: str, subnet: str, command: tuple[str, ...]) -> int:
        """Run it on this terminal; returns its exit code."""
        find_subnet(self.state().topology, vpc, subnet)
        need_root()
        need("ip")
        if which(command[0], path=search_path()) is None:
            raise VpcctlError(f"{command[0]}: command not found", code=NOT_FOUND)
        return self.runner.attach(("ip", "netns", "exec", naming.subnet_namespace(vpc, subnet), *command))
