"""Kernel settings of our own namespaces."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from vpcctl_lib import netns
from vpcctl_lib.kernel import Kernel
from vpcctl_lib.naming import MARK
from vpcctl_lib.operations import Set
from vpcctl_lib.resources.base import (
    MISSING,
    Condition,
    Facts,
    Fault,
    Operations,
    Place,
    Resource,
    within,
)

SYSCTLS = Path("/proc/sys")
IP_FORWARD = "net.ipv4.ip_forward"
WAS = "was "
"""Before the name of a setting: what it was. (cleanup.sh puts back those of the host, without this.)"""


@dataclass(frozen=True)
class Settings(Resource):
    """Kernel settings of one of our own namespaces, which nobody shares."""

    namespace: str
    values: tuple[tuple[str, str], ...]

    in_place = True

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("settings", self.namespace)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    def make(self) -> Operations:
        """All of them in one go."""
        return (Set(self.namespace, self.values),)

    def survey(self) -> dict[str, str]:
        """The old values, if the namespace is there and has lived without these."""
        if not netns.exists(self.namespace):
            return {}
        return netns.within(self.namespace, self._held)

    def _held(self) -> dict[str, str]:
        paths = {key: SYSCTLS / key.replace(".", "/") for key, _ in self.values}
        return {f"{WAS}{key}": path.read_text().strip() for key, path in paths.items() if path.exists()}

    def unmake(self, facts: Facts) -> Operations:
        """Back to the old values, where they were not just the new namespace's."""
        old = tuple((key, facts[f"{WAS}{key}"]) for key, value in reversed(self.values)
                    if facts.get(f"{WAS}{key}", value) != value)
        return (Set(self.namespace, old, gone_is_fine=True),) if old else ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Each as it was set; what this kernel lacks can't be wrong."""
        if self.namespace not in kernel.namespaces:
            return MISSING
        held = {key: kernel.setting(self.namespace, key) for key, _ in self.values}
        wrong = [f"{key} is {held[key]}, not {value}" for key, value in self.values
                 if held[key] not in (None, value)]
        closed = closed_links(kernel, self.namespace) if held.get(IP_FORWARD) == "1" else ()
        wrong += [f"{key} is 0, not 1" for key in closed]
        remedy = (Set(self.namespace, tuple((key, "1") for key in closed)),) if closed else ()
        return Fault(Condition.CHANGED, "; ".join(wrong), remedy) if wrong else None

    def __str__(self) -> str:
        return f"settings of {self.namespace}"


def closed_links(kernel: Kernel, namespace: str) -> tuple[str, ...]:
    """The settings by which links of ours pass nothing on though their namespace does.

    Writing ip_forward sets them all, but only where it changes that. A bridge's ports only switch.
    """
    routed = [link["ifname"] for link in kernel.links(namespace) if link["ifname"] != "lo"
              and "master" not in link and link.get("ifalias", "").startswith(MARK)]
    keys = [f"net.ipv4.conf.{name}.forwarding" for name in routed]
    return tuple(key for key in keys if kernel.setting(namespace, key) == "0")
