"""A link whose packets go to one machine inside of UDP packets (VXLAN, RFC 7348), and none comes back."""

from __future__ import annotations

from ipaddress import IPv4Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.queueing import check_able
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.mirrors import PORT
from vpcctl_lib.resources.base import MISSING, Fault, Operations, changed
from vpcctl_lib.resources.links import Single
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip

KIND = "vxlan"
"""What the kernel calls the kind of such a link."""

TTL = 255
"""The router sends nothing else with it: by that, copies are known from other packets."""


@frozen
class Vxlan(Single):
    """One of them; `local` is the router, and `remote` the machine."""

    vni: int
    local: IPv4Address
    remote: IPv4Address

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses where the kernel has none."""
        check_able(runner, KIND, "ip", "link", "add", "type", KIND, "id", "1", "dstport", str(PORT))
        return {}

    def make(self) -> Operations:
        """Always from one port: else each connection that is copied is one more that the router tracks."""
        return (Ip(self.namespace, (
            "link", "add", self.device, "type", KIND, "id", str(self.vni), "local", str(self.local),
            "remote", str(self.remote), "dstport", str(PORT), "srcport", str(PORT), str(PORT + 1),
            "ttl", str(TTL), "nolearning")),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must lead to that machine."""
        link = kernel.link(self.namespace, self.device)
        if link is None:
            return MISSING
        info = link.get("linkinfo", {})
        if info.get("info_kind") != KIND:
            return changed(f"it is not a VXLAN, but {info.get('info_kind') or 'another link'}")
        shall = {"id": self.vni, "local": str(self.local), "remote": str(self.remote), "port": PORT,
                 "ttl": TTL, "learning": False}
        held = info.get("info_data", {})
        wrong = [f"its {name} is {held.get(name, 'none')}" for name, value in shall.items()
                 if held.get(name) != value]
        return changed("; ".join(wrong)) if wrong else None

    def __str__(self) -> str:
        return f"VXLAN {self.device} in {self.namespace}"
