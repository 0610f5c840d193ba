"""The host's own switch for forwarding IPv6, for kernels that have none for single links."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.proc import SYSCTLS, linked, setting
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.base import Condition, Fault, Operations, Remains, Resource, changed
from vpcctl_lib.resources.forwarding6 import EVERYWHERE, key_of
from vpcctl_lib.resources.host import BESIDE, IDENTITY
from vpcctl_lib.resources.operation import Deed, Desk, Facts
from vpcctl_lib.resources.operations import HOST, put
from vpcctl_lib.resources.putback import PutBack
from vpcctl_lib.resources.renamed import name_now, numbers

_ALONG = re.compile(r"net/ipv6/conf/(?!\.{1,2}/)[^/\s]+/(forwarding|accept_ra)")
"""What goes with the switch: a setting outside this list in a record is never written."""

HEARD = "2"
"""Router advertisements count although the host forwards (accept_ra of ip-sysctl)."""


NEW = "default"
"""Among the links: those that come later begin with its settings."""


def _links() -> list[str]:
    return [name for name in linked() if name not in ("all", "lo")]


def _accepts(link: str) -> str:
    return f"net/ipv6/conf/{link}/accept_ra"


def _link_of(key: str) -> str:
    return key.split("/")[3]


def _key_now(key: str, facts: Facts) -> str:
    """The same setting of the link as it is called by now."""
    *before, link, last = key.split("/")
    return "/".join((*before, name_now(link, facts), last))


def _hearing(kernel: Kernel) -> Iterator[str]:
    """The links that hear router advertisements, if they are let: not those that only lead to a bridge."""
    for link in kernel.links(HOST):
        if "master" not in link and link["ifname"] != "lo":
            yield link["ifname"]


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
    case $file in */all/* | */lo/*) continue ;; esac
    [ "$(cat "$file")" != 1 ] || echo 2 >"$file"
  done
  sysctl -q -w net.ipv6.conf.all.forwarding=1
fi"""


@frozen
class Hear(Deed):
    """Have more links hear router advertisements, and record that they did so by themselves."""

    links: tuple[str, ...]

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Everywhere, as the switch."""
        return None

    def do(self) -> None:
        """Those that are gone need it no longer."""
        for link in self.links:
            put(f"{SYSCTLS}/{_accepts(link)}", HEARD)

    def carry_out(self, desk: Desk) -> Facts:
        """With the old values."""
        super().carry_out(desk)
        return {_accepts(link): "1" for link in self.links} | numbers(self.links)

    def __str__(self) -> str:
        return f"sysctl -q -e -w {' '.join(f'{_accepts(link)}={HEARD}' for link in self.links)}"


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
        keys = [key for link in _links() for key in (_accepts(link), f"net/ipv6/conf/{link}/forwarding")
                if setting(key) == "1"]
        return found | dict.fromkeys(keys, "1") | numbers({_link_of(key) for key in keys})

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

        along = tuple((_key_now(key, facts), "1", HEARD if key.endswith("accept_ra") else "1")
                      for key, value in facts.items() if _ALONG.fullmatch(key) and value == "1")
        return (PutBack(EVERYWHERE, "0", "1", along, forwarders.read(facts.get(BESIDE, ""))),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """On, if this kernel has no other way, and no link is deaf to router advertisements because of it."""
        if kernel.setting(HOST, key_of("all")) is not None:
            return None
        if kernel.setting(HOST, EVERYWHERE) != "1":
            return changed(f"{EVERYWHERE} is not 1")
        if facts.get(EVERYWHERE) != "0":
            # Who forwarded before is deaf by the owner's own choice.
            return None
        deaf = tuple(one for one in (NEW, *_hearing(kernel)) if kernel.setting(HOST, _accepts(one)) == "1")
        told = "; ".join(f"{_accepts(one)} is 1, not {HEARD}" for one in deaf)
        return Fault(Condition.CHANGED, told, (Hear(deaf),)) if deaf else None

    def relearn(self, remains: Remains) -> dict[str, str]:
        """The previous value is unknown."""
        remains.notes.append(f"the value of {EVERYWHERE} before is unknown: it will stay on")
        return {}

    def __str__(self) -> str:
        return f"{EVERYWHERE} on the host"
