"""The host's own switch for forwarding IPv6, for kernels that have none for single links."""

from __future__ import annotations

import re

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.proc import SYSCTLS, linked, setting
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.base import Condition, Fault, Operations, Remains, Resource, changed
from vpcctl_lib.resources.forwarding6 import EVERYWHERE, key_of
from vpcctl_lib.resources.host import BESIDE, IDENTITY
from vpcctl_lib.resources.operation import Deed, Facts
from vpcctl_lib.resources.operations import HOST, Sysctl, put
from vpcctl_lib.resources.putback import PutBack

_ALONG = re.compile(r"net/ipv6/conf/(?!\.{1,2}/)[^/\s]+/(forwarding|accept_ra)")
"""What goes with the switch: a setting outside this list in a record is never written."""

HEARD = "2"
"""Router advertisements count although the host forwards (accept_ra of ip-sysctl)."""


def _links() -> list[str]:
    return [name for name in linked() if name not in ("all", "default", "lo")]


def _accepts(link: str) -> str:
    return f"net/ipv6/conf/{link}/accept_ra"


@frozen
class SendOn(Deed):
    """Forward IPv6, after each link that hears router advertisements got a setting to go on hearing them.

    With the switch on, the kernel takes away the default routes of all others (rt6_purge_dflt_routers of
    net/ipv6/route.c), and hears no more of them.
    """

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Everywhere: the host forwards nothing before all rules are there."""
        return None

    def do(self) -> None:
        """A host that forwards already is left as it is."""
        if setting(EVERYWHERE) == "1":
            return
        for link in _links():
            if setting(_accepts(link)) == "1":
                put(f"{SYSCTLS}/{_accepts(link)}", HEARD)
        put(f"{SYSCTLS}/{EVERYWHERE.replace('.', '/')}", "1")

    def __str__(self) -> str:
        return _SCRIPT


_SCRIPT = """if [ "$(sysctl -n net.ipv6.conf.all.forwarding)" = 0 ]; then
  for file in /proc/sys/net/ipv6/conf/*/accept_ra; do
    case $file in */all/* | */default/* | */lo/*) continue ;; esac
    [ "$(cat "$file")" != 1 ] || echo 2 >"$file"
  done
  sysctl -q -w net.ipv6.conf.all.forwarding=1
fi"""


@frozen
class Whole6(Resource):
    """`forwarding` of all links, with which those that hear router advertisements have `accept_ra` 2."""

    in_place = True

    def survey(self, runner: Runner) -> dict[str, str]:
        """The old values. Writing the switch also writes that of each link (addrconf_forward_change)."""
        found = {EVERYWHERE: setting(EVERYWHERE) or "0", IDENTITY: netns.own_identity()}
        if found[EVERYWHERE] == "1":
            return found
        # Imported late: most changes leave forwarding as it is.
        from vpcctl_lib.resources import forwarders

        found[BESIDE] = forwarders.written(forwarders.forwarders(forwarders.look(runner, must=True)))
        keys = (key for link in _links() for key in (_accepts(link), f"net/ipv6/conf/{link}/forwarding"))
        return found | {key: "1" for key in keys if setting(key) == "1"}

    def is_outlived(self, facts: Facts) -> bool:
        """A boot of the host sets it again."""
        return facts.get(IDENTITY, "") not in ("", netns.own_identity())

    def make(self) -> Operations:
        """On."""
        return (SendOn(),)

    def unmake(self, facts: Facts) -> Operations:
        """Back to the value found since the boot, unless others need it by now."""
        if facts.get(EVERYWHERE, "1") != "0" or self.is_outlived(facts):
            return ()
        from vpcctl_lib.resources import forwarders

        along = tuple((key, "1", HEARD if key.endswith("accept_ra") else "1") for key, value in facts.items()
                      if _ALONG.fullmatch(key) and value == "1")
        return (PutBack(EVERYWHERE, "0", "1", along, forwarders.read(facts.get(BESIDE, ""))),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """On, if this kernel has no other way, and no link has stopped hearing router advertisements."""
        if kernel.setting(HOST, key_of("all")) is not None:
            return None
        if kernel.setting(HOST, EVERYWHERE) != "1":
            return changed(f"{EVERYWHERE} is not 1")
        deaf = [key for key in facts if key.endswith("/accept_ra") and kernel.setting(HOST, key) == "1"]
        told = "; ".join(f"{key} is 1, not {HEARD}" for key in deaf)
        return Fault(Condition.CHANGED, told, tuple(Sysctl(key, HEARD) for key in deaf)) if deaf else None

    def relearn(self, remains: Remains) -> dict[str, str]:
        """The previous value is unknown."""
        remains.notes.append(f"the value of {EVERYWHERE} before is unknown: it will stay on")
        return {}

    def __str__(self) -> str:
        return f"{EVERYWHERE} on the host"
