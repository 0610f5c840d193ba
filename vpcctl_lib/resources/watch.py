"""The orders of the collector of flow logs for a VPC: a file, which it reads whenever it changes."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.resources.hosts import Hosts


@frozen
class Watch(Hosts):
    """A line for each machine, then one for each log; the first says whose they are."""

    def __str__(self) -> str:
        return f"orders of the collector in {self.path}"
